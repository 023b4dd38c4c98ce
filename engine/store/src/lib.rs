//! Windrow's storage: memory-mapped segments, directories, flushing.
//!
//! This crate gives the pure engine of [`windrow_core`] its disk. It owns every file of a data directory and all of
//! the engine's `unsafe` code: segments are files mapped into memory, and the log appends in place, into pages that are the
//! file's or become so when they are flushed.
//!
//! Fault model: the process may be killed and the power may fail at any moment; space may run out; files may be
//! damaged, missing or foreign; the disk may fail. None of these is a panic: each is an error that says what to do,
//! but for a failed flush and a mapping that the disk no longer serves, which end the process with
//! [`EXIT_IO_ERROR`], because nothing that is in memory can be trusted to be on the disk any more.

mod background;
mod cache;
mod control;
mod data_dir;
mod exit;
mod files;
mod fill;
mod flush;
mod open;
mod partition_dir;
mod preflight;
mod segment;
mod sigbus;
mod urgent;

pub use background::{Background, BackgroundClient, Done, FlushedBy, Job};
pub use control::{
    Attached, CONTROL_LEN, CONTROL_VERSION, ControlError, ControlFollower, ControlReader, ControlWriter, FOLLOWERS_MAX,
    FutexWord, Moment, PlaceLock, Progress,
};
pub use data_dir::{
    BuildMode, DataDir, DataDirError, DirLock, Identity, IdentityError, LockError, NewDataDir, partition_dir_name,
};
pub use exit::EXIT_IO_ERROR;
pub use files::FileError;
pub use fill::{FillMode, UnknownFillMode};
pub use flush::{FlushFailed, FlushTask, fatal_flush};
pub use open::{
    Follower, OpenConfig, OpenError, OpenFollower, OpenPartition, OpenReplica, OpenReport, ReadOnlyPartition,
    RefreshError, TakenOver, leave_set, open_follower, open_partition, open_read_only, open_replica,
};
pub use partition_dir::{Listing, PartitionDir, SegmentFile, SuperblockFile, SuperblockFileError};
pub use preflight::{FileSystem, Limits, Preflight, preflight, raise_open_file_limit};
pub use segment::{
    MappedSegment, PrepareError, SegmentView, TailMemory, cold_range, create_segment, create_segment_in_tail,
    parse_segment_file_name, segment_file_name,
};
pub use sigbus::{install_sigbus_handler, install_signal_handlers};
pub use urgent::{become_flush_thread, take_short_turns};
