//! Waiting for an address that is taken and about to be let go of.

use std::thread;
use std::time::{Duration, Instant};

/// The time between two tries.
const AGAIN: Duration = Duration::from_millis(1);

/// Calls `bind` until it succeeds or fails for another reason than that the address `is_taken`, which may pass within
/// `patience`. `waits` is called before each wait; where it returns `false`, nobody waits any longer.
pub(crate) fn patiently<T, E>(
    patience: Duration,
    is_taken: impl Fn(&E) -> bool,
    mut waits: impl FnMut(&E) -> bool,
    bind: impl Fn() -> Result<T, E>,
) -> Result<T, E> {
    let since = Instant::now();
    loop {
        match bind() {
            Err(error) if is_taken(&error) && since.elapsed() < patience && waits(&error) => thread::sleep(AGAIN),
            other => return other,
        }
    }
}
