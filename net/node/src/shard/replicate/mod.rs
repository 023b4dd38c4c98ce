//! What a core does for the replicas of its partitions: everything that they ask for, in order.

mod events;
mod host;
mod requests;

use std::time::Instant;

use windrow_core::partition::{AppendError, CutError, Partition, ReplicaAction};
use windrow_core::replication::{Body, Moment, Output, Replica, ReplicaId, RoleKind};
use windrow_core::types::{Lsn, PartitionId};
use windrow_store::{Job, MappedSegment};

use super::Now;
use super::clients::Clients;
use super::commands::ServerCommands;
use super::engine::Engine;
use crate::peers::{CloseReason, Outbox, Range};
use crate::replication::{Part, Receiving, Replicas};
use crate::role::{Role, UNSETTLED};

pub(crate) use host::OnCore;

impl<S: ServerCommands> Engine<S> {
    /// Tells the replicas what has happened on this core, and does what they want.
    pub(super) fn replicate_all(&mut self, out: &mut Outbox, clients: &mut Clients, now: Now) {
        let Some(mut replicas) = self.parts.replicas.take() else { return };
        let room = std::mem::take(&mut replicas.room_again);
        for at in 0..replicas.parts.len() {
            if room {
                replicas.parts[at].stopped.drain(..).for_each(|peer| out.resume(peer));
            }
            if replicas.parts[at].lacks_room && self.parts.hosted[at].partition.log().prepared_count() > 0 {
                replicas.parts[at].lacks_room = false;
                let moment = replicas.moment(now.instant);
                replicas.parts[at].replica.handle_room(moment);
            }
            self.turn(at, &mut replicas, out, clients, now);
        }
        self.parts.replicas = Some(replicas);
    }

    /// As [`replicate_all`](Self::replicate_all), for one partition.
    fn turn(&mut self, at: usize, replicas: &mut Replicas, out: &mut Outbox, clients: &mut Clients, now: Now) {
        loop {
            self.tell(at, replicas, now);
            self.hand_over_if_ready(at, replicas);
            let Some(output) = replicas.parts[at].replica.poll_output() else { break };
            self.obey(at, output, replicas, out, clients, now);
        }
        let hosted = &mut self.parts.hosted[at];
        hosted.submit_jobs(&self.parts.background);
        hosted.release(clients, &mut self.answered);
        replicas.parts[at].freshness.committed(hosted.partition.committed());
        self.set_gate(at, replicas, clients);
        self.parts.hosted[at].settle_counts(now.instant, false, &mut self.answered);
    }

    /// Tells a replica what its partition has done.
    fn tell(&mut self, at: usize, replicas: &mut Replicas, now: Now) {
        let hosted = &mut self.parts.hosted[at];
        let part = &mut replicas.parts[at];
        // A message may have deposed it, which is seen only when its outputs are.
        let still_leads = part.replica.role() == RoleKind::Leader;
        if let Some(epoch) = part.leads.filter(|epoch| still_leads && part.replica.current_epoch() == *epoch) {
            match hosted.partition.lead(epoch, now.unix) {
                Ok(_) => {
                    part.leads = None;
                    part.may_append = true;
                    tracing::info!(partition = %hosted.id, %epoch, "this replica leads");
                }
                Err(AppendError::Room(_)) => {} // Tried again in the next round.
                Err(error) => unreachable!("an epoch begins with a record of its own: {error}"),
            }
        }
        let end = hosted.partition.appended();
        if part.may_append && end > part.replica.log().end {
            part.replica.handle_appended(end, hosted.partition.log().chain());
        }
        let durable = hosted.partition.durable();
        if durable > part.replica.log().durable {
            part.replica.handle_durable(durable);
        }
        while let Some(action) = self.parts.hosted[at].partition.poll_replica() {
            let moment = replicas.moment(Instant::now());
            self.act(at, &action, &mut replicas.parts[at], moment);
        }
    }

