//! Memory that the kernel picks from when something has been received.
//!
//! A connection that is silent holds none of it. A buffer is with the kernel until a completion names it, then with
//! the [`Lease`] that was made for that completion, and goes back by [`Buffers::give_back`].

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::{IoUring, types::BufRingEntry};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// How many buffers there are. A power of two, at most 32 768.
pub const BUFFER_COUNT: u16 = 1_024;
/// Bytes of a buffer.
pub const BUFFER_LEN: usize = 16 << 10;
/// The group that receive operations name.
pub(super) const GROUP: u16 = 0;

const _: () = assert!(BUFFER_COUNT.is_power_of_two() && BUFFER_COUNT <= 1 << 15);
const RING_LEN: usize = BUFFER_COUNT as usize * size_of::<BufRingEntry>();
const POOL_LEN: usize = BUFFER_COUNT as usize * BUFFER_LEN;

/// Bytes that were received, in a buffer that the kernel has let go of.
#[derive(Debug)]
#[must_use = "a buffer that is not given back is lost to the ring"]
pub struct Lease {
    id: u16,
    len: usize,
}

/// A mapping of anonymous memory, page-aligned and at a fixed address as long as it lives.
pub(super) struct Pages {
    start: *mut u8,
    len: usize,
}

impl Pages {
    pub(super) fn new(len: usize) -> io::Result<Self> {
        // SAFETY: a new anonymous mapping at an address of the kernel's choice; it can overlap nothing.
        let start = unsafe {
            mmap_anonymous(std::ptr::null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)
        }?;
        Ok(Self { start: start.cast(), len })
    }
}

impl Pages {
    /// Where it begins.
    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: `start` and `len` are those of a mapping made in `new` that nobody else unmaps.
        let unmapped = unsafe { munmap(self.start.cast(), self.len) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The buffers of one ring.
///
/// Owner of the invariant that a buffer is either with the kernel or with exactly one [`Lease`]: leases are made only
/// from a completion that names the buffer, cannot be cloned, and are consumed by [`give_back`](Self::give_back).
pub(super) struct Buffers {
    entries: Pages,
    pool: Pages,
    tail: u16,
}

impl Buffers {
    /// Maps the memory and puts all buffers in order; the kernel doesn't know of them yet.
    pub(super) fn new() -> io::Result<Self> {
        let mut buffers = Self { entries: Pages::new(RING_LEN)?, pool: Pages::new(POOL_LEN)?, tail: 0 };
        for id in 0..BUFFER_COUNT {
            buffers.offer(id);
        }
        buffers.publish();
        Ok(buffers)
    }

    /// Registers the buffers with `ring`.
    ///
    /// # Safety
    /// `self` must not be dropped before `ring` is closed or the group is unregistered.
    pub(super) unsafe fn register(&self, ring: &IoUring) -> io::Result<()> {
        // SAFETY: the entries are page-aligned, RING_LEN long, and the caller keeps them alive.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                self.entries.start.expose_provenance() as u64,
                BUFFER_COUNT,
                GROUP,
                0,
            )
        }
    }

    /// The lease of the buffer `id`, of which the kernel has filled `len` bytes.
    ///
    /// # Panics
    /// If the kernel names a buffer or a length that it was never given.
    pub(super) fn lease(&self, id: u16, len: usize) -> Lease {
        assert!(id < BUFFER_COUNT && len <= BUFFER_LEN, "buffer {id} with {len} bytes was never offered");
        Lease { id, len }
    }

    /// What was received.
    pub(super) fn bytes(&self, lease: &Lease) -> &[u8] {
        // SAFETY: `lease` bounds id and length to the pool, and while the lease lives the kernel does not write to
        // its buffer (invariant of `Buffers`). The pages were zeroed by the kernel, so they are initialised.
        unsafe { std::slice::from_raw_parts(self.pool.start.add(usize::from(lease.id) * BUFFER_LEN), lease.len) }
    }

    /// Hands a buffer back to the kernel.
    #[expect(clippy::needless_pass_by_value, reason = "the lease ends here")]
    pub(super) fn give_back(&mut self, lease: Lease) {
        self.offer(lease.id);
        self.publish();
    }

    fn offer(&mut self, id: u16) {
        let place = usize::from(self.tail & (BUFFER_COUNT - 1));
        // SAFETY: `place` is below BUFFER_COUNT, so the entry lies in the mapping; the kernel reads an entry only
        // once the tail has passed it, which happens in `publish`.
        let entry = unsafe { &mut *self.entries.start.cast::<BufRingEntry>().add(place) };
        // SAFETY: `id` is below BUFFER_COUNT, so the buffer lies in the pool.
        let buffer = unsafe { self.pool.start.add(usize::from(id) * BUFFER_LEN) };
        entry.set_addr(buffer.expose_provenance() as u64);
        entry.set_len(u32::try_from(BUFFER_LEN).expect("a constant below 4 GiB"));
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
    }

    fn publish(&self) {
        // SAFETY: the mapping starts with the first entry of the ring, whose reserved field is the tail.
        let tail = unsafe { BufRingEntry::tail(self.entries.start.cast::<BufRingEntry>()) };
        // SAFETY: the tail is an aligned u16 inside the mapping, read by the kernel and written only here.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }
}
