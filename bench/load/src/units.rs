//! Numbers as people write them, and conversions that `as` would do silently.

use std::time::Duration;

pub(crate) const SECOND: u64 = 1_000_000_000;

/// `10s`, `250ms`, `50us`, `2m`; a bare number is seconds.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| format!("{text} is not a time such as 10s, 250ms or 50us"))?;
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" => 1e-6,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("{unit} is not one of h, m, s, ms, us")),
    };
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

/// `1000`, `64k`, `10M`, in thousands.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    scaled(text, 1000)
}

/// `100`, `4k`, `1MiB`, in powers of 1024.
pub(crate) fn bytes(text: &str) -> Result<u64, String> {
    scaled(text.trim_end_matches('B').trim_end_matches('i'), 1024)
}

fn scaled(text: &str, thousand: u64) -> Result<u64, String> {
    let (number, factor) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], thousand),
        Some((at, 'm' | 'M')) => (&text[..at], thousand.pow(2)),
        Some((at, 'g' | 'G')) => (&text[..at], thousand.pow(3)),
        _ => (text, 1),
    };
    let number: u64 =
        number.replace('_', "").parse().map_err(|_| format!("{text} is not a number such as 500, 10k or 2M"))?;
    number.checked_mul(factor).ok_or_else(|| format!("{text} is too large"))
}

/// Nanoseconds; a time beyond 584 years is the end of time.
pub(crate) fn nanos(time: Duration) -> u64 {
    time.as_secs().saturating_mul(SECOND).saturating_add(u64::from(time.subsec_nanos()))
}

/// The whole part of a number that is not negative.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates at 0 and the maximum"
)]
pub(crate) const fn floor(number: f64) -> u64 {
    number as u64
}

/// Nanoseconds as text with three digits and the unit that suits.
pub(crate) fn time(nanos: u64) -> String {
    let value = nanos as f64;
    match nanos {
        0..1_000 => format!("{nanos} ns"),
        1_000..1_000_000 => format!("{} µs", three(value / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three(value / 1e6)),
        _ => format!("{} s", three(value / 1e9)),
    }
}

/// A rate with three digits: `812k`, `1.24M`.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e6 => format!("{}M", three(r / 1e6)),
        r if r >= 1e4 => format!("{}k", three(r / 1e3)),
        r if r >= 100.0 => format!("{r:.0}"),
        r => three(r),
    }
}

fn three(value: f64) -> String {
    let digits = if value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.digits$}")
}
