//! A core's own io_uring: sockets and flushes.
//!
//! Owns all memory that the kernel may read or write on its behalf: receive buffers are lent to it, sends are moved
//! into the ring until they have completed. Used by the thread that made it alone. Completions are typed; one that
//! belongs to a connection carries a [`ConnId`], so that a late one cannot be taken for another connection's.
//!
//! Fault model: a full submission queue never loses an operation (what doesn't fit waits and goes first); a full
//! completion queue is kept by the kernel (`IORING_FEAT_NODROP`); too few receive buffers end a receive with
//! [`Received::NoBuffers`], after which it is armed again. On drop everything is cancelled and drained before any
//! memory is freed, and memory that the kernel will not let go of is leaked, never freed.

mod buffers;
pub(crate) mod descriptor;
mod enter;
mod error;
mod probe;
mod read;
mod send;
mod setup;
pub(crate) mod slots;
mod token;
#[cfg(feature = "shared-memory")]
mod watch;
mod zero_copy;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};

use buffers::{Buffers, Pages};
use read::{READ_LEN_MAX, ReadOp};
use send::SendOp;
use slots::Slots;
use token::Token;
use windrow_store::SegmentView;
use zero_copy::ZeroCopyOp;

pub use buffers::{BUFFER_COUNT, BUFFER_LEN, Lease};
pub use error::SetupError;
#[cfg(feature = "shared-memory")]
pub(crate) use probe::FUTEX_WAIT;
pub use probe::{Capability, probe};
pub use send::{Mapped, Part};
pub use setup::CpuSet;
pub use token::{ConnId, Interest};

/// What the kernel says about a receive.
#[derive(Debug)]
pub enum Received {
    /// Bytes came in. The lease goes back to the ring with [`Ring::give_back`].
    Data(Lease),
    /// The peer will send no more.
    Eof,
    /// All buffers were in use. The receive has ended and should be armed again.
    NoBuffers,
    /// The receive was cancelled.
    Cancelled,
    /// The connection is broken.
    Failed(io::Error),
}

/// A timer of a ring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    /// For what is done now and then.
    Tick,
    /// For what is due before the next tick.
    Alarm,
}

impl Timer {
    const COUNT: usize = 2;
}

/// Something that the kernel has done.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted, or could not be.
    Accepted {
        /// The number given to [`Ring::accept`].
        listener: u32,
        /// The new socket.
        socket: io::Result<OwnedFd>,
        /// Whether more will come; otherwise accepting must be armed again.
        armed: bool,
    },
    /// Something about a connection's receive.
    Received {
        /// The connection; it may be gone.
        conn: ConnId,
        /// What happened.
        received: Received,
        /// Whether more will come; otherwise the receive must be armed again.
        armed: bool,
    },
    /// All parts of a send have been handed to the network, or it failed for good.
    Sent {
        /// The connection; it is still there, because a connection outlives its send.
        conn: ConnId,
        /// How many bytes have been sent.
        result: io::Result<usize>,
        /// The memory that was sent from.
        parts: Vec<Part>,
    },
    /// A read is done, or has failed.
    Read {
        /// The number given to [`Ring::read`].
        ticket: u64,
        /// What the system said.
        result: io::Result<()>,
    },
    /// [`Ring::send_zero_copy`] is over, and the kernel has let go of the memory.
    ZeroCopySent {
        /// The connection; it may be gone.
        conn: ConnId,
        /// How many bytes have been sent, which may be fewer than asked for.
        result: io::Result<usize>,
        /// The kernel has copied them after all.
        copied: bool,
    },
    /// What [`Ring::wait_ready`] waited for has come, or the wait was cancelled or failed: trying tells.
    Ready {
        /// The connection; it may be gone.
        conn: ConnId,
        /// What it waited for.
        interest: Interest,
    },
    /// Somebody has woken those who sleep on a word, or its value was another.
    #[cfg(feature = "shared-memory")]
    Watched {
        /// The number given to [`Ring::watch`].
        ticket: u64,
    },
    /// A timer has run out.
    Timer(Timer),
}

