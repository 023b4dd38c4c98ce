//! Reading keys.

use alloc::vec::Vec;

use super::{AppendError, Partition};
use crate::codec::{OpKind, OpView};
use crate::index::{Fragment, Holds};
use crate::log::SegmentMemory;
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

/// Where a scan goes on: opaque, below 2^40. Stays valid across writes and restarts.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct ScanCursor(u64);

impl ScanCursor {
    /// The start of every scan.
    pub const START: Self = Self(0);

    /// The cursor that [`get`](Self::get) gave. One that it never gave is harmless: the scan just begins elsewhere.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The cursor as a number below 2^40.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// One step of a scan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ScanStep {
    /// Where to go on; `None` when everything has been visited.
    pub next: Option<ScanCursor>,
    /// Nobody may be shown what was visited before the committed watermark has reached this; see [`Lookup::wait`].
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
        let lsn = self.index.find(hash, |lsn| {
            let batch = self.log.batch_at(lsn);
            match batch.find(key) {
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

    /// The position of the record that a lookup of this key will most likely read, for whoever wants to have it in the
    /// processor's cache by then. Touches the index only.
    #[inline]
    #[must_use]
    pub fn likely_candidate(&self, hash: KeyHash) -> Option<Lsn> {
        self.index.any_candidate(hash)
    }

    /// What whoever is shown the record at `lsn` has to wait for.
    #[inline]
    fn wait_for(&self, lsn: Lsn) -> Lsn {
        if lsn < self.committed() { Lsn::ZERO } else { self.log.record_end(lsn) }
    }

    /// What whoever is shown that a key is absent has to wait for.
    #[inline]
    fn wait_for_absence(&self) -> Lsn {
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
    fn live<'a>(&self, lsn: Lsn, op: OpView<'a>, now: UnixMillis, wait: &mut Lsn) -> Option<Entry<'a>> {
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

    /// Visits keys from `cursor` on, about `budget` of them, in the order of their hashes.
    ///
    /// A key that is there from the first step to the last is visited exactly once, whatever is written in between.
    pub fn scan(
        &self,
        cursor: ScanCursor,
        budget: usize,
        now: UnixMillis,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> ScanStep {
        let now = self.observe(now);
        let mut wait = self.wait_for_absence();
        // Records of several operations are looked at afterwards, each once, however many of its keys were met.
        let mut batches: Vec<(Lsn, Fragment)> = Vec::new();
        let next = self.index.scan(cursor.0, budget, &mut |fragment, lsn| {
            wait = wait.max(self.wait_for(lsn));
            match self.log.batch_at(lsn).only() {
                Some(op) => self.live(lsn, op, now, &mut wait).into_iter().for_each(&mut *visit),
                None => batches.push((lsn, fragment)),
            }
        });
        batches.sort_unstable();
        for met in batches.chunk_by(|a, b| a.0 == b.0) {
            let lsn = met[0].0;
            for op in self.log.batch_at(lsn).iter() {
                let hash = self.seed.hash(op.key);
                let is_met = met.binary_search(&(lsn, Fragment::of(hash))).is_ok();
                if is_met && self.is_current(hash, op.key, lsn) {
                    self.live(lsn, op, now, &mut wait).into_iter().for_each(&mut *visit);
                }
            }
        }
        ScanStep { next: next.map(ScanCursor), wait }
    }

    /// A key drawn at random, as even as the hash is. `draw` is a random number.
    ///
    /// Where nearly all keys have expired and none of those drawn is left, the first of those behind the last one drawn.
    #[must_use]
    pub fn random(&self, draw: u64, now: UnixMillis) -> Lookup<'_> {
        const TRIES: u64 = 64;
        let now = self.observe(now);
        let mut wait = self.wait_for_absence();
        for attempt in 0..TRIES {
            // Expired keys are passed over; the multiplier spreads the attempts (Knuth, TAOCP 6.4).
            let draw = draw.wrapping_add(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let Some((fragment, lsn)) = self.index.sample(draw) else { break };
            wait = wait.max(self.wait_for(lsn));
            let found = self.log.batch_at(lsn).iter().find_map(|op| {
                let hash = self.seed.hash(op.key);
                let is_drawn = Fragment::of(hash) == fragment && self.is_current(hash, op.key, lsn);
                if is_drawn { self.live(lsn, op, now, &mut wait) } else { None }
            });
            if found.is_some() {
                return Lookup { entry: found, wait };
            }
        }
        self.search(draw, now, wait)
    }

    /// A key that has not expired, where most have: a later one of those that expire, or one that does not among some
    /// thousands. `wait` is what whoever is told that there is none has to wait for so far.
    #[cold]
    fn search(&self, draw: u64, now: UnixMillis, mut wait: Lsn) -> Lookup<'_> {
        /// Entries that are looked at one by one: a core is not to be held up for long.
        const VISITED_MAX: usize = 4_096;
        if let Some((at, hash)) = self.expiries.first_after(now) {
            let mut found = None;
            self.index.for_each_candidate(hash, |lsn| {
                let mut ops = self.log.batch_at(lsn).iter();
                let op = ops.find(|op| op.expires_at == Some(at) && self.seed.hash(op.key) == hash);
                found = found.or(op.filter(|op| self.is_current(hash, op.key, lsn)).map(|op| (lsn, op)));
            });
            if let Some((lsn, op)) = found {
                wait = wait.max(self.wait_for(lsn));
                return Lookup { entry: self.live(lsn, op, now, &mut wait), wait };
            }
        }
        // Were all of those that expire swept, nothing would be left.
        let mut found = None;
        if self.len() > self.expiries.len() as u64 {
            for start in [ScanCursor(draw >> (u64::BITS - Fragment::BITS)), ScanCursor::START] {
                if found.is_none() {
                    let step = self.scan(start, VISITED_MAX, now, &mut |entry| {
                        found.get_or_insert((entry.lsn, self.seed.hash(entry.key)));
                    });
                    wait = wait.max(step.wait);
                }
            }
        }
        let op = found.and_then(|(lsn, hash)| {
            let op = self.log.batch_at(lsn).iter().find(|op| self.seed.hash(op.key) == hash)?;
            Some((lsn, op))
        });
        if let Some((lsn, op)) = op {
            return Lookup { entry: self.live(lsn, op, now, &mut wait), wait };
        }
        // Nothing was found: whoever is told so is told of every deletion, looked at or not.
        let deleted = self.tombstones.back().map_or(Lsn::ZERO, |tombstone| tombstone.end);
        Lookup { entry: None, wait: wait.max(deleted) }
    }

    /// Whether the record at `lsn` holds the newest version of a key. A record may outlive some of its operations.
    pub(super) fn is_current(&self, hash: KeyHash, key: &[u8], lsn: Lsn) -> bool {
        self.find(hash, key).is_some_and(|(newest, _)| newest == lsn)
    }
}
