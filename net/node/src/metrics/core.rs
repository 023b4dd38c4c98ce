//! A core's metrics, in the hands of the core.

use std::sync::Arc;
use std::time::Duration;

use windrow_proto::command::{Command, Flags, Id};

use super::commands::index_of;
use super::counters::{CoreCounters, CoreShared, Outcome, Stage};
use super::errors::error_index;
use super::histogram::{LocalHistogram, Scale, SharedHistogram, nanos};
use super::lookups::lookups;

/// At most this many histograms are published in one [`CoreMetrics::publish`], about 2 µs each.
pub const PUBLISH_BATCH: usize = 8;
/// What the error reply to a write starts with when there is no room for it.
const NO_SPACE: &[u8] = b"ERR no space left on the disk";
/// And where the disk refuses it for another reason.
const NO_SEGMENT: &[u8] = b"ERR the disk of the data directory refuses";
/// How many rate samples are averaged, as in Redis.
const RATE_SAMPLES: usize = 16;

/// A core's metrics, in the hands of the core.
///
/// Nothing here waits, and nothing allocates but the first use of a command (its histogram).
#[derive(Debug)]
pub struct CoreMetrics {
    shared: Arc<CoreShared>,
    commands: Box<[Option<Box<LocalHistogram>>]>,
    stages: [LocalHistogram; 4],
    flush_latency: LocalHistogram,
    flush_bytes: LocalHistogram,
    flush_records: LocalHistogram,
    follow_lag: LocalHistogram,
    flush_max: Duration,
    next_to_publish: usize,
    rates: [Rate; 3],
}

impl CoreMetrics {
    /// Takes over the writing of `shared`. There must be one writer only.
    #[must_use]
    pub fn new(shared: Arc<CoreShared>) -> Self {
        Self {
            commands: shared.commands.iter().map(|_| None).collect(),
            stages: std::array::from_fn(|_| LocalHistogram::new(Scale::Latency)),
            flush_latency: LocalHistogram::new(Scale::Latency),
            flush_bytes: LocalHistogram::new(Scale::Bytes),
            flush_records: LocalHistogram::new(Scale::Count),
            follow_lag: LocalHistogram::new(Scale::Latency),
            flush_max: Duration::ZERO,
            next_to_publish: 0,
            rates: std::array::from_fn(|_| Rate::default()),
            shared,
        }
    }

    /// The plain counters, to be written by this core.
    #[inline]
    #[must_use]
    pub fn counters(&self) -> &CoreCounters {
        &self.shared.counters
    }

    /// Counts `count` commands of one kind (see [`index_of`](super::index_of)) that ended alike and each took `took`
    /// to execute.
    #[inline]
    pub fn executed(&mut self, command: usize, outcome: Outcome, took: Duration, count: u64) {
        let Some(counters) = self.shared.commands.get(command) else { return };
        if outcome == Outcome::Rejected {
            counters.rejected.add(count);
            return;
        }
        self.shared.counters.commands.add(count);
        counters.calls.add(count);
        if outcome == Outcome::Failed {
            counters.failed.add(count);
        }
        counters.time_ns.add(nanos(took).saturating_mul(count));
        let Some(slot) = self.commands.get_mut(command) else { return };
        slot.get_or_insert_with(|| Box::new(LocalHistogram::new(Scale::Latency))).record_n(nanos(took), count);
    }

    /// Counts what a reply says: an error, keys that were found or missed. `args` is how many arguments the command
    /// had, its name included; the command itself is counted by [`executed`](Self::executed), as done.
    #[inline]
    pub fn reply(&mut self, command: &Command, args: usize, reply: &[u8]) {
        if let [b'-', line @ ..] = reply {
            self.error_reply(line);
            self.shared.counters.writes_refused_no_space.add(line.starts_with(NO_SPACE).into());
            self.shared.counters.writes_refused_no_segment.add(line.starts_with(NO_SEGMENT).into());
            if let Some(counters) = self.shared.commands.get(index_of(command)) {
                counters.failed.increment();
            }
        } else if !command.flags.has(Flags::WRITE) || matches!(command.id, Id::Getex | Id::Getdel) {
            let (hits, misses) = lookups(command.id, args.saturating_sub(1), reply);
            self.shared.counters.keyspace_hits.add(hits);
            self.shared.counters.keyspace_misses.add(misses);
        }
    }