/// A core's own io_uring. See the module.
pub struct Ring {
    // Dropped before the memory below it, on which operations may still work.
    io: ManuallyDrop<IoUring>,
    buffers: ManuallyDrop<Buffers>,
    sends: ManuallyDrop<Slots<SendOp>>,
    pinned: ManuallyDrop<Slots<ZeroCopyOp>>,
    reads: ManuallyDrop<Slots<ReadOp>>,
    #[cfg(feature = "shared-memory")]
    watches: ManuallyDrop<Slots<watch::WatchOp>>,
    /// Where all reads go, at the same time: nobody looks at what arrives.
    scratch: ManuallyDrop<Pages>,
    timers: ManuallyDrop<Box<[types::Timespec; Timer::COUNT]>>,
    timers_armed: [bool; Timer::COUNT],
    /// Operations for which the submission queue had no room. They go first.
    backlog: VecDeque<squeue::Entry>,
    /// Operations whose last completion has not been seen.
    in_flight: usize,
    /// Whether the thread may wait in the ring. A kernel that cannot be told not to (before 6.15) shows that as waiting for
    /// a disk, all the time while nobody asks for anything.
    waits_inside: bool,
    /// Completions are signalled through it, while that is allowed; others write to it to wake the core.
    eventfd: OwnedFd,
    /// Whether the ring watches the eventfd, too.
    watching: bool,
    /// `IORING_SETUP_SINGLE_ISSUER`: the ring belongs to one thread.
    not_send: PhantomData<*const ()>,
}

impl Ring {
    /// Makes a ring for the calling thread.
    ///
    /// Its worker threads, which run the flushes, may use every cpu of `workers` and not only the one that the
    /// calling thread is pinned to. Completions are signalled through `eventfd`, while that is allowed. Others may write
    /// to it as well: that ends a [`wait`](Self::wait).
    ///
    /// # Errors
    /// What is missing on this system, and how to mend it.
    pub fn new(workers: &CpuSet, eventfd: BorrowedFd<'_>) -> Result<Self, SetupError> {
        let io = setup::build(setup::ENTRIES)?;
        let waits_inside = io.params().is_feature_no_iowait();
        probe::require(&io)?;
        let buffers = Buffers::new().map_err(|source| SetupError::NoMemory { what: "receive buffers", source })?;
        // Takes no memory before the first read.
        let scratch =
            Pages::new(READ_LEN_MAX).map_err(|source| SetupError::NoMemory { what: "a read buffer", source })?;
        let eventfd =
            eventfd.try_clone_to_owned().map_err(|source| SetupError::NoDescriptor { what: "an eventfd", source })?;
        let ring = Self {
            io: ManuallyDrop::new(io),
            buffers: ManuallyDrop::new(buffers),
            sends: ManuallyDrop::default(),
            pinned: ManuallyDrop::default(),
            reads: ManuallyDrop::default(),
            #[cfg(feature = "shared-memory")]
            watches: ManuallyDrop::default(),
            scratch: ManuallyDrop::new(scratch),
            timers: ManuallyDrop::new(Box::new([types::Timespec::new(); Timer::COUNT])),
            timers_armed: [false; Timer::COUNT],
            backlog: VecDeque::new(),
            in_flight: 0,
            waits_inside,
            eventfd,
            watching: false,
            not_send: PhantomData,
        };
        // SAFETY: `Drop` closes the ring before it drops the buffers.
        unsafe { ring.buffers.register(&ring.io) }
            .map_err(|source| SetupError::from_register("a ring of receive buffers", source))?;
        setup::register(&ring.io, &ring.eventfd, workers)?;
        Ok(ring)
    }

    /// Accepts connections until it is said that it ended.
    pub fn accept(&mut self, listener: u32, socket: BorrowedFd<'_>) {
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(Token::Accept { listener }.pack());
        self.push(entry);
    }

    /// Stops accepting: ends in an [`Completion::Accepted`] that is an error and not armed.
    pub fn cancel_accept(&mut self, listener: u32) {
        self.cancel(Token::Accept { listener });
    }

    /// Receives from `socket` until it is said that it ended. The socket must stay open until then.
    pub fn receive(&mut self, conn: ConnId, socket: BorrowedFd<'_>) {
        let entry = opcode::RecvMulti::new(types::Fd(socket.as_raw_fd()), buffers::GROUP)
            .build()
            .user_data(Token::Receive(conn).pack());
        self.push(entry);
    }

    /// Stops receiving: ends in a [`Received`] that is not armed.
    pub fn cancel_receive(&mut self, conn: ConnId) {
        self.cancel(Token::Receive(conn));
    }

