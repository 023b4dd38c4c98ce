//! The real binary under faults: power cuts, kills, failing disks, and whether its answers are linearizable.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::modes::shared_nothing_target;
use crate::report::Report;
use crate::run::{cargo, passes, root, target};

/// In seconds: a few of everything.
const CRASH_SHORT: &[&str] = &["crash", "--rounds", "4", "--kill", "6", "--faults", "1"];
const CRASH_LONG: &[&str] = &["crash", "--rounds", "200", "--kill", "100", "--faults", "10"];
/// Any load at all counts here: the machine may be busy with other tests.
const LINEARIZE_SHORT: &[&str] = &["linearize", "--minutes", "0.08", "--rate", "20"];
const LINEARIZE_LONG: &[&str] = &["linearize", "--minutes", "3", "--rate", "20"];
const SET_LONG: &[&str] = &["linearize", "--nodes", "3", "--minutes", "3", "--rate", "20"];
const STANDBY_SHORT: &[&str] = &["linearize", "--nodes", "2", "--minutes", "0.08", "--rate", "20"];
const STANDBY_LONG: &[&str] = &["linearize", "--nodes", "2", "--minutes", "3", "--rate", "20"];

/// The mode that is not the default, by itself: nothing else is built beside it.
const SHARED_NOTHING: [&str; 5] = ["-p", "windrow-cli", "--no-default-features", "--features", "shared-nothing"];

/// `cargo xtask crash …` and `cargo xtask linearize …`, which build what they need.
pub(crate) fn command(name: &str, flags: &[&str]) -> ExitCode {
    let three = flags.windows(2).any(|pair| pair == ["--nodes", "3"]);
    let server: &[&str] = if three { &SHARED_NOTHING } else { &["-p", "windrow-cli"] };
    let mut problems = passes(cargo(&[&["build", "-q", "--locked"], server].concat()));
    if problems.is_empty() {
        // The program looks for the server beside itself.
        problems = passes(cargo(&[&["run", "-q", "--locked", "-p", "windrow-torture", "--", name], flags].concat()));
    }
    problems.iter().for_each(|problem| eprintln!("xtask: {problem}"));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What `cargo xtask test` runs of it, with the programs that its tests have built.
pub(crate) fn all(report: &mut Report, long: bool) {
    let server = target();
    report.step("crashes", || run(&server, if long { CRASH_LONG } else { CRASH_SHORT }, &[]));
    report.step("crashes, a planted loss", || run(&server, &["crash", "--planted", "--rounds", "20"], &[]));
    report.step("linearizability, a planted loss", || {
        run(&server, &["linearize", "--planted", "--minutes", "0.03"], &[])
    });
    report.step("linearizability", || run(&server, if long { LINEARIZE_LONG } else { LINEARIZE_SHORT }, &[]));
    report
        .step("linearizability with a standby", || run(&server, if long { STANDBY_LONG } else { STANDBY_SHORT }, &[]));
}

/// What it runs of it on the shared-nothing build, the only one that replicates between nodes.
pub(crate) fn shared_nothing(report: &mut Report, long: bool) {
    let server = shared_nothing_target();
    report.step("crashes, shared-nothing", || run(&server, CRASH_SHORT, &["--cores", "1"]));
    if long {
        report.step("linearizability of three nodes", || run(&server, SET_LONG, &[]));
    }
}

/// Runs it with the server from the build in `server`, which is given `flags`.
fn run(server: &Path, args: &[&str], flags: &[&str]) -> Vec<String> {
    let mut command = Command::new(target().join("debug/windrow-torture"));
    command.args(args).arg("--binary").arg(server.join("debug/windrow")).arg("--").args(flags);
    command.current_dir(root()).stdin(Stdio::null());
    passes(command)
}
