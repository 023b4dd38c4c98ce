//! Opening a partition as one of several replicas.
//!
//! As for writing, but no epoch begins and nothing is appended: who leads, and in which epoch, is decided afterwards.

use std::fmt;
use std::sync::Arc;

use windrow_core::partition::Partition;
use windrow_core::replication::{LogState, Promised, ReplicaId};
use windrow_core::types::PartitionId;

use super::{OpenConfig, OpenError, OpenReport, Recovering, recover, stage};
use crate::control::{ControlWriter, Progress};
use crate::data_dir::DataDir;
use crate::flush::FlushTask;
use crate::partition_dir::PartitionDir;
use crate::segment::{MappedSegment, SegmentView};

/// A partition open as a replica, and what the protocol has to know of it.
#[non_exhaustive]
pub struct OpenReplica {
    /// The partition, which follows. Everything in it is flushed.
    pub partition: Partition<MappedSegment>,
    /// Its files, for the jobs of a [`BackgroundClient`](crate::BackgroundClient).
    pub dir: Arc<PartitionDir>,
    /// Where readers of the same machine learn how far it is committed.
    pub control: ControlWriter,
    /// What opening found and did.
    pub report: OpenReport,
    /// Which replica this is.
    pub replica: ReplicaId,
    /// What it has promised.
    pub promised: Promised,
    /// Its log.
    pub log: LogState,
}

impl fmt::Debug for OpenReplica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenReplica").field("dir", &self.dir).field("report", &self.report).finish_non_exhaustive()
    }
}

/// Opens a partition of a locked data directory as one of several replicas.
///
/// # Errors
/// [`OpenError`]. What was flushed before is untouched in every case.
///
/// # Panics
/// If `data_dir` is not locked by this process: that is a bug of the caller.
pub fn open_replica(data_dir: &DataDir, id: PartitionId, config: &OpenConfig) -> Result<OpenReplica, OpenError> {
    let Recovering { dir, recovered, views, mut report, .. } = recover(data_dir, id, config, |_, _| Ok(()))?;
    let superblock = recovered.replica_superblock();
    dir.write_superblock(&superblock)?;
    report.epoch = superblock.epoch;
    views.values().for_each(SegmentView::scanned);
    let (mut partition, mut log) = recovered.into_replica(superblock);
    stage(&views, config.fill)?;
    if let Some(request) = partition.poll_flush() {
        let ticket = FlushTask::new(&partition, &request).run().map_err(OpenError::Flush)?;
        partition.handle_flushed(ticket);
    }
    log.durable = partition.durable();
    // Records that came from a leader bear no witness to what is flushed here.
    partition.want_superblock();
    let control = ControlWriter::open(dir.path(), id)?;
    control.publish(&Progress::of(&partition));
    let (replica, promised) = (superblock.replica, superblock.promise());
    Ok(OpenReplica { partition, dir, control, report, replica, promised, log })
}

#[cfg(test)]
mod tests;
