//! A partition opened for reading only, also while another process writes it.
//!
//! Invariant: only what the writer has committed is ever looked at, because nothing above that is safe from change.
//! Where a writer lives, its control page says how far that is. Where none does, everything that recovery believes is
//! read, under a shared lock that keeps writers out meanwhile: a writer that comes later recovers the same log. Only a
//! replica in a set of nodes may hold what never came to be committed; of that as much is read as its superblock says.

use std::fmt;

use thiserror::Error;
use windrow_core::log::SegmentMemory;
use windrow_core::partition::{Partition, PartitionConfig, RecoveredPartition};
use windrow_core::recovery::RecoveryError;
use windrow_core::superblock::Superblock;
use windrow_core::types::{Lsn, PartitionId};

use super::report::OpenReport;
use super::{OpenConfig, OpenError, check_start, open_dir};
use crate::control::{ControlError, ControlReader};
use crate::data_dir::{DataDir, Writer};
use crate::files::FileError;
use crate::partition_dir::PartitionDir;
use crate::segment::{MappedSegment, SegmentView};

/// A partition open for reading only. Everything that it shows is durable.
pub struct ReadOnlyPartition {
    partition: Partition<MappedSegment>,
    dir: PartitionDir,
    control: Option<ControlReader>,
    report: OpenReport,
}

/// Why a read-only partition cannot follow its writer. What it shows stays as it was.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum RefreshError {
    /// The log went on otherwise than this reader saw it: open the partition anew.
    #[error("the log has changed below what was read already: open the partition anew: {0}")]
    Diverged(#[source] RecoveryError),
    /// The control page cannot be used.
    #[error(transparent)]
    Control(ControlError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Opens a partition for reading only. Writes nothing, and works while another process writes.
///
/// # Errors
/// [`OpenError`], as for writing.
pub fn open_read_only(
    data_dir: &DataDir,
    id: PartitionId,
    config: &OpenConfig,
) -> Result<ReadOnlyPartition, OpenError> {
    let core_config = config.check()?;
    // Held until recovery is done, if there is no writer.
    let writer = Writer::look(data_dir.path())?;
    // Read before the watermark, so that it says nothing of what comes later.
    let (dir, superblock) = open_dir(data_dir, id, false)?;
    let control = open_control(&dir)?;
    let limit = match &writer {
        // What is durable may still be cut, if there are other replicas.
        Writer::Alive => control.as_ref().map_or(Lsn::ZERO, |control| control.progress().committed),
        Writer::None { .. } if superblock.is_in_set() => superblock.committed,
        Writer::None { .. } => Lsn::new(u64::MAX),
    };
    let (partition, report) = read_up_to(&dir, superblock, core_config, limit)?;
    drop(writer);
    Ok(ReadOnlyPartition { partition, dir, control, report })
}

/// Walks the log up to `limit`, without a change to anything.
pub(super) fn read_up_to(
    dir: &PartitionDir,
    superblock: Superblock,
    config: PartitionConfig,
    limit: Lsn,
) -> Result<(Partition<MappedSegment>, OpenReport), OpenError> {
    // What is flushed above the limit is not looked at, so it is not missed either.
    let superblock = Superblock { durable: superblock.durable.min(limit), ..superblock };
    let listing = dir.list()?;
    check_start(dir, &superblock, &listing.segments)?;
    let mut memories = Vec::with_capacity(listing.segments.len());
    let mut views = Vec::with_capacity(listing.segments.len());
    for segment in &listing.segments {
        if segment.len > 0 && segment.base < limit {
            let memory = dir.map_segment(*segment, limit.since(segment.base))?;
            memory.will_scan();
            views.push(memory.share());
            memories.push((segment.base, memory));
        }
    }
    let recovered = RecoveredPartition::new(superblock, config, memories)
        .map_err(|source| OpenError::Recovery { path: dir.path().to_path_buf(), source })?;
    let mut report = OpenReport::new(&recovered, &listing, Vec::new());
    report.epoch = superblock.epoch;
    views.iter().for_each(SegmentView::scanned);
    Ok((recovered.into_read_only(), report))
}

/// `None` where no writer has made the page yet.
fn open_control(dir: &PartitionDir) -> Result<Option<ControlReader>, ControlError> {
    match ControlReader::open(dir.path(), dir.partition()) {
        Ok(control) => Ok(Some(control)),
        Err(ControlError::File(error)) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl fmt::Debug for ReadOnlyPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadOnlyPartition").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl ReadOnlyPartition {
    /// The partition. Only its reading methods are of use.
    #[must_use]
    pub const fn partition(&self) -> &Partition<MappedSegment> {
        &self.partition
    }

    /// As [`Partition::doubt_beyond`].
    pub const fn doubt_beyond(&mut self, hot_len: u64) {
        self.partition.doubt_beyond(hot_len);
    }

    /// What opening found.
    #[must_use]
    pub const fn report(&self) -> &OpenReport {
        &self.report
    }

    /// Follows the writer: verifies what it has committed since, in place, and adds it to the index.
    ///
    /// Returns where the log ends now for this reader. Costs one load where nothing is new.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub fn refresh(&mut self) -> Result<Lsn, RefreshError> {
        if self.control.is_none() {
            self.control = open_control(&self.dir).map_err(RefreshError::Control)?;
        }
        let end = self.partition.committed();
        let Some(control) = &self.control else { return Ok(end) };
        let limit = control.progress().committed;
        if limit <= end {
            return Ok(end);
        }
        let added = added_segments(&self.dir, &self.partition, limit)?;
        let mut grow = |base: Lsn, memory: &mut MappedSegment| grow_to(limit, base, memory);
        self.partition.follow(limit, &mut grow, added).map_err(RefreshError::Diverged)
    }
}

/// Maps the segments that the log has got up to `limit`, which lies behind its end.
///
/// Looks for no file unless the log goes on behind its last segment, so that following it costs nothing else.
pub(super) fn added_segments(
    dir: &PartitionDir,
    partition: &Partition<MappedSegment>,
    limit: Lsn,
) -> Result<Vec<(Lsn, MappedSegment)>, FileError> {
    let last = partition.log().segments().next_back();
    let mut next = last.map_or(partition.log().start(), |last| last.base().plus(last.segment_len()));
    let mut added = Vec::new();
    while next < limit {
        let Some(segment) = dir.find(next)?.filter(|segment| segment.len > 0) else { break };
        added.push((next, dir.map_segment(segment, limit.since(next))?));
        next = next.plus(segment.len);
    }
    Ok(added)
}

/// Lets everything below `limit` be looked at.
pub(super) fn grow_to(limit: Lsn, base: Lsn, memory: &mut MappedSegment) {
    let len = memory.segment_len().min(limit.since(base));
    memory.set_visible(usize::try_from(len).unwrap_or(usize::MAX));
}
