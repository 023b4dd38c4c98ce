//! Rebuilding the index from the log.

use alloc::vec::Vec;

use crate::codec::{Batch, OpKind, OpView, Record};
use crate::index::{Fragment, Index};
use crate::types::{HashSeed, KeyHash, Lsn};

/// What a walk over the log gathers. Reads no record but the one at hand: every operation names what it supersedes.
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) has_expiries: bool,
    /// The bases of the segments and the live bytes in each.
    pub(super) live: Vec<(Lsn, u64)>,
    /// Tombstones that had to be kept, see [`Partition::handle_flushed`](super::Partition::handle_flushed).
    pub(super) tombstones: usize,
    seed: HashSeed,
}

impl Replay {
    pub(super) fn new(seed: HashSeed, bases: impl Iterator<Item = Lsn>) -> Self {
        let live = bases.map(|base| (base, 0)).collect();
        Self { index: Index::new(), has_expiries: false, live, tombstones: 0, seed }
    }

    /// Goes on where an earlier walk ended.
    pub(super) const fn resume(seed: HashSeed, index: Index, live: Vec<(Lsn, u64)>, tombstones: usize) -> Self {
        Self { index, has_expiries: false, live, tombstones, seed }
    }

    pub(super) fn apply(&mut self, record: &Record<'_>) {
        let Some(batch) = record.batch else { return };
        let shared = self.shared_fragments(batch);
        for op in batch.iter() {
            self.apply_op(record.header.lsn, &op, &shared);
        }
    }

    /// The fragments that several keys of a batch have, in order, if the batch deletes any key.
    ///
    /// An entry is a fragment and a position, so such keys cannot be told apart by it: a deletion that leaves no
    /// tombstone would let the next write of its key take the entry of another one.
    fn shared_fragments(&self, batch: Batch<'_>) -> Vec<Fragment> {
        if batch.len() == 1 || batch.iter().all(|op| op.kind != OpKind::Delete) {
            return Vec::new();
        }
        let mut fragments: Vec<Fragment> = batch.iter().map(|op| Fragment::of(self.seed.hash(op.key))).collect();
        fragments.sort_unstable();
        let pairs = fragments.windows(2).filter(|pair| pair[0] == pair[1]);
        pairs.map(|pair| pair[0]).collect()
    }

    fn apply_op(&mut self, lsn: Lsn, op: &OpView<'_>, shared: &[Fragment]) {
        if op.kind == OpKind::Clear {
            self.index.clear();
            self.has_expiries = false;
            self.tombstones = 0;
            self.live.iter_mut().for_each(|(_, bytes)| *bytes = 0);
            return;
        }
        let hash = self.seed.hash(op.key);
        let superseded = op.supersedes != Lsn::ZERO;
        if superseded && op.superseded_len > 0 {
            let bytes = self.live_in(op.supersedes);
            *bytes = bytes.saturating_sub(u64::from(op.superseded_len));
        }
        match op.kind {
            OpKind::Delete if superseded => {
                if shares_fragment(&self.index, hash) || shared.binary_search(&Fragment::of(hash)).is_ok() {
                    let replaced = self.index.replace(hash, op.supersedes, lsn);
                    let was_tombstone = op.superseded_len == 0;
                    self.tombstones += usize::from(replaced && !was_tombstone);
                } else {
                    self.index.remove(hash, op.supersedes);
                }
            }
            OpKind::Put => {
                // What is superseded may be a deletion, which is not indexed here.
                if superseded && self.index.replace(hash, op.supersedes, lsn) {
                    let was_tombstone = op.superseded_len == 0;
                    self.tombstones -= usize::from(was_tombstone);
                } else {
                    self.index.insert(hash, lsn);
                }
                self.has_expiries |= op.expires_at.is_some();
                *self.live_in(lsn) += u64::from(op.footprint());
            }
            OpKind::Delete | OpKind::Clear => {}
        }
    }

    /// The live bytes of the segment that holds `lsn`.
    fn live_in(&mut self, lsn: Lsn) -> &mut u64 {
        let after = self.live.partition_point(|(base, _)| *base <= lsn);
        &mut self.live[after.saturating_sub(1)].1
    }
}

/// Whether more than one entry has the fragment of this hash.
pub(super) fn shares_fragment(index: &Index, hash: KeyHash) -> bool {
    let mut entries = 0;
    index.for_each_candidate(hash, |_| entries += 1);
    entries > 1
}