    /// Sends bytes of the log without copying them, where the way there allows it. They stay pinned until the kernel
    /// has let go of them. One send per connection at a time; the socket may be closed before it is done.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn send_zero_copy(&mut self, conn: ConnId, socket: BorrowedFd<'_>, piece: Mapped) -> io::Result<()> {
        let slot = self.pinned.insert(ZeroCopyOp::new(conn, socket.try_clone_to_owned()?, piece));
        let entry = self.pinned.get_mut(slot).entry(slot);
        self.push(entry);
        Ok(())
    }

    /// Waits once until `socket` can be read or written without blocking. Neither memory nor the socket need outlive
    /// the wait; a socket that was closed meanwhile is closed in truth when the wait has ended.
    pub fn wait_ready(&mut self, conn: ConnId, socket: BorrowedFd<'_>, interest: Interest) {
        let events = match interest {
            Interest::Read => libc::POLLIN | libc::POLLRDHUP,
            Interest::Write => libc::POLLOUT,
        };
        let events = u32::from(events.cast_unsigned());
        let entry = opcode::PollAdd::new(types::Fd(socket.as_raw_fd()), events)
            .build()
            .user_data(Token::Ready(conn, interest).pack());
        self.push(entry);
    }

    /// Ends a wait.
    pub fn cancel_ready(&mut self, conn: ConnId, interest: Interest) {
        self.cancel(Token::Ready(conn, interest));
    }

    /// Sends all bytes of `parts` in order. One send per connection at a time; the socket must stay open until it is
    /// done.
    pub fn send(&mut self, conn: ConnId, socket: BorrowedFd<'_>, parts: Vec<Part>) {
        let slot = self.sends.insert(SendOp::new(conn, socket.as_raw_fd(), parts));
        let entry = self.sends.get_mut(slot).entry(slot);
        self.push(entry);
    }

    /// Brings a range of a segment's file into the page cache. It is not empty; it is read in parts, one at a time.
    pub fn read(&mut self, ticket: u64, segment: SegmentView, range: Range<usize>) {
        let slot = self.reads.insert(ReadOp::new(ticket, segment, range));
        let entry = self.reads.get_mut(slot).entry(slot, self.scratch.start());
        self.push(entry);
    }

    /// Waits until those are woken who sleep on `word`, a shared futex, unless its value is not `value`.
    #[cfg(feature = "shared-memory")]
    pub fn watch(&mut self, ticket: u64, word: windrow_store::FutexWord, value: u32) {
        let slot = self.watches.insert(watch::WatchOp { ticket, word });
        let entry = self.watches.get_mut(slot).entry(slot, value);
        self.push(entry);
    }

    /// Asks for one [`Completion::Timer`]. Does nothing while this one is under way.
    pub fn arm_timer(&mut self, timer: Timer, after: Duration) {
        let number = timer as usize;
        if std::mem::replace(&mut self.timers_armed[number], true) {
            return;
        }
        self.timers[number] = types::Timespec::from(after);
        let entry = opcode::Timeout::new(&raw const self.timers[number]).build().user_data(Token::Timer(timer).pack());
        self.push(entry);
    }

    /// What was received.
    #[must_use]
    pub fn bytes(&self, lease: &Lease) -> &[u8] {
        self.buffers.bytes(lease)
    }

    /// Lets the kernel have the buffer again.
    pub fn give_back(&mut self, lease: Lease) {
        self.buffers.give_back(lease);
    }

    /// The next completion that the kernel has posted.
    pub fn poll(&mut self) -> Option<Completion> {
        loop {
            let entry = self.io.completion().next()?;
            if let Some(completion) = self.complete(&entry) {
                return Some(completion);
            }
        }
    }

    /// How many operations that were asked for have not completed.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        // Nobody asked for the watch on the eventfd.
        self.in_flight - usize::from(self.watching)
    }

    fn cancel(&mut self, target: Token) {
        self.push(opcode::AsyncCancel::new(target.pack()).build().user_data(Token::Cancel.pack()));
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.in_flight += 1;
        self.backlog_or_submit(entry);
    }

    fn backlog_or_submit(&mut self, entry: squeue::Entry) {
        // SAFETY: the methods that make entries put what they refer to into `self`, where it stays until the entry
        // has completed. Nothing is lost here where the queue is full.
        if !self.backlog.is_empty() || unsafe { self.io.submission().push(&entry) }.is_err() {
            self.backlog.push_back(entry);
        }
    }

    /// Moves what waits into the submission queue, and says how much is in there.
    fn refill(&mut self) -> u32 {
        let mut queue = self.io.submission();
        while let Some(entry) = self.backlog.pop_front() {
            // SAFETY: as in `backlog_or_submit`.
            if unsafe { queue.push(&entry) }.is_err() {
                self.backlog.push_front(entry);
                break;
            }
        }
        u32::try_from(queue.len()).expect("the queue has far fewer places")
    }

    fn complete(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let armed = cqueue::more(entry.flags());
        if !armed {
            self.in_flight -= 1;
        }
        let result = match u32::try_from(entry.result()) {
            Ok(value) => Ok(value),
            // Wrapping: a notification about zero-copy uses all bits for something else.
            Err(_) => Err(io::Error::from_raw_os_error(entry.result().wrapping_neg())),
        };
        match Token::unpack(entry.user_data()) {
            Token::Accept { listener } => {
                let socket = result.map(|_| {
                    // SAFETY: a successful accept returns a descriptor that nobody else knows of.
                    unsafe { OwnedFd::from_raw_fd(entry.result()) }
                });
                Some(Completion::Accepted { listener, socket, armed })
            }
            Token::Receive(conn) => {
                Some(Completion::Received { conn, received: self.received(result, entry.flags()), armed })
            }
            Token::Send { slot } => self.sent(slot, result),
            Token::ZeroCopy { slot } => {
                let op = self.pinned.get_mut(slot);
                if cqueue::notif(entry.flags()) {
                    op.note_released(entry.result());
                } else {
                    op.note_sent(result);
                }
                if armed {
                    return None;
                }
                let (conn, result, copied) = self.pinned.remove(slot).finish();
                Some(Completion::ZeroCopySent { conn, result, copied })
            }
            Token::Read { slot } => self.was_read(slot, result),
            Token::Ready(conn, interest) => Some(Completion::Ready { conn, interest }),
            // Woken, another value, cancelled: whoever watched looks for himself.
            #[cfg(feature = "shared-memory")]
            Token::Watch { slot } => Some(Completion::Watched { ticket: self.watches.remove(slot).ticket }),
            #[cfg(feature = "shared-nothing")]
            Token::Watch { .. } => None,
            Token::Timer(timer) => {
                self.timers_armed[timer as usize] = false;
                Some(Completion::Timer(timer))
            }
            Token::Cancel => None,
            Token::Wake => {
                self.watching = armed;
                None
            }
        }
    }

    fn received(&mut self, result: io::Result<u32>, flags: u32) -> Received {
        match (result, cqueue::buffer_select(flags)) {
            (Ok(len @ 1..), Some(id)) => Received::Data(self.buffers.lease(id, len as usize)),
            (Ok(_), buffer) => {
                if let Some(id) = buffer {
                    let unused = self.buffers.lease(id, 0);
                    self.buffers.give_back(unused);
                }
                Received::Eof
            }
            (Err(error), _) => match error.raw_os_error() {
                Some(libc::ENOBUFS) => Received::NoBuffers,
                Some(libc::ECANCELED) => Received::Cancelled,
                _ => Received::Failed(error),
            },
        }
    }

    fn sent(&mut self, slot: u32, result: io::Result<u32>) -> Option<Completion> {
        let op = self.sends.get_mut(slot);
        let error = match result {
            Ok(len @ 1..) if !op.advance(len as usize) => {
                let rest = op.entry(slot);
                self.push(rest);
                return None;
            }
            Ok(_) => None,
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {
                let again = op.entry(slot);
                self.push(again);
                return None;
            }
            Err(error) => Some(error),
        };
        let op = self.sends.remove(slot);
        let conn = op.conn();
        let (sent, parts) = op.finish();
        Some(Completion::Sent { conn, result: error.map_or(Ok(sent), Err), parts })
    }

    fn was_read(&mut self, slot: u32, result: io::Result<u32>) -> Option<Completion> {
        let op = self.reads.get_mut(slot);
        let result = match result {
            Ok(len) if op.advance(len as usize) => Ok(()),
            Err(error) if error.raw_os_error() != Some(libc::EINTR) => Err(error),
            // There is more; or it was interrupted.
            Ok(_) | Err(_) => {
                let rest = op.entry(slot, self.scratch.start());
                self.push(rest);
                return None;
            }
        };
        Some(Completion::Read { ticket: self.reads.remove(slot).ticket, result })
    }

    /// Cancels everything and takes the completions, so that the kernel refers to none of our memory.
    fn drain(&mut self) -> bool {
        self.in_flight -= self.backlog.len();
        self.backlog.clear();
        for _ in 0..setup::DRAIN_ROUNDS {
            if self.enter().is_err() {
                return false;
            }
            while self.poll().is_some() {}
            if self.in_flight == 0 {
                return true;
            }
            // Whatever it says, the count of completions decides.
            let _ = self
                .io
                .submitter()
                .register_sync_cancel(Some(types::Timespec::from(setup::DRAIN_ROUND)), types::CancelBuilder::any());
        }
        false
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let drained = self.drain();
        // SAFETY: each field is dropped once, here, and not used afterwards. The ring goes first. The memory goes
        // only if no operation is left that could refer to it; otherwise it is leaked.
        unsafe {
            ManuallyDrop::drop(&mut self.io);
            if drained {
                ManuallyDrop::drop(&mut self.buffers);
                ManuallyDrop::drop(&mut self.sends);
                ManuallyDrop::drop(&mut self.pinned);
                ManuallyDrop::drop(&mut self.reads);
                #[cfg(feature = "shared-memory")]
                ManuallyDrop::drop(&mut self.watches);
                ManuallyDrop::drop(&mut self.scratch);
                ManuallyDrop::drop(&mut self.timers);
            }
        }
    }
}

#[cfg(test)]
mod tests;
