//! Tests of the whole: a stub server in the process, loads on it, and what comes out.

mod distributions;
mod files;
mod loads;
mod omission;
mod stub;
mod verifying;

use clap::Parser;

use crate::args::{Cli, Command};
use crate::plan::Plan;

/// The plan of a command line.
fn plan(address: &str, line: &str) -> Plan {
    let words = ["windrow-load"].into_iter().chain(line.split_whitespace()).chain(["--quiet", "--address", address]);
    let cli = Cli::try_parse_from(words).expect("a command line");
    let plan = match &cli.command {
        Command::Load(args) => args.load_plan(),
        Command::Check(args) => args.check_plan(),
        Command::Run(args) => args.plan(),
        Command::Report(_) => panic!("a report has no plan"),
    };
    plan.expect("settings that go together")
}
