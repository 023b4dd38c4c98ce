//! What goes wrong, and when.

use windrow_core::types::Lsn;

use super::{Event, World};
use crate::disk::{Flush, PAGE};
use crate::mutation::Mutation;
use crate::truth::offset;

/// How long a process stays away after it has died.
const DOWN_US: std::ops::Range<u64> = 100..200_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    PowerCut,
    Kill,
    Shutdown,
    Pause,
    ClockJump,
    DiskFull,
    BitRot,
    WriteBack,
    Reset,
}

const ALL: [Fault; 9] = [
    Fault::PowerCut,
    Fault::Kill,
    Fault::Shutdown,
    Fault::Pause,
    Fault::ClockJump,
    Fault::DiskFull,
    Fault::BitRot,
    Fault::WriteBack,
    Fault::Reset,
];

impl World {
    const fn mean_of(&self, fault: Fault) -> Option<u64> {
        match fault {
            Fault::PowerCut => self.swarm.power_cut_us,
            Fault::Kill => self.swarm.kill_us,
            Fault::Shutdown => self.swarm.shutdown_us,
            Fault::Pause => self.swarm.pause_us,
            Fault::ClockJump => self.swarm.clock_jump_us,
            Fault::DiskFull => self.swarm.disk_full_us,
            Fault::BitRot => self.swarm.bit_rot_us,
            Fault::WriteBack => self.swarm.write_back_us,
            Fault::Reset => self.swarm.reset_us,
        }
    }

    pub(super) fn schedule_faults(&mut self) {
        ALL.into_iter().for_each(|fault| self.schedule_fault(fault));
    }

    fn schedule_fault(&mut self, fault: Fault) {
        if let Some(mean) = self.mean_of(fault) {
            let delay = self.rng.within(mean / 8..mean * 2);
            self.schedule(delay, Event::Fault(fault));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        if self.mean_of(fault).is_none() {
            return;
        }
        self.trace.event("fault", &[fault as u64]);
        match fault {
            Fault::PowerCut => {
                self.stats.fault("power-cut");
                self.crash(true);
            }
            Fault::Kill if self.running => {
                self.stats.fault("kill");
                self.crash(false);
            }
            Fault::Shutdown if self.running => {
                self.stats.fault("shutdown");
                self.stopping = true;
                self.reset_all();
                self.go_on_stopping();
            }
            Fault::Pause => {
                self.stats.fault("pause");
                self.paused_until_us = self.time_us + self.rng.log_uniform(1_000..2_000_000);
            }
            Fault::ClockJump => {
                self.stats.fault("clock-jump");
                let millis = i64::try_from(self.rng.log_uniform(1..7_200_000)).unwrap_or(1);
                self.clock_offset_ms += if self.rng.percent(50) { millis } else { -millis };
                self.clock_offset_ms = self.clock_offset_ms.clamp(-100_000_000, 100_000_000);
            }
            Fault::DiskFull => {
                self.stats.fault("disk-full");
                self.disk_full = true;
                let delay = self.rng.log_uniform(1_000..1_000_000);
                self.schedule(delay, Event::DiskHasRoom);
            }
            Fault::BitRot => self.bit_rot(),
            Fault::WriteBack => {
                let at = self.rng.index(self.replicas.len());
                let bases: Vec<_> = self.replicas[at].disk.files().map(|file| file.base).collect();
                for base in bases {
                    if let Some(file) = self.replicas[at].disk.file_mut(base) {
                        file.write_back(&mut self.rng);
                    }
                }
            }
            Fault::Reset if !self.connections.is_empty() => {
                self.stats.fault("reset");
                let ids: Vec<u64> = self.connections.keys().copied().collect();
                let id = *self.rng.pick(&ids);
                self.reset(id);
            }
            Fault::Kill | Fault::Shutdown | Fault::Reset => {}
        }
        self.schedule_fault(fault);
    }

    /// The process is gone, with the power or without.
    pub(super) fn crash(&mut self, power: bool) {
        self.trace.event("crash", &[u64::from(power)]);
        self.running = false;
        self.stopping = false;
        self.process += 1;
        self.paused_until_us = self.time_us;
        let same_slot = self.is(Mutation::OneSuperblockSlot);
        for replica in &mut self.replicas {
            replica.partition = None;
            replica.flight = None;
            if let Some((base, len)) = replica.preparing.take()
                && replica.disk.file(base).is_none()
                && self.rng.percent(30)
            {
                // It had its name already; whether that is durable nobody knows.
                replica.disk.create(base, usize::try_from(len).expect("small"));
            }
            if power {
                if replica.disk.power_cut(same_slot, &mut self.rng) {
                    self.stats.fault("dirty-at-power-cut");
                }
            } else {
                replica.disk.kill(&mut self.rng);
            }
        }
        self.reset_all();
        let delay = self.rng.log_uniform(DOWN_US);
        if !self.queue.values().any(|event| matches!(event, Event::Start)) {
            self.schedule(delay, Event::Start);
        }
    }

    /// A bit flips on the disk: in the log, below or above what is known to be flushed, or in a superblock slot.
    fn bit_rot(&mut self) {
        let at = self.rng.index(self.replicas.len());
        let replica = &mut self.replicas[at];
        if self.rng.percent(15) {
            if replica.disk.slots_intact() && replica.disk.rot_slot(replica.truth.persisted_epoch(), &mut self.rng) {
                self.stats.fault("bit-rot-superblock");
            }
            return;
        }
        // The newest of what is on the disk is what the fewest records bear witness to.
        let upto = if self.rng.percent(50) { replica.truth.appended } else { replica.truth.persisted };
        let far = if self.rng.percent(50) { upto.get() } else { 300 };
        if upto == Lsn::ZERO {
            return;
        }
        let lsn = Lsn::new(upto.get().saturating_sub(self.rng.within(1..far.max(2))));
        let Some(base) = replica.truth.segment_of(lsn) else { return };
        let byte = offset(lsn, base);
        let Some(file) = replica.disk.file_mut(base) else { return };
        let flipped = file.durable()[byte] ^ (1 << self.rng.index(8));
        file.damage(byte, &[flipped]);
        replica.truth.add_lie(base, byte / PAGE);
        replica.damaged = true;
        self.stats.fault("bit-rot");
    }

    /// The disk says that a flush is done, and lost or misplaced one of its pages.
    pub(super) fn lie(&mut self, at: usize, flush: &mut Flush) {
        let lost = self.rng.ppm(self.swarm.lost_write_ppm);
        let misdirected = self.rng.ppm(self.swarm.misdirected_write_ppm);
        if flush.pages.is_empty() || !(lost || misdirected) {
            return;
        }
        let (base, page) = flush.pages.swap_remove(self.rng.index(flush.pages.len()));
        let replica = &mut self.replicas[at];
        replica.damaged = true;
        replica.truth.add_lie(base, page.index);
        let bytes = replica.disk.drop_written(base, page);
        self.stats.fault(if misdirected { "misdirected-write" } else { "lost-write" });
        if misdirected {
            let bases: Vec<_> = replica.disk.files().map(|file| file.base).collect();
            let victim = *self.rng.pick(&bases);
            let file = replica.disk.file_mut(victim).expect("listed above");
            let index = self.rng.index(file.durable().len() / PAGE);
            file.damage(index * PAGE, &bytes);
            replica.truth.add_lie(victim, index);
        }
    }
}
