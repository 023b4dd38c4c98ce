//! What the connections with peers ask of a core and tell it.

use std::time::Instant;

use windrow_core::log::ReceiveError;
use windrow_core::replication::{Body, Message, ReplicaId, RoleKind};
use windrow_core::types::{Epoch, Lsn, PartitionId};

use crate::peers::{CloseReason, Host, Outbox, Piece, Room};
use crate::replication::Replicas;
use crate::ring::Mapped;
use crate::shard::Now;
use crate::shard::clients::Clients;
use crate::shard::commands::ServerCommands;
use crate::shard::engine::{Engine, EngineParts, Place};
use crate::shard::hosted::Hosted;

/// A core as its connections with peers see it.
pub(crate) struct OnCore<'a, S> {
    engine: &'a mut Engine<S>,
    clients: &'a mut Clients,
    now: Now,
}

impl<'a, S: ServerCommands> OnCore<'a, S> {
    pub(crate) const fn new(engine: &'a mut Engine<S>, clients: &'a mut Clients, now: Now) -> Self {
        Self { engine, clients, now }
    }

    /// The place of a partition among those of this core.
    fn place(&self, partition: PartitionId) -> Option<usize> {
        match self.engine.parts.places.get(usize::from(partition.get())) {
            Some(&Place::Here(at)) => Some(at),
            Some(Place::There(_)) | None => None,
        }
    }

    /// Lets `change` do something with the replicas, and then does what they want.
    fn with(&mut self, out: &mut Outbox, at: usize, change: impl FnOnce(&mut Replicas, &mut Engine<S>, Instant)) {
        let Some(mut replicas) = self.engine.parts.replicas.take() else { return };
        // Read after what is handled has come: leases are compared with it.
        let now = Instant::now();
        change(&mut replicas, self.engine, now);
        self.engine.turn(at, &mut replicas, out, self.clients, Now { instant: now, ..self.now });
        self.engine.parts.replicas = Some(replicas);
    }

    fn with_all(&mut self, out: &mut Outbox, change: impl Fn(&mut Replicas, usize, Instant)) {
        let count = self.engine.parts.replicas.as_ref().map_or(0, |replicas| replicas.parts.len());
        for at in 0..count {
            self.with(out, at, |replicas, _, now| change(replicas, at, now));
        }
    }
}

