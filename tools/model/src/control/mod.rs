//! The control page: a writer that publishes watermarks, and followers that sleep between them. The file is that of the
//! store; what stands in for the kernel is a futex: a look at the word and falling asleep are one step.

mod atomic {
    pub(super) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
#[path = "../../../../engine/store/src/control/sleep.rs"]
mod sleep;

use std::sync::Arc;

use atomic::{AtomicU32, AtomicU64, Ordering, fence};
use loom::sync::{Condvar, Mutex};
use loom::thread;

struct Page {
    committed: AtomicU64,
    waiting: AtomicU32,
    sequence: AtomicU32,
    /// The kernel's queue of sleepers.
    sleepers: Mutex<()>,
    woken: Condvar,
}

impl Page {
    fn new() -> Self {
        Self {
            committed: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            sequence: AtomicU32::new(0),
            sleepers: Mutex::new(()),
            woken: Condvar::new(),
        }
    }

    /// Sleeps while the word has this value. As the kernel does, it may come back for no reason.
    fn futex_wait(&self, value: u32) {
        let sleepers = self.sleepers.lock().unwrap();
        fence(Ordering::SeqCst);
        if self.sequence.load(Ordering::SeqCst) == value {
            drop(self.woken.wait(sleepers).unwrap());
        }
    }

    fn futex_wake(&self) {
        drop(self.sleepers.lock().unwrap());
        self.woken.notify_all();
    }

    fn follow(&self, last: u64) {
        let mut end = 0;
        while end < last {
            let committed = self.committed.load(Ordering::Acquire);
            assert!(committed >= end, "a watermark never goes back");
            end = committed;
            if let Some(value) = sleep::prepare(&self.committed, &self.waiting, &self.sequence, end)
                && end < last
            {
                self.futex_wait(value);
            }
        }
    }
}

/// A writer publishes so many watermarks; every follower comes to the last one, however it falls asleep meanwhile.
pub fn followers_come_to_the_end(followers: usize, watermarks: u64) {
    drive(followers, watermarks, |page, upto| {
        if sleep::publish(&page.committed, &page.waiting, upto) {
            sleep::count_up(&page.sequence);
            page.futex_wake();
        }
    });
}

/// The same with a writer that looks for sleepers before it publishes: the mistake that loom must find.
pub fn a_writer_that_looks_before_it_publishes(followers: usize, watermarks: u64) {
    drive(followers, watermarks, |page, upto| {
        let wakes = page.waiting.swap(0, Ordering::AcqRel) != 0;
        page.committed.store(upto, Ordering::Release);
        if wakes {
            sleep::count_up(&page.sequence);
            page.futex_wake();
        }
    });
}

fn drive(followers: usize, watermarks: u64, publish: impl Fn(&Page, u64)) {
    let page = Arc::new(Page::new());
    let followers: Vec<_> = (0..followers)
        .map(|_| {
            let page = Arc::clone(&page);
            thread::spawn(move || page.follow(watermarks))
        })
        .collect();
    (1..=watermarks).for_each(|upto| publish(&page, upto));
    followers.into_iter().for_each(|follower| follower.join().unwrap());
}
