//! Power cuts: load, cut, mount again, recover, check.

use std::path::{Path, PathBuf};

use super::history::Promise;
use super::load::Load;
use super::tally::Tally;
use super::{Options, SEGMENTS};
use crate::Error;
use crate::device::is_installed;
use crate::device::{FileSystem, FileSystemKind};
use crate::node::{Node, Setup};

/// Rounds on one file system, at most.
const ROUNDS_ON_ONE: u32 = 25;
/// Of a file system, how much may be used before a new one is made.
const USED_PERCENT_MAX: u64 = 50;

/// How the power goes off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    /// At a request to the disk that was chosen before.
    AtRequest,
    /// At any time, after some dirty pages of the log were written back.
    WithWriteBack,
    /// By the file system's own shutdown: what the disk was sent stays, in order.
    Shutdown,
}

/// One round's choices.
struct Plan {
    cut: Cut,
    /// In the middle of a start, after so many requests.
    in_start: Option<u64>,
    memory: bool,
    /// What must be there after the cut.
    promise: Promise,
    /// One of [`SEGMENTS`].
    segment: (&'static str, &'static str),
    /// Confirmed writes before the cut is due.
    enough: u64,
}

impl Plan {
    fn draw(random: &mut fastrand::Rng, planted: bool) -> Self {
        let shutdown_works = is_installed("xfs_io");
        let cut = match random.u32(..10) {
            0..5 => Cut::AtRequest,
            5..8 if shutdown_works => Cut::WithWriteBack,
            8.. if shutdown_works => Cut::Shutdown,
            _ => Cut::AtRequest,
        };
        let in_start = (random.u32(..8) == 0).then(|| random.u64(..80));
        let memory = random.u32(..5) == 0;
        Self {
            cut,
            in_start: in_start.filter(|_| !planted),
            memory: memory || planted,
            promise: if memory && !planted { Promise::LastCheck } else { Promise::Confirmed },
            segment: SEGMENTS[random.usize(..3)],
            enough: random.u64(20..600),
        }
    }

    fn setup(&self, binary: &Path, dir: &Path, extra: &[String]) -> Setup {
        let durability = if self.memory { "memory" } else { "commit" };
        let (segment, tail) = self.segment;
        let flags = ["--partitions", "3", "--segment-size", segment, "--tail-memory", tail, "--durability", durability];
        let mut setup = Setup::new(binary, dir, &flags);
        if self.memory {
            setup.flags.extend(["--memory-flush-interval".to_owned(), "20ms".to_owned()]);
        }
        setup.flags.extend_from_slice(extra);
        setup
    }
}

/// A file system, and what should be on it.
pub(super) struct Bench {
    pub(super) fs: FileSystem,
    pub(super) load: Load,
    /// What the last cut has promised.
    pub(super) promise: Promise,
    rounds: u32,
}

impl Bench {
    pub(super) fn new(kind: FileSystemKind, random: &mut fastrand::Rng) -> Result<Self, Error> {
        let fs = FileSystem::new(kind, random.u64(..))?;
        Ok(Self { fs, load: Load::new(random.u64(..)), promise: Promise::Confirmed, rounds: 0 })
    }

    pub(super) fn dir(&self) -> PathBuf {
        self.fs.path().join("data")
    }

    /// Whether another round would be one too many.
    pub(super) fn is_spent(&self) -> bool {
        let used = rustix::fs::statvfs(self.fs.path()).map_or(100, |stat| {
            let blocks = stat.f_blocks.max(1);
            100 * (blocks - stat.f_bavail.min(blocks)) / blocks
        });
        self.rounds >= ROUNDS_ON_ONE || used > USED_PERCENT_MAX
    }

