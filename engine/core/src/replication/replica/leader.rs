//! Leading: finding where each follower's log parts, sending it what it lacks, counting what is flushed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::peer::{Link, Peer, PeerStatus};
use super::{Replica, Role};
use crate::codec::Chain;
use crate::replication::commit::flushed_as_asked;
use crate::replication::history::Common;
use crate::replication::limits::RANGE_LEN_MAX;
use crate::replication::message::{Ack, Body, Heartbeat, Hello, LogEnd, Refusal};
use crate::replication::output::{Event, Output};
use crate::replication::types::{CommitRule, Moment, Position, ReplicaId};
use crate::types::Lsn;

/// A replica that leads.
pub(super) struct Leader {
    /// Where the first record of the leader's own epoch ends: below, flushes are not counted.
    first_end: Option<Lsn>,
    peers: BTreeMap<ReplicaId, Peer>,
    heartbeat_at: Moment,
    /// Where the next search for something to send starts, so that no peer starves another.
    turn: ReplicaId,
}

impl Leader {
    /// The peer is asked anew where its log ends. What it has flushed remains true.
    pub(super) fn forget_link(&mut self, peer: ReplicaId) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.link = Link::Unknown;
            peer.received = Lsn::ZERO;
        }
    }

    pub(super) fn forget_links_before(&mut self, start: Lsn) {
        for peer in self.peers.values_mut() {
            if let Link::Streaming { sent } = peer.link
                && sent < start
            {
                peer.link = Link::Unknown;
            }
        }
    }
}

impl Replica {
    fn leading(&mut self) -> Option<&mut Leader> {
        if let Role::Leader(leader) = &mut self.role { Some(leader) } else { None }
    }

    fn peer(&mut self, id: ReplicaId) -> Option<&mut Peer> {
        self.leading()?.peers.get_mut(&id)
    }

    /// The epoch of this leadership is durable.
    pub(super) fn begin_leading(&mut self, now: Moment) {
        let peers = self.config.peers().map(|id| (id, Peer::new())).collect();
        let turn = self.config.id;
        if matches!(&self.role, Role::Candidate(candidate) if candidate.is_forced()) {
            let kept = Position { epoch: self.log.history.epoch_at(self.log.end), lsn: self.log.end };
            let (committed, leader_committed) = (self.committed, self.leader_committed.lsn);
            self.event(Event::Forced { epoch: self.promised.promised, kept, committed, leader_committed });
        }
        self.role = Role::Leader(Leader { first_end: None, peers, heartbeat_at: now, turn });
        self.outputs.push_back(Output::Lead { epoch: self.promised.promised });
        self.tick_leader(now);
    }

    pub(super) fn tick_leader(&mut self, now: Moment) {
        let heartbeat_ms = self.config.heartbeat_ms;
        let Some(leader) = self.leading() else { return };
        if now < leader.heartbeat_at {
            return;
        }
        leader.heartbeat_at = now.after(heartbeat_ms);
        let peers: Vec<ReplicaId> = leader.peers.keys().copied().collect();
        for peer in peers {
            self.send_heartbeat(now, peer);
        }
    }

    pub(super) fn send_heartbeat(&mut self, now: Moment, to: ReplicaId) {
        let (cluster, partition, committed) = (self.config.cluster, self.config.partition, self.committed);
        let Some(peer) = self.peer(to) else { return };
        let sent = if let Link::Streaming { sent } = peer.link { sent } else { Lsn::ZERO };
        self.send(to, Body::Heartbeat(Heartbeat { cluster, partition, committed, sent, at: now }));
    }

    /// The leader's log ends at `end` now, with this chain value. The first record of a leadership, which is of kind
    /// `Epoch`, is told of by itself, and only while it leads. What it appended behind that, before its driver saw
    /// [`Event::Deposed`], may be told of afterwards, until that has been seen.
    ///
    /// # Panics
    /// If this replica did not lead, or the log does not grow: bugs of the driver.
    pub fn handle_appended(&mut self, end: Lsn, chain: Chain) {
        let (epoch, before) = (self.promised.promised, self.log.end);
        assert!(end > before, "a log grows by whole records");
        match self.leading() {
            Some(leader) if leader.first_end.is_none() => {
                leader.first_end = Some(end);
                self.log.history.note(epoch, before);
            }
            Some(_) => {}
            // The epoch is known already: its first record came before.
            None => assert!(self.surgery.is_none() && !self.is_streaming(), "only a leader appends"),
        }
        self.log.end = end;
        self.log.chain = chain;
    }

