//! What one thread has seen, in histograms of nanoseconds and counts, handed over interval by interval.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Longer than any wait that is recorded.
const LATENCY_MAX_NS: u64 = 3_600_000_000_000;
/// Three digits: values are within a thousandth.
const DIGITS: u8 = 3;

pub(crate) type Nanos = Histogram<u64>;

/// An empty histogram of nanoseconds up to an hour.
pub(crate) fn histogram() -> Nanos {
    #[expect(clippy::expect_used, reason = "the bounds are constants that the histogram accepts, as every test shows")]
    Histogram::new_with_bounds(1, LATENCY_MAX_NS, DIGITS).expect("bounds of the histogram")
}

/// Totals of an interval or a run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Answered without an error before the end.
    pub(crate) completed: u64,
    /// Answered without an error after the end.
    pub(crate) completed_late: u64,
    /// Answered with an error.
    pub(crate) errors: u64,
    /// Under way when their connection broke.
    pub(crate) lost: u64,
    /// Sent and not answered when the run gave up.
    pub(crate) unanswered: u64,
    /// Due and not sent when the run gave up.
    pub(crate) unsent: u64,
    /// Held back because as much was under way on every connection as allowed: the server's doing.
    pub(crate) held_back: u64,
    /// Sent late though a connection was free: the client's doing.
    pub(crate) late_by_client: u64,
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    /// Sent again to another node.
    pub(crate) redirected: u64,
    pub(crate) reconnects: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.fields_mut().into_iter().zip(other.fields()) {
            *mine += theirs;
        }
    }

    fn fields_mut(&mut self) -> [&mut u64; 14] {
        [
            &mut self.completed,
            &mut self.completed_late,
            &mut self.errors,
            &mut self.lost,
            &mut self.unanswered,
            &mut self.unsent,
            &mut self.held_back,
            &mut self.late_by_client,
            &mut self.hits,
            &mut self.misses,
            &mut self.redirected,
            &mut self.reconnects,
            &mut self.bytes_sent,
            &mut self.bytes_received,
        ]
    }

    fn fields(mut self) -> [u64; 14] {
        self.fields_mut().map(|field| *field)
    }
}

/// One thread's interval.
pub(crate) struct Interval {
    pub(crate) index: u64,
    pub(crate) latency: Nanos,
    /// How late requests went out by the client's own doing.
    pub(crate) lag: Nanos,
    pub(crate) counts: Counts,
}

impl Interval {
    pub(crate) fn new(index: u64) -> Self {
        Self { index, latency: histogram(), lag: histogram(), counts: Counts::default() }
    }
}

/// Kinds of errors that are told apart.
const ERROR_KINDS_MAX: usize = 16;
/// Of an error's text, what names it.
const ERROR_TEXT_MAX: usize = 120;

/// Error replies by their text, up to a number of kinds.
#[derive(Clone, Default, Debug)]
pub(crate) struct ErrorKinds(pub(crate) BTreeMap<String, u64>);

impl ErrorKinds {
    pub(crate) fn note(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(&text[..text.len().min(ERROR_TEXT_MAX)]);
        if let Some(count) = self.0.get_mut(text.as_ref()) {
            *count += 1;
        } else if self.0.len() < ERROR_KINDS_MAX {
            self.0.insert(text.into_owned(), 1);
        } else {
            *self.0.entry("others".to_owned()).or_default() += 1;
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        for (text, count) in other.0 {
            *self.0.entry(text).or_default() += count;
        }
    }
}
