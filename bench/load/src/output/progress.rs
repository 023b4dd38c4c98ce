//! One line for each interval while a run goes on, to the error stream.

use std::fmt::Write as _;
use std::time::Duration;

use crate::measure::Interval;
use crate::units;

pub(crate) fn warming(time: Duration) {
    eprintln!("warming up for {:.1} s", time.as_secs_f64());
}

/// Shows a whole interval.
pub(crate) fn show(interval: &Interval, length: Duration, late: Duration) {
    eprintln!("{}", line(interval, length, late));
}

pub(crate) fn line(interval: &Interval, length: Duration, late: Duration) -> String {
    let counts = &interval.counts;
    let at = (interval.index + 1) as f64 * length.as_secs_f64();
    let per_second = (counts.completed + counts.completed_late) as f64 / length.as_secs_f64();
    let quantile = |quantile| units::time(interval.latency.value_at_quantile(quantile));
    let mut line = format!(
        "{at:7.1} s  {:>8}/s  p50 {:>8}  p99 {:>8}  max {:>8}  errors {}",
        units::rate(per_second),
        quantile(0.5),
        quantile(0.99),
        units::time(interval.latency.max()),
        counts.errors + counts.lost,
    );
    let lag = interval.lag.value_at_quantile(0.99);
    // Writing to a string does not fail.
    if lag > units::nanos(late) {
        let _infallible = write!(line, "  (client {} late)", units::time(lag));
    }
    if counts.held_back > 0 {
        let _infallible = write!(line, "  (held back {})", counts.held_back);
    }
    line
}
