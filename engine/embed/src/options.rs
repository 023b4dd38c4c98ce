//! How a store is opened.

use std::path::Path;

use windrow_core::types::limits::{SEGMENT_LEN_DEFAULT, SEGMENTS_AHEAD_DEFAULT};
use windrow_store::{BuildMode, FillMode, NewDataDir, OpenConfig};

use crate::error::OpenError;
use crate::store::Windrow;

/// When a write is confirmed, that is: when its call returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum FlushMode {
    /// A write returns when it is on the disk. Threads that write to one partition at the same time share flushes:
    /// the first that waits flushes for all that have written by then.
    #[default]
    GroupCommit,
    /// A write returns when it is on the disk, and the next write to its partition begins only then. Every write has
    /// a flush of its own, so this is slower with many threads and no faster with one.
    EachWrite,
    /// A write returns when it is in memory; [`Windrow::sync`] makes everything before it durable.
    ///
    /// Readers of this process then see what a crash of the **machine** may still take back; what a crash of this
    /// process alone leaves in the system's cache is recovered. The log is ordered, so what is lost is always the
    /// newest writes of a partition: no write survives that comes after a lost one. The change feed and read-only
    /// processes show only what was flushed, in this mode too.
    Explicit,
}

/// How a store is opened: a builder. Every setting has a default that suits many applications.
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) partitions: u16,
    pub(crate) segment_len: u64,
    pub(crate) segments_ahead: usize,
    pub(crate) fill: Option<FillMode>,
    pub(crate) flush: FlushMode,
    pub(crate) create: bool,
    pub(crate) read_only: bool,
    pub(crate) signal_handlers: bool,
    pub(crate) unverified_len: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self::new()
    }
}

impl Options {
    /// The defaults: one partition, segments of 64 MiB, group commit, each record verified at each read, the directory made
    /// if it is not there.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            partitions: 1,
            segment_len: SEGMENT_LEN_DEFAULT,
            segments_ahead: SEGMENTS_AHEAD_DEFAULT,
            fill: None,
            flush: FlushMode::GroupCommit,
            create: true,
            read_only: false,
            signal_handlers: false,
            unverified_len: 0,
        }
    }

    /// How many partitions a new directory gets: 1 to 1024. An existing one keeps those that it has.
    ///
    /// Partitions are written side by side, each to a log of its own. Keys with the same hash tag share one.
    #[must_use]
    pub const fn partitions(mut self, count: u16) -> Self {
        self.partitions = count;
        self
    }

    /// Bytes of each new log segment: a multiple of 4096 from 4 KiB to 1 GiB. A record, so a batch, lies in one
    /// segment. Each partition keeps this much disk space ready, times [`segments_ahead`](Self::segments_ahead).
    #[must_use]
    pub const fn segment_len(mut self, bytes: u64) -> Self {
        self.segment_len = bytes;
        self
    }

    /// How many segments are kept prepared ahead of the one in use; at least one.
    #[must_use]
    pub const fn segments_ahead(mut self, count: usize) -> Self {
        self.segments_ahead = count;
        self
    }

    /// How new segments are filled. By default [`FillMode::Direct`] where each write is flushed before it is confirmed, and
    /// [`FillMode::Write16K`] with [`FlushMode::Explicit`], so that what is written outlives the process before the sync.
    #[must_use]
    pub const fn fill(mut self, mode: FillMode) -> Self {
        self.fill = Some(mode);
        self
    }

    /// When a write is confirmed.
    #[must_use]
    pub const fn flush(mut self, mode: FlushMode) -> Self {
        self.flush = mode;
        self
    }

    /// Whether a directory that is not there is made. Of no effect with [`read_only`](Self::read_only).
    #[must_use]
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Opens for reading only, also while another process writes: nothing is written, not even a lock file.
    ///
    /// What is shown is what the writer had committed at the opening, or at the last [`Windrow::refresh`].
    #[must_use]
    pub const fn read_only(mut self, read_only: bool) -> Self {
        self.read_only = read_only;
        self
    }

    /// Installs signal handlers for the whole process: one for SIGBUS, which says which file can no longer be read
    /// before the process dies, and none for SIGXFSZ, so that a file size limit is an error like a full disk.
    ///
    /// Off unless asked for, because handlers are the application's business. Faults elsewhere go to the handler that
    /// was there before.
    #[must_use]
    pub const fn signal_handlers(mut self, install: bool) -> Self {
        self.signal_handlers = install;
        self
    }

    /// How many bytes at the end of each partition's log are shown without being verified: none by default, all of it with
    /// [`u64::MAX`].
    ///
    /// A log is verified when it is opened. After that, the system may drop a page of it from memory at any time and read it
    /// from the disk again, where bits may have rotted. So each read verifies the whole record that it comes to, and a
    /// damaged one is [an error](crate::Damaged), as it is for a write to one of its keys. That takes time in proportion to
    /// the record: of a batch, to all of the batch; docs/benchmarks.md has what was measured.
    ///
    /// What is given up here is that a damaged value is never shown, and that a key with a damaged record is never missing;
    /// nothing outside the log is shown in any case. Worth it for that newest part of the log of which the system surely
    /// drops nothing, or where values have checksums of their own.
    ///
    /// The change feed verifies every record all the same.
    #[must_use]
    pub const fn unverified_len(mut self, bytes: u64) -> Self {
        self.unverified_len = bytes;
        self
    }

    /// Opens the store in the directory `path`.
    ///
    /// # Errors
    /// [`OpenError`]. Nothing that was ever confirmed is changed by an attempt that fails.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Windrow, OpenError> {
        Windrow::open_with(path.as_ref(), self)
    }

    pub(crate) fn config(&self) -> OpenConfig {
        let usual = if self.flush == FlushMode::Explicit { FillMode::Write16K } else { FillMode::Direct };
        let fill = self.fill.unwrap_or(usual);
        OpenConfig { segment_len: self.segment_len, segments_ahead: self.segments_ahead, fill }
    }

    pub(crate) const fn new_data_dir(&self) -> NewDataDir {
        NewDataDir { cluster: None, replica: None, partitions: self.partitions, mode: BuildMode::Embedded }
    }
}
