//! Faults, and the operator who moves leadership about.

use windrow_core::replication::Promotion;
use windrow_core::types::Lsn;

use super::node::Loss;
use super::{Event, World};
use crate::mutation::Mutation;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Fault {
    Promote,
    /// The operator has one lead with what it has.
    Force,
    PowerCut,
    PowerCutAll,
    Kill,
    Pause,
    ClockJump,
    DiskFull,
    OneWayCut,
    Isolate,
    PairCut,
    Reset,
    /// This replica, which has just come to lead.
    IsolateNewLeader {
        node: usize,
    },
    /// This replica, which has just come to lead, if this is still its life.
    CrashNewLeader {
        node: usize,
        life: u64,
    },
    /// The operator lets this replica cut what it knows to be committed.
    Permit {
        node: usize,
        life: u64,
    },
    /// This replica, if this is still its life, amid something that it writes.
    Amid {
        node: usize,
        life: u64,
    },
}

impl Fault {
    const ALL: [Self; 12] = [
        Self::Promote,
        Self::Force,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Kill,
        Self::Pause,
        Self::ClockJump,
        Self::DiskFull,
        Self::OneWayCut,
        Self::Isolate,
        Self::PairCut,
        Self::Reset,
    ];
}

impl World {
    fn every(&self, fault: Fault) -> Option<u64> {
        match fault {
            Fault::Promote => self.swarm.promote_us,
            Fault::Force => self.swarm.force_us,
            Fault::PowerCut => self.swarm.power_cut_us,
            Fault::PowerCutAll => self.swarm.power_cut_all_us,
            Fault::Kill => self.swarm.kill_us,
            Fault::Pause => self.swarm.pause_us,
            Fault::ClockJump => self.swarm.clock_jump_us,
            Fault::DiskFull => self.swarm.disk_full_us,
            Fault::OneWayCut => self.swarm.one_way_cut_us,
            Fault::Isolate => self.swarm.isolate_us,
            Fault::PairCut => self.swarm.pair_cut_us,
            Fault::Reset => self.swarm.reset_us,
            Fault::Amid { .. }
            | Fault::Permit { .. }
            | Fault::IsolateNewLeader { .. }
            | Fault::CrashNewLeader { .. } => None,
        }
    }

    pub(super) fn begin_faults(&mut self) {
        // Somebody has to lead at all, soon.
        self.schedule(2_000 * self.swarm.lease_ms, Event::Fault(Fault::Promote));
        for fault in Fault::ALL {
            if let Some(mean) = self.every(fault) {
                let delay = self.around(mean);
                self.schedule(delay, Event::Fault(fault));
            }
        }
    }

    pub(super) fn strike(&mut self, fault: Fault) {
        if self.healed {
            return;
        }
        if let Some(mean) = self.every(fault) {
            let delay = self.rng.within(mean / 4..mean * 2 + 2);
            self.schedule(delay, Event::Fault(fault));
        }
        let at = self.rng.index(self.nodes.len());
        self.trace.event("fault", &[at as u64]);
        self.trace.note(|| format!("{fault:?}"));
        match fault {
            Fault::Promote => {
                let best = if self.rng.percent(60) { self.best() } else { None };
                self.promote(best.unwrap_or(at), Promotion::Safe);
            }
            Fault::Force => self.force(at),
            Fault::Permit { node, life } => {
                if self.nodes[node].life == life {
                    self.permit(node);
                }
            }
            Fault::PowerCut => self.crash(at, true),
            Fault::PowerCutAll => {
                self.stats.fault("power-cut-of-all");
                (0..self.nodes.len()).for_each(|at| self.crash(at, true));
            }
            Fault::Kill => self.crash(at, false),
            Fault::Pause => {
                self.stats.fault("pause");
                let most = self.swarm.lease_ms * 4_000;
                self.nodes[at].paused_until = self.now + self.rng.within(1_000..most);
            }
            Fault::ClockJump => {
                self.stats.fault("clock-jump");
                let hours = i64::try_from(self.rng.within(0..14_400_000)).unwrap_or(0);
                self.nodes[at].wall_off_ms = hours - 7_200_000;
            }
            Fault::DiskFull => {
                self.stats.fault("disk-full");
                self.nodes[at].disk_full = !self.nodes[at].disk_full;
            }
            Fault::OneWayCut => {
                let other = self.rng.index(self.nodes.len());
                self.stats.fault("one-way-cut");
                let until = self.now + self.rng.within(10_000..1_500_000);
                self.network.directions[at][other].blocked_until = until;
            }
            Fault::Isolate => {
                let leads = self.nodes.iter().position(super::node::Node::is_leader);
                let is_aimed = self.rng.percent(self.swarm.isolate_leader_percent);
                self.isolate(leads.filter(|_| is_aimed).unwrap_or(at));
            }
            Fault::IsolateNewLeader { node } => self.isolate(node),
            Fault::CrashNewLeader { node, life } => {
                if self.nodes[node].life == life {
                    self.stats.fault("new-leader-crashed");
                    self.crash(node, true);
                }
            }
            Fault::PairCut => {
                let other = self.rng.index(self.nodes.len());
                self.stats.fault("pair-cut");
                let until = self.now + self.rng.within(10_000..3_000_000);
                self.network.directions[at][other].blocked_until = until;
                self.network.directions[other][at].blocked_until = until;
            }
            Fault::Amid { node, life } => {
                if self.nodes[node].life == life {
                    self.stats.fault("stopped-amid-a-write");
                    let power = self.rng.percent(70);
                    self.crash(node, power);
                }
            }
            Fault::Reset => {
                let other = self.rng.index(self.nodes.len());
                if other != at && !self.swarm.datagrams {
                    self.stats.fault("reset");
                    self.reset(at, other);
                }
            }
        }
    }

