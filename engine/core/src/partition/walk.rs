//! Visiting keys in the order of the log.
//!
//! A scan in the order of hashes looks up each key somewhere in the log. This reads the log from front to back, each
//! record once, and asks the index of each operation whether it still is its key's newest. It is the faster of the two
//! unless most of what is in the log has been overwritten ([`Partition::is_mostly_live`]).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use super::read::Entry;
use super::{Partition, ScanCursor};
use crate::codec::{OpView, RecordKind};
use crate::log::{Damaged, LogSegment, SegmentMemory};
use crate::types::limits::SEGMENT_HEADER_LEN;
use crate::types::{KeyHash, Lsn, UnixMillis};

/// Operations whose index entries are brought nearer at the same time: about as many loads as a processor has under way.
const AHEAD: usize = 32;
/// Keys of one step of a scan that nobody interrupts.
const SCANNED_AT_ONCE: usize = 10_000;
/// A log of more than this many times the bytes of its live operations is mostly overwritten.
const LOG_BYTES_PER_LIVE_BYTE: u64 = 8;

/// Where a walk over the log stands.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LogWalk {
    /// The record to go on with, or the position behind the last.
    next: Lsn,
    /// The operation of that record to go on with.
    op: usize,
    /// Where the log ended when the walk began.
    end: Option<Lsn>,
    /// The record that was verified last, in this step.
    verified: Option<Lsn>,
}

/// What there is after a step of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Walked {
    /// More of the log.
    More,
    /// Nothing: everything has been visited.
    All,
    /// What is not known: where the walk was to go on, or where the newest version of a key is, there is no whole record.
    /// The log was cut meanwhile, or has been damaged since it was written. A scan of the index finds what was not visited,
    /// and says what is damaged.
    Lost,
}

/// One step of a walk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WalkStep {
    /// What there is behind it.
    pub walked: Walked,
    /// Nobody may be shown what was visited before the committed watermark has reached this; see
    /// [`Lookup::wait`](super::Lookup::wait).
    pub wait: Lsn,
}

/// An operation that the walk has come to.
#[derive(Clone, Copy)]
struct Passed<'a> {
    lsn: Lsn,
    hash: KeyHash,
    op: OpView<'a>,
}

impl<M: SegmentMemory> Partition<M> {
    /// Whether the log has not much more in it than what is current.
    #[must_use]
    pub fn is_mostly_live(&self) -> bool {
        let live: u64 = self.log.segments().map(LogSegment::live_bytes).sum();
        self.log.appended().since(self.log.start()) / LOG_BYTES_PER_LIVE_BYTE <= live
    }

