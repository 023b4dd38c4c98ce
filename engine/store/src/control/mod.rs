//! The control page: how far a partition's log has grown, for other processes of the same machine, and who follows it.
//!
//! One page, mapped by the writer, by readers and by followers. The watermarks are atomic words that only the writer
//! stores and that only grow while the log lives, so every value that is loaded was true at some moment and stays a
//! safe limit for ever: what is committed never changes. That is also why a page left over by a writer that died, or
//! written back half by a power cut, is harmless. Nothing durable depends on the page.
//!
//! # Waking followers
//! A follower that has nothing to do sets `waiting` and sleeps in a futex on `sequence`; a writer that has moved the
//! committed watermark looks at `waiting`, and only where it is set clears it, counts `sequence` up and wakes. No wake
//! is lost:
//! - The writer stores `committed`, then loads `waiting`; the follower stores `waiting`, then loads `committed`; on
//!   both sides a sequentially consistent fence stands in between. So at least one of the two sees what the other
//!   stored: either the follower sees the new watermark and does not sleep, or the writer sees the flag.
//! - A follower loads `sequence` *before* it sets the flag, and sleeps only while `sequence` still has that value. A
//!   writer that takes the flag down counts up afterwards, and its exchange has read the follower's store (or a later
//!   one), so the count that the follower knows is from before: the futex either has not slept yet and finds another
//!   value, or is woken. With several followers one exchange takes the flags of all of them, and all are woken.
//! - A follower that loads a `sequence` already counted up also sees the watermark stored before it: the count is a
//!   release, the load an acquire.
//!
//! # Places of followers
//! A follower holds a place as long as it holds the lock on that byte of the file; the kernel gives it back when the
//! process ends, however that happens. What stands in a place without a lock is a remnant.

mod follower;
mod reader;
mod sleep;
mod writer;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::MmapRaw;
use thiserror::Error;
use windrow_core::types::{Epoch, Lsn, PartitionId};

/// What the file that `tools/model` compiles a second time uses of the outside.
mod atomic {
    pub(super) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}

pub use follower::{ControlFollower, FutexWord, Moment, PlaceLock};
pub use reader::ControlReader;
pub use writer::{Attached, ControlWriter};

use crate::files::FileError;

pub(crate) const CONTROL_FILE: &str = "control";
/// Bytes of the page.
pub const CONTROL_LEN: usize = 4096;
/// The version of the layout.
pub const CONTROL_VERSION: u32 = 2;
/// The most followers of one log.
pub const FOLLOWERS_MAX: usize = 16;
const MAGIC: u64 = u64::from_le_bytes(*b"WINDROWC");

/// A writer has the page.
const LIFE_WRITTEN: u32 = 1;
/// The writer has ended in order.
const LIFE_ENDED: u32 = 2;

/// The page. Every group of words that one side stores has a cache line of its own.
#[repr(C)]
struct Page {
    magic: AtomicU64,
    version: AtomicU32,
    partition: AtomicU32,
    writer_pid: AtomicU32,
    life: AtomicU32,
    _reserved: [u32; 10],
    appended: AtomicU64,
    durable: AtomicU64,
    committed: AtomicU64,
    epoch: AtomicU64,
    /// When `committed` was stored, in nanoseconds of the monotonic clock.
    committed_at: AtomicU64,
    _reserved_too: [u64; 3],
    /// The futex.
    sequence: AtomicU32,
    waiting: AtomicU32,
    _reserved_three: [u64; 15],
    places: [Place; FOLLOWERS_MAX],
}

/// One follower.
#[repr(C)]
struct Place {
    pid: AtomicU32,
    /// Where it serves clients.
    port: AtomicU32,
    /// How far it has come.
    position: AtomicU64,
    _reserved_too: [u64; 6],
}

