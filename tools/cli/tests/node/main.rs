//! The whole binary, as real processes that clients meet over real sockets.

mod clients;
#[cfg(feature = "shared-nothing")]
mod replication;
mod serve;
#[cfg(feature = "shared-memory")]
mod standby;
mod support;
