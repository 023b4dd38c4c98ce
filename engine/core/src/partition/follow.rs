//! A partition that is only read, while somebody else writes its log.

use alloc::vec::Vec;
use core::mem;

use super::Partition;
use super::replay::Replay;
use crate::log::{Log, SegmentMemory};
use crate::recovery::{RecoveryError, SegmentInput, follow};
use crate::types::Lsn;

impl<M: SegmentMemory> Partition<M> {
    /// Takes in what the writer has committed since, up to `limit`, which lies behind the end. Returns the new end.
    ///
    /// `grow` makes more of the last segment visible, up to `limit`; `added` are the segments behind it, in order of
    /// their bases. Every record is verified in place. Keys that expire are not gathered for sweeping: a follower
    /// never deletes by its own clock.
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
        let known = start.segments.iter().map(|segment| (segment.base(), segment.live_bytes()));
        let live = known.chain(added.iter().map(|(base, _)| (*base, 0))).collect();
        let mut replay = Replay::resume(self.seed, mem::take(&mut self.index), live, self.indexed_tombstones);
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
        outcome.map(|()| self.committed())
    }
}
