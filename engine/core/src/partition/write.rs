//! Writing keys.

use alloc::vec::Vec;
use core::mem;

use thiserror::Error;

use super::{Partition, Role, Tombstone};
use crate::codec::{OP_LEN, OpKind, RecordKind, WriteOp, batch_len, write_batch};
use crate::index::{Holds, Part};
use crate::log::{Appended, RoomError, SegmentMemory};
use crate::types::limits::{BATCH_OPS_MAX, KEY_LEN_MAX};
use crate::types::{KeyHash, Lsn, UnixMillis};

/// One change to one key.
#[derive(Clone, Copy, Debug)]
pub struct Op<'a> {
    /// [`Partition::hash`] of the key.
    pub hash: KeyHash,
    /// The key.
    pub key: &'a [u8],
    /// What becomes of it.
    pub change: Change<'a>,
}

/// What becomes of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a> {
    /// It has this value and this expiry from now on.
    Put {
        /// The value.
        value: &'a [u8],
        /// When the key ceases to exist.
        expires_at: Option<UnixMillis>,
    },
    /// It is gone.
    Delete,
}

/// Why nothing was written.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AppendError {
    /// The log has no room.
    #[error(transparent)]
    Room(#[from] RoomError),
    /// A key is too long.
    #[error("a key of {len} bytes is longer than {max}")]
    KeyTooLong {
        /// Bytes of the key.
        len: usize,
        /// Bytes that a key may have.
        max: usize,
    },
    /// Too many operations for one record.
    #[error("{count} operations are more than the {max} of one record")]
    TooManyOps {
        /// Operations given.
        count: usize,
        /// Operations that one record may hold.
        max: usize,
    },
    /// There are no operations, or two on the same key.
    #[error("a batch has one or more operations, each on a key of its own")]
    NotASet,
}

impl AppendError {
    /// Whether the same call may succeed as soon as the next segment has been prepared.
    #[must_use]
    pub const fn is_not_ready(&self) -> bool {
        matches!(self, Self::Room(RoomError::NotReady))
    }

    /// Whether another replica is the one to ask.
    #[must_use]
    pub const fn is_not_leader(&self) -> bool {
        matches!(self, Self::Room(RoomError::NotLeader))
    }
}

/// The version of a key that an operation supersedes.
#[derive(Clone, Copy)]
struct Superseded {
    lsn: Lsn,
    is_tombstone: bool,
    expires_at: Option<UnixMillis>,
    footprint: u32,
}

