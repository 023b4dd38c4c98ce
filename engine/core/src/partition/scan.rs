//! Visiting keys in the order of their hashes, and drawing one.

use alloc::vec::Vec;

use super::Partition;
use super::read::{Entry, Lookup};
use crate::codec::OpView;
use crate::index::{Fragment, Part};
use crate::log::{Damaged, SegmentMemory};
use crate::types::{Lsn, UnixMillis};

/// A key in a record of so many operations takes about as long to find as one more key in a record of its own: its
/// part of them is hashed. Records of many operations end a step of a scan sooner.
const OPS_PER_UNIT: usize = 256;

/// Where a scan goes on: opaque, below 2^36. Stays valid across writes and restarts.
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

    /// The cursor as a number below 2^36.
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
    /// A record that has been damaged since it was written, and whose keys were left out.
    pub damage: Option<Damaged>,
}

/// An entry of the index that a scan has met, of a record of several operations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Met {
    lsn: Lsn,
    part: Part,
    fragment: Fragment,
}

impl<M: SegmentMemory> Partition<M> {
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
        // Records of several operations, or that are to be verified, are looked at afterwards, each once, however many of
        // its keys were met.
        let mut batches: Vec<Met> = Vec::new();
        let next = self.index.scan(cursor.0, budget, &mut |fragment, lsn, part| {
            wait = wait.max(self.wait_for(lsn));
            let batch = self.log.batch_at(lsn);
            match batch.only() {
                Some(op) if !self.is_doubted(lsn) => {
                    self.live(lsn, op, now, &mut wait).into_iter().for_each(&mut *visit)
                }
                _ => batches.push(Met { lsn, part, fragment }),
            }
            batch.len() / OPS_PER_UNIT
        });
        batches.sort_unstable();
        let mut damage = None;
        for met in batches.chunk_by(|a, b| a.lsn == b.lsn) {
            let lsn = met[0].lsn;
            if let Err(damaged) = self.verify_doubted(lsn) {
                damage.get_or_insert(damaged);
                continue;
            }
            let damaged =
                self.current_ops(met, &mut |op| self.live(lsn, op, now, &mut wait).into_iter().for_each(&mut *visit));
            damage = damage.or(damaged);
        }
        ScanStep { next: next.map(ScanCursor), wait, damage }
    }

    /// Visits the operations that these entries of one record stand for. `met` is sorted.
    ///
    /// An entry says in which part of its record the operation is, so only these are hashed. That is a hint: where fewer
    /// operations are found than there are entries, all are. Returns a record that keeps it from saying of an operation
    /// whether it is current, and because of which that was left out.
    fn current_ops<'a>(&'a self, met: &[Met], visit: &mut dyn FnMut(OpView<'a>)) -> Option<Damaged> {
        let lsn = met[0].lsn;
        let batch = self.log.batch_at(lsn);
        let mut fragments: Vec<Fragment> = met.iter().map(|entry| entry.fragment).collect();
        fragments.sort_unstable();
        let mut damage = None;
        let mut current = |number: usize| {
            let op = batch.get(number)?;
            let hash = self.seed.hash(op.key);
            let is_met = fragments.binary_search(&Fragment::of(hash)).is_ok();
            let is_newest = is_met.then(|| self.is_newest(hash, op.key, lsn))?;
            is_newest.map_err(|damaged| damage = Some(damaged)).unwrap_or(false).then_some(op)
        };
        let parts = met.chunk_by(|a, b| a.part == b.part).flat_map(|same| same[0].part.range(batch.len()));
        let mut found: Vec<OpView<'a>> = parts.filter_map(&mut current).collect();
        if found.len() < met.len() {
            found.clear();
            found.extend((0..batch.len()).filter_map(&mut current));
        }
        found.into_iter().for_each(visit);
        damage
    }

    /// A key drawn at random, as even as the hash is. `draw` is a random number.
    ///
    /// Where nearly all keys have expired and none of those drawn is left, the first of those behind the last one drawn.
    ///
    /// # Errors
    /// [`Damaged`]: the key that was drawn is in a record that has been damaged since it was written.
    pub fn random(&self, draw: u64, now: UnixMillis) -> Result<Lookup<'_>, Damaged> {
        const TRIES: u64 = 64;
        let now = self.observe(now);
        let mut wait = self.wait_for_absence();
        for attempt in 0..TRIES {
            // Expired keys are passed over; the multiplier spreads the attempts (Knuth, TAOCP 6.4).
            let draw = draw.wrapping_add(attempt).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let Some((fragment, lsn, part)) = self.index.sample(draw) else { break };
            self.verify_doubted(lsn)?;
            wait = wait.max(self.wait_for(lsn));
            let mut found = None;
            let damage = self.current_ops(&[Met { lsn, part, fragment }], &mut |op| {
                found = found.or(self.live(lsn, op, now, &mut wait));
            });
            if found.is_some() {
                return Ok(Lookup { entry: found, wait });
            }
            damage.map_or(Ok(()), Err)?;
        }
        self.search(draw, now, wait)
    }

    /// A key that has not expired, where most have: a later one of those that expire, or one that does not among some
    /// thousands. `wait` is what whoever is told that there is none has to wait for so far.
    #[cold]
    fn search(&self, draw: u64, now: UnixMillis, mut wait: Lsn) -> Result<Lookup<'_>, Damaged> {
        /// Entries that are looked at one by one: a core is not to be held up for long.
        const VISITED_MAX: usize = 4_096;
        if let Some((at, hash)) = self.expiries.first_after(now) {
            self.verify_candidates(&[hash])?;
            let mut found = None;
            self.index.for_each_candidate(hash, |lsn| {
                let mut ops = self.log.batch_at(lsn).iter();
                let op = ops.find(|op| op.expires_at == Some(at) && self.seed.hash(op.key) == hash);
                found = found.or(op.filter(|op| self.is_current(hash, op.key, lsn)).map(|op| (lsn, op)));
            });
            if let Some((lsn, op)) = found {
                wait = wait.max(self.wait_for(lsn));
                return Ok(Lookup { entry: self.live(lsn, op, now, &mut wait), wait });
            }
        }
        // Were all of those that expire swept, nothing would be left.
        let (mut found, mut damage) = (None, None);
        if self.len() > self.expiries.len() as u64 {
            for start in [ScanCursor(draw >> (u64::BITS - Fragment::BITS)), ScanCursor::START] {
                if found.is_none() {
                    let step = self.scan(start, VISITED_MAX, now, &mut |entry| {
                        found.get_or_insert((entry.lsn, self.seed.hash(entry.key)));
                    });
                    wait = wait.max(step.wait);
                    damage = damage.or(step.damage);
                }
            }
        }
        let op = found.and_then(|(lsn, hash)| {
            let op = self.log.batch_at(lsn).iter().find(|op| self.seed.hash(op.key) == hash)?;
            Some((lsn, op))
        });
        if let Some((lsn, op)) = op {
            return Ok(Lookup { entry: self.live(lsn, op, now, &mut wait), wait });
        }
        damage.map_or(Ok(()), Err)?;
        // Nothing was found: whoever is told so is told of every deletion, looked at or not.
        let deleted = self.tombstones.back().map_or(Lsn::ZERO, |tombstone| tombstone.end);
        Ok(Lookup { entry: None, wait: wait.max(deleted) })
    }
}
