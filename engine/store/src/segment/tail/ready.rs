//! Memory that is got ready for the next segment, a little at a time.
//!
//! Whoever makes segments shares a core with a shard, where no other is free, and the shard waits while it works. The system
//! finds memory of 64 MiB in 40 ms, page by page, and in 5 ms in large pages; but where it has to ask the host of a virtual
//! machine for them, which takes back what is free, one large page alone takes 5 ms, in which nothing else runs on that
//! core. So a block gets large pages while they are cheap, and else one each time that it is used, so that nobody waits so long
//! more than once in a segment's log. What that gains is in `docs/benchmarks.md`.

use std::io;
use std::ops::Range;
use std::time::Duration;

use memmap2::{Advice, MmapRaw};
use rustix::mm::{MapFlags, ProtFlags, mmap};
use rustix::time::{ClockId, clock_gettime};

use super::{Block, TailMemory};

/// What the system calls a large page, on the processors that there are.
pub(in super::super) const LARGE_PAGE: usize = 2 << 20;
/// Memory that is used for the first time is found in parts of this size: 16 pages, for each of which the system may have to
/// ask the host.
const NEW_LEN: usize = 64 << 10;
/// A large page is dear if it takes longer. Where the memory is there, it takes 0.1 to 0.5 ms.
pub(super) const DEAR: Duration = Duration::from_millis(1);

/// The memory of a segment that is being made.
pub(in super::super) struct Readying {
    memory: TailMemory,
    block: Block,
    /// No more large pages now.
    is_dear: bool,
}

impl Readying {
    pub(super) const fn new(memory: TailMemory, block: Block) -> Self {
        Self { memory, block, is_dear: false }
    }

    /// Puts the memory in the place of all pages of `map`, as long as a block is. Nobody has a reference to any of it, and the
    /// block is mapped nowhere else, unless where it can no longer be reached.
    pub(in super::super) fn map_at(&self, map: &MmapRaw) -> io::Result<()> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the addresses are those of `map`, which nobody has a reference into, as the caller promises; its owner
        // unmaps these addresses, whatever is mapped there, when it is dropped.
        unsafe {
            mmap(map.as_mut_ptr().cast(), map.len(), access, MapFlags::SHARED | MapFlags::FIXED, &self.block.memory, 0)
        }?;
        Ok(())
    }

    /// What [`put`](TailMemory::put) wants, once the segment is made.
    pub(in super::super) fn into_parts(self) -> (TailMemory, Block) {
        (self.memory, self.block)
    }

    /// How much of it to get ready at a time.
    pub(in super::super) fn step(&self, usual: usize) -> usize {
        if self.block.is_used { usual } else { usual.min(NEW_LEN) }
    }

    /// Whether it holds what another segment held, and is to be cleared.
    pub(in super::super) const fn is_used(&self) -> bool {
        self.block.is_used
    }

    /// Has the system find and map the memory of `part` of `map`, where it is mapped: parts come one after the other. A store to
    /// memory that cannot be found ends the process.
    pub(in super::super) fn find(&mut self, map: &MmapRaw, part: &Range<usize>) -> io::Result<()> {
        if part.start == self.block.large_end && part.start + LARGE_PAGE <= map.len() && !self.is_dear {
            let begun = thread_time();
            if make_large(map, part.start) {
                self.block.large_end += LARGE_PAGE;
                self.is_dear = thread_time().saturating_sub(begun) > self.memory.shared.dear;
            } else {
                self.is_dear = true;
            }
        }
        // What is there already is mapped 16 pages at a time when it is read, and as writable as when it is written.
        let advice = if self.block.is_used { Advice::PopulateRead } else { Advice::PopulateWrite };
        map.advise_range(advice, part.start, part.len())
    }
}

/// Has the system make one large page at `start`, whatever it has there. Where it has none left, or does not do that, small ones
/// will do.
pub(super) fn make_large(map: &MmapRaw, start: usize) -> bool {
    // One page has to be there.
    map.advise_range(Advice::PopulateWrite, start, 1).is_ok() && {
        // SAFETY: the range lies within the mapping; no byte of it changes.
        unsafe { libc::madvise(map.as_mut_ptr().add(start).cast(), LARGE_PAGE, libc::MADV_COLLAPSE) == 0 }
    }
}

/// How long this thread has worked.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