impl<S: ServerCommands> Host for OnCore<'_, S> {
    fn connected(&mut self, peer: ReplicaId, out: &mut Outbox) {
        tracing::info!(core = self.engine.parts.core, %peer, "connected with a peer");
        if let Some(replicas) = &mut self.engine.parts.replicas {
            replicas.connected.insert(peer);
        }
        self.with_all(out, |replicas, at, now| {
            let moment = replicas.moment(now);
            replicas.parts[at].replica.handle_connected(moment, peer);
        });
    }

    fn disconnected(&mut self, peer: ReplicaId, out: &mut Outbox) {
        tracing::warn!(core = self.engine.parts.core, %peer, "the connection with a peer is gone");
        if let Some(replicas) = &mut self.engine.parts.replicas {
            replicas.connected.remove(&peer);
        }
        self.with_all(out, |replicas, at, _| {
            let part = &mut replicas.parts[at];
            part.end_range_of(peer);
            part.replica.handle_disconnected(peer);
        });
    }

    fn message(&mut self, peer: ReplicaId, partition: PartitionId, message: Message, out: &mut Outbox) {
        let Some(at) = self.place(partition) else { return out.close(peer, CloseReason::BadPeer) };
        self.with(out, at, |replicas, _, now| {
            let moment = replicas.moment(now);
            let part = &mut replicas.parts[at];
            part.end_range_of(peer);
            part.speaker = Some(peer);
            part.replica.handle_message(moment, peer, message.clone());
            if part.replica.leader() == Some(peer) {
                part.heard = Some(now);
            }
        });
        self.after_message(peer, at, &message);
    }

    fn room(&mut self, peer: ReplicaId, partition: PartitionId, at: Lsn, upto: Lsn) -> Room<'_> {
        let place = self.place(partition);
        let EngineParts { hosted, replicas: Some(replicas), .. } = &mut self.engine.parts else {
            return Room::Refuse(CloseReason::NoRoom);
        };
        let Some(place) = place else { return Room::Refuse(CloseReason::BadPeer) };
        let part = &mut replicas.parts[place];
        let Some(range) = part.receiving.filter(|range| range.peer == peer && at < range.upto) else {
            return Room::Discard(upto.since(at));
        };
        if at < range.from {
            return Room::Discard(range.from.since(at));
        }
        let Hosted { partition: log, filling, .. } = &mut hosted[place];
        match log.receive_into(at, upto.min(range.upto)) {
            Ok(room) => Room::Into(room),
            // It takes a moment. Whatever else this peer says waits as long, heartbeats included.
            Err(ReceiveError::NotReady) => {
                part.stop_range_of(peer);
                filling.awaited();
                Room::Wait
            }
            // It may take for ever, and what the peer says is heard all the same.
            Err(ReceiveError::NoSegment) => {
                part.receiving = None;
                part.lacks_room = true;
                part.replica.handle_no_room();
                Room::Discard(upto.since(at))
            }
            Err(error) => {
                tracing::error!(%partition, %peer, %error, "cannot take what the leader sends");
                part.receiving = None;
                Room::Refuse(CloseReason::NoRoom)
            }
        }
    }

    fn arrived(&mut self, peer: ReplicaId, partition: PartitionId, at: Lsn, len: usize, out: &mut Outbox) {
        let Some(place) = self.place(partition) else { return };
        self.with(out, place, |replicas, engine, _| {
            let part = &mut replicas.parts[place];
            if part.receiving.is_none_or(|range| range.peer != peer) {
                return;
            }
            let mut verified = std::mem::take(&mut part.verified);
            verified.clear();
            let partition = &mut engine.parts.hosted[place].partition;
            match partition.handle_received(at.plus(len as u64), &mut verified) {
                Ok(()) if verified.is_empty() => {}
                Ok(()) => part.replica.handle_received(&verified),
                Err(error) => {
                    tracing::error!(%peer, %error, "a part of the leader's log does not verify");
                    part.receiving = None;
                    part.replica.handle_receive_failed(&verified);
                }
            }
            part.verified = verified;
        });
    }

    fn range_end(&mut self, peer: ReplicaId, partition: PartitionId, out: &mut Outbox) {
        let Some(place) = self.place(partition) else { return };
        self.with(out, place, |replicas, _, _| {
            let part = &mut replicas.parts[place];
            if part.receiving.take_if(|range| range.peer == peer).is_some() {
                // What has arrived may have to be acknowledged, whole records or not.
                part.replica.handle_received(&[]);
            }
        });
    }

    fn piece(&mut self, partition: PartitionId, epoch: Epoch, at: Lsn, upto: Lsn) -> Option<Piece> {
        let place = self.place(partition)?;
        let replica = &self.engine.parts.replicas.as_ref()?.parts[place].replica;
        if replica.role() != RoleKind::Leader || replica.current_epoch() != epoch {
            return None;
        }
        let hosted = &self.engine.parts.hosted[place];
        let first = hosted.partition.bytes(at, upto).ok()?.next()?;
        let may_be_cold = hosted.partition.is_doubted(at);
        Some(Piece { bytes: Mapped::new(first.memory.share(), first.range), may_be_cold })
    }
}

impl<S: ServerCommands> OnCore<'_, S> {
    /// Notes what a message shows about how fresh this replica is, or how far others are.
    fn after_message(&mut self, peer: ReplicaId, at: usize, message: &Message) {
        let Some(replicas) = &mut self.engine.parts.replicas else { return };
        let (start, now) = (replicas.start, Instant::now());
        let hosted = &mut self.engine.parts.hosted[at];
        let part = &mut replicas.parts[at];
        part.speaker = None;
        if part.replica.leader() == Some(peer) {
            part.heard = Some(now);
            if let Body::Bytes { to, committed, .. } = message.body {
                hosted.filling.leader_has(committed.max(to));
            }
            if let Body::Heartbeat(heartbeat) = &message.body {
                hosted.filling.leader_has(heartbeat.committed);
                part.freshness.heartbeat(heartbeat.committed, heartbeat.at, start, now);
                part.freshness.committed(hosted.partition.committed());
            }
        }
        if matches!(message.body, Body::Ack(_)) && part.replica.role() == RoleKind::Leader {
            part.note_streaming(hosted.id);
            hosted.set_replicas_flushed(part.replica.peers().map(|peer| peer.flushed));
            hosted.settle_counts(now, false, &mut self.engine.answered);
        }
    }
}
