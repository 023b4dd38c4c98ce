//! A partition that is only read, while somebody else writes its log; and how it goes on once nobody does.

use alloc::vec::Vec;
use core::mem;

use super::open::Walked;
use super::replay::{ExpiryChange, Replay};
use super::{Partition, PartitionConfig, RecoveredPartition};
use crate::codec::OpKind;
use crate::log::{Log, LogSegment, LogStart, SegmentMemory};
use crate::recovery::{RecoveryError, SegmentInput, follow, take_over};
use crate::superblock::Superblock;
use crate::types::Lsn;

impl<M: SegmentMemory> Partition<M> {
    /// Takes in what the writer has committed since, up to `limit`, which lies behind the end. Returns the new end.
    ///
    /// `grow` makes more of the last segment visible, up to `limit`; `added` are the segments behind it, in order of
    /// their bases. Every record is verified in place. Keys that expire are gathered but never swept: a follower does
    /// not delete by its own clock.
    ///
    /// # Errors
    /// [`RecoveryError`] where the log does not go on unbroken up to `limit`; the partition then shows what came
    /// before.
    pub fn follow(
        &mut self,
        limit: Lsn,
        grow: &mut dyn FnMut(Lsn, &mut M),
        added: Vec<SegmentInput<M>>,
    ) -> Result<Lsn, RecoveryError> {
        let config = *self.log.config();
        let mut start = self.log.suspend();
        if let Some(last) = start.segments.back_mut() {
            let base = last.base();
            grow(base, last.memory_mut());
        }
        let mut replay = self.resume_replay(&start, &added);
        let outcome = follow(&self.superblock, &mut start, added, limit, &mut |record| replay.apply(record));
        replay.settle();
        self.log = Log::new(config, start);
        self.committed = self.log.durable();
        self.index = replay.index;
        self.indexed_tombstones = replay.tombstones;
        for (base, bytes) in replay.live {
            if let Some(segment) = self.log.segment_of_mut(base) {
                segment.set_live(bytes);
            }
        }
        self.apply_expiries(&replay.changes);
        outcome.map(|()| self.committed())
    }

    /// Goes on where the follower stands, now that the log's writer is gone for good: finds out where the log ends,
    /// by the rules of recovery, without a second look at what was followed. Leaves an empty partition behind.
    ///
    /// `superblock` is what the writer left. `tail` is the memory of the last segment that was followed, all of it
    /// visible and open for writing, unless that segment is sealed; `behind` are the segments behind it. Everything
    /// below `witnessed` is known to have been flushed, as is everything that was followed.
    ///
    /// # Errors
    /// [`RecoveryError`] where the tail cannot be believed.
    ///
    /// # Panics
    /// If `tail` is missing, or is another segment: a bug of the driver.
    pub fn take_over(
        &mut self,
        superblock: Superblock,
        config: PartitionConfig,
        tail: Option<M>,
        behind: Vec<SegmentInput<M>>,
        witnessed: Lsn,
    ) -> Result<RecoveredPartition<M>, RecoveryError> {
        let start = self.log.suspend();
        let mut replay = self.resume_replay(&start, &behind);
        let recovered = take_over(&superblock, start, tail, behind, witnessed, &mut |record| replay.apply(record))?;
        replay.settle();
        let walked = Walked::Further(mem::take(&mut self.expiries));
        Ok(RecoveredPartition::go_on(recovered, replay, superblock, config, walked))
    }

    fn resume_replay(&mut self, start: &LogStart<M>, added: &[SegmentInput<M>]) -> Replay {
        let known = start.segments.iter().map(|segment: &LogSegment<M>| (segment.base(), segment.live_bytes()));
        let live = known.chain(added.iter().map(|(base, _)| (*base, 0))).collect();
        let index = mem::take(&mut self.index);
        Replay::resume(self.seed, index, live, self.indexed_tombstones, !self.expiries.is_empty())
    }

    /// Brings the set of keys that expire up to date with a walk that went on from an earlier one.
    pub(super) fn apply_expiries(&mut self, changes: &[ExpiryChange]) {
        for change in changes {
            let Some(op) = self.log.batch_at(change.record).get(change.op) else { continue };
            if op.kind == OpKind::Clear {
                self.expiries.clear();
                continue;
            }
            let hash = self.seed.hash(op.key);
            let old = change.old.filter(|&lsn| self.expiries.may_be_of(lsn) && self.log.segment_of(lsn).is_some());
            let old = old.map(|lsn| self.log.batch_at(lsn));
            if let Some(at) = old.and_then(|batch| batch.find(op.key)).and_then(|old| old.expires_at) {
                self.expiries.remove(at, hash);
            }
            if let (OpKind::Put, Some(at)) = (op.kind, op.expires_at) {
                self.expiries.insert(at, hash, change.record);
            }
        }
    }
}

#[cfg(test)]
mod tests;
