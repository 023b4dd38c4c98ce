//! All connections of one core with other nodes: making, accepting, keeping and ending them.

use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use rustix::net::{SendFlags, send};
use windrow_core::replication::ReplicaId;
use windrow_core::types::PartitionId;
use windrow_proto::replication::{Handshake, Mode, Rejection, encode_alive, encode_handshake};

use super::complaints::{About, Complaints};
use super::config::{LargeWay, Times, WireConfig};
use super::connection::{Connection, Stage, Why};
use super::counters::WireCounters;
use super::handshake::{Handshaking, Own};
use super::host::{Command, Host, Outbox};
use super::input::Broken;
use super::limits::STRANGERS_MAX;
use super::links::{Link, LinkState, LinkStatus};
use super::stream::Stream;
use crate::auth::random_bytes;
use crate::net::{Listener, Slab};
use crate::ring::{Completion, ConnId, Interest, Ring};

/// The number of the peer port among the listeners of a core.
const PEER_LISTENER: u32 = u32::MAX;
/// Marks the tickets of reads that are made for a connection.
const TICKET: u64 = 1 << 63;

/// All connections of one core with other nodes. See the module [`peers`](super).
pub struct Transport {
    pub(super) own: Own,
    pub(super) partitions: Vec<PartitionId>,
    pub(super) large: LargeWay,
    times: Times,
    listener: Option<Listener>,
    accepting: bool,
    closing: bool,
    pub(super) slab: Slab<Connection>,
    pub(super) links: Vec<Link>,
    pub(super) outbox: Outbox,
    pub(super) counters: Arc<WireCounters>,
    complaints: Complaints,
    strangers: usize,
    draw: u64,
    /// When the last round was.
    now: Instant,
    /// A list that is used again: the connections that one round looks at.
    ids: Vec<ConnId>,
}

pub(super) const fn ticket(id: ConnId) -> u64 {
    TICKET | (id.generation() as u64) << 32 | id.index() as u64
}

fn conn_of(ticket: u64) -> Option<ConnId> {
    let [kind, g2, g1, g0, index @ ..] = (ticket ^ TICKET).to_be_bytes();
    (kind == 0).then(|| ConnId::new(u32::from_be_bytes(index), u32::from_be_bytes([0, g2, g1, g0])))
}

impl Transport {
    /// Connections are accepted from `listener`, and made from the first [`tick`](Self::tick) on.
    #[must_use]
    pub fn new(config: WireConfig, listener: Option<Listener>) -> Self {
        let links: Vec<Link> = config.peers.iter().map(|&peer| Link::new(config.replica, peer)).collect();
        let own = Own {
            replica: config.replica,
            cluster: config.cluster,
            mode: Mode::SharedNothing,
            partition_count: config.partition_count,
            secret: config.secret,
            peers: links.iter().map(|link| link.replica).collect(),
        };
        Self {
            own,
            partitions: config.partitions,
            large: config.large,
            times: config.times,
            listener,
            accepting: false,
            closing: false,
            slab: Slab::default(),
            links,
            outbox: Outbox::default(),
            counters: Arc::default(),
            complaints: Complaints::default(),
            strangers: 0,
            draw: config.draw | 1,
            now: Instant::now(),
            ids: Vec::new(),
        }
    }

