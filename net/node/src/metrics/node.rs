//! The whole node's metrics: every core's and every partition's, and their sums.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::counter::{Counter, Gauge};
use super::counters::{CoreCounters, CoreShared, Stage};
use super::errors::ERROR_PREFIXES;
use super::histogram::{Distribution, Scale, SharedHistogram};

/// What the owner of a partition tells about it at every tick.
#[derive(Debug, Default)]
pub struct PartitionGauges {
    /// The core that owns it.
    pub core: Gauge,
    /// Keys, including expired ones that the sweep has yet to delete.
    pub keys: Gauge,
    /// Those of them that expire.
    pub expiring_keys: Gauge,
    /// The mean of the moments at which they expire, in milliseconds since 1970.
    pub mean_expiry_ms: Gauge,
    /// End of what was appended, in bytes from the start of the log.
    pub appended_lsn: Gauge,
    /// End of what was handed to a flush.
    pub submitted_lsn: Gauge,
    /// End of what is on disk.
    pub durable_lsn: Gauge,
    /// End of what replies may show.
    pub committed_lsn: Gauge,
    /// Start of the oldest record that is kept.
    pub first_lsn: Gauge,
    /// The leadership it is written under.
    pub epoch: Gauge,
    /// Segment files in use.
    pub segments: Gauge,
    /// Segment files prepared ahead.
    pub segments_prepared: Gauge,
    /// Bytes of the segment files, prepared ones included.
    pub segment_bytes: Gauge,
    /// Bytes of records that are still current.
    pub live_bytes: Gauge,
    /// Bytes of memory that the index takes.
    pub index_bytes: Gauge,
    /// Bytes of memory that newest segments are kept in while what they hold is overwritten soon.
    pub tail_memory_bytes: Gauge,
    /// Bytes of what was cut from the log and is still kept.
    pub aside_bytes: Gauge,
    /// Segments that could not be prepared.
    pub prepare_failures: Counter,
    /// 1 while no segment can be prepared for want of room.
    pub out_of_space: Gauge,
    /// 1 while no segment can be prepared for another reason.
    pub segment_refused: Gauge,
    /// Segments that were found to be damaged since the start.
    pub damaged_segments: Gauge,
    /// Where the first of them starts, if there is one.
    pub first_damaged_segment: Gauge,
}

impl PartitionGauges {
    /// Bytes that were appended but are not on disk: what a power cut could take.
    #[must_use]
    pub fn at_risk_bytes(&self) -> u64 {
        self.appended_lsn.get().saturating_sub(self.durable_lsn.get())
    }
}

/// Everything that is measured, shared by all cores and the admin endpoint.
#[derive(Debug)]
pub struct NodeMetrics {
    command_names: Box<[&'static str]>,
    cores: Box<[Arc<CoreShared>]>,
    partitions: Box<[Arc<PartitionGauges>]>,
    started: Instant,
    baseline: Mutex<Arc<Totals>>,
}

impl NodeMetrics {
    /// Nothing counted yet. `command_names` are the lower-case names, in the order of the command indices that the
    /// cores will use.
    #[must_use]
    pub fn new(command_names: &[&'static str], cores: usize, partitions: usize) -> Self {
        let core = || Arc::new(CoreShared::new(command_names.len()));
        Self {
            command_names: command_names.into(),
            cores: (0..cores).map(|_| core()).collect(),
            partitions: (0..partitions).map(|_| Arc::new(PartitionGauges::default())).collect(),
            started: Instant::now(),
            baseline: Mutex::new(Arc::new(Totals::new(command_names.len()))),
        }
    }

    /// The commands' names, by index.
    #[must_use]
    pub fn command_names(&self) -> &[&'static str] {
        &self.command_names
    }

    /// Each core's metrics.
    #[must_use]
    pub fn cores(&self) -> &[Arc<CoreShared>] {
        &self.cores
    }

    /// Each partition's gauges.
    #[must_use]
    pub fn partitions(&self) -> &[Arc<PartitionGauges>] {
        &self.partitions
    }

    /// Since the node started.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// The sum of a counter or gauge over the cores.
    #[must_use]
    pub fn sum(&self, read: impl Fn(&CoreCounters) -> u64) -> u64 {
        self.cores.iter().fold(0, |sum, core| sum.wrapping_add(read(&core.counters)))
    }

    /// The greatest value of a gauge over the cores.
    #[must_use]
    pub fn max(&self, read: impl Fn(&CoreCounters) -> u64) -> u64 {
        self.cores.iter().map(|core| read(&core.counters)).max().unwrap_or(0)
    }

    /// The sum of a gauge over the partitions.
    #[must_use]
    pub fn partition_sum(&self, read: impl Fn(&PartitionGauges) -> u64) -> u64 {
        self.partitions.iter().fold(0, |sum, partition| sum.wrapping_add(read(partition)))
    }

    /// The latency of one stage over all cores.
    #[must_use]
    pub fn stage(&self, stage: Stage) -> Distribution {
        let at = Stage::ALL.iter().position(|&listed| listed == stage).unwrap_or(0);
        self.distribution(Scale::Latency, |core| Some(&core.stages[at]))
    }

    /// The latency of one command over all cores, or `None` if none was published yet.
    #[must_use]
    pub fn command_latency(&self, command: usize) -> Option<Distribution> {
        let of =
            |core: &CoreShared| core.commands.get(command).is_some_and(|counters| counters.latency.get().is_some());
        // Most commands are never used; their histograms are not even made.
        self.cores
            .iter()
            .any(|core| of(core))
            .then(|| self.distribution(Scale::Latency, |core| core.commands.get(command)?.latency.get()))
    }

    /// One histogram over all cores.
    #[must_use]
    pub fn distribution(&self, scale: Scale, pick: impl Fn(&CoreShared) -> Option<&SharedHistogram>) -> Distribution {
        let mut total = Distribution::empty(scale);
        self.cores.iter().filter_map(|core| pick(core)).for_each(|shared| shared.merge_into(&mut total));
        total
    }

    /// Everything that `CONFIG RESETSTAT` resets, summed over the cores, since the node started.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::new(self.command_names.len());
        self.cores.iter().for_each(|core| totals.add(core));
        totals
    }

