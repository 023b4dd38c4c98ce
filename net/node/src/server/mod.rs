//! Connection and server commands: everything that is not about data.
//!
//! Each command is a function over plain values (a [`Session`](crate::shard::Session), the [`Node`], arguments) that
//! appends its reply, so it is tested without sockets. [`Server`] is what a shard calls.

mod client;
mod client_kill;
mod client_list;
mod cluster;
mod cluster_set;
mod config;
mod connection;
mod debug;
mod failover;
mod handler;
mod identity;
mod info;
mod info_sections;
mod latency_events;
mod node;
mod persistence;
mod refresh;
mod replication;
mod slowlog;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use client::CLIENT_NAME_LEN_MAX;
pub use debug::DEBUG_SLEEP_MAX;
pub use handler::Server;
pub use identity::{Endpoint, Identity, random_id};
pub use latency_events::SAMPLES_MAX;
pub use node::{Live, Node, NodeError, Phase, SetError};
pub use slowlog::{ENTRY_ARG_LEN_MAX, ENTRY_ARGS_MAX};
