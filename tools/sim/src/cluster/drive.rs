//! Driving one replica: doing what the protocol and the partition ask for, and telling each what the other has to know.

use windrow_core::log::{LogSegment, PrepareFailure};
use windrow_core::partition::{Action, ReplicaAction, Role};
use windrow_core::replication::{Body, Event as ProtocolEvent, Message, Output};
use windrow_core::types::Lsn;

use super::faults::Fault;
use super::node::{Loss, id};
use super::receive::Take;
use super::{Event, Job, World};
use crate::disk::SimMemory;
use crate::mutation::Mutation;
use crate::replica::Flight;

/// A message with bytes of the log has at most this many of them.
const SHIP_LEN_MAX: u64 = 3_000;

impl World {
    /// Does what the node asks for until there is nothing more.
    pub(super) fn pump(&mut self, at: usize) {
        while self.nodes[at].is_up() {
            let mut idle = true;
            while let Some(output) = self.nodes[at].protocol.as_mut().and_then(|protocol| protocol.poll_output()) {
                idle = false;
                self.obey(at, output);
            }
            while let Some(action) = self.nodes[at].copy.engine().poll_action() {
                idle = false;
                self.act(at, action);
            }
            while let Some(action) = self.nodes[at].copy.engine().poll_replica() {
                idle = false;
                self.observe(at);
                self.act_as_replica(at, action);
            }
            self.observe(at);
            self.begin_flush(at);
            idle &= !self.lead(at);
            if idle {
                break;
            }
        }
        self.release(at);
    }

    fn obey(&mut self, at: usize, output: Output) {
        match output {
            Output::Send { to, message } => self.send(at, to, &message, &[]),
            Output::Ship { to, epoch, from, upto, committed } => {
                let mut from = from;
                while from < upto {
                    let to_lsn = upto.min(from.plus(SHIP_LEN_MAX));
                    let parts = self.nodes[at].partition().bytes(from, to_lsn).expect("what is shipped is in the log");
                    let payload = parts.fold(Vec::new(), |mut payload, part| {
                        payload.extend_from_slice(part.bytes);
                        payload
                    });
                    assert_eq!(payload.len() as u64, to_lsn.since(from), "what is shipped is in the log");
                    let body = Body::Bytes { from, to: to_lsn, committed };
                    self.send(at, to, &Message { epoch, body }, &payload);
                    from = to_lsn;
                }
            }
            Output::Receive { skip, from, upto } => {
                let epoch = self.nodes[at].protocol().current_epoch();
                self.received = Some(Take { skip, next: from, upto, epoch });
            }
            // The partition asks by itself.
            Output::Flush { .. } => {}
            Output::WriteSuperblock { ticket, promised } => {
                self.nodes[at].copy.engine().write_promised(ticket, promised);
                if self.is(Mutation::PromiseBeforeDurable) {
                    let moment = self.nodes[at].moment(self.now);
                    self.nodes[at].protocol().handle_superblock_written(moment, ticket);
                }
            }
            Output::Cut { to } => {
                self.stats.fault("cut-by-leader");
                if to < self.nodes[at].protocol().committed() {
                    assert_eq!(self.nodes[at].loss, Loss::Permitted, "node {at} cuts what it knows, from {to} on");
                    self.stats.fault("loss-permitted");
                }
                self.lower(at, to);
                self.nodes[at].copy.engine().begin_cut(to).unwrap_or_else(|error| panic!("cut at {to}: {error}"));
            }
            Output::Reset { start, chain } => {
                self.stats.fault("reset-by-leader");
                self.lower(at, start);
                let engine = self.nodes[at].copy.engine();
                engine.begin_reset(start, chain).unwrap_or_else(|error| panic!("reset to {start}: {error}"));
            }
            Output::LookUpChain { peer, at: lsn } => {
                let chain = self.nodes[at].partition().chain_at(lsn);
                self.nodes[at].protocol().handle_chain(peer, lsn, chain);
            }
            Output::Lead { epoch } => {
                self.check_leader(at, epoch);
                self.nodes[at].lead = Some(epoch);
            }
            Output::Committed { upto } => {
                self.check_committed(at, upto);
                self.nodes[at].copy.engine().handle_committed(upto);
            }
            Output::Event(event) => self.note_event(at, event),
            other => panic!("nobody does {other:?}"),
        }
    }

