//! Making a segment, so that nothing about it can fail later.
//!
//! The space is really allocated and written before the segment is used: running out of space is met here and not as
//! a SIGBUS when appending, and a flush never has to change the file system's block maps. A crash on the way leaves a
//! temporary file, which opening the partition removes.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use thiserror::Error;
use windrow_core::log::PrepareFailure;
use windrow_core::types::Lsn;

use super::{MappedSegment, segment_file_name};
use crate::files::{At, FileError, TEMPORARY_SUFFIX, create_new, remove_if_present, rename_durably};
use crate::fill::FillMode;

/// Why a segment could not be made. Nothing is left behind in either case.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum PrepareError {
    /// No room on the disk, in the quota, or below the file size limit of this process. It may work again later.
    #[error("no space for a segment of {len} bytes: {source}")]
    NoSpace {
        /// Bytes wanted.
        len: u64,
        /// What failed.
        source: FileError,
    },
    /// The file system cannot allocate space ahead, and the fill mode says not to write it either.
    #[error("{}: this file system cannot allocate space ahead; use another fill mode than `allocate`", path.display())]
    CannotAllocate {
        /// The segment's file.
        path: std::path::PathBuf,
    },
    /// There is a file of this name already: that is a bug, or somebody else's file.
    #[error("{}: there is such a file already", path.display())]
    Exists {
        /// The segment's file.
        path: std::path::PathBuf,
    },
    /// The segment is too large for this machine to map.
    #[error("a segment of {len} bytes cannot be mapped on this machine")]
    TooLarge {
        /// Bytes wanted.
        len: u64,
    },
    /// Anything else that went wrong with a file.
    #[error(transparent)]
    File(FileError),
}

impl PrepareError {
    /// What the log is told of it.
    #[must_use]
    pub const fn failure(&self) -> PrepareFailure {
        match self {
            Self::NoSpace { .. } => PrepareFailure::NoSpace,
            _ => PrepareFailure::Refused,
        }
    }
}

/// Bytes of a new segment that are on their way to the disk at once. A flush of the log queues behind them: with the
/// whole segment in the queue, the slowest replies took as long as writing it does.
const SYNC_LEN: usize = 1 << 20;

/// Makes the segment of `len` bytes at `base` in `dir`: allocated, written, flushed, mapped, named, the name durable.
///
/// Takes as long as writing `len` bytes to the disk does: not for a thread that serves anybody.
///
/// # Errors
/// See [`PrepareError`].
pub fn create_segment(dir: &Path, base: Lsn, len: u64, fill: FillMode) -> Result<MappedSegment, PrepareError> {
    let map_len = usize::try_from(len).map_err(|_| PrepareError::TooLarge { len })?;
    let name = segment_file_name(base);
    let path = dir.join(&name);
    let temporary = dir.join(name + TEMPORARY_SUFFIX);
    // Only this process, which holds the directory's lock, makes files here: nobody comes between check and rename.
    if path.exists() {
        return Err(PrepareError::Exists { path });
    }
    let made = (|| {
        remove_if_present(&temporary).map_err(PrepareError::File)?;
        let file = create_new(&temporary).map_err(|error| classify(error, len))?;
        fill_file(&file, &temporary, len, fill)?;
        // Mapped before it gets its name, so that a segment that is there can be used.
        let segment = MappedSegment::map_writable(file, path.clone(), base, map_len).map_err(PrepareError::File)?;
        segment.populate(fill.pages_len().is_some());
        rename_durably(dir, &temporary, &path).map_err(|error| classify(error, len))?;
        Ok(segment)
    })();
    if made.is_err() {
        // The first error is the one that matters; what cannot be removed now is removed at the next opening.
        let _ignored = remove_if_present(&temporary);
        let _ignored = remove_if_present(&path);
    }
    made
}

fn fill_file(file: &File, path: &Path, len: u64, fill: FillMode) -> Result<(), PrepareError> {
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => {}
        Err(Errno::OPNOTSUPP) if fill.write_len().is_some() => {}
        Err(Errno::OPNOTSUPP) => return Err(PrepareError::CannotAllocate { path: path.to_path_buf() }),
        Err(errno) => return Err(errno).at("allocate", path).map_err(|error| classify(error, len)),
    }
    if let Some(write_len) = fill.write_len() {
        write_zeros(file, path, len, write_len, Some(SYNC_LEN))?;
    }
    file.sync_all().at("sync", path).map_err(|error| classify(error, len))?;
    if let Some(pages_len) = fill.pages_len() {
        // Zeros that need not reach the disk: mapping pages that are not there yet takes several times as long.
        write_zeros(file, path, len, pages_len, None)?;
    }
    Ok(())
}

/// Writes zeros to the whole file, `write_len` bytes at a time, and sees to it that no more than `sync_len` are on their way
/// to the disk.
fn write_zeros(
    file: &File,
    path: &Path,
    len: u64,
    write_len: usize,
    sync_len: Option<usize>,
) -> Result<(), PrepareError> {
    let zeros = vec![0; write_len];
    let (mut offset, mut unsynced) = (0, 0);
    while offset < len {
        let count = usize::try_from(len - offset).map_or(write_len, |left| left.min(write_len));
        file.write_all_at(&zeros[..count], offset).at("write", path).map_err(|error| classify(error, len))?;
        offset += count as u64;
        unsynced += count;
        if sync_len.is_some_and(|sync_len| unsynced >= sync_len) {
            file.sync_data().at("sync", path).map_err(|error| classify(error, len))?;
            unsynced = 0;
        }
    }
    Ok(())
}

fn classify(source: FileError, len: u64) -> PrepareError {
    if source.is_no_space() { PrepareError::NoSpace { len, source } } else { PrepareError::File(source) }
}
