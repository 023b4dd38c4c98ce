//! A follower takes what its leader sends.
//!
//! The log verifies and links every record; here it is applied to the index, as the leader applied it when it wrote it.
//! The old version of a key is not looked for, because the record names it; it is read only where it may have had an expiry.
//! What differs from the leader are the deletions: the leader may have seen one committed that is not committed here yet,
//! or the other way round.

use alloc::vec::Vec;

use super::replay::shares_fragment;
use super::{Partition, Role, Tombstone};
use crate::codec::{OpKind, OpView};
use crate::index::Part;
use crate::log::{BadBytes, ReceiveError, SegmentMemory, Taken};
use crate::replication::Verified;
use crate::types::{KeyHash, Lsn, UnixMillis};

/// Records that are taken into the log before the first of them is applied to the index.
const TAKEN_AHEAD: usize = 16;
/// Keys of these records whose entries are brought to the processor before the first is applied.
const HASHES_AHEAD: usize = 32;

/// An operation that came from the leader, without its key and value.
#[derive(Clone, Copy)]
struct ReceivedOp {
    hash: KeyHash,
    part: Part,
    kind: OpKind,
    expires_at: Option<UnixMillis>,
    footprint: u32,
    supersedes: Lsn,
    superseded_len: u32,
    /// The entry of the key that the index has.
    entry: Option<OldEntry>,
}

/// What the index has of a key.
#[derive(Clone, Copy)]
struct OldEntry {
    lsn: Lsn,
    is_tombstone: bool,
    expires_at: Option<UnixMillis>,
}

impl<M: SegmentMemory> Partition<M> {
    /// Everything below has arrived, whole records or not.
    #[must_use]
    pub const fn received(&self) -> Lsn {
        self.log.received()
    }

    /// Where the bytes of the leader's log from `from` on belong: in a segment's memory, at the position that they have.
    /// `from` is [`received`](Self::received), or [`appended`](Self::appended) to start over where a stream broke.
    ///
    /// Gives no more than up to `upto`, and often less: never beyond a segment's end, and the header of a segment alone,
    /// because it says how long the segment is. The memory stays where it is as long as the segment lives. Nothing else of
    /// this partition may be called that receives, leads or cuts while somebody still writes to it.
    ///
    /// # Errors
    /// [`ReceiveError`]: nothing can be received there now.
    ///
    /// # Panics
    /// If the range is empty: that is a bug of the driver.
    pub fn receive_into(&mut self, from: Lsn, upto: Lsn) -> Result<&mut [u8], ReceiveError> {
        self.check_receiving()?;
        self.log.receive_into(from, upto)
    }

    /// The segment that bytes at `lsn` are received into, for whoever has to keep its memory alive.
    #[must_use]
    pub fn receiving_segment(&self, lsn: Lsn) -> Option<&M> {
        self.log.receiving_segment(lsn)
    }

    /// Bytes up to `upto` have arrived where [`receive_into`](Self::receive_into) said. Takes every whole record into the
    /// log and the index, and adds to `verified` what they were: an entry for each epoch, or a longer last one.
    ///
    /// # Errors
    /// [`ReceiveError::Bad`]: what follows the records in `verified` is refused and forgotten.
    ///
    /// # Panics
    /// If more has arrived than was asked for: that is a bug of the driver.
    pub fn handle_received(&mut self, upto: Lsn, verified: &mut Vec<Verified>) -> Result<(), ReceiveError> {
        self.check_receiving()?;
        self.log.note_received(upto);
        loop {
            let mut ahead = [None; TAKEN_AHEAD];
            let ended = self.take_some(&mut ahead);
            if ahead[0].is_some() {
                self.adopt_key();
            }
            for taken in ahead.iter().flatten() {
                self.observe(taken.time);
                if taken.is_batch {
                    self.apply_received(taken.lsn, taken.end);
                }
                let run = Verified { epoch: taken.epoch, end: taken.end, chain: taken.chain };
                match verified.last_mut() {
                    Some(last) if last.epoch == run.epoch => *last = run,
                    _ => verified.push(run),
                }
            }
            if let Some(ended) = ended {
                return ended.map_err(|cause| {
                    self.log.forget_received();
                    ReceiveError::Bad { lsn: self.log.appended(), cause }
                });
            }
        }
    }

