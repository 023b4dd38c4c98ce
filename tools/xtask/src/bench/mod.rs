//! `cargo xtask bench`: the node beside Redis and Valkey, the library beside other embedded stores, in one run.
//!
//! Each server is pinned to the first core and the client to the second, so that the server's own cost decides. Who is
//! measured changes within each round, and what is reported are medians and ratios of one round: these machines are
//! noisy, and an absolute figure proves nothing. What cannot be measured is left out and said so; the rest goes on.
//! Needs `taskset`; `redis-server` and `valkey-server` are used where they are.

mod catch_up;
mod document;
mod json;
mod load;
mod machine;
mod memory;
mod parts;
mod plot;
mod replicated;
mod samples;
mod server;
pub(crate) mod standby;
mod stores;
mod tables;
mod why;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use samples::Samples;
use server::Programs;

use crate::run;

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    rounds: usize,
    /// Of one measurement.
    seconds: f64,
    /// Keys for the memory and the opening of the node; none where zero.
    keys: u64,
    /// Keys for those of the embedded stores.
    store_keys: u64,
    rocksdb: bool,
    redis: Option<PathBuf>,
    valkey: Option<PathBuf>,
    /// Stages to leave out.
    without: Vec<String>,
    build_only: bool,
    /// Makes the document again from the last results.
    render_only: bool,
    /// Where the document goes; plots go to a folder beside it.
    out: PathBuf,
}

const STAGES: [&str; 6] = ["servers", "memory", "catch-up", "standby", "stores", "parts"];

impl Options {
    pub(crate) fn parse(flags: &[&str]) -> Result<Self, String> {
        let quick = flags.contains(&"--quick");
        let mut options = Self {
            rounds: if quick { 3 } else { 7 },
            seconds: if quick { 1.0 } else { 4.0 },
            keys: 10_000_000,
            store_keys: if quick { 300_000 } else { 2_000_000 },
            rocksdb: false,
            redis: server::find("redis-server"),
            valkey: server::find("valkey-server"),
            without: Vec::new(),
            build_only: false,
            render_only: false,
            out: run::root().join("docs").join("benchmarks.md"),
        };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().copied().ok_or(format!("{flag} takes a value"));
            match *flag {
                "--quick" => {}
                "--rounds" => options.rounds = number::<usize>(flag, value()?)?.max(1),
                "--seconds" => options.seconds = number::<f64>(flag, value()?)?.clamp(0.05, 600.0),
                "--keys" => options.keys = number(flag, value()?)?,
                "--store-keys" => options.store_keys = number::<u64>(flag, value()?)?.max(1),
                "--rocksdb" => options.rocksdb = true,
                "--redis" => options.redis = Some(program(value()?)?),
                "--valkey" => options.valkey = Some(program(value()?)?),
                "--without" => options.without.push(stage(value()?)?),
                "--build-only" => options.build_only = true,
                "--render-only" => options.render_only = true,
                "--out" => options.out = PathBuf::from(value()?),
                other => return Err(format!("`bench` does not know `{other}`")),
            }
        }
        Ok(options)
    }

    fn wants(&self, stage: &str) -> bool {
        !self.without.iter().any(|other| other == stage)
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} takes a number, not `{text}`"))
}

fn program(path: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(path);
    if path.is_file() { Ok(path) } else { Err(format!("there is no program {}", path.display())) }
}

fn stage(name: &str) -> Result<String, String> {
    if STAGES.contains(&name) {
        Ok(name.to_owned())
    } else {
        Err(format!("--without takes one of {}, not `{name}`", STAGES.join(", ")))
    }
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from)
}

/// A program of the workspace, as it was built.
pub(crate) fn built(name: &str) -> PathBuf {
    target().join("release").join(name)
}

/// The same command, ended with all that it has started when it takes longer than this.
pub(crate) fn limited(command: &Command, minutes: u32) -> Command {
    let mut limited = Command::new("timeout");
    limited.args(["-k", "10", &format!("{minutes}m")]).arg(command.get_program()).args(command.get_args());
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    limited
}

/// Says, now and in the document, what could not be measured.
pub(crate) fn problem(samples: &mut Samples, text: &str) {
    eprintln!("bench: {text}");
    samples.say("problem", text);
}

