//! Numbers with one writer and any number of readers.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, written by the one core that owns it and read by anybody.
///
/// [`add`](Counter::add) is a plain load and store, without the bus lock of an atomic addition: with a single writer
/// nothing can come between the two. A second writer would lose counts, never memory safety.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`, wrapping after 2^64. Only the owning core may call this.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
    }

    /// Adds one. Only the owning core may call this.
    #[inline]
    pub fn increment(&self) {
        self.add(1);
    }

    /// The count now. Any thread may call this.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down, written by the one core that owns it and read by anybody.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    /// Sets the value. Only the owning core may call this.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Raises the value to `value` if that is more. Only the owning core may call this.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.get() {
            self.set(value);
        }
    }

    /// The value now. Any thread may call this.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