    /// A log that held nothing has the key of its leader from its first record on. The superblock need not say so before
    /// that is durable: until this replica leads, recovery goes by what the log's first segment says.
    fn adopt_key(&mut self) {
        let key = self.log.config().key;
        if key != self.superblock.log_key {
            self.superblock.log_key = key;
            self.superblock_wanted = true;
        }
    }

    /// Takes as many records into the log as there is place for in `ahead`, and has what the index will be asked for them
    /// brought to the processor meanwhile: each entry is anywhere, and waiting for it took longer than the checksum.
    /// Returns how it ended, if it did.
    fn take_some(&mut self, ahead: &mut [Option<Taken>]) -> Option<Result<(), BadBytes>> {
        let mut hashes = [KeyHash(0); HASHES_AHEAD];
        let mut count = 0;
        let ended = ahead.iter_mut().find_map(|place| match self.log.take_received(self.superblock.promised) {
            Ok(Some(taken)) => {
                *place = Some(taken);
                if taken.is_batch {
                    let room = &mut hashes[count..];
                    for (hash, op) in room.iter_mut().zip(self.log.batch_at(taken.lsn).iter()) {
                        *hash = self.seed.hash(op.key);
                        count += 1;
                    }
                }
                None
            }
            Ok(None) => Some(Ok(())),
            Err(cause) => Some(Err(cause)),
        });
        // In a row, so that the processor waits for all of them together: among the checksums it waited for each by itself.
        for hash in &hashes[..count] {
            self.index.prefetch(*hash);
        }
        ended
    }

    fn check_receiving(&self) -> Result<(), ReceiveError> {
        if self.role() != Role::Follower {
            return Err(ReceiveError::NotFollower);
        }
        if self.is_operated_on() {
            return Err(ReceiveError::Busy);
        }
        if self.awaits_following() {
            return Err(ReceiveError::NotReady);
        }
        Ok(())
    }

    /// Points the index at the record at `lsn`, which has just been received.
    fn apply_received(&mut self, lsn: Lsn, end: Lsn) {
        let count = self.log.batch_at(lsn).len();
        for index in 0..count {
            let Some(op) = self.log.batch_at(lsn).get(index) else { continue };
            if op.kind == OpKind::Clear {
                self.clear_index(end);
            } else {
                let received = self.read_received(&op, Part::of(index, count));
                self.apply_received_op(received, lsn, end);
            }
        }
    }

    fn read_received(&self, op: &OpView<'_>, part: Part) -> ReceivedOp {
        let hash = self.seed.hash(op.key);
        ReceivedOp {
            hash,
            part,
            kind: op.kind,
            expires_at: op.expires_at,
            footprint: op.footprint(),
            supersedes: op.supersedes,
            superseded_len: op.superseded_len,
            entry: self.old_entry(hash, op),
        }
    }

    /// The entry of the key of `op`: the one that it names, or a deletion that the leader has let go of.
    fn old_entry(&self, hash: KeyHash, op: &OpView<'_>) -> Option<OldEntry> {
        let mut named = false;
        let mut pending = None;
        self.index.for_each_candidate(hash, |lsn| {
            named |= lsn == op.supersedes;
            if self.is_pending_tombstone(lsn, hash) {
                pending = pending.max(Some(lsn));
            }
        });
        if named && op.superseded_len > 0 {
            // Only to take its expiry back: where it has none, the old record, which may be on disk only, is not touched.
            let had = self.expiries.may_be_of(op.supersedes);
            let old = had.then(|| self.log.batch_at(op.supersedes).find(op.key)).flatten();
            let expires_at = old.and_then(|old| old.expires_at);
            return Some(OldEntry { lsn: op.supersedes, is_tombstone: false, expires_at });
        }
        let lsn = if named { op.supersedes } else { pending? };
        let is_tombstone = self.log.batch_at(lsn).find(op.key).is_some_and(|old| old.kind == OpKind::Delete);
        (named || is_tombstone).then_some(OldEntry { lsn, is_tombstone, expires_at: None })
    }

    /// Whether the record at `lsn` deletes a key of this hash, and is not committed yet.
    fn is_pending_tombstone(&self, lsn: Lsn, hash: KeyHash) -> bool {
        let first = self.tombstones.partition_point(|tombstone| tombstone.lsn < lsn);
        self.tombstones.range(first..).take_while(|tombstone| tombstone.lsn == lsn).any(|one| one.hash == hash)
    }

