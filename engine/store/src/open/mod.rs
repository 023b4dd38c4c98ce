//! Opening a partition: from its directory to something that can be read and written.
//!
//! Steps, in their order, each of which a crash may follow without harm because the next opening does the same:
//! files that were still being made are removed; what may be in the cache but not on the disk is dealt with (see
//! [`cache`](crate::cache)); the log is walked and its index built; a torn tail is zeroed and flushed, and segments
//! behind it are removed; the superblock of a new epoch is written; the first segment is made if there is none; the
//! epoch's first record is appended and everything is flushed. Only then does anybody see the partition.

mod error;
mod follower;
mod leave;
mod read_only;
mod replica;
mod report;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use windrow_core::codec::SegmentHeader;
use windrow_core::log::SegmentMemory;
use windrow_core::partition::{Action, Partition, PartitionConfig, RecoveredPartition};
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::{SEGMENT_HEADER_LEN, SEGMENT_LEN_ALIGN, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN};
use windrow_core::types::{Lsn, PartitionId, UnixMillis};

pub use error::OpenError;
pub use follower::{Follower, OpenFollower, TakenOver, open_follower};
pub use leave::leave_set;
pub use read_only::{ReadOnlyPartition, RefreshError, open_read_only};
pub use replica::{OpenReplica, open_replica};
pub use report::OpenReport;

use crate::cache::{CacheState, distrust};
use crate::control::{ControlWriter, Progress};
use crate::data_dir::DataDir;
use crate::files::{At, open};
use crate::fill::FillMode;
use crate::flush::FlushTask;
use crate::partition_dir::{PartitionDir, SegmentFile};
use crate::segment::{MappedSegment, PrepareError, SegmentView, segment_file_name};

/// How a partition goes on once it is open. Nothing of it is written down.
#[derive(Clone, Copy, Debug)]
pub struct OpenConfig {
    /// Bytes of each new segment.
    pub segment_len: u64,
    /// How many segments are kept prepared ahead of the one in use; at least one.
    pub segments_ahead: usize,
    /// How new segments are filled.
    pub fill: FillMode,
}

impl OpenConfig {
    fn check(&self) -> Result<PartitionConfig, OpenError> {
        let Self { segment_len, segments_ahead, .. } = *self;
        let in_range = (SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX).contains(&segment_len);
        if !in_range || !segment_len.is_multiple_of(SEGMENT_LEN_ALIGN) {
            return Err(OpenError::SegmentLen { found: segment_len });
        }
        if segments_ahead == 0 {
            return Err(OpenError::SegmentsAhead);
        }
        Ok(PartitionConfig { segment_len, segments_ahead })
    }
}

/// A partition open for writing.
#[non_exhaustive]
pub struct OpenPartition {
    /// The partition, ready for appends; everything in it is durable.
    pub partition: Partition<MappedSegment>,
    /// Its files, for the jobs of a [`BackgroundClient`](crate::BackgroundClient).
    pub dir: Arc<PartitionDir>,
    /// Where readers of the same machine learn how far it has grown.
    pub control: ControlWriter,
    /// What opening found and did.
    pub report: OpenReport,
}

impl fmt::Debug for OpenPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenPartition").field("dir", &self.dir).field("report", &self.report).finish_non_exhaustive()
    }
}

/// Opens a partition of a locked data directory for writing, in a new epoch.
///
/// Where there is no space for a segment, the partition opens all the same, to be read; appends then fail until a
/// tick's attempt to prepare one succeeds.
///
/// # Errors
/// [`OpenError`]. What was flushed before is untouched in every case.
///
/// # Panics
/// If `data_dir` is not locked by this process: that is a bug of the caller.
pub fn open_partition(
    data_dir: &DataDir,
    id: PartitionId,
    config: &OpenConfig,
    now: UnixMillis,
) -> Result<OpenPartition, OpenError> {
    let recovering = recover(data_dir, id, config, check_alone)?;
    begin(recovering, config.fill, now)
}

/// A replica in a set is not anybody's own: whoever writes it alone confirms what the others never hear of, and whoever
/// stands by it does not know what is committed.
fn check_alone(dir: &PartitionDir, superblock: &Superblock) -> Result<(), OpenError> {
    if superblock.is_in_set() { Err(OpenError::InASet { path: dir.path().to_path_buf() }) } else { Ok(()) }
}

