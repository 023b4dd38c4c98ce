//! Replication of one partition: the leader, the candidate and the follower, as one state machine.
//!
//! Owns who leads, what each peer has, and the committed watermark; the log itself belongs to the partition, and
//! what is sent, received, flushed and written is done by the driver, which is told so by [`Output`]. Knows epochs,
//! positions and chain values and never looks inside a record. Invariants: nothing older than the promised epoch is
//! accepted, and the promise is durable before it is answered; an acknowledgement speaks of what is verified and
//! flushed; a leader counts flushes only up to a position behind a record of its own epoch; what is committed is never
//! cut. Fault model: messages are lost, repeated, delayed and reordered, replicas stop and come back with what they
//! had flushed, clocks drift by less than the lease's margin; nobody lies. `docs/replication.md` argues why no
//! committed record is lost.

mod commit;
mod history;
pub mod limits;
mod message;
mod output;
mod replica;
mod types;

pub use history::History;
pub use message::{Ack, Body, Heartbeat, Hello, LogEnd, Message, PromiseRequest, Refusal};
pub use output::{Event, Output, PromotionFailure};
pub use replica::{PeerStatus, PromoteError, Promotion, Replica, RoleKind};
pub use types::{
    CommitRule, Config, ConfigError, EpochStart, LogState, Moment, Position, Promised, ReplicaId, Verified,
};

#[cfg(test)]
pub(crate) mod tests;
