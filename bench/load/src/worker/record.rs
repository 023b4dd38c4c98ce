//! What one thread measures, and the handing over of each interval.

use std::sync::mpsc::Sender;

use crate::measure::{Counts, ErrorKinds, Interval, Nanos, histogram};
use crate::plan::{End, Plan};
use crate::process::ThreadTime;
use crate::units;
use crate::verify::Findings;

/// Measurements of one thread. Times are nanoseconds since the run's start.
pub(crate) struct Record {
    sender: Sender<Interval>,
    warm_until: u64,
    /// What completes later counts as late.
    end: u64,
    interval_ns: u64,
    late_ns: u64,
    current: Interval,
    started: ThreadTime,
    /// Whether the warm-up is over.
    pub(crate) measuring: bool,
    pub(crate) by_operation: Vec<Nanos>,
    pub(crate) errors: ErrorKinds,
    pub(crate) findings: Findings,
    /// Time spent asking in vain whether something has come, in a busy wait.
    pub(crate) idle_ns: u64,
    pub(crate) last_answer: u64,
}

impl Record {
    pub(crate) fn new(plan: &Plan, sender: Sender<Interval>) -> Self {
        let warm_until = units::nanos(plan.warmup);
        let end = match plan.end {
            End::After(time) => warm_until + units::nanos(time),
            End::Requests(_) => u64::MAX,
        };
        Self {
            sender,
            warm_until,
            end,
            interval_ns: units::nanos(plan.interval),
            late_ns: units::nanos(plan.late),
            current: Interval::new(0),
            started: ThreadTime::default(),
            measuring: false,
            by_operation: plan.mix.operations.iter().map(|_| histogram()).collect(),
            errors: ErrorKinds::default(),
            findings: Findings::default(),
            idle_ns: 0,
            last_answer: 0,
        }
    }

    /// When [`Self::roll`] has something to do next.
    pub(crate) const fn next_roll(&self) -> u64 {
        if self.measuring { self.warm_until + (self.current.index + 1) * self.interval_ns } else { self.warm_until }
    }

    /// Hands over every interval that has ended.
    pub(crate) fn roll(&mut self, now: u64) {
        if !self.measuring && now >= self.warm_until {
            self.measuring = true;
            self.idle_ns = 0;
            self.started = ThreadTime::now();
        }
        while self.measuring && now >= self.next_roll() {
            let next = Interval::new(self.current.index + 1);
            self.send(next);
        }
    }

    fn send(&mut self, next: Interval) {
        // Nobody listens any more only when the run has been given up.
        let _given_up = self.sender.send(std::mem::replace(&mut self.current, next));
    }

    /// Hands over what is left; what the thread has had of its core since the warm-up.
    pub(crate) fn finish(&mut self) -> ThreadTime {
        let next = Interval::new(self.current.index + 1);
        self.send(next);
        ThreadTime::now().since(self.started)
    }

    /// The counts of the interval, for a request that was due at `due`; `None` in the warm-up.
    pub(crate) fn counts(&mut self, due: u64) -> Option<&mut Counts> {
        (due >= self.warm_until).then_some(&mut self.current.counts)
    }

    /// Bytes have gone through a socket.
    pub(crate) const fn moved(&mut self, sent: usize, received: usize) {
        if self.measuring {
            self.current.counts.bytes_sent += sent as u64;
            self.current.counts.bytes_received += received as u64;
        }
    }

    /// A request that was due at `due` is sent now; a connection was free for it at `free`.
    pub(crate) fn sent(&mut self, due: u64, free: u64, now: u64) {
        if due < self.warm_until {
            return;
        }
        let lag = now.saturating_sub(due.max(free));
        self.current.lag.saturating_record(lag.max(1));
        self.current.counts.held_back += u64::from(free > due);
        self.current.counts.late_by_client += u64::from(lag > self.late_ns);
    }

    /// A request that was due at `due` has been answered.
    pub(crate) fn answered(&mut self, operation: usize, due: u64, now: u64) {
        if due < self.warm_until {
            return;
        }
        let latency = now.saturating_sub(due).max(1);
        self.current.latency.saturating_record(latency);
        if let Some(histogram) = self.by_operation.get_mut(operation) {
            histogram.saturating_record(latency);
        }
        self.last_answer = now;
        if now <= self.end {
            self.current.counts.completed += 1;
        } else {
            self.current.counts.completed_late += 1;
        }
    }

    /// A request that was due at `due` has waited in vain until now: at least so long.
    pub(crate) fn given_up(&mut self, due: u64, now: u64) {
        if due >= self.warm_until {
            self.current.latency.saturating_record(now.saturating_sub(due).max(1));
        }
    }
}