    /// Where other nodes connect to.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.listener.as_ref().map(Listener::address)
    }

    /// What it counts; to be read by anybody.
    #[must_use]
    pub fn counters(&self) -> &Arc<WireCounters> {
        &self.counters
    }

    /// What the driver wants done; taken at the next [`run`](Self::run).
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// How it stands with each of the other nodes.
    pub fn links(&mut self) -> impl Iterator<Item = LinkStatus> + '_ {
        let Self { links, slab, .. } = self;
        links.iter().map(|link| LinkStatus {
            replica: link.replica,
            address: link.address,
            dials: link.dials,
            state: link.state,
            since: link.since,
            queued: link.conn.and_then(|id| slab.get_mut(id)).map_or(0, |connection| connection.outgoing.len()),
            trouble: link.trouble.clone(),
        })
    }

    /// Takes note of what the kernel has done for a connection with another node. Hands back what it has done for
    /// somebody else.
    pub fn completion(&mut self, completion: Completion, ring: &mut Ring) -> Option<Completion> {
        match completion {
            Completion::Accepted { listener: PEER_LISTENER, socket, armed } => {
                self.accepting = armed;
                match socket {
                    Ok(socket) if !self.closing => {
                        self.accepted(socket);
                        self.accept(ring);
                    }
                    // Armed again at the next tick: without descriptors it would fail again at once.
                    Err(error) if error.raw_os_error() != Some(libc::ECANCELED) => {
                        tracing::warn!(%error, "cannot accept a connection from another node; trying again");
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            Completion::Ready { conn, interest } => {
                if let Some(connection) = self.slab.get_mut(conn) {
                    connection.is_ready(interest);
                }
            }
            Completion::Read { ticket, result } => {
                let Some(conn) = conn_of(ticket) else { return Some(Completion::Read { ticket, result }) };
                if let Some(connection) = self.slab.get_mut(conn) {
                    // Where it failed, sending finds out.
                    connection.cold_reads -= 1;
                }
            }
            Completion::ZeroCopySent { conn, result, copied } => self.sent_zero_copy(conn, result, copied),
            other => return Some(other),
        }
        None
    }

    fn accept(&mut self, ring: &mut Ring) {
        if let Some(listener) = &self.listener
            && !self.accepting
            && !self.closing
        {
            self.accepting = true;
            ring.accept(PEER_LISTENER, listener.as_fd());
        }
    }

    fn accepted(&mut self, socket: OwnedFd) {
        if self.strangers >= STRANGERS_MAX {
            self.counters.handshakes_failed.increment();
            let mut no = Vec::new();
            encode_handshake(&Handshake::Rejected(Rejection::Busy), &mut no);
            // A stranger who takes nothing gets nothing.
            let _ = send(&socket, &no, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
            return;
        }
        let opened = Stream::accepted(socket).and_then(|opened| Ok((opened, random_bytes()?)));
        match opened {
            Ok(((stream, remote), nonce)) => {
                self.strangers += 1;
                let stage = Stage::Handshake(Handshaking::accepting(nonce), None);
                self.insert(stream, remote, stage);
            }
            Err(error) => tracing::debug!(%error, "a connection was gone before it could be looked at"),
        }
    }

    /// The time, also between two rounds.
    pub(super) fn now(&self) -> Instant {
        self.now.max(Instant::now())
    }

    /// A round begins.
    pub(super) const fn note_time(&mut self, now: Instant) {
        self.now = now;
    }

    fn insert(&mut self, stream: Stream, remote: SocketAddr, stage: Stage) -> ConnId {
        let now = self.now();
        self.slab.insert_with(|id| Connection::new(id, stream, remote, stage, now))
    }

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
        self.ids = ids;
    }

    /// The connections that there are now, in a list to be given back.
    pub(super) fn take_ids(&mut self) -> Vec<ConnId> {
        let mut ids = std::mem::take(&mut self.ids);
        ids.extend(self.slab.ids(0, 1));
        ids
    }

    /// Gives the list back.
    pub(super) fn give_ids_back(&mut self, ids: Vec<ConnId>) {
        self.ids = ids;
    }

    fn dial(&mut self, at: usize, ring: &mut Ring, now: Instant) {
        match Stream::connect(self.links[at].address) {
            Ok(stream) => {
                let remote = self.links[at].address;
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
        connection.input.grow(super::limits::INPUT_LEN);
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
            tracing::warn!(peer = %link.replica, address = %link.address, unsaid, "{what} another node: {why}");
        }
        link.trouble = Some(why.to_string());
        link.lost(&self.times, draw, now);
    }

    fn draw(&mut self) -> u64 {
        // Xorshift64*, Vigna 2016.
        self.draw ^= self.draw >> 12;
        self.draw ^= self.draw << 25;
        self.draw ^= self.draw >> 27;
        self.draw.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Does what the driver wants done.
    pub(super) fn obey(&mut self, ring: &mut Ring, host: &mut impl Host, now: Instant) {
        while let Some(command) = self.outbox.take() {
            match command {
                Command::Send { to, partition, message } => {
                    let sent = self.open(to).is_some_and(|open| open.outgoing.push_message(partition, &message));
                    let counted = if sent { &self.counters.messages_sent } else { &self.counters.messages_dropped };
                    counted.increment();
                }
                Command::Ship { to, partition, range } => {
                    if !self.open(to).is_some_and(|open| open.outgoing.push_range(partition, range)) {
                        self.counters.messages_dropped.increment();
                    }
                }
                Command::Resume(peer) => {
                    if let Some(open) = self.open(peer)
                        && std::mem::take(&mut open.paused)
                    {
                        // Nothing was received meanwhile, and that was not the peer's fault.
                        open.heard = now;
                    }
                }
                Command::Close(peer, why) => {
                    if let Some(id) = self.open(peer).map(|open| open.id) {
                        self.end(id, &Why::Asked(why), ring, host, now);
                    }
                }
            }
        }
    }

    /// The connection with `peer`, if it is there.
    fn open(&mut self, peer: ReplicaId) -> Option<&mut Connection> {
        let link = self.links.iter().find(|link| link.replica == peer && link.state == LinkState::Up)?;
        self.slab.get_mut(link.conn?)
    }

    /// Ends everything, for the shutdown of the core. No driver is told.
    pub fn close(&mut self, ring: &mut Ring) {
        if !std::mem::replace(&mut self.closing, true) && self.accepting {
            ring.cancel_accept(PEER_LISTENER);
        }
        let ids: Vec<ConnId> = self.slab.ids(0, 1).collect();
        for id in ids {
            if let Some(connection) = self.slab.remove(id) {
                connection.close(ring);
            }
        }
        for link in &mut self.links {
            link.enter(LinkState::Down, None, Instant::now());
        }
        self.strangers = 0;
    }
}
