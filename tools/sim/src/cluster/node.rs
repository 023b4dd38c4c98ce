//! One replica: its process, while it runs, and what outlives it.

use std::collections::{BTreeMap, VecDeque};

use windrow_core::partition::{Partition, RecoveredPartition};
use windrow_core::recovery::RecoveryError;
use windrow_core::replication::{Config, Moment, Replica as Protocol, ReplicaId, RoleKind};
use windrow_core::superblock::Superblock;
use windrow_core::types::{Epoch, Lsn, UnixMillis};

use super::damage::Rot;
use super::receive::Inbound;
use crate::disk::{BrokenSlot, SimMemory};
use crate::replica::Replica;
use crate::rng::Rng;
use crate::truth::Witness;

/// A reply that is not out yet.
pub(super) struct Pending {
    pub(super) wait: Lsn,
    pub(super) depends_on: Lsn,
}

/// One replica of the partition.
pub(super) struct Node {
    /// Its log, its disk, and what the simulator knows about both.
    pub(super) copy: Replica,
    pub(super) config: Config,
    /// The protocol, while the process runs.
    pub(super) protocol: Option<Protocol>,
    /// Counts the starts: what was under way before a crash does not come back after it.
    pub(super) life: u64,
    /// What has come from each peer and is not taken in yet.
    pub(super) inbound: BTreeMap<usize, Inbound>,
    /// It is to lead, as soon as there is room for the record that says so.
    pub(super) lead: Option<Epoch>,
    pub(super) pending: VecDeque<Pending>,
    /// Its monotonic clock started elsewhere and runs by so many millionths faster than the world's.
    clock_start_ms: u64,
    clock_ppm: u64,
    /// How far its wall clock is off.
    pub(super) wall_off_ms: i64,
    pub(super) paused_until: u64,
    pub(super) disk_full: bool,
    /// What it has told others to be on its disk.
    pub(super) vouched: Lsn,
    /// Where its log is being cut: nothing above counts as vouched for any more.
    pub(super) cutting: Option<Lsn>,
    /// Up to here its log is known to begin with each line of what is committed.
    pub(super) agreed: Vec<Lsn>,
    /// The operator has been told that it would lose what it knows to be committed, or has permitted that.
    pub(super) loss: Loss,
    /// What has rotted on its disk since it was opened.
    pub(super) rot: Option<Rot>,
    /// Slots of its superblock that were lost since it was opened.
    pub(super) broken: Vec<BrokenSlot>,
}

/// What becomes of committed records that a leader by force lacks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Loss {
    /// A replica that knows them keeps them.
    Refused,
    /// The operator will permit it to cut them.
    Asked,
    Permitted,
}

/// What came of reading a disk at a start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opening {
    Open,
    /// The power went meanwhile.
    Cut,
    /// The log cannot be believed.
    Refused,
}

/// The name of a node.
pub(super) fn id(at: usize) -> ReplicaId {
    ReplicaId::new(at as u64 + 1)
}

