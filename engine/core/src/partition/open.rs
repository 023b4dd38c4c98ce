//! Opening a partition: from its superblock and segments to something that can be read and written.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::sync::atomic::AtomicU64;

use super::Partition;
use super::expiries::Expiries;
use super::replay::Replay;
use crate::codec::OP_LEN;
use crate::log::{Log, LogConfig, SegmentMemory};
use crate::recovery::{Cut, Recovered, RecoveryError, Repair, SegmentInput, recover};
use crate::replication::LogState;
use crate::superblock::Superblock;
use crate::types::{Lsn, UnixMillis};

/// How a partition goes on from here; nothing of it is written down.
#[derive(Clone, Copy, Debug)]
pub struct PartitionConfig {
    /// Bytes of each new segment; see [`limits`](crate::types::limits) for the range.
    pub segment_len: u64,
    /// How many segments are kept prepared ahead of the one in use; at least one.
    pub segments_ahead: usize,
}

/// How the log was walked.
pub(super) enum Walked {
    /// From its start.
    Whole,
    /// From where a follower stood, who knew of these keys that expire.
    Further(Expiries),
}

/// A partition whose log has been walked, and whose tail has not been dealt with yet.
pub struct RecoveredPartition<M> {
    recovered: Recovered<M>,
    replay: Replay,
    superblock: Superblock,
    config: PartitionConfig,
    walked: Walked,
}

impl<M: SegmentMemory> RecoveredPartition<M> {
    /// Walks the log and builds the index. Reads only; `segments` in the order of their bases.
    ///
    /// # Errors
    /// [`RecoveryError`] where the log cannot be believed.
    pub fn new(
        superblock: Superblock,
        config: PartitionConfig,
        segments: Vec<SegmentInput<M>>,
    ) -> Result<Self, RecoveryError> {
        // No more than the log has room for, whatever the superblock says.
        let bytes: u64 = segments.iter().map(|(_, memory)| memory.segment_len()).sum();
        let keys = superblock.keys.min(bytes / OP_LEN as u64);
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        let mut replay = Replay::new(superblock.hash_seed, segments.iter().map(|(base, _)| *base), keys);
        let recovered = recover(&superblock, segments, &mut |record| replay.apply(record))?;
        replay.settle();
        let superblock = Superblock { log_key: recovered.log_key(), ..superblock };
        Ok(Self { recovered, replay, superblock, config, walked: Walked::Whole })
    }

    pub(super) fn go_on(
        recovered: Recovered<M>,
        replay: Replay,
        superblock: Superblock,
        config: PartitionConfig,
        walked: Walked,
    ) -> Self {
        let superblock = Superblock { log_key: recovered.log_key(), ..superblock };
        Self { recovered, replay, superblock, config, walked }
    }

    /// The tail that is not believed, if there is one.
    #[must_use]
    pub const fn cut(&self) -> Option<&Cut> {
        self.recovered.cut()
    }

