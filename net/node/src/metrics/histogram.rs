//! Histograms that a core records into without a lock, and that others read a moment later.
//!
//! A core records into a [`LocalHistogram`] that nobody else sees. Now and then it moves what has gathered into the
//! [`SharedHistogram`], where it is added up since the node started. The shared side is behind a mutex which the core
//! only ever *tries*: while a reader copies it (microseconds), the core keeps gathering and comes back later.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency told apart, one minute; longer ones count as this.
const LATENCY_MAX_NS: u64 = 60_000_000_000;
/// The finest latency told apart. Everything below falls into the first bucket.
const LATENCY_MIN_NS: u64 = 512;
/// Two digits: every recorded value is off by less than one percent.
const DIGITS: u8 = 2;

/// What a histogram measures, which decides its range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scale {
    /// Nanoseconds, 512 ns to one minute.
    Latency,
    /// Bytes, up to 4 GiB.
    Bytes,
    /// Things counted one by one, up to a million.
    Count,
}

impl Scale {
    /// An empty histogram of this scale; 10 to 30 KiB, and it never grows.
    #[must_use]
    pub fn histogram(self) -> Histogram<u64> {
        let (low, high) = match self {
            Self::Latency => (LATENCY_MIN_NS, LATENCY_MAX_NS),
            Self::Bytes => (64, 4 << 30),
            Self::Count => (1, 1 << 20),
        };
        Histogram::new_with_bounds(low, high, DIGITS).expect("constant bounds that hdrhistogram accepts")
    }
}

/// Nanoseconds of `duration`, at most 2^64 - 1 (584 years).
#[must_use]
pub(super) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A copy of a histogram and the exact sum of what went into it.
#[derive(Clone, Debug)]
pub struct Distribution {
    /// The values by bucket.
    pub histogram: Histogram<u64>,
    /// The sum of the values as they were recorded, not as they were bucketed.
    pub sum: u64,
}

impl Distribution {
    /// Nothing recorded yet.
    #[must_use]
    pub fn empty(scale: Scale) -> Self {
        Self { histogram: scale.histogram(), sum: 0 }
    }

    /// Adds what `other`, of the same scale, has recorded.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("histograms of one scale");
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Takes away what `earlier`, an older copy of the same histogram, had recorded.
    pub fn subtract(&mut self, earlier: &Self) {
        if self.histogram.subtract(&earlier.histogram).is_ok() {
            self.sum = self.sum.wrapping_sub(earlier.sum);
        }
    }
}

/// What a core has recorded since the node started, as of its last [`LocalHistogram::publish`].
#[derive(Debug)]
pub struct SharedHistogram(Mutex<Distribution>);

impl SharedHistogram {
    /// Nothing recorded yet.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self(Mutex::new(Distribution::empty(scale)))
    }

    /// Adds the published values to `total`.
    pub fn merge_into(&self, total: &mut Distribution) {
        total.merge(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// What a core has recorded since it last published: its own, unshared.
#[derive(Debug)]
pub struct LocalHistogram {
    gathered: Distribution,
}

impl LocalHistogram {
    /// Nothing gathered yet. `scale` must be that of the shared histogram it will publish to.
    #[must_use]
    pub fn new(scale: Scale) -> Self {
        Self { gathered: Distribution::empty(scale) }
    }

    /// Records `value`, `n` times. Allocates nothing; values outside the range count at its ends.
    #[inline]
    pub fn record_n(&mut self, value: u64, n: u64) {
        self.gathered.histogram.saturating_record_n(value, n);
        self.gathered.sum = self.gathered.sum.wrapping_add(value.wrapping_mul(n));
    }

    /// Whether nothing has gathered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.gathered.histogram.is_empty()
    }

    /// Moves what has gathered to `shared`, unless a reader has it just now. Returns whether there is nothing left.
    pub fn publish(&mut self, shared: &SharedHistogram) -> bool {
        if self.gathered.histogram.is_empty() {
            return true;
        }
        let Ok(mut published) = shared.0.try_lock() else { return false };
        published.merge(&self.gathered);
        self.gathered.histogram.reset();
        self.gathered.sum = 0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_published_once() {
        let shared = SharedHistogram::new(Scale::Latency);
        let mut local = LocalHistogram::new(Scale::Latency);
        local.record_n(1_000, 3);
        local.record_n(2_000_000, 1);
        assert!(local.publish(&shared));
        assert!(local.publish(&shared), "nothing new is published as nothing");
        let mut total = Distribution::empty(Scale::Latency);
        shared.merge_into(&mut total);
        assert_eq!(total.histogram.len(), 4);
        assert_eq!(total.sum, 2_003_000);
        let max = total.histogram.max();
        assert!((2_000_000..2_020_000).contains(&max), "{max}");
    }

    #[test]
    fn a_reader_in_the_way_loses_nothing() {
        let shared = SharedHistogram::new(Scale::Count);
        let mut local = LocalHistogram::new(Scale::Count);
        local.record_n(7, 1);
        let reader = shared.0.lock().unwrap();
        assert!(!local.publish(&shared));
        drop(reader);
        local.record_n(7, 1);
        assert!(local.publish(&shared));
        let mut total = Distribution::empty(Scale::Count);
        shared.merge_into(&mut total);
        assert_eq!(total.histogram.len(), 2);
    }

    #[test]
    fn values_out_of_range_count_at_its_ends() {
        let mut local = LocalHistogram::new(Scale::Latency);
        local.record_n(0, 1);
        local.record_n(u64::MAX, 1);
        assert_eq!(local.gathered.histogram.len(), 2);
        assert!(local.gathered.histogram.max() >= LATENCY_MAX_NS);
    }

    #[test]
    fn an_older_copy_is_taken_away() {
        let mut now = Distribution::empty(Scale::Bytes);
        now.histogram.record(1_000).unwrap();
        now.sum = 1_000;
        let before = now.clone();
        now.histogram.record(5_000).unwrap();
        now.sum += 5_000;
        now.subtract(&before);
        assert_eq!(now.histogram.len(), 1);
        assert_eq!(now.sum, 5_000);
    }
}
