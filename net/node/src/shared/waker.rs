//! Waking a core that sleeps, and telling all of them to stop.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use super::signal::Signal;

/// How others tell a core that there is something for it: a [`Signal`] and the eventfd that the core sleeps on.
#[derive(Debug)]
pub(crate) struct Waker {
    eventfd: OwnedFd,
    signal: Signal,
}

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC)?;
        Ok(Self { eventfd, signal: Signal::new() })
    }

    /// What the core sleeps on.
    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }

    /// There is something for the core. Any thread may call this.
    pub(crate) fn wake(&self) {
        if self.signal.notify() {
            // Nobody reads it where the core's ring watches it instead: there is room for 2^64 - 2 wakes.
            let _full = rustix::io::write(&self.eventfd, &1_u64.to_ne_bytes());
        }
    }

    /// Whether there is something, once. Only the core calls this, before it looks.
    pub(crate) fn take(&self) -> bool {
        self.signal.take()
    }

    /// The core is about to sleep. Returns whether it may.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.signal.fall_asleep()
    }

    /// The core is awake.
    pub(crate) fn woken(&self) {
        self.signal.woken();
    }
}

/// What all cores of a node have in common.
#[derive(Debug)]
pub(crate) struct Common {
    wakers: Vec<Waker>,
    stopping: AtomicBool,
    quiet: AtomicUsize,
    sessions: AtomicU64,
}

impl Common {
    /// For `cores` cores.
    pub(crate) fn new(cores: usize) -> io::Result<Self> {
        Ok(Self {
            wakers: (0..cores).map(|_| Waker::new()).collect::<io::Result<_>>()?,
            stopping: AtomicBool::new(false),
            quiet: AtomicUsize::new(0),
            sessions: AtomicU64::new(0),
        })
    }

    #[cfg(feature = "shared-memory")]
    pub(crate) fn cores(&self) -> usize {
        self.wakers.len()
    }

    /// The waker of a core.
    pub(crate) fn waker(&self, core: usize) -> &Waker {
        &self.wakers[core]
    }

    /// Wakes every core.
    pub(crate) fn wake_all(&self) {
        self.wakers.iter().for_each(Waker::wake);
    }

    /// Begins the shutdown of the node. Any thread may call this.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake_all();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// One more core has no clients left. Each core says so once, when the node is stopping.
    pub(crate) fn core_is_quiet(&self) {
        self.quiet.fetch_add(1, Ordering::SeqCst);
        self.wake_all();
    }

    /// Whether no core has clients: nothing will be asked of any partition.
    pub(crate) fn all_quiet(&self) -> bool {
        self.quiet.load(Ordering::SeqCst) == self.wakers.len()
    }

    /// The number of the next session of the node.
    pub(crate) fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::thread;

    use super::*;

    #[test]
    fn a_wake_before_sleep_is_seen_and_one_during_sleep_is_signalled() {
        let waker = Waker::new().unwrap();
        waker.wake();
        assert!(!waker.fall_asleep(), "there is something");
        assert!(waker.take());
        assert!(!waker.take(), "it is seen once");
        assert!(waker.fall_asleep());
        waker.wake();
        let mut count = [0; 8];
        rustix::io::read(waker.eventfd(), &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
        waker.woken();
        assert!(waker.take());
    }

    /// A lost wake would leave the sleeper in `read` for ever.
    #[test]
    fn no_wake_is_lost_between_two_threads() {
        let waker = Arc::new(Waker::new().unwrap());
        let work = Arc::new(AtomicUsize::new(0));
        const ROUNDS: usize = 20_000;
        let giver = thread::spawn({
            let (waker, work) = (Arc::clone(&waker), Arc::clone(&work));
            move || {
                for _ in 0..ROUNDS {
                    work.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                }
            }
        });
        loop {
            waker.take();
            if work.load(Ordering::Relaxed) == ROUNDS {
                break;
            }
            if waker.fall_asleep() {
                rustix::io::read(waker.eventfd(), &mut [0; 8]).unwrap();
            }
            waker.woken();
        }
        giver.join().unwrap();
    }

    #[test]
    fn a_node_is_quiet_when_every_core_is() {
        let common = Common::new(2).unwrap();
        assert!(!common.is_stopping());
        common.stop();
        common.core_is_quiet();
        assert!(common.is_stopping() && !common.all_quiet());
        common.core_is_quiet();
        assert!(common.all_quiet());
        assert!(common.waker(0).take() && common.waker(1).take());
        assert_eq!((common.next_session(), common.next_session()), (1, 2));
    }
}
