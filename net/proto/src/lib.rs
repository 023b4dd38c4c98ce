//! Windrow's protocols without I/O: RESP2 and RESP3, the command table and what each data command does to a partition.
//!
//! Everything here is driven: bytes, times and draws of chance are parameters. Modules: [`limits`] and [`resp`]
//! (requests in, replies out), [`glob`], [`command`] (the table),
//! [`data`] (what commands do), [`replication`] (what replicas say to one another).
#![no_std]
#![deny(unsafe_code)]

extern crate alloc;

pub mod command;
pub mod data;
pub mod glob;
pub mod limits;
pub mod replication;
pub mod resp;
