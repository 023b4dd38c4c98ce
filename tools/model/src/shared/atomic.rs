//! Loom's atomics with sequential consistency put on top.

pub(crate) use loom::sync::atomic::Ordering;
use loom::sync::atomic::{self, fence};

#[derive(Debug)]
pub(crate) struct AtomicBool(atomic::AtomicBool);

impl AtomicBool {
    pub(crate) fn new(value: bool) -> Self {
        Self(atomic::AtomicBool::new(value))
    }

    pub(crate) fn load(&self, ordering: Ordering) -> bool {
        if ordering == Ordering::SeqCst {
            fence(Ordering::SeqCst);
            return self.0.load(Ordering::Acquire);
        }
        self.0.load(ordering)
    }

    pub(crate) fn store(&self, value: bool, ordering: Ordering) {
        if ordering == Ordering::SeqCst {
            self.0.store(value, Ordering::Release);
            return fence(Ordering::SeqCst);
        }
        self.0.store(value, ordering);
    }

    pub(crate) fn swap(&self, value: bool, ordering: Ordering) -> bool {
        if ordering == Ordering::SeqCst {
            let old = self.0.swap(value, Ordering::AcqRel);
            fence(Ordering::SeqCst);
            return old;
        }
        self.0.swap(value, ordering)
    }
}
