//! Load, fault, recovery, check: the promise tested on the real binary.
//!
//! Every write names itself in its value, every writer knows the order of its writes, and after each recovery
//! everything is asked for: nothing that was confirmed, or that a reader was shown, may be gone; what was not
//! confirmed may be there up to one place in each writer's order; a transaction is there as a whole or not at all.

mod chunk;
mod cut;
mod faults;
mod history;
mod kill;
mod load;
mod tally;
mod writer;

use std::path::{Path, PathBuf};
use std::time::Instant;

pub use tally::Tally;

use crate::Error;
use crate::device::{FileSystemKind, is_installed, missing};
use crate::node::Setup;
use faults::Fault;

/// The size of segments, and the memory that the newest of them are kept in while what they hold is overwritten soon.
const SEGMENTS: [(&str, &str); 3] = [("128KiB", "512KiB"), ("256KiB", "2MiB"), ("1MiB", "8MiB")];

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds with a power cut.
    pub cuts: u32,
    /// Rounds with a kill of the process.
    pub kills: u32,
    /// Rounds of each kind of failing disk.
    pub faults: u32,
    /// Decides all choices. The timing is the machine's, so a run repeats the choices of another, not its course.
    pub seed: u64,
    /// Plants a loss: the server confirms before it flushes, and is held to more than it promises. A run that then
    /// finds nothing wrong is worth nothing.
    pub planted: bool,
    /// The server.
    pub binary: PathBuf,
    /// More flags for it.
    pub flags: Vec<String>,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// Counters.
    pub tally: Tally,
    /// What was not run, and why.
    pub skipped: Vec<String>,
    /// What went wrong, with the seed of the round. The run goes on with another directory.
    pub failures: Vec<String>,
    /// Seconds.
    pub elapsed: f64,
}

/// Runs everything that this machine permits. `progress` is shown each line of news.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Outcome {
    let begun = Instant::now();
    let mut outcome = Outcome { tally: Tally::default(), skipped: Vec::new(), failures: Vec::new(), elapsed: 0.0 };
    let kinds = usable(options, &mut outcome);
    if !kinds.is_empty() {
        faulty_disks(options, &kinds, &mut outcome, progress);
        power_cuts(options, &kinds, &mut outcome, progress);
    }
    kills(options, &mut outcome, progress);
    outcome.elapsed = begun.elapsed().as_secs_f64();
    outcome
}

/// The file systems that can be made here.
fn usable(options: &Options, outcome: &mut Outcome) -> Vec<FileSystemKind> {
    let mut kinds = Vec::new();
    if options.cuts == 0 && options.faults == 0 {
        return kinds;
    }
    for kind in [FileSystemKind::Ext4, FileSystemKind::Xfs] {
        match missing(kind) {
            None => kinds.push(kind),
            Some(reason) => outcome.skipped.push(format!("power cuts and failing disks on {}: {reason}", kind.name())),
        }
    }
    if !is_installed("xfs_io") {
        outcome.skipped.push("cuts by shutdown and with pages written back: `xfs_io` is not installed".to_owned());
    }
    kinds
}

/// The choices of round `number` of one kind.
fn choices(options: &Options, kind: u64, number: u32) -> fastrand::Rng {
    fastrand::Rng::with_seed(options.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (kind << 32) ^ u64::from(number))
}