/// Begins an epoch in a log that has been walked and mended.
fn begin(recovering: Recovering, fill: FillMode, now: UnixMillis) -> Result<OpenPartition, OpenError> {
    let Recovering { dir, recovered, views, was_cut, mut report } = recovering;
    let superblock = recovered.next_superblock().ok_or(OpenError::EpochsUsedUp)?;
    if was_cut {
        // What is confirmed from now on stands behind the cut that the older slot would have carried out.
        dir.write_both_slots(&superblock)?;
    } else {
        dir.write_superblock(&superblock)?;
    }
    report.epoch = superblock.epoch;
    views.values().for_each(SegmentView::scanned);
    let mut partition = recovered.into_writable(superblock);
    stage(&views, fill)?;
    start(&mut partition, &dir, fill, now, &mut report)?;
    let control = ControlWriter::open(dir.path(), dir.partition())?;
    control.publish(&Progress::of(&partition));
    Ok(OpenPartition { partition, dir, control, report })
}

/// Has what is appended collected in memory, also in the segments that are there already.
fn stage(views: &BTreeMap<Lsn, SegmentView>, fill: FillMode) -> Result<(), OpenError> {
    if fill == FillMode::Direct {
        views.values().try_for_each(|view| view.stage_rest(None))?;
    }
    Ok(())
}

/// A partition whose log has been walked and mended, and that nobody writes yet.
struct Recovering {
    dir: Arc<PartitionDir>,
    recovered: RecoveredPartition<MappedSegment>,
    views: BTreeMap<Lsn, SegmentView>,
    /// The superblock said that the log was being cut, which is done now.
    was_cut: bool,
    report: OpenReport,
}

/// Walks the log and makes what it does not believe unreadable, if the superblock passes `check`.
fn recover(
    data_dir: &DataDir,
    id: PartitionId,
    config: &OpenConfig,
    check: impl FnOnce(&PartitionDir, &Superblock) -> Result<(), OpenError>,
) -> Result<Recovering, OpenError> {
    assert!(data_dir.is_writable(), "the data directory is locked before a partition is opened for writing");
    let core_config = config.check()?;
    let (dir, superblock) = open_dir(data_dir, id, true)?;
    check(&dir, &superblock)?;
    let dir = Arc::new(dir);
    let listing = dir.list()?;
    check_start(&dir, &superblock, &listing.segments)?;
    dir.remove(listing.temporary.iter().cloned())?;
    let dropped = distrust_segments(&dir, &superblock, Lsn::ZERO, &listing.segments)?;
    let (segments, empty): (Vec<&SegmentFile>, Vec<_>) = listing.segments.iter().partition(|segment| segment.len > 0);
    let mut views = BTreeMap::new();
    let mut memories = Vec::with_capacity(segments.len());
    for segment in segments {
        let memory = dir.map_segment(*segment, segment.len)?;
        memory.will_scan();
        views.insert(segment.base, memory.share());
        memories.push((segment.base, memory));
    }
    let mut recovered = RecoveredPartition::new(superblock, core_config, memories)
        .map_err(|source| OpenError::Recovery { path: dir.path().to_path_buf(), source })?;
    let mut report = OpenReport::new(&recovered, &listing, dropped);
    repair(&dir, &superblock, &mut recovered, &mut views, empty, &mut report)?;
    Ok(Recovering { dir, recovered, views, was_cut: superblock.cut.is_some(), report })
}

/// Opens the partition's directory and checks that it is the one that it should be.
fn open_dir(data_dir: &DataDir, id: PartitionId, writable: bool) -> Result<(PartitionDir, Superblock), OpenError> {
    let identity = data_dir.identity();
    if id.get() >= identity.partitions {
        return Err(OpenError::NoSuchPartition { partition: id, count: identity.partitions });
    }
    let path = data_dir.partition_path(id);
    if !path.try_exists().at("look at", &path)? {
        return Err(OpenError::PartitionMissing { path });
    }
    let dir = PartitionDir::open(&path, id, writable)?;
    let superblock = dir.read_superblock()?;
    let found = (superblock.cluster, superblock.partition, superblock.partition_count);
    if found != (identity.cluster, id, identity.partitions) {
        return Err(OpenError::Foreign { path, cluster: found.0, partition: found.1, partition_count: found.2 });
    }
    Ok((dir, superblock))
}

/// A log starts where its superblock says; where the first segment is missing, data is. While a log is being begun anew,
/// there are still those of the old one.
fn check_start(dir: &PartitionDir, superblock: &Superblock, segments: &[SegmentFile]) -> Result<(), OpenError> {
    match segments.first() {
        Some(segment) if segment.base != superblock.start && superblock.cut != Some(superblock.start) => {
            let (start, first) = (superblock.start, segment.base);
            Err(OpenError::StartMissing { path: dir.path().to_path_buf(), start, first })
        }
        _ => Ok(()),
    }
}

