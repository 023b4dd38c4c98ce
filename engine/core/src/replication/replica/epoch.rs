//! Epochs: what is promised, to whom, and fencing.

use super::{Replica, Role, Surgery};
use crate::replication::message::{Body, PromiseRequest, Refusal};
use crate::replication::output::{Event, Output, PromotionFailure};
use crate::replication::types::{Moment, Position, Promised, ReplicaId};
use crate::types::{Epoch, Lsn};

/// A superblock write in flight, and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Write {
    ticket: u64,
    reason: Reason,
}

/// What has to be durable first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reason {
    /// To follow a leader.
    Follow(ReplicaId),
    /// To promise a candidate.
    Promise(ReplicaId),
    /// To ask others for their promise.
    Candidacy,
    /// To write in the epoch.
    Lead,
    /// To vouch no more for what the log holds.
    Restart(Surgery),
}

impl Replica {
    /// Has the promise written. What was promised before is refused from now on, and nothing is answered until the
    /// write is done.
    pub(super) fn write_promise(&mut self, promised: Promised, reason: Reason) {
        assert!(self.writing.is_none(), "superblocks are written one by one");
        assert!(promised.promised >= self.promised.promised, "a promise is never taken back");
        self.promised = promised;
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.writing = Some(Write { ticket, reason });
        self.outputs.push_back(Output::WriteSuperblock { ticket, promised });
    }

    /// The superblock with this ticket is durable.
    ///
    /// # Panics
    /// If it is not the one in flight: that is a bug of the driver.
    pub fn handle_superblock_written(&mut self, now: Moment, ticket: u64) {
        let write = self.writing.take().expect("a superblock write completes once");
        assert_eq!(write.ticket, ticket, "superblocks are written one by one");
        match write.reason {
            Reason::Follow(leader) => self.follow(now, leader),
            Reason::Promise(candidate) => {
                self.granted = Some(candidate);
                self.send_promise(candidate);
            }
            Reason::Candidacy => self.begin_candidacy(now),
            Reason::Lead if matches!(self.role, Role::Candidate(_)) => self.begin_leading(now),
            Reason::Lead => {}
            Reason::Restart(surgery) => self.begin_surgery(surgery),
        }
    }

    /// Leads or asks to lead no longer, because somebody has promised, or leads in, a newer epoch.
    pub(super) fn step_down(&mut self, newer: Epoch) {
        match &self.role {
            Role::Candidate(candidate) => {
                let cause = PromotionFailure::Outbid { epoch: newer };
                self.fail_promotion(candidate.epoch(), cause);
            }
            Role::Leader(_) => self.depose(),
            Role::Follower(_) => {}
        }
    }

    /// Leads no longer.
    pub(super) fn depose(&mut self) {
        if matches!(self.role, Role::Leader(_)) {
            let epoch = self.promised.promised;
            self.become_follower();
            self.event(Event::Deposed { epoch });
        }
    }

    pub(super) fn become_follower(&mut self) {
        self.role = Role::Follower(super::Follower::default());
    }

    /// A candidate asks for a promise. `epoch` is not older than what is promised.
    pub(super) fn handle_promise_request(
        &mut self,
        now: Moment,
        from: ReplicaId,
        epoch: Epoch,
        request: PromiseRequest,
    ) {
        if epoch == self.promised.promised {
            if self.granted == Some(from) && matches!(self.role, Role::Follower(_)) {
                self.send_promise(from);
            } else {
                self.refuse(from, Refusal::Stale);
            }
            return;
        }
        if let Some(refusal) = self.denies(now, from, &request) {
            if refusal == Refusal::LeaseRunning {
                // Otherwise a leader that can send and cannot receive would never be replaced.
                self.lease_ends_by = now.after(2 * self.config.lease_ms);
            }
            return self.refuse(from, refusal);
        }
        self.step_down(epoch);
        self.become_follower();
        self.granted = None;
        // Whom nobody's lease keeps waiting any longer may have one of its own.
        self.lease_ends_by = Moment::default();
        let promised = Promised { promised: epoch, ..self.promised };
        self.write_promise(promised, Reason::Promise(from));
    }

    /// Why a candidate gets no promise, whatever its epoch.
    fn denies(&self, now: Moment, from: ReplicaId, request: &PromiseRequest) -> Option<Refusal> {
        let position = self.position();
        let candidate_is_empty = request.position.lsn == Lsn::ZERO;
        if !self.config.is_voter(self.config.id) || !self.config.is_voter(from) {
            Some(Refusal::NotAVoter)
        } else if candidate_is_empty && !self.is_empty() {
            Some(Refusal::EmptyCandidate)
        } else if self.is_blank() && !candidate_is_empty {
            Some(Refusal::Blank)
        } else if position > request.position {
            Some(Refusal::Longer(position))
        } else if self.vouched() > request.position {
            // It does not hold what it once vouched for, and it may be that nobody does: a leader that it began to follow
            // need not have kept the record that its epoch begins with. So it does not say who reaches further.
            Some(Refusal::Blank)
        } else if self.lease_runs(now, from) {
            Some(Refusal::LeaseRunning)
        } else {
            None
        }
    }

    /// Whether this replica holds nothing and has never known a leader. What it may have promised or asked for since it
    /// has been empty does not say what it held before.
    pub(super) fn is_blank(&self) -> bool {
        self.is_empty() && self.promised.epoch == Epoch::ZERO
    }

    /// How far this replica has ever vouched for its log: whoever leads has to reach that far.
    fn vouched(&self) -> Position {
        self.position().max(self.promised.floor.unwrap_or_default())
    }

    /// Whether this replica lacks what it once vouched for: what it has is older than what it may have shown.
    #[must_use]
    pub fn is_restoring(&self) -> bool {
        self.promised.floor.is_some_and(|floor| self.position() < floor)
    }

    /// Whether a leader other than `candidate` may still rely on having been heard here. A leader that asks anew has
    /// nothing to fear from itself.
    pub(super) fn lease_runs(&self, now: Moment, candidate: ReplicaId) -> bool {
        self.heard.is_some_and(|(at, leader)| leader != Some(candidate) && now < at.after(self.config.lease_ms))
    }

    fn send_promise(&mut self, to: ReplicaId) {
        let position = self.vouched();
        self.send(to, Body::Promise { position });
    }
}
