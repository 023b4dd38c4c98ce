//! Three nodes of a replicated set, on loopback: the whole binary, real processes, real kills.

mod disk;
mod faults;
mod hosts;
mod leaders;
mod network;
mod proxy;
mod rot;
mod set;
mod streaming;
mod walk;
