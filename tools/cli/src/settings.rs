//! The settings of a command, from file, environment and flags.

use std::env;
use std::path::PathBuf;

use clap::ArgMatches;
use windrow_node::settings::{Configured, FIELDS};

use crate::exit::Exit;
use crate::failure::Failure;

/// Reads the settings; `matches` holds the flags where there are any.
pub(crate) fn load(matches: Option<&ArgMatches>) -> Result<Configured, Failure> {
    load_over(&[], matches, &[])
}

/// As [`load`], with other defaults, and with what overrules all.
pub(crate) fn load_over(
    defaults: &[(&str, &str)],
    matches: Option<&ArgMatches>,
    fixed: &[(&str, &str)],
) -> Result<Configured, Failure> {
    let file = matches.and_then(|matches| matches.get_one::<PathBuf>("config")).map(PathBuf::as_path);
    // What is not UTF-8 can be no setting, unless it calls itself one; then its value is refused.
    let environment =
        env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()));
    let flag = |name: &str| matches?.get_one::<String>(name).map(|value| (name.to_owned(), value.clone()));
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let flags = FIELDS.iter().filter_map(|field| flag(field.name)).chain(fixed.iter().map(owned));
    Configured::load_over(defaults, file, environment, flags).map_err(|error| {
        Failure::new(Exit::Settings, error).remedy("`windrow serve --help` lists every setting with what is allowed")
    })
}
