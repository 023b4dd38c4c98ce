//! Reading keys.

use alloc::vec::Vec;

use super::{AppendError, Partition};
use crate::codec::{OpKind, OpView};
use crate::index::Holds;
use crate::log::{Damaged, SegmentMemory};
use crate::types::{KeyHash, Lsn, UnixMillis};

/// One key as it stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry<'a> {
    /// The key, in the log.
    pub key: &'a [u8],
    /// The value, in the log.
    pub value: &'a [u8],
    /// When it ceases to exist.
    pub expires_at: Option<UnixMillis>,
    /// The record that holds it: the version of the key.
    pub lsn: Lsn,
}

/// What a key lookup found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lookup<'a> {
    /// The key; `None` where there is none, or its expiry has passed.
    pub entry: Option<Entry<'a>>,
    /// Nobody may be shown this before the committed watermark has reached it. [`Lsn::ZERO`]: at once.
    ///
    /// May lie behind the end of the log: that a key has expired is shown when a record of that time is committed, because
    /// a start with an earlier clock would bring it back. [`settle`](Partition::settle) appends one.
    pub wait: Lsn,
}

impl<M: SegmentMemory> Partition<M> {
    /// Sees to it that what whoever looked something up is told to wait for can be waited for; returns that position.
    ///
    /// # Errors
    /// [`AppendError::Room`]: the next segment is being prepared; look it up again when that is done.
    #[inline]
    pub fn settle(&mut self, now: UnixMillis, wait: Lsn) -> Result<Lsn, AppendError> {
        if wait <= self.log.appended() {
            return Ok(wait);
        }
        match self.start_epoch(now) {
            Ok(logged) => Ok(logged.end),
            Err(error) if error.is_not_ready() => Err(error),
            // Where there is no room, what has expired may come back: see docs/safety.md.
            Err(_) => Ok(self.log.appended()),
        }
    }

