//! Whether a core that has nothing to do sleeps, or looks again whether there is something.
//!
//! A processor that has nothing to run is stopped, and starting it again takes 20 to 50 µs on a virtual machine, whose
//! host has to be asked, and up to 100 in the deeper states of a real one. A flush of a few records takes hardly longer,
//! and several such starts are part of it: for each answer of the disk, for the replies, and for the next request. So
//! while one client waits for a flush, and for a moment after it, the core looks again in place of sleeping. Where several
//! wait, taking their requests one by one costs more than it saves: measured, two are answered no sooner.
//!
//! Between two looks it offers the processor to whoever else wants it. If somebody takes it for long, it does without
//! for a while, because who sleeps is given the processor sooner than who has just offered it: at first not for long, since
//! the host of a virtual machine takes it now and then too; and for longer each time it is taken at once again.
//!
//! Idea: the idle polling of Seastar, and that of Linux (`haltpoll`), which knows nothing of what is awaited.

use std::time::{Duration, Instant};

/// Where so many flushes in a row were waited for by one client each, the next one is taken to be like them.
const ALONE_MIN: u32 = 4;
/// How long the core looks for the next request of the one whom it has answered.
const LINGER: Duration = Duration::from_micros(100);
/// Whoever has had the processor for so long has something to do. The kernel's own threads are quicker than that.
const TAKEN: Duration = Duration::from_micros(500);
/// How long there is no polling then, at first.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// And at most.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Whoever takes the processor within this time after a pause has wanted it all the time.
const SOON: Duration = Duration::from_millis(2);

/// What one core knows about it.
#[derive(Debug, Default)]
pub(super) struct Polling {
    /// Since when there is nothing to do.
    idle_since: Option<Instant>,
    /// Whether somebody waited for a flush when that was seen last.
    waits: bool,
    /// How often in a row there was nothing to do but to wait for one client's flush; at most [`ALONE_MIN`].
    alone: u32,
    /// Since one has waited for a flush, nothing else has come that the core looked for.
    lingers: bool,
    /// Somebody else wanted the processor: until when there is no polling, and how long that pause is.
    paused: Option<(Instant, Duration)>,
}

impl Polling {
    /// There was something to do.
    pub(super) const fn busy(&mut self) {
        if self.idle_since.is_some() && !self.waits {
            // The next request: should it be a read, nobody looks for the one after it.
            self.lingers = false;
        }
        self.idle_since = None;
    }

    /// There is nothing to do, and so many clients are `waiting` for a flush that is under way. Whether to look again in
    /// place of sleeping, for which the setting allows at most `longest`.
    pub(super) fn looks_again(&mut self, waiting: usize, longest: Duration, now: Instant) -> bool {
        match waiting {
            0 => {}
            1 if self.idle_since.is_none() => self.alone = (self.alone + 1).min(ALONE_MIN),
            1 => {}
            _ => self.alone = 0,
        }
        self.waits = waiting > 0;
        self.lingers |= self.waits;
        let bound = match (self.alone, waiting) {
            (ALONE_MIN, 0) if self.lingers => LINGER.min(longest),
            (ALONE_MIN, 1..) => longest,
            _ => Duration::ZERO,
        };
        let since = *self.idle_since.get_or_insert(now);
        let looks = now.saturating_duration_since(since) < bound && self.paused.is_none_or(|(until, _)| now >= until);
        if !looks {
            self.idle_since = None;
            // The next request has not come soon.
            self.alone = if waiting == 0 && bound > Duration::ZERO { 0 } else { self.alone };
        }
        looks
    }