    /// A follower says where its log ends.
    pub(super) fn handle_hello(&mut self, from: ReplicaId, hello: Hello) {
        if !matches!(self.role, Role::Leader(_)) {
            return;
        }
        if hello.start > hello.end || hello.epochs_end > hello.end {
            return self.event(Event::BadPeer { peer: from });
        }
        let end = LogEnd { lsn: hello.end, chain: hello.chain };
        if let Some(peer) = self.peer(from) {
            peer.link = Link::Unknown;
            // Less than it acknowledged: its disk has lost something, and counts for it no longer.
            peer.flushed = peer.flushed.min(hello.end);
        }
        match self.log.history.common(self.log.start, self.log.end, &hello) {
            Common::Before(before) => self.send(from, Body::OlderEpochs { before }),
            Common::At(at) if at < self.log.start || at < hello.start => self.restart(from, end, Some(at)),
            // A log that was trimmed is not cut to nothing: it would no longer know how far it had vouched.
            Common::At(at) if at < hello.end && at == hello.start && at > Lsn::ZERO => {
                self.restart(from, end, Some(at));
            }
            Common::At(at) if at < hello.end => self.send(from, Body::Cut { end, to: at }),
            Common::At(_) => self.check_chain(from, end),
            Common::Nowhere => self.restart(from, end, None),
            Common::TwoLeaders(epoch) => {
                self.event(Event::TwoLeaders { epoch, other: from });
                self.refuse(from, Refusal::TwoLeaders { epoch });
            }
        }
    }

    fn restart(&mut self, to: ReplicaId, end: LogEnd, common: Option<Lsn>) {
        let (start, start_chain) = (self.log.start, self.log.start_chain);
        self.send(to, Body::Restart { end, start, start_chain, common });
    }

    /// The epochs say that the follower's log is a prefix; its chain value has to say so, too.
    fn check_chain(&mut self, from: ReplicaId, end: LogEnd) {
        if end.lsn == self.log.end {
            return self.settle(from, end, Some(self.log.chain));
        }
        if end.lsn == self.log.start {
            if end.chain != self.log.start_chain {
                return self.restart(from, end, None);
            }
            return self.settle(from, end, Some(end.chain));
        }
        if let Some(peer) = self.peer(from) {
            peer.link = Link::Checking { end };
            self.outputs.push_back(Output::LookUpChain { peer: from, at: end.lsn });
        }
    }

    /// The chain value of the record that ends at `at`; `None` where no record ends there.
    pub fn handle_chain(&mut self, peer: ReplicaId, at: Lsn, chain: Option<Chain>) {
        let Some(Peer { link: Link::Checking { end }, .. }) = self.peer(peer) else { return };
        let end = *end;
        if end.lsn == at {
            self.settle(peer, end, chain);
        }
    }

    fn settle(&mut self, from: ReplicaId, end: LogEnd, found: Option<Chain>) {
        let start = self.log.start;
        let epoch = self.log.history.epoch_at(end.lsn);
        let Some(peer) = self.peer(from) else { return };
        if found != Some(end.chain) {
            peer.link = Link::Unknown;
            self.event(Event::TwoLeaders { epoch, other: from });
            return self.refuse(from, Refusal::TwoLeaders { epoch });
        }
        if end.lsn < start {
            peer.link = Link::Unknown;
            return;
        }
        peer.link = Link::Streaming { sent: end.lsn };
        peer.received = end.lsn;
        self.send(from, Body::Resume(end));
    }

    /// A follower says what it has.
    pub(super) fn handle_ack(&mut self, from: ReplicaId, ack: Ack) {
        let end = self.log.end;
        let Some(peer) = self.peer(from) else { return };
        if ack.flushed > end || ack.received < ack.flushed {
            return self.event(Event::BadPeer { peer: from });
        }
        if let Link::Streaming { sent } = peer.link {
            peer.received = peer.received.max(ack.received.min(sent));
        }
        if ack.at > Moment::default() {
            peer.lease_from = peer.lease_from.max(Some(ack.at));
        }
        if ack.flushed > peer.flushed {
            peer.flushed = ack.flushed;
            self.advance_committed();
        }
    }

    /// Moves the committed watermark as far as the rule allows, but never on the strength of older epochs alone: a
    /// majority that has flushed a record of an older leader can still be overruled by a replica that holds a record
    /// of a later one. Behind a record of this epoch it cannot (Raft, section 5.4.2).
    pub(super) fn advance_committed(&mut self) {
        let Role::Leader(leader) = &self.role else { return };
        let flushed = |id: &ReplicaId| leader.peers.get(id).map_or(Lsn::ZERO, |peer| peer.flushed);
        let others = self.config.voters.iter().filter(|&&id| id != self.config.id).map(flushed);
        let upto = flushed_as_asked(self.config.rule, self.log.durable, others);
        if leader.first_end.is_some_and(|first_end| upto >= first_end) && upto > self.committed {
            self.committed = upto;
        }
    }

