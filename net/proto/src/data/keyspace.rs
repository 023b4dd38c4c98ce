//! What a command sees of the keys: either a partition itself, or a partition below the changes of a transaction.

use windrow_core::{
    log::SegmentMemory,
    partition::{AppendError, Change, Op, Partition},
    types::{KeyHash, Lsn, UnixMillis},
};

/// A key with its hash, which is taken once per command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Key<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) hash: KeyHash,
}

/// The value of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) value: &'a [u8],
    pub(super) expires_at: Option<UnixMillis>,
    /// Its record in the log; `None` for a change that is not written yet.
    pub(super) lsn: Option<Lsn>,
}

/// A value where it lies in the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogRange {
    /// The position of its first byte.
    pub start: Lsn,
    /// Its length in bytes.
    pub len: usize,
}

/// Keys that can be read and changed at one moment, by which a key has expired or not.
///
/// Invariant: what `apply` was given is what `get` finds from then on; an apply that fails changes nothing.
pub(super) trait Keyspace {
    fn hash(&self, key: &[u8]) -> KeyHash;

    /// What `key` has, and the log position that whoever shows that must wait for.
    fn get(&self, key: Key<'_>) -> (Option<Found<'_>>, Lsn);

    /// Applies all changes or none; returns the log position that whoever confirms them must wait for. No key may
    /// come twice.
    fn apply(&mut self, ops: &mut [Op<'_>]) -> Result<Lsn, AppendError>;

    /// Where a value that `get` has found lies in the log, if it does.
    fn locate(&self, found: Found<'_>) -> Option<LogRange>;
}

/// A partition as it is now.
pub(super) struct Direct<'p, M> {
    pub(super) partition: &'p mut Partition<M>,
    pub(super) now: UnixMillis,
}

impl<M: SegmentMemory> Keyspace for Direct<'_, M> {
    #[inline]
    fn hash(&self, key: &[u8]) -> KeyHash {
        self.partition.hash(key)
    }

    #[inline]
    fn get(&self, key: Key<'_>) -> (Option<Found<'_>>, Lsn) {
        let lookup = self.partition.get(key.hash, key.bytes, self.now);
        let found =
            lookup.entry.map(|entry| Found { value: entry.value, expires_at: entry.expires_at, lsn: Some(entry.lsn) });
        (found, lookup.wait)
    }

    #[inline]
    fn apply(&mut self, ops: &mut [Op<'_>]) -> Result<Lsn, AppendError> {
        self.partition.append(self.now, ops).map(|appended| appended.end)
    }

    fn locate(&self, found: Found<'_>) -> Option<LogRange> {
        let (base, memory) = self.partition.segment_holding(found.lsn?)?;
        // The value lies in this segment, whose bytes are all in one piece.
        let offset = found.value.as_ptr().addr().checked_sub(memory.published(0..1).as_ptr().addr())?;
        Some(LogRange { start: base.plus(u64::try_from(offset).ok()?), len: found.value.len() })
    }
}

pub(super) const fn put<'a>(key: Key<'a>, value: &'a [u8], expires_at: Option<UnixMillis>) -> Op<'a> {
    Op { hash: key.hash, key: key.bytes, change: Change::Put { value, expires_at } }
}

pub(super) const fn delete(key: Key<'_>) -> Op<'_> {
    Op { hash: key.hash, key: key.bytes, change: Change::Delete }
}
