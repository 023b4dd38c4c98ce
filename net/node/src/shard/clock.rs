//! The time that a core goes by: the machine's clock, which never goes back.
//!
//! A partition's clock never goes back either, not even over a restart: its records say what time it was. Were the
//! machine's clock behind it, it would stand still until that has caught up, and whatever expires in some time would
//! expire late by as much. So a core that finds a clock that is ahead goes on from there, at its own pace, and comes back
//! to the machine's clock little by little.

use std::time::{Duration, Instant};

use windrow_core::types::UnixMillis;

/// While it is ahead of the machine's clock, it runs slower by one part in so many.
const SLOWER_BY: u128 = 16;

/// See the module.
#[derive(Debug)]
pub(crate) struct Clock {
    /// How much it is ahead of the machine's clock.
    ahead: Duration,
    /// The machine's clock at the last reading.
    machine: Duration,
    read_at: Instant,
}

impl Clock {
    /// A clock that agrees with the machine's, `machine` since 1970.
    pub(crate) const fn new(machine: Duration, now: Instant) -> Self {
        Self { ahead: Duration::ZERO, machine, read_at: now }
    }

    /// What time it is when the machine's clock shows `machine`.
    pub(crate) fn read(&mut self, machine: Duration, now: Instant) -> UnixMillis {
        let elapsed = now.saturating_duration_since(self.read_at);
        let expected = self.machine + elapsed;
        let before = self.machine + self.ahead;
        if machine < self.machine {
            // It was set back.
            self.ahead += expected - machine;
        } else {
            let slower = u64::try_from(elapsed.as_micros() / SLOWER_BY).unwrap_or(u64::MAX);
            self.ahead = self.ahead.saturating_sub(Duration::from_micros(slower));
        }
        (self.machine, self.read_at) = (machine, now);
        // What is taken off may be more than has passed where the machine's clock runs slower than its monotonic one.
        self.ahead = self.ahead.max(before.saturating_sub(machine));
        millis(machine + self.ahead)
    }

    /// There is a clock that shows `seen`: this one is not behind it.
    pub(crate) fn raise(&mut self, seen: UnixMillis) {
        let seen = Duration::from_millis(seen.get());
        self.ahead = self.ahead.max(seen.saturating_sub(self.machine));
    }
}

fn millis(since: Duration) -> UnixMillis {
    u64::try_from(since.as_millis()).ok().and_then(UnixMillis::new).unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Machine {
        start: Instant,
        elapsed: Duration,
        wall: Duration,
        clock: Clock,
    }

    impl Machine {
        fn new() -> Self {
            let (start, wall) = (Instant::now(), Duration::from_secs(1_000_000));
            Self { start, elapsed: Duration::ZERO, wall, clock: Clock::new(wall, start) }
        }

        fn pass(&mut self, seconds: u64) -> u64 {
            self.elapsed += Duration::from_secs(seconds);
            self.wall += Duration::from_secs(seconds);
            self.read()
        }

        fn read(&mut self) -> u64 {
            self.clock.read(self.wall, self.start + self.elapsed).get() / 1_000 - 1_000_000
        }
    }

    #[test]
    fn it_shows_what_the_machine_shows() {
        let mut machine = Machine::new();
        assert_eq!((machine.read(), machine.pass(5), machine.pass(60)), (0, 5, 65));
        machine.wall += Duration::from_secs(3_600);
        assert_eq!(machine.pass(1), 3_666, "set forward");
        assert_eq!(machine.clock.ahead, Duration::ZERO);
    }

    #[test]
    fn it_goes_on_where_the_machine_goes_back_and_returns_to_it_slowly() {
        let mut machine = Machine::new();
        machine.pass(100);
        machine.wall -= Duration::from_secs(50);
        assert_eq!(machine.pass(1), 101, "a second later, whatever the machine shows");
        assert_eq!(machine.clock.ahead, Duration::from_secs(50));
        assert_eq!(machine.pass(16), 116, "16 seconds take 17");
        let mut before = 116;
        for _ in 0..1_000 {
            let now = machine.pass(1);
            assert!((before..=before + 1).contains(&now), "{now} after {before}");
            before = now;
        }
        assert_eq!(machine.clock.ahead, Duration::ZERO);
        assert_eq!(before, 101 - 50 + 1_016, "the machine's time again");
    }

    #[test]
    fn it_is_not_behind_what_the_log_shows() {
        let mut machine = Machine::new();
        machine.clock.raise(UnixMillis::new(1_000_000_000 + 90_000).unwrap());
        assert_eq!((machine.read(), machine.pass(16)), (90, 105));
        machine.clock.raise(UnixMillis::new(1_000_000_000).unwrap());
        assert_eq!(machine.read(), 105, "one that is behind tells nothing");
    }
}
