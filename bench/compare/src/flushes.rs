//! How often a store asks the system to flush, for one commit: the claim of durability, looked at from outside.
//!
//! The work runs in a process of its own under `strace`, once without commits and once with some; the difference is
//! theirs. What is counted are the calls that wait for the disk, and writes through a descriptor that was opened
//! with `O_DSYNC` or `O_SYNC`, which do so too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::Engine;

/// Commits in the run that is compared with one without.
pub const COMMITS: u64 = 50;
const TRACED: &str =
    "trace=openat,fsync,fdatasync,msync,sync_file_range,write,writev,pwrite64,pwritev,pwritev2,io_uring_enter";
const FLUSHES: [&str; 4] = ["fdatasync", "fsync", "msync", "sync_file_range"];
const WRITES: [&str; 5] = ["write", "writev", "pwrite64", "pwritev", "pwritev2"];

/// Calls by name.
pub type Calls = BTreeMap<String, u64>;

/// Flushes of one commit, such as `1 fdatasync`; `None` where `strace` is not to be had.
#[must_use]
pub fn per_commit(engine: Engine, program: &Path, scratch: &Path) -> Option<String> {
    let idle = traced(engine, program, &scratch.join("flushes-0"), 0)?;
    let busy = traced(engine, program, &scratch.join("flushes-n"), COMMITS)?;
    Some(difference(&idle, &busy, COMMITS))
}

fn traced(engine: Engine, program: &Path, dir: &Path, commits: u64) -> Option<Calls> {
    fs::create_dir_all(dir).ok()?;
    let trace = dir.join("trace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-s", "0", "-e", TRACED, "-o"]).arg(&trace).arg(program);
    strace.args(["puts", engine.name()]).arg(dir.join("store")).arg(commits.to_string());
    let ended = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    let text = ended.ok().filter(std::process::ExitStatus::success).and_then(|_| fs::read_to_string(&trace).ok());
    fs::remove_dir_all(dir).ok()?;
    Some(count(&text?))
}

/// What a trace has of calls that wait for the disk.
#[must_use]
pub fn count(trace: &str) -> Calls {
    let mut calls = Calls::new();
    let mut synchronous = BTreeSet::new();
    for line in trace.lines() {
        // `pid name(arguments) = result`; what was interrupted comes in two lines, of which the first has the name.
        let Some((before, arguments)) = line.split_once('(') else { continue };
        let Some(name) = before.split_whitespace().last() else { continue };
        let descriptor = arguments.split([',', ')']).next().unwrap_or_default();
        if name == "openat" {
            let opened = line.rsplit_once("= ").map_or("", |(_, result)| result.trim());
            if arguments.contains("O_DSYNC") || arguments.contains("O_SYNC") {
                synchronous.insert(opened.to_owned());
            } else {
                synchronous.remove(opened);
            }
        } else if FLUSHES.contains(&name) {
            *calls.entry(name.to_owned()).or_default() += 1;
        } else if WRITES.contains(&name) && synchronous.contains(descriptor) {
            *calls.entry("O_DSYNC write".to_owned()).or_default() += 1;
        }
    }
    calls
}

/// Calls of one commit, as text.
#[must_use]
pub fn difference(idle: &Calls, busy: &Calls, commits: u64) -> String {
    let each = busy.iter().filter_map(|(name, &count)| {
        let more = count.saturating_sub(idle.get(name).copied().unwrap_or(0));
        let tenths = (more * 10 + commits / 2) / commits;
        (tenths > 0).then(|| match (tenths / 10, tenths % 10) {
            (whole, 0) => format!("{whole} {name}"),
            (whole, part) => format!("{whole}.{part} {name}"),
        })
    });
    let text = each.collect::<Vec<_>>().join(" + ");
    if text.is_empty() { "none seen".to_owned() } else { text }
}
