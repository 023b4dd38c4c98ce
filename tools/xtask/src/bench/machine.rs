//! What the figures were taken on.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use super::samples::Samples;
use super::server::{Programs, Scratch, find};
use crate::run;

/// Notes the machine, the versions and the commit.
pub(crate) fn describe(programs: &Programs, samples: &mut Samples) {
    samples.say("machine", &machine());
    for (name, program) in [("redis", &programs.redis), ("valkey", &programs.valkey)] {
        match program.as_deref().and_then(version) {
            Some(version) => samples.say(name, &version),
            None => samples.say(name, &format!("not installed, and no `--{name} PATH` given: left out")),
        }
    }
    let commit = run::output(git(&["describe", "--always", "--dirty", "--abbrev=10"]));
    samples.say(
        "windrow",
        &format!("{}, commit {}", env!("CARGO_PKG_VERSION"), commit.as_deref().unwrap_or("unknown").trim()),
    );
}

/// Bytes that stay free where the memory is put to use.
const LEFT_FREE: usize = 2 << 30;

/// Puts the memory to use, as it is on a machine that has run for a while: all but [`LEFT_FREE`] holds clean pages of a file,
/// from which Linux takes what it needs, for as long as the file is kept.
///
/// Else whatever is stored goes to memory that the host of a virtual machine has to find first.
pub(crate) fn use_memory() -> Result<File, String> {
    let free: usize = first_line("/proc/meminfo", "MemFree").trim_end_matches(" kB").parse().unwrap_or(0);
    let len = (free * 1024).saturating_sub(LEFT_FREE);
    // Not in /tmp, which may be memory itself.
    let scratch = Scratch::new("memory")?;
    let read = || {
        let file = File::options().read(true).write(true).create_new(true).open(scratch.path().join("holes"))?;
        file.set_len(len as u64)?;
        let mut piece = vec![0; 1 << 20];
        (0..len).step_by(piece.len()).try_for_each(|at| file.read_at(&mut piece, at as u64).map(drop))?;
        Ok(file)
    };
    // Its name goes with the directory; its pages stay until it is closed.
    read().map_err(|error: io::Error| format!("cannot put the memory to use: {error}"))
}

/// Has the host behind a virtual machine give it memory: up to half of what is free, and at most so many bytes, are
/// written to once.
///
/// The first store to a page that the host has not backed costs several times as much as any later one, measured as 6 to
/// 11 µs. A host takes free memory back after a moment, so this is done before each turn of each server: without it, a
/// turn would pay for what was freed before it, and most of all whoever writes most.
pub(crate) fn touch_memory(most: usize) {
    let available: usize = first_line("/proc/meminfo", "MemAvailable").trim_end_matches(" kB").parse().unwrap_or(0);
    let mut memory = vec![0_u8; (available / 2 * 1024).min(most)];
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    std::hint::black_box(&memory);
}

/// What this machine lacks, each with what is left out for it. The error is what nothing can be measured without.
pub(crate) fn check(samples: &mut Samples) -> Result<(), String> {
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err("this needs two cores, one for the server and one for the client".to_owned());
    }
    for program in ["taskset", "timeout"] {
        find(program).ok_or_else(|| format!("this needs `{program}` (Debian: util-linux, coreutils)"))?;
    }
    for (program, package, lack) in [
        ("strace", "strace", "the flushes of embedded stores are not counted"),
        ("chrt", "util-linux", "the reader beside writers does not go before them on their core"),
    ] {
        if find(program).is_none() {
            super::problem(samples, &format!("no `{program}` (Debian: {package}): {lack}"));
        }
    }
    Ok(())
}

fn machine() -> String {
    let processor = first_line("/proc/cpuinfo", "model name");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory: u64 = first_line("/proc/meminfo", "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut place = Command::new("df");
    place.args(["--output=fstype,source"]).arg(super::target());
    let disk = run::output(place).and_then(|text| text.lines().nth(1).map(str::to_owned)).unwrap_or_default();
    let disk = disk.split_whitespace().collect::<Vec<_>>().join(" on ");
    let virtual_machine = if first_line("/proc/cpuinfo", "flags").contains("hypervisor") { "virtual, " } else { "" };
    // It paces what is sent, so it decides how fast a connection can be.
    let congestion = fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_default();
    format!(
        "{virtual_machine}{cores} cores ({processor}), {} GiB, kernel {}, {disk}, TCP by {}",
        memory >> 20,
        kernel.trim(),
        congestion.trim()
    )
}

/// What follows the colon in the first line that starts so.
fn first_line(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
    line.split_once(':').map_or("", |(_, value)| value).trim().to_owned()
}

/// `7.0.15` of `Redis server v=7.0.15 sha=…`.
fn version(program: &Path) -> Option<String> {
    let mut command = Command::new(program);
    command.arg("--version");
    let text = run::output(command)?;
    text.split_whitespace().find_map(|word| word.strip_prefix("v=")).map(str::to_owned)
}

fn git(args: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(args).current_dir(run::root());
    command
}
