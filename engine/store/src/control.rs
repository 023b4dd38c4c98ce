//! The control page: how far a partition's log has grown, for other processes of the same machine.
//!
//! One page, mapped by the writer and by every reader. Each value is one atomic word that only the writer stores and
//! that only grows while the log lives, so every value that a reader loads was true at some moment and stays a safe
//! limit for ever: what is committed never changes. That is also why a page left over by a writer that died, or
//! written back half by a power cut, is harmless. Nothing durable depends on the page.
//!
//! Layout, little-endian words: 0 magic, 8 version (u32), 12 partition (u32), 16 writer's process id (u32),
//! 64 appended, 72 durable, 80 committed, 88 epoch.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use thiserror::Error;
use windrow_core::types::{Epoch, Lsn, PartitionId};

use crate::files::{At, FileError};

pub(crate) const CONTROL_FILE: &str = "control";
/// Bytes of the page.
pub const CONTROL_LEN: usize = 4096;
/// The version of the layout.
pub const CONTROL_VERSION: u32 = 1;
const MAGIC: u64 = u64::from_le_bytes(*b"WINDROWC");

#[repr(C)]
struct Page {
    magic: AtomicU64,
    version: AtomicU32,
    partition: AtomicU32,
    writer_pid: AtomicU32,
    // The counters have a cache line of their own.
    _reserved: [u32; 11],
    appended: AtomicU64,
    durable: AtomicU64,
    committed: AtomicU64,
    epoch: AtomicU64,
}

const _: () = assert!(std::mem::offset_of!(Page, writer_pid) == 16);
const _: () = assert!(std::mem::offset_of!(Page, appended) == 64);
const _: () = assert!(std::mem::offset_of!(Page, epoch) == 88);
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
    /// The page is none, or that of another partition or version.
    #[error("{}: no control page of partition {partition} in version {CONTROL_VERSION}", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The partition that it should be of.
        partition: PartitionId,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

struct Mapped(MmapRaw);

impl Mapped {
    fn page(&self) -> &Page {
        // SAFETY: the mapping has `CONTROL_LEN` bytes (both constructors ask for that many of a file that has them),
        // is page-aligned, and consists of integers only, which have no invalid values; all of them but the reserved
        // ones, which nobody accesses, are atomic, so that stores of other processes are no data race.
        unsafe { &*self.0.as_ptr().cast::<Page>() }
    }
}

/// The writer's side.
pub struct ControlWriter(Mapped);

impl ControlWriter {
    /// Maps the control page in `dir` and takes it over.
    ///
    /// The file is used as it is, in place: readers that mapped it under an earlier writer go on seeing the log grow.
    pub(crate) fn open(dir: &Path, partition: PartitionId) -> Result<Self, FileError> {
        let path = dir.join(CONTROL_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.at("open", &path)?;
        allocate(&file).at("allocate", &path)?;
        let mapped = Mapped(MmapOptions::new().len(CONTROL_LEN).map_raw(&file).at("map", &path)?);
        let page = mapped.page();
        if !belongs(page, partition) {
            for counter in [&page.appended, &page.durable, &page.committed, &page.epoch] {
                counter.store(0, Ordering::Relaxed);
            }
            page.version.store(CONTROL_VERSION, Ordering::Relaxed);
            page.partition.store(u32::from(partition.get()), Ordering::Relaxed);
            page.magic.store(MAGIC, Ordering::Release);
        }
        page.writer_pid.store(std::process::id(), Ordering::Relaxed);
        Ok(Self(mapped))
    }

    /// Tells readers how far the log has grown. Call it when a flush has completed.
    ///
    /// # Panics
    /// If the watermarks are out of order: that is a bug.
    pub fn publish(&self, progress: &Progress) {
        assert!(progress.committed <= progress.durable && progress.durable <= progress.appended, "watermarks");
        let page = self.0.page();
        page.epoch.store(u64::from(progress.epoch.get()), Ordering::Relaxed);
        page.appended.store(progress.appended.get(), Ordering::Relaxed);
        page.durable.store(progress.durable.get(), Ordering::Relaxed);
        // Release: a reader that sees the new limit sees the bytes below it.
        page.committed.store(progress.committed.get(), Ordering::Release);
    }
}

impl std::fmt::Debug for ControlWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlWriter").field(&load(self.0.page())).finish()
    }
}

