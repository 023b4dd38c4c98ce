//! What lies between the replicas: streams that break anywhere, or messages that come when and as often as they like.

use std::collections::VecDeque;

use windrow_core::replication::{Message, ReplicaId};
use windrow_core::types::PartitionId;
use windrow_proto::replication::encode;

use super::{Event, World};

/// Bytes of a stream that the network holds at most.
const IN_FLIGHT_MAX: usize = 256 << 10;
/// After so long a new connection is made.
const RECONNECT_US: u64 = 20_000;
/// How often a direction that is cut off is looked at again.
const BLOCKED_US: u64 = 5_000;

/// One direction between two replicas.
#[derive(Default)]
pub(super) struct Direction {
    /// Pieces on their way, and when they arrive.
    pieces: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    /// Nothing arrives until then.
    pub(super) blocked_until: u64,
}

/// The network.
pub(super) struct Network {
    /// From the first to the second.
    pub(super) directions: Vec<Vec<Direction>>,
    /// Counts the connections between two; symmetric.
    connections: Vec<Vec<u64>>,
    up: Vec<Vec<bool>>,
}

impl Network {
    pub(super) fn new(nodes: usize) -> Self {
        let row = || (0..nodes).map(|_| Direction::default()).collect();
        Self {
            directions: (0..nodes).map(|_| row()).collect(),
            connections: vec![vec![0; nodes]; nodes],
            up: vec![vec![false; nodes]; nodes],
        }
    }
}

impl World {
    pub(super) fn send(&mut self, from: usize, to: ReplicaId, message: &Message, payload: &[u8]) {
        let promised = self.nodes[from].copy.disk.promised();
        let epoch = message.epoch;
        assert!(epoch <= promised, "node {from} speaks of epoch {epoch}, and its disk keeps {promised} in each slot");
        let to = self.peer(to);
        let mut bytes = Vec::new();
        encode(PartitionId::new(0), message, &mut bytes);
        bytes.extend_from_slice(payload);
        self.stats.messages += 1;
        self.trace.event("send", &[from as u64, to as u64, bytes.len() as u64]);
        self.trace.note(|| format!("{from} -> {to}: {message:?}"));
        if self.swarm.datagrams { self.send_message(from, to, bytes) } else { self.send_stream(from, to, &bytes) }
    }

    fn send_message(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.rng.ppm(self.swarm.loss_ppm) {
            self.stats.fault("message-lost");
            return;
        }
        let again = self.rng.ppm(self.swarm.repeat_ppm);
        if again {
            self.stats.fault("message-repeated");
            self.deliver_later(from, to, bytes.clone());
        }
        self.deliver_later(from, to, bytes);
    }

    fn deliver_later(&mut self, from: usize, to: usize, mut bytes: Vec<u8>) {
        if self.rng.ppm(self.swarm.flip_ppm) {
            self.stats.fault("bit-flipped");
            let at = self.rng.index(bytes.len());
            bytes[at] ^= 1 << self.rng.index(8);
        }
        let delay = self.around(self.swarm.delay_us);
        self.schedule(delay, Event::Message { from, to, bytes });
    }

    pub(super) fn message(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        if self.network.directions[from][to].blocked_until > self.now || !self.nodes[to].is_up() {
            return;
        }
        self.nodes[to].inbound.entry(from).or_default().waiting.push_back(bytes);
        self.take_in(to, from);
    }

    fn send_stream(&mut self, from: usize, to: usize, bytes: &[u8]) {
        let direction = &self.network.directions[from][to];
        // A peer that takes nothing now misses the message.
        if !self.network.up[from][to] || direction.bytes > IN_FLIGHT_MAX {
            return;
        }
        let mut rest = bytes;
        while !rest.is_empty() {
            let len = self.rng.size(1..self.swarm.piece_len + 1).min(rest.len());
            let mut piece = rest[..len].to_vec();
            rest = &rest[len..];
            if self.rng.ppm(self.swarm.flip_ppm) {
                self.stats.fault("bit-flipped");
                let at = self.rng.index(len);
                piece[at] ^= 1 << self.rng.index(8);
            }
            let arrival = self.now + self.around(self.swarm.delay_us);
            let direction = &mut self.network.directions[from][to];
            let arrival = direction.pieces.back().map_or(arrival, |(last, _)| arrival.max(*last));
            direction.bytes += len;
            direction.pieces.push_back((arrival, piece));
            let connection = self.network.connections[from][to];
            self.schedule(arrival - self.now, Event::Pieces { from, to, connection });
        }
    }

    /// What has arrived by now is taken in.
    pub(super) fn pieces(&mut self, from: usize, to: usize, connection: u64) {
        let direction = &mut self.network.directions[from][to];
        if self.network.connections[from][to] != connection || direction.pieces.is_empty() {
            return;
        }
        if direction.blocked_until > self.now {
            return self.schedule(BLOCKED_US, Event::Pieces { from, to, connection });
        }
        while direction.pieces.front().is_some_and(|(arrival, _)| *arrival <= self.now) {
            let (_, piece) = direction.pieces.pop_front().expect("just seen");
            direction.bytes -= piece.len();
            self.nodes[to].inbound.entry(from).or_default().extend(&piece);
        }
        self.take_in(to, from);
    }

    /// The connection between two replicas breaks, and what is in flight is gone.
    pub(super) fn reset(&mut self, a: usize, b: usize) {
        for (from, to) in [(a, b), (b, a)] {
            let direction = &mut self.network.directions[from][to];
            direction.pieces.clear();
            direction.bytes = 0;
            self.network.connections[from][to] += 1;
            self.network.up[from][to] = false;
        }
        for (at, peer) in [(a, b), (b, a)] {
            if self.nodes[at].is_up() {
                self.nodes[at].inbound.entry(peer).or_default().clear();
                self.nodes[at].protocol().handle_disconnected(super::node::id(peer));
                self.pump(at);
            }
        }
        let connection = self.network.connections[a][b];
        let delay = self.around(RECONNECT_US);
        self.schedule(delay, Event::Connect { a, b, connection });
    }

    /// A new connection, where both are there.
    pub(super) fn connect(&mut self, a: usize, b: usize, connection: u64) {
        if self.network.connections[a][b] != connection || self.network.up[a][b] {
            return;
        }
        let blocked = [(a, b), (b, a)].iter().any(|&(x, y)| self.network.directions[x][y].blocked_until > self.now);
        if !self.nodes[a].is_up() || !self.nodes[b].is_up() || blocked {
            return self.schedule(RECONNECT_US, Event::Connect { a, b, connection });
        }
        self.network.up[a][b] = true;
        self.network.up[b][a] = true;
        for (at, peer) in [(a, b), (b, a)] {
            if self.nodes[at].is_up() {
                let moment = self.nodes[at].moment(self.now);
                self.nodes[at].protocol().handle_connected(moment, super::node::id(peer));
                self.pump(at);
            }
        }
    }

    /// Breaks every connection of a replica.
    pub(super) fn reset_all(&mut self, at: usize) {
        for peer in (0..self.nodes.len()).filter(|&peer| peer != at) {
            self.reset(at, peer);
        }
    }
}
