//! An eventfd: a counter to sleep on.

use loom::sync::{Condvar, Mutex};

#[derive(Debug)]
pub(crate) struct Eventfd {
    count: Mutex<u64>,
    counted: Condvar,
}

impl Eventfd {
    pub(crate) fn new() -> Self {
        Self { count: Mutex::new(0), counted: Condvar::new() }
    }

    pub(crate) fn write(&self) {
        *self.count.lock().unwrap() += 1;
        self.counted.notify_one();
    }

    /// Sleeps until the counter is not zero, and takes it.
    pub(crate) fn read(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.counted.wait(count).unwrap();
        }
        *count = 0;
    }
}