/// A reader's side.
pub struct ControlReader(Mapped);

impl ControlReader {
    /// Maps the control page in `dir`, for reading.
    ///
    /// # Errors
    /// [`ControlError::Foreign`] where the file is something else; otherwise what the system says.
    pub fn open(dir: &Path, partition: PartitionId) -> Result<Self, ControlError> {
        let path = dir.join(CONTROL_FILE);
        let file = File::open(&path).at("open", &path)?;
        let len = file.metadata().at("look at", &path)?.len();
        if len < CONTROL_LEN as u64 {
            return Err(ControlError::Foreign { path, partition });
        }
        let mapped = Mapped(MmapOptions::new().len(CONTROL_LEN).map_raw_read_only(&file).at("map", &path)?);
        if belongs(mapped.page(), partition) {
            Ok(Self(mapped))
        } else {
            Err(ControlError::Foreign { path, partition })
        }
    }

    /// How far the log has grown.
    #[must_use]
    pub fn progress(&self) -> Progress {
        load(self.0.page())
    }

    /// The process id of the writer that took the page over last.
    #[must_use]
    pub fn writer_pid(&self) -> u32 {
        self.0.page().writer_pid.load(Ordering::Relaxed)
    }
}

impl std::fmt::Debug for ControlReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlReader").field(&self.progress()).finish()
    }
}

/// Gives the file its page, written, so that storing to it cannot meet a full disk.
fn allocate(file: &File) -> std::io::Result<()> {
    if file.metadata()?.len() < CONTROL_LEN as u64 {
        file.write_all_at(&[0; CONTROL_LEN], 0)?;
        file.sync_all()?;
    }
    Ok(())
}

fn belongs(page: &Page, partition: PartitionId) -> bool {
    page.magic.load(Ordering::Acquire) == MAGIC
        && page.version.load(Ordering::Relaxed) == CONTROL_VERSION
        && page.partition.load(Ordering::Relaxed) == u32::from(partition.get())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_see_what_the_writer_publishes_and_what_the_last_one_left() {
        let dir = tempfile::tempdir().unwrap();
        let partition = PartitionId::new(3);
        assert!(matches!(ControlReader::open(dir.path(), partition), Err(ControlError::File(_))));
        let writer = ControlWriter::open(dir.path(), partition).unwrap();
        let reader = ControlReader::open(dir.path(), partition).unwrap();
        assert_eq!(reader.progress(), Progress::default());
        assert_eq!(reader.writer_pid(), std::process::id());
        let (appended, durable, committed) = (Lsn::new(300), Lsn::new(200), Lsn::new(100));
        let progress = Progress { appended, durable, committed, epoch: Epoch::new(7) };
        writer.publish(&progress);
        assert_eq!(reader.progress(), progress);
        drop(writer);
        let _next = ControlWriter::open(dir.path(), partition).unwrap();
        assert_eq!(reader.progress(), progress);
    }

    #[test]
    fn a_foreign_page_is_refused_by_readers_and_taken_over_by_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONTROL_FILE), b"short").unwrap();
        let wrong = ControlReader::open(dir.path(), PartitionId::new(0));
        assert!(matches!(wrong, Err(ControlError::Foreign { .. })));
        let _other = ControlWriter::open(dir.path(), PartitionId::new(1)).unwrap();
        let wrong = ControlReader::open(dir.path(), PartitionId::new(0));
        assert!(matches!(wrong, Err(ControlError::Foreign { .. })));
        let _own = ControlWriter::open(dir.path(), PartitionId::new(0)).unwrap();
        assert_eq!(ControlReader::open(dir.path(), PartitionId::new(0)).unwrap().progress(), Progress::default());
    }
}
