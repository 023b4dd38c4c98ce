//! Connections: their slab, their input, and replies that leave in order.

pub mod limits;

pub use limits::Limits;