    /// As [`totals`](Self::totals), but since the last [`reset_statistics`](Self::reset_statistics).
    #[must_use]
    pub fn totals_since_reset(&self) -> Totals {
        let mut totals = self.totals();
        totals.subtract(&self.baseline());
        totals
    }

    /// The latency of one command since the last reset.
    #[must_use]
    pub fn command_latency_since_reset(&self, command: usize) -> Option<Distribution> {
        let mut total = self.command_latency(command)?;
        if let Some(earlier) = self.baseline().commands.get(command).and_then(|earlier| earlier.latency.as_ref()) {
            total.subtract(earlier);
        }
        (!total.histogram.is_empty()).then_some(total)
    }

    /// Starts the statistics that INFO shows from zero. The counters themselves never go back, for Prometheus takes
    /// a fall for a restart; what they stand at now is taken off instead.
    pub fn reset_statistics(&self) {
        let mut totals = self.totals();
        for (at, command) in totals.commands.iter_mut().enumerate() {
            command.latency = self.command_latency(at);
        }
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(totals);
    }

    /// Starts the latency histograms of the given commands from zero, all of them if there are none. Returns how
    /// many had anything recorded.
    pub fn reset_latency(&self, commands: &[usize]) -> usize {
        let mut baseline = Totals::clone(&self.baseline());
        let mut count = 0;
        for (at, command) in baseline.commands.iter_mut().enumerate() {
            if commands.is_empty() || commands.contains(&at) {
                count += usize::from(self.command_latency_since_reset(at).is_some());
                command.latency = self.command_latency(at);
            }
        }
        *self.baseline.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(baseline);
        count
    }

