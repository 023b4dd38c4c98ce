//! What the node measures, at a cost that does not show.
//!
//! Every core writes its own numbers and no others: plain counters that any thread may read at any time
//! ([`Counter`]), and histograms that the core hands over now and then ([`LocalHistogram`]). There is no lock and no
//! atomic addition on the way of a request, and nothing allocates but the first use of a command on a core.
//!
//! # What it costs
//! Measured on the 2-core machine of the design: 2 ns a command for what its reply says, 22 ns a batch for its four
//! histograms, and two clock readings of 30 ns a batch. Publishing takes 2 µs a tick, ten times a second.
//!
//! # How precise the figures are
//!
//! - Counts are exact, and at most one read behind.
//! - Times come from few clock readings: a core reads the clock once per round of its event loop, and around the
//!   batch of requests that one connection sent together. The execution time of a request is its batch's divided by
//!   the number of requests in it. Arrival and release are off by up to the length of a round: a few microseconds
//!   when idle, and the time to execute one batch of every connection under load.
//! - For the slow log, commands are timed one by one, except GET and small SET, which are so in the second after a
//!   batch that took longer than what is logged.
//! - `replied` is what the client sees, less the network.
//! - Histograms have two significant digits, so a quantile is off by less than one percent, and reach readers with
//!   the next tick or two.

mod commands;
mod core;
mod counter;
mod counters;
mod errors;
mod histogram;
mod lookups;
mod node;
mod process;
mod prometheus;
mod replication;
mod text;

pub use self::commands::{command_names, index_of};
pub use self::core::{CoreMetrics, PUBLISH_BATCH};
pub use counter::{Counter, Gauge};
pub use counters::{CommandCounters, CoreCounters, CoreShared, Outcome, Stage};
pub use errors::{ERROR_PREFIXES, error_index, error_name};
pub use histogram::{Distribution, LocalHistogram, Scale, SharedHistogram};
pub use node::{CommandTotals, NodeMetrics, PartitionGauges, Totals};
pub use process::{Memory, available_memory, memory, process_cpu_time, thread_cpu_time};
pub use prometheus::{NodeFacts, render};
pub use replication::{Direction, FollowerFact, PartFact, ReplicationFacts};
