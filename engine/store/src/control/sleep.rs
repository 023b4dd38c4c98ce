//! What keeps a wake-up from getting lost between a writer and followers that fall asleep: see the module above.
//!
//! `tools/model` compiles this file with atomics that go through every order of events that the memory model allows.

use super::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// The writer has moved the watermark. Returns whether somebody has to be woken, after [`count_up`].
pub(crate) fn publish(committed: &AtomicU64, waiting: &AtomicU32, upto: u64) -> bool {
    // Release: a reader that sees the new limit sees the bytes below it.
    committed.store(upto, Ordering::Release);
    // Between storing the watermark and looking for the flag.
    fence(Ordering::SeqCst);
    waiting.load(Ordering::Relaxed) != 0 && waiting.swap(0, Ordering::AcqRel) != 0
}

/// What followers sleep on has another value from now on.
pub(crate) fn count_up(sequence: &AtomicU32) {
    sequence.fetch_add(1, Ordering::Release);
}

/// A follower has come to `end` and wants to sleep. Returns the value of `sequence` that it may sleep on, or `None` where
/// more has been committed.
pub(crate) fn prepare(committed: &AtomicU64, waiting: &AtomicU32, sequence: &AtomicU32, end: u64) -> Option<u32> {
    // The order of these three is what the module argues from.
    let known = sequence.load(Ordering::Acquire);
    waiting.store(1, Ordering::SeqCst);
    fence(Ordering::SeqCst);
    (committed.load(Ordering::Acquire) <= end).then_some(known)
}
