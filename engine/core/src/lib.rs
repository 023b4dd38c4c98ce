//! Windrow's engine as pure logic.
//!
//! The log is the database: a value lives in the log and nowhere else, and the index maps a key to the position
//! of its newest record. This crate has no files, network, clock, threads or randomness; it is driven through
//! `handle_*` and answers with `poll_*`, and it appends into memory that it is given (see [`log::SegmentMemory`]).
//! That is why the simulator can run all of it.
//!
//! Modules, each of which sees only those before it: [`types`], [`codec`], [`replication`], [`log`], [`superblock`],
//! [`recovery`], [`index`], and [`partition`], which composes them. [`replication`] decides who leads a partition and
//! what is committed; it knows positions, epochs and chain values only.
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod codec;
pub mod index;
pub mod log;
pub mod partition;
pub mod recovery;
pub mod replication;
pub mod superblock;
pub mod types;