/// Runs everything. The error says what could not be done at all.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let results = target().join("bench-results.tsv");
    let mut samples = if options.render_only { Samples::read(&results)? } else { Samples::default() };
    if !options.render_only {
        measure(options, &mut samples, &results)?;
        if options.build_only {
            return Ok(());
        }
        samples.write(&results)?;
        println!("bench: figures are in {}", results.display());
    }
    document::write(&samples, &options.out)
}

/// Builds the node in the mode that replicates, and puts the program aside: both modes' programs have one name.
fn build_replicating() -> Result<PathBuf, String> {
    let flags = ["--no-default-features", "--features", "shared-nothing"];
    let build = run::cargo(&[&["build", "--release", "--locked", "-p", "windrow-cli"][..], &flags].concat());
    run::passes(build).into_iter().next().map_or(Ok(()), Err)?;
    let program = built("windrow-shared-nothing");
    std::fs::copy(built("windrow"), &program)
        .map_err(|error| format!("cannot write {}: {error}", program.display()))?;
    Ok(program)
}

fn measure(options: &Options, samples: &mut Samples, results: &Path) -> Result<(), String> {
    machine::check(samples)?;
    // Everything is built before anything is measured.
    let replicating = build_replicating();
    let node = run::passes(run::cargo(&["build", "--release", "--locked", "-p", "windrow-cli", "-p", "windrow-load"]));
    node.into_iter().next().map_or(Ok(()), Err)?;
    if let Err(text) = &replicating {
        problem(samples, text);
    }
    let programs = Programs {
        windrow: built("windrow"),
        replicating: replicating.ok(),
        redis: options.redis.clone(),
        valkey: options.valkey.clone(),
    };
    let stores = options.wants("stores").then(|| stores::build(options.rocksdb, samples));
    let parts = options.wants("parts").then(parts::build);
    if options.build_only {
        return Ok(());
    }
    let started = Instant::now();
    machine::describe(&programs, samples);
    let _in_use = machine::use_memory().map_err(|text| problem(samples, &text)).ok();
    samples.say("rounds", &options.rounds.to_string());
    samples.say("seconds", &options.seconds.to_string());
    let stage = |name: &str, samples: &mut Samples, work: &mut dyn FnMut(&mut Samples) -> Result<(), String>| {
        println!("bench: {name}, {:.0} s after the start", started.elapsed().as_secs_f64());
        if options.wants(name)
            && let Err(text) = work(samples)
        {
            problem(samples, &format!("{name}: {text}"));
        }
        samples.say("minutes", &format!("{:.0}", started.elapsed().as_secs_f64() / 60.0));
        // Whoever is interrupted has what is there so far: `--render-only` writes the page from it.
        if let Err(text) = samples.write(results) {
            println!("bench: {text}");
        }
    };
    stage("servers", samples, &mut |samples| load::measure(options, &programs, samples));
    stage("memory", samples, &mut |samples| match options.keys {
        0 => Ok(()),
        keys => memory::measure(keys, &programs, samples),
    });
    stage("catch-up", samples, &mut |samples| match &programs.replicating {
        Some(_) => catch_up::measure(options.rounds, &programs, samples),
        None => Ok(()),
    });
    stage("standby", samples, &mut |samples| {
        let keys = if options.keys == 0 { Vec::new() } else { vec![options.keys] };
        standby::measure(&standby::Options { seconds: options.seconds, rounds: options.rounds, keys }, samples)
    });
    stage("stores", samples, &mut |samples| match &stores {
        Some(Ok(with_rocksdb)) => stores::measure(options, *with_rocksdb, samples),
        Some(Err(problem)) => Err(problem.clone()),
        None => Ok(()),
    });
    stage("parts", samples, &mut |samples| match &parts {
        Some(Ok(())) => parts::measure(samples),
        Some(Err(problem)) => Err(problem.clone()),
        None => Ok(()),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_understood_or_refused() {
        let options = Options::parse(&["--quick", "--rounds", "2", "--without", "parts", "--keys", "0"]).unwrap();
        assert_eq!(
            (options.rounds, options.keys, options.wants("parts"), options.wants("stores")),
            (2, 0, false, true)
        );
        assert!(Options::parse(&["--seconds", "0.5"]).is_ok());
        for flags in [&["--rounds"][..], &["--rounds", "x"], &["--without", "x"], &["--redis", "/nowhere"], &["x"]] {
            assert!(Options::parse(flags).is_err(), "{flags:?}");
        }
    }
}