    /// Visits keys in the order of the log, from where `walk` stands: those of the next `budget` operations.
    ///
    /// A key that is there from the first step to the last is visited, exactly once unless it is written in between. The
    /// walk ends where the log ended when it began: the newest version of a key that was written since is visited where
    /// the walk meets an older one. To be given up where it is [lost](Walked::Lost).
    pub fn walk(
        &self,
        walk: &mut LogWalk,
        budget: usize,
        now: UnixMillis,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> WalkStep {
        let now = self.observe(now);
        let mut wait = self.wait_for_absence();
        let end = *walk.end.get_or_insert(self.log.appended());
        walk.verified = None;
        let (mut left, mut walked) = (budget, Walked::More);
        let mut passed: Vec<Passed<'_>> = Vec::with_capacity(AHEAD);
        let mut verified = BTreeSet::new();
        while left > 0 && walked == Walked::More {
            passed.clear();
            walked = self.pass(walk, end, left.min(AHEAD), &mut passed);
            left -= passed.len();
            if self.show(&passed, end, &mut verified, now, &mut wait, visit).is_err() {
                walked = Walked::Lost;
            }
        }
        WalkStep { walked, wait }
    }

    /// Visits every key once, in the order that takes less time. Returns what has to be committed before anybody is shown
    /// what was visited; see [`Lookup::wait`](super::Lookup::wait).
    ///
    /// # Errors
    /// [`Damaged`]: there is a record that has been damaged since it was written.
    pub fn for_each(&self, now: UnixMillis, visit: &mut dyn FnMut(Entry<'_>)) -> Result<Lsn, Damaged> {
        if self.is_mostly_live() {
            return self.for_each_in_log(now, visit);
        }
        let (mut cursor, mut wait) = (Some(ScanCursor::START), Lsn::ZERO);
        while let Some(from) = cursor {
            let step = self.scan(from, SCANNED_AT_ONCE, now, visit);
            step.damage.map_or(Ok(()), Err)?;
            (cursor, wait) = (step.next, wait.max(step.wait));
        }
        Ok(wait)
    }

    /// Visits every key once, in the order of the log. Nothing is written meanwhile, so no place in it can be lost: where
    /// there is no whole record, one has been damaged.
    fn for_each_in_log(&self, now: UnixMillis, visit: &mut dyn FnMut(Entry<'_>)) -> Result<Lsn, Damaged> {
        let now = self.observe(now);
        let mut wait = self.wait_for_absence();
        let end = self.log.appended();
        let mut passed: Vec<Passed<'_>> = Vec::with_capacity(AHEAD);
        for segment in self.log.segments() {
            let mut walk = LogWalk { next: segment.base(), ..LogWalk::default() };
            let mut verified = BTreeSet::new();
            let behind = segment.base().plus(segment.segment_len());
            while walk.next < behind {
                passed.clear();
                self.pass_in(segment, &mut walk, end, AHEAD, &mut passed)?;
                self.show(&passed, end, &mut verified, now, &mut wait, visit)?;
            }
        }
        Ok(wait)
    }

    /// Visits those of these operations that are the newest of their keys. `verified` as for
    /// [`newest_of`](Self::newest_of).
    fn show(
        &self,
        passed: &[Passed<'_>],
        end: Lsn,
        verified: &mut BTreeSet<Lsn>,
        now: UnixMillis,
        wait: &mut Lsn,
        visit: &mut dyn FnMut(Entry<'_>),
    ) -> Result<(), Damaged> {
        for &op in passed {
            if let Some((lsn, op)) = self.newest_of(op, end, verified)? {
                *wait = (*wait).max(self.wait_for(lsn));
                self.live(lsn, op, now, wait).into_iter().for_each(&mut *visit);
            }
        }
        Ok(())
    }

    /// Takes the next operations of the log, `count` of them or all that there are.
    fn pass<'a>(&'a self, walk: &mut LogWalk, end: Lsn, count: usize, passed: &mut Vec<Passed<'a>>) -> Walked {
        if walk.next < self.log.start() {
            (walk.next, walk.op) = (self.log.start(), 0);
        }
        while passed.len() < count {
            if walk.next >= end {
                return Walked::All;
            }
            let Some(segment) = self.log.segment_of(walk.next) else { return Walked::Lost };
            // What is taken for damage may as well be the middle of a record that was written since the log was cut.
            if self.pass_in(segment, walk, end, count, passed).is_err() {
                return Walked::Lost;
            }
        }
        Walked::More
    }

    /// Takes the next operations of this segment, until there are `count`; behind the last, the walk goes on in the next
    /// segment.
    fn pass_in<'a>(
        &'a self,
        segment: &'a LogSegment<M>,
        walk: &mut LogWalk,
        end: Lsn,
        count: usize,
        passed: &mut Vec<Passed<'a>>,
    ) -> Result<(), Damaged> {
        let upto = end.min(segment.base().plus(segment.records_limit()));
        while passed.len() < count {
            let lsn = walk.next.max(segment.base().plus(SEGMENT_HEADER_LEN as u64));
            if lsn >= upto {
                (walk.next, walk.op) = (segment.base().plus(segment.segment_len()), 0);
                return Ok(());
            }
            // A length that was not written so would lead anywhere.
            let header = self.log.header_in(segment, lsn)?;
            if header.kind == RecordKind::Batch {
                if walk.verified != Some(lsn) {
                    self.verify_doubted(lsn)?;
                    walk.verified = Some(lsn);
                }
                let batch = self.log.batch_at(lsn);
                let upto = batch.len().min(walk.op + count - passed.len());
                for op in (walk.op..upto).filter_map(|number| batch.get(number)) {
                    let hash = self.seed.hash(op.key);
                    self.index.prefetch(hash);
                    passed.push(Passed { lsn, hash, op });
                }
                if upto < batch.len() {
                    (walk.next, walk.op) = (lsn, upto);
                    continue;
                }
            }
            (walk.next, walk.op) = (lsn.plus(header.record_len()), 0);
        }
        Ok(())
    }

    /// What there is to be shown where the walk has come to `op` of the record at `lsn`: that, if it is the newest of its
    /// key; a version behind the end of the walk, because nothing else will lead there.
    ///
    /// `verified` are the records that were verified in this step though the walk did not come to them: one that has many
    /// of the keys anew is verified once for all of them.
    fn newest_of<'a>(
        &'a self,
        passed: Passed<'a>,
        end: Lsn,
        verified: &mut BTreeSet<Lsn>,
    ) -> Result<Option<(Lsn, OpView<'a>)>, Damaged> {
        let Passed { lsn, hash, op } = passed;
        let (mut is_here, mut is_later, mut is_behind) = (false, false, false);
        self.index.for_each_candidate(hash, |candidate| {
            is_here |= candidate == lsn;
            is_later |= candidate > lsn;
            is_behind |= candidate >= end;
        });
        if is_here && !is_later {
            // No newer record can have the key, and what this one holds of it the index still points to.
            return Ok(Some((lsn, op)));
        }
        if !is_here && !is_behind {
            return Ok(None);
        }
        // What the search comes to is not what the walk has verified.
        let mut damage = Ok(());
        self.index.for_each_candidate(hash, |candidate| {
            if damage.is_ok() && verified.insert(candidate) {
                damage = self.verify_doubted(candidate);
            }
        });
        damage?;
        Ok(self.find(hash, op.key).filter(|(found, _)| *found == lsn || *found >= end))
    }
}
