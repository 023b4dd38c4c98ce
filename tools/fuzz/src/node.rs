//! A partition over plain memory, driven without a disk.

use std::collections::BTreeMap;

use windrow_core::{
    log::VecMemory,
    partition::{Action, Partition, PartitionConfig, RecoveredPartition},
    replication::ReplicaId,
    superblock::Superblock,
    types::{ClusterId, HashSeed, LogKey, Lsn, PartitionId, UnixMillis},
};

pub(crate) const SEGMENT_LEN: u64 = 4 << 10;
pub(crate) const CONFIG: PartitionConfig = PartitionConfig { segment_len: SEGMENT_LEN, segments_ahead: 1 };

/// That of every log here.
pub(crate) const KEY: LogKey = LogKey::new([9; 8]);

pub(crate) fn superblock() -> Superblock {
    Superblock::first(ClusterId([1; 16]), PartitionId::new(0), 1, ReplicaId::new(1), HashSeed([2; 16]), KEY)
}

pub(crate) fn now() -> UnixMillis {
    UnixMillis::new(1_000_000_000_000).expect("it is in range")
}

pub(crate) struct Node {
    pub(crate) partition: Partition<VecMemory>,
    pub(crate) superblock: Superblock,
    /// The bases of all segments that were ever prepared.
    pub(crate) bases: BTreeMap<Lsn, usize>,
}

impl Node {
    pub(crate) fn new(config: PartitionConfig) -> Self {
        let recovered = RecoveredPartition::new(superblock(), config, Vec::new()).expect("nothing to recover");
        Self::open(recovered)
    }

    pub(crate) fn open(recovered: RecoveredPartition<VecMemory>) -> Self {
        let superblock = recovered.next_superblock().expect("epochs are left");
        let partition = recovered.into_writable(superblock);
        let mut node = Self { partition, superblock, bases: BTreeMap::new() };
        node.act();
        node.partition.start_epoch(now()).expect("a segment is ready");
        node
    }

    pub(crate) fn act(&mut self) {
        while let Some(action) = self.partition.poll_action() {
            match action {
                Action::Prepare { base, len } => {
                    let len = usize::try_from(len).expect("a segment fits into memory");
                    self.bases.insert(base, len);
                    self.partition.handle_prepared(base, VecMemory::zeroed(len));
                }
                Action::WriteSuperblock(superblock) => {
                    self.superblock = superblock;
                    self.partition.handle_superblock_written(superblock.generation);
                }
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        while let Some(request) = self.partition.poll_flush() {
            self.partition.handle_flushed(request.ticket);
        }
    }
}
