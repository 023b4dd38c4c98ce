//! A partition that follows its writer in another process, and takes the log over when that process is gone.
//!
//! Invariants: until it takes over, a follower looks at nothing but what the writer has committed, and changes nothing
//! but its place in the control page. It takes over only under the lock on the data directory. Then the same steps
//! follow as when a partition is opened (see the module above), but for the walk: what was followed has been verified
//! and is in the index. What the dead process had appended and not flushed is still in the page cache; it is compared
//! with the disk, walked, cut where it is torn, and flushed, before anything new is confirmed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use windrow_core::log::{LogSegment, SegmentMemory};
use windrow_core::partition::Partition;
use windrow_core::types::{Lsn, PartitionId, UnixMillis};

use super::read_only::{RefreshError, added_segments, grow_to, read_up_to};
use super::report::OpenReport;
use super::{
    OpenConfig, OpenError, OpenPartition, Recovering, begin, check_alone, check_start, distrust_segments, open_dir,
    repair,
};
use crate::control::{ControlFollower, ControlWriter, FutexWord, Moment, PlaceLock, Progress};
use crate::data_dir::DataDir;
use crate::files::FileError;
use crate::fill::FillMode;
use crate::partition_dir::{PartitionDir, SegmentFile};
use crate::segment::{MappedSegment, SegmentView};

/// What a follower needs beside the partition, which shows what has been followed.
pub struct Follower {
    dir: PartitionDir,
    control: ControlFollower,
    place: Option<PlaceLock>,
}

/// A partition opened to follow its writer.
#[non_exhaustive]
pub struct OpenFollower {
    /// The partition, to be read only.
    pub partition: Partition<MappedSegment>,
    /// What moves it on.
    pub follower: Follower,
    /// What opening found.
    pub report: OpenReport,
}

/// What is left of a follower that has taken its partition over.
#[non_exhaustive]
pub struct TakenOver {
    /// Its files, for the jobs of a [`BackgroundClient`](crate::BackgroundClient).
    pub dir: Arc<PartitionDir>,
    /// Where readers of the same machine learn how far it has grown.
    pub control: ControlWriter,
    /// What was found and done.
    pub report: OpenReport,
}

/// Opens a partition to follow its writer. What is shown is what the writer, or the last one, has committed.
///
/// # Errors
/// [`OpenError`], as for reading; [`OpenError::Control`] where no writer has ever been there.
pub fn open_follower(data_dir: &DataDir, id: PartitionId, config: &OpenConfig) -> Result<OpenFollower, OpenError> {
    let core_config = config.check()?;
    let (dir, superblock) = open_dir(data_dir, id, false)?;
    check_alone(&dir, &superblock)?;
    let control = ControlFollower::open(dir.path(), id)?;
    let (partition, report) = read_up_to(&dir, superblock, core_config, control.committed())?;
    Ok(OpenFollower { partition, follower: Follower { dir, control, place: None }, report })
}

impl Follower {
    /// Follows the writer: verifies what it has committed since, in place, and adds it to the index of `partition`,
    /// which was opened with this. Returns the moment of the newest commit where there was anything new.
    ///
    /// Costs two loads where there was not.
    ///
    /// # Errors
    /// [`RefreshError`]; the partition then shows what came before.
    #[inline]
    pub fn refresh(&self, partition: &mut Partition<MappedSegment>) -> Result<Option<Moment>, RefreshError> {
        let moment = self.control.newest_commit();
        let limit = self.control.committed();
        if limit <= partition.committed() {
            return Ok(None);
        }
        self.follow(partition, limit)?;
        Ok(Some(moment))
    }

    fn follow(&self, partition: &mut Partition<MappedSegment>, limit: Lsn) -> Result<(), RefreshError> {
        self.control.check().map_err(RefreshError::Control)?;
        let added = added_segments(&self.dir, partition, limit)?;
        let mut grow = |base: Lsn, memory: &mut MappedSegment| grow_to(limit, base, memory);
        partition.follow(limit, &mut grow, added).map_err(RefreshError::Diverged)?;
        if let Some(place) = &self.place {
            self.control.report(place.place(), partition.committed());
        }
        Ok(())
    }

    /// Prepares to sleep until there is more than `partition` shows. `None`: there is more already. Otherwise the
    /// caller sleeps while the word of [`futex`](Self::futex) has this value, and then looks again.
    #[must_use]
    pub fn prepare_sleep(&self, partition: &Partition<MappedSegment>) -> Option<u32> {
        self.control.prepare_sleep(partition.committed())
    }

    /// What to sleep on: a shared futex.
    #[must_use]
    pub fn futex(&self) -> FutexWord {
        self.control.futex()
    }

    /// Tells the writer that this process follows, and at which port it serves clients. Returns whether there was a
    /// place left to say it in; it follows in any case.
    ///
    /// # Errors
    /// What the system says.
    pub fn attach(&mut self, port: u16, partition: &Partition<MappedSegment>) -> Result<bool, FileError> {
        self.place = self.control.take_place()?;
        if let Some(place) = &self.place {
            self.control.attach(place.place(), port, partition.committed());
        }
        Ok(self.place.is_some())
    }

