//! Rebuilding the index from the log.

use alloc::vec::Vec;
use core::mem;

use crate::codec::{Batch, OpKind, OpView, Record};
use crate::index::{Fragment, Index, Part};
use crate::types::{HashSeed, KeyHash, Lsn};

/// Operations whose index entries are brought nearer at the same time: about as many loads as a processor has under way.
const PENDING_MAX: usize = 32;

/// The operation of a record that has no other, until it is applied.
#[derive(Clone, Copy)]
struct Pending {
    lsn: Lsn,
    /// Its number in its record.
    number: usize,
    part: Part,
    hash: KeyHash,
    kind: OpKind,
    supersedes: Lsn,
    superseded_len: u32,
    footprint: u32,
    expires: bool,
}

impl Pending {
    fn new(lsn: Lsn, number: usize, count: usize, hash: KeyHash, op: &OpView<'_>) -> Self {
        Self {
            lsn,
            number,
            part: Part::of(number, count),
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
    /// What may have changed the keys that expire: gathered by a walk that goes on from an earlier one.
    pub(super) changes: Vec<ExpiryChange>,
    /// Whether such changes are to be gathered: there are keys that expire.
    tracks: bool,
    resumed: bool,
    /// Applied in order before anything else is, see [`settle`](Self::settle).
    pending: Vec<Pending>,
    seed: HashSeed,
}

/// An operation that may have changed which keys expire.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExpiryChange {
    /// The record, and the number of the operation in it.
    pub(super) record: Lsn,
    pub(super) op: usize,
    /// The record that held the key until then. The index did point there.
    pub(super) old: Option<Lsn>,
}

impl Replay {
    /// A walk from the start of the log, which is expected to find so many keys.
    pub(super) fn new(seed: HashSeed, bases: impl Iterator<Item = Lsn>, keys: usize) -> Self {
        let live = bases.map(|base| (base, 0)).collect();
        Self { resumed: false, ..Self::resume(seed, Index::with_capacity(keys), live, 0, false) }
    }

    /// Goes on where an earlier walk ended; `expiries`: some keys are known to expire.
    pub(super) fn resume(
        seed: HashSeed,
        index: Index,
        live: Vec<(Lsn, u64)>,
        tombstones: usize,
        expiries: bool,
    ) -> Self {
        Self {
            index,
            has_expiries: false,
            live,
            tombstones,
            changes: Vec::new(),
            tracks: expiries,
            resumed: true,
            pending: Vec::new(),
            seed,
        }
    }

    pub(super) fn apply(&mut self, record: &Record<'_>) {
        let Some(batch) = record.batch else { return };
        self.apply_batch(record.header.lsn, batch);
    }

    pub(super) fn apply_batch(&mut self, lsn: Lsn, batch: Batch<'_>) {
        if batch.len() == 1 {
            for op in batch.iter() {
                self.pending.push(Pending::new(lsn, 0, 1, self.seed.hash(op.key), &op));
            }
            if self.pending.len() == PENDING_MAX {
                self.settle();
            }
            return;
        }
        self.settle();
        let shared = self.shared_fragments(batch);
        for (number, op) in batch.iter().enumerate() {
            self.apply_op(Pending::new(lsn, number, batch.len(), self.seed.hash(op.key), &op), &shared);
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
        let replaced = self.index_op(op, shared);
        self.tracks |= op.expires;
        if self.resumed && self.tracks {
            let old = replaced.then_some(op.supersedes);
            self.changes.push(ExpiryChange { record: op.lsn, op: op.number, old });
        }
    }

    /// Returns whether an entry of the index was replaced or removed.
    fn index_op(&mut self, op: Pending, shared: &[Fragment]) -> bool {
        if op.kind == OpKind::Clear {
            self.index.clear();
            self.has_expiries = false;
            self.tombstones = 0;
            self.live.iter_mut().for_each(|(_, bytes)| *bytes = 0);
            return false;
        }
        let Pending { lsn, hash, part, .. } = op;
        let superseded = op.supersedes != Lsn::ZERO;
        if superseded && op.superseded_len > 0 {
            let bytes = self.live_in(op.supersedes);
            *bytes = bytes.saturating_sub(u64::from(op.superseded_len));
        }
        match op.kind {
            OpKind::Delete if superseded => {
                if shares_fragment(&self.index, hash) || shared.binary_search(&Fragment::of(hash)).is_ok() {
                    let replaced = self.index.replace(hash, op.supersedes, lsn, part);
                    let was_tombstone = op.superseded_len == 0;
                    self.tombstones += usize::from(replaced && !was_tombstone);
                    replaced
                } else {
                    self.index.remove(hash, op.supersedes)
                }
            }
            OpKind::Put => {
                // What is superseded may be a deletion, which is not indexed here.
                let replaced = superseded && self.index.replace(hash, op.supersedes, lsn, part);
                if replaced {
                    let was_tombstone = op.superseded_len == 0;
                    self.tombstones = self.tombstones.saturating_sub(usize::from(was_tombstone));
                } else {
                    self.index.insert(hash, lsn, part);
                }
                self.has_expiries |= op.expires;
                *self.live_in(lsn) += u64::from(op.footprint);
                replaced
            }
            OpKind::Delete | OpKind::Clear => false,
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
