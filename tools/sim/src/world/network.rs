//! Connections between clients and the process: bytes in order, cut anywhere, until a reset.

use super::connection::Connection;
use super::{Event, World};

/// One direction of a connection: what is sent later arrives later.
#[derive(Default)]
pub(super) struct Lane {
    last_us: u64,
}

impl World {
    /// A client connects if it is not connected, and sends if it may.
    pub(super) fn client_acts(&mut self, client: usize) {
        let delay = self.around(self.swarm.think_us);
        if !self.healing || self.clients[client].outstanding() > 0 {
            self.schedule(delay, Event::Client(client));
        }
        if !self.running || self.stopping {
            return;
        }
        let is_quiet = self.swarm.quiet_us.is_some_and(|period| (self.time_us / period).is_multiple_of(3));
        if self.clients[client].connection.is_none() {
            self.connect(client);
        } else if !self.healing && !is_quiet {
            self.send_requests(client);
        }
    }

    pub(super) fn connect(&mut self, client: usize) {
        let id = self.next_connection;
        self.next_connection += 1;
        self.connections.insert(id, Connection::new(client));
        self.clients[client].connected(id);
    }

    /// Sends as much as the pipeline has room for, or less.
    pub(super) fn send_requests(&mut self, client: usize) {
        let Some(connection) = self.clients[client].connection else { return };
        let room = self.swarm.pipeline.saturating_sub(self.clients[client].outstanding());
        if room == 0 {
            return;
        }
        let mut bytes = Vec::new();
        let now = self.now().get();
        for _ in 0..self.rng.size(1..room + 1) {
            bytes.extend(self.clients[client].request(now, self.step));
        }
        self.send(connection, true, &bytes);
    }

    /// Sends bytes in pieces, each on its way for a while.
    pub(super) fn send(&mut self, connection: u64, to_server: bool, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let cut = if self.rng.percent(60) { rest.len() } else { self.rng.size(1..rest.len() + 1) };
            let (piece, tail) = rest.split_at(cut);
            rest = tail;
            let delay = self.around(self.swarm.network_us);
            let lane = self.lanes.entry((connection, to_server)).or_default();
            lane.last_us = lane.last_us.max(self.time_us + delay);
            let delay = lane.last_us - self.time_us;
            let bytes = piece.to_vec();
            self.schedule(
                delay,
                if to_server { Event::ToServer { connection, bytes } } else { Event::ToClient { connection, bytes } },
            );
        }
    }

    pub(super) fn arrived_at_server(&mut self, id: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.input.extend_from_slice(bytes);
        self.wake(id);
    }

    /// Has the process look at a connection soon.
    pub(super) fn wake(&mut self, id: u64) {
        let delay = self.rng.within(0..20);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if !connection.awake {
            connection.awake = true;
            self.schedule(delay, Event::Run { process: self.process, connection: id });
        }
    }

    pub(super) fn arrived_at_client(&mut self, id: u64, bytes: &[u8]) {
        let Some(client) = self.clients.iter_mut().find(|client| client.connection == Some(id)) else { return };
        self.trace.event("reply", &[id, bytes.len() as u64]);
        self.trace.bytes(bytes);
        let (replies, scans) = client.receive(bytes);
        self.stats.replies += replies;
        for scan in scans {
            for replica in &self.replicas {
                let there = replica.state.live_keys().filter(|(_, stored)| stored.since < scan.begun);
                for (key, stored) in there.filter(|(key, _)| key.starts_with(scan.prefix)) {
                    assert!(
                        scan.seen.contains(key),
                        "a scan that began at step {} missed {}, there since step {}",
                        scan.begun,
                        key.escape_ascii(),
                        stored.since
                    );
                }
            }
        }
    }

    /// The connection is gone on both sides, with all that was on its way.
    pub(super) fn reset(&mut self, id: u64) {
        self.connections.remove(&id);
        self.lanes.remove(&(id, true));
        self.lanes.remove(&(id, false));
        for client in &mut self.clients {
            if client.connection == Some(id) {
                client.connection = None;
                client.connection_lost();
            }
        }
    }

    pub(super) fn reset_all(&mut self) {
        let all: Vec<u64> = self.connections.keys().copied().collect();
        all.into_iter().for_each(|id| self.reset(id));
    }
}