    fn baseline(&self) -> Arc<Totals> {
        Arc::clone(&self.baseline.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One command's counts.
#[derive(Clone, Debug, Default)]
pub struct CommandTotals {
    /// Times it was executed.
    pub calls: u64,
    /// Times it answered with an error.
    pub failed: u64,
    /// Times it was refused before it was executed.
    pub rejected: u64,
    time_ns: u64,
    latency: Option<Distribution>,
}

impl CommandTotals {
    /// The mean execution time in microseconds.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a mean for people")]
    pub fn usec_per_call(&self) -> f64 {
        if self.calls == 0 { 0.0 } else { self.time_ns as f64 / 1_000.0 / self.calls as f64 }
    }

    /// The total execution time in nanoseconds.
    #[must_use]
    pub fn nanos(&self) -> u64 {
        self.time_ns
    }
}

/// Sums over all cores of what `CONFIG RESETSTAT` resets.
#[derive(Clone, Debug)]
pub struct Totals {
    /// Connections accepted.
    pub connections_received: u64,
    /// Connections refused.
    pub connections_rejected: u64,
    /// Commands executed.
    pub commands_processed: u64,
    /// Bytes received.
    pub net_input_bytes: u64,
    /// Bytes sent.
    pub net_output_bytes: u64,
    /// Lookups by reading commands that found a key.
    pub keyspace_hits: u64,
    /// Lookups by reading commands that found none.
    pub keyspace_misses: u64,
    /// Keys deleted since they had expired.
    pub keys_expired: u64,
    /// Connections closed for unread output.
    pub output_limit_disconnections: u64,
    /// Connections closed for too much input.
    pub input_limit_disconnections: u64,
    /// Attempts to authenticate that failed.
    pub authentication_failures: u64,
    /// Error replies by prefix, the last being all others.
    pub errors: [u64; ERROR_PREFIXES.len() + 1],
    /// By command index.
    pub commands: Box<[CommandTotals]>,
}

impl Totals {
    fn new(commands: usize) -> Self {
        Self {
            connections_received: 0,
            connections_rejected: 0,
            commands_processed: 0,
            net_input_bytes: 0,
            net_output_bytes: 0,
            keyspace_hits: 0,
            keyspace_misses: 0,
            keys_expired: 0,
            output_limit_disconnections: 0,
            input_limit_disconnections: 0,
            authentication_failures: 0,
            errors: [0; ERROR_PREFIXES.len() + 1],
            commands: vec![CommandTotals::default(); commands].into(),
        }
    }

    /// All error replies.
    #[must_use]
    pub fn error_replies(&self) -> u64 {
        self.errors.iter().sum()
    }

    fn plain(&mut self) -> [&mut u64; 11] {
        [
            &mut self.connections_received,
            &mut self.connections_rejected,
            &mut self.commands_processed,
            &mut self.net_input_bytes,
            &mut self.net_output_bytes,
            &mut self.keyspace_hits,
            &mut self.keyspace_misses,
            &mut self.keys_expired,
            &mut self.output_limit_disconnections,
            &mut self.input_limit_disconnections,
            &mut self.authentication_failures,
        ]
    }

    fn add(&mut self, core: &CoreShared) {
        let from = &core.counters;
        let values = [
            &from.connections_received,
            &from.connections_rejected,
            &from.commands,
            &from.net_input_bytes,
            &from.net_output_bytes,
            &from.keyspace_hits,
            &from.keyspace_misses,
            &from.keys_expired,
            &from.output_limit_disconnections,
            &from.input_limit_disconnections,
            &from.authentication_failures,
        ];
        for (total, counter) in self.plain().into_iter().zip(values) {
            *total = total.wrapping_add(counter.get());
        }
        for (total, counter) in self.errors.iter_mut().zip(&core.errors) {
            *total = total.wrapping_add(counter.get());
        }
        for (total, counters) in self.commands.iter_mut().zip(&core.commands) {
            total.calls = total.calls.wrapping_add(counters.calls.get());
            total.failed = total.failed.wrapping_add(counters.failed.get());
            total.rejected = total.rejected.wrapping_add(counters.rejected.get());
            total.time_ns = total.time_ns.wrapping_add(counters.time_ns.get());
        }
    }

    fn subtract(&mut self, earlier: &Self) {
        let mut earlier = earlier.clone();
        for (total, earlier) in self.plain().into_iter().zip(earlier.plain()) {
            *total = total.wrapping_sub(*earlier);
        }
        for (total, earlier) in self.errors.iter_mut().zip(&earlier.errors) {
            *total = total.wrapping_sub(*earlier);
        }
        for (total, earlier) in self.commands.iter_mut().zip(&earlier.commands) {
            total.calls = total.calls.wrapping_sub(earlier.calls);
            total.failed = total.failed.wrapping_sub(earlier.failed);
            total.rejected = total.rejected.wrapping_sub(earlier.rejected);
            total.time_ns = total.time_ns.wrapping_sub(earlier.time_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::core::CoreMetrics;
    use super::super::counters::Outcome;
    use super::*;

    #[test]
    fn a_reset_starts_the_sums_from_zero_but_not_the_counters() {
        let node = NodeMetrics::new(&["get", "set"], 2, 1);
        let mut cores: Vec<_> = node.cores().iter().map(|shared| CoreMetrics::new(Arc::clone(shared))).collect();
        for core in &mut cores {
            core.executed(1, Outcome::Done, Duration::from_micros(2), 1);
            core.executed(1, Outcome::Failed, Duration::from_micros(2), 1);
            core.error_reply(b"ERR no");
            core.counters().keyspace_hits.add(5);
            core.publish();
        }
        let before = node.totals_since_reset();
        assert_eq!((before.commands_processed, before.keyspace_hits, before.error_replies()), (4, 10, 2));
        assert_eq!((before.commands[1].calls, before.commands[1].nanos()), (4, 8_000));
        assert_eq!(node.command_latency_since_reset(1).unwrap().histogram.len(), 4);

        node.reset_statistics();
        let after = node.totals_since_reset();
        assert_eq!((after.commands_processed, after.keyspace_hits, after.commands[1].calls), (0, 0, 0));
        assert!(node.command_latency_since_reset(1).is_none());
        assert_eq!(node.totals().commands_processed, 4);

        cores[0].executed(1, Outcome::Done, Duration::from_micros(2), 1);
        cores[0].publish();
        assert_eq!(node.command_latency_since_reset(1).unwrap().histogram.len(), 1);
        assert_eq!(node.reset_latency(&[0]), 0);
        assert_eq!(node.reset_latency(&[]), 1);
        assert!(node.command_latency_since_reset(1).is_none());
    }

    #[test]
    fn sums_and_maxima_go_over_all_cores() {
        let node = NodeMetrics::new(&[], 3, 2);
        for (core, open) in node.cores().iter().zip([1, 7, 2]) {
            core.counters.connections.set(open);
        }
        assert_eq!(node.sum(|core| core.connections.get()), 10);
        assert_eq!(node.max(|core| core.connections.get()), 7);
        node.partitions()[0].appended_lsn.set(100);
        node.partitions()[0].durable_lsn.set(40);
        assert_eq!(node.partition_sum(PartitionGauges::at_risk_bytes), 60);
    }
}
