//! Making a segment, so that nothing about it can fail later.
//!
//! The space is really allocated and written before the segment is used: running out of space is met here and not as
//! a SIGBUS when appending or an error when flushing, and a flush never has to change the file system's block maps. A
//! crash on the way leaves a temporary file, which opening the partition removes.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use memmap2::MmapMut;
use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use thiserror::Error;
use windrow_core::log::PrepareFailure;
use windrow_core::types::Lsn;

use super::{MappedSegment, TailMemory, segment_file_name};
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

/// Bytes of a new segment that are in the disk's own cache at once. Emptying that is what a flush of the log waits for:
/// with the whole segment in it, the slowest replies took as long as writing it does.
const SYNC_LEN: usize = 1 << 20;
/// Bytes of a new segment that are on their way there at once, and so how long this thread works before it waits. Where it
/// shares a core with a shard, and no other is free, the shard waits meanwhile: with 1 MiB, and with all pages mapped at
/// the end, for 2 to 4 ms.
pub(super) const WRITE_OUT_LEN: usize = 256 << 10;

/// Makes the segment of `len` bytes at `base` in `dir`: allocated, written, flushed, mapped, named, the name durable.
///
/// Takes as long as writing `len` bytes to the disk does: not for a thread that serves anybody.
///
/// # Errors
/// See [`PrepareError`].
pub fn create_segment(dir: &Path, base: Lsn, len: u64, fill: FillMode) -> Result<MappedSegment, PrepareError> {
    create(dir, base, len, fill, None)
}

/// As [`create_segment`] with [`FillMode::Direct`], kept in `memory` until another segment needs that: made for segments as
/// long as those that it is for. Where the oldest segment in there is to be read again, `keep` has it read into the page cache
/// before its memory is taken away.
///
/// # Errors
/// See [`PrepareError`].
pub fn create_segment_in_tail(
    dir: &Path,
    base: Lsn,
    memory: &TailMemory,
    keep: bool,
) -> Result<MappedSegment, PrepareError> {
    create(dir, base, memory.segment_len(), FillMode::Direct, Some((memory, keep)))
}

fn create(
    dir: &Path,
    base: Lsn,
    len: u64,
    fill: FillMode,
    tail: Option<(&TailMemory, bool)>,
) -> Result<MappedSegment, PrepareError> {
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
        allocate(&file, &temporary, len, fill)?;
        // Mapped before it gets its name, so that a segment that is there can be used.
        let mut segment = MappedSegment::map_writable(file, path.clone(), base, map_len).map_err(PrepareError::File)?;
        let written = match fill {
            FillMode::Direct => write_past_cache(&mut segment, map_len, &temporary, tail),
            FillMode::Cold => open_past_cache(&temporary)
                .at("open", &temporary)
                .and_then(|direct| segment.share().stage_rest(direct))
                .and_then(|()| segment.file().sync_all().at("sync", &temporary)),
            _ => write(&segment, map_len, &temporary, fill),
        };
        written.map_err(|error| classify(error, len))?;
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

fn allocate(file: &File, path: &Path, len: u64, fill: FillMode) -> Result<(), PrepareError> {
    match fallocate(file, FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP) if fill.writes_all() => Ok(()),
        Err(Errno::OPNOTSUPP) => Err(PrepareError::CannotAllocate { path: path.to_path_buf() }),
        Err(errno) => Err(errno).at("allocate", path).map_err(|error| classify(error, len)),
    }
}

