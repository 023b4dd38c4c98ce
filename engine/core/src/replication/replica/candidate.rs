//! Becoming the leader: an operator's promotion.

use alloc::collections::{BTreeMap, BTreeSet};

use super::epoch::Reason;
use super::{Replica, Role};
use crate::replication::limits::REPLICAS_MAX;
use crate::replication::message::{Body, PromiseRequest, Refusal};
use crate::replication::output::{Event, PromotionFailure};
use crate::replication::types::{Moment, Position, Promised, ReplicaId};
use crate::types::{Epoch, Lsn};

/// How a replica is to become the leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Promotion {
    /// After a majority of the voters has promised, none of which has a longer log. Loses nothing that a majority
    /// had flushed.
    Safe,
    /// At once, with the log that is here. Committed writes that only other replicas hold are lost, and a leader
    /// that is cut off goes on until it hears of this one.
    LosingCommittedWrites,
}

/// Why a replica does not even ask to lead.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PromoteError {
    /// It leads already, or asks already.
    #[error("this replica leads already, or is about to")]
    Already,
    /// It is a learner.
    #[error("this replica is a learner: it does not vote and cannot lead")]
    NotAVoter,
    /// It holds nothing, and is not alone.
    #[error("this replica is empty: leading would wipe the others")]
    Empty,
    /// It once vouched for more than it holds.
    #[error("this replica has not caught up again with what it once held, up to {floor}")]
    Restoring {
        /// How far it once reached.
        floor: Position,
    },
    /// Its log or its superblock is being changed; try again.
    #[error("this replica is busy changing its log or its superblock")]
    Busy,
    /// There is no further epoch.
    #[error("there is no epoch left below 4294967295")]
    NoEpochLeft,
}

/// A replica that collects promises.
pub(super) struct Candidate {
    epoch: Epoch,
    promotion: Promotion,
    /// Where the log ended, flushed, when the promises were asked for.
    position: Position,
    promises: BTreeMap<ReplicaId, Position>,
    /// Voters that hold nothing and know of no leader, and so do not say what was committed.
    blank: BTreeSet<ReplicaId>,
    ask_at: Moment,
}

impl Candidate {
    pub(super) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) const fn is_forced(&self) -> bool {
        matches!(self.promotion, Promotion::LosingCommittedWrites)
    }
}

impl Replica {
    /// An operator, or the configuration at start, wants this replica to lead.
    ///
    /// The outcome is [`Output::Lead`](super::super::Output::Lead) or [`Event::PromotionFailed`].
    ///
    /// # Errors
    /// [`PromoteError`]: nothing has changed.
    pub fn handle_promote(&mut self, promotion: Promotion) -> Result<Epoch, PromoteError> {
        if !matches!(self.role, Role::Follower(_)) {
            return Err(PromoteError::Already);
        }
        if self.writing.is_some() || self.surgery.is_some() {
            return Err(PromoteError::Busy);
        }
        if !self.config.is_voter(self.config.id) {
            return Err(PromoteError::NotAVoter);
        }
        if self.is_restoring() {
            return Err(PromoteError::Restoring { floor: self.promised.floor.unwrap_or_default() });
        }
        let is_alone = self.config.peers().next().is_none();
        if promotion == Promotion::LosingCommittedWrites && self.log.durable == Lsn::ZERO && !is_alone {
            return Err(PromoteError::Empty);
        }
        let newest = self.newest_heard.max(self.promised.promised);
        let epoch = self.own_epoch_after(newest).ok_or(PromoteError::NoEpochLeft)?;
        let position = self.position();
        self.granted = None;
        self.role = Role::Candidate(Candidate {
            epoch,
            promotion,
            position,
            promises: BTreeMap::new(),
            blank: BTreeSet::new(),
            ask_at: Moment::default(),
        });
        self.write_promise(Promised { promised: epoch, ..self.promised }, Reason::Candidacy);
        Ok(epoch)
    }

    /// The next epoch that is this replica's own to ask for. Of [`REPLICAS_MAX`] successive epochs each voter has one, by
    /// its place among all of them: so no two candidates ask for the same, forced or not, and nobody's promise to one
    /// stands in another's way.
    fn own_epoch_after(&self, newest: Epoch) -> Option<Epoch> {
        let place = self.config.voters.iter().filter(|&&voter| voter < self.config.id).count();
        let turns = u32::try_from(REPLICAS_MAX).ok()?;
        let own = u32::try_from(place).ok()?.checked_add(1)? % turns;
        let next = newest.next()?.get();
        let further = (own + turns - next % turns) % turns;
        next.checked_add(further).map(Epoch::new)
    }