    /// Does what a partition wants as a replica, or tells the replica what it has done.
    fn act(&mut self, at: usize, action: &ReplicaAction, part: &mut Part, moment: Moment) {
        let hosted = &mut self.parts.hosted[at];
        match *action {
            ReplicaAction::PromiseWritten { ticket } => part.replica.handle_superblock_written(moment, ticket),
            ReplicaAction::CutDone { to, chain } => {
                let end = to.get();
                tracing::warn!(partition = %hosted.id, end, "the log was cut back to where it agrees with the leader's");
                part.replica.handle_cut(moment, to, chain);
            }
            ReplicaAction::ResetDone { start } => {
                let start_at = start.get();
                tracing::warn!(partition = %hosted.id, start = start_at, "the log begins anew where the leader's does");
                part.replica.handle_reset(moment, start);
            }
            _ => {
                let Some(dir) = hosted.dir() else { return };
                if let ReplicaAction::PutAside { label, .. } | ReplicaAction::MoveAside { label, .. } = action {
                    tracing::warn!(
                        partition = %hosted.id,
                        path = %dir.aside_path(*label).display(),
                        "what is cut from the log is kept here; nothing in it was confirmed by the leader"
                    );
                }
                if let Some(job) = Job::for_replica(&hosted.partition, dir, action) {
                    self.parts.background.submit(job);
                }
            }
        }
    }

    /// Does what a replica asks for.
    fn obey(
        &mut self,
        at: usize,
        output: Output,
        replicas: &mut Replicas,
        out: &mut Outbox,
        clients: &mut Clients,
        now: Now,
    ) {
        let id = self.parts.hosted[at].id;
        let part = &mut replicas.parts[at];
        match output {
            Output::Send { to, message } => {
                if let Body::Resume(end) = &message.body {
                    self.verify_for(at, to, end.lsn, part);
                }
                out.send(to, id, message);
            }
            Output::Ship { to, epoch, from, upto, committed } => {
                out.ship(to, id, Range { epoch, from, upto, committed });
            }
            Output::Receive { from, upto, .. } => {
                part.receiving = part.speaker.map(|peer| Receiving { peer, from, upto });
            }
            Output::Flush { .. } => self.parts.hosted[at].want_flush(),
            Output::WriteSuperblock { ticket, promised } => {
                part.receiving = None;
                self.parts.hosted[at].partition.write_promised(ticket, promised);
            }
            Output::Cut { to } => {
                part.receiving = None;
                self.fail_held(at, UNSETTLED, clients);
                let begun = self.parts.hosted[at].partition.begin_cut(to);
                self.parts.hosted[at].rot.forget_from(to);
                refuse_surgery(id, part, begun, out);
            }
            Output::Reset { start, chain } => {
                part.receiving = None;
                self.fail_held(at, UNSETTLED, clients);
                let begun = self.parts.hosted[at].partition.begin_reset(start, chain);
                self.parts.hosted[at].rot.forget_from(Lsn::ZERO);
                refuse_surgery(id, part, begun, out);
            }
            // Where the record that would tell is damaged, nobody knows whether the logs differ: the follower asks again.
            Output::LookUpChain { peer, at: lsn } if !self.verify_for(at, peer, lsn, part) => {}
            Output::LookUpChain { peer, at: lsn } => {
                let chain = self.parts.hosted[at].partition.chain_at(lsn);
                part.replica.handle_chain(peer, lsn, chain);
            }
            Output::Lead { epoch } => {
                part.begin_leading(epoch, now.instant);
                self.parts.hosted[at].filling.forget_leader();
                self.parts.node.replication.control.note(None);
            }
            Output::Committed { upto } => self.parts.hosted[at].partition.handle_committed(upto),
            Output::Event(event) => self.react(at, event, replicas, out, clients),
            _ => {}
        }
    }

