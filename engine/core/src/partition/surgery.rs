//! Cutting a follower's log, or beginning it anew, so that a crash at any moment leaves a log that opens.
//!
//! Steps: wait until nothing is under way; keep a copy of what is cut from a segment that stays; note in the superblock
//! where the log ends from now on, which makes whatever stands behind unreadable however whole it looks; cut in memory,
//! put the segments behind aside, zero the rest and flush it; take the note back. A crash after the note is finished by
//! the next opening, one before it changes nothing.

use alloc::vec::Vec;
use core::mem;

use thiserror::Error;

use super::replay::Replay;
use super::{Partition, ReplicaAction, Role};
use crate::codec::Chain;
use crate::log::{CutPoint, LogSegment, SegmentMemory};
use crate::types::limits::SEGMENT_LEN_ALIGN;
use crate::types::{Lsn, UnixMillis};

/// Why a log cannot be cut. Nothing has changed.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CutError {
    /// This replica leads, or is alone.
    #[error("only a follower cuts its log")]
    NotFollower,
    /// The log is being cut already.
    #[error("the log is being cut already")]
    Busy,
    /// No record ends there.
    #[error("no record of this log ends at LSN {lsn}")]
    NoRecordEnd {
        /// Where the log was to end.
        lsn: Lsn,
    },
    /// No segment starts there.
    #[error("no segment starts at LSN {lsn}")]
    NoSegmentStart {
        /// Where the log was to start.
        lsn: Lsn,
    },
}

#[derive(Clone, Copy)]
enum Kind {
    Cut(CutPoint),
    Reset { start: Lsn, chain: Chain },
}

enum Step {
    /// Until nothing is under way.
    Quiet,
    /// A copy is to be asked for, now or at the next tick.
    Copy { upto: Lsn, now: bool },
    /// The copy is being written.
    Copying { upto: Lsn },
    /// Until the superblock says where the log ends.
    Noting { generation: u64 },
    /// Segments are to be put aside.
    Move { bases: Vec<Lsn> },
    /// They are being moved.
    Moving,
    /// Until the zeros are flushed and the segments are gone.
    Settling,
    /// Until the superblock has forgotten about it.
    Forgetting { generation: u64 },
}

/// A log that is being cut.
pub(super) struct Surgery {
    kind: Kind,
    step: Step,
    /// Names what is put aside: the superblock's generation, which no other cut shares.
    label: u64,
}

impl<M: SegmentMemory> Partition<M> {
    /// Cuts the log at `to`, where a record ends: whatever is behind is kept aside and can never be read as part of this
    /// log again. Drive the actions until [`ReplicaAction::CutDone`].
    ///
    /// Nobody may wait to be shown or confirmed any of what is behind `to`, now and until it is done, see
    /// [`is_being_cut`](Self::is_being_cut).
    ///
    /// # Errors
    /// [`CutError`].
    pub fn begin_cut(&mut self, to: Lsn) -> Result<(), CutError> {
        self.check_operable()?;
        let no_record = CutError::NoRecordEnd { lsn: to };
        if to < self.log.start() || to > self.log.appended() {
            return Err(no_record);
        }
        let point = self.log.cut_point(to, self.superblock.start_chain).ok_or(no_record)?;
        self.begin(Kind::Cut(point));
        Ok(())
    }

    /// Puts the whole log aside and begins another one at `start`, a segment's base, with `chain`. Drive the actions until
    /// [`ReplicaAction::ResetDone`].
    ///
    /// # Errors
    /// [`CutError`].
    pub fn begin_reset(&mut self, start: Lsn, chain: Chain) -> Result<(), CutError> {
        self.check_operable()?;
        if !start.get().is_multiple_of(SEGMENT_LEN_ALIGN) {
            return Err(CutError::NoSegmentStart { lsn: start });
        }
        self.begin(Kind::Reset { start, chain });
        Ok(())
    }

    fn check_operable(&self) -> Result<(), CutError> {
        if self.role() != Role::Follower {
            return Err(CutError::NotFollower);
        }
        if self.is_operated_on() { Err(CutError::Busy) } else { Ok(()) }
    }

    fn begin(&mut self, kind: Kind) {
        self.log.pause(true);
        let label = self.superblock.generation;
        self.replication().surgery = Some(Surgery { kind, step: Step::Quiet, label });
    }

    /// Whether the log is being cut, from [`begin_cut`](Self::begin_cut) or [`begin_reset`](Self::begin_reset) until it
    /// is done. Whatever is read meanwhile may be what is cut: show none of it.
    #[must_use]
    pub fn is_being_cut(&self) -> bool {
        self.is_operated_on()
    }

    /// Whether the log is being cut.
    pub(super) fn is_operated_on(&self) -> bool {
        self.replication.as_ref().is_some_and(|replication| replication.surgery.is_some())
    }

    /// What a cut that is under way needs, or that it is done.
    pub(super) fn poll_surgery(&mut self) -> Option<ReplicaAction> {
        self.settle_surgery();
        let generation = self.settled_generation();
        let surgery = self.replication().surgery.as_mut()?;
        let label = surgery.label;
        match (&mut surgery.step, surgery.kind) {
            (&mut Step::Copy { upto, now: true }, Kind::Cut(CutPoint { to, .. })) => {
                surgery.step = Step::Copying { upto };
                Some(ReplicaAction::PutAside { from: to, upto, label })
            }
            (Step::Move { bases }, _) => {
                let bases = mem::take(bases);
                surgery.step = Step::Moving;
                Some(ReplicaAction::MoveAside { bases, label })
            }
            (Step::Forgetting { generation: wanted }, kind) if generation >= *wanted => {
                self.replication().surgery = None;
                self.log.pause(false);
                Some(match kind {
                    Kind::Cut(CutPoint { to, chain, .. }) => ReplicaAction::CutDone { to, chain },
                    Kind::Reset { start, .. } => ReplicaAction::ResetDone { start },
                })
            }
            _ => None,
        }
    }

