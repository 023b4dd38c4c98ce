//! Reading keys.

use alloc::vec::Vec;

use super::Partition;
use crate::codec::{OpKind, OpView};
use crate::index::Fragment;
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
    /// Nobody may be shown what was visited before the committed watermark has reached this.
    pub wait: Lsn,
}

impl<M: SegmentMemory> Partition<M> {
    /// The newest operation on a key, tombstones and expired values included.
    #[inline]
    pub(super) fn find(&self, hash: KeyHash, key: &[u8]) -> Option<(Lsn, OpView<'_>)> {
        let mut found = None;
        let lsn = self.index.find(hash, |lsn| match self.log.batch_at(lsn).find(key) {
            Some(op) => {
                found = Some(op);
                true
            }
            None => false,
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
            Some((lsn, op)) => Lookup { entry: live(lsn, op, now), wait: self.wait_for(lsn) },
        }
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
                Some(op) => live(lsn, op, now).into_iter().for_each(&mut *visit),
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
                    live(lsn, op, now).into_iter().for_each(&mut *visit);
                }
            }
        }
        ScanStep { next: next.map(ScanCursor), wait }
    }

    /// A key drawn at random, as even as the hash is. `draw` is a random number.
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
                live(lsn, op, now).filter(|_| is_drawn)
            });
            if found.is_some() {
                return Lookup { entry: found, wait };
            }
        }
        // Nothing was found among those drawn: whoever is told so is told of every deletion, drawn or not.
        let deleted = self.tombstones.back().map_or(Lsn::ZERO, |tombstone| tombstone.end);
        Lookup { entry: None, wait: wait.max(deleted) }
    }

    /// Whether the record at `lsn` holds the newest version of a key. A record may outlive some of its operations.
    pub(super) fn is_current(&self, hash: KeyHash, key: &[u8], lsn: Lsn) -> bool {
        self.find(hash, key).is_some_and(|(newest, _)| newest == lsn)
    }
}

fn live(lsn: Lsn, op: OpView<'_>, now: UnixMillis) -> Option<Entry<'_>> {
    let is_live = op.kind == OpKind::Put && op.expires_at.is_none_or(|at| at > now);
    is_live.then_some(Entry { key: op.key, value: op.value, expires_at: op.expires_at, lsn })
}
