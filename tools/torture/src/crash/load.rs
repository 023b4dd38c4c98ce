//! Several writers and a reader at once, until the server goes away or is told to.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::history::Promise;
use super::writer::{MORE, Reader, Shared, Writer};
use crate::Error;
use crate::node::PATIENCE;
use crate::resp::Client;
use crate::witness::{Witness, is_late};

/// Connections that write.
pub(super) const WRITERS: u16 = 4;

/// The writers of one data directory, with all that they know of it.
pub(super) struct Load {
    writers: Vec<Writer>,
    random: fastrand::Rng,
}

/// What one run of the load did.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Done {
    pub(super) confirmed: u64,
    pub(super) refused: u64,
    pub(super) reads: u64,
}

/// What the load is told while it runs.
pub(super) struct Watch<'a> {
    confirmed: &'a AtomicU64,
    refused: &'a AtomicU64,
    running: &'a AtomicUsize,
    stop: &'a AtomicBool,
    witness: &'a Witness,
}

impl Watch<'_> {
    /// Waits until so many writes have been confirmed, or the server is gone. Where it takes too long, that is
    /// `wrong`.
    pub(super) fn await_confirmed(&self, count: u64, wrong: &str) -> Result<(), Error> {
        self.wait(|| self.confirmed.load(Ordering::Relaxed) >= count, wrong)
    }

    /// Waits until so many writes have been refused, or the server is gone. Where it takes too long, that is `wrong`.
    pub(super) fn await_refused(&self, count: u64, wrong: &str) -> Result<(), Error> {
        self.wait(|| self.refused.load(Ordering::Relaxed) >= count, wrong)
    }

    pub(super) fn confirmed(&self) -> u64 {
        self.confirmed.load(Ordering::Relaxed)
    }

    fn wait(&self, done: impl Fn() -> bool, wrong: &str) -> Result<(), Error> {
        let begun = Instant::now();
        while !done() && self.running.load(Ordering::Relaxed) > 0 {
            if begun.elapsed() > PATIENCE {
                return Error::violation(format!("{wrong}\n{}", self.witness.report()));
            }
            thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    /// Ends the load in order: every reply is awaited.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Load {
    pub(super) fn new(seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let writers = (0..WRITERS).map(|number| Writer::new(number, random.u64(..))).collect();
        Self { writers, random }
    }

    /// Runs the load on a server while `meanwhile` decides how it ends.
    pub(super) fn run<T>(
        &mut self,
        witness: &Witness,
        may_refuse: bool,
        meanwhile: impl FnOnce(&Watch<'_>) -> Result<T, Error>,
    ) -> Result<(T, Done), Error> {
        let (stop, confirmed, refused) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
        let running = AtomicUsize::new(self.writers.len());
        let shared = Shared { witness, stop: &stop, confirmed: &confirmed, refused: may_refuse.then_some(&refused) };
        let mut reader = Reader::new(self.writers.len(), self.random.u64(..));
        let (result, problems) = thread::scope(|scope| {
            let (shared, running) = (&shared, &running);
            let reading = &mut reader;
            let mut threads = vec![scope.spawn(move || reading.run(shared))];
            for writer in &mut self.writers {
                threads.push(scope.spawn(move || {
                    let done = writer.run(shared);
                    running.fetch_sub(1, Ordering::Relaxed);
                    done
                }));
            }
            let watch = Watch { confirmed: &confirmed, refused: &refused, running, stop: &stop, witness };
            let result = meanwhile(&watch);
            stop.store(true, Ordering::Relaxed);
            let ended: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
            (result, ended)
        });
        for ended in problems {
            ended.unwrap_or_else(|_| Error::violation("a client panicked"))?;
        }
        for (writer, shown) in self.writers.iter_mut().zip(&reader.shown) {
            if let Some(version) = *shown {
                writer.history.shown(version);
            }
        }
        let done = Done { confirmed: confirmed.into_inner(), refused: refused.into_inner(), reads: reader.reads };
        Ok((result?, done))
    }

    /// Asks for everything, and compares. Returns how many writes that were never confirmed are gone.
    pub(super) fn check(&mut self, witness: &Witness, promise: Promise) -> Result<u64, Error> {
        let mut client = Client::connect(witness.address()).map_err(Error::Gone)?;
        let mut lost = 0;
        for writer in &mut self.writers {
            lost += match writer.check(&mut client, promise) {
                Err(Error::Gone(error)) if is_late(&error) => {
                    return Err(witness.silence("the check", &mut client, &error, MORE));
                }
                checked => checked?,
            };
        }
        Ok(lost)
    }

    /// A value that was found at the last check: writer, key, and its bytes.
    pub(super) fn any_value(&mut self) -> Option<Vec<u8>> {
        let current: Vec<Vec<u8>> = self.writers.iter().flat_map(Writer::current_values).collect();
        self.random.choice(current)
    }
}