    /// The next range to send, if a follower lacks something and its window has room.
    pub(super) fn poll_ship(&mut self) -> Option<Output> {
        let (start, end, window_len) = (self.log.start, self.log.end, self.config.window_len);
        let (epoch, committed) = (self.promised.promised, self.committed);
        let leader = self.leading()?;
        let turn = leader.turn;
        let ready = |peer: &Peer| match peer.link {
            Link::Streaming { sent } if start <= sent && sent < end => {
                let upto = end.min(peer.received.plus(window_len)).min(sent.plus(RANGE_LEN_MAX));
                (upto > sent).then_some((sent, upto))
            }
            _ => None,
        };
        let find = |(&id, peer): (&ReplicaId, &Peer)| ready(peer).map(|(from, upto)| (id, from, upto));
        let behind_turn = leader.peers.range(turn..).filter(|(id, _)| **id > turn).find_map(find);
        let (to, from, upto) = behind_turn.or_else(|| leader.peers.range(..=turn).find_map(find))?;
        leader.turn = to;
        if let Some(peer) = leader.peers.get_mut(&to) {
            peer.link = Link::Streaming { sent: upto };
        }
        Some(Output::Ship { to, epoch, from, upto, committed })
    }

    /// How many other replicas have flushed everything below `lsn`: what WAIT asks. `None` where this replica does
    /// not lead, and nobody can know.
    #[must_use]
    pub fn replicas_flushed(&self, lsn: Lsn) -> Option<usize> {
        let Role::Leader(leader) = &self.role else { return None };
        Some(leader.peers.values().filter(|peer| peer.flushed >= lsn).count())
    }

    /// The oldest position that a range in flight may still refer to: segments from there on must not be freed.
    #[must_use]
    pub fn pinned_from(&self) -> Option<Lsn> {
        let Role::Leader(leader) = &self.role else { return None };
        let streaming = leader.peers.values().filter(|peer| matches!(peer.link, Link::Streaming { .. }));
        streaming.map(|peer| peer.received).min()
    }

    /// The operator wants `to` to lead, which holds everything: this replica stops, and asks it to. Ask again until a
    /// leader is heard of: the message may be lost.
    pub fn handle_hand_over(&mut self, to: ReplicaId) {
        self.depose();
        if self.follower_of_nobody() && self.config.is_voter(to) && to != self.config.id {
            self.send(to, Body::TakeOver);
        }
    }

    fn follower_of_nobody(&self) -> bool {
        matches!(&self.role, Role::Follower(follower) if follower.leader.is_none())
    }

    /// Until when this leader may serve reads from memory, unless it hears from its followers again: see
    /// [`may_serve_reads`](Self::may_serve_reads). `None` where it does not lead.
    #[must_use]
    pub fn reads_until(&self) -> Option<Moment> {
        let Role::Leader(leader) = &self.role else { return None };
        let others = self.config.majority() - 1;
        if self.config.rule == CommitRule::Leader || others == 0 {
            return Some(Moment::new(u64::MAX));
        }
        let answered = |id: &ReplicaId| leader.peers.get(id).and_then(|peer| peer.lease_from);
        let mut answered: Vec<Moment> = self.config.voters.iter().filter_map(answered).collect();
        answered.sort_unstable_by(|a, b| b.cmp(a));
        let relied_on = self.config.lease_ms - self.config.lease_margin_ms;
        Some(answered.get(others - 1).map_or(Moment::default(), |at| at.after(relied_on)))
    }

    /// Whether this leader may serve reads from memory at `now`: no other replica can lead yet, because a majority of
    /// the voters has heard from this one not long ago. With [`CommitRule::Leader`], always while it leads, and then
    /// a leader that is cut off serves what may no longer be true.
    #[must_use]
    pub fn may_serve_reads(&self, now: Moment) -> bool {
        self.reads_until().is_some_and(|until| now < until)
    }

    /// What this leader knows of its followers.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> {
        let leader = if let Role::Leader(leader) = &self.role { Some(leader) } else { None };
        leader.into_iter().flat_map(|leader| leader.peers.iter()).map(|(&id, peer)| PeerStatus {
            id,
            is_voter: self.config.is_voter(id),
            is_streaming: matches!(peer.link, Link::Streaming { .. }),
            sent: if let Link::Streaming { sent } = peer.link { sent } else { Lsn::ZERO },
            received: peer.received,
            flushed: peer.flushed,
            answered: peer.lease_from,
        })
    }
}
