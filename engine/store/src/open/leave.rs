//! Taking a replica out of its set, so that its directory can be served by itself.

use windrow_core::replication::ReplicaId;
use windrow_core::superblock::Superblock;
use windrow_core::types::PartitionId;

use super::{OpenError, open_dir};
use crate::data_dir::DataDir;

/// Takes all partitions of a locked data directory out of the set of nodes that they belong to, for good. Returns the
/// number that this copy has from now on: the set knows the old one, whose promises and acknowledgements it may rely on,
/// and must never hear of this copy under it again.
///
/// What it holds is all that it has from then on: records that were not committed become its own, and what only the other
/// replicas hold is not there. A crash in between leaves some partitions in the set; call it again.
///
/// # Errors
/// [`OpenError::NotInASet`] where no partition is in one; otherwise what the files say.
///
/// # Panics
/// If `data_dir` is not locked by this process: that is a bug of the caller.
pub fn leave_set(data_dir: &DataDir) -> Result<ReplicaId, OpenError> {
    assert!(data_dir.is_writable(), "the data directory is locked before its superblocks are written");
    let replica = data_dir.draw_replica()?;
    let mut partitions = Vec::new();
    for number in 0..data_dir.identity().partitions {
        partitions.push(open_dir(data_dir, PartitionId::new(number), true)?);
    }
    if partitions.iter().all(|(_, superblock)| !superblock.is_in_set()) {
        return Err(OpenError::NotInASet { path: data_dir.path().to_path_buf() });
    }
    for (dir, superblock) in partitions {
        let newest = superblock.promised.max(superblock.epoch);
        dir.write_both_slots(&Superblock {
            generation: superblock.generation + 1,
            replica,
            in_set: false,
            // No record bears it: those that are there may have come from a leader.
            own_epoch: newest.next().ok_or(OpenError::EpochsUsedUp)?,
            floor: None,
            ..superblock
        })?;
    }
    Ok(replica)
}
