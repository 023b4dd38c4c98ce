//! Windrow's node: executors, rings, connections, commands, metrics.
//!
//! One core, one thread, one executor (`runtime`), one `ring` for sockets and flushes, one `shard` that owns
//! everything it touches. Nothing on the request path takes a lock; cores talk to each other only through bounded
//! single-producer rings (`shared`).
//!
//! Exactly one of two features decides how the cores of one box work together: `shared-memory` (one endpoint, a
//! command travels to the core that owns its slot) or `shared-nothing` (every core is an endpoint of its own and
//! answers `MOVED`).

#[cfg(all(feature = "shared-memory", feature = "shared-nothing"))]
compile_error!(
    "windrow-node: both modes are enabled. Choose one: the default is `shared-memory`; for the other build with \
     `--no-default-features --features shared-nothing`."
);
#[cfg(not(any(feature = "shared-memory", feature = "shared-nothing")))]
compile_error!(
    "windrow-node: no mode is enabled. Choose one: `--features shared-memory` (one endpoint, the default) or \
     `--no-default-features --features shared-nothing` (every core its own endpoint)."
);

pub mod admin;
pub mod auth;
pub mod metrics;
pub mod net;
#[cfg(feature = "shared-nothing")]
pub mod peers;
#[cfg(feature = "shared-nothing")]
mod replication;
pub mod ring;
pub mod role;
pub mod runtime;
pub mod serve;
pub mod server;
pub mod settings;
pub mod shard;
mod shared;
#[cfg(feature = "shared-memory")]
pub mod standby;

#[cfg(feature = "shared-memory")]
pub use serve::serve_as_standby;
pub use serve::{ExitReason, ServeError, Serving, serve};
