//! Rebuilding the index from the log.

use alloc::vec::Vec;
use core::mem;

use crate::codec::{Batch, OpKind, OpView, Record};
use crate::index::{Fragment, Index};
use crate::types::{HashSeed, KeyHash, Lsn};

/// Operations whose index entries are brought nearer at the same time: about as many loads as a processor has under way.
const PENDING_MAX: usize = 32;

/// The operation of a record that has no other, until it is applied.
#[derive(Clone, Copy)]
struct Pending {
    lsn: Lsn,
    hash: KeyHash,
    kind: OpKind,
    supersedes: Lsn,
    superseded_len: u32,
    footprint: u32,
    expires: bool,
}

impl Pending {
    fn new(lsn: Lsn, hash: KeyHash, op: &OpView<'_>) -> Self {
        Self {
            lsn,
            hash,
            kind: op.kind,
            supersedes: op.supersedes,
            superseded_len: op.superseded_len,
            footprint: op.footprint(),
            expires: op.expires_at.is_some(),
        }
    }
}

/// What a walk over the log gathers. Reads no record but the one at hand: every operation names what it supersedes.
pub(super) struct Replay {
    pub(super) index: Index,
    pub(super) has_expiries: bool,
    /// The bases of the segments and the live bytes in each.
    pub(super) live: Vec<(Lsn, u64)>,
    /// Tombstones that had to be kept, see [`Partition::handle_flushed`](super::Partition::handle_flushed).
    pub(super) tombstones: usize,
    /// Applied in order before anything else is, see [`settle`](Self::settle).
    pending: Vec<Pending>,
    seed: HashSeed,
}

impl Replay {
    pub(super) fn new(seed: HashSeed, bases: impl Iterator<Item = Lsn>) -> Self {
        let live = bases.map(|base| (base, 0)).collect();
        Self::resume(seed, Index::new(), live, 0)
    }

    /// Goes on where an earlier walk ended.
    pub(super) fn resume(seed: HashSeed, index: Index, live: Vec<(Lsn, u64)>, tombstones: usize) -> Self {
        Self { index, has_expiries: false, live, tombstones, pending: Vec::with_capacity(PENDING_MAX), seed }
    }

    pub(super) fn apply(&mut self, record: &Record<'_>) {
        let Some(batch) = record.batch else { return };
        self.apply_batch(record.header.lsn, batch);
    }

    pub(super) fn apply_batch(&mut self, lsn: Lsn, batch: Batch<'_>) {
        if batch.len() == 1 {
            for op in batch.iter() {
                self.pending.push(Pending::new(lsn, self.seed.hash(op.key), &op));
            }
            if self.pending.len() == PENDING_MAX {
                self.settle();
            }
            return;
        }
        self.settle();
        let shared = self.shared_fragments(batch);
        for op in batch.iter() {
            self.apply_op(Pending::new(lsn, self.seed.hash(op.key), &op), &shared);
        }
    }

    /// Applies what is pending. To be called when the walk has ended.
    ///
    /// A walk waits for memory more than for anything else: each operation for its index entry, which is anywhere.
    /// So some of them are looked at together before the first is applied.
    pub(super) fn settle(&mut self) {
        let mut pending = mem::take(&mut self.pending);
        for op in &pending {
            self.index.prefetch(op.hash);
        }
        for op in pending.drain(..) {
            self.apply_op(op, &[]);
        }
        self.pending = pending;
    }

    /// The fragments that several keys of a batch have, in order, if the batch deletes any key.
    ///
    /// An entry is a fragment and a position, so such keys cannot be told apart by it: a deletion that leaves no
    /// tombstone would let the next write of its key take the entry of another one.
    fn shared_fragments(&self, batch: Batch<'_>) -> Vec<Fragment> {
        if batch.iter().all(|op| op.kind != OpKind::Delete) {
            return Vec::new();
        }
        let mut fragments: Vec<Fragment> = batch.iter().map(|op| Fragment::of(self.seed.hash(op.key))).collect();
        fragments.sort_unstable();
        let pairs = fragments.windows(2).filter(|pair| pair[0] == pair[1]);
        pairs.map(|pair| pair[0]).collect()
    }

    fn apply_op(&mut self, op: Pending, shared: &[Fragment]) {
        if op.kind == OpKind::Clear {
            self.index.clear();
            self.has_expiries = false;
            self.tombstones = 0;
            self.live.iter_mut().for_each(|(_, bytes)| *bytes = 0);
            return;
        }
        let Pending { lsn, hash, .. } = op;
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
                self.has_expiries |= op.expires;
                *self.live_in(lsn) += u64::from(op.footprint);
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