    /// Where the log ends.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.recovered.end()
    }

    /// Everything below is known to have been flushed.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.recovered.durable()
    }

    /// Makes the tail unreadable, in memory; what is left to do on disk is returned, to be done before
    /// [`into_writable`](Self::into_writable).
    pub fn repair(&mut self) -> Repair {
        self.recovered.repair(self.config.segment_len)
    }

    /// The superblock that has to be durable before the partition is written: that of a new epoch. `None` after
    /// 4 294 967 295 epochs.
    #[must_use]
    pub fn next_superblock(&self) -> Option<Superblock> {
        let newest = self.superblock.epoch.max(self.recovered.epoch()).max(self.superblock.promised);
        let epoch = newest.next()?;
        Some(Superblock {
            generation: self.superblock.generation + 1,
            epoch,
            promised: epoch,
            own_epoch: epoch,
            in_set: false,
            cut: None,
            durable: self.recovered.durable().min(self.recovered.end()),
            committed: self.recovered.durable().min(self.recovered.end()),
            ..self.superblock
        })
    }

    /// The partition, to be written in the epoch of `superblock`, which is durable.
    ///
    /// # Panics
    /// If the tail was not repaired, or the superblock is not [`next_superblock`](Self::next_superblock): bugs of
    /// the driver.
    #[must_use]
    pub fn into_writable(self, superblock: Superblock) -> Partition<M> {
        assert!(self.next_superblock() == Some(superblock), "a partition is written in an epoch of its own");
        let (start, time) = self.recovered.into_start(superblock.epoch);
        let log = Log::new(log_config(&superblock, self.config), start);
        assemble(log, self.replay, superblock, time, self.walked)
    }

    /// The superblock that has to be durable before the partition is a replica: a cut that was under way is done, and
    /// from now on nothing in the log counts as written here until it is.
    #[must_use]
    pub fn replica_superblock(&self) -> Superblock {
        Superblock {
            generation: self.superblock.generation + 1,
            // What is in the log was promised before; only a partition that was alone may not say so.
            promised: self.superblock.promised.max(self.recovered.epoch()),
            epoch: self.superblock.epoch.max(self.recovered.epoch()),
            own_epoch: Superblock::OTHERS_ONLY,
            in_set: true,
            cut: None,
            durable: self.recovered.durable().min(self.recovered.end()),
            committed: self.superblock.committed.min(self.recovered.end()),
            ..self.superblock
        }
    }

    /// The partition as one of several replicas, which follows, and what the protocol has to know of its log. Nothing is
    /// appended. `superblock` is durable.
    ///
    /// # Panics
    /// If the tail was not repaired, or the superblock is not [`replica_superblock`](Self::replica_superblock): bugs of
    /// the driver.
    #[must_use]
    pub fn into_replica(self, superblock: Superblock) -> (Partition<M>, LogState) {
        assert!(self.replica_superblock() == superblock, "a replica does not forget what it promised");
        let (start, time, mut state) = self.recovered.into_replica();
        state.committed = superblock.committed.min(state.durable).max(state.start);
        let log = Log::new(log_config(&superblock, self.config), start);
        let mut partition = assemble(log, self.replay, superblock, time, self.walked);
        partition.become_replica(state.committed);
        (partition, state)
    }

    /// The partition, to be read only: everything recovered counts as committed.
    #[must_use]
    pub fn into_read_only(self) -> Partition<M> {
        let (start, time) = self.recovered.into_read_only();
        let log = Log::new(log_config(&self.superblock, self.config), start);
        // A writer that was cutting its log has told what is left of it.
        let mut partition = assemble(log, self.replay, Superblock { cut: None, ..self.superblock }, time, self.walked);
        partition.is_read_only = true;
        partition
    }
}

const fn log_config(superblock: &Superblock, config: PartitionConfig) -> LogConfig {
    LogConfig {
        cluster: superblock.cluster,
        partition: superblock.partition,
        key: superblock.log_key,
        segment_len: config.segment_len,
        segments_ahead: config.segments_ahead,
    }
}

fn assemble<M: SegmentMemory>(
    mut log: Log<M>,
    replay: Replay,
    superblock: Superblock,
    time: UnixMillis,
    walked: Walked,
) -> Partition<M> {
    for &(base, bytes) in &replay.live {
        if let Some(segment) = log.segment_of_mut(base) {
            segment.set_live(bytes);
        }
    }
    let has_expiries = replay.has_expiries;
    let (durable, end) = (log.durable(), log.appended());
    let mut partition = Partition {
        log,
        index: replay.index,
        seed: superblock.hash_seed,
        superblock,
        superblock_in_flight: None,
        superblock_wanted: false,
        both_slots_from: 0,
        committed: durable,
        replication: None,
        clock: AtomicU64::new(time.get()),
        settled: UnixMillis::ZERO,
        settling: (end, time),
        is_read_only: false,
        tombstones: VecDeque::new(),
        indexed_tombstones: replay.tombstones,
        expiries: Expiries::default(),
        cleared_end: Lsn::ZERO,
        idle_since: durable,
        hot_len: u64::MAX,
        cold: Lsn::ZERO..Lsn::ZERO,
        scratch: Vec::new(),
    };
    match walked {
        Walked::Whole if has_expiries => partition.collect_expiries(),
        Walked::Whole => {}
        Walked::Further(expiries) => {
            partition.expiries = expiries;
            partition.apply_expiries(&replay.changes);
        }
    }
    partition
}

impl<M: SegmentMemory> Partition<M> {
    /// Finds the keys that have an expiry, by a walk over the log.
    pub(super) fn collect_expiries(&mut self) {
        let mut expiries = Expiries::default();
        for segment in self.log.segments() {
            for (lsn, batch) in segment.batches() {
                for op in batch.iter() {
                    let Some(at) = op.expires_at else { continue };
                    let hash = self.seed.hash(op.key);
                    if self.is_current(hash, op.key, lsn) {
                        expiries.insert(at, hash, lsn);
                    }
                }
            }
        }
        self.expiries = expiries;
    }
}
