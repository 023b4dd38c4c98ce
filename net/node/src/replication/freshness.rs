//! How old a follower's data is at most.
//!
//! A heartbeat says what was committed when it was *sent*. When all of that is here, the follower was up to date at
//! that time, which is not the time at which it came: it may have lain in a buffer while this process was paused. The
//! two clocks have nothing to do with each other, but the difference between them hardly changes: whatever a
//! heartbeat's difference is above the least one seen lately is delay.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use windrow_core::replication::Moment;
use windrow_core::types::Lsn;

/// The least difference is looked for among those of so long ago at most: clocks drift.
const WINDOW: Duration = Duration::from_secs(30);
/// Heartbeats that wait until what they name has come.
const WAITING_MAX: usize = 64;

/// How old a follower's data is at most.
#[derive(Default, Debug)]
pub(crate) struct Freshness {
    /// The least differences of the window before and of this one, in milliseconds, and since when this one runs.
    least: [Option<i128>; 2],
    since: Option<Instant>,
    /// What was committed when, and is not all here.
    waiting: VecDeque<(Lsn, Instant)>,
    fresh_at: Option<Instant>,
}

impl Freshness {
    /// Everything that was committed at this moment is here.
    pub(crate) const fn fresh_at(&self) -> Option<Instant> {
        self.fresh_at
    }

    /// Another leader has another clock. What is known to be here stays here.
    pub(crate) fn new_leader(&mut self) {
        *self = Self { fresh_at: self.fresh_at, ..Self::default() };
    }

    /// A heartbeat has come, and was sent at `sent` by the leader's clock. `start` is when this process' clock began.
    pub(crate) fn heartbeat(&mut self, committed: Lsn, sent: Moment, start: Instant, now: Instant) {
        let since = *self.since.get_or_insert(now);
        if now.saturating_duration_since(since) >= WINDOW {
            self.least = [self.least[1], None];
            self.since = Some(now);
        }
        let millis = |time: Duration| i128::try_from(time.as_millis()).unwrap_or(i128::MAX);
        let difference = millis(now.saturating_duration_since(start)) - i128::from(sent.get());
        self.least[1] = Some(self.least[1].map_or(difference, |least| least.min(difference)));
        let least = self.least.into_iter().flatten().min().unwrap_or(difference);
        let delay = Duration::from_millis(u64::try_from(difference - least).unwrap_or(u64::MAX));
        if self.waiting.len() < WAITING_MAX
            && let Some(was_sent) = now.checked_sub(delay)
        {
            self.waiting.push_back((committed, was_sent));
        }
    }

    /// Everything below `committed` is here and may be shown.
    pub(crate) fn committed(&mut self, committed: Lsn) {
        while let Some((named, at)) = self.waiting.front().copied()
            && named <= committed
        {
            self.waiting.pop_front();
            self.fresh_at = self.fresh_at.max(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn data_is_as_fresh_as_the_heartbeat_that_it_covers() {
        let start = Instant::now();
        let mut freshness = Freshness::default();
        freshness.heartbeat(Lsn::new(100), Moment::new(70_000), start, start + ms(10));
        freshness.committed(Lsn::new(99));
        assert_eq!(freshness.fresh_at(), None);
        freshness.heartbeat(Lsn::new(200), Moment::new(70_100), start, start + ms(110));
        freshness.committed(Lsn::new(150));
        assert_eq!(freshness.fresh_at(), Some(start + ms(10)));
        freshness.committed(Lsn::new(200));
        assert_eq!(freshness.fresh_at(), Some(start + ms(110)));
    }

    #[test]
    fn a_heartbeat_that_lay_in_a_buffer_is_as_old_as_it_is() {
        let start = Instant::now();
        let mut freshness = Freshness::default();
        freshness.heartbeat(Lsn::ZERO, Moment::new(5), start, start + ms(1_000));
        // Paused for ten seconds; the heartbeat was sent a tenth of a second after the first one.
        freshness.heartbeat(Lsn::ZERO, Moment::new(105), start, start + ms(11_000));
        freshness.committed(Lsn::ZERO);
        assert_eq!(freshness.fresh_at(), Some(start + ms(1_100)));
    }

    #[test]
    fn old_differences_are_forgotten_as_clocks_drift() {
        let start = Instant::now();
        let mut freshness = Freshness::default();
        freshness.heartbeat(Lsn::ZERO, Moment::new(1), start, start);
        for second in [31, 62, 93] {
            // The leader's clock is slower by a hundredth.
            let sent = Moment::new(1 + second * 990);
            freshness.heartbeat(Lsn::ZERO, sent, start, start + ms(second * 1_000));
        }
        freshness.committed(Lsn::ZERO);
        let age = (start + ms(93_000)).duration_since(freshness.fresh_at().unwrap());
        assert!(age <= ms(320), "{age:?}");
    }

    #[test]
    fn another_leaders_clock_begins_anew() {
        let start = Instant::now();
        let mut freshness = Freshness::default();
        freshness.heartbeat(Lsn::ZERO, Moment::new(90_000), start, start);
        freshness.committed(Lsn::ZERO);
        freshness.new_leader();
        assert_eq!(freshness.fresh_at(), Some(start));
        freshness.heartbeat(Lsn::ZERO, Moment::new(3), start, start + ms(50));
        freshness.committed(Lsn::ZERO);
        assert_eq!(freshness.fresh_at(), Some(start + ms(50)));
    }
}