    /// What the writer says of itself.
    #[must_use]
    pub fn progress(&self) -> Progress {
        self.control.progress()
    }

    /// The process id of the writer.
    #[must_use]
    pub fn writer_pid(&self) -> u32 {
        self.control.writer_pid()
    }

    /// Takes the log over. `data_dir` is locked by this process: the writer is gone.
    ///
    /// Takes a few flushes; the log that was followed is not read again. After an error, `partition` is empty.
    ///
    /// # Errors
    /// [`OpenError`], as for opening. What was flushed before is untouched in every case.
    ///
    /// # Panics
    /// If `data_dir` is not locked by this process: that is a bug of the caller.
    pub fn take_over(
        &self,
        partition: &mut Partition<MappedSegment>,
        data_dir: &DataDir,
        config: &OpenConfig,
        now: UnixMillis,
    ) -> Result<TakenOver, OpenError> {
        assert!(data_dir.is_writable(), "the data directory is locked before a log is taken over");
        let core_config = config.check()?;
        let (dir, superblock) = open_dir(data_dir, self.dir.partition(), true)?;
        check_alone(&dir, &superblock)?;
        if superblock.hash_seed != partition.superblock().hash_seed {
            return Err(OpenError::Replaced { path: dir.path().to_path_buf() });
        }
        let dir = Arc::new(dir);
        let listing = dir.list()?;
        check_start(&dir, &superblock, &listing.segments)?;
        dir.remove(listing.temporary.iter().cloned())?;
        // Whatever the writer published is a lower bound, and so is what was followed.
        let witnessed = self.control.progress().durable;
        let durable = witnessed.max(partition.committed());
        // The descriptors of the follower are older than the failure of a flush, so that it is reported to them.
        let last = partition.log().segments().next_back();
        if let Some(last) = last {
            last.memory().share().sync_data().map_err(|error| OpenError::Flush(error.into()))?;
        }
        let dropped = distrust_segments(&dir, &superblock, durable, &listing.segments)?;
        let open = last.filter(|last| !last.is_sealed()).map(LogSegment::base);
        let behind = last.map_or(Lsn::ZERO, |last| last.base().plus(last.segment_len()));
        let later = listing.segments.iter().filter(|segment| segment.base >= behind);
        let (later, empty): (Vec<&SegmentFile>, Vec<_>) = later.partition(|segment| segment.len > 0);
        let mut views = BTreeMap::new();
        let mut tail = None;
        if let Some(base) = open {
            let found = listing.segments.iter().find(|segment| segment.base == base);
            let found = found.ok_or_else(|| OpenError::Replaced { path: dir.path().to_path_buf() })?;
            let memory = map(&dir, found, &mut views)?;
            // Then its own pages are stored to, which must not wait for them.
            if config.fill != FillMode::Direct {
                memory.populate_all();
            }
            tail = Some(memory);
        }
        let behind = later.into_iter().map(|segment| Ok((segment.base, map(&dir, segment, &mut views)?)));
        let behind = behind.collect::<Result<Vec<_>, OpenError>>()?;
        if tail.as_ref().is_some_and(|tail| last.is_none_or(|last| tail.segment_len() != last.segment_len())) {
            return Err(OpenError::Replaced { path: dir.path().to_path_buf() });
        }
        let mut recovered = partition
            .take_over(superblock, core_config, tail, behind, witnessed)
            .map_err(|source| OpenError::Recovery { path: dir.path().to_path_buf(), source })?;
        let mut report = OpenReport::new(&recovered, &listing, dropped);
        repair(&dir, &superblock, &mut recovered, &mut views, empty, &mut report)?;
        let recovering = Recovering { dir, recovered, views, was_cut: superblock.cut.is_some(), report };
        let OpenPartition { partition: written, dir, control, report, .. } = begin(recovering, config.fill, now)?;
        *partition = written;
        Ok(TakenOver { dir, control, report })
    }
}

/// Refuses a log that came from a leader elsewhere.
/// Maps a segment as a whole, to be written.
fn map(
    dir: &PartitionDir,
    segment: &SegmentFile,
    views: &mut BTreeMap<Lsn, SegmentView>,
) -> Result<MappedSegment, OpenError> {
    let memory = dir.map_segment(*segment, segment.len)?;
    views.insert(segment.base, memory.share());
    Ok(memory)
}

impl fmt::Debug for Follower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Follower").field("dir", &self.dir).field("control", &self.control).finish()
    }
}

impl fmt::Debug for OpenFollower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenFollower").field("follower", &self.follower).finish_non_exhaustive()
    }
}

impl fmt::Debug for TakenOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TakenOver").field("report", &self.report).finish_non_exhaustive()
    }
}