    fn note_event(&mut self, at: usize, event: ProtocolEvent) {
        self.trace.note(|| format!("node {at}: {event:?}"));
        match event {
            ProtocolEvent::Deposed { .. } => {
                self.stats.fault("deposed");
                self.nodes[at].lead = None;
                self.nodes[at].pending.clear();
                if !self.is(Mutation::KeepLeading) {
                    self.nodes[at].copy.engine().step_down();
                }
            }
            ProtocolEvent::Following { .. } => {
                // It may have led in an epoch before, and not have been told that this is over.
                self.nodes[at].lead = None;
                self.nodes[at].pending.retain(|pending| pending.wait <= Lsn::ZERO);
            }
            // Each voter has epochs of its own to ask for.
            ProtocolEvent::TwoLeaders { epoch, other } => panic!("node {at}: epoch {epoch} is also that of {other}"),
            ProtocolEvent::BadPeer { peer } => panic!("node {at} calls {peer} a bad peer"),
            ProtocolEvent::OtherCluster { .. } => panic!("there is one cluster"),
            ProtocolEvent::WouldLoseCommitted { to, .. } => self.ask_to_permit(at, to),
            ProtocolEvent::Forced { epoch, kept, .. } => {
                self.stats.fault("led-by-force");
                let log = self.nodes[at].copy.truth.bytes(Lsn::ZERO, kept.lsn);
                self.committed.forced.insert(epoch, log);
            }
            ProtocolEvent::PromotionFailed { .. } => self.stats.fault("promotion-failed"),
            _ => {}
        }
    }

    /// What is above `to` is about to be cut: it counts as vouched for no longer.
    fn lower(&mut self, at: usize, to: Lsn) {
        self.check_cut(at, to);
        let node = &mut self.nodes[at];
        node.vouched = node.vouched.min(to);
        node.cutting = Some(to);
        node.pending.clear();
    }

    /// Takes in what the engine has done to its log, a cut included.
    pub(super) fn observe(&mut self, at: usize) {
        self.step += 1;
        let copy = &mut self.nodes[at].copy;
        let appended = copy.engine().appended();
        if appended < copy.truth.appended {
            copy.rebuild(appended, false, self.step);
            self.nodes[at].agreed.iter_mut().for_each(|agreed| *agreed = (*agreed).min(appended));
        }
        let copy = &mut self.nodes[at].copy;
        let new = copy.observe(self.step, false, &mut self.rng);
        for index in new {
            let piece = copy.truth.pieces[index].clone();
            self.stats.rolls += u64::from(piece.is_segment_header);
            if piece.time > 0 {
                copy.state.observe(piece.time);
            }
            copy.state.apply(&piece.ops, piece.end, self.step);
        }
    }

    fn act(&mut self, at: usize, action: Action) {
        self.trace.note(|| format!("node {at}: {action:?}"));
        match action {
            Action::Prepare { base, len } => {
                let delay = self.around(self.swarm.prepare_us);
                self.job(at, delay, Job::Prepared { base, len });
            }
            Action::WriteSuperblock(superblock) => {
                self.nodes[at].copy.disk.begin_superblock(superblock);
                let delay = self.around(self.swarm.flush_us);
                self.job(at, delay, Job::SuperblockWritten { generation: superblock.generation });
            }
        }
    }

