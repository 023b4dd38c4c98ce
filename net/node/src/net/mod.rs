//! Connections: their slab, their input, and replies that leave in order.

mod connection;
pub mod limits;
mod listener;
mod output;
mod patience;
mod pool;
mod slab;

pub use limits::Limits;
pub use listener::{ListenError, Listener};

pub(crate) use connection::{Connection, Overdue, Receiving, Stalled};
pub(crate) use listener::prepare;
pub(crate) use output::{Output, Ticket, Wait, Width};
pub(crate) use patience::patiently;
pub(crate) use pool::Pool;
pub(crate) use slab::Slab;