    /// Nothing gets from this replica to the others, or from them to it.
    fn isolate(&mut self, at: usize) {
        self.stats.fault("isolated");
        let until = self.now + self.rng.within(10_000..self.swarm.cut_off_us);
        for other in 0..self.nodes.len() {
            self.network.directions[at][other].blocked_until = until;
            self.network.directions[other][at].blocked_until = until;
        }
    }

    /// Somebody has come to lead: others may not hear of it for long, or it is gone before it has written that down.
    pub(super) fn strike_new_leader(&mut self, node: usize) {
        let moment = 4 * (self.swarm.delay_us + self.swarm.flush_us);
        if self.rng.percent(self.swarm.isolate_new_leader_percent) {
            let delay = self.rng.within(0..moment);
            self.schedule(delay, Event::Fault(Fault::IsolateNewLeader { node }));
        }
        // Nothing is drawn in runs without it: they are what they were before there was this fault.
        if self.swarm.crash_new_leader_percent > 0 && self.rng.percent(self.swarm.crash_new_leader_percent) {
            let delay = self.rng.within(0..moment / 2);
            let life = self.nodes[node].life;
            self.schedule(delay, Event::Fault(Fault::CrashNewLeader { node, life }));
        }
    }

    /// The process of a replica ends, with the power of its machine or without.
    pub(super) fn crash(&mut self, at: usize, power: bool) {
        if !self.nodes[at].is_up() {
            return;
        }
        self.observe(at);
        self.nodes[at].stop();
        let disk = &mut self.nodes[at].copy.disk;
        if power {
            self.stats.fault("power-cut");
            disk.power_cut(false, &mut self.rng);
        } else {
            self.stats.fault("kill");
            disk.kill(&mut self.rng);
        }
        self.nodes[at].paused_until = 0;
        if !self.swarm.datagrams {
            self.reset_all(at);
        }
        let delay = self.around(self.swarm.down_us);
        self.schedule(delay, Event::Start { node: at });
    }

    /// The voter whose log reaches furthest, among those that are up.
    fn best(&self) -> Option<usize> {
        let up = (0..self.swarm.voters).filter(|&at| self.nodes[at].is_up());
        up.max_by_key(|&at| self.nodes[at].protocol.as_ref().map(windrow_core::replication::Replica::position))
    }

    /// A replica does not cut what it knows to be committed, because a promotion by force has lost it: sooner or later the
    /// operator says that it may.
    pub(super) fn ask_to_permit(&mut self, at: usize, to: Lsn) {
        self.check_cut(at, to);
        if self.nodes[at].loss == Loss::Permitted {
            return;
        }
        if self.healed {
            return self.permit(at);
        }
        if self.nodes[at].loss == Loss::Asked {
            return;
        }
        self.stats.fault("loss-refused");
        self.nodes[at].loss = Loss::Asked;
        let delay = self.rng.log_uniform(1_000..2_000_000);
        let life = self.nodes[at].life;
        self.schedule(delay, Event::Fault(Fault::Permit { node: at, life }));
    }

    fn permit(&mut self, at: usize) {
        self.nodes[at].loss = Loss::Permitted;
        self.nodes[at].protocol().permit_loss();
    }

    /// Whoever has not heard of a leader that a lost disk has forgotten as well does not lead by force: the replica that
    /// came back empty would follow it, and so grant it a lease beside that leader.
    fn force(&mut self, at: usize) {
        let heard = self.nodes[at].protocol.as_ref().map(windrow_core::replication::Replica::current_epoch);
        if heard.is_some_and(|epoch| epoch >= self.forgotten) {
            self.promote(at, Promotion::LosingCommittedWrites);
        }
    }

    fn promote(&mut self, at: usize, promotion: Promotion) {
        if !self.nodes[at].is_up() || self.nodes[at].paused_until > self.now {
            return;
        }
        if self.nodes[at].protocol().handle_promote(promotion).is_ok() {
            self.stats.fault(if promotion == Promotion::Safe { "promotion" } else { "promotion-by-force" });
        }
        self.pump(at);
    }

    /// Where nobody leads, whoever can shall.
    pub(super) fn promote_best(&mut self) {
        if !self.nodes.iter().any(super::node::Node::is_leader)
            && let Some(best) = self.best()
        {
            self.promote(best, Promotion::Safe);
        }
    }

    /// What was found on the disk is what the log says.
    pub(super) fn compare_after_start(&mut self, at: usize) {
        if self.is(Mutation::SkipRepair) {
            return;
        }
        self.compare_state(at);
    }
}