    /// One round. Where the power went off during the start, checking is left to the next.
    pub(super) fn round(
        &mut self,
        options: &Options,
        random: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        self.rounds += 1;
        let plan = Plan::draw(random, options.planted);
        let setup = plan.setup(&options.binary, &self.dir(), &options.flags);
        if let Some(requests) = plan.in_start {
            self.fs.disk.cut_after(requests);
        }
        let done = self.start_and_check(&setup, tally).and_then(|node| match node {
            Some(node) => self.load_and_cut(node, &plan, random, tally).map(|()| true),
            None => Ok(false),
        });
        match done {
            // What goes wrong without power is no fault of the server, but for what it has answered.
            Ok(false) => tally.add("power cuts during a start", 1),
            Ok(true) => {}
            Err(error) => return Err(error),
        }
        tally.add("power cuts", 1);
        self.fs.restart()
    }

    /// `None` where the power went off meanwhile.
    pub(super) fn start_and_check(&mut self, setup: &Setup, tally: &mut Tally) -> Result<Option<Node>, Error> {
        let checked = Node::start(setup).and_then(|node| {
            let lost = self.load.check(&node.witness, self.promise)?;
            Ok((node, lost))
        });
        match checked {
            Ok((node, lost)) => {
                self.promise = Promise::Confirmed;
                tally.add_recovery(&node.said());
                tally.add("recoveries checked", 1);
                tally.add("unconfirmed writes lost", lost);
                Ok(Some(node))
            }
            Err(Error::NotStarted { .. } | Error::Gone(_)) if self.fs.disk.is_off() => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn load_and_cut(
        &mut self,
        node: Node,
        plan: &Plan,
        random: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let Self { fs, load, .. } = self;
        let witness = node.witness.clone();
        let dir = fs.path().join("data");
        let ((), done) = load.run(&witness, true, |watch| {
            watch.await_confirmed(plan.enough, "the load does not get on")?;
            tally.add("cuts with segments kept in memory", u64::from(node.witness.keeps_tail()));
            match plan.cut {
                Cut::AtRequest => {
                    fs.disk.cut_after(random.u64(..30));
                    if random.bool() {
                        write_back_some(&dir, random);
                    }
                    if !fs.disk.await_cut(crate::node::PATIENCE) {
                        let text = "the disk is asked for nothing while clients write";
                        return Error::violation(format!("{text}\n{}", node.witness.report()));
                    }
                }
                Cut::WithWriteBack => {
                    write_back_some(&dir, random);
                    fs.disk.cut();
                }
                // The cut that was set for the start may have come only now.
                Cut::Shutdown if fs.disk.is_off() => {}
                Cut::Shutdown => fs.shut_down()?,
            }
            node.kill();
            Ok(())
        })?;
        // After the cut nothing more can be allocated, which the server may notice before it is killed.
        let went_off = self.fs.disk.is_off() || plan.cut == Cut::Shutdown;
        if done.refused > 0 && !went_off {
            return Error::violation("writes were refused for lack of space although there was room");
        }
        self.promise = plan.promise;
        tally.add("writes confirmed", done.confirmed);
        tally.add("writes refused by a dead disk", done.refused);
        tally.add("reads", done.reads);
        tally.add(
            match plan.cut {
                Cut::AtRequest => "cuts at a request of the disk",
                Cut::WithWriteBack => "cuts with pages written back",
                Cut::Shutdown => "cuts by shutdown of the file system",
            },
            1,
        );
        tally.add(if plan.memory { "cuts with durability memory" } else { "cuts with durability commit" }, 1);
        Ok(())
    }
}

/// Starts to write the dirty pages of some files, as the kernel may do at any time. Which of them are there after the
/// cut is for the disk to choose.
fn write_back_some(dir: &Path, random: &mut fastrand::Rng) {
    let mut files = Vec::new();
    collect(dir, &mut files);
    random.shuffle(&mut files);
    files.truncate(8);
    for (file, len) in files {
        let command = format!("sync_range -w 0 {len}");
        // A file that has just been renamed is not there any more.
        let _written = crate::device::run("xfs_io", &["-c", &command, &file.display().to_string()]);
    }
}

/// The files below `dir` that are not empty, with their lengths.
pub(super) fn collect(dir: &Path, files: &mut Vec<(PathBuf, u64)>) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok) {
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            collect(&entry.path(), files);
        } else if metadata.len() > 0 {
            files.push((entry.path(), metadata.len()));
        }
    }
}
