//! What the cores of one process share: how to wake each other, that the node is shutting down, and the rings between
//! each pair of them.
//!
//! Nothing here takes a lock. A ring has one producer and one consumer and is bounded; what does not fit stays in the
//! sender's outbox, and connections that would add to a full outbox stall until it has drained. Answers never stall
//! anybody, so two cores whose rings are full in both directions still get on.

#[cfg(feature = "shared-memory")]
mod peers;
mod waker;

#[cfg(feature = "shared-memory")]
pub(crate) use peers::{Peers, connect};
pub(crate) use waker::Common;