fn power_cuts(options: &Options, kinds: &[FileSystemKind], outcome: &mut Outcome, progress: &mut dyn FnMut(&str)) {
    let mut bench: Option<cut::Bench> = None;
    for round in 0..options.cuts {
        if options.planted && !outcome.failures.is_empty() {
            break;
        }
        let mut random = choices(options, 1, round);
        if bench.as_ref().is_none_or(cut::Bench::is_spent) {
            outcome.collect(bench.take());
            // Mostly the quicker one.
            let kind = *kinds.get(usize::from(random.u32(..5) == 0)).unwrap_or(&kinds[0]);
            match cut::Bench::new(kind, &mut random) {
                Ok(new) => bench = Some(new),
                Err(error) => return outcome.failures.push(format!("no disk: {error}")),
            }
        }
        let Some(current) = bench.as_mut() else { return };
        let on = current.fs.kind().name();
        match current.round(options, &mut random, &mut outcome.tally) {
            Ok(()) => outcome.tally.add(if on == "xfs" { "power cuts on xfs" } else { "power cuts on ext4" }, 1),
            Err(error) => {
                let error = error.with(&current.fs.disk.describe());
                outcome.fail(&format!("power cut, round {round} on {on}"), options, &error, progress);
                outcome.collect(bench.take());
            }
        }
        if (round + 1).is_multiple_of(25) {
            progress(&format!("{} of {} power cuts: {}", round + 1, options.cuts, outcome.tally));
        }
    }
    outcome.collect(bench);
}

fn kills(options: &Options, outcome: &mut Outcome, progress: &mut dyn FnMut(&str)) {
    let mut bench: Option<kill::Bench> = None;
    for round in 0..options.kills {
        let mut random = choices(options, 2, round);
        if bench.as_ref().is_none_or(kill::Bench::is_spent) {
            match kill::Bench::new(&mut random) {
                Ok(new) => bench = Some(new),
                Err(error) => return outcome.failures.push(format!("no directory: {error}")),
            }
        }
        let Some(current) = bench.as_mut() else { return };
        if let Err(error) = current.round(options, &mut random, &mut outcome.tally) {
            outcome.fail(&format!("kill, round {round}"), options, &error, progress);
            bench = None;
        }
        if (round + 1).is_multiple_of(50) {
            progress(&format!("{} of {} kills: {}", round + 1, options.kills, outcome.tally));
        }
    }
}

fn faulty_disks(options: &Options, kinds: &[FileSystemKind], outcome: &mut Outcome, progress: &mut dyn FnMut(&str)) {
    for (number, fault) in (3..).zip(Fault::ALL) {
        for round in 0..options.faults {
            let mut random = choices(options, number, round);
            let kind = kinds[usize::try_from(round).unwrap_or(0) % kinds.len()];
            let done = cut::Bench::new(kind, &mut random).and_then(|mut bench| {
                let setup = fault_setup(&options.binary, &bench.dir(), &options.flags);
                let done = fault.run(&mut bench, &setup, &mut random, &mut outcome.tally);
                let done = done.map_err(|error| error.with(&bench.fs.disk.describe()));
                outcome.collect(Some(bench));
                done
            });
            if let Err(error) = done {
                let what = format!("{}, round {round} on {}", fault.name(), kind.name());
                outcome.fail(&what, options, &error, progress);
            }
        }
        if options.faults > 0 {
            progress(&format!("{} rounds with a {}: {}", options.faults, fault.name(), outcome.tally));
        }
    }
}

fn fault_setup(binary: &Path, dir: &Path, flags: &[String]) -> Setup {
    let mut setup =
        Setup::new(binary, dir, &["--partitions", "3", "--segment-size", "256KiB", "--tail-memory", "1MiB"]);
    setup.flags.extend_from_slice(flags);
    setup
}

impl Outcome {
    fn fail(&mut self, what: &str, options: &Options, error: &Error, progress: &mut dyn FnMut(&str)) {
        let text = format!("{what}, --seed {}: {error}", options.seed);
        progress(&format!("FAILED: {text}"));
        self.failures.push(text);
    }

    /// Takes over what a disk has counted.
    fn collect(&mut self, bench: Option<cut::Bench>) {
        let Some(bench) = bench else { return };
        let (counts, kept) = (bench.fs.disk.counts(), bench.fs.disk.kept());
        for (name, count) in [
            ("disk writes", counts.writes),
            ("disk flushes", counts.flushes),
            ("disk requests failed by command", counts.failed),
            ("pages not flushed at a cut", kept.cached),
            ("of these kept", kept.kept),
            ("of these torn", kept.torn),
        ] {
            self.tally.add(name, count);
        }
    }
}
