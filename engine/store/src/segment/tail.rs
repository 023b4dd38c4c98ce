//! Memory that the newest segments of a log are kept in, and that is used again and again.
//!
//! Where keys are overwritten soon, most of what a log appends is dead before anybody has read it, and yet each page of it
//! takes a page of memory: one in the page cache that is found, filled and written back, and left for the kernel to take
//! away one day. Where memory that is used for the first time is dear, as on a virtual machine whose host takes back what
//! is free, that is most of what a write costs. So such a log keeps a few segments in memory of the process, writes them to
//! their files past the page cache, and when the next segment is made, the oldest of them gives its memory up to it: from
//! then on it is on disk, and read from there by the few who still ask for it.
//!
//! Owns which segment has which memory. A block of memory is a file without a name (`memfd_create`), because a mapping of it
//! can be taken away in one step under the eyes of those who read, and its memory be kept. Invariants:
//! - a block is mapped at one segment at most;
//! - a segment gives its block up when all of it is durable in its file, and nobody but the log has a handle on it. Where
//!   somebody has, the kernel may still be sending from that memory, so it is let go of, and another block takes its place.
//!
//! Fault model: where there is no memory for a block, the segment is made without one.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use windrow_core::types::Lsn;

use super::map::Mapping;

mod ready;

pub(super) use ready::{LARGE_PAGE, Readying};

/// More blocks than this are not made, however small they are: each is an open file.
const BLOCKS_MAX: u64 = 32;

/// Memory that the newest segments of a log are kept in, and that is used again and again. Cheap to clone.
#[derive(Clone)]
pub struct TailMemory {
    shared: Arc<Shared>,
}

struct Shared {
    block_len: u64,
    blocks_max: usize,
    /// See [`TailMemory::window`].
    window: u64,
    /// A large page that takes longer is dear.
    dear: Duration,
    /// Other processes read the files: what is written goes through the page cache.
    is_shared: AtomicBool,
    used: Mutex<VecDeque<Used>>,
}

/// A block in use.
struct Used {
    base: Lsn,
    segment: Weak<Mapping>,
    block: Block,
}

impl Used {
    /// The segment is out of the log, and nobody has a handle on it.
    fn is_free(&self) -> bool {
        self.segment.strong_count() == 0
    }
}

/// The memory of one segment.
pub(super) struct Block {
    memory: File,
    /// It holds what another segment held.
    is_used: bool,
    /// So much of it, from its start, is in large pages.
    large_end: usize,
}

impl Block {
    fn new(len: u64) -> io::Result<Self> {
        let memory: OwnedFd = memfd_create("windrow-tail", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, len)?;
        Ok(Self { memory: memory.into(), is_used: false, large_end: 0 })
    }
}

impl TailMemory {
    /// At most `len` bytes for segments of `segment_len` bytes each, of which `ahead` stand prepared, and for 32 segments. No
    /// memory is taken before it is used. `None` where that is not enough for these, the one in use, and one behind it.
    #[must_use]
    pub fn new(len: u64, segment_len: u64, ahead: usize) -> Option<Self> {
        let blocks = len.checked_div(segment_len)?.min(BLOCKS_MAX);
        let behind = blocks.checked_sub(ahead as u64 + 1).filter(|behind| *behind > 0)?;
        let shared = Shared {
            block_len: segment_len,
            blocks_max: usize::try_from(blocks).ok()?,
            window: behind * segment_len,
            dear: ready::DEAR,
            is_shared: AtomicBool::new(false),
            used: Mutex::default(),
        };
        Some(Self { shared: Arc::new(shared) })
    }

    fn used(&self) -> MutexGuard<'_, VecDeque<Used>> {
        // Nothing panics under the lock and leaves the queue half-changed.
        self.shared.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length of the segments that it is for.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.shared.block_len
    }

    /// What is overwritten within so many bytes of log is overwritten in memory: a segment is on disk only when so much has
    /// been appended behind it.
    #[must_use]
    pub fn window(&self) -> u64 {
        self.shared.window
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used().len() as u64 * self.shared.block_len
    }

    /// The segment that is to give its memory up to the next one; `None` while there is more.
    #[must_use]
    pub fn next_out(&self) -> Option<Lsn> {
        let used = self.used();
        let is_full = used.len() >= self.shared.blocks_max && !used.iter().any(Used::is_free);
        used.front().filter(|_| is_full).map(|used| used.base)
    }

    /// Whether other processes read the segments' files, which then are in the page cache; they are not unless this is said.
    pub fn set_shared(&self, is_shared: bool) {
        self.shared.is_shared.store(is_shared, Ordering::Relaxed);
    }

    /// What [`set_shared`](Self::set_shared) was told last.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared.is_shared.load(Ordering::Relaxed)
    }

    /// Memory for the next segment. `None` where the oldest segment cannot give its own up, or the system has none. With
    /// `keep`, what that one holds is read into the page cache before.
    pub(super) fn begin(&self, keep: bool) -> Option<Readying> {
        Some(Readying::new(self.clone(), self.take(keep)?))
    }

    fn take(&self, keep: bool) -> Option<Block> {
        let len = self.shared.block_len;
        let oldest = {
            let mut used = self.used();
            if used.len() < self.shared.blocks_max {
                return Block::new(len).ok();
            }
            let free = used.iter().position(Used::is_free).unwrap_or(0);
            used.remove(free)
        };
        let oldest = oldest?;
        let Some(segment) = oldest.segment.upgrade() else {
            return Some(Block { is_used: true, ..oldest.block });
        };
        // Where it cannot be read or mapped, it stays as it is.
        if !segment.leave_tail(keep).unwrap_or(false) {
            self.used().push_front(oldest);
            return None;
        }
        // The log's, and the one here. Whoever has got a handle since the segment left sees the file's own pages.
        let is_sent = Arc::strong_count(&segment) > 1 + usize::from(segment.is_owned());
        // What others did with the memory before they dropped their handles comes before what is done with it now.
        fence(Ordering::Acquire);
        if is_sent { Block::new(len).ok() } else { Some(Block { is_used: true, ..oldest.block }) }
    }

    /// The block has been mapped at a segment.
    pub(super) fn put(&self, base: Lsn, segment: &Arc<Mapping>, block: Block) {
        self.used().push_back(Used { base, segment: Arc::downgrade(segment), block });
    }
}

impl fmt::Debug for TailMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { block_len, blocks_max, .. } = *self.shared;
        f.debug_struct("TailMemory")
            .field("block_len", &block_len)
            .field("blocks_max", &blocks_max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