    /// Looks at what a follower is to be sent next, from `lsn` on, before it is: a follower that could not verify what it
    /// was sent comes back with a log that ends there. Damage is said once for each place.
    fn verify_for(&mut self, at: usize, follower: ReplicaId, lsn: Lsn, part: &mut Part) -> bool {
        let hosted = &mut self.parts.hosted[at];
        let Err(damage) = hosted.partition.verify_at(lsn) else { return true };
        hosted.rot.note(&damage);
        if part.damaged.replace(lsn) != Some(lsn) {
            let dir = hosted.dir().map(|dir| dir.path().display().to_string()).unwrap_or_default();
            tracing::error!(
                partition = %hosted.id,
                %follower,
                dir,
                %damage,
                "this leader's own log is damaged: the follower cannot be given what comes from there on. Remedy: FAILOVER \
                 to a node that has everything, stop this one, and mend its directory with `windrow log repair --from` the \
                 other's"
            );
        }
        false
    }

    /// Sets what clients may do with the partition.
    fn set_gate(&mut self, at: usize, replicas: &mut Replicas, clients: &mut Clients) {
        let part = &replicas.parts[at];
        let fresh_at = part.freshness.fresh_at();
        let hands_over = part.handover.is_some();
        let role = match part.replica.role() {
            RoleKind::Leader => {
                let moment = part.replica.reads_until().unwrap_or_default();
                let until = replicas.instant(moment);
                // Nobody has answered this leader yet, which takes a moment.
                let is_new = moment == Moment::default()
                    && part.leads_since.is_some_and(|since| since.elapsed() < replicas.lease);
                // A log that ends with its segment has no room for the record that it begins with, and where the disk is
                // full, none may come for long.
                if !hands_over && !part.may_append && self.parts.hosted[at].is_refusing() {
                    Role::OutOfSpace { until }
                } else if hands_over || is_new || !part.may_append {
                    Role::HandingOver { until: Some(until) }
                } else {
                    Role::Leader { until }
                }
            }
            // What is shown now could be what is cut, and what has been shown may not be there yet.
            RoleKind::Follower if lacks_what_was_shown(&self.parts.hosted[at].partition, &part.replica) => {
                Role::Restoring { leader_known: part.replica.leader().is_some() && part.hears_leader(replicas.lease) }
            }
            RoleKind::Follower if part.replica.leader().is_some() && part.hears_leader(replicas.lease) => {
                Role::Follower { fresh_at }
            }
            // Whoever is to lead now will be heard of soon.
            RoleKind::Follower | RoleKind::Candidate if hands_over => Role::HandingOver { until: Some(replicas.start) },
            RoleKind::Follower | RoleKind::Candidate => Role::Leaderless { fresh_at },
        };
        let hosted = &self.parts.hosted[at];
        if hosted.role != role {
            let changes = std::mem::discriminant(&hosted.role) != std::mem::discriminant(&role);
            self.set_role(at, role, clients);
            if changes {
                self.report(at, replicas);
            }
        }
    }
}

/// Whether a follower has less than what has been shown, here or elsewhere: it is cutting its log, getting back what it
/// once had, or has got nothing yet.
fn lacks_what_was_shown(partition: &Partition<MappedSegment>, replica: &Replica) -> bool {
    partition.is_being_cut() || replica.is_restoring() || replica.log().history.entries().len() == 0
}

/// The log cannot be cut as the leader asks, if `begun` says so. Only one that breaks the rules, or two that lead in the
/// same epoch, ask for that.
fn refuse_surgery(id: PartitionId, part: &mut Part, begun: Result<(), CutError>, out: &mut Outbox) {
    let Err(error) = begun else { return };
    part.replica.handle_surgery_refused();
    tracing::error!(partition = %id, %error, "the leader asks for a cut that is impossible: the connection is dropped");
    if let Some(peer) = part.speaker {
        out.close(peer, CloseReason::BadPeer);
    }
}
