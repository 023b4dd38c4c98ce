//! What operators and the configuration ask of replicas, and what is due from time to time.

use std::time::{Duration, Instant};

use windrow_core::replication::{Promotion, ReplicaId, RoleKind};

use crate::replication::{Handover, Replicas, report};
use crate::role::{Failover, Request};
use crate::shard::Now;
use crate::shard::clients::Clients;
use crate::shard::commands::ServerCommands;
use crate::shard::engine::Engine;

/// How long a leader that cannot commit keeps clients waiting for what is not committed.
const UNCONFIRMED_AFTER: Duration = Duration::from_secs(5);

impl<S: ServerCommands> Engine<S> {
    /// Called every 100 ms.
    pub(crate) fn tick_replicas(&mut self, clients: &mut Clients, now: Now) {
        let Some(mut replicas) = self.parts.replicas.take() else { return };
        replicas.room_again = true;
        replicas.note_reach(Instant::now());
        let request = self.parts.node.replication.control.newer_than(&mut replicas.seen_request);
        for at in 0..replicas.parts.len() {
            if let Some(request) = request {
                replicas.parts[at].asks_again = None;
                self.take_request(at, request, &mut replicas);
            } else if let Some(promotion) = replicas.parts[at].asks_again.take() {
                self.promote(at, promotion, &mut replicas);
            }
            self.ask_to_lead_if_due(at, &mut replicas);
            self.check_handover(at, &mut replicas);
            let moment = replicas.moment(Instant::now());
            replicas.parts[at].replica.handle_tick(moment);
            self.give_up_if_stuck(at, &mut replicas, clients, now.instant);
            self.report(at, &mut replicas);
        }
        self.parts.replicas = Some(replicas);
    }

    fn take_request(&mut self, at: usize, request: Request, replicas: &mut Replicas) {
        let part = &mut replicas.parts[at];
        match request {
            Request::Promote => self.promote(at, Promotion::Safe, replicas),
            Request::PromoteLosingCommittedWrites => self.promote(at, Promotion::LosingCommittedWrites, replicas),
            Request::PermitLoss => {
                part.replica.permit_loss();
                part.told_loss = false;
            }
            Request::HandOver { to, within } if part.replica.role() == RoleKind::Leader => {
                tracing::info!(partition = %self.parts.hosted[at].id, %to, "hands over once the other has everything");
                part.handover = Some(Handover { to, deadline: Instant::now() + within, asked: false });
            }
            Request::HandOver { .. } => {}
            Request::Abort => self.take_handover_back(at, replicas),
        }
    }

    /// The operator has changed their mind. If the other replica was asked to lead already, either may come to do so.
    fn take_handover_back(&mut self, at: usize, replicas: &mut Replicas) {
        let part = &mut replicas.parts[at];
        let Some(Handover { to, asked, .. }) = part.handover.take() else { return };
        tracing::info!(partition = %self.parts.hosted[at].id, %to, "the hand-over was taken back");
        if asked && part.replica.role() == RoleKind::Follower && part.replica.leader().is_none() {
            self.promote(at, Promotion::Safe, replicas);
        }
    }

    /// The configuration says that this replica leads unless another one does, or it did lead and nobody else does.
    fn ask_to_lead_if_due(&mut self, at: usize, replicas: &mut Replicas) {
        let now = Instant::now();
        let part = &replicas.parts[at];
        let is_empty = part.replica.log().start == part.replica.log().end;
        let is_due = part.promote_at.is_some_and(|due| now >= due);
        if is_due && part.replica.leader().is_none() && replicas.may_ask(is_empty, now) {
            replicas.parts[at].promote_at = None;
            self.promote(at, Promotion::Safe, replicas);
        }
    }

    /// Hands over as soon as the other replica has everything, and everything is committed.
    pub(super) fn hand_over_if_ready(&mut self, at: usize, replicas: &mut Replicas) {
        let part = &mut replicas.parts[at];
        let Some(Handover { to, asked: false, .. }) = part.handover else { return };
        let partition = &self.parts.hosted[at].partition;
        let end = partition.appended();
        let has_all = |id: ReplicaId| part.replica.peers().any(|peer| peer.id == id && peer.flushed >= end);
        if part.replica.role() == RoleKind::Leader && partition.committed() >= end && has_all(to) {
            if let Some(handover) = &mut part.handover {
                handover.asked = true;
            }
            part.replica.handle_hand_over(to);
        }
    }

    /// Ends a hand-over that takes too long: whoever led leads again.
    fn check_handover(&mut self, at: usize, replicas: &mut Replicas) {
        let partition = self.parts.hosted[at].id;
        let part = &mut replicas.parts[at];
        let Some(Handover { to, deadline, asked }) = part.handover else { return };
        let is_late = Instant::now() >= deadline;
        match (part.replica.role(), asked) {
            (RoleKind::Leader, false) if is_late => {
                part.handover = None;
                tracing::warn!(%partition, %to, "the hand-over took too long: this replica leads on");
                self.parts.node.replication.control.note(Some(format!("replica {to} did not catch up in time")));
            }
            (RoleKind::Leader, _) => {}
            (RoleKind::Follower, true) if is_late => {
                part.handover = None;
                tracing::warn!(%partition, %to, "the other replica does not lead: this one asks to lead again");
                self.parts.node.replication.control.note(Some(format!("replica {to} did not take over")));
                self.promote(at, Promotion::Safe, replicas);
            }
            (RoleKind::Follower, true) if part.replica.leader().is_none() => part.replica.handle_hand_over(to),
            // Somebody else leads.
            _ => part.handover = None,
        }
    }

    /// Clients of a leader without a majority, or without room, are not kept waiting for ever.
    fn give_up_if_stuck(&mut self, at: usize, replicas: &mut Replicas, clients: &mut Clients, now: Instant) {
        let part = &mut replicas.parts[at];
        let Some(stuck) = self.parts.hosted[at].role.stuck(now) else {
            part.stuck_since = None;
            return;
        };
        let since = *part.stuck_since.get_or_insert_with(|| {
            tracing::warn!(partition = %self.parts.hosted[at].id, "{}", stuck.warning);
            now
        });
        if now.saturating_duration_since(since) >= UNCONFIRMED_AFTER {
            self.fail_held(at, stuck.reply, clients);
        }
    }

    /// Writes down how a replica is doing.
    pub(super) fn report(&mut self, at: usize, replicas: &mut Replicas) {
        let hosted = &mut self.parts.hosted[at];
        let mut status = self.parts.node.replication.partition(hosted.id);
        report(replicas, at, hosted, Instant::now(), &mut status);
        if self.parts.node.replication.control.asks_to_hand_over(replicas.seen_request) {
            status.failover = Failover::WaitingForSync;
        }
        hosted.set_replicas_flushed(replicas.parts[at].replica.peers().map(|peer| peer.flushed));
    }
}
