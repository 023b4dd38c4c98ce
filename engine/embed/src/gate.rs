//! Where threads wait for a partition: for its flushes, and for its next segment.
//!
//! Invariants: one flush runs at a time, and the thread that runs it is one that waits for it; what a waiter waits for
//! is looked at and waited for under one mutex, so no wake-up is lost; a thread that unwinds out of a flush lets the
//! next one in.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use windrow_core::types::Lsn;
use windrow_store::{FlushFailed, PrepareError};

use crate::error::{Failed, ReadError};

/// See the module.
#[derive(Debug)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
    /// Mirrors of the state, for those who need not wait.
    committed: AtomicU64,
    ended: AtomicBool,
}

#[derive(Debug)]
struct State {
    flushing: bool,
    committed: Lsn,
    /// Counts the results of the helper threads.
    events: u64,
    /// Why the last segment could not be prepared.
    refusal: Option<Arc<PrepareError>>,
    end: Option<ReadError>,
}

impl Gate {
    pub(crate) fn new(committed: Lsn) -> Self {
        Self {
            state: Mutex::new(State { flushing: false, committed, events: 0, refusal: None, end: None }),
            changed: Condvar::new(),
            committed: AtomicU64::new(committed.get()),
            ended: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is a single assignment, so a panic elsewhere leaves it whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the log is committed.
    pub(crate) fn committed(&self) -> Lsn {
        Lsn::new(self.committed.load(Ordering::Acquire))
    }

    /// Waits until the log is committed up to `target`. Whoever finds nobody flushing calls `flush`, which returns how
    /// far the log is committed then.
    pub(crate) fn wait_committed(
        &self,
        target: Lsn,
        mut flush: impl FnMut() -> Result<Lsn, Failed>,
    ) -> Result<(), ReadError> {
        if self.committed() >= target {
            return Ok(());
        }
        let mut state = self.lock();
        while state.committed < target {
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            if state.flushing {
                state = self.wait(state);
                continue;
            }
            state.flushing = true;
            drop(state);
            let turn = Turn(self);
            // What came of it is noted before the turn ends, so that the next in turn knows.
            match flush() {
                Ok(committed) => self.set_committed(committed),
                Err(failed) => self.set_end(ReadError::Failed(failed)),
            }
            drop(turn);
            state = self.lock();
        }
        Ok(())
    }

    /// The log is committed up to here.
    pub(crate) fn advance(&self, committed: Lsn) {
        self.set_committed(committed);
        self.changed.notify_all();
    }

    fn set_committed(&self, committed: Lsn) {
        let mut state = self.lock();
        if committed > state.committed {
            state.committed = committed;
            self.committed.store(committed.get(), Ordering::Release);
        }
    }

    /// Nothing more happens: a flush has failed, or the store was closed. The first reason stays.
    pub(crate) fn finish(&self, reason: ReadError) {
        self.set_end(reason);
        self.changed.notify_all();
    }

    fn set_end(&self, reason: ReadError) {
        self.lock().end.get_or_insert(reason);
        self.ended.store(true, Ordering::Release);
    }

    /// Fails once nothing more happens.
    pub(crate) fn check(&self) -> Result<(), ReadError> {
        if !self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        self.lock().end.clone().map_or(Ok(()), Err)
    }

    /// How many results of the helper threads there have been. Ask before looking at the partition.
    pub(crate) fn events(&self) -> u64 {
        self.lock().events
    }

    /// There was a result of a helper thread.
    pub(crate) fn event(&self, refusal: Option<PrepareError>) {
        let mut state = self.lock();
        state.events += 1;
        state.refusal = refusal.map(Arc::new).or(state.refusal.take());
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for a result of a helper thread after the first `seen`.
    pub(crate) fn wait_event(&self, seen: u64) -> Result<(), ReadError> {
        let mut state = self.lock();
        while state.events == seen {
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            state = self.wait(state);
        }
        Ok(())
    }

    /// Why the last segment could not be prepared.
    pub(crate) fn refusal(&self) -> Option<Arc<PrepareError>> {
        self.lock().refusal.clone()
    }

    /// Waits until the log is committed beyond `position`, or until `deadline`.
    pub(crate) fn wait_growth(&self, position: Lsn, deadline: Instant) -> Result<(), ReadError> {
        let mut state = self.lock();
        while state.committed <= position {
            if let Some(end) = &state.end {
                return Err(end.clone());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }
}

/// The right to flush, given back when dropped, also by a panic.
struct Turn<'a>(&'a Gate);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.lock().flushing = false;
        self.0.changed.notify_all();
    }
}

impl From<FlushFailed> for Failed {
    fn from(failed: FlushFailed) -> Self {
        Self(Arc::new(failed))
    }
}

#[cfg(test)]
mod tests;
