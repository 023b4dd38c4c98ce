//! What the cores of one process share: how to wake each other, that the node is shutting down, and the rings between
//! each pair of them.
//!
//! Nothing here takes a lock. A ring has one producer and one consumer and is bounded; what does not fit stays in the
//! sender's outbox, and connections that would add to a full outbox stall until it has drained. Answers never stall
//! anybody, so two cores whose rings are full in both directions still get on.

#[cfg(feature = "shared-memory")]
mod peers;
mod signal;
mod waker;

/// What the files that `tools/model` compiles a second time use of the outside.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicBool, Ordering};
}
#[cfg(feature = "shared-memory")]
mod rings {
    pub(super) use rtrb::{Consumer, Producer, PushError, RingBuffer};

    /// Messages that fit into the ring of one direction between two cores.
    pub(super) const RING_LEN: usize = 256;
    /// Messages that wait for room in a ring; beyond it, connections that have more for that core stall.
    pub(super) const OUTBOX_LEN: usize = 1_024;
}

#[cfg(feature = "shared-memory")]
pub(crate) use peers::{Peers, connect};
pub(crate) use waker::Common;

// Not in the files themselves: the model has other things in the place of what they test with.
#[cfg(all(test, feature = "shared-memory"))]
mod tests;