impl Node {
    pub(super) fn new(copy: Replica, config: Config, drift_ppm: u64, rng: &mut Rng) -> Self {
        Self {
            copy,
            config,
            protocol: None,
            life: 0,
            inbound: BTreeMap::new(),
            lead: None,
            pending: VecDeque::new(),
            clock_start_ms: rng.within(1..1_000_000),
            clock_ppm: rng.within(0..drift_ppm),
            wall_off_ms: 0,
            paused_until: 0,
            disk_full: false,
            vouched: Lsn::ZERO,
            cutting: None,
            agreed: Vec::new(),
            loss: Loss::Refused,
            rot: None,
            broken: Vec::new(),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.protocol.is_some()
    }

    pub(super) fn moment(&self, now_us: u64) -> Moment {
        let ms = now_us / 1_000;
        Moment::new(self.clock_start_ms + ms + ms * self.clock_ppm / 1_000_000)
    }

    pub(super) fn wall(&self, now_us: u64) -> UnixMillis {
        let ms = 1_700_000_000_000_i64 + i64::try_from(now_us / 1_000).unwrap_or(i64::MAX) + self.wall_off_ms;
        UnixMillis::new(u64::try_from(ms).unwrap_or(0)).expect("a moment of this century")
    }

    pub(super) fn protocol(&mut self) -> &mut Protocol {
        self.protocol.as_mut().expect("the process runs")
    }

    /// Whether what is on its disk can be read.
    pub(super) fn is_readable(&self) -> bool {
        self.rot.is_none() && self.copy.disk.read_superblock().is_ok()
    }

    pub(super) fn is_leader(&self) -> bool {
        self.protocol.as_ref().is_some_and(|protocol| protocol.role() == RoleKind::Leader)
    }

    pub(super) fn partition(&self) -> &Partition<SimMemory> {
        self.copy.partition.as_ref().expect("the process runs")
    }

    /// The process is gone. What it has not made durable is the disk's business.
    pub(super) fn stop(&mut self) {
        self.life += 1;
        self.protocol = None;
        self.copy.partition = None;
        self.copy.flight = None;
        self.copy.preparing = None;
        self.inbound.clear();
        self.cutting = None;
        self.loss = Loss::Refused;
        self.lead = None;
        self.pending.clear();
    }

    /// What recovery must find: the log up to the first piece that is not whole on the disk, or to where it was to be
    /// cut; and what bears witness to how far it was flushed.
    pub(super) fn found_end(&self) -> (Lsn, Witness) {
        let superblock = self.copy.disk.read_superblock().expect("both slots are refused before");
        let end = self.copy.truth.whole_end(&self.copy.disk);
        let witness = self.copy.truth.witness(&self.copy.disk, &superblock);
        (superblock.cut.map_or(end, |cut| cut.min(end)), witness)
    }

    /// From now on the disk's truth is read.
    pub(super) fn read_disk(&mut self) {
        let bases: Vec<Lsn> = self.copy.disk.files().map(|file| file.base).collect();
        self.copy.disk.flush_now(&bases);
        self.copy.disk.drop_caches();
    }

    /// The log that is on the disk, if it is to be believed, and up to where it is the one that the simulator knows.
    fn open(&mut self) -> Option<(RecoveredPartition<SimMemory>, Lsn)> {
        let Ok(superblock) = self.copy.disk.read_superblock() else {
            assert_eq!(self.broken.len(), 2, "one of two superblocks can be read");
            return None;
        };
        let (end, witness) = self.found_end();
        let segments = self.copy.disk.files().map(|file| (file.base, SimMemory::map(file.cache()))).collect();
        match RecoveredPartition::new(superblock, self.copy.config, segments) {
            Ok(recovered) => {
                assert!(witness.sure <= end, "a log is opened that ends at {end} and was flushed to {}", witness.sure);
                assert!(end >= self.vouched, "the log ends at {end}, and {} was said to be on this disk", self.vouched);
                // Whole records can have arrived that the process had not looked at when it ended, or before it led and
                // wrote others in their place that were not flushed.
                let found = recovered.end();
                assert!(found >= end, "recovery ends the log at {found}, it is whole up to {end}");
                Some((recovered, end))
            }
            Err(error) => {
                let names_another = matches!(error, RecoveryError::Version { .. } | RecoveryError::Foreign { .. });
                let is_damaged = self.rot.is_some() && (names_another || witness.perhaps > end);
                assert!(is_damaged, "a log that is whole up to {end} is refused: {error}");
                None
            }
        }
    }

    /// Reads the disk, as a process does that starts.
    pub(super) fn recover(&mut self, now_us: u64, step: u64, fuse: Option<u64>) -> Opening {
        let mut steps = 0;
        let mut burns = move || {
            steps += 1;
            fuse == Some(steps)
        };
        self.read_disk();
        if burns() {
            return Opening::Cut;
        }
        let Some((mut recovered, whole)) = self.open() else { return Opening::Refused };
        self.broken.clear();
        // A log is cut once both slots say so, on the disk and not in the page cache only.
        if let Ok(superblock) = self.copy.disk.read_superblock()
            && superblock.cut.is_some()
        {
            self.copy.disk.flush_superblock();
            if burns() {
                return Opening::Cut;
            }
            self.copy.disk.begin_superblock(Superblock { generation: superblock.generation + 1, ..superblock });
            self.copy.disk.complete_superblock(None);
        }
        if burns() {
            return Opening::Cut;
        }
        let todo = recovered.repair();
        let superblock = recovered.replica_superblock();
        let (partition, mut log) = recovered.into_replica(superblock);
        let end = partition.appended().min(whole);
        self.copy.rebuild(end, true, step);
        self.agreed.iter_mut().for_each(|agreed| *agreed = (*agreed).min(end));
        self.copy.partition = Some(partition);
        let unseen = self.copy.observe(step, false, &mut Rng::new(step));
        for piece in &self.copy.truth.pieces[unseen] {
            self.copy.state.observe(piece.time);
            self.copy.state.apply(&piece.ops, piece.end, step);
        }
        self.copy.disk.flush_now(&todo.flush);
        // What has rotted behind a noted cut is there, and may be read again, until the cut has been carried out.
        let remains = |rot: &Rot| todo.aside.iter().chain(&todo.remove).any(|base| *base == rot.base);
        self.rot = self.rot.take().filter(remains);
        if burns() {
            return Opening::Cut;
        }
        todo.aside.iter().chain(&todo.remove).for_each(|base| self.copy.disk.remove(*base));
        if burns() {
            return Opening::Cut;
        }
        self.copy.disk.sync_directory();
        self.rot = None;
        self.copy.disk.begin_superblock(superblock);
        if burns() {
            return Opening::Cut;
        }
        self.copy.disk.complete_superblock(None);
        if burns() {
            return Opening::Cut;
        }
        if let Some(request) = self.copy.engine().poll_flush() {
            let bases: Vec<Lsn> = self.copy.disk.files().map(|file| file.base).collect();
            self.copy.disk.flush_now(&bases);
            self.copy.engine().handle_flushed(request.ticket);
        }
        self.copy.check_watermarks();
        log.durable = self.partition().durable();
        self.copy.engine().want_superblock();
        assert_eq!(log.durable, log.end, "what was recovered has been flushed");
        self.vouched = log.durable;
        let moment = self.moment(now_us);
        self.protocol = Some(Protocol::new(self.config.clone(), log, superblock.promise(), moment).expect("sound"));
        Opening::Open
    }
}
