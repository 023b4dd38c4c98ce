//! Whether the machine, or this process, stood still meanwhile: then a reply that does not come in time says nothing
//! of the server.

use std::collections::VecDeque;
use std::sync::{Mutex, Once, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const BEAT: Duration = Duration::from_millis(20);
/// A beat that is late by this much is kept.
const LATE: Duration = Duration::from_millis(500);
const KEPT_MAX: usize = 64;

static STARTED: Once = Once::new();
/// The beats that were late: when they came, and by how much they were late.
static STANDSTILLS: Mutex<VecDeque<(Instant, Duration)>> = Mutex::new(VecDeque::new());

/// Starts the thread that looks at the time, once.
pub fn start() {
    STARTED.call_once(|| {
        // Without it nothing is noticed, which is what is then said.
        let _beats = thread::Builder::new().name("pulse".to_owned()).spawn(beat);
    });
}

fn beat() {
    let mut last = Instant::now();
    loop {
        thread::sleep(BEAT);
        let now = Instant::now();
        note(now, now.duration_since(last).saturating_sub(BEAT));
        last = now;
    }
}

fn note(now: Instant, late: Duration) {
    if late < LATE {
        return;
    }
    let mut standstills = STANDSTILLS.lock().unwrap_or_else(PoisonError::into_inner);
    standstills.push_back((now, late));
    if standstills.len() > KEPT_MAX {
        standstills.pop_front();
    }
}

/// Says how long a thread that wants to run every few milliseconds could not, in the time that `within` names.
#[must_use]
pub fn describe(within: Duration) -> String {
    let now = Instant::now();
    let standstills = STANDSTILLS.lock().unwrap_or_else(PoisonError::into_inner);
    let recent: Vec<String> = standstills
        .iter()
        .filter(|(at, late)| now.saturating_duration_since(*at) < within + *late)
        .map(|(at, late)| format!("{late:.1?} until {:.1?} ago", now.saturating_duration_since(*at)))
        .collect();
    if recent.is_empty() {
        return format!("the machine did not stand still for {LATE:?} in the last {within:?}");
    }
    format!("the machine, or this process, stood still: {}", recent.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_is_kept_and_told() {
        let now = Instant::now();
        note(now, Duration::from_millis(3));
        note(now, Duration::from_secs(61));
        let text = describe(Duration::from_secs(120));
        assert!(text.contains("61.0s until"), "{text}");
        assert!(!text.contains("3.0ms"), "{text}");
    }
}
