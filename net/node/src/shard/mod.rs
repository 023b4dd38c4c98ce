//! One core's share of the node: its connections, its partitions, and the loop that drives both.
//!
//! # The seam to connection and server commands
//! A shard executes data commands by itself and gives every other command to its [`ServerCommands`]; [`Session`] is
//! what both sides know about a client. A command that needs all cores (`CLIENT LIST`, `INFO`) returns
//! [`Effect::every_core`] with a task that each core runs on its own state, so nothing is shared and nothing locks.

mod ahead;
#[cfg(feature = "shared-nothing")]
mod apart;
mod client;
mod clients;
mod clock;
mod cold;
mod commands;
mod counts;
mod driver;
mod engine;
mod errands;
mod execute;
mod filling;
mod flusher;
#[cfg(feature = "shared-memory")]
mod following;
mod gathering;
mod handler;
mod held;
mod hosted;
mod multi;
mod polling;
#[cfg(feature = "shared-nothing")]
mod replicate;
mod rot;
mod session;
mod tail;
#[cfg(test)]
mod tests;
#[cfg(feature = "shared-memory")]
mod together;
mod traffic;
mod transaction;
mod warming;
mod work;

#[cfg(feature = "shared-nothing")]
use apart::UNIT;
#[cfg(feature = "shared-memory")]
use together::UNIT;

pub(crate) use driver::Driver;
pub(crate) use engine::{Engine, EngineParts, Place};
pub(crate) use flusher::Flusher;
pub(crate) use hosted::Hosted;
#[cfg(feature = "shared-memory")]
pub(crate) use work::Message;
#[cfg(all(test, feature = "shared-memory"))]
pub(crate) use work::{Asker, Errand, Purpose, What};

pub use commands::{CoreView, Effect, EveryCore, Now, PartitionView, ReplicaWait, ServerCommands};
pub use session::{ReplyMode, Session, Traffic};
pub use transaction::{Queued, Transaction};
