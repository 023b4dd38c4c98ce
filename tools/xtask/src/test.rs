//! Every test, in both modes, with the examples and a crash loop.

use std::fs;
use std::process::{Command, Stdio};

use crate::beside::Beside;
use crate::check;
use crate::modes::{self, SHARED_MEMORY, SHARED_NOTHING, SHARED_NOTHING_TESTS, TESTS};
use crate::report::{Report, Tally};
use crate::run::{cargo, passes, root, target, watched};
use crate::torture;

/// Rounds of the crash loop where nothing else is asked for.
const ROUNDS_SHORT: u32 = 8;
/// Rounds of the crash loop with `--long`.
const ROUNDS_LONG: u32 = 200;

/// What to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Options {
    long: bool,
    rounds: u32,
}

impl Options {
    /// Reads the flags of `cargo xtask test`.
    pub(crate) fn parse(flags: &[&str]) -> Result<Self, String> {
        let mut long = false;
        let mut rounds = None;
        let mut flags = flags.iter();
        while let Some(&flag) = flags.next() {
            match flag {
                "--long" => long = true,
                "--rounds" => {
                    let value = flags.next().ok_or("--rounds takes a number")?;
                    let number: u32 = value.parse().map_err(|_| format!("--rounds {value}: not a number"))?;
                    rounds = Some(number);
                }
                other => return Err(format!("`{other}` is not a flag of test")),
            }
        }
        Ok(Self { long, rounds: rounds.unwrap_or(if long { ROUNDS_LONG } else { ROUNDS_SHORT }) })
    }

    fn apply(&self, command: &mut Command) {
        command.env("CRASH_ROUNDS", self.rounds.to_string());
        if self.long {
            command.env("PROPTEST_CASES", "4096").env("WINDROW_POWERCUT_ROUNDS", "500").env("TAKEOVER_ROUNDS", "50");
        }
    }
}

/// Runs them all, and what of the check takes long. A run that fails does not stop the others.
///
/// Tests wait much, for disks, kills and timeouts of nodes; beside them runs whatever only compiles. It starts with the
/// first test: until then, cargo itself works in the build directory, of which it lets go before it runs anything.
pub(crate) fn all(report: &mut Report, options: &Options) {
    let tests = cargo(&[&["test", "--locked", "--no-fail-fast"], &SHARED_MEMORY[..], &TESTS].concat());
    let other_mode = || vec![("build, shared-nothing", shared_nothing_tests(&["--no-run"]))];
    let building = run(report, options, "tests, shared-memory", tests, other_mode);
    torture::all(report, options.long);
    building.finish(report);
    let checks = || check::thorough().into_iter().chain(examples_built()).collect();
    let checking = run(report, options, "tests, shared-nothing", shared_nothing_tests(&[]), checks);
    torture::shared_nothing(report, options.long);
    checking.finish(report);
    let documented = cargo(&[&["test", "--locked", "--no-fail-fast", "--doc"], &SHARED_MEMORY[..]].concat());
    run(report, options, "documentation examples", documented, Vec::new).finish(report);
    if options.long {
        report.step("simulator, a node", || simulate(&[]));
        report.step("simulator, replicas", || simulate(&["--cluster"]));
    }
    run_examples(report);
}

fn shared_nothing_tests(flags: &[&str]) -> Command {
    let all = [&["test", "--locked", "--no-fail-fast"], &SHARED_NOTHING[..], &SHARED_NOTHING_TESTS, flags];
    modes::shared_nothing(&all.concat())
}

/// Builds the examples of all crates, in both modes.
fn examples_built() -> [(&'static str, Command); 2] {
    let build = ["build", "--locked", "--examples"];
    let nothing = modes::shared_nothing(&[&build[..], &SHARED_NOTHING].concat());
    let memory = cargo(&[&build[..], &SHARED_MEMORY].concat());
    [("examples are built, shared-nothing", nothing), ("examples are built, shared-memory", memory)]
}

/// Runs those of the embedded library.
fn run_examples(report: &mut Report) {
    for example in examples() {
        let mut command = Command::new(target().join("debug/examples").join(&example));
        command.current_dir(root()).stdin(Stdio::null());
        report.step(&format!("example {example}"), || passes(command));
    }
}

/// Some minutes of seeds that were not tried before.
fn simulate(kind: &[&str]) -> Vec<String> {
    let from = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
    let args = ["run", "-q", "--locked", "--profile", "sim", "-p", "windrow-sim", "--", "--minutes", "5", "--from"];
    passes(cargo(&[&args[..], &[&from.to_string()], kind].concat()))
}

/// Runs tests and counts them, and starts the steps of `beside` with the first test, or afterwards if there was none.
fn run(
    report: &mut Report,
    options: &Options,
    name: &str,
    mut command: Command,
    beside: impl Fn() -> Vec<(&'static str, Command)>,
) -> Beside {
    println!("==> {name}");
    options.apply(&mut command);
    let mut tally = Tally::default();
    let mut started = None;
    let problems = watched(command, |line| {
        // Cargo writes to stderr: this is a test program.
        started.get_or_insert_with(|| Beside::start(beside()));
        add(&mut tally, line);
    });
    report.add(tally);
    for problem in &problems {
        println!("{problem}");
    }
    match (problems.is_empty(), tally.failed) {
        (true, 0) => {}
        // A test program that was killed, or did not build, counted nothing.
        (false, 0) => report.failed(name),
        (_, _) => report.name_failure(name),
    }
    started.unwrap_or_else(|| Beside::start(beside()))
}

/// Adds the numbers of one `test result:` line; any other line changes nothing.
fn add(tally: &mut Tally, line: &str) {
    let Some(result) = line.trim_start().strip_prefix("test result: ") else { return };
    let counts = result.split_once(". ").map_or("", |(_, counts)| counts);
    for count in counts.split("; ") {
        let mut words = count.split(' ');
        let (Some(number), Some(kind)) = (words.next().and_then(|word| word.parse::<u64>().ok()), words.next()) else {
            continue;
        };
        match kind {
            "passed" => tally.passed += number,
            "failed" => tally.failed += number,
            "ignored" => tally.skipped += number,
            _ => {}
        }
    }
}

/// The examples of the embedded library, by name.
fn examples() -> Vec<String> {
    let folder = root().join("engine/embed/examples");
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up() {
        let mut tally = Tally::default();
        add(&mut tally, "running 3 tests");
        add(
            &mut tally,
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 5 filtered out; finished in 0.00s",
        );
        add(&mut tally, "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!(tally, Tally { passed: 15, failed: 2, skipped: 1 });
    }

    #[test]
    fn flags_are_read_or_refused() {
        assert_eq!(Options::parse(&[]), Ok(Options { long: false, rounds: ROUNDS_SHORT }));
        assert_eq!(Options::parse(&["--long"]), Ok(Options { long: true, rounds: ROUNDS_LONG }));
        assert_eq!(Options::parse(&["--rounds", "3", "--long"]), Ok(Options { long: true, rounds: 3 }));
        assert!(Options::parse(&["--rounds"]).is_err());
        assert!(Options::parse(&["--rounds", "few"]).is_err());
        assert!(Options::parse(&["--short"]).is_err());
    }
}
