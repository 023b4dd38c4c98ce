//! LATENCY: events that took long, and histograms of how long commands take.

use std::collections::VecDeque;
use std::time::Duration;

use windrow_core::types::UnixMillis;
use windrow_proto::command::lookup;
use windrow_proto::resp::{Args, Encoder};

use super::node::Node;

/// Samples that are kept of each kind of event; as in Redis.
pub const SAMPLES_MAX: usize = 160;

/// The kinds of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A command.
    Command,
    /// A command that should take constant time.
    FastCommand,
    /// A flush of a log.
    Flush,
}

impl Event {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Command, Self::FastCommand, Self::Flush];

    /// Its name in LATENCY.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::FastCommand => "fast-command",
            Self::Flush => "flush",
        }
    }

    fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The longest event of one second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Sample {
    second: u64,
    millis: u64,
}

/// The events of one kind.
#[derive(Clone, Debug, Default)]
struct Series {
    samples: VecDeque<Sample>,
    millis_max: u64,
}

impl Series {
    fn add(&mut self, sample: Sample) {
        self.millis_max = self.millis_max.max(sample.millis);
        match self.samples.back_mut() {
            Some(last) if last.second == sample.second => last.millis = last.millis.max(sample.millis),
            _ => self.samples.push_back(sample),
        }
        while self.samples.len() > SAMPLES_MAX {
            self.samples.pop_front();
        }
    }
}

/// The events of one core.
#[derive(Debug, Default)]
pub struct LatencyEvents([Series; 3]);

impl LatencyEvents {
    /// Adds an event.
    pub fn add(&mut self, event: Event, at: UnixMillis, took: Duration) {
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.0[event as usize].add(Sample { second: at.get() / 1_000, millis });
    }
}

