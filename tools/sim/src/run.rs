//! One run.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::cluster::World as Cluster;
use crate::mutation::Mutation;
use crate::stats::Stats;
use crate::trace::Trace;
use crate::world::World;

/// A run in which everything held.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Passed {
    /// What happened, as one number: the same for the same seed and code.
    pub trace: u64,
    /// What happened, in counts.
    pub stats: Stats,
}

/// A run in which something did not hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// What did not hold.
    pub problem: String,
    /// The moment, in simulated microseconds.
    pub time_us: u64,
}

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A node with partitions that have no replicas, and its clients.
    Node,
    /// Replicas of one partition.
    Cluster,
}

/// Runs one seed.
///
/// # Errors
/// [`Failure`] where something did not hold. The panic hook has then been called with the place of the check.
pub fn run(kind: Kind, seed: u64, mutation: Option<Mutation>) -> Result<Passed, Failure> {
    go(kind, seed, mutation, false)
}

/// Runs one seed and prints every event.
///
/// # Errors
/// As [`run`].
pub fn run_loudly(kind: Kind, seed: u64, mutation: Option<Mutation>) -> Result<Passed, Failure> {
    go(kind, seed, mutation, true)
}

fn go(kind: Kind, seed: u64, mutation: Option<Mutation>, verbose: bool) -> Result<Passed, Failure> {
    match kind {
        Kind::Node => {
            let mut world = World::new(seed, mutation, verbose);
            let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
            judge(outcome, &world.trace, world.stats)
        }
        Kind::Cluster => {
            let mut world = Cluster::new(seed, mutation, verbose);
            let outcome = catch_unwind(AssertUnwindSafe(|| world.run()));
            judge(outcome, &world.trace, world.stats)
        }
    }
}

fn judge(outcome: Result<(), Box<dyn Any + Send>>, trace: &Trace, stats: Stats) -> Result<Passed, Failure> {
    match outcome {
        Ok(()) => Ok(Passed { trace: trace.hash(), stats }),
        Err(panic) => Err(Failure { problem: message(panic.as_ref()), time_us: trace.time_us }),
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "a panic".into())
}
