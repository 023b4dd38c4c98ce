//! One replica of one partition.

mod candidate;
mod epoch;
mod follower;
mod leader;
mod peer;

use alloc::collections::VecDeque;

use candidate::Candidate;
pub use candidate::{PromoteError, Promotion};
use epoch::Write;
use follower::Follower;
use leader::Leader;
pub use peer::PeerStatus;

use super::message::{Body, LogEnd, Message, Refusal};
use super::output::{Event, Output};
use super::types::{Config, ConfigError, LogState, Moment, Position, Promised, ReplicaId};
use crate::codec::Chain;
use crate::types::{Epoch, Lsn};

/// What a replica is at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RoleKind {
    /// It follows, or waits for a leader to follow.
    Follower,
    /// It collects promises.
    Candidate,
    /// It leads.
    Leader,
}

enum Role {
    Follower(Follower),
    Candidate(Candidate),
    Leader(Leader),
}

/// What the log is being made to be: until that is done, messages are not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Surgery {
    Cut { to: Lsn },
    Reset { start: Lsn, chain: Chain },
}

/// One replica of one partition: a leader, a candidate or a follower.
///
/// Driven by one core. Every `handle_*` may leave outputs: drain [`poll_output`](Self::poll_output) after each.
pub struct Replica {
    config: Config,
    log: LogState,
    committed: Lsn,
    committed_told: Lsn,
    /// What the newest leader that was heard has committed, in this log or not.
    leader_committed: Position,
    role: Role,
    /// What is promised; durable unless a write is in flight.
    promised: Promised,
    /// To which candidate the promised epoch was promised.
    granted: Option<ReplicaId>,
    writing: Option<Write>,
    next_ticket: u64,
    surgery: Option<Surgery>,
    /// When a leader was last heard, and which one: its lease.
    heard: Option<(Moment, Option<ReplicaId>)>,
    /// Until when no heartbeat renews the lease: a candidate waits for it to end.
    lease_ends_by: Moment,
    /// The newest epoch that anybody spoke of.
    newest_heard: Epoch,
    may_lose: bool,
    outputs: VecDeque<Output>,
}

impl Replica {
    /// A replica that starts as a follower without a leader.
    ///
    /// Until a lease has passed since `now`, it promises nothing: it may have heard from a leader before it stopped.
    ///
    /// # Errors
    /// [`ConfigError`]: a setting is out of its range.
    ///
    /// # Panics
    /// If the log and the promise contradict each other: nobody recovers such a partition, so that is a bug.
    pub fn new(config: Config, log: LogState, promised: Promised, now: Moment) -> Result<Self, ConfigError> {
        config.check()?;
        assert!(log.start <= log.end && log.durable <= log.end, "positions of a log are in order");
        assert!(log.committed <= log.durable, "what is committed is flushed");
        assert!(log.history.epoch_at(log.end) <= promised.promised, "a log holds no epoch newer than the promise");
        let is_alone = config.voters.len() == 1;
        let heard = (promised.promised > Epoch::ZERO && !is_alone).then_some((now, None));
        // What was freed was committed, and so was what this replica had written down.
        let committed = log.committed.max(log.start);
        Ok(Self {
            config,
            log,
            committed,
            committed_told: committed,
            leader_committed: Position::default(),
            role: Role::Follower(Follower::default()),
            promised,
            granted: None,
            writing: None,
            next_ticket: 1,
            surgery: None,
            heard,
            lease_ends_by: Moment::default(),
            newest_heard: promised.promised,
            may_lose: false,
            outputs: VecDeque::new(),
        })
    }

    /// What this replica is.
    #[must_use]
    pub const fn role(&self) -> RoleKind {
        match self.role {
            Role::Follower(_) => RoleKind::Follower,
            Role::Candidate(_) => RoleKind::Candidate,
            Role::Leader(_) => RoleKind::Leader,
        }
    }

