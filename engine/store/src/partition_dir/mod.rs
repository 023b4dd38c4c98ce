//! The files of one partition.
//!
//! ```text
//! superblock                  two slots of 4 KiB, written in turn
//! control                     one page that a writer shares with readers of the same machine, see `control`
//! 00000000000000000000.seg    a segment, named by the LSN of its first byte
//! aside-*/                    what a replica cut from its log, see `aside`
//! *.tmp                       files still being made; removed when the partition is opened for writing
//! ```
//!
//! Anything else is reported and left alone.

mod aside;
mod superblock;

use std::path::{Path, PathBuf};

use windrow_core::superblock::Superblock;
use windrow_core::types::{Lsn, PartitionId};

pub(crate) use superblock::new_superblock_file;
pub use superblock::{SuperblockFile, SuperblockFileError};

use crate::control::CONTROL_FILE;
use crate::files::{At, FileError, TEMPORARY_SUFFIX, names_in, open, remove_if_present, sync_dir};
use crate::fill::FillMode;
use crate::segment::{
    MappedSegment, PrepareError, TailMemory, create_segment, create_segment_in_tail, parse_segment_file_name,
    segment_file_name,
};

pub(crate) const SUPERBLOCK_FILE: &str = "superblock";

/// One partition's directory, open. Only the holder of the data directory's lock changes anything in it.
#[derive(Debug)]
pub struct PartitionDir {
    path: PathBuf,
    partition: PartitionId,
    superblock: SuperblockFile,
    writable: bool,
}

/// What lies in a partition's directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Listing {
    /// The bases and sizes of the segments, in the log's order.
    pub segments: Vec<SegmentFile>,
    /// Names of files that were still being made.
    pub temporary: Vec<String>,
    /// Names of directories with what was cut from the log.
    pub aside: Vec<String>,
    /// Names of files that are none of ours.
    pub unknown: Vec<String>,
}

/// A segment's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFile {
    /// The position of its first byte in the log.
    pub base: Lsn,
    /// Its size in bytes.
    pub len: u64,
}

impl PartitionDir {
    /// Opens a partition's directory, which must exist.
    ///
    /// # Errors
    /// If its superblock file cannot be opened.
    pub fn open(path: &Path, partition: PartitionId, writable: bool) -> Result<Self, FileError> {
        let superblock = SuperblockFile::open(&path.join(SUPERBLOCK_FILE), writable)?;
        Ok(Self { path: path.to_path_buf(), partition, superblock, writable })
    }

    /// Which partition this is.
    #[must_use]
    pub const fn partition(&self) -> PartitionId {
        self.partition
    }

    /// Where its files are.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lists the files.
    ///
    /// # Errors
    /// If the directory or a segment's size cannot be read.
    pub fn list(&self) -> Result<Listing, FileError> {
        let mut listing = Listing::default();
        for name in names_in(&self.path)? {
            if let Some(base) = parse_segment_file_name(&name) {
                let path = self.path.join(&name);
                let metadata = std::fs::metadata(&path).at("look at", &path)?;
                listing.segments.push(SegmentFile { base, len: metadata.len() });
            } else if name.ends_with(TEMPORARY_SUFFIX) {
                listing.temporary.push(name);
            } else if aside::is_aside(&name) {
                listing.aside.push(name);
            } else if name != SUPERBLOCK_FILE && name != CONTROL_FILE {
                listing.unknown.push(name);
            }
        }
        Ok(listing)
    }

    /// The segment at `base`, if there is one.
    pub(crate) fn find(&self, base: Lsn) -> Result<Option<SegmentFile>, FileError> {
        let path = self.path.join(segment_file_name(base));
        match std::fs::metadata(&path) {
            Ok(metadata) => Ok(Some(SegmentFile { base, len: metadata.len() })),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).at("look at", &path),
        }
    }

    /// Makes a segment; see [`create_segment`].
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub fn prepare(&self, base: Lsn, len: u64, fill: FillMode) -> Result<MappedSegment, PrepareError> {
        assert!(self.writable, "partition opened read-only");
        create_segment(&self.path, base, len, fill)
    }

    /// Makes a segment; see [`create_segment_in_tail`].
    ///
    /// # Errors
    /// See [`PrepareError`].
    pub fn prepare_in_tail(&self, base: Lsn, memory: &TailMemory, keep: bool) -> Result<MappedSegment, PrepareError> {
        assert!(self.writable, "partition opened read-only");
        create_segment_in_tail(&self.path, base, memory, keep)
    }

    /// Opens and maps a segment that is there; of a read-only one, the first `visible` bytes may be looked at.
    pub(crate) fn map_segment(&self, segment: SegmentFile, visible: u64) -> Result<MappedSegment, FileError> {
        let path = self.path.join(segment_file_name(segment.base));
        let file = open(&path, self.writable)?;
        let too_large = |_| std::io::Error::from(std::io::ErrorKind::FileTooLarge);
        let len = usize::try_from(segment.len).map_err(too_large).at("map", &path)?;
        if self.writable {
            MappedSegment::map_writable(file, path, segment.base, len)
        } else {
            let visible = usize::try_from(visible).unwrap_or(usize::MAX);
            MappedSegment::map_read_only(file, path, segment.base, len, visible)
        }
    }

    /// Removes files and makes that durable.
    pub(crate) fn remove(&self, names: impl IntoIterator<Item = String>) -> Result<(), FileError> {
        assert!(self.writable, "partition opened read-only");
        let mut removed = false;
        for name in names {
            removed |= remove_if_present(&self.path.join(name))?;
        }
        if removed { sync_dir(&self.path) } else { Ok(()) }
    }

    /// Reads the newer readable slot of the superblock.
    ///
    /// # Errors
    /// Tells a superblock that was never written from one that cannot be read.
    pub fn read_superblock(&self) -> Result<Superblock, SuperblockFileError> {
        self.superblock.read()
    }

    /// Writes the superblock into the slot that is its turn, and flushes.
    ///
    /// # Errors
    /// What the system says; as after a failed flush, the process must not go on as if nothing had happened.
    pub fn write_superblock(&self, superblock: &Superblock) -> Result<(), FileError> {
        self.superblock.write(superblock)
    }

    /// Writes a superblock of a new generation and then, in place of the one before it, the same once more: whichever
    /// slot rots, what the older one said does not come back.
    ///
    /// # Errors
    /// As [`write_superblock`](Self::write_superblock).
    pub(crate) fn write_both_slots(&self, superblock: &Superblock) -> Result<(), FileError> {
        self.write_superblock(superblock)?;
        self.write_superblock(&Superblock { generation: superblock.generation - 1, ..*superblock })
    }
}

#[cfg(test)]
mod tests;