/// Compares cache and disk where the log is not known to have been flushed, as it is below `witnessed`. Returns the
/// segments that differed.
fn distrust_segments(
    dir: &PartitionDir,
    superblock: &Superblock,
    witnessed: Lsn,
    segments: &[SegmentFile],
) -> Result<Vec<Lsn>, OpenError> {
    let mut durable = superblock.durable.max(witnessed);
    let mut suspects: Vec<(SegmentFile, File)> = Vec::new();
    for segment in segments.iter().rev() {
        let path = dir.path().join(segment_file_name(segment.base));
        let file = open(&path, true)?;
        let mut head = [0; SEGMENT_HEADER_LEN];
        let begun = segment.len >= head.len() as u64 && {
            file.read_exact_at(&mut head, 0).at("read", &path)?;
            head != [0; SEGMENT_HEADER_LEN]
        };
        if !begun {
            continue;
        }
        suspects.push((*segment, file));
        // What a header says of this replica's own watermark was true when it was written, wherever it is now. What
        // another leader wrote is about that one's disk.
        if let Ok(header) = SegmentHeader::decode(&head)
            && superblock.is_own(header.epoch)
        {
            durable = durable.max(header.durable);
        }
        if segment.base <= durable {
            break;
        }
    }
    let mut dropped = Vec::new();
    for (segment, file) in suspects {
        let path = dir.path().join(segment_file_name(segment.base));
        let from = durable.get().saturating_sub(segment.base.get());
        match distrust(&file, &path, from)? {
            CacheState::Agrees | CacheState::Unknown => {}
            CacheState::Dropped => dropped.push(segment.base),
            CacheState::Stuck { offset } => return Err(OpenError::StaleCache { path, offset }),
        }
    }
    dropped.reverse();
    Ok(dropped)
}

/// Makes the cut durable. What is left in `views` is of the log, or prepared for it.
fn repair(
    dir: &PartitionDir,
    superblock: &Superblock,
    recovered: &mut RecoveredPartition<MappedSegment>,
    views: &mut BTreeMap<Lsn, SegmentView>,
    empty: Vec<&SegmentFile>,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    // Whoever was killed may have left the note of a cut in one slot only, or in the page cache: were it lost after the
    // log is cut, the older superblock would call the log damaged.
    if superblock.cut.is_some() {
        dir.write_superblock(superblock)?;
        dir.write_superblock(&Superblock { generation: superblock.generation + 1, ..*superblock })?;
    }
    let todo = recovered.repair();
    for base in &todo.flush {
        if let Some(view) = views.get(base) {
            view.sync_data().map_err(|error| OpenError::Flush(error.into()))?;
        }
    }
    if !todo.aside.is_empty() {
        dir.move_aside(superblock.generation, &todo.aside)?;
    }
    // A segment without a single byte holds nothing and would be in the way of a new one.
    let mut remove = todo.remove;
    for base in todo.aside.iter().chain(&remove) {
        views.remove(base);
    }
    remove.extend(empty.into_iter().map(|segment| segment.base));
    dir.remove(remove.iter().map(|base| segment_file_name(*base)))?;
    report.removed = remove;
    Ok(())
}

/// Makes room if there is none, starts the epoch, and flushes everything.
fn start(
    partition: &mut Partition<MappedSegment>,
    dir: &PartitionDir,
    fill: FillMode,
    now: UnixMillis,
    report: &mut OpenReport,
) -> Result<(), OpenError> {
    while let Err(error) = partition.start_epoch(now) {
        if !error.is_not_ready() {
            report.out_of_space = true;
            break;
        }
        let Some(Action::Prepare { base, len }) = partition.poll_action() else {
            unreachable!("a log that is not ready asks for its next segment first")
        };
        match dir.prepare(base, len, fill) {
            Ok(memory) => partition.handle_prepared(base, memory),
            Err(error @ PrepareError::NoSpace { .. }) => partition.handle_prepare_failed(base, error.failure()),
            Err(error) => return Err(OpenError::Prepare(error)),
        }
    }
    if let Some(request) = partition.poll_flush() {
        let ticket = FlushTask::new(partition, &request).run().map_err(OpenError::Flush)?;
        partition.handle_flushed(ticket);
    }
    // The first thing that the driver is asked for: from then on, a log that has lost all its segments is missed.
    partition.want_superblock();
    Ok(())
}

impl Progress {
    /// The watermarks of a partition.
    #[must_use]
    pub fn of<M: SegmentMemory>(partition: &Partition<M>) -> Self {
        Self {
            appended: partition.appended(),
            durable: partition.durable(),
            committed: partition.committed(),
            epoch: partition.superblock().epoch,
        }
    }
}

#[cfg(test)]
mod tests;
