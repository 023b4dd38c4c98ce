//! All connections of one core with other nodes: making, accepting, keeping and ending them.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use windrow_core::replication::ReplicaId;
use windrow_core::types::PartitionId;
use windrow_proto::replication::{Handshake, Mode, Rejection, encode_handshake};

use super::complaints::{About, Complaints};
use super::config::{LargeWay, Times, WireConfig};
use super::connection::{Connection, Stage, Why};
use super::counters::WireCounters;
use super::handshake::{Handshaking, Own};
use super::host::{Command, Host, Outbox};
use super::limits::STRANGERS_PER_ADDRESS_MAX;
use super::links::{Link, LinkState, LinkStatus};
use super::strangers::{Waiting, to_evict};
use super::stream::Stream;
use crate::auth::random_bytes;
use crate::net::{Listener, Slab};
use crate::ring::{Completion, ConnId, Ring};

/// The number of the peer port among the listeners of a core.
const PEER_LISTENER: u32 = u32::MAX;
/// Marks the tickets of reads that are made for a connection.
const TICKET: u64 = 1 << 63;

/// All connections of one core with other nodes. See the module [`peers`](super).
pub struct Transport {
    pub(super) own: Own,
    pub(super) partitions: Vec<PartitionId>,
    pub(super) large: LargeWay,
    pub(super) times: Times,
    listener: Option<Listener>,
    accepting: bool,
    pub(super) closing: bool,
    pub(super) slab: Slab<Connection>,
    pub(super) links: Vec<Link>,
    pub(super) outbox: Outbox,
    pub(super) counters: Arc<WireCounters>,
    pub(super) complaints: Complaints,
    pub(super) strangers: usize,
    pub(super) draw: u64,
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
        let links: Vec<Link> = config.peers.into_iter().map(|peer| Link::new(config.replica, peer)).collect();
        let own = Own {
            replica: config.replica,
            cluster: config.cluster,
            mode: Mode::SharedNothing,
            layout: config.layout,
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
            place: link.place.to_string(),
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
                        self.accepted(socket, ring);
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

    pub(super) fn accept(&mut self, ring: &mut Ring) {
        if let Some(listener) = &self.listener
            && !self.accepting
            && !self.closing
        {
            self.accepting = true;
            ring.accept(PEER_LISTENER, listener.as_fd());
        }
    }

    fn accepted(&mut self, socket: OwnedFd, ring: &mut Ring) {
        let opened = Stream::accepted(socket).and_then(|opened| Ok((opened, random_bytes()?)));
        match opened {
            Ok(((stream, remote), nonce)) => {
                self.make_room(remote.ip(), ring);
                self.strangers += 1;
                let stage = Stage::Handshake(Handshaking::accepting(nonce), None);
                self.insert(stream, remote, stage);
            }
            Err(error) => tracing::debug!(%error, "a connection was gone before it could be looked at"),
        }
    }

    /// Ends one of the connections that have proved nothing, if there are too many for another one from `newcomer`.
    fn make_room(&mut self, newcomer: IpAddr, ring: &mut Ring) {
        if self.strangers < STRANGERS_PER_ADDRESS_MAX {
            return;
        }
        let mut waiting = Vec::with_capacity(self.strangers);
        let mut ids = self.take_ids();
        for id in ids.drain(..) {
            if let Some(one) = self.slab.get_mut(id).filter(|one| one.is_stranger()) {
                waiting.push(Waiting { id, address: one.remote.ip(), since: one.opened });
            }
        }
        self.give_ids_back(ids);
        let Some(gone) = to_evict(&waiting, newcomer).and_then(|id| self.slab.remove(id)) else { return };
        self.strangers -= 1;
        self.counters.handshakes_failed.increment();
        if let Some(unsaid) = self.complaints.may_say(About::Stranger, "busy", self.now()) {
            tracing::warn!(
                remote = %gone.remote,
                unsaid,
                "too many connections to the peer port that have not proved anything: the oldest ones are ended. Find out \
                 who makes them (`ss -tn`), and keep them away from the port"
            );
        }
        let mut no = Vec::new();
        encode_handshake(&Handshake::Rejected(Rejection::Busy), &mut no);
        // A stranger who takes nothing gets nothing.
        let _sent = gone.stream.write(&[IoSlice::new(&no)], false, false);
        gone.close(ring);
    }

    /// The time, also between two rounds.
    pub(super) fn now(&self) -> Instant {
        self.now.max(Instant::now())
    }

    /// A round begins.
    pub(super) const fn note_time(&mut self, now: Instant) {
        self.now = now;
    }

    pub(super) fn insert(&mut self, stream: Stream, remote: SocketAddr, stage: Stage) -> ConnId {
        let now = self.now();
        self.slab.insert_with(|id| Connection::new(id, stream, remote, stage, now))
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