impl<M: SegmentMemory> Partition<M> {
    /// Appends one atomic record and applies it to the index. Sorts `ops` by key.
    ///
    /// # Errors
    /// [`AppendError`]: nothing was written and nothing changed.
    #[inline]
    pub fn append(&mut self, now: UnixMillis, ops: &mut [Op<'_>]) -> Result<Appended, AppendError> {
        let body_len = self.check(ops)?;
        self.log.reserve(body_len)?;
        let body_len = u32::try_from(body_len).expect("reserve refuses longer bodies");
        let time = self.observe(now);
        if let [op] = ops {
            let old = self.superseded(op);
            let write = [write_op(op, old)];
            let appended = self.log.append(RecordKind::Batch, time, body_len, |body| write_batch(&write, body));
            self.apply(op, old, appended, Part::default());
            return Ok(appended);
        }
        let olds: Vec<Option<Superseded>> = ops.iter().map(|op| self.superseded(op)).collect();
        let writes: Vec<WriteOp<'_>> = ops.iter().zip(&olds).map(|(op, old)| write_op(op, *old)).collect();
        let appended = self.log.append(RecordKind::Batch, time, body_len, |body| write_batch(&writes, body));
        for (number, (op, old)) in ops.iter().zip(olds).enumerate() {
            self.apply(op, old, appended, Part::of(number, ops.len()));
        }
        Ok(appended)
    }

    /// Checks and sorts a batch. Returns the length of its body.
    #[inline]
    fn check(&self, ops: &mut [Op<'_>]) -> Result<u64, AppendError> {
        if ops.is_empty() {
            return Err(AppendError::NotASet);
        }
        if ops.len() > BATCH_OPS_MAX {
            return Err(AppendError::TooManyOps { count: ops.len(), max: BATCH_OPS_MAX });
        }
        if ops.len() > 1 {
            ops.sort_unstable_by(|a, b| a.key.cmp(b.key));
            if ops.windows(2).any(|pair| pair[0].key == pair[1].key) {
                return Err(AppendError::NotASet);
            }
        }
        let mut payload = 0_u64;
        for op in ops.iter() {
            if op.key.len() > KEY_LEN_MAX {
                return Err(AppendError::KeyTooLong { len: op.key.len(), max: KEY_LEN_MAX });
            }
            let value_len = match op.change {
                Change::Put { value, .. } => value.len(),
                Change::Delete => 0,
            };
            payload += (op.key.len() + value_len) as u64;
        }
        Ok(batch_len(ops.len(), payload))
    }

    /// The version that `op` will supersede.
    #[inline]
    fn superseded(&self, op: &Op<'_>) -> Option<Superseded> {
        self.find(op.hash, op.key).map(|(lsn, old)| Superseded {
            lsn,
            is_tombstone: old.kind != OpKind::Put,
            expires_at: old.expires_at,
            footprint: old.footprint(),
        })
    }

    /// Points the index at a record that has just been appended, and has `op` in this part.
    #[inline]
    fn apply(&mut self, op: &Op<'_>, old: Option<Superseded>, appended: Appended, part: Part) {
        match old {
            Some(old) => {
                let replaced = self.index.replace(op.hash, old.lsn, appended.lsn, part);
                assert!(replaced, "what was found is replaced");
                if old.is_tombstone {
                    self.indexed_tombstones -= 1;
                } else {
                    self.forget(op.hash, old);
                }
            }
            None => self.index.insert(op.hash, appended.lsn, part),
        }
        match op.change {
            Change::Put { value, expires_at } => {
                let footprint = u32::try_from(op.key.len() + value.len() + OP_LEN).unwrap_or(u32::MAX);
                if let Some(segment) = self.log.segment_of_mut(appended.lsn) {
                    segment.add_live(footprint);
                }
                if let Some(at) = expires_at {
                    self.expiries.insert(at, op.hash, appended.lsn);
                }
            }
            Change::Delete => {
                self.indexed_tombstones += 1;
                self.tombstones.push_back(Tombstone { hash: op.hash, lsn: appended.lsn, end: appended.end });
            }
        }
    }

    /// A version of a key is no longer current.
    #[inline]
    fn forget(&mut self, hash: KeyHash, old: Superseded) {
        if let Some(segment) = self.log.segment_of_mut(old.lsn) {
            segment.remove_live(old.footprint);
        }
        if let Some(at) = old.expires_at {
            self.expiries.remove(at, hash);
        }
    }

    /// Starts the partition's epoch in its log: the first record of every opening.
    ///
    /// # Errors
    /// [`AppendError::Room`]: nothing was written.
    pub fn start_epoch(&mut self, now: UnixMillis) -> Result<Appended, AppendError> {
        self.log.reserve(0)?;
        let time = self.observe(now);
        Ok(self.log.append(RecordKind::Epoch, time, 0, |_| {}))
    }

    /// Removes every key, as one record.
    ///
    /// # Errors
    /// [`AppendError::Room`]: nothing was written and nothing changed.
    pub fn clear(&mut self, now: UnixMillis) -> Result<Appended, AppendError> {
        let body_len = batch_len(1, 0);
        self.log.reserve(body_len)?;
        let time = self.observe(now);
        let op = [WriteOp {
            key: &[],
            value: &[],
            kind: OpKind::Clear,
            expires_at: None,
            supersedes: Lsn::ZERO,
            superseded_len: 0,
        }];
        let body_len = u32::try_from(body_len).expect("one operation is short");
        let appended = self.log.append(RecordKind::Batch, time, body_len, |body| write_batch(&op, body));
        self.clear_index(appended.end);
        Ok(appended)
    }

    /// Nothing is there any more; whoever is told so waits for `end`.
    pub(super) fn clear_index(&mut self, end: Lsn) {
        self.index.clear();
        self.tombstones.clear();
        self.indexed_tombstones = 0;
        self.expiries.clear();
        self.log.clear_live();
        self.cleared_end = end;
    }

    /// Deletes keys whose expiry has passed, `budget` of them at most. Returns how many: none on a follower, whose
    /// leader decides.
    ///
    /// # Errors
    /// [`AppendError::Room`]: the rest was not deleted; no reader sees the keys in any case.
    pub fn sweep_expired(&mut self, now: UnixMillis, budget: usize) -> Result<usize, AppendError> {
        let now = self.observe(now);
        if self.role() == Role::Follower {
            return Ok(0);
        }
        for swept in 0..budget {
            let Some((at, hash)) = self.expiries.first() else { return Ok(swept) };
            if at > now {
                return Ok(swept);
            }
            let mut key = mem::take(&mut self.scratch);
            let found = self.index.find(hash, |lsn, _| {
                let mut ops = self.log.batch_at(lsn).iter();
                let expired = ops
                    .find(|op| op.kind == OpKind::Put && op.expires_at == Some(at) && self.seed.hash(op.key) == hash);
                expired.map_or(Holds::No, |op| {
                    key.clear();
                    key.extend_from_slice(op.key);
                    Holds::Among
                })
            });
            let deleted = match found {
                Some(_) => self.append(now, &mut [Op { hash, key: &key, change: Change::Delete }]).map(|_| ()),
                None => Ok(()),
            };
            self.scratch = key;
            deleted?;
            // Two keys whose hash and expiry are the same share one place here; a reader sees neither of them.
            self.expiries.remove(at, hash);
        }
        Ok(budget)
    }
}

/// What is written for `op`, which supersedes `old`.
#[inline]
fn write_op<'a>(op: &Op<'a>, old: Option<Superseded>) -> WriteOp<'a> {
    let (kind, value, expires_at) = match op.change {
        Change::Put { value, expires_at } => (OpKind::Put, value, expires_at),
        Change::Delete => (OpKind::Delete, &[][..], None),
    };
    WriteOp {
        key: op.key,
        value,
        kind,
        expires_at,
        supersedes: old.map_or(Lsn::ZERO, |old| old.lsn),
        superseded_len: old.map_or(0, |old| if old.is_tombstone { 0 } else { old.footprint }),
    }
}
