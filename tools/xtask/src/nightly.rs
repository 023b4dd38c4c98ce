//! What needs a nightly compiler: libFuzzer and Miri. Where a tool is missing, that is said, with the command that
//! installs it.

use std::fs;
use std::process::Command;

use crate::report::Report;
use crate::run::{output, passes, root};

/// Where the cargo-fuzz package lies.
const FUZZ_DIR: &str = "tools/fuzz/libfuzzer";
/// Inputs that are kept, by target.
const CORPUS: &str = "tools/fuzz/corpus";
/// New finds, by target; not kept.
const FINDS: &str = "target/fuzz-finds";
/// Inputs up to this length are made and kept: what reaches far is short.
const INPUT_LEN_MAX: u64 = 2048;

/// What Miri runs: tests that touch `unsafe` code, or shared memory, and need no system that Miri lacks.
const MIRI_RUNS: [(&str, &[&str]); 1] = [
    // The archive with the scratch it is written from, records and segment headers around it, and what reads them back. The
    // tests that flip every bit take half an hour here, and nothing that the others do not.
    (
        "the codec and the superblock",
        &["-p", "windrow-core", "--lib", "--", "codec::", "superblock::", "--skip", "flip"],
    ),
];

/// What to fuzz.
#[derive(Debug, PartialEq)]
pub(crate) struct Fuzz {
    minutes: f64,
    target: Option<String>,
    keep: bool,
}

impl Fuzz {
    /// Reads the flags of `cargo xtask fuzz`.
    pub(crate) fn parse(flags: &[&str]) -> Result<Self, String> {
        let mut options = Self { minutes: 1.0, target: None, keep: false };
        let mut flags = flags.iter();
        while let Some(&flag) = flags.next() {
            match flag {
                "--minutes" => {
                    let value = flags.next().ok_or("--minutes takes a number")?;
                    let minutes = value.parse().ok().filter(|minutes: &f64| minutes.is_finite() && *minutes > 0.0);
                    options.minutes = minutes.ok_or_else(|| format!("--minutes {value}: not a time"))?;
                }
                "--keep" => options.keep = true,
                name if !name.starts_with('-') && options.target.is_none() => options.target = Some(name.to_owned()),
                other => return Err(format!("`{other}` is not a flag of fuzz")),
            }
        }
        let targets = targets();
        match &options.target {
            Some(name) if !targets.contains(name) => {
                Err(format!("`{name}` is not a target; they are {}", targets.join(", ")))
            }
            _ => Ok(options),
        }
    }
}

/// The names of all targets.
fn targets() -> Vec<String> {
    let folder = root().join(FUZZ_DIR).join("fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_suffix(".rs").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// Lets libFuzzer make up inputs, for so many minutes a target.
pub(crate) fn fuzz(report: &mut Report, options: &Fuzz) {
    if let Some(missing) = missing(&["fuzz", "--version"], "cargo install --locked cargo-fuzz") {
        report.step("fuzz", || vec![missing]);
        return;
    }
    for target in targets().iter().filter(|name| options.target.as_ref().is_none_or(|wanted| wanted == *name)) {
        report.step(&format!("fuzz {target}"), || fuzz_target(target, options.minutes));
        if options.keep {
            report.step(&format!("keep finds of {target}"), || keep(target));
        }
    }
}

fn fuzz_target(target: &str, minutes: f64) -> Vec<String> {
    let (finds, corpus) = (format!("{FINDS}/{target}"), format!("{CORPUS}/{target}"));
    if let Err(error) = fs::create_dir_all(root().join(&finds)) {
        return vec![format!("{finds}: {error}")];
    }
    let time = format!("-max_total_time={:.0}", (minutes * 60.0).max(1.0));
    let len = format!("-max_len={INPUT_LEN_MAX}");
    let rest = ["--", &time, &len, "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"];
    passes(nightly(&[&["fuzz", "run", "--fuzz-dir", FUZZ_DIR, target, &finds, &corpus], &rest[..]].concat()))
}

/// Adds to the corpus the finds that reach something no kept input reaches.
fn keep(target: &str) -> Vec<String> {
    let (finds, corpus) = (format!("{FINDS}/{target}"), format!("{CORPUS}/{target}"));
    let len = format!("-max_len={INPUT_LEN_MAX}");
    passes(nightly(&["fuzz", "run", "--fuzz-dir", FUZZ_DIR, target, &corpus, &finds, "--", "-merge=1", &len]))
}

/// Runs tests of `unsafe` code in the interpreter that checks each access.
pub(crate) fn miri(report: &mut Report) {
    let install = "rustup component add miri rust-src --toolchain nightly";
    if let Some(missing) = missing(&["miri", "--version"], install) {
        report.step("miri", || vec![missing]);
        return;
    }
    for (name, args) in MIRI_RUNS {
        report.step(&format!("miri, {name}"), || {
            let mut command = nightly(&[&["miri", "test", "--locked"], args].concat());
            // Trees, not stacks, of borrows: an archive's parts are reached by relative pointers from references to other
            // parts, which the older model forbids and rkyv is not written for. Isolation would forbid property tests to
            // read their settings from the environment; each case takes seconds.
            command.env("MIRIFLAGS", "-Zmiri-tree-borrows -Zmiri-disable-isolation").env("PROPTEST_CASES", "4");
            passes(command)
        });
    }
    report.note(
        "Miri cannot run what maps files or talks to the kernel by itself: engine/store's mappings, the node's rings \
         with io_uring, the handler of SIGBUS. Those are tested on the machine only"
            .to_owned(),
    );
}

/// Cargo of the nightly toolchain, from the root of the workspace.
fn nightly(args: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo"]).args(args).current_dir(root()).env_remove("RUSTUP_TOOLCHAIN");
    command
}

/// What is missing before `cargo ARGS` works on nightly, if anything is.
fn missing(args: &[&str], install: &str) -> Option<String> {
    if output(nightly(&["--version"])).is_none() {
        return Some("there is no nightly toolchain: rustup toolchain install nightly --profile minimal".to_owned());
    }
    output(nightly(args)).is_none().then(|| format!("cargo {} does not run on nightly: {install}", args[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_fuzz_are_read_or_refused() {
        assert_eq!(Fuzz::parse(&[]), Ok(Fuzz { minutes: 1.0, target: None, keep: false }));
        let some = Fuzz { minutes: 0.5, target: Some("resp".to_owned()), keep: true };
        assert_eq!(Fuzz::parse(&["--minutes", "0.5", "resp", "--keep"]), Ok(some));
        for wrong in [&["--minutes"][..], &["--minutes", "-1"], &["nothing"], &["resp", "record"], &["--short"]] {
            assert!(Fuzz::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
