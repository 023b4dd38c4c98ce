//! Following a leader: saying where the log ends, cutting what diverges, taking what is sent, acknowledging.

use super::epoch::Reason;
use super::{Replica, Role, Surgery};
use crate::codec::Chain;
use crate::replication::message::{Ack, Body, Heartbeat, Hello, LogEnd, Refusal};
use crate::replication::output::{Event, Output};
use crate::replication::types::{CommitRule, Moment, Position, Promised, ReplicaId, Verified};
use crate::types::{Epoch, Lsn};

/// No hello is said before there is room again.
const NEVER: Moment = Moment::new(u64::MAX);

/// How many bytes arrive between two acknowledgements, unless a flush brings one first.
const ACK_EVERY: u64 = 256 << 10;

/// A replica that follows, or waits for a leader to follow.
#[derive(Default)]
pub(super) struct Follower {
    pub(super) leader: Option<ReplicaId>,
    /// The log is a prefix of the leader's, and goes on with what the leader sends.
    stream: Option<Stream>,
    /// When to say hello again.
    hello_at: Moment,
    /// The leader's clock in its newest heartbeat.
    heartbeat_at: Moment,
}

/// What comes from the leader.
struct Stream {
    /// Everything below has arrived, whole records or not.
    received: Lsn,
    /// What the leader was last told of it.
    acked: Lsn,
    /// What was last asked to be flushed.
    flush_asked: Lsn,
    /// What the leader has committed.
    committed: Lsn,
}

impl Follower {
    pub(super) fn forget_stream(&mut self) {
        self.stream = None;
        self.hello_at = Moment::default();
    }
}

impl Replica {
    fn follower(&mut self) -> Option<&mut Follower> {
        if let Role::Follower(follower) = &mut self.role { Some(follower) } else { None }
    }

    /// Whether this replica was told to resume, and takes what its leader sends.
    #[must_use]
    pub const fn is_streaming(&self) -> bool {
        matches!(&self.role, Role::Follower(Follower { stream: Some(_), .. }))
    }

    /// A leader has spoken. `epoch` is not older than what is promised.
    pub(super) fn handle_leader(&mut self, now: Moment, from: ReplicaId, epoch: Epoch, body: Body) {
        if epoch > self.promised.promised {
            let Some(floor) = self.floor_to_follow(epoch, &body) else { return };
            self.step_down(epoch);
            self.become_follower();
            self.granted = None;
            self.lease_ends_by = Moment::default();
            return self.write_promise(Promised { promised: epoch, epoch, floor }, Reason::Follow(from));
        }
        if let Role::Candidate(_) = self.role {
            // Only where the nodes were told of different voters do two ask for the same epoch. The one that leads has
            // won; this one has won nothing yet, and from now on cannot.
            self.step_down(epoch);
        }
        let promised_to_other = self.granted.is_some_and(|candidate| candidate != from);
        let known = match &self.role {
            Role::Follower(follower) => follower.leader,
            Role::Candidate(_) => None,
            Role::Leader(_) => Some(self.config.id),
        };
        if known.is_some_and(|leader| leader != from) || promised_to_other {
            self.event(Event::TwoLeaders { epoch, other: from });
            self.refuse(from, Refusal::TwoLeaders { epoch });
            self.depose();
            return;
        }
        if known.is_none() {
            self.follow(now, from);
        }
        match body {
            Body::Heartbeat(heartbeat) => self.handle_heartbeat(now, from, heartbeat),
            Body::OlderEpochs { before } => self.say_hello(now, Some(before)),
            Body::Resume(end) => self.handle_resume(now, end),
            Body::Cut { end, to } => self.handle_cut_order(from, end, to),
            Body::Restart { end, start, start_chain, common } => {
                self.handle_restart_order(from, end, LogEnd { lsn: start, chain: start_chain }, common);
            }
            Body::Bytes { from, to, committed } => self.handle_bytes(now, from, to, committed),
            _ => {}
        }
    }

    /// The floor with which to follow; `None` where a heartbeat has to come first. A replica without any past does not
    /// vouch for anything before it has what is committed now, and only a heartbeat is sure to say what that is.
    fn floor_to_follow(&self, epoch: Epoch, body: &Body) -> Option<Option<Position>> {
        match body {
            Body::Heartbeat(heartbeat) if self.is_blank() => Some(Some(Position { epoch, lsn: heartbeat.committed })),
            _ if self.is_blank() => None,
            _ => Some(self.promised.floor),
        }
    }

