//! How much of the log is handed to a connection at a time.
//!
//! Whatever is said behind it waits until that has been sent, heartbeats included, on which leases rest. So it is not
//! more than the connection takes within [`SLOW`]: two whole batches behind each other that were taken in less than
//! [`QUICK`] each double it, and one that took longer than [`SLOW`] halves it. The socket is told to hold as much that it
//! has not sent, so that its buffer, which can be megabytes, neither delays more than that nor makes a slow link look like
//! a quick one: an idle one takes one whole batch at once, but not two.

use std::time::{Duration, Instant};

use super::limits::{BATCH_LEN_MAX, BATCH_LEN_MIN};

/// What was taken in less than this may become more.
const QUICK: Duration = Duration::from_millis(10);
/// What was not taken within this becomes less.
const SLOW: Duration = Duration::from_millis(40);

/// How much of the log is handed to a connection at a time.
#[derive(Debug)]
pub(super) struct Pace {
    len: usize,
    /// The batch before was whole and taken quickly.
    was_quick: bool,
    /// How long the batch is that is being sent, and since when it is.
    sending: Option<(usize, Instant)>,
    /// What the socket was told.
    told: Option<usize>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { len: BATCH_LEN_MIN, was_quick: false, sending: None, told: None }
    }
}

impl Pace {
    /// The most bytes of the log that the next batch may have.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// A batch of so many bytes begins to be sent.
    pub(super) const fn begin(&mut self, len: usize, now: Instant) {
        self.sending = Some((len, now));
    }

    /// There is nothing to send.
    pub(super) const fn idle(&mut self) {
        self.was_quick = false;
    }

    /// The batch that was begun last has been sent. Returns what the socket is to be told, if that has changed.
    pub(super) fn end(&mut self, now: Instant) -> Option<usize> {
        if let Some((sent, since)) = self.sending.take() {
            let took = now.saturating_duration_since(since);
            let is_quick = took < QUICK && sent >= self.len;
            if took >= SLOW {
                self.len = (self.len / 2).max(BATCH_LEN_MIN);
            } else if is_quick && self.was_quick {
                self.len = (self.len * 2).min(BATCH_LEN_MAX);
            }
            self.was_quick = is_quick && !self.was_quick;
        }
        (self.told.replace(self.len) != Some(self.len)).then_some(self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whole batches over a link of so many bytes a millisecond. Returns how long they are at last.
    fn after_batches(count: usize, bytes_per_ms: usize) -> usize {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        for _ in 0..count {
            pace.begin(pace.len(), now);
            now += Duration::from_millis(u64::try_from(pace.len() / bytes_per_ms).unwrap());
            pace.end(now);
        }
        pace.len()
    }

    #[test]
    fn a_batch_is_what_the_link_takes_in_a_moment() {
        assert_eq!(after_batches(16, 1 << 20), BATCH_LEN_MAX);
        assert_eq!(after_batches(20, 125), BATCH_LEN_MIN, "1 Mbit/s");
        let middling = after_batches(50, 12_500);
        assert!((64 << 10..=512 << 10).contains(&middling), "100 Mbit/s: {middling}");
    }

    #[test]
    fn small_batches_and_single_ones_say_nothing_about_the_link() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.end(now), Some(BATCH_LEN_MIN), "the socket is told at the start");
        for _ in 0..10 {
            pace.begin(100, now);
            assert_eq!(pace.end(now), None);
            pace.begin(pace.len(), now);
            assert_eq!(pace.end(now), None);
            pace.idle();
        }
        for _ in 0..2 {
            pace.begin(pace.len(), now);
            pace.end(now);
        }
        assert_eq!(pace.len(), 2 * BATCH_LEN_MIN);
        pace.begin(100, now);
        assert_eq!(pace.end(now + SLOW), Some(BATCH_LEN_MIN), "unless they take long");
    }
}
