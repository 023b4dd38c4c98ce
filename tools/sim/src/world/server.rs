//! The process: what the shell of a node does around the engine.

use windrow_core::log::{LogSegment, PrepareFailure};
use windrow_core::partition::Action;
use windrow_core::types::Lsn;

use super::{Event, World};
use crate::disk::SimMemory;
use crate::mutation::Mutation;
use crate::open::{Fuse, Opening};
use crate::replica::Flight;
use crate::truth::RecordOp;

/// Steps of an opening, about.
const OPENING_STEPS: u64 = 14;
/// Keys that one tick deletes at most because they have expired.
const SWEEP_BUDGET: usize = 16;

impl World {
    pub(super) fn start_process(&mut self) {
        if self.running {
            return;
        }
        self.process += 1;
        for at in 0..self.replicas.len() {
            let blown = self.rng.percent(self.swarm.crash_in_open_percent);
            let fuse = Fuse(blown.then(|| self.rng.within(0..OPENING_STEPS)));
            self.step += 1;
            if self.rng.percent(self.swarm.resize_percent) {
                self.stats.fault("resized");
                self.replicas[at].config.segment_len = 4096 * self.rng.within(1..17);
            }
            let opening = Opening {
                now: self.now(),
                step: self.step,
                full: self.disk_full,
                mutation: self.mutation,
                fuse,
                rng: &mut self.rng,
                stats: &mut self.stats,
            };
            if opening.run(&mut self.replicas[at]).is_err() {
                self.stats.fault("cut-in-open");
                self.crash(true);
                return;
            }
            let end = self.replicas[at].engine().appended();
            self.trace.event("open", &[at as u64, end.get()]);
        }
        self.running = true;
        self.schedule(self.swarm.tick_us, Event::Tick { process: self.process });
        (0..self.replicas.len()).for_each(|at| self.pump(at));
    }

    /// Does what the engine asks for.
    pub(super) fn pump(&mut self, at: usize) {
        while let Some(action) = self.replicas[at].engine().poll_action() {
            let process = self.process;
            match action {
                Action::Prepare { base, len } => {
                    self.replicas[at].preparing = Some((base, len));
                    let mut delay = self.around(self.swarm.prepare_us);
                    if self.rng.ppm(self.swarm.slow_prepare_ppm) {
                        self.stats.fault("slow-prepare");
                        delay *= 20;
                    }
                    self.schedule(delay, Event::Prepared { process, replica: at, base, len });
                }
                Action::WriteSuperblock(superblock) => {
                    self.replicas[at].disk.begin_superblock(superblock);
                    let delay = self.around(self.swarm.flush_us);
                    let generation = superblock.generation;
                    self.schedule(delay, Event::SuperblockWritten { process, replica: at, generation });
                }
            }
        }
        let replica = &mut self.replicas[at];
        let is_new = replica.engine().submitted() < replica.engine().appended();
        if is_new && replica.flight.is_none() {
            let delay = if self.rng.percent(70) { 0 } else { self.around(self.swarm.flush_us) };
            self.schedule(delay, Event::StartFlush { process: self.process, replica: at });
        }
    }

    pub(super) fn start_flush(&mut self, at: usize) {
        let Some(request) = self.replicas[at].engine().poll_flush() else { return };
        let replica = &mut self.replicas[at];
        let partition = replica.partition.as_ref().expect("the process runs");
        let range = request.first_base..=request.last_base;
        let mut bases: Vec<Lsn> =
            partition.log().segments().map(LogSegment::base).filter(|base| range.contains(base)).collect();
        match self.mutation {
            Some(Mutation::FlushLastSegmentOnly) => bases.retain(|base| *base == request.last_base),
            Some(Mutation::FlushFirstSegmentOnly) => bases.retain(|base| *base == request.first_base),
            _ => {}
        }
        let flush = replica.disk.begin_flush(&bases);
        self.trace.event("flush", &[at as u64, request.upto.get(), flush.pages.len() as u64]);
        if self.mutation == Some(Mutation::FlushReportedEarly) {
            replica.engine().handle_flushed(request.ticket);
            self.release();
        }
        self.replicas[at].flight = Some(Flight { ticket: request.ticket, flush, bases });
        let mut delay = self.around(self.swarm.flush_us);
        if self.rng.ppm(self.swarm.slow_flush_ppm) {
            self.stats.fault("slow-flush");
            delay *= 30;
        }
        self.schedule(delay, Event::Flushed { process: self.process, replica: at });
    }

    pub(super) fn flushed(&mut self, at: usize) {
        let Some(mut flight) = self.replicas[at].flight.take() else { return };
        // The more there is to write, the more can fail.
        let chance = self.swarm.failed_flush_ppm * flight.flush.pages.len() as u64;
        if self.rng.ppm(chance) {
            self.stats.fault("failed-flush");
            self.replicas[at].disk.fail_flush(flight.flush, &mut self.rng);
            if !self.is(Mutation::RetryFailedFlush) {
                self.crash(false);
                return;
            }
            flight.flush = self.replicas[at].disk.begin_flush(&flight.bases);
        }
        self.lie(at, &mut flight.flush);
        let replica = &mut self.replicas[at];
        replica.disk.complete_flush(flight.flush);
        if self.mutation != Some(Mutation::FlushReportedEarly) {
            replica.engine().handle_flushed(flight.ticket);
        }
        replica.check_watermarks();
        self.trace.event("flushed", &[at as u64, self.replicas[at].truth.persisted.get()]);
        self.release();
        self.pump(at);
        self.go_on_stopping();
    }