    /// Counts an error reply, `line` being what follows the `-`.
    pub fn error_reply(&mut self, line: &[u8]) {
        self.shared.errors[error_index(line)].increment();
    }

    /// Records that `n` requests spent `time` in `stage`.
    #[inline]
    pub fn stage(&mut self, stage: Stage, time: Duration, n: u64) {
        self.stages[stage.index()].record_n(nanos(time), n);
    }

    /// Records the time of a completed flush.
    pub fn flush_time(&mut self, time: Duration) {
        self.shared.counters.flushes.increment();
        self.shared.counters.flush_last_us.set(nanos(time) / 1_000);
        self.flush_latency.record_n(nanos(time), 1);
        self.flush_max = self.flush_max.max(time);
    }

    /// Records what a flush covered.
    pub fn flush_size(&mut self, bytes: u64, records: u64) {
        self.flush_bytes.record_n(bytes, 1);
        self.flush_records.record_n(records, 1);
    }

    /// Records that what a leader committed could be read here `lag` later.
    pub fn followed(&mut self, lag: Duration) {
        self.shared.counters.follows.increment();
        self.follow_lag.record_n(nanos(lag), 1);
    }

    /// The longest flush since the last call.
    pub fn take_flush_max(&mut self) -> Duration {
        std::mem::take(&mut self.flush_max)
    }

    /// Sets the CPU time that the core's thread has taken.
    pub fn cpu_time(&mut self, user: Duration, system: Duration) {
        self.shared.counters.cpu_user_us.set(nanos(user) / 1_000);
        self.shared.counters.cpu_system_us.set(nanos(system) / 1_000);
    }

    /// Lets others see what was recorded, a bounded part of it at a time: call it at every tick.
    pub fn publish(&mut self) {
        let fixed = [
            (&mut self.flush_latency, &self.shared.flush_latency),
            (&mut self.flush_bytes, &self.shared.flush_bytes),
            (&mut self.flush_records, &self.shared.flush_records),
            (&mut self.follow_lag, &self.shared.follow_lag),
        ];
        for (local, shared) in fixed.into_iter().chain(self.stages.iter_mut().zip(&self.shared.stages)) {
            local.publish(shared);
        }
        let mut published = 0;
        for _ in 0..self.commands.len() {
            let at = self.next_to_publish;
            self.next_to_publish = (at + 1) % self.commands.len();
            if let Some(local) = self.commands[at].as_deref_mut().filter(|local| !local.is_empty()) {
                let shared = self.shared.commands[at].latency.get_or_init(|| SharedHistogram::new(Scale::Latency));
                local.publish(shared);
                published += 1;
                if published == PUBLISH_BATCH {
                    break;
                }
            }
        }
    }

    /// Brings the rates up to date, `elapsed` after the last call.
    pub fn sample_rates(&mut self, elapsed: Duration) {
        let counters = &self.shared.counters;
        let [commands, input, output] = &mut self.rates;
        counters.commands_per_second.set(commands.sample(counters.commands.get(), elapsed));
        counters.input_bytes_per_second.set(input.sample(counters.net_input_bytes.get(), elapsed));
        counters.output_bytes_per_second.set(output.sample(counters.net_output_bytes.get(), elapsed));
    }
}

/// The average of the last few rates of a counter.
#[derive(Debug, Default)]
struct Rate {
    last: u64,
    samples: [u64; RATE_SAMPLES],
    next: usize,
}