    fn act_as_replica(&mut self, at: usize, action: ReplicaAction) {
        let moment = self.nodes[at].moment(self.now);
        let delay = self.around(self.swarm.flush_us);
        self.trace.note(|| format!("node {at}: {action:?}"));
        match action {
            ReplicaAction::PromiseWritten { .. } if self.is(Mutation::PromiseBeforeDurable) => {}
            ReplicaAction::PromiseWritten { ticket } => {
                self.nodes[at].protocol().handle_superblock_written(moment, ticket);
            }
            ReplicaAction::CutDone { to, chain } => {
                self.nodes[at].copy.check_tail();
                self.compare(at);
                self.nodes[at].cutting = None;
                self.nodes[at].loss = Loss::Refused;
                self.check_kept();
                self.nodes[at].protocol().handle_cut(moment, to, chain);
            }
            ReplicaAction::ResetDone { start } => {
                self.nodes[at].copy.check_tail();
                self.nodes[at].cutting = None;
                self.nodes[at].protocol().handle_reset(moment, start);
            }
            ReplicaAction::PutAside { .. } => self.job(at, delay, Job::PutAside),
            ReplicaAction::MoveAside { bases, .. } => self.job(at, delay, Job::MovedAside { bases }),
            ReplicaAction::Remove { bases } => self.job(at, delay, Job::Removed { bases }),
        }
    }

    /// Appends the record that starts a leadership, once there is room. Returns whether it did.
    fn lead(&mut self, at: usize) -> bool {
        let now = self.nodes[at].wall(self.now);
        let node = &mut self.nodes[at];
        let Some(epoch) = node.lead else { return false };
        match node.copy.engine().lead(epoch, now) {
            Ok(appended) => {
                node.lead = None;
                node.copy.state.observe(now.get());
                let chain = node.partition().log().chain();
                node.protocol().handle_appended(appended.end, chain);
                self.stats.fault("led");
                self.strike_new_leader(at);
                self.observe(at);
                true
            }
            Err(error) => {
                assert!(!error.is_not_leader(), "who leads may append: {error}");
                false
            }
        }
    }

    fn begin_flush(&mut self, at: usize) {
        let acknowledges_early = self.is(Mutation::AckBeforeFlush);
        let node = &mut self.nodes[at];
        if node.copy.flight.is_some() {
            return;
        }
        let Some(request) = node.copy.engine().poll_flush() else { return };
        let range = request.first_base..=request.last_base;
        let bases: Vec<Lsn> = node.partition().log().segments().map(LogSegment::base).collect();
        let bases: Vec<Lsn> = bases.into_iter().filter(|base| range.contains(base)).collect();
        let flush = node.copy.disk.begin_flush(&bases);
        node.copy.flight = Some(Flight { ticket: request.ticket, flush, bases });
        if acknowledges_early {
            node.protocol().handle_durable(request.upto);
        }
        let mut delay = self.around(self.swarm.flush_us);
        if at + 1 == self.nodes.len() {
            delay *= self.swarm.lag_factor;
        }
        if self.rng.ppm(self.swarm.slow_flush_ppm) {
            self.stats.fault("slow-flush");
            delay *= 30;
        }
        self.job(at, delay, Job::Flushed);
    }

    fn job(&mut self, at: usize, delay: u64, job: Job) {
        let life = self.nodes[at].life;
        // What is cut is dangerous until it is gone for good, so that it may end at each step of that.
        let chance = match job {
            _ if self.nodes[at].cutting.is_some() => self.swarm.crash_in_cut_ppm,
            Job::Flushed | Job::Prepared { .. } => 0,
            _ => self.swarm.crash_amid_ppm,
        };
        if self.rng.ppm(chance) {
            let amid = self.rng.within(0..delay + 1);
            self.schedule(amid, Event::Fault(Fault::Amid { node: at, life }));
        }
        self.schedule(delay, Event::Done { node: at, life, job });
    }

