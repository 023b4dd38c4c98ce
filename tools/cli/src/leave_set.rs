//! `windrow leave-set`: makes a replica's directory one that is served by itself.

use std::path::{Path, PathBuf};

use clap::{Arg, ArgMatches, Command, value_parser};
use windrow_store::{DataDir, leave_set};

use crate::exit::Exit;
use crate::failure::Failure;
use crate::{output, start};

/// The command's options.
pub(crate) fn command() -> Command {
    Command::new("leave-set")
        .about("Take a data directory out of its set of nodes for good, to be served without peers")
        .after_help(
            "The node must not run. Its directory becomes another replica, with a new number: take the old one out of \
             `peers` on the nodes that stay. It keeps everything that its log holds, also what the set may never have \
             committed, and does not get what it lacks.",
        )
        .arg(
            Arg::new("dir")
                .long("dir")
                .value_name("PATH")
                .required(true)
                .value_parser(value_parser!(PathBuf))
                .help("The data directory"),
        )
}

/// Runs it.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let dir = matches.get_one::<PathBuf>("dir").map_or(Path::new(""), PathBuf::as_path);
    let data_dir = DataDir::open(dir).map_err(|error| Failure::new(start::of_data_dir(&error), error))?;
    let old = data_dir.replica().map_err(|error| Failure::new(Exit::Data, error))?;
    let new = leave_set(&data_dir).map_err(|error| Failure::new(start::of_open(&error), error))?;
    output::print(&format!("replica {old} has left its set, and is replica {new} now\n"))?;
    Ok(Exit::Ok)
}
