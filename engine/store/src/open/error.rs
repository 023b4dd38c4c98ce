//! Why a partition cannot be opened.

use std::path::PathBuf;

use thiserror::Error;
use windrow_core::recovery::RecoveryError;
use windrow_core::types::limits::{SEGMENT_LEN_ALIGN, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};
use windrow_core::types::{ClusterId, Lsn, PartitionId};

use crate::control::ControlError;
use crate::files::FileError;
use crate::flush::FlushFailed;
use crate::partition_dir::SuperblockFileError;
use crate::segment::PrepareError;

/// Why a partition cannot be opened. What had been flushed is untouched in every case.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// The segment size asked for is none.
    #[error(
        "a segment size of {found} bytes: allowed are multiples of {SEGMENT_LEN_ALIGN} from {SEGMENT_LEN_MIN} to \
         {SEGMENT_LEN_MAX}"
    )]
    SegmentLen {
        /// What was asked for.
        found: u64,
    },
    /// No segment is to be kept ahead.
    #[error("at least one segment has to be kept prepared ahead")]
    SegmentsAhead,
    /// The data directory has fewer partitions.
    #[error("there is no partition {partition}: the data directory has {count}, counted from 0")]
    NoSuchPartition {
        /// What was asked for.
        partition: PartitionId,
        /// How many there are.
        count: u16,
    },
    /// The partition's directory is gone.
    #[error("{}: the partition's directory is missing; restore it from a backup or a follower", path.display())]
    PartitionMissing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The superblock is that of another partition.
    #[error(
        "{}: this is partition {partition} of {partition_count} of cluster {cluster}, put into the wrong place",
        path.display()
    )]
    Foreign {
        /// The partition's directory.
        path: PathBuf,
        /// What its superblock names.
        cluster: ClusterId,
        /// What its superblock names.
        partition: PartitionId,
        /// What its superblock names.
        partition_count: u16,
    },
    /// The partition is one of several replicas: neither who leads it nor what is committed is decided here alone.
    #[error(
        "{}: this is a replica in a set of nodes, which decide together who leads and what is committed; by itself it can \
         be neither written nor stood by. Nothing was changed. Remedy: serve it with `peers`, by a build of \
         `--no-default-features --features shared-nothing`, or take it out of its set for good with `windrow leave-set`",
        path.display()
    )]
    InASet {
        /// The partition's directory.
        path: PathBuf,
    },
    /// There is no set to leave.
    #[error("{}: this directory belongs to no set of nodes; nothing was changed", path.display())]
    NotInASet {
        /// The data directory.
        path: PathBuf,
    },
    /// Another partition lies where the one was that was followed.
    #[error(
        "{}: this is not the log that was followed: another data directory has been put in its place. Nothing was \
         changed; start again to work with the new one",
        path.display()
    )]
    Replaced {
        /// The partition's directory.
        path: PathBuf,
    },
    /// The superblock cannot be read.
    #[error(transparent)]
    Superblock(#[from] SuperblockFileError),
    /// The log cannot be believed.
    #[error(
        "{}: {source}. Nothing was changed. Look at it with `windrow log inspect`, then restore the partition from a \
         follower or a backup",
        path.display()
    )]
    Recovery {
        /// The partition's directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: RecoveryError,
    },
    /// The log's beginning is gone.
    #[error(
        "{}: the log starts with segment {start:020}, but the first one here is {first:020}; restore the partition from a \
         follower or a backup",
        path.display()
    )]
    StartMissing {
        /// The partition's directory.
        path: PathBuf,
        /// Where the log starts.
        start: Lsn,
        /// The first segment that is there.
        first: Lsn,
    },
    /// The page cache holds bytes that are not on the disk, and it cannot be dropped.
    #[error(
        "{}: a flush has failed earlier: from byte {offset} on, what the system shows is not what is on the disk. \
         Stop every other process that uses this directory and start again",
        path.display()
    )]
    StaleCache {
        /// The segment.
        path: PathBuf,
        /// The first byte that differs.
        offset: u64,
    },
    /// A segment could not be made.
    #[error(transparent)]
    Prepare(PrepareError),
    /// What was recovered could not be flushed.
    #[error(transparent)]
    Flush(FlushFailed),
    /// There is no further epoch.
    #[error("the partition has used up its 4 294 967 295 epochs")]
    EpochsUsedUp,
    /// The control page of a live writer cannot be used.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}
