//! When requests are due.

use crate::plan::Pace;
use crate::units;

/// The times at which one thread's requests are to be sent, in nanoseconds from the run's start. It never waits for
/// the server: a time that has passed stays due, and latency is counted from it.
pub(crate) struct Schedule {
    gap_ns: f64,
    poisson: bool,
    first_ns: f64,
    number: u64,
    due: u64,
}

impl Schedule {
    /// For thread `thread` of `threads`; `None` for a closed loop.
    pub(crate) fn new(pace: Pace, thread: usize, threads: usize) -> Option<Self> {
        let Pace::Open { per_second, poisson } = pace else { return None };
        let gap_ns = units::SECOND as f64 * threads as f64 / per_second;
        let first_ns = gap_ns * thread as f64 / threads as f64;
        Some(Self { gap_ns, poisson, first_ns, number: 0, due: units::floor(first_ns) })
    }

    /// When the next request is due.
    pub(crate) const fn due(&self) -> u64 {
        self.due
    }

    /// The next request was taken.
    pub(crate) fn advance(&mut self, rng: &mut fastrand::Rng) {
        if self.poisson {
            self.first_ns -= self.gap_ns * (1.0 - rng.f64()).ln();
            self.due = units::floor(self.first_ns);
        } else {
            // From the number, not from the time before: no error adds up.
            self.number += 1;
            self.due = units::floor(self.first_ns + self.gap_ns * self.number as f64);
        }
    }
}