    /// The leader that this replica knows, which may be itself.
    #[must_use]
    pub fn leader(&self) -> Option<ReplicaId> {
        match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.config.id),
        }
    }

    /// Everything older than this is refused.
    #[must_use]
    pub const fn current_epoch(&self) -> Epoch {
        self.promised.promised
    }

    /// Everything below is committed, as far as this replica knows.
    #[must_use]
    pub const fn committed(&self) -> Lsn {
        self.committed
    }

    /// The log, as far as this replica was told.
    #[must_use]
    pub const fn log(&self) -> &LogState {
        &self.log
    }

    /// Where the log ends, flushed: what this replica can vouch for.
    #[must_use]
    pub fn position(&self) -> Position {
        Position { epoch: self.log.history.epoch_at(self.log.durable), lsn: self.log.durable }
    }

    /// What to do next. Ask again until there is nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.outputs.pop_front() {
            return Some(output);
        }
        if self.committed_told < self.committed {
            self.committed_told = self.committed;
            return Some(Output::Committed { upto: self.committed });
        }
        self.poll_ship()
    }

    /// A message has come from a peer, which is who it says it is.
    pub fn handle_message(&mut self, now: Moment, from: ReplicaId, message: Message) {
        if from == self.config.id || !self.config.peers().any(|peer| peer == from) {
            return self.event(Event::BadPeer { peer: from });
        }
        self.newest_heard = self.newest_heard.max(message.epoch);
        if self.writing.is_some() || self.surgery.is_some() {
            return; // An answer has to wait for what is being made durable; the peer asks again.
        }
        if self.refuses_foreign(from, &message.body) {
            return;
        }
        let Message { epoch, body } = message;
        if let Body::Refuse(refusal) = body {
            return self.handle_refusal(from, epoch, refusal);
        }
        if epoch < self.promised.promised {
            return self.refuse(from, Refusal::Stale);
        }
        match body {
            Body::PromiseRequest(request) => self.handle_promise_request(now, from, epoch, request),
            body if body.is_from_leader() => self.handle_leader(now, from, epoch, body),
            _ if epoch > self.promised.promised => self.step_down(epoch),
            Body::Hello(hello) => self.handle_hello(from, hello),
            Body::Ack(ack) => self.handle_ack(from, ack),
            Body::Promise { position } => self.handle_promise(now, from, position),
            Body::TakeOver => self.handle_take_over(from),
            _ => {}
        }
    }

    /// Refuses another cluster's peers before anything else is looked at.
    fn refuses_foreign(&mut self, from: ReplicaId, body: &Body) -> bool {
        let (cluster, partition) = match body {
            Body::Heartbeat(heartbeat) => (heartbeat.cluster, heartbeat.partition),
            Body::Hello(hello) => (hello.cluster, hello.partition),
            Body::PromiseRequest(request) => (request.cluster, request.partition),
            _ => return false,
        };
        if cluster == self.config.cluster && partition == self.config.partition {
            return false;
        }
        self.event(Event::OtherCluster { peer: from });
        self.refuse(from, Refusal::OtherCluster);
        true
    }

    fn handle_refusal(&mut self, from: ReplicaId, epoch: Epoch, refusal: Refusal) {
        self.event(Event::Refused { peer: from, refusal });
        if epoch > self.promised.promised {
            return self.step_down(epoch);
        }
        match (refusal, &self.role) {
            (Refusal::TwoLeaders { epoch }, Role::Leader(_)) if epoch == self.promised.promised => {
                self.event(Event::TwoLeaders { epoch, other: from });
                self.depose();
            }
            // Whoever has promised less than this replica's epoch can still refuse it.
            (Refusal::Stale, _) if epoch < self.promised.promised => {}
            (refusal, Role::Candidate(_)) => self.handle_denied(from, refusal),
            _ => {}
        }
    }

    /// Time has passed. Call this at least as often as the heartbeat is due.
    pub fn handle_tick(&mut self, now: Moment) {
        match self.role {
            Role::Follower(_) => self.tick_follower(now),
            Role::Candidate(_) => self.tick_candidate(now),
            Role::Leader(_) => self.tick_leader(now),
        }
    }

    /// A peer can be reached.
    pub fn handle_connected(&mut self, now: Moment, peer: ReplicaId) {
        match &mut self.role {
            Role::Follower(follower) if follower.leader == Some(peer) => self.say_hello(now, None),
            Role::Follower(_) => {}
            Role::Candidate(_) => self.ask_for_promise(peer),
            Role::Leader(leader) => {
                leader.forget_link(peer);
                self.send_heartbeat(now, peer);
            }
        }
    }

    /// A peer can no longer be reached.
    pub fn handle_disconnected(&mut self, peer: ReplicaId) {
        match &mut self.role {
            Role::Follower(follower) if follower.leader == Some(peer) => follower.forget_stream(),
            Role::Leader(leader) => leader.forget_link(peer),
            Role::Follower(_) | Role::Candidate(_) => {}
        }
    }

    /// Everything below `lsn`, a record's end, is flushed here.
    pub fn handle_durable(&mut self, lsn: Lsn) {
        let limit = match self.surgery {
            Some(Surgery::Cut { to }) => to,
            Some(Surgery::Reset { .. }) => return,
            None => self.log.end,
        };
        let durable = lsn.min(limit);
        if durable <= self.log.durable {
            return;
        }
        self.log.durable = durable;
        match self.role {
            Role::Leader(_) => self.advance_committed(),
            Role::Follower(_) => self.acknowledge(),
            Role::Candidate(_) => {}
        }
    }

    /// The log starts at `start` now, a segment's base, with the chain value that the segment starts from: older
    /// segments were freed.
    ///
    /// # Panics
    /// If nothing flushed is left: the epoch of the newest flushed record has to be known, so that is a bug.
    pub fn handle_trimmed(&mut self, start: Lsn, chain: Chain) {
        assert!(self.log.start <= start && start < self.log.durable, "a trimmed log keeps what was flushed last");
        self.log.start = start;
        self.log.start_chain = chain;
        self.log.history.trim(start);
        if let Role::Leader(leader) = &mut self.role {
            leader.forget_links_before(start);
        }
    }

    const fn log_end(&self) -> LogEnd {
        LogEnd { lsn: self.log.end, chain: self.log.chain }
    }

    fn is_empty(&self) -> bool {
        self.log.start == self.log.end && self.promised.floor.is_none()
    }

    fn send(&mut self, to: ReplicaId, body: Body) {
        let message = Message { epoch: self.promised.promised, body };
        self.outputs.push_back(Output::Send { to, message });
    }

    fn refuse(&mut self, to: ReplicaId, refusal: Refusal) {
        self.send(to, Body::Refuse(refusal));
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }
}
