//! What a run did, for people.

use std::collections::BTreeMap;
use std::fmt;

/// Counts of what happened in one run or in many.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Stats {
    /// Runs.
    pub seeds: u64,
    /// Simulated time.
    pub simulated_us: u64,
    /// Commands executed.
    pub operations: u64,
    /// Replies received by clients.
    pub replies: u64,
    /// Recoveries that ended in an open partition and whose state was compared with the model.
    pub recoveries: u64,
    /// Messages that replicas sent to one another.
    pub messages: u64,
    /// Segments filled and left for the next.
    pub rolls: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Commands by name.
    pub commands: BTreeMap<&'static str, u64>,
}

impl Stats {
    pub(crate) fn fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_insert(0) += 1;
    }

    /// Adds another run's counts.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.simulated_us += other.simulated_us;
        self.operations += other.operations;
        self.replies += other.replies;
        self.recoveries += other.recoveries;
        self.messages += other.messages;
        self.rolls += other.rolls;
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_insert(0) += count;
        }
        for (name, count) in &other.commands {
            *self.commands.entry(name).or_insert(0) += count;
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let minutes = self.simulated_us / 60_000_000;
        write!(
            f,
            "{} seeds, {}:{:02} h simulated, {} operations, {} replies, {} messages, {} rolls, {} recoveries;",
            self.seeds,
            minutes / 60,
            minutes % 60,
            self.operations,
            self.replies,
            self.messages,
            self.rolls,
            self.recoveries
        )?;
        self.faults.iter().try_for_each(|(kind, count)| write!(f, " {kind} {count}"))
    }
}