impl Rate {
    fn sample(&mut self, count: u64, elapsed: Duration) -> u64 {
        let grown = u128::from(count.wrapping_sub(self.last));
        let rate = grown * 1_000_000 / elapsed.as_micros().max(1);
        self.last = count;
        self.samples[self.next] = u64::try_from(rate).unwrap_or(u64::MAX);
        self.next = (self.next + 1) % RATE_SAMPLES;
        self.samples.iter().fold(0_u64, |sum, &sample| sum.saturating_add(sample)) / RATE_SAMPLES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::histogram::Distribution;
    use super::*;

    fn metrics() -> (Arc<CoreShared>, CoreMetrics) {
        let shared = Arc::new(CoreShared::new(20));
        (Arc::clone(&shared), CoreMetrics::new(shared))
    }

    #[test]
    fn commands_are_counted_by_how_they_ended() {
        let (shared, mut metrics) = metrics();
        let took = Duration::from_nanos(500);
        metrics.executed(3, Outcome::Done, took, 2);
        metrics.executed(3, Outcome::Failed, took, 1);
        metrics.executed(3, Outcome::Rejected, took, 1);
        metrics.executed(99, Outcome::Done, took, 1);
        let command = &shared.commands[3];
        assert_eq!((command.calls.get(), command.failed.get(), command.rejected.get()), (3, 1, 1));
        assert_eq!(command.time_ns.get(), 1_500);
        assert_eq!(shared.counters.commands.get(), 3, "refused and unlisted commands were not executed");
    }

    #[test]
    fn replies_are_counted_by_what_they_say() {
        let shared = Arc::new(CoreShared::new(super::super::command_names().len()));
        let mut metrics = CoreMetrics::new(Arc::clone(&shared));
        let named = |name: &str| windrow_proto::command::lookup(name.as_bytes()).unwrap();
        metrics.reply(named("get"), 2, b"$1\r\na\r\n");
        metrics.reply(named("exists"), 4, b":1\r\n");
        metrics.reply(named("getdel"), 2, b"$-1\r\n");
        metrics.reply(named("set"), 3, b"-WRONGTYPE x\r\n");
        assert_eq!((shared.counters.keyspace_hits.get(), shared.counters.keyspace_misses.get()), (2, 3));
        assert_eq!(shared.commands[index_of(named("set"))].failed.get(), 1);
        assert_eq!(shared.errors[1].get(), 1);
        assert_eq!(shared.counters.writes_refused_no_space.get(), 0);
        let refused = format!("-{}\r\n", windrow_proto::data::DataError::NoSpace);
        metrics.reply(named("set"), 3, refused.as_bytes());
        assert_eq!(shared.counters.writes_refused_no_space.get(), 1);
        let refused = format!("-{}\r\n", windrow_proto::data::DataError::NoSegment);
        metrics.reply(named("set"), 3, refused.as_bytes());
        let counters = &shared.counters;
        assert_eq!((counters.writes_refused_no_space.get(), counters.writes_refused_no_segment.get()), (1, 1));
    }

    #[test]
    fn all_commands_are_published_after_enough_ticks() {
        let (shared, mut metrics) = metrics();
        for command in 0..20 {
            metrics.executed(command, Outcome::Done, Duration::from_micros(50), 2);
        }
        metrics.publish();
        let published = || shared.commands.iter().filter(|command| command.latency.get().is_some()).count();
        assert_eq!(published(), PUBLISH_BATCH);
        metrics.publish();
        metrics.publish();
        assert_eq!(published(), 20);
        let mut total = Distribution::empty(Scale::Latency);
        shared.commands[19].latency.get().unwrap().merge_into(&mut total);
        assert_eq!(total.histogram.len(), 2);
        assert_eq!(total.sum, 100_000);
    }

    #[test]
    fn rates_are_averages_over_sixteen_samples() {
        let mut rate = Rate::default();
        for tick in 1..=16_u64 {
            rate.sample(tick * 100, Duration::from_millis(100));
        }
        assert_eq!(rate.sample(1_700, Duration::from_millis(100)), 1_000);
        assert_eq!(rate.sample(1_700, Duration::ZERO), 937, "an empty tick counts as none");
    }
}
