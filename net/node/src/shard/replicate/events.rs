//! What happens to replicas: said in the log, and reacted to.

use std::time::Instant;

use windrow_core::replication::{Event, PromoteError, Promotion, PromotionFailure, Refusal, ReplicaId};

use crate::peers::{CloseReason, Outbox};
use crate::replication::Replicas;
use crate::role::{Forced, UNCONFIRMED};
use crate::shard::clients::Clients;
use crate::shard::commands::ServerCommands;
use crate::shard::engine::Engine;

impl<S: ServerCommands> Engine<S> {
    pub(super) fn react(
        &mut self,
        at: usize,
        event: Event,
        replicas: &mut Replicas,
        out: &mut Outbox,
        clients: &mut Clients,
    ) {
        let partition = self.parts.hosted[at].id;
        match event {
            Event::Deposed { epoch } => {
                let part = &mut replicas.parts[at];
                part.stop_leading();
                let hosted = &mut self.parts.hosted[at];
                // What was committed before this is so for ever.
                hosted.partition.handle_committed(part.replica.committed());
                hosted.release(clients, &mut self.answered);
                hosted.partition.step_down();
                self.fail_held(at, UNCONFIRMED, clients);
                if replicas.parts[at].handover.is_none() {
                    // It may be that nobody leads instead: whoever asked may have had less.
                    let due = Instant::now() + replicas.wait_before_asking();
                    replicas.parts[at].ask_by_itself(due);
                    tracing::warn!(%partition, %epoch, "this replica leads no longer: writes that were not committed are in doubt");
                }
            }
            Event::Following { leader, epoch } => {
                let part = &mut replicas.parts[at];
                part.follow();
                self.parts.hosted[at].filling.forget_leader();
                tracing::info!(%partition, %leader, %epoch, "follows");
            }
            Event::Forced { epoch, kept, committed, leader_committed } => {
                let forced = Forced {
                    epoch: epoch.get(),
                    kept: kept.lsn.get(),
                    committed: committed.get(),
                    leader_committed: leader_committed.get(),
                };
                self.parts.node.replication.partition(partition).forced = Some(forced);
                tracing::warn!(
                    %partition,
                    %epoch,
                    kept = forced.kept,
                    committed = forced.committed,
                    leader_committed = forced.leader_committed,
                    "leads by force: what was confirmed and is not in this log is lost, everything behind `kept` and \
                     what others hold instead of it. It has what was confirmed up to `committed`; the last leader had \
                     come to `leader_committed`"
                );
            }
            Event::AskedToLead { by } => {
                tracing::info!(%partition, %by, "the leader hands over to this replica");
                self.promote(at, Promotion::Safe, replicas);
            }
            Event::PromotionFailed { epoch, cause } => self.promotion_failed(at, epoch.get(), cause, replicas),
            Event::WouldLoseCommitted { to, committed } => {
                if !std::mem::replace(&mut replicas.parts[at].told_loss, true) {
                    tracing::error!(
                        %partition,
                        to = to.get(),
                        committed = committed.get(),
                        "the leader's log lacks what was committed here: its promotion was forced. Nothing is cut. If \
                         the loss is accepted, say REPLICAOF <leader's host> <port> LOSING-COMMITTED-WRITES to this node"
                    );
                }
            }
            event => log(partition.get(), event, out),
        }
    }

    /// Has a replica ask to lead.
    pub(super) fn promote(&mut self, at: usize, promotion: Promotion, replicas: &mut Replicas) {
        let partition = self.parts.hosted[at].id;
        let part = &mut replicas.parts[at];
        match part.replica.handle_promote(promotion) {
            Ok(epoch) => {
                // Whoever asks to lead follows nobody. Who is refused goes on with what is arriving.
                part.receiving = None;
                tracing::info!(%partition, %epoch, ?promotion, "asks to lead");
            }
            Err(PromoteError::Already) => {}
            // Its superblock is being written, or its log cut: neither takes long.
            Err(PromoteError::Busy) => part.asks_again = Some(promotion),
            Err(error) => {
                tracing::warn!(%partition, %error, "cannot ask to lead");
                self.parts.node.replication.control.note(Some(error.to_string()));
            }
        }
    }

    fn promotion_failed(&mut self, at: usize, epoch: u32, cause: PromotionFailure, replicas: &mut Replicas) {
        let partition = self.parts.hosted[at].id;
        let wait = replicas.wait_before_asking();
        let part = &mut replicas.parts[at];
        match cause {
            PromotionFailure::Outbid { .. } if part.asks_by_itself => {
                part.promote_at = Some(Instant::now() + wait);
                tracing::info!(%partition, epoch, %cause, "does not lead; asks again unless somebody does");
            }
            _ => {
                part.asks_by_itself = false;
                self.parts.node.replication.control.note(Some(cause.to_string()));
                tracing::warn!(%partition, epoch, %cause, "does not lead");
            }
        }
    }
}

/// Says what needs no other reaction, but for dropping the connection.
fn log(partition: u16, event: Event, out: &mut Outbox) {
    match event {
        Event::TwoLeaders { epoch, other } => tracing::error!(
            partition,
            %epoch,
            %other,
            "two replicas lead, or led, in the same epoch: a forced promotion went wrong. Compare the logs with \
             `windrow log verify --against`, keep one, and begin the other's data directory anew"
        ),
        Event::OtherCluster { peer } => tracing::error!(
            partition,
            %peer,
            "the peer has the data of another cluster. Remedy: correct `peers`, or make its directory anew with \
             `windrow init --cluster`"
        ),
        Event::Refused { peer, refusal } => refused(partition, peer, refusal),
        Event::BadBytes { peer, at } => {
            let lsn = at.get();
            tracing::error!(partition, %peer, lsn, "what the peer sent does not verify: it was thrown away");
            out.close(peer, CloseReason::BadBytes);
        }
        Event::BadPeer { peer } => {
            tracing::warn!(partition, %peer, "the peer says what no peer says that keeps the rules");
            out.close(peer, CloseReason::BadPeer);
        }
        _ => {}
    }
}

fn refused(partition: u16, peer: ReplicaId, refusal: Refusal) {
    match refusal {
        Refusal::Stale | Refusal::LeaseRunning | Refusal::Longer(_) | Refusal::EmptyCandidate => {
            tracing::debug!(partition, %peer, %refusal, "refused");
        }
        Refusal::WouldLoseCommitted { committed } => tracing::error!(
            partition,
            %peer,
            committed = committed.get(),
            "the follower holds committed records that this leader lacks, and does not cut them"
        ),
        refusal => tracing::warn!(partition, %peer, %refusal, "refused"),
    }
}