    /// Something that takes a disk some time is done.
    pub(super) fn done(&mut self, at: usize, job: Job) {
        self.trace.note(|| format!("node {at}: {job:?} done"));
        match job {
            Job::Flushed => {
                let node = &mut self.nodes[at];
                let flight = node.copy.flight.take().expect("one flush is under way");
                let chance = self.swarm.failed_flush_ppm * flight.flush.pages.len() as u64;
                if self.rng.ppm(chance) {
                    self.stats.fault("failed-flush");
                    node.copy.disk.fail_flush(flight.flush, &mut self.rng);
                    return self.crash(at, false);
                }
                node.copy.disk.complete_flush(flight.flush);
                node.copy.engine().handle_flushed(flight.ticket);
                node.copy.check_watermarks();
                let durable = node.partition().durable();
                let vouched = durable.min(node.copy.truth.appended);
                node.vouched = node.vouched.max(node.cutting.map_or(vouched, |to| to.min(vouched)));
                node.protocol().handle_durable(durable);
            }
            Job::Prepared { base, len } => {
                let node = &mut self.nodes[at];
                if node.disk_full {
                    self.stats.fault("prepare-refused");
                    node.copy.engine().handle_prepare_failed(base, PrepareFailure::NoSpace);
                } else {
                    let len = usize::try_from(len).expect("segments are small");
                    node.copy.disk.create(base, len);
                    node.copy.disk.sync_directory();
                    node.copy.engine().handle_prepared(base, SimMemory::zeroed(len));
                }
            }
            Job::SuperblockWritten { generation } => {
                let copy = &mut self.nodes[at].copy;
                copy.disk.complete_superblock(None);
                copy.engine().handle_superblock_written(generation);
            }
            Job::PutAside => {
                let full = self.nodes[at].disk_full;
                self.nodes[at].copy.engine().handle_put_aside(!full);
            }
            Job::MovedAside { bases } => {
                if !self.is(Mutation::SkipMoveAside) {
                    self.remove(at, &bases);
                }
                self.nodes[at].copy.engine().handle_moved_aside();
            }
            Job::Removed { bases } => {
                self.remove(at, &bases);
                self.nodes[at].copy.engine().handle_removed();
            }
        }
        self.pump(at);
        self.take_in_all(at);
    }

    fn remove(&mut self, at: usize, bases: &[Lsn]) {
        let disk = &mut self.nodes[at].copy.disk;
        bases.iter().for_each(|base| disk.remove(*base));
        disk.sync_directory();
    }

    pub(super) fn take_in_all(&mut self, at: usize) {
        for peer in 0..self.nodes.len() {
            self.take_in(at, peer);
        }
    }

    pub(super) fn tick(&mut self, at: usize) {
        let (now, moment) = (self.nodes[at].wall(self.now), self.nodes[at].moment(self.now));
        let node = &mut self.nodes[at];
        node.copy.state.observe(now.get());
        node.copy.engine().handle_tick(now);
        node.protocol().handle_tick(moment);
        if node.partition().role() == Role::Leader {
            // Where there is no room the rest is deleted later.
            let _swept = node.copy.engine().sweep_expired(now, 8);
        }
        self.appended(at);
        self.pump(at);
        self.take_in_all(at);
        if self.nodes[at].is_up() && self.rng.ppm(3_000) {
            self.compare(at);
        }
    }

    /// Tells the protocol how far its own log has grown.
    pub(super) fn appended(&mut self, at: usize) {
        self.observe(at);
        let node = &mut self.nodes[at];
        let log = node.copy.engine().log();
        let (end, chain) = (log.appended(), log.chain());
        if node.partition().role() == Role::Leader && node.is_leader() && end > node.protocol().log().end {
            node.protocol().handle_appended(end, chain);
        }
    }

    fn compare(&mut self, at: usize) {
        self.compare_state(at);
        self.stats.recoveries += 1;
    }

    pub(super) fn peer(&self, name: windrow_core::replication::ReplicaId) -> usize {
        (0..self.nodes.len()).find(|&at| id(at) == name).expect("one of the replicas")
    }
}