    fn apply_received_op(&mut self, op: ReceivedOp, lsn: Lsn, end: Lsn) {
        if op.superseded_len > 0
            && let Some(segment) = self.log.segment_of_mut(op.supersedes)
        {
            segment.remove_live(op.superseded_len);
        }
        if let Some(at) = op.entry.and_then(|old| old.expires_at) {
            self.expiries.remove(at, op.hash);
        }
        let is_there = op.entry.is_some_and(|old| self.index.replace(op.hash, old.lsn, lsn, op.part));
        if is_there && op.entry.is_some_and(|old| old.is_tombstone) {
            self.indexed_tombstones = self.indexed_tombstones.saturating_sub(1);
        }
        if op.kind == OpKind::Put {
            if !is_there {
                self.index.insert(op.hash, lsn, op.part);
            }
            if let Some(segment) = self.log.segment_of_mut(lsn) {
                segment.add_live(op.footprint);
            }
            if let Some(at) = op.expires_at {
                self.expiries.insert(at, op.hash, lsn);
            }
        } else if is_there {
            // Where the key was not there, nobody needs to be told that it is gone.
            self.indexed_tombstones += 1;
            self.tombstones.push_back(Tombstone { hash: op.hash, lsn, end });
        }
    }

    /// Walks the index back over the records from `to` on, newest first, along what they supersede. `false`: it holds a
    /// clear, behind which nothing is known, and the index has to be rebuilt.
    pub(super) fn walk_back(&mut self, to: Lsn) -> bool {
        let mut batches: Vec<Lsn> = Vec::new();
        for segment in self.log.segments() {
            let end = segment.base().plus(segment.segment_len());
            if end > to {
                let from = to.max(segment.base().plus(crate::types::limits::SEGMENT_HEADER_LEN as u64));
                batches.extend(segment.batches_from(from).map(|(lsn, _)| lsn));
            }
        }
        let has_clear = |lsn: &Lsn| self.log.batch_at(*lsn).iter().any(|op| op.kind == OpKind::Clear);
        if batches.iter().any(has_clear) {
            return false;
        }
        for lsn in batches.into_iter().rev() {
            for index in 0..self.log.batch_at(lsn).len() {
                let Some(op) = self.log.batch_at(lsn).get(index) else { continue };
                let hash = self.seed.hash(op.key);
                let old = self.log.verified_batch_at(op.supersedes).and_then(|batch| batch.find(op.key));
                let old = old
                    .filter(|_| op.supersedes < lsn)
                    .map(|old| (op.supersedes, old.kind, old.footprint(), old.expires_at));
                let (kind, footprint, expires_at) = (op.kind, op.footprint(), op.expires_at);
                if kind == OpKind::Put {
                    if let Some(segment) = self.log.segment_of_mut(lsn) {
                        segment.remove_live(footprint);
                    }
                    if let Some(at) = expires_at {
                        self.expiries.remove(at, hash);
                    }
                }
                self.undo(hash, lsn, kind, old);
            }
        }
        while self.tombstones.back().is_some_and(|tombstone| tombstone.lsn >= to) {
            self.tombstones.pop_back();
        }
        true
    }

    /// Lets the entry of a key that leads to `lsn` lead to what was there before. Which part of that record it was in is not
    /// known any more: who looks for it looks in all of them then.
    fn undo(&mut self, hash: KeyHash, lsn: Lsn, kind: OpKind, old: Option<(Lsn, OpKind, u32, Option<UnixMillis>)>) {
        let was_tombstone = kind == OpKind::Delete;
        match old {
            Some((before, OpKind::Put, footprint, expires_at)) => {
                if self.index.replace(hash, lsn, before, Part::default()) {
                    self.indexed_tombstones = self.indexed_tombstones.saturating_sub(usize::from(was_tombstone));
                } else {
                    // A deletion that was committed left nothing in the index.
                    self.index.insert(hash, before, Part::default());
                }
                if let Some(segment) = self.log.segment_of_mut(before) {
                    segment.add_live(footprint);
                }
                if let Some(at) = expires_at {
                    self.expiries.insert(at, hash, before);
                }
            }
            // A deletion stays where an entry of the same fragment may lead to a record with an old version of the key.
            Some((before, ..)) if shares_fragment(&self.index, hash) => {
                if self.index.replace(hash, lsn, before, Part::default()) {
                    self.indexed_tombstones += usize::from(!was_tombstone);
                }
            }
            _ => {
                if self.index.remove(hash, lsn) {
                    self.indexed_tombstones = self.indexed_tombstones.saturating_sub(usize::from(was_tombstone));
                }
            }
        }
    }
}
