//! The real binary under faults.
//!
//! [`device`] is a disk whose faults are commanded, [`crash`] a loop of load, power cut or kill, recovery and check,
//! [`linear`] a recorder of histories and a checker of linearizability. Nothing here knows the inside of Windrow: what is tested is the binary, over sockets.
#![deny(unsafe_code)]

pub mod crash;
pub mod device;
mod error;
pub mod linear;
pub mod node;
pub mod pulse;
pub mod resp;
pub mod witness;

pub use error::Error;
