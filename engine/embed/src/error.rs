//! What can go wrong, by operation.

use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;
use windrow_core::log::{BadBytes, Damaged as LogDamaged, PrepareFailure, ReadError as LogReadError};
use windrow_core::partition::{AppendError, Partition};
use windrow_core::types::Lsn;
use windrow_store::{DataDirError, FlushFailed, MappedSegment, PrepareError, RefreshError as StoreRefreshError};

/// A flush failed, and with it this handle and all its clones: nothing more is confirmed or shown.
///
/// What was confirmed before is safe. What was written and not yet confirmed may be lost or not. The directory can be
/// opened again, also by this process, as soon as every handle on it is gone: opening compares what the system has
/// cached with what the disk has, and believes the disk.
#[derive(Error, Clone, Debug)]
#[error("{0}; writes that were not confirmed may be lost, open the directory anew")]
pub struct Failed(pub Arc<FlushFailed>);

/// A record has other bytes now than those that were written and verified: most likely its place on the disk has rotted.
///
/// It is not shown, and none of its keys can be written. Everything else is served as before. Where it is the disk that has
/// rotted, the directory cannot be opened any more until it is mended, or put back from a backup.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[error(
    "partition {partition}: {} is damaged at offset {offset} (LSN {lsn}): {cause}; `windrow log verify` tells what else is, \
     `windrow log repair` mends it from another copy of the directory",
    file.display()
)]
#[non_exhaustive]
pub struct Damaged {
    /// The partition.
    pub partition: u16,
    /// The file of the log segment.
    pub file: PathBuf,
    /// Where in the file the record starts, in bytes.
    pub offset: u64,
    /// Where in the log.
    pub lsn: Lsn,
    /// What is wrong there.
    pub cause: BadBytes,
}

impl Damaged {
    pub(crate) fn new(partition: &Partition<MappedSegment>, damage: &LogDamaged) -> Box<Self> {
        let &LogDamaged { base, offset, cause } = damage;
        let file = partition.segment(base).map_or_else(PathBuf::new, |segment| segment.path().to_path_buf());
        Box::new(Self { partition: partition.id().get(), file, offset, lsn: base.plus(offset), cause })
    }
}

/// Why a directory could not be opened.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The data directory itself.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// One of its partitions.
    #[error(transparent)]
    Partition(#[from] windrow_store::OpenError),
    /// A helper thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
}

/// Why nothing could be read.
#[derive(Error, Clone, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// A clone of this handle was closed.
    #[error("the store is closed")]
    Closed,
    /// A flush failed.
    #[error(transparent)]
    Failed(#[from] Failed),
    /// What was to be read is damaged. Other records can be read.
    #[error(transparent)]
    Damaged(Box<Damaged>),
}

/// Why a write was not confirmed. All but [`Unknown`](Self::Unknown) mean that it did not happen.
#[derive(Error, Clone, Debug)]
#[non_exhaustive]
pub enum WriteError {
    /// Did not happen: a clone of this handle was closed.
    #[error("the store is closed")]
    Closed,
    /// Did not happen: the store was opened read-only.
    #[error("the store was opened read-only")]
    ReadOnly,
    /// Did not happen: there is no room for a further log segment. Reads go on, and writes do as soon as there is room.
    #[error("no room for a further log segment: {0}")]
    NoSpace(#[source] Arc<PrepareError>),
    /// Did not happen: a further log segment cannot be made, though there is room. Reads go on, and writes do as soon as
    /// one can.
    #[error("a further log segment cannot be made: {0}")]
    NoSegment(#[source] Arc<PrepareError>),
    /// Did not happen: the log refuses this write, whenever it comes.
    #[error(transparent)]
    Refused(AppendError),
    /// Did not happen: the keys of one batch belong to different partitions.
    #[error(
        "keys {} and {} belong to different partitions, and a batch is atomic within one; keys with the same part in \
         braces, such as `{{order7}}:total` and `{{order7}}:items`, always belong to the same",
        first.escape_ascii(),
        second.escape_ascii()
    )]
    CrossPartition {
        /// A key of the batch.
        first: Vec<u8>,
        /// A key of another partition.
        second: Vec<u8>,
    },
    /// Did not happen: a record that one of the keys is in is damaged. Other keys can be written.
    #[error(transparent)]
    Damaged(Box<Damaged>),
    /// Did not happen: a flush had failed before.
    #[error(transparent)]
    Failed(Failed),
    /// May have happened or not: it was written, but the flush that should make it durable failed.
    #[error(transparent)]
    Unknown(Failed),
}

impl WriteError {
    pub(crate) fn no_segment(why: Arc<PrepareError>) -> Self {
        if matches!(why.failure(), PrepareFailure::NoSpace) { Self::NoSpace(why) } else { Self::NoSegment(why) }
    }

    /// The store had ended before anything was written, or what a write looks at cannot be read.
    pub(crate) fn before(error: ReadError) -> Self {
        match error {
            ReadError::Closed => Self::Closed,
            ReadError::Failed(failed) => Self::Failed(failed),
            ReadError::Damaged(damaged) => Self::Damaged(damaged),
        }
    }

    /// The store ended while a write waited for its flush.
    pub(crate) fn after(end: ReadError) -> Self {
        match end {
            // A store closes only once everything in it is durable, so a waiting write is confirmed before.
            ReadError::Closed => Self::Closed,
            ReadError::Failed(failed) => Self::Unknown(failed),
            ReadError::Damaged(_) => unreachable!("waiting for a flush reads nothing"),
        }
    }
}

/// Why the change feed ends.
#[derive(Error, Clone, Debug)]
#[non_exhaustive]
pub enum FeedError {
    /// There is no such partition.
    #[error("there is no partition {partition}: there are {count}, counted from 0")]
    NoSuchPartition {
        /// What was asked for.
        partition: u16,
        /// How many there are.
        count: u16,
    },
    /// The position is no longer in the log, or no record starts there: it may be damaged, or the position never was one.
    #[error(transparent)]
    Log(LogReadError),
    /// The next record is damaged. The feed does not get beyond it.
    #[error(transparent)]
    Damaged(Box<Damaged>),
    /// The store cannot be read any more.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Why a read-only store could not follow its writer.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum RefreshError {
    /// The store was not opened read-only.
    #[error("only a store opened read-only follows another process")]
    Writable,
    /// The store cannot be read any more.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be followed.
    #[error(transparent)]
    Store(#[from] StoreRefreshError),
}
