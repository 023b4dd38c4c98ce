//! One core's share of the node: its connections, its partitions, and the loop that drives both.
//!
//! # The seam to connection and server commands
//! A shard executes data commands by itself and gives every other command to its [`ServerCommands`]; [`Session`] is
//! what both sides know about a client. A command that needs all cores (`CLIENT LIST`, `INFO`) returns
//! [`Effect::every_core`] with a task that each core runs on its own state, so nothing is shared and nothing locks.

mod clients;
mod commands;
mod driver;
mod handler;
mod session;
#[cfg(test)]
mod tests;
mod traffic;
mod transaction;

pub use commands::{CoreView, Effect, EveryCore, Now, PartitionView, ServerCommands};
pub use session::{ReplyMode, Session, Traffic};
pub use transaction::{Queued, Transaction, Watched};