/// Writes the whole segment, of `len` bytes, and maps its pages.
fn write(segment: &MappedSegment, len: usize, path: &Path, fill: FillMode) -> Result<(), FileError> {
    let file = segment.file();
    let zeros = vec![0; fill.write_len().or(fill.pages_len()).unwrap_or(0)];
    let part_len = WRITE_OUT_LEN.max(fill.write_len().unwrap_or(0));
    for start in (0..len).step_by(part_len) {
        let part = start..len.min(start + part_len);
        if fill.write_len().is_some() {
            write_all(file, path, part.clone(), &zeros)?;
            if part.end.is_multiple_of(SYNC_LEN) {
                file.sync_data().at("sync", path)?;
            } else {
                write_out(file, &part).at("write out", path)?;
            }
        }
        if fill.pages_len().is_none() {
            segment.populate(part, false);
        }
    }
    file.sync_all().at("sync", path)?;
    if fill.pages_len().is_some() {
        // Zeros that need not reach the disk: mapping pages that are not there yet takes several times as long.
        write_all(file, path, 0..len, &zeros)?;
        segment.populate(0..len, true);
    }
    Ok(())
}

/// Writes the whole segment, of `len` bytes, without a page of it in the page cache, and has what is appended collected in
/// memory: of its own, or in `tail`, with `keep`. That is got ready meanwhile, so that both take this thread little at a
/// time.
fn write_past_cache(
    segment: &mut MappedSegment,
    len: usize,
    path: &Path,
    tail: Option<(&TailMemory, bool)>,
) -> Result<(), FileError> {
    // Pages of their own, because such writes want memory that begins where a block does.
    let zeros = MmapMut::map_anon(WRITE_OUT_LEN).at("make zeros for", path)?;
    let mut direct = open_past_cache(path).at("open", path)?;
    let mut tail = tail.filter(|_| direct.is_some()).and_then(|(memory, keep)| segment.begin_in_tail(memory, keep));
    let step = tail.as_ref().map_or(WRITE_OUT_LEN, |tail| tail.step(WRITE_OUT_LEN));
    for start in (0..len).step_by(step) {
        let bytes = &zeros[..step.min(len - start)];
        if tail.as_mut().is_some_and(|tail| !segment.ready_in_tail(tail, start..start + bytes.len())) {
            tail = None;
        }
        let mut written = direct.as_ref().unwrap_or(segment.file()).write_all_at(bytes, start as u64);
        if direct.is_some() && written.as_ref().is_err_and(is_refused_past_cache) {
            // This file system, or its disk, has no such writes, or other blocks.
            direct = None;
            written = segment.file().write_all_at(bytes, start as u64);
        }
        written.at("write", path)?;
        if (start + bytes.len()).is_multiple_of(SYNC_LEN) {
            direct.as_ref().unwrap_or(segment.file()).sync_data().at("sync", path)?;
        }
    }
    segment.file().sync_all().at("sync", path)?;
    segment.stage_whole(tail, direct)
}

/// The file, opened such that writes go past the page cache; `None` where this file system has no such writes.
fn open_past_cache(path: &Path) -> io::Result<Option<File>> {
    match OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path) {
        Ok(direct) => Ok(Some(direct)),
        Err(error) if is_refused_past_cache(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether an error says that this file system, or its disk, has no such writes past the page cache.
pub(super) fn is_refused_past_cache(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// Writes `bytes` to a part of the file, again and again, and as many as are left at its end.
fn write_all(file: &File, path: &Path, part: Range<usize>, bytes: &[u8]) -> Result<(), FileError> {
    for start in part.clone().step_by(bytes.len()) {
        let count = bytes.len().min(part.end - start);
        file.write_all_at(&bytes[..count], start as u64).at("write", path)?;
    }
    Ok(())
}

/// Waits until a part of the file has been handed to the disk, which may still have it in a cache of its own.
pub(super) fn write_out(file: &File, part: &Range<usize>) -> io::Result<()> {
    let start = libc::off64_t::try_from(part.start).map_err(io::Error::other)?;
    let len = libc::off64_t::try_from(part.len()).map_err(io::Error::other)?;
    let flags = libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: `file` keeps its descriptor open for the call, which takes numbers and touches no memory of this process.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), start, len, flags) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn classify(source: FileError, len: u64) -> PrepareError {
    if source.is_no_space() { PrepareError::NoSpace { len, source } } else { PrepareError::File(source) }
}