    /// The processor was offered at `then`, and is back `now`.
    pub(super) fn offered(&mut self, then: Instant, now: Instant) {
        if now.saturating_duration_since(then) < TAKEN {
            return;
        }
        let pause = match self.paused {
            Some((until, pause)) if then.saturating_duration_since(until) < SOON => (2 * pause).min(PAUSE_MAX),
            _ => PAUSE_MIN,
        };
        self.paused = Some((now + pause, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_micros(500);
    const MICROSECOND: Duration = Duration::from_micros(1);

    /// How long an idle core looks again, from `now` on.
    fn looks_for(polling: &mut Polling, waiting: usize, longest: Duration, now: Instant) -> Duration {
        let mut passed = Duration::ZERO;
        while polling.looks_again(waiting, longest, now + passed) {
            passed += MICROSECOND;
        }
        passed
    }

    /// A client has had so many flushes for itself.
    fn alone(flushes: u32, now: Instant) -> Polling {
        let mut polling = Polling::default();
        for _ in 0..flushes {
            polling.looks_again(1, Duration::ZERO, now);
            polling.busy();
            polling.looks_again(0, Duration::ZERO, now);
            polling.busy();
        }
        polling
    }

    #[test]
    fn a_core_looks_again_while_one_waits_and_a_moment_longer() {
        let start = Instant::now();
        assert_eq!(looks_for(&mut alone(ALONE_MIN - 2, start), 1, LONGEST, start), Duration::ZERO, "not for long yet");
        let mut polling = alone(ALONE_MIN - 1, start);
        assert_eq!(looks_for(&mut polling, 1, LONGEST, start), LONGEST, "it sleeps for the rest of this flush");
        assert_eq!(looks_for(&mut polling, 1, LONGEST, start), LONGEST);
        assert!(polling.looks_again(1, LONGEST, start));
        polling.busy();
        assert_eq!(looks_for(&mut polling, 0, LONGEST, start), LINGER, "the next request may come at once");
        assert_eq!(looks_for(&mut polling, 0, LONGEST, start), Duration::ZERO, "it has not");
        assert_eq!(looks_for(&mut polling, 1, LONGEST, start), Duration::ZERO, "it is counted anew");
    }

    #[test]
    fn a_core_sleeps_between_reads() {
        let start = Instant::now();
        let mut polling = alone(ALONE_MIN, start);
        assert!(polling.looks_again(1, LONGEST, start));
        polling.busy();
        assert!(polling.looks_again(0, LONGEST, start));
        polling.busy();
        assert!(!polling.looks_again(0, LONGEST, start), "what came was a read");
        assert!(polling.looks_again(1, LONGEST, start), "and then a write");
    }

    #[test]
    fn a_core_sleeps_where_several_wait_or_the_setting_says_so() {
        let start = Instant::now();
        assert_eq!(looks_for(&mut alone(ALONE_MIN, start), 1, Duration::ZERO, start), Duration::ZERO);
        assert_eq!(looks_for(&mut alone(ALONE_MIN, start), 0, Duration::ZERO, start), Duration::ZERO);
        let mut polling = alone(ALONE_MIN, start);
        assert_eq!(looks_for(&mut polling, 2, LONGEST, start), Duration::ZERO);
        assert_eq!(looks_for(&mut polling, 0, LONGEST, start), Duration::ZERO, "two were answered");
        assert_eq!(looks_for(&mut polling, 1, LONGEST, start), Duration::ZERO, "the others may come again");
    }

    #[test]
    fn a_core_sleeps_where_others_want_the_processor() {
        let start = Instant::now();
        let mut polling = alone(ALONE_MIN, start);
        polling.offered(start, start + TAKEN / 2);
        assert_eq!(looks_for(&mut polling, 1, LONGEST, start), LONGEST);
        let mut taken_at = |then: Instant, pause: Duration| {
            polling.offered(then, then + TAKEN);
            let end = then + TAKEN + pause;
            assert_eq!(looks_for(&mut polling, 1, LONGEST, then + TAKEN), Duration::ZERO);
            assert_eq!(looks_for(&mut polling, 1, LONGEST, end - MICROSECOND), Duration::ZERO);
            assert_eq!(looks_for(&mut polling, 1, LONGEST, end), LONGEST);
            end
        };
        let mut end = taken_at(start, PAUSE_MIN);
        for doublings in 1..12 {
            end = taken_at(end, (PAUSE_MIN * 2_u32.pow(doublings)).min(PAUSE_MAX));
        }
        taken_at(end + SOON, PAUSE_MIN);
    }
}