const _: () = assert!(std::mem::offset_of!(Page, writer_pid) == 16);
const _: () = assert!(std::mem::offset_of!(Page, life) == 20);
const _: () = assert!(std::mem::offset_of!(Page, appended) == 64);
const _: () = assert!(std::mem::offset_of!(Page, epoch) == 88);
const _: () = assert!(std::mem::offset_of!(Page, committed_at) == 96);
const _: () = assert!(std::mem::offset_of!(Page, sequence) == 128);
const _: () = assert!(std::mem::offset_of!(Page, places) == 256);
const _: () = assert!(size_of::<Place>() == 64);
const _: () = assert!(size_of::<Page>() <= CONTROL_LEN);
const _: () = assert!(cfg!(target_endian = "little"), "the control page is little-endian, and shared without a codec");

/// What the control page says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// Written to memory.
    pub appended: Lsn,
    /// Flushed.
    pub durable: Lsn,
    /// Durable on as many replicas as asked for: what others may read.
    pub committed: Lsn,
    /// The writer's epoch.
    pub epoch: Epoch,
}

/// Why a reader cannot use a control page.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum ControlError {
    /// The page is none, or that of another partition.
    #[error(
        "{}: no control page of partition {partition}: it is damaged, or lies in the wrong directory. A leader that \
         starts here makes it anew",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The partition that it should be of.
        partition: PartitionId,
    },
    /// The page has another layout.
    #[error(
        "{}: the control page has version {found}, this build knows version {CONTROL_VERSION}: leader and followers \
         must be of the same version of Windrow",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it names.
        found: u32,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

struct Mapped(MmapRaw);

impl Mapped {
    fn page(&self) -> &Page {
        // SAFETY: invariant of `Mapped`: the mapping has `CONTROL_LEN` bytes (all constructors ask for that many of a file that has them),
        // is page-aligned, and consists of integers only, which have no invalid values; all of them but the reserved
        // ones, which nobody accesses, are atomic, so that stores of other processes are no data race.
        unsafe { &*self.0.as_ptr().cast::<Page>() }
    }

    /// Refuses a page that this build cannot use.
    fn check(&self, path: &Path, partition: PartitionId) -> Result<(), ControlError> {
        let page = self.page();
        let is_page = page.magic.load(Ordering::Acquire) == MAGIC;
        let found = page.version.load(Ordering::Relaxed);
        if is_page && found != CONTROL_VERSION {
            return Err(ControlError::Version { path: path.to_path_buf(), found });
        }
        if is_page && page.partition.load(Ordering::Relaxed) == u32::from(partition.get()) {
            return Ok(());
        }
        Err(ControlError::Foreign { path: path.to_path_buf(), partition })
    }
}

/// Gives the file its page, written, so that storing to it cannot meet a full disk.
fn allocate(file: &File) -> io::Result<()> {
    if file.metadata()?.len() < CONTROL_LEN as u64 {
        file.write_all_at(&[0; CONTROL_LEN], 0)?;
        file.sync_all()?;
    }
    Ok(())
}

fn load(page: &Page) -> Progress {
    // Committed first, and acquiring: the others are then at least as new.
    let committed = Lsn::new(page.committed.load(Ordering::Acquire));
    Progress {
        appended: Lsn::new(page.appended.load(Ordering::Relaxed)),
        durable: Lsn::new(page.durable.load(Ordering::Relaxed)),
        committed,
        epoch: Epoch::new(u32::try_from(page.epoch.load(Ordering::Relaxed)).unwrap_or(u32::MAX)),
    }
}

/// The monotonic clock, which all processes of a machine share.
fn monotonic_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a `timespec` that this function owns through the call. The clock exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// What a lock on one byte of the file is asked for.
fn byte_lock(kind: libc::c_int, place: usize) -> libc::flock {
    libc::flock {
        l_type: libc::c_short::try_from(kind).unwrap_or(libc::c_short::MAX),
        l_whence: libc::c_short::try_from(libc::SEEK_SET).unwrap_or(0),
        l_start: libc::off_t::try_from(place).unwrap_or(libc::off_t::MAX),
        l_len: 1,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests;