    /// Brings every log to rest, with a superblock that bears witness to its end, and then ends the process.
    pub(super) fn go_on_stopping(&mut self) {
        if !self.stopping {
            return;
        }
        let mut at_rest = true;
        for at in 0..self.replicas.len() {
            let engine = self.replicas[at].engine();
            let is_durable = engine.durable() == engine.appended();
            if is_durable {
                engine.want_superblock();
            }
            at_rest &= is_durable && !engine.superblock_pending();
            self.pump(at);
        }
        if !at_rest {
            return;
        }
        for replica in &self.replicas {
            let superblock = replica.disk.read_superblock().expect("one slot at most is ever damaged");
            let end = replica.truth.appended;
            // The slot may have rotted since.
            let is_witnessed = superblock.durable == end || replica.damaged || !replica.disk.slots_intact();
            assert!(is_witnessed, "after an orderly end {} is witnessed, the log ends at {end}", superblock.durable);
        }
        self.stats.fault("stopped-in-order");
        self.crash(false);
    }

    pub(super) fn prepared(&mut self, at: usize, base: Lsn, len: u64) {
        let replica = &mut self.replicas[at];
        replica.preparing = None;
        if self.disk_full {
            self.stats.fault("prepare-refused");
            replica.engine().handle_prepare_failed(base, PrepareFailure::NoSpace);
        } else {
            let len = usize::try_from(len).expect("segments are small");
            replica.disk.create(base, len);
            if self.mutation != Some(Mutation::SkipDirectorySync) {
                replica.disk.sync_directory();
            }
            replica.engine().handle_prepared(base, SimMemory::zeroed(len));
        }
        self.pump(at);
        self.wake_stalled();
    }

    pub(super) fn superblock_written(&mut self, at: usize, generation: u64) {
        let same = self.is(Mutation::OneSuperblockSlot).then_some(0);
        let replica = &mut self.replicas[at];
        replica.disk.complete_superblock(same);
        replica.engine().handle_superblock_written(generation);
        self.pump(at);
        self.go_on_stopping();
    }

    pub(super) fn tick(&mut self) {
        let now = self.now();
        for at in 0..self.replicas.len() {
            self.step += 1;
            let replica = &mut self.replicas[at];
            replica.state.observe(now.get());
            replica.engine().handle_tick(now);
            // Where there is no room the rest is deleted later.
            let _swept = replica.engine().sweep_expired(now, SWEEP_BUDGET);
            let new = replica.observe(self.step, false, &mut self.rng);
            for index in new {
                let piece = replica.truth.pieces[index].clone();
                for op in &piece.ops {
                    let RecordOp::Delete { key } = op else { panic!("a sweep writes {op:?}") };
                    assert!(replica.state.live(key).is_none(), "{} is swept alive", key.escape_ascii());
                }
                replica.state.apply(&piece.ops, piece.end, self.step);
            }
            replica.check_bounds();
            self.pump(at);
        }
        self.wake_stalled();
        let delay = self.around(self.swarm.tick_us);
        self.schedule(delay, Event::Tick { process: self.process });
    }

    fn wake_stalled(&mut self) {
        let stalled = self.connections.iter_mut().filter(|(_, connection)| connection.stalled);
        let stalled: Vec<u64> = stalled
            .map(|(id, connection)| {
                connection.stalled = false;
                *id
            })
            .collect();
        stalled.into_iter().for_each(|id| self.wake(id));
    }

    /// Sends every reply that may go out.
    pub(super) fn release(&mut self) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            while let Some(index) = self.next_ready(id) {
                let connection = self.connections.get_mut(&id).expect("looked up above");
                let reply = connection.output.remove(index).expect("found above");
                for &(at, depends_on) in &reply.depends_on {
                    let replica = &mut self.replicas[at];
                    replica.truth.advance_persisted(&replica.disk);
                    let persisted = replica.truth.persisted;
                    assert!(
                        depends_on <= persisted,
                        "a reply is shown that depends on {depends_on}, on the disk is {persisted}"
                    );
                    replica.shown = replica.shown.max(depends_on);
                }
                self.send(id, false, &reply.bytes);
            }
        }
    }

    fn next_ready(&self, id: u64) -> Option<usize> {
        let output = &self.connections.get(&id)?.output;
        let committed = |at: usize| {
            let engine = self.replicas[at].partition.as_ref().expect("the process runs");
            if self.is(Mutation::ReleaseAtSubmitted) { engine.submitted() } else { engine.committed() }
        };
        let is_ready = |index: usize| {
            self.is(Mutation::ReleaseAtOnce) || output[index].waits.iter().all(|&(at, lsn)| committed(at) >= lsn)
        };
        if self.is(Mutation::ReleaseOutOfOrder) {
            return (0..output.len()).find(|&index| is_ready(index));
        }
        (!output.is_empty() && is_ready(0)).then_some(0)
    }
}
