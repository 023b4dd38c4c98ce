//! What operators ask of a node's part in replication, on its way to the cores that host the partitions.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use windrow_core::replication::ReplicaId;

/// What an operator asks for. It concerns all partitions of the node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Lead, if a majority agrees and loses nothing by it.
    Promote,
    /// Lead with the log that is here, whatever is lost.
    PromoteLosingCommittedWrites,
    /// Cut what is known to be committed, once, if the leader says so.
    PermitLoss,
    /// Have this replica lead in this node's place, once it has everything.
    HandOver {
        /// Which one.
        to: ReplicaId,
        /// How long that may take.
        within: Duration,
    },
    /// Take back a hand-over that is under way.
    Abort,
}

/// Requests on their way. Every core looks for a new one at its tick.
#[derive(Default, Debug)]
pub struct Control {
    count: AtomicU64,
    last: Mutex<Option<Request>>,
    refusal: Mutex<Option<String>>,
}

impl Control {
    /// Asks the cores. A request that not every core has seen is replaced.
    pub fn ask(&self, request: Request) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        self.count.fetch_add(1, Ordering::AcqRel);
    }

    /// The newest request, if it is newer than number `seen`, which is renewed.
    pub fn newer_than(&self, seen: &mut u64) -> Option<Request> {
        let count = self.count.load(Ordering::Acquire);
        if *seen == count {
            return None;
        }
        *seen = count;
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a hand-over was asked for after request number `seen`.
    #[must_use]
    pub fn asks_to_hand_over(&self, seen: u64) -> bool {
        let last = || *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        self.count.load(Ordering::Acquire) != seen && matches!(last(), Some(Request::HandOver { .. }))
    }

    /// Notes why a request came to nothing, for whoever asks; `None`: it is under way, or has succeeded.
    pub fn note(&self, refusal: Option<String>) {
        *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
    }

    /// Why the last request came to nothing, if it did.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
