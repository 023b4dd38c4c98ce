//! What is no matter of time per call: space on disk, memory, opening after a crash.
//!
//! Each store is filled in a process of its own, which is killed then; another process opens what is left, and looks
//! whether everything is there that had been confirmed.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Instant;

use crate::{Durability, Engine, KEY_LEN, VALUE_LEN, key, loaded, value, write_range};

/// What was found of one store.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Facts {
    /// Allocated blocks of all its files, for a byte of live keys and values.
    pub disk_per_byte: f64,
    /// Memory beside the page cache, bytes for a key, after every key was read once.
    pub memory_per_key: f64,
    /// From the call that opens it to the first value read.
    pub open_ms: f64,
    /// Keys whose confirmed value was not there after the crash.
    pub lost: u64,
}

/// Fills a store in a child process, kills that, and looks at what is left.
///
/// # Panics
/// If the child cannot be started or does not do what this program does when told so.
#[must_use]
pub fn gather(engine: Engine, program: &Path, scratch: &Path, keys: u64) -> Facts {
    let dir = scratch.join(engine.name());
    let (mut child, mut lines) = start(program, "fill", engine, &dir, keys);
    let memory = number(&mut lines);
    let disk = disk_bytes(&dir);
    // As if the process had crashed: the child waits for a line that never comes.
    child.kill().expect("the child is ours");
    child.wait().expect("the child is ours");
    let (mut child, mut lines) = start(program, "reopen", engine, &dir, keys);
    let (open_ms, lost) = (number(&mut lines), number(&mut lines));
    child.wait().expect("the child is ours");
    fs::remove_dir_all(&dir).expect("the directory is ours");
    let live = keys * (KEY_LEN + VALUE_LEN) as u64;
    Facts { disk_per_byte: disk as f64 / live as f64, memory_per_key: memory / keys as f64, open_ms, lost: lost as u64 }
}

fn start(program: &Path, what: &str, engine: Engine, dir: &Path, keys: u64) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(program);
    command.args([what, engine.name()]).arg(dir).arg(keys.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("this program runs");
    let stdout = child.stdout.take().expect("a pipe");
    (child, BufReader::new(stdout))
}

fn number(lines: &mut BufReader<ChildStdout>) -> f64 {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line of the child");
    line.trim().parse().expect("the child prints numbers")
}

/// The child's part: fills the store, overwrites half of it, reads everything, says how much memory that took, waits.
pub fn fill(engine: Engine, dir: &Path, keys: u64) {
    let before = anonymous_bytes();
    let mut store = loaded(engine, dir, Durability::Durable, keys);
    write_range(&mut *store, 0, keys / 2, 1);
    let mut found = 0;
    for number in 0..keys {
        found += u64::from(store.get(&key(number), &mut |_| {}));
    }
    assert_eq!(found, keys, "{engine} lost keys without a crash");
    println!("{}", anonymous_bytes().saturating_sub(before));
    std::io::stdout().flush().expect("the parent listens");
    // Ends when the parent kills this process, or with it.
    let _parent_gone = std::io::stdin().read_line(&mut String::new());
}

/// The child's part: opens what is left, and looks for everything that was confirmed.
pub fn reopen(engine: Engine, dir: &Path, keys: u64) {
    let started = Instant::now();
    let store = engine.open(dir, Durability::Durable);
    store.get(&key(0), &mut |_| {});
    println!("{}", started.elapsed().as_secs_f64() * 1e3);
    let mut whole = 0;
    for number in 0..keys {
        let expected = value(number, u64::from(number < keys / 2));
        store.get(&key(number), &mut |value| whole += u64::from(value == expected));
    }
    println!("{}", keys - whole);
}

/// Memory of this process that is no file's.
fn anonymous_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1024
}

/// Blocks that the files of a directory have on the disk.
fn disk_bytes(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