/// The events of one kind on all cores, oldest first.
fn series(node: &Node, event: Event) -> Series {
    let per_core: Vec<Series> = node.latency_events().map(|events| events.0[event as usize].clone()).collect();
    let mut samples: Vec<Sample> = per_core.iter().flat_map(|series| series.samples.iter().copied()).collect();
    samples.sort_by_key(|sample| sample.second);
    let mut all = Series::default();
    samples.into_iter().for_each(|sample| all.add(sample));
    all.millis_max = per_core.iter().map(|series| series.millis_max).max().unwrap_or(0);
    all
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `LATENCY LATEST`.
pub(super) fn latest(node: &Node, encoder: &mut Encoder<'_>) {
    let known = Event::ALL.map(|event| (event, series(node, event)));
    let seen: Vec<_> =
        known.iter().filter_map(|(event, all)| Some((event, all.samples.back()?, all.millis_max))).collect();
    encoder.array(seen.len());
    for (event, last, millis_max) in seen {
        encoder.array(4);
        encoder.bulk(event.name().as_bytes());
        encoder.integer(integer(last.second));
        encoder.integer(integer(last.millis));
        encoder.integer(integer(millis_max));
    }
}

/// `LATENCY HISTORY event`.
pub(super) fn history(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let samples = Event::named(args.at(2)).map(|event| series(node, event).samples).unwrap_or_default();
    encoder.array(samples.len());
    for sample in samples {
        encoder.array(2);
        encoder.integer(integer(sample.second));
        encoder.integer(integer(sample.millis));
    }
}

/// `LATENCY RESET [event …]`: how many kinds had any.
pub(super) fn reset(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let chosen = |event: &Event| args.len() == 2 || args.from(2).any(|name| Event::named(name) == Some(*event));
    let mut count = 0;
    for event in Event::ALL.into_iter().filter(chosen) {
        count += usize::from(!series(node, event).samples.is_empty());
        node.latency_events().for_each(|mut events| events.0[event as usize] = Series::default());
    }
    encoder.count(count);
}

/// `LATENCY DOCTOR`.
pub(super) fn doctor(node: &Node, encoder: &mut Encoder<'_>) {
    let mut text = String::new();
    match node.live().settings.latency_monitor_threshold {
        None => text.push_str(
            "The latency monitor is off. Turn it on with CONFIG SET latency-monitor-threshold <milliseconds>; \
             LATENCY HISTOGRAM and the metrics endpoint work without it.\n",
        ),
        Some(threshold) => {
            text.push_str(&format!("Events of {} ms and more are recorded.\n", threshold.as_millis()));
            for event in Event::ALL {
                let all = series(node, event);
                let line = format!("{}: {} samples, {} ms at most.\n", event.name(), all.samples.len(), all.millis_max);
                text.push_str(&line);
            }
            text.push_str(
                "This names what was slow, not why: see SLOWLOG GET, INFO windrow and the stage histograms.\n",
            );
        }
    }
    encoder.verbatim(*b"txt", text.as_bytes());
}

/// `LATENCY HISTOGRAM [command …]`: for each power of two of microseconds, how many calls took at most that.
pub(super) fn histogram(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let names = node.metrics.command_names();
    let asked: Vec<usize> = if args.len() == 2 {
        (0..names.len()).collect()
    } else {
        let find = |name: &[u8]| names.iter().position(|known| known.as_bytes().eq_ignore_ascii_case(name));
        // A container stands for its subcommands, as in Redis.
        let all = args.from(2).flat_map(|name| {
            let container = lookup(name).filter(|command| !command.subcommands.is_empty());
            let members = container.map_or(&[][..], |command| command.subcommands);
            find(name).into_iter().chain(members.iter().filter_map(move |member| find(member.name.as_bytes())))
        });
        all.collect()
    };
    let found: Vec<_> =
        asked.into_iter().filter_map(|at| Some((names[at], node.metrics.command_latency_since_reset(at)?))).collect();
    encoder.map(found.len());
    for (name, values) in found {
        encoder.bulk(name.as_bytes());
        encoder.map(2);
        encoder.bulk(b"calls");
        encoder.integer(integer(values.histogram.len()));
        encoder.bulk(b"histogram_usec");
        let mut below = 0;
        let mut rows: Vec<(u64, u64)> = Vec::new();
        for bucket in values.histogram.iter_recorded() {
            below += bucket.count_since_last_iteration();
            let nanos = values.histogram.lowest_equivalent(bucket.value_iterated_to());
            let usec = nanos.div_ceil(1_000).next_power_of_two();
            match rows.last_mut() {
                Some((last, count)) if *last == usec => *count = below,
                _ => rows.push((usec, below)),
            }
        }
        encoder.map(rows.len());
        for (usec, count) in rows {
            encoder.integer(integer(usec));
            encoder.integer(integer(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Request, node};
    use super::*;
    use crate::metrics::{Outcome, index_of};

    fn at(second: u64) -> UnixMillis {
        UnixMillis::new(second * 1_000).unwrap()
    }

    fn ask(args: &[&[u8]], run: impl FnOnce(Args<'_>, &mut Encoder<'_>)) -> String {
        Request::new(args).run(run)
    }

    #[test]
    fn events_of_all_cores_are_one_history() {
        let node = node(2);
        let millis = Duration::from_millis;
        node.latency_events_of(0).unwrap().add(Event::Command, at(10), millis(5));
        node.latency_events_of(0).unwrap().add(Event::Command, at(12), millis(30));
        node.latency_events_of(1).unwrap().add(Event::Command, at(12), millis(20));
        node.latency_events_of(1).unwrap().add(Event::Command, at(13), millis(7));
        let reply = ask(&[b"latency", b"history", b"COMMAND"], |args, encoder| history(&node, args, encoder));
        assert_eq!(reply, "*3\r\n*2\r\n:10\r\n:5\r\n*2\r\n:12\r\n:30\r\n*2\r\n:13\r\n:7\r\n");
        let reply = ask(&[], |_, encoder| latest(&node, encoder));
        assert_eq!(reply, "*1\r\n*4\r\n$7\r\ncommand\r\n:13\r\n:7\r\n:30\r\n");
        assert_eq!(ask(&[b"latency", b"history", b"x"], |args, encoder| history(&node, args, encoder)), "*0\r\n");
        let no = ask(&[b"latency", b"reset", b"flush"], |args, encoder| reset(&node, args, encoder));
        let yes = ask(&[b"latency", b"reset"], |args, encoder| reset(&node, args, encoder));
        assert_eq!((no.as_str(), yes.as_str()), (":0\r\n", ":1\r\n"));
        assert_eq!(ask(&[], |_, encoder| latest(&node, encoder)), "*0\r\n");
    }

    #[test]
    fn samples_are_bounded() {
        let mut events = LatencyEvents::default();
        for second in 0..1_000 {
            events.add(Event::Flush, at(second), Duration::from_millis(1));
        }
        let series = &events.0[Event::Flush as usize];
        assert_eq!((series.samples.len(), series.samples[0].second), (SAMPLES_MAX, 840));
    }

    #[test]
    fn histograms_are_cumulative_by_powers_of_two() {
        let node = node(1);
        let mut core = node.core_metrics(0);
        let get = index_of(lookup(b"get").unwrap());
        core.executed(get, Outcome::Done, Duration::from_nanos(800), 3);
        core.executed(get, Outcome::Done, Duration::from_micros(3), 2);
        core.executed(get, Outcome::Done, Duration::from_micros(900), 1);
        core.publish();
        let expected = "*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:6\r\n$14\r\nhistogram_usec\r\n\
                        *6\r\n:1\r\n:3\r\n:4\r\n:5\r\n:1024\r\n:6\r\n";
        let all = ask(&[b"latency", b"histogram"], |args, encoder| histogram(&node, args, encoder));
        let one = ask(&[b"latency", b"histogram", b"GET"], |args, encoder| histogram(&node, args, encoder));
        assert_eq!((all.as_str(), one.as_str()), (expected, expected));
        let none = ask(&[b"latency", b"histogram", b"set"], |args, encoder| histogram(&node, args, encoder));
        assert_eq!(none, "*0\r\n");
    }
}
