//! Driving the replicas of one core: between the state machine of each partition (`windrow_core::replication`), the
//! partition itself, the store's helper threads, and the connections with peers.
//!
//! Owns the state machines; everything that they ask for is done by the core's engine (`shard/replicate.rs`), which
//! drains them after every message, flush and finished job, and once a round. Invariants: whatever they tell is done
//! in order; a promise is answered only when the superblock that holds it is durable, because the state machine is
//! told so only then; every clock that decides about a lease is read after what it is compared with has arrived.

mod freshness;
mod part;
mod report;
mod set;

pub(crate) use part::{Handover, Part, Receiving};
pub(crate) use report::report;
pub(crate) use set::{Replicas, check, config, peer_addresses};