    /// The newest operation on a key, tombstones and expired values included.
    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: &[u8]) -> Option<(Lsn, OpView<'_>)> {
        let mut found = None;
        let lsn = self.index.find(hash, |lsn, part| {
            let batch = self.log.batch_at(lsn);
            match batch.find_in(part.range(batch.len()), key) {
                Some(op) => {
                    found = Some(op);
                    // A deletion may be one that the leader has let go of, and a newer record have an entry of its own.
                    if batch.len() == 1 && op.kind == OpKind::Put { Holds::Alone } else { Holds::Among }
                }
                None => Holds::No,
            }
        })?;
        found.map(|op| (lsn, op))
    }

    /// The positions of the records that a lookup of this key would read, of which there is nearly always one.
    ///
    /// Touches the index only, not the log: a driver that must not wait for the disk can see to it first that these
    /// records are in memory.
    pub fn for_each_candidate(&self, hash: KeyHash, visit: impl FnMut(Lsn)) {
        self.index.for_each_candidate(hash, visit);
    }

    /// Whether a lookup of this key would read a record that is [doubted](Self::doubt_beyond). Touches the index only.
    #[inline]
    #[must_use]
    pub fn leads_to_doubted(&self, hash: KeyHash) -> bool {
        let mut is_doubted = false;
        self.for_each_candidate(hash, |lsn| is_doubted |= self.is_doubted(lsn));
        is_doubted
    }

    /// Looks once more at the records that lookups of these keys would read, as far as they are
    /// [doubted](Self::doubt_beyond): at each once, however many of the keys it may hold. For whoever is about to read or to
    /// write the keys: one whose record is damaged may look as if it were absent.
    ///
    /// # Errors
    /// [`Damaged`]: one of them is not what was written.
    pub fn verify_candidates(&self, hashes: &[KeyHash]) -> Result<(), Damaged> {
        if !self.has_doubted() {
            return Ok(());
        }
        if let &[hash] = hashes {
            let mut verified = Ok(());
            self.for_each_candidate(hash, |lsn| {
                if verified.is_ok() && self.is_doubted(lsn) {
                    verified = self.verify_at(lsn);
                }
            });
            return verified;
        }
        let mut records = Vec::with_capacity(hashes.len());
        for &hash in hashes {
            self.for_each_candidate(hash, |lsn| records.extend(self.is_doubted(lsn).then_some(lsn)));
        }
        records.sort_unstable();
        records.dedup();
        records.into_iter().try_for_each(|lsn| self.verify_at(lsn))
    }

    /// The position of the record that a lookup of this key will most likely read, for whoever wants to have it in the
    /// processor's cache by then. Touches the index only.
    #[inline]
    #[must_use]
    pub fn likely_candidate(&self, hash: KeyHash) -> Option<Lsn> {
        self.index.any_candidate(hash)
    }

    /// What whoever is shown the record at `lsn` has to wait for.
    #[inline]
    pub(super) fn wait_for(&self, lsn: Lsn) -> Lsn {
        if lsn < self.committed() { Lsn::ZERO } else { self.log.record_end(lsn) }
    }

    /// What whoever is shown that a key is absent has to wait for.
    #[inline]
    pub(super) fn wait_for_absence(&self) -> Lsn {
        if self.cleared_end <= self.committed() { Lsn::ZERO } else { self.cleared_end }
    }

    /// Looks a key up. `hash` is [`Partition::hash`] of `key`.
    #[inline]
    pub fn get(&self, hash: KeyHash, key: &[u8], now: UnixMillis) -> Lookup<'_> {
        let now = self.observe(now);
        match self.find(hash, key) {
            None => Lookup { entry: None, wait: self.wait_for_absence() },
            Some((lsn, op)) => {
                let mut wait = self.wait_for(lsn);
                Lookup { entry: self.live(lsn, op, now, &mut wait), wait }
            }
        }
    }

    /// What an operation shows of its key: nothing if that is deleted or has expired.
    #[inline]
    pub(super) fn live<'a>(&self, lsn: Lsn, op: OpView<'a>, now: UnixMillis, wait: &mut Lsn) -> Option<Entry<'a>> {
        if op.kind != OpKind::Put {
            return None;
        }
        if let Some(at) = op.expires_at
            && at <= now
        {
            *wait = (*wait).max(self.wait_for_expiry(at));
            return None;
        }
        Some(Entry { key: op.key, value: op.value, expires_at: op.expires_at, lsn })
    }

    /// What whoever is shown that something expired at `at` has to wait for: a record of that time or a later one, with
    /// which every start begins its clock.
    ///
    /// Nothing where none can be written: for somebody else's log, a follower's, and while there is no room.
    #[cold]
    fn wait_for_expiry(&self, at: UnixMillis) -> Lsn {
        if at <= self.settled || self.is_read_only || !self.log.takes_records() {
            return Lsn::ZERO;
        }
        let appended = self.log.appended();
        if at <= self.log.newest_time() { appended } else { appended.plus(1) }
    }

    /// Whether the record at `lsn` holds the newest version of a key. A record may outlive some of its operations.
    pub(super) fn is_current(&self, hash: KeyHash, key: &[u8], lsn: Lsn) -> bool {
        self.find(hash, key).is_some_and(|(newest, _)| newest == lsn)
    }

    /// As [`is_current`](Self::is_current), of a verified record that has the key. A later record that a key with the same
    /// fragment leads to is verified before it is searched: where the key is damaged there, an old version would be taken
    /// for the newest.
    ///
    /// # Errors
    /// [`Damaged`]: such a record is not what was written.
    pub(super) fn is_newest(&self, hash: KeyHash, key: &[u8], lsn: Lsn) -> Result<bool, Damaged> {
        let (mut is_here, mut is_later) = (false, false);
        self.for_each_candidate(hash, |candidate| {
            is_here |= candidate == lsn;
            is_later |= candidate > lsn;
        });
        if !is_here || !is_later {
            return Ok(is_here);
        }
        self.verify_candidates(&[hash])?;
        Ok(self.is_current(hash, key, lsn))
    }
}
