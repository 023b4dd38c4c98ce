//! What CI and people call: `cargo xtask check | fix | test | …`.
//!
//! It has no dependencies, so that it builds in seconds on a machine that has nothing else yet. `check` never
//! writes to the source tree; `fix` does what a program can mend.
#![expect(clippy::print_stdout, reason = "a command-line program answers on stdout")]

mod bench;
mod beside;
mod check;
mod fix;
mod licences;
mod modes;
mod nightly;
mod report;
mod run;
mod source;
mod test;
mod tidy;
mod torture;

use std::process::ExitCode;

use report::Report;

const USAGE: &str = "\
usage: cargo xtask <command>

  check                    formatting, lints, documentation, bare-metal build, licences, tidy rules; writes nothing
  tidy                     only the tidy rules and the licences: takes a second
  fix                      formats, and applies what clippy can mend
  test [--long]            check, and every test, in both modes, with a short crash loop
       [--rounds N]        rounds of the crash loop; --long means 200, more of all that is random, and the simulator
  bench [--quick]          the node beside Redis and Valkey, the library beside other stores; writes docs/benchmarks.md
        [--rounds N] [--seconds S]         of one measurement
        [--keys N] [--store-keys N]        for memory and opening, of the node (0: none) and of embedded stores
        [--rocksdb]                        with RocksDB: long to build, needs g++ and libclang
        [--redis PROGRAM] [--valkey PROGRAM]   where they are not in PATH
        [--without STAGE]                  servers, memory, catch-up, standby, stores or parts; may be given several times
        [--build-only | --render-only]     only builds; or makes the document again from the last figures
        [--out FILE]                       instead of docs/benchmarks.md; plots go to a folder beside it
  bench standby [--quick]  what a standby costs, how far it lags, how long it takes to go on after `kill -9`
        [--rounds N] [--seconds S] [--keys N,N...]
  sim [--cluster] --seed N | --seeds A..B | --minutes M | --mutations
                           the deterministic simulator, of a node or of replicas; `--seed N --verbose` repeats one run event by event
  fuzz [TARGET] [--minutes M] [--keep]
                           libFuzzer on every target or one, a minute each; --keep adds to the corpus what reaches further
  miri                     tests of `unsafe` code in the interpreter; both need a nightly toolchain and say what is missing
  crash [--rounds N] [--kill N] [--faults N] [--seed S] [--out FILE]
                           the real binary: N power cuts (needs root), kills, and failing disks of each kind
  linearize [--minutes M] [--seed S] [--out FILE]
                           the real binary: is what concurrent clients see linearizable, also while it is killed
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["check"] => Report::over(check::all),
        ["tidy"] => Report::over(|report| {
            tidy::all(report);
            licences::all(report);
        }),
        ["fix"] => Report::over(fix::all),
        ["test", flags @ ..] => match test::Options::parse(flags) {
            Ok(options) => Report::over(|report| {
                check::quick(report);
                test::all(report, &options);
            }),
            Err(problem) => usage(&problem),
        },
        ["bench", "standby", flags @ ..] => {
            match bench::standby::Options::parse(flags).map(|options| bench::standby::run(&options)) {
                Ok(Ok(())) => ExitCode::SUCCESS,
                Ok(Err(problem)) => {
                    eprintln!("xtask: {problem}");
                    ExitCode::FAILURE
                }
                Err(problem) => usage(&problem),
            }
        }
        ["bench", flags @ ..] => match bench::Options::parse(flags).map(|options| bench::run(&options)) {
            Ok(Ok(())) => ExitCode::SUCCESS,
            Ok(Err(problem)) => {
                eprintln!("xtask: {problem}");
                ExitCode::FAILURE
            }
            Err(problem) => usage(&problem),
        },
        ["sim", flags @ ..] => sim(flags),
        ["fuzz", flags @ ..] => match nightly::Fuzz::parse(flags) {
            Ok(options) => Report::over(|report| nightly::fuzz(report, &options)),
            Err(problem) => usage(&problem),
        },
        ["miri"] => Report::over(nightly::miri),
        [name @ ("crash" | "linearize"), flags @ ..] => torture::command(name, flags),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            ExitCode::SUCCESS
        }
        [] => usage("no command given"),
        [other, ..] => usage(&format!("`{other}` is not a command, or takes no arguments")),
    }
}

/// Runs the simulator, optimised and with every check on.
fn sim(flags: &[&str]) -> ExitCode {
    let args = [&["run", "-q", "--locked", "--profile", "sim", "-p", "windrow-sim", "--"], flags].concat();
    let problems = run::passes(run::cargo(&args));
    problems.iter().for_each(|problem| eprintln!("xtask: {problem}"));
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn usage(problem: &str) -> ExitCode {
    eprint!("xtask: {problem}\n\n{USAGE}");
    ExitCode::from(2)
}
