//! `kill -9` of the process alone: the machine and its page cache live on.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::history::Promise;
use super::load::Load;
use super::tally::Tally;
use super::{Options, SEGMENTS};
use crate::Error;
use crate::node::{Node, Setup, Starting};

/// Rounds on one data directory.
const ROUNDS_ON_ONE: u32 = 50;
/// Every so many rounds the log is verified by the command for it.
const VERIFY_EVERY: u32 = 10;

/// A data directory, and what should be in it.
pub(super) struct Bench {
    folder: tempfile::TempDir,
    load: Load,
    rounds: u32,
}

impl Bench {
    pub(super) fn new(random: &mut fastrand::Rng) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
        Ok(Self { folder, load: Load::new(random.u64(..)), rounds: 0 })
    }

    pub(super) fn is_spent(&self) -> bool {
        self.rounds >= ROUNDS_ON_ONE
    }

    /// One round: start, check, load, kill; now and then another kill in the middle of a start.
    pub(super) fn round(
        &mut self,
        options: &Options,
        random: &mut fastrand::Rng,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        self.rounds += 1;
        let dir = self.folder.path().join("data");
        // What is not flushed is in the kernel's page cache: nothing is lost with either durability.
        let durability = ["commit", "commit", "memory"][random.usize(..3)];
        let (segment, tail) = SEGMENTS[random.usize(..3)];
        let mut setup = Setup::new(
            &options.binary,
            &dir,
            &["--partitions", "3", "--segment-size", segment, "--tail-memory", tail, "--durability", durability],
        );
        setup.flags.extend_from_slice(&options.flags);
        if random.u32(..6) == 0 {
            let starting = Starting::new(&setup)?;
            thread::sleep(Duration::from_micros(random.u64(..40_000)));
            starting.kill();
            tally.add("kills during a start", 1);
        }
        let node = Node::start(&setup)?;
        let lost = self.load.check(&node.witness, Promise::Confirmed)?;
        let enough = random.u64(20..2_000);
        let (witness, pause) = (node.witness.clone(), random.u64(..3_000));
        let ((), done) = self.load.run(&witness, false, |watch| {
            watch.await_confirmed(enough, "the load does not get on")?;
            thread::sleep(Duration::from_micros(pause));
            tally.add("kills with segments kept in memory", u64::from(node.witness.keeps_tail()));
            node.kill();
            Ok(())
        })?;
        if self.rounds.is_multiple_of(VERIFY_EVERY) {
            verify(&options.binary, &dir)?;
            tally.add("logs verified", 1);
        }
        tally.add("kills", 1);
        tally.add(
            if durability == "memory" { "kills with durability memory" } else { "kills with durability commit" },
            1,
        );
        tally.add("recoveries checked", 1);
        tally.add("unconfirmed writes lost", lost);
        tally.add("writes confirmed", done.confirmed);
        tally.add("reads", done.reads);
        Ok(())
    }
}

fn verify(binary: &Path, dir: &Path) -> Result<(), Error> {
    let mut command = Command::new(binary);
    command.args(["log", "verify"]).arg(dir).stdin(Stdio::null());
    let output = command.output().map_err(Error::io(format!("run {}", binary.display())))?;
    if output.status.success() {
        return Ok(());
    }
    Error::violation(format!("after a kill: {}", String::from_utf8_lossy(&output.stdout)))
}
