//! `windrow-compare`: what criterion does not measure. `cargo bench` in this directory measures the rest.

use std::path::Path;
use std::process::ExitCode;

use windrow_bench_compare::{Durability, Engine, facts, flushes, key, value};

const USAGE: &str = "\
usage: windrow-compare engines
       windrow-compare facts [KEYS]      space, memory, opening after a crash, and flushes of a commit by strace

Tab-separated. Files go to the directory that TMPDIR names, which should be on the disk in question.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["engines"] => Engine::ALL.iter().for_each(|engine| {
            let (durable, unsynced) = (engine.durable_setting(), engine.unsynced_setting());
            println!("{engine}\t{}\t{durable}\t{unsynced}", engine.version());
        }),
        ["facts"] => all_facts(1_000_000),
        ["facts", keys] => match keys.parse() {
            Ok(keys) => all_facts(keys),
            Err(_) => return usage(),
        },
        // What the program starts of itself.
        [what @ ("puts" | "fill" | "reopen"), engine, dir, count] => {
            let (Some(engine), Ok(count)) = (Engine::named(engine), count.parse()) else { return usage() };
            match *what {
                "puts" => puts(engine, Path::new(dir), count),
                "fill" => facts::fill(engine, Path::new(dir), count),
                _ => facts::reopen(engine, Path::new(dir), count),
            }
        }
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprint!("{USAGE}");
    ExitCode::from(2)
}

fn all_facts(keys: u64) {
    let program = std::env::current_exe().expect("this program has a path");
    let scratch = tempfile::tempdir().expect("a directory for temporary files");
    println!("engine\tdisk bytes per live byte\tmemory bytes per key\topen ms\tlost keys\tflushes of a durable put");
    for &engine in Engine::ALL {
        let found = facts::gather(engine, &program, scratch.path(), keys);
        let flushes = flushes::per_commit(engine, &program, scratch.path());
        println!(
            "{engine}\t{:.2}\t{:.1}\t{:.1}\t{}\t{}",
            found.disk_per_byte,
            found.memory_per_key,
            found.open_ms,
            found.lost,
            flushes.as_deref().unwrap_or("not counted: no strace")
        );
    }
}

/// Durable puts, for those who count what they ask of the system.
fn puts(engine: Engine, dir: &Path, count: u64) {
    let mut store = engine.open(dir, Durability::Durable);
    for number in 0..count {
        store.put(&key(number), &value(number, 0));
    }
}