    /// The promise of the leader's epoch is durable.
    pub(super) fn follow(&mut self, now: Moment, leader: ReplicaId) {
        let epoch = self.promised.promised;
        self.role = Role::Follower(Follower { leader: Some(leader), ..Follower::default() });
        self.event(Event::Following { leader, epoch });
        self.say_hello(now, None);
    }

    fn handle_heartbeat(&mut self, now: Moment, from: ReplicaId, heartbeat: Heartbeat) {
        let renews = now >= self.lease_ends_by;
        if renews {
            self.heard = Some((now, Some(from)));
        }
        let Some(follower) = self.follower() else { return };
        if renews {
            follower.heartbeat_at = follower.heartbeat_at.max(heartbeat.at);
        }
        if heartbeat.sent == Lsn::ZERO {
            follower.stream = None; // The leader sends nothing before it is told anew where this log ends.
        }
        if follower.stream.as_ref().is_none_or(|stream| stream.received < heartbeat.sent) {
            self.say_hello_again(now);
        }
        self.learn_committed(heartbeat.committed);
        self.acknowledge();
    }

    /// Whoever led relies no longer on having been heard here, and has asked for no other replica to lead.
    pub(super) fn handle_take_over(&mut self, from: ReplicaId) {
        if self.follower().is_some_and(|follower| follower.leader == Some(from)) {
            self.heard = None;
            self.event(Event::AskedToLead { by: from });
        }
    }

    /// What the leader has committed is committed here as far as this log goes, once it is a prefix of the leader's.
    fn learn_committed(&mut self, committed: Lsn) {
        let end = self.log.end;
        // A leader before may have been one of a history that a forced promotion has ended.
        self.leader_committed = self.leader_committed.max(Position { epoch: self.promised.promised, lsn: committed });
        if let Some(Follower { stream: Some(stream), .. }) = self.follower() {
            stream.committed = stream.committed.max(committed);
            let known = stream.committed.min(end);
            self.committed = self.committed.max(known);
        }
    }

    pub(super) fn tick_follower(&mut self, now: Moment) {
        let Some(follower) = self.follower() else { return };
        if follower.leader.is_some() && follower.stream.is_none() {
            self.say_hello_again(now);
        }
    }

    /// Says hello unless that was done a moment ago.
    fn say_hello_again(&mut self, now: Moment) {
        if self.follower().is_some_and(|follower| now >= follower.hello_at) {
            self.say_hello(now, None);
        }
    }

    /// Tells the leader where the log ends and which epochs it holds, the newest ones or those before `before`.
    pub(super) fn say_hello(&mut self, now: Moment, before: Option<Epoch>) {
        let retry_ms = self.config.retry_ms;
        if self.writing.is_some() || self.surgery.is_some() {
            return;
        }
        let Some(follower) = self.follower() else { return };
        let Some(leader) = follower.leader else { return };
        follower.hello_at = now.after(retry_ms);
        let (epochs, epochs_end, has_older) = self.log.history.tail(before, self.log.end);
        let hello = Hello {
            cluster: self.config.cluster,
            partition: self.config.partition,
            start: self.log.start,
            end: self.log.end,
            chain: self.log.chain,
            epochs,
            epochs_end,
            has_older,
        };
        self.send(leader, Body::Hello(hello));
    }

    fn handle_resume(&mut self, now: Moment, end: LogEnd) {
        let own = self.log_end();
        let Some(follower) = self.follower() else { return };
        if end == own && follower.stream.is_none() {
            follower.stream =
                Some(Stream { received: own.lsn, acked: Lsn::ZERO, flush_asked: Lsn::ZERO, committed: Lsn::ZERO });
            self.ask_for_flush();
            self.acknowledge();
        } else if follower.stream.is_none() {
            self.say_hello_again(now);
        }
    }

    /// The leader's log parts from this one at `to`. An order that answers another state of the log is stale.
    fn handle_cut_order(&mut self, from: ReplicaId, end: LogEnd, to: Lsn) {
        if !self.obeys(end) || to >= self.log.end || to < self.log.start {
            return;
        }
        if !self.keeps_committed(from, (to < self.committed).then_some(to)) {
            self.begin_surgery(Surgery::Cut { to });
        }
    }

