//! What a store holds and has done.

use std::sync::Arc;

use windrow_core::partition::PartitionStats;

use crate::error::ReadError;
use crate::shard::Shard;

/// What a store holds and has done since it was opened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// By partition.
    pub partitions: Vec<ShardStats>,
}

/// What one partition holds and has done since it was opened.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ShardStats {
    /// Keys, bytes, watermarks.
    pub partition: PartitionStats,
    /// Write calls, conditional ones included that did not write.
    pub writes: u64,
    /// Flushes; fewer than writes where threads shared them.
    pub flushes: u64,
}

impl Stats {
    pub(crate) fn gather(shards: &[Arc<Shard>]) -> Result<Self, ReadError> {
        let each = shards.iter().map(|shard| {
            let partition = shard.read(|partition| (partition.stats(), windrow_core::types::Lsn::ZERO))?;
            let (writes, flushes) = shard.counts();
            Ok(ShardStats { partition, writes, flushes })
        });
        Ok(Self { partitions: each.collect::<Result<_, ReadError>>()? })
    }

    /// Keys of all partitions; see [`Windrow::len`](crate::Windrow::len).
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.partitions.iter().map(|shard| shard.partition.keys).sum()
    }

    /// Bytes on disk of all partitions, prepared segments included. What is superseded or deleted counts: nothing
    /// frees log segments yet.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.partitions.iter().map(|shard| shard.partition.log_bytes).sum()
    }
}
