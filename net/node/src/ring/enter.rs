//! Handing operations to the kernel, waiting for what completes, and being woken.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic;

use io_uring::{opcode, types};

use super::Ring;
use super::token::Token;

/// Ask the kernel to run what completions are due, and to wait for so many.
const ENTER_GETEVENTS: u32 = 1;
/// Do not count the wait as one for a disk.
const ENTER_NO_IOWAIT: u32 = 1 << 7;

impl Ring {
    /// Hands all operations to the kernel and lets it post what has completed. Never waits, and makes no system call
    /// where there is nothing to do.
    ///
    /// # Errors
    /// The kernel refuses to work with the ring at all.
    pub fn enter(&mut self) -> io::Result<()> {
        loop {
            let queued = self.refill();
            if queued == 0 && !self.work_is_due() {
                return Ok(());
            }
            if !self.submit(queued, 0, ENTER_GETEVENTS)? || self.backlog.is_empty() {
                return Ok(());
            }
        }
    }

    /// As [`enter`](Self::enter), and waits until something has completed, unless there is something to
    /// [`poll`](Self::poll), or somebody has written to the eventfd. May return before that.
    ///
    /// # Errors
    /// The kernel refuses to work with the ring at all.
    pub fn wait(&mut self) -> io::Result<()> {
        if self.waits_inside {
            self.watch_eventfd();
            let queued = self.refill();
            return self.submit(queued, 1, ENTER_GETEVENTS | ENTER_NO_IOWAIT).map(drop);
        }
        if self.may_sleep() {
            rustix::io::retry_on_intr(|| rustix::io::read(&self.eventfd, &mut [0; 8]))?;
            self.stay_awake();
        }
        self.enter()
    }

    /// Hands so many operations to the kernel and waits until so many have completed. Returns whether it took them.
    fn submit(&mut self, queued: u32, completed: u32, flags: u32) -> io::Result<bool> {
        loop {
            // SAFETY: no argument structure is passed, and the flags need none. What the operations refer to is
            // owned by `self`, and neither moved nor freed until they complete.
            let entered = unsafe { self.io.submitter().enter::<libc::sigset_t>(queued, completed, flags, None) };
            match entered {
                Ok(_) => return Ok(true),
                // Interrupted; or completions must be taken first; or no memory just now: the next tick goes on.
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the kernel has completions that it posts only when the ring is entered.
    fn work_is_due(&mut self) -> bool {
        let queue = self.io.submission();
        queue.taskrun() || queue.cq_overflow()
    }

    /// Whether there is nothing to do until the eventfd becomes readable.
    pub fn may_sleep(&mut self) -> bool {
        self.io.completion().enable_eventfd();
        // The kernel marks that work is due before it looks whether to signal; this side allows the signal before it
        // looks for the mark. So one of the two sees the other.
        atomic::fence(atomic::Ordering::SeqCst);
        let queued = self.refill();
        let idle = queued == 0 && !self.work_is_due() && self.io.completion().is_empty();
        if !idle {
            self.stay_awake();
        }
        idle
    }

    /// Completions no longer signal the eventfd: the core looks by itself.
    pub fn stay_awake(&mut self) {
        self.io.completion().disable_eventfd();
    }

    /// From now on every write to the eventfd completes an operation. Edge by edge, so nobody has to read it; the kernel
    /// ends it where there are too many completions, or one of its own was signalled.
    fn watch_eventfd(&mut self) {
        if !std::mem::replace(&mut self.watching, true) {
            let readable = u32::from(libc::POLLIN.cast_unsigned());
            let entry = opcode::PollAdd::new(types::Fd(self.eventfd.as_raw_fd()), readable)
                .multi(true)
                .build()
                .user_data(Token::Wake.pack());
            self.push(entry);
        }
    }

    /// Becomes readable when there is something to [`poll`](Self::poll), provided that [`may_sleep`](Self::may_sleep)
    /// said so.
    #[must_use]
    pub fn eventfd(&self) -> BorrowedFd<'_> {
        self.eventfd.as_fd()
    }
}