    /// The leader's log lacks what is known to be committed here from `lost` on, if any of it. Says so, and whether this
    /// log is to stay as it is for that.
    fn keeps_committed(&mut self, leader: ReplicaId, lost: Option<Lsn>) -> bool {
        let (Some(to), committed) = (lost, self.committed) else { return false };
        self.event(Event::WouldLoseCommitted { to, committed });
        // With the rule `Leader`, a promotion may lose what was confirmed: that was chosen.
        let keeps = self.config.rule != CommitRule::Leader && !self.may_lose;
        if keeps {
            self.refuse(leader, Refusal::WouldLoseCommitted { committed });
        }
        keeps
    }

    /// From where on a leader, whose log starts at `start`, is sure to lack what is known to be committed here. Where the
    /// logs are the same up to `common`, that is behind it. Where the leader does not know how far they are, it holds
    /// none of the records here: if they lie behind its start, or the last one should be the one before its start, it
    /// should. What it has freed was committed, so a log that ends before that may be the same as far as it goes.
    fn lost_by_restart(&self, start: LogEnd, common: Option<Lsn>) -> Option<Lsn> {
        let (Self { log, committed, .. }, LogEnd { lsn: start, chain: start_chain }) = (self, start);
        let holds_committed = log.start < *committed;
        let first_lost = match common {
            Some(common) => common,
            None if start == *committed && *committed == log.end && start_chain != log.chain => log.start,
            None => start.max(log.start),
        };
        (first_lost < *committed && (common.is_some() || holds_committed)).then_some(first_lost)
    }

    /// This log has no place in the leader's, which starts at `start`. What it vouches for is noted before it goes.
    fn handle_restart_order(&mut self, from: ReplicaId, end: LogEnd, start: LogEnd, common: Option<Lsn>) {
        if !self.obeys(end) || self.keeps_committed(from, self.lost_by_restart(start, common)) {
            return;
        }
        let LogEnd { lsn: start, chain } = start;
        let surgery = Surgery::Reset { start, chain };
        let floor = self.promised.floor.max(Some(self.position())).filter(|floor| floor.epoch > Epoch::ZERO);
        if floor == self.promised.floor {
            self.begin_surgery(surgery);
        } else {
            self.write_promise(Promised { floor, ..self.promised }, Reason::Restart(surgery));
        }
    }

    /// Whether an order to change a log that ends at `end` is about this log as it is now, and not yet agreed on.
    fn obeys(&mut self, end: LogEnd) -> bool {
        let own = self.log_end();
        end == own && self.follower().is_some_and(|follower| follower.stream.is_none())
    }

    pub(super) fn begin_surgery(&mut self, surgery: Surgery) {
        self.surgery = Some(surgery);
        self.outputs.push_back(match surgery {
            Surgery::Cut { to } => Output::Cut { to },
            Surgery::Reset { start, chain } => Output::Reset { start, chain },
        });
    }

    /// An operator accepts that this replica cuts what it knows to be committed, once, because a promotion was
    /// forced that loses it.
    pub const fn permit_loss(&mut self) {
        self.may_lose = true;
    }

    /// The log cannot be cut or begun anew as asked, and is as it was: the leader broke the rules. Drop its connection.
    ///
    /// # Panics
    /// If that was not asked for: that is a bug of the driver.
    pub fn handle_surgery_refused(&mut self) {
        assert!(self.surgery.take().is_some(), "a cut is refused once, where it was asked for");
    }

    /// The log ends at `to` now, durably, with this chain value.
    ///
    /// # Panics
    /// If that is not what was asked for: that is a bug of the driver.
    pub fn handle_cut(&mut self, now: Moment, to: Lsn, chain: Chain) {
        assert_eq!(self.surgery.take(), Some(Surgery::Cut { to }), "a log is cut once, where it was asked for");
        self.log.end = to;
        self.log.chain = chain;
        self.log.durable = self.log.durable.min(to);
        self.log.history.cut(to);
        self.may_lose = false;
        self.committed = self.committed.min(to);
        self.committed_told = self.committed_told.min(to);
        self.say_hello(now, None);
    }

