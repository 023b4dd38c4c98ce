//! `windrow log`: looks at logs on disk, also while a node runs and where the data is damaged. Only `repair` changes
//! anything, in a directory that nobody else uses.
//!
//! Segments are read through the file, one at a time, not mapped: so a node that writes meanwhile cannot change what
//! is being looked at, and the memory needed is that of one segment.

mod compare;
mod dump;
mod inspect;
mod json;
mod read;
mod repair;
mod scan;
mod target;
#[cfg(test)]
mod tests;
mod verdict;
mod verify;

pub(crate) use target::has_writer;

use std::path::Path;

use clap::ArgMatches;

use crate::exit::Exit;
use crate::failure::Failure;

/// Runs one of the subcommands of `windrow log`.
pub(crate) fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    let Some((name, matches)) = matches.subcommand() else { return Ok(Exit::Usage) };
    let target: &Path = matches.get_one::<std::path::PathBuf>("PATH").map_or(Path::new("windrow-data"), |path| path);
    match name {
        "repair" => {
            let Some(from) = matches.get_one::<std::path::PathBuf>("from") else { return Ok(Exit::Usage) };
            repair::run(target, from)
        }
        "inspect" => inspect::run(target, matches.get_flag("json")),
        "verify" => {
            let verified = verify::run(target, matches.get_flag("json"))?;
            let Some(other) = matches.get_one::<std::path::PathBuf>("against") else { return Ok(verified) };
            let compared = compare::run(target, other)?;
            Ok(if verified == Exit::Ok { compared } else { verified })
        }
        _ => dump::run(target, &dump::Range::from(matches)),
    }
}