    /// Takes the steps of a cut that need nobody: each may let something else be wanted, so everything that is polled
    /// begins with this.
    pub(super) fn settle_surgery(&mut self) {
        while let Some(Surgery { step, kind, .. }) = self.replication.as_ref().and_then(|one| one.surgery.as_ref()) {
            let kind = *kind;
            let next = match step {
                Step::Quiet if self.log.is_quiet() && self.superblock_in_flight.is_none() => match kind {
                    Kind::Cut(point) if self.log.end_beside(&point) > point.to => {
                        Step::Copy { upto: self.log.end_beside(&point), now: true }
                    }
                    Kind::Cut(_) | Kind::Reset { .. } => self.note(kind),
                },
                Step::Noting { generation } if self.settled_generation() >= *generation => {
                    let bases = self.operate(kind);
                    if bases.is_empty() { Step::Settling } else { Step::Move { bases } }
                }
                Step::Settling if !self.log.owes_flush() && !self.log.is_discarding() => {
                    self.superblock.cut = None;
                    Step::Forgetting { generation: self.want_both_slots() }
                }
                _ => return,
            };
            *self.surgery_step() = next;
        }
    }

    /// Has the superblock say where the log ends from now on.
    fn note(&mut self, kind: Kind) -> Step {
        match kind {
            Kind::Cut(point) => self.superblock.cut = Some(point.to),
            Kind::Reset { start, chain } => {
                self.superblock.start = start;
                self.superblock.start_chain = chain;
                self.superblock.cut = Some(start);
            }
        }
        Step::Noting { generation: self.want_both_slots() }
    }

    /// Cuts in memory. Returns the segments to be put aside.
    fn operate(&mut self, kind: Kind) -> Vec<Lsn> {
        let (gone, end) = match kind {
            Kind::Cut(point) => {
                let is_walked_back = self.walk_back(point.to);
                let gone = self.log.cut(&point);
                if !is_walked_back {
                    self.rebuild_index();
                }
                (gone, point.to)
            }
            Kind::Reset { start, chain } => {
                let gone = self.log.reset(start, chain);
                self.clear_index(start);
                self.committed = start;
                (gone, start)
            }
        };
        // Whatever was deleted below the cut left nothing to wait for in the index, or not for sure.
        self.cleared_end = end;
        self.committed = self.committed.min(end);
        // A record whose time was settled may be among what is cut.
        (self.settled, self.settling) = (UnixMillis::ZERO, (end, UnixMillis::ZERO));
        self.idle_since = self.log.durable();
        let committed = self.committed;
        let replication = self.replication();
        replication.committed_told = replication.committed_told.min(end).max(committed);
        gone
    }

    /// Builds the index anew, by a walk over the log.
    fn rebuild_index(&mut self) {
        let mut replay = Replay::new(self.seed, self.log.segments().map(LogSegment::base), self.index.len());
        for segment in self.log.segments() {
            segment.batches().for_each(|(lsn, batch)| replay.apply_batch(lsn, batch));
        }
        replay.settle();
        self.index = replay.index;
        self.indexed_tombstones = replay.tombstones;
        self.tombstones.clear();
        for (base, bytes) in replay.live {
            if let Some(segment) = self.log.segment_of_mut(base) {
                segment.set_live(bytes);
            }
        }
        self.expiries.clear();
        if replay.has_expiries {
            self.collect_expiries();
        }
    }

    fn surgery_step(&mut self) -> &mut Step {
        &mut self.replication().surgery.as_mut().expect("what was asked for is done once").step
    }

    /// The copy that [`ReplicaAction::PutAside`] asked for is durable, or could not be made; it is then asked for again
    /// at the next tick.
    ///
    /// # Panics
    /// If none was asked for: that is a bug of the driver.
    pub fn handle_put_aside(&mut self, done: bool) {
        let Step::Copying { upto } = *self.surgery_step() else { panic!("a copy is made once, when it was asked for") };
        let kind = self.replication().surgery.as_ref().map(|surgery| surgery.kind);
        *self.surgery_step() = match kind {
            Some(kind) if done => self.note(kind),
            _ => Step::Copy { upto, now: false },
        };
    }

    /// The segments that [`ReplicaAction::MoveAside`] named have been moved, durably.
    ///
    /// # Panics
    /// If that was not asked for: that is a bug of the driver.
    pub fn handle_moved_aside(&mut self) {
        let step = self.surgery_step();
        assert!(matches!(step, Step::Moving), "segments are moved once, when it was asked for");
        *step = Step::Settling;
    }

    /// The segments that [`ReplicaAction::Remove`] named are gone, durably.
    ///
    /// # Panics
    /// If that was not asked for: that is a bug of the driver.
    pub fn handle_removed(&mut self) {
        self.log.handle_discarded();
    }

    pub(super) fn tick_surgery(&mut self) {
        if self.is_operated_on()
            && let Step::Copy { now, .. } = self.surgery_step()
        {
            *now = true;
        }
    }
}
