//! Flushing, for a thread that may block, and what a failed flush means.

use std::io::Write;
use std::path::PathBuf;

use thiserror::Error;
use windrow_core::log::{FlushRequest, LogSegment};
use windrow_core::partition::Partition;
use windrow_core::types::Lsn;

use crate::exit::EXIT_IO_ERROR;
use crate::files::FileError;
use crate::segment::{MappedSegment, SegmentView};

/// A flush failed: what was written since the last one may be lost, and no later flush would say so.
///
/// The kernel drops the pages that it could not write and reports the error once; the next `fdatasync` succeeds
/// although the data is gone. So a flush is never tried again, nothing more may be confirmed, and the process has to
/// end: see [`fatal_flush`]. What was confirmed before is not touched by this.
#[derive(Error, Debug)]
#[error("flushing {} failed: {source}", path.display())]
pub struct FlushFailed {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: std::io::Error,
}

impl From<FileError> for FlushFailed {
    fn from(FileError { path, source, .. }: FileError) -> Self {
        Self { path, source }
    }
}

/// Ends the process after a failed flush, with a message on standard error and the status [`EXIT_IO_ERROR`].
///
/// Nothing else runs: no destructor, no exit handler, no further reply of another thread.
pub fn fatal_flush(failed: &FlushFailed) -> ! {
    let message = format!(
        "windrow: fatal: {failed}\n\
         Writes that were not confirmed may be lost; everything confirmed was flushed before. The flush is not tried \
         again, because the system would report success without having written the data.\n\
         Look at the kernel's log (dmesg), check the disk and its free space, then start again: the log is verified \
         when it is opened.\n"
    );
    // Where even this cannot be written, the status still tells.
    let _unwritable = std::io::stderr().write_all(message.as_bytes());
    // SAFETY: `_exit` has no preconditions and does not return.
    unsafe { libc::_exit(EXIT_IO_ERROR) }
}

/// One flush that the core has asked for, with what it needs to run without the partition.
///
/// Build it under whatever guards the partition, [`run`](Self::run) it without: appends go on meanwhile.
#[derive(Debug)]
#[must_use = "the core waits until the flush has run"]
pub struct FlushTask {
    ticket: u64,
    upto: Lsn,
    segments: Vec<SegmentView>,
}

impl FlushTask {
    /// Gathers what the flush needs. The segments stay alive until it has run.
    ///
    /// # Panics
    /// If the request is not of this partition: that is a bug of the caller.
    pub fn new(partition: &Partition<MappedSegment>, request: &FlushRequest) -> Self {
        let in_request = |segment: &&MappedSegment| (request.first_base..=request.last_base).contains(&segment.base());
        // The newest segments are asked for nearly always.
        let segments = partition.log().segments().rev().map(LogSegment::memory);
        let mut segments: Vec<_> =
            segments.skip_while(|segment| segment.base() > request.last_base).take_while(in_request).collect();
        segments.reverse();
        assert_eq!(
            segments.first().map(|segment| segment.base()),
            Some(request.first_base),
            "another partition's flush"
        );
        Self {
            ticket: request.ticket,
            upto: request.upto,
            segments: segments.into_iter().map(MappedSegment::share).collect(),
        }
    }

    /// The position that the log is durable up to once this has run.
    #[must_use]
    pub const fn upto(&self) -> Lsn {
        self.upto
    }

    /// Flushes. The ticket goes to the core's `handle_flushed`.
    ///
    /// # Errors
    /// The first flush that failed. It is fatal: see [`FlushFailed`].
    pub fn run(self) -> Result<u64, FlushFailed> {
        for segment in &self.segments {
            segment.sync_data()?;
        }
        Ok(self.ticket)
    }
}
