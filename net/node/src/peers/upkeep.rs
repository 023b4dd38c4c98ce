//! Making, keeping and ending connections.

use std::time::Instant;

use windrow_core::replication::ReplicaId;
use windrow_proto::replication::encode_alive;

use super::complaints::About;
use super::connection::{Connection, Stage, Why};
use super::host::Host;
use super::input::Broken;
use super::limits::INPUT_LEN;
use super::links::LinkState;
use super::stream::Stream;
use super::transport::Transport;
use crate::ring::{ConnId, Interest, Ring};

impl Transport {
    /// Called every 100 ms: makes connections, ends those that are silent, and shows that this node is there.
    pub fn tick(&mut self, ring: &mut Ring, host: &mut impl Host, now: Instant) {
        self.note_time(now);
        self.accept(ring);
        for at in 0..self.links.len() {
            if self.links[at].is_due(now) && !self.closing {
                self.dial(at, ring, now);
            }
        }
        let mut ids = self.take_ids();
        for id in ids.drain(..) {
            self.check_times(id, ring, host, now);
        }
        self.give_ids_back(ids);
    }

    fn dial(&mut self, at: usize, ring: &mut Ring, now: Instant) {
        let connecting = self.links[at].place.address().and_then(|address| Ok((Stream::connect(address)?, address)));
        match connecting {
            Ok((stream, remote)) => {
                let id = self.insert(stream, remote, Stage::Connecting(at));
                self.links[at].enter(LinkState::Connecting, Some(id), now);
                if let Some(connection) = self.slab.get_mut(id) {
                    connection.wait(ring, Interest::Write);
                }
            }
            Err(error) => self.lost(at, &Why::Broken(Broken::Io(error)), now),
        }
    }

    fn check_times(&mut self, id: ConnId, ring: &mut Ring, host: &mut impl Host, now: Instant) {
        let Some(connection) = self.slab.get_mut(id) else { return };
        let since = |then: Instant| now.saturating_duration_since(then);
        if !matches!(connection.stage, Stage::Open(..)) {
            if since(connection.opened) >= self.times.handshake_within {
                self.end(id, &Why::Slow, ring, host, now);
            }
            return;
        }
        if since(connection.spoke) >= self.times.alive_every
            && connection.outgoing.is_empty()
            && connection.batch.is_empty()
        {
            connection.outgoing.push_frame(encode_alive);
        }
        let silent_after = self.times.silent_after;
        let is_silent = |connection: &Connection| !connection.paused && since(connection.heard) >= silent_after;
        if !is_silent(connection) {
            return;
        }
        // This node itself may have been stopped for a while: first look what has come meanwhile.
        connection.input.may_read();
        self.receive(id, ring, host, now);
        if let Some(connection) = self.slab.get_mut(id)
            && is_silent(connection)
        {
            let silence = since(connection.heard).as_millis();
            self.counters.connections_silent.increment();
            self.end(id, &Why::Silent(silence), ring, host, now);
        }
    }

    /// The connection has proved itself to be with `peer`.
    pub(super) fn known(&mut self, id: ConnId, peer: ReplicaId, ring: &mut Ring, host: &mut impl Host, now: Instant) {
        let at = self.links.iter().position(|link| link.replica == peer).expect("strangers are rejected before");
        if let Some(old) = self.links[at].conn
            && old != id
        {
            self.end(old, &Why::Replaced, ring, host, now);
        }
        let Some(connection) = self.slab.get_mut(id) else { return };
        if connection.is_stranger() {
            self.strangers -= 1;
        }
        connection.stage = Stage::Open(peer, at);
        connection.input.grow(INPUT_LEN);
        let link = &mut self.links[at];
        link.enter(LinkState::Up, Some(id), now);
        link.trouble = None;
        self.counters.connections_opened.increment();
        tracing::info!(%peer, remote = %connection.remote, "connected with another node");
        host.connected(peer, &mut self.outbox);
    }

    /// Ends a connection, and says why where it has not been said not long ago.
    pub(super) fn end(&mut self, id: ConnId, why: &Why, ring: &mut Ring, host: &mut impl Host, now: Instant) {
        let Some(connection) = self.slab.remove(id) else { return };
        let (remote, link) = (connection.remote, connection.link());
        let peer = if let Stage::Open(peer, _) = connection.stage { Some(peer) } else { None };
        let was_stranger = connection.is_stranger();
        connection.close(ring);
        if was_stranger {
            self.strangers -= 1;
        }
        if peer.is_none() {
            self.counters.handshakes_failed.increment();
        }
        match link {
            Some(at) if self.links[at].conn == Some(id) => self.lost(at, why, now),
            Some(_) => {}
            None => {
                if let Some(unsaid) = self.complaints.may_say(About::Stranger, why.kind(), now) {
                    tracing::warn!(%remote, unsaid, "a connection to the peer port was not accepted: {why}");
                }
            }
        }
        if let Some(peer) = peer {
            self.counters.connections_closed.increment();
            host.disconnected(peer, &mut self.outbox);
        }
    }

    /// There is no connection with the node at place `at` any more.
    fn lost(&mut self, at: usize, why: &Why, now: Instant) {
        let draw = self.draw();
        let link = &mut self.links[at];
        if let Some(unsaid) = self.complaints.may_say(About::Link(at), why.kind(), now) {
            let what = if link.state == LinkState::Up { "lost the connection with" } else { "cannot connect with" };
            tracing::warn!(peer = %link.replica, address = %link.place, unsaid, "{what} another node: {why}");
        }
        link.trouble = Some(why.to_string());
        link.lost(&self.times, why.is_refusal(), draw, now);
    }

    fn draw(&mut self) -> u64 {
        // Xorshift64*, Vigna 2016.
        self.draw ^= self.draw >> 12;
        self.draw ^= self.draw << 25;
        self.draw ^= self.draw >> 27;
        self.draw.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
}
