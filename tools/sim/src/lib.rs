//! A deterministic simulator of the real engine and the real protocols.
//!
//! One seed decides everything: sizes, rates, what clients send, when the power goes, which sectors survive it. What is
//! simulated is what surrounds `windrow-core` and `windrow-proto`: disks, the network, the clock, and the shell that
//! drives them ([`run`] goes through all of it). What is checked, all the time: that a reply is shown only when what it
//! depends on is on the disk, by the simulator's own account of both; that recovery ends the log exactly where its last
//! whole record ends, or refuses it where a watermark bears witness to more; that the state is then the one that the
//! records say, key by key; that replies are those of a model of the commands, once each and in order; that batches are
//! one record; that a scan finds what was there all along; and that counts and memory stay within their bounds.
//!
//! There are two worlds: a node with its clients, whose partitions have one copy each, and the replicas of one partition
//! with the network between them ([`Kind`]).

mod client;
mod cluster;
mod disk;
mod keys;
mod model;
mod mutation;
mod open;
mod replica;
mod rng;
mod run;
mod stats;
mod swarm;
mod trace;
mod truth;
mod world;

pub use mutation::Mutation;
pub use run::{Failure, Kind, Passed, run, run_loudly};
pub use stats::Stats;
