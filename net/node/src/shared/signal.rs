//! Telling a core that there is something for it, without losing it when the core falls asleep meanwhile.
//!
//! `tools/model` compiles this file with atomics that go through every order of events that the memory model allows.

use super::atomic::{AtomicBool, Ordering};

/// Whether there is something for a core, and whether the core sleeps.
///
/// Invariant: either the core sees `notified` before it falls asleep, or whoever set it sees `asleep` and wakes it.
/// Both sides store first and load second, sequentially consistent.
#[derive(Debug)]
pub(crate) struct Signal {
    notified: AtomicBool,
    asleep: AtomicBool,
}

impl Signal {
    pub(crate) fn new() -> Self {
        Self { notified: AtomicBool::new(false), asleep: AtomicBool::new(false) }
    }

    /// There is something for the core. Returns whether the core must be woken. Any thread may call this.
    pub(crate) fn notify(&self) -> bool {
        !self.notified.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst)
    }

    /// Whether there is something, once. Only the core calls this, before it looks.
    pub(crate) fn take(&self) -> bool {
        // The load alone is what a busy core pays when nobody has called.
        self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::SeqCst)
    }

    /// The core is about to sleep. Returns whether it may.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        let may = !self.notified.load(Ordering::SeqCst);
        if !may {
            self.asleep.store(false, Ordering::SeqCst);
        }
        may
    }

    /// The core is awake.
    pub(crate) fn woken(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}
