//! The real binary under faults: power cuts, kills, failing disks, and whether its answers are linearizable.

use std::process::ExitCode;

use crate::check::SHARED_NOTHING;
use crate::report::Report;
use crate::run::{cargo, passes};

/// In seconds: a few of everything.
const CRASH_SHORT: &[&str] = &["crash", "--rounds", "4", "--kill", "6", "--faults", "1"];
const CRASH_LONG: &[&str] = &["crash", "--rounds", "200", "--kill", "100", "--faults", "10"];
/// Any load at all counts here: the machine may be busy with other tests.
const LINEARIZE_SHORT: &[&str] = &["linearize", "--minutes", "0.08", "--rate", "20"];
const LINEARIZE_LONG: &[&str] = &["linearize", "--minutes", "3", "--rate", "20"];
const SET_LONG: &[&str] = &["linearize", "--nodes", "3", "--minutes", "3", "--rate", "20"];
const STANDBY_SHORT: &[&str] = &["linearize", "--nodes", "2", "--minutes", "0.08", "--rate", "20"];
const STANDBY_LONG: &[&str] = &["linearize", "--nodes", "2", "--minutes", "3", "--rate", "20"];

/// `cargo xtask crash …` and `cargo xtask linearize …`.
pub(crate) fn command(name: &str, flags: &[&str]) -> ExitCode {
    let problems = run(&[&[name], flags].concat());
    problems.iter().for_each(|problem| eprintln!("xtask: {problem}"));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What `cargo xtask test` runs of it.
pub(crate) fn all(report: &mut Report, long: bool) {
    report.step("crashes", || run(if long { CRASH_LONG } else { CRASH_SHORT }));
    report.step("crashes, a planted loss", || run(&["crash", "--planted", "--rounds", "20"]));
    report.step("linearizability, a planted loss", || run(&["linearize", "--planted", "--minutes", "0.03"]));
    report.step("linearizability", || run(if long { LINEARIZE_LONG } else { LINEARIZE_SHORT }));
    report.step("linearizability with a standby", || run(if long { STANDBY_LONG } else { STANDBY_SHORT }));
}

/// What it runs of it on the shared-nothing build, the only one that replicates between nodes.
pub(crate) fn shared_nothing(report: &mut Report, long: bool) {
    report
        .step("crashes, shared-nothing", || run_on(&SHARED_NOTHING, &[CRASH_SHORT, &["--", "--cores", "1"]].concat()));
    if long {
        report.step("linearizability of three nodes", || run(SET_LONG));
    }
}

fn run(args: &[&str]) -> Vec<String> {
    let three = args.windows(2).any(|pair| pair == ["--nodes", "3"]);
    run_on(if three { &SHARED_NOTHING } else { &["-p", "windrow-cli"] }, args)
}

/// Runs it on the build that `features` chooses.
fn run_on(features: &[&str], args: &[&str]) -> Vec<String> {
    // The program looks for the server beside itself.
    let problems = passes(cargo(&[&["build", "-q", "--locked"], features].concat()));
    if !problems.is_empty() {
        return problems;
    }
    passes(cargo(&[&["run", "-q", "--locked", "-p", "windrow-torture", "--"], args].concat()))
}
