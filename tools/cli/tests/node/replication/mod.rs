//! Three nodes of a replicated set, on loopback: the whole binary, real processes, real kills.

mod faults;
mod hosts;
mod leaders;
mod network;
mod proxy;
mod set;
mod streaming;
mod walk;