    /// The log starts and ends at `start` now, durably.
    ///
    /// # Panics
    /// If that is not what was asked for: that is a bug of the driver.
    pub fn handle_reset(&mut self, now: Moment, start: Lsn) {
        let Some(Surgery::Reset { start: asked, chain }) = self.surgery.take() else {
            panic!("a log is reset once, when it was asked for")
        };
        assert_eq!(asked, start, "a log is reset where it was asked for");
        self.log.start = start;
        self.log.start_chain = chain;
        self.log.end = start;
        self.log.chain = chain;
        self.log.durable = start;
        self.log.history = crate::replication::History::new();
        self.may_lose = false;
        self.committed = start;
        self.committed_told = start;
        self.say_hello(now, None);
    }

    /// A range of the log is about to arrive.
    fn handle_bytes(&mut self, now: Moment, from: Lsn, to: Lsn, committed: Lsn) {
        let Some(follower) = self.follower() else { return };
        let Some(stream) = &mut follower.stream else { return self.say_hello_again(now) };
        if from > stream.received {
            return self.say_hello_again(now);
        }
        if to > stream.received {
            let skip = stream.received.since(from);
            let start = stream.received;
            stream.received = to;
            self.outputs.push_back(Output::Receive { skip, from: start, upto: to });
        } else {
            self.acknowledge();
        }
        self.learn_committed(committed);
    }

    /// What [`Output::Receive`](crate::replication::Output::Receive) asked for is in the log. `verified` are the
    /// whole records that it completed, one entry per epoch, in order.
    ///
    /// # Panics
    /// If the log does not grow: that is a bug of the driver.
    pub fn handle_received(&mut self, verified: &[Verified]) {
        for run in verified {
            assert!(run.end > self.log.end, "a log grows by whole records");
            assert!(run.epoch <= self.promised.promised, "a leader sends no epoch newer than its own");
            self.log.history.note(run.epoch, self.log.end);
            self.log.end = run.end;
            self.log.chain = run.chain;
        }
        let end = self.log.end;
        let Some(Follower { stream: Some(stream), .. }) = self.follower() else { return };
        assert!(end <= stream.received, "what has not arrived cannot be verified");
        let due = stream.received.since(stream.acked) >= ACK_EVERY;
        self.learn_committed(Lsn::ZERO);
        self.ask_for_flush();
        if due {
            self.acknowledge();
        }
    }

    /// What [`Output::Receive`](crate::replication::Output::Receive) asked for does not verify behind `verified`,
    /// and is not in the log.
    pub fn handle_receive_failed(&mut self, verified: &[Verified]) {
        self.handle_received(verified);
        let at = self.log.end;
        let Some(follower) = self.follower() else { return };
        follower.forget_stream();
        if let Some(peer) = follower.leader {
            self.event(Event::BadBytes { peer, at });
        }
    }

    /// There is no room for what arrives, and it is thrown away: the leader is to send nothing more until
    /// [`handle_room`](Self::handle_room). Its heartbeats are answered meanwhile, so that a full disk here takes neither
    /// its lease nor this replica's promises from anybody.
    pub fn handle_no_room(&mut self) {
        if let Some(follower) = self.follower() {
            follower.stream = None;
            follower.hello_at = NEVER;
        }
    }

    /// There is room again: the leader is asked to go on from where this log ends.
    pub fn handle_room(&mut self, now: Moment) {
        if let Some(follower) = self.follower()
            && follower.hello_at == NEVER
        {
            follower.hello_at = now;
            self.say_hello_again(now);
        }
    }

    fn ask_for_flush(&mut self) {
        let (end, durable) = (self.log.end, self.log.durable);
        let Some(Follower { stream: Some(stream), .. }) = self.follower() else { return };
        if end > stream.flush_asked && end > durable {
            stream.flush_asked = end;
            self.outputs.push_back(Output::Flush { upto: end });
        }
    }

    /// Tells the leader what has arrived and what is flushed. Before the leader has said to resume, that is nothing:
    /// what is here may still have to be cut.
    pub(super) fn acknowledge(&mut self) {
        let durable = self.log.durable;
        if self.writing.is_some() || self.surgery.is_some() {
            return;
        }
        let Some(follower) = self.follower() else { return };
        let Some(leader) = follower.leader else { return };
        let mut ack = Ack { at: follower.heartbeat_at, ..Ack::default() };
        if let Some(stream) = &mut follower.stream {
            stream.acked = stream.received;
            ack.received = stream.received;
            ack.flushed = durable;
        }
        self.send(leader, Body::Ack(ack));
    }
}