    /// The operator takes it back: this replica neither leads nor asks to lead.
    pub fn handle_demote(&mut self) {
        match &self.role {
            Role::Candidate(candidate) => {
                let epoch = candidate.epoch;
                self.fail_promotion(epoch, PromotionFailure::TakenBack);
            }
            Role::Leader(_) => self.depose(),
            Role::Follower(_) => {}
        }
    }

    /// The candidate's own promise is durable.
    pub(super) fn begin_candidacy(&mut self, now: Moment) {
        let position = self.position();
        let Role::Candidate(candidate) = &mut self.role else { return };
        candidate.position = position;
        if candidate.is_forced() {
            return self.win();
        }
        self.tick_candidate(now);
    }

    pub(super) fn tick_candidate(&mut self, now: Moment) {
        let retry_ms = self.config.retry_ms;
        self.win_if_promised(now);
        let Role::Candidate(candidate) = &mut self.role else { return };
        if self.writing.is_some() || now < candidate.ask_at {
            return;
        }
        candidate.ask_at = now.after(retry_ms);
        let voters = self.config.voters.clone();
        for peer in voters {
            self.ask_for_promise(peer);
        }
    }

    pub(super) fn ask_for_promise(&mut self, peer: ReplicaId) {
        let Role::Candidate(candidate) = &self.role else { return };
        let asks = peer != self.config.id && self.config.is_voter(peer) && !candidate.promises.contains_key(&peer);
        if self.writing.is_none() && asks {
            let request = PromiseRequest {
                cluster: self.config.cluster,
                partition: self.config.partition,
                position: candidate.position,
            };
            self.send(peer, Body::PromiseRequest(request));
        }
    }

    /// A voter has promised this candidate's epoch.
    pub(super) fn handle_promise(&mut self, now: Moment, from: ReplicaId, position: Position) {
        let is_voter = self.config.is_voter(from);
        let Role::Candidate(candidate) = &mut self.role else { return };
        if !is_voter {
            return self.event(Event::BadPeer { peer: from });
        }
        if position > candidate.position {
            let epoch = candidate.epoch;
            return self.fail_promotion(epoch, PromotionFailure::Longer { peer: from, position });
        }
        candidate.promises.insert(from, position);
        candidate.blank.remove(&from);
        self.win_if_promised(now);
    }

    /// A voter has refused. Some refusals pass by themselves.
    pub(super) fn handle_denied(&mut self, from: ReplicaId, refusal: Refusal) {
        let is_voter = self.config.is_voter(from);
        let Role::Candidate(candidate) = &mut self.role else { return };
        let epoch = candidate.epoch;
        match refusal {
            Refusal::Blank if is_voter && !candidate.promises.contains_key(&from) => {
                candidate.blank.insert(from);
            }
            Refusal::Longer(position) => self.fail_promotion(epoch, PromotionFailure::Longer { peer: from, position }),
            Refusal::EmptyCandidate => self.fail_promotion(epoch, PromotionFailure::Empty { peer: from }),
            Refusal::Stale => self.fail_promotion(epoch, PromotionFailure::Outbid { epoch: self.newest_heard }),
            _ => {}
        }
    }

    pub(super) fn fail_promotion(&mut self, epoch: Epoch, cause: PromotionFailure) {
        self.become_follower();
        self.event(Event::PromotionFailed { epoch, cause });
    }

    /// Leads if enough have promised: a majority, or everybody where there is nothing to show for. A voter that is blank
    /// may have lost what was committed; if all others have promised, none of them lacks it. Its own promise counts once
    /// no leader relies any more on having been heard here.
    fn win_if_promised(&mut self, now: Moment) {
        let Role::Candidate(candidate) = &self.role else { return };
        if self.writing.is_some() || self.lease_runs(now, self.config.id) {
            return;
        }
        let (promised, everybody) = (candidate.promises.len() + 1, self.config.voters.len());
        let is_empty = candidate.position.lsn == Lsn::ZERO;
        let needed = if is_empty { everybody } else { self.config.majority() };
        let is_known_to_all = !is_empty && promised + candidate.blank.len() >= everybody;
        if promised >= needed || is_known_to_all {
            self.win();
        }
    }

    fn win(&mut self) {
        let epoch = self.promised.promised;
        self.write_promise(Promised { epoch, ..self.promised }, Reason::Lead);
    }
}
