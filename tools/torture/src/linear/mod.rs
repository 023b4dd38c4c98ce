//! Is the running server linearizable, also while it is hurt?
//!
//! Clients on sockets of their own record when they asked and when they were answered. The histories, one for each
//! key, are checked against the commands' meaning ([`model`]) by [`checker`]. An operation whose reply never came
//! stays open to the end. A run counts only if there was enough load and every kind of fault hit operations in flight.

pub mod checker;
mod client;
pub mod cluster;
pub mod model;
pub mod pair;
mod proxy;
pub mod system;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use checker::{Operation, Verdict, check};
use client::{Key, Shared, Worker};
use system::System;

use crate::Error;

/// Clients that ask at the same time.
const CLIENTS: usize = 7;
/// Keys, of each kind, that are read after a fault: those in use and some before them.
const READ_BACK: u64 = 12;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long clients ask.
    pub duration: Duration,
    /// Decides the choices; the timing is the machine's.
    pub seed: u64,
    /// Replies a second, on average over the run, below which the run counts for nothing.
    pub rate_min: f64,
    /// Where to write a history that is not linearizable.
    pub dump: Option<PathBuf>,
}

/// What a run came to.
#[derive(Clone, Default, Debug)]
pub struct Outcome {
    /// Operations with a reply.
    pub completed: u64,
    /// Operations without one.
    pub open: u64,
    /// Operations that were refused by a node that does not lead. They have not happened.
    pub refused: u64,
    /// Histories checked.
    pub keys: u64,
    /// Histories that took too many steps.
    pub undecided: u64,
    /// Operations of the longest history.
    pub longest: usize,
    /// Faults by name, and how many of them met operations in flight.
    pub faults: BTreeMap<String, (u64, u64)>,
    /// Replies a second.
    pub rate: f64,
}

impl Outcome {
    /// As a JSON object.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let faults: serde_json::Map<_, _> = self
            .faults
            .iter()
            .map(|(name, (done, hit))| (name.clone(), serde_json::json!({ "injected": done, "hit": hit })))
            .collect();
        serde_json::json!({
            "operations completed": self.completed,
            "operations left open": self.open,
            "operations refused": self.refused,
            "histories": self.keys,
            "undecided": self.undecided,
            "longest history": self.longest,
            "replies a second": self.rate,
            "faults": faults,
        })
    }
}

/// Runs clients and faults on `system` and checks what they saw.
///
/// # Errors
/// A history is not linearizable or could not be decided, the system did not come back, or the run shows nothing.
pub fn run(system: &mut dyn System, options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Outcome, Error> {
    let mut random = fastrand::Rng::with_seed(options.seed);
    let shared = Shared::new(system.endpoints());
    let mut outcome = Outcome::default();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let worker = Worker::new(number, &shared, random.u64(..));
            scope.spawn(move || worker.run());
        }
        hurt(system, options, &shared, &mut random, &mut outcome, progress);
        shared.stop.store(true, Ordering::Relaxed);
    });
    if shared.has_problem() {
        progress(&format!("when it went wrong: {}", system.describe()));
    }
    outcome.completed = shared.completed.load(Ordering::Relaxed);
    outcome.refused = shared.refused.load(Ordering::Relaxed);
    outcome.rate = outcome.completed as f64 / shared.begun.elapsed().as_secs_f64();
    let hung_up = shared.hung_up.load(Ordering::Relaxed);
    outcome.faults.insert("hang-up".to_owned(), (hung_up, hung_up));
    // Everything once more: what was confirmed is there at the end.
    Worker::new(CLIENTS, &shared, random.u64(..)).read_all(0..=shared.keys().1);
    if let Some(problem) = shared.take_problem() {
        return Err(problem);
    }
    let history = shared.history.into_inner().unwrap_or_else(PoisonError::into_inner);
    judge(history, options, &mut outcome)?;
    has_meaning(&outcome, options)?;
    Ok(outcome)
}

/// One fault after the other until the time is over.
fn hurt(
    system: &mut dyn System,
    options: &Options,
    shared: &Shared,
    random: &mut fastrand::Rng,
    outcome: &mut Outcome,
    progress: &mut dyn FnMut(&str),
) {
    let mut told = Instant::now();
    let mut number = 0;
    let faults = system.faults();
    outcome.faults.extend(faults.iter().map(|name| ((*name).to_owned(), (0, 0))));
    // Each in turn first, however short the run.
    while (shared.begun.elapsed() < options.duration || number < faults.len()) && !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(random.u64(100..700)));
        let fault = if number < faults.len() { faults[number] } else { faults[random.usize(..faults.len())] };
        number += 1;
        let hit = await_in_flight(shared);
        if let Err(error) = system.inject(fault, random) {
            return shared.fail(error);
        }
        let counted = outcome.faults.entry(fault.to_owned()).or_default();
        *counted = (counted.0 + 1, counted.1 + u64::from(hit));
        let newest = shared.keys().1;
        Worker::new(CLIENTS, shared, random.u64(..)).read_all(newest.saturating_sub(READ_BACK)..=newest);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            let (time, done) = (shared.begun.elapsed().as_secs(), shared.completed.load(Ordering::Relaxed));
            progress(&format!("{time} s: {done} replies, faults {:?}", outcome.faults));
        }
    }
}

/// Waits a moment for an operation to be in flight.
fn await_in_flight(shared: &Shared) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(5) {
        if shared.in_flight.load(Ordering::Relaxed) > 0 {
            return true;
        }
        thread::yield_now();
    }
    false
}

fn judge(history: Vec<(Key, Operation)>, options: &Options, outcome: &mut Outcome) -> Result<(), Error> {
    let mut keys: BTreeMap<Key, Vec<Operation>> = BTreeMap::new();
    for (key, operation) in history {
        outcome.open += u64::from(operation.returned.is_none());
        keys.entry(key).or_default().push(operation);
    }
    for (key, operations) in keys {
        outcome.keys += 1;
        outcome.longest = outcome.longest.max(operations.len());
        match check(&operations) {
            Verdict::Linearizable => {}
            Verdict::Undecided => outcome.undecided += 1,
            Verdict::Violation => return Error::violation(accuse(key, operations, options)),
        }
    }
    if outcome.undecided > 0 {
        return Err(Error::Idle(format!("{} histories were too hard to decide", outcome.undecided)));
    }
    Ok(())
}

/// The history as text, oldest first; in a file where one is named.
fn accuse(key: Key, mut operations: Vec<Operation>, options: &Options) -> String {
    operations.sort_by_key(|operation| operation.called);
    let mut text = String::new();
    for Operation { client, input, called, returned } in &operations {
        let reply = returned.as_ref().map(|(at, output)| format!("{at} {output:?}"));
        text.push_str(&format!(
            "client {client}  {called} {input:?}  ->  {}\n",
            reply.unwrap_or_else(|| "open".into())
        ));
    }
    let summary = format!("the history of {} is not linearizable ({} operations)", key.name(), operations.len());
    match &options.dump {
        Some(path) if std::fs::write(path, &text).is_ok() => format!("{summary}: see {}", path.display()),
        _ => format!("{summary}:\n{text}"),
    }
}

fn has_meaning(outcome: &Outcome, options: &Options) -> Result<(), Error> {
    if outcome.rate < options.rate_min {
        let text = format!("{:.0} replies a second, fewer than {:.0}", outcome.rate, options.rate_min);
        return Err(Error::Idle(text));
    }
    match outcome.faults.iter().find(|(_, (_, hit))| *hit == 0) {
        Some((name, _)) => Err(Error::Idle(format!("no {name} met an operation in flight"))),
        None => Ok(()),
    }
}
