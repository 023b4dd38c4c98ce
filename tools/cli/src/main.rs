//! The `windrow` binary: serve, look at logs, check a machine.

mod commands;
mod doctor;
mod exit;
mod failure;
mod init;
mod leave_set;
mod log;
mod output;
mod password;
mod progress;
mod promote;
mod serve;
mod settings;
#[cfg(feature = "shared-memory")]
mod standby;
mod start;
mod text;

use std::process::ExitCode;

use clap::ArgMatches;

use exit::Exit;
use failure::Failure;

fn main() -> ExitCode {
    let matches = match commands::root().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // `--help` and `--version` come this way too.
            let _unimportant = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            return exit.into();
        }
    };
    match run(&matches) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit.into()
        }
    }
}

fn run(matches: &ArgMatches) -> Result<Exit, Failure> {
    match matches.subcommand() {
        None => serve::run(settings::load(None)?),
        Some(("serve", matches)) => serve::run(settings::load(Some(matches))?),
        #[cfg(feature = "shared-memory")]
        Some(("standby", matches)) => standby::run(matches),
        Some(("log", matches)) => log::run(matches),
        Some(("doctor", matches)) => doctor::run(&settings::load(Some(matches))?, matches.get_flag("json")),
        Some(("hash-password", _)) => password::run(),
        Some(("init", matches)) => init::run(matches),
        Some(("leave-set", matches)) => leave_set::run(matches),
        Some(("promote", matches)) => promote::run(matches),
        Some(("completions", matches)) => commands::completions(matches),
        Some((_, _)) => commands::man(),
    }
}
