//! Three nodes of a replicated set, on loopback: the whole binary, real processes, real kills.
#![cfg(feature = "shared-nothing")]

mod faults;
mod leaders;
mod proxy;
mod set;
mod streaming;
#[path = "../serve/support.rs"]
#[allow(dead_code, reason = "these tests do not need all of it")]
mod support;
mod walk;
