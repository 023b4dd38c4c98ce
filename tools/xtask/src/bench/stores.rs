//! Other embedded stores: `bench/compare`, which is built by itself, through criterion; and what criterion reports
//! of Windrow's own parts.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Options;
use super::json::Json;
use super::samples::Samples;
use crate::run;

/// Groups of the criterion benchmark, by their names there.
pub(crate) const WORKS: [&str; 5] = ["put_durable", "batch_durable", "put_unsynced", "get_hot", "scan"];

/// A store that hangs must not hold up all that comes behind it.
const MINUTES_MAX: u32 = 15;

fn folder() -> PathBuf {
    run::root().join("bench").join("compare")
}

/// Cargo in the folder of the comparison, which is a workspace of its own.
fn cargo(args: &[&str], with_rocksdb: bool) -> Command {
    let mut command = run::cargo(args);
    command.current_dir(folder());
    // Its own target directory, unless the user has one for all.
    if std::env::var_os("CARGO_TARGET_DIR").is_none() {
        command.env("CARGO_TARGET_DIR", target());
    }
    if with_rocksdb {
        command.args(["--features", "rocksdb"]);
    }
    command
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder().join("target"), PathBuf::from)
}

/// Builds the comparison; with RocksDB where that was asked for and succeeds. Whether RocksDB is in it.
pub(crate) fn build(with_rocksdb: bool, samples: &mut Samples) -> Result<bool, String> {
    let build = |with_rocksdb| {
        let programs = run::passes(cargo(&["build", "--release", "--locked"], with_rocksdb));
        let benches = || run::passes(cargo(&["bench", "--locked", "--no-run"], with_rocksdb));
        if programs.is_empty() { benches() } else { programs }
    };
    if with_rocksdb {
        if build(true).is_empty() {
            return Ok(true);
        }
        super::problem(samples, "RocksDB could not be built: it needs g++ and libclang (Debian: g++, libclang-dev)");
    } else {
        samples.say("rocksdb", "not built: `--rocksdb` does that, which takes a quarter of an hour on two idle cores");
    }
    build(false).into_iter().next().map_or(Ok(false), Err)
}

/// Runs the benchmark once for each round, another store first each time, and reads what criterion found.
pub(crate) fn measure(options: &Options, with_rocksdb: bool, samples: &mut Samples) -> Result<(), String> {
    let engines = engines(with_rocksdb, samples)?;
    for round in 0..options.rounds {
        println!("bench: embedded stores, round {}", round + 1);
        let mut bench = cargo(&["bench", "--locked", "--bench", "stores"], with_rocksdb);
        bench.args(["--", "--noplot", "--warm-up-time", "0.2", "--measurement-time", &options.seconds.to_string()]);
        bench.args(["--sample-size", "15"]).env("WINDROW_COMPARE_FIRST", round.to_string());
        // What this round does not reach must not be read as if it had.
        for work in WORKS {
            let _not_there = std::fs::remove_dir_all(target().join("criterion").join(work));
        }
        // A store that fails takes those behind it along; what was measured before it counts.
        for failed in run::passes(super::limited(&bench, MINUTES_MAX)) {
            super::problem(samples, &failed);
        }
        for work in WORKS {
            for engine in &engines {
                if let Some(nanos) = estimate(&target(), &[work, engine]) {
                    samples.add(work, engine, "ns", round, nanos);
                }
            }
        }
    }
    facts(options, with_rocksdb, samples)
}

/// The median that criterion found, in nanoseconds.
pub(crate) fn estimate(target: &Path, names: &[&str]) -> Option<f64> {
    let mut path = target.join("criterion");
    path.extend(names);
    let text = std::fs::read_to_string(path.join("new").join("estimates.json")).ok()?;
    Json::parse(&text)?.number("median.point_estimate")
}

/// What `windrow-compare` prints.
fn program(args: &[&str], with_rocksdb: bool) -> Option<String> {
    let mut command = cargo(&["run", "-q", "--release", "--locked"], with_rocksdb);
    // Temporary files beside those of the benchmark: on the same disk.
    command.arg("--").args(args).env("TMPDIR", super::target());
    run::output(super::limited(&command, MINUTES_MAX))
}

/// The stores that were built in; their settings are noted.
fn engines(with_rocksdb: bool, samples: &mut Samples) -> Result<Vec<String>, String> {
    let list = program(&["engines"], with_rocksdb).ok_or("windrow-compare does not run")?;
    let mut engines = Vec::new();
    for line in list.lines() {
        if let [engine, version, durable, unsynced] = line.split('\t').collect::<Vec<_>>().as_slice() {
            samples.say("engine", engine);
            samples.say(&format!("{engine}-version"), version);
            samples.say(&format!("{engine}-durable"), durable);
            samples.say(&format!("{engine}-unsynced"), unsynced);
            engines.push((*engine).to_owned());
        }
    }
    Ok(engines)
}

/// Space, memory, opening, flushes.
fn facts(options: &Options, with_rocksdb: bool, samples: &mut Samples) -> Result<(), String> {
    println!("bench: space, memory and opening of embedded stores, {} keys", options.store_keys);
    let keys = options.store_keys.to_string();
    let table = program(&["facts", &keys], with_rocksdb).ok_or("windrow-compare facts failed")?;
    print!("{table}");
    samples.say("store-keys", &keys);
    for line in table.lines().skip(1) {
        let [engine, disk, memory, open, lost, flushes] = line.split('\t').collect::<Vec<_>>()[..] else { continue };
        for (metric, value) in [("disk", disk), ("memory", memory), ("open", open), ("lost", lost)] {
            samples.add("facts", engine, metric, 0, value.parse().unwrap_or(f64::NAN));
        }
        samples.say(&format!("{engine}-flushes"), flushes);
    }
    Ok(())
}
