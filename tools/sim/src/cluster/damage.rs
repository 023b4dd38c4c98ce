//! Damage to the disk of one replica while its process is away: bits rot, or the disk is lost and an empty directory comes
//! back under the same name.
//!
//! What replicas promise assumes that a disk keeps what it has flushed, so damage is bounded: one replica at a time until
//! it has everything again; each committed record stays on another voter's disk, byte by byte; and what would be taken
//! for a torn tail is on as many other disks as the commit rule asks for. A disk is lost only while nobody counts on what
//! its replica has forgotten: no candidate, no leader but the newest, no voter that is empty too. The bound is checked
//! against the disks, and damage beyond it is taken back and counted.

use windrow_core::replication::RoleKind;
use windrow_core::types::{Epoch, Lsn};

use super::node::{Node, id};
use super::{Event, World, index};
use crate::replica::Replica;
use crate::truth::offset;

/// Of the pieces on a disk, rot hits one of so many newest ones in half of the cases.
const NEWEST: usize = 8;

/// Bytes that have rotted, and what stood there.
pub(super) struct Rot {
    pub(super) base: Lsn,
    start: usize,
    before: Vec<u8>,
}

impl World {
    /// A process is about to start: its disk may be worse than it was.
    pub(super) fn damage(&mut self, at: usize) {
        self.settle_damage();
        self.break_superblock(at);
        if self.nodes[at].copy.disk.read_superblock().is_err() {
            return;
        }
        if self.nodes[at].rot.is_some() {
            // The witness that was there at the start before may be gone: it was not flushed, and the power went.
            self.nodes[at].read_disk();
            return self.bound_rot(at);
        }
        if self.nodes[at].copy.truth.appended == Lsn::ZERO || self.healed {
            return;
        }
        if self.rng.percent(self.swarm.lose_disk_percent) {
            if self.may_lose(at) {
                self.stats.fault("disk-lost");
                self.wipe(at);
            }
        } else if self.rng.percent(self.swarm.rot_percent) {
            self.rot(at);
        }
    }

    /// One slot of the superblock is lost, or both: of one the other has all that was promised, and both are refused.
    fn break_superblock(&mut self, at: usize) {
        if self.healed || !self.rng.percent(self.swarm.rot_superblock_percent) {
            return;
        }
        let node = &mut self.nodes[at];
        let Some(broken) = node.copy.disk.break_slot(&mut self.rng) else { return };
        self.stats.fault(if broken.was_newest { "newest-superblock-lost" } else { "older-superblock-lost" });
        self.trace.note(|| format!("node {at}: one superblock is lost, the newest: {}", broken.was_newest));
        if self.rng.percent(10) {
            self.stats.fault("both-superblocks-lost");
            node.broken.push(node.copy.disk.break_other_slot(&broken, &mut self.rng));
        }
        node.broken.push(broken);
    }

    /// Recovery has refused what is on the disk: it goes, or somebody puts right what has rotted.
    pub(super) fn replace(&mut self, at: usize) {
        self.stats.fault("corruption-refused");
        if self.may_lose(at) {
            self.stats.fault("disk-replaced");
            self.wipe(at);
        } else {
            self.mend(at);
        }
    }

    /// Whoever has everything again is damaged no longer.
    fn settle_damage(&mut self) {
        let Some(at) = self.damaged else { return };
        let committed = self.committed.newest().map_or(0, |part| part.upto.get());
        let node = &self.nodes[at];
        let is_whole = node.protocol.as_ref().is_some_and(|protocol| !protocol.is_restoring());
        if is_whole && node.rot.is_none() && node.vouched.get() >= committed {
            self.damaged = None;
        }
    }

    fn rot(&mut self, at: usize) {
        if self.damaged.is_some_and(|other| other != at) {
            return;
        }
        let node = &mut self.nodes[at];
        node.read_disk();
        node.copy.truth.advance_persisted(&node.copy.disk);
        let persisted = node.copy.truth.persisted;
        let pieces = &node.copy.truth.pieces;
        let on_disk = pieces.partition_point(|piece| piece.end <= persisted);
        if on_disk == 0 {
            return;
        }
        let oldest = if self.rng.percent(50) { on_disk.saturating_sub(NEWEST) } else { 0 };
        let piece = &pieces[oldest + self.rng.index(on_disk - oldest)];
        let Some(base) = node.copy.truth.segment_of(piece.start) else { return };
        let len = offset(piece.end, piece.start);
        let start = offset(piece.start, base) + self.rng.index(len);
        let Some(file) = node.copy.disk.file_mut(base) else { return };
        let before = vec![file.durable()[start]];
        file.restore(start, &[before[0] ^ 1 << self.rng.index(8)]);
        node.rot = Some(Rot { base, start, before });
        self.trace.note(|| format!("node {at}: rot in segment {base} at {start}"));
        self.stats.fault("bit-rot");
        self.damaged = Some(at);
        self.bound_rot(at);
    }

    /// What has rotted and bears no witness looks like a torn tail: others must not count on it.
    fn bound_rot(&mut self, at: usize) {
        let (end, witness) = self.nodes[at].found_end();
        let vouched = self.nodes[at].vouched;
        self.trace.note(|| format!("node {at}: whole up to {end}, vouched for {vouched}, {witness:?}"));
        if witness.sure > end || end >= self.nodes[at].vouched {
            return;
        }
        if self.others_with_all_of(at) < self.swarm.copies() {
            return self.mend(at);
        }
        self.stats.fault("rot-like-a-torn-tail");
        // A replica's log ends with a record, not with the footer or header behind it.
        let node = &mut self.nodes[at];
        let records = node.copy.truth.pieces.iter().filter(|piece| piece.epoch > Epoch::ZERO && piece.end <= end);
        node.vouched = records.map(|piece| piece.end).max().unwrap_or(Lsn::ZERO);
    }

    /// How many other voters have all that this replica has vouched for on their disks.
    fn others_with_all_of(&mut self, at: usize) -> usize {
        let upto = self.nodes[at].vouched;
        let own = self.nodes[at].copy.truth.bytes(Lsn::ZERO, upto);
        let others: Vec<usize> = (0..self.swarm.voters).filter(|&other| other != at).collect();
        others.into_iter().filter(|&other| self.nodes[other].has_on_disk(&own)).count()
    }

    fn mend(&mut self, at: usize) {
        self.stats.fault("damage-taken-back");
        let node = &mut self.nodes[at];
        for broken in node.broken.drain(..) {
            node.copy.disk.mend_slot(&broken);
        }
        let Some(rot) = node.rot.take() else { return };
        // A start may have removed it, and have been stopped.
        if let Some(file) = node.copy.disk.file_mut(rot.base) {
            file.restore(rot.start, &rot.before);
        }
    }

    /// Whether what this replica has, and what it has promised, may be forgotten.
    fn may_lose(&mut self, at: usize) -> bool {
        if self.damaged.is_some_and(|other| other != at) {
            return false;
        }
        let is = |kind| move |node: &Node| node.protocol.as_ref().is_some_and(|one| one.role() == kind);
        let newest = self.leaders.keys().next_back().copied();
        let leaders: Vec<&Node> = self.nodes.iter().filter(|node| is(RoleKind::Leader)(node)).collect();
        let is_stale = |node: &&Node| node.protocol.as_ref().map(|one| one.current_epoch()) != newest;
        if self.nodes.iter().any(is(RoleKind::Candidate)) || leaders.len() > 1 || leaders.iter().any(is_stale) {
            return false;
        }
        // What a promotion by force has lost may be all that somebody has, and whoever forgets such a promotion repeats it.
        if !self.committed.forced.is_empty() {
            return false;
        }
        let committed = self.committed.lines.first().cloned().unwrap_or_default();
        if index(self.nodes[at].vouched) > committed.len() {
            return false;
        }
        let mut has_copy = false;
        for other in (0..self.swarm.voters).filter(|&other| other != at) {
            has_copy |= self.nodes[other].has_on_disk(&committed);
            if self.nodes[other].copy.truth.persisted == Lsn::ZERO {
                return false;
            }
        }
        has_copy
    }

    /// An empty directory under the same name. What was on its way to and from the machine went with it.
    fn wipe(&mut self, at: usize) {
        let mut copy = Replica::named(id(at), 0, &self.swarm.commands, &mut self.rng);
        let node = &mut self.nodes[at];
        copy.config = node.copy.config;
        node.copy = copy;
        node.rot = None;
        node.broken.clear();
        node.vouched = Lsn::ZERO;
        node.agreed.clear();
        self.queue.retain(|_, event| !matches!(event, Event::Message { from, to, .. } if *from == at || *to == at));
        self.nodes.iter_mut().for_each(|node| drop(node.inbound.remove(&at)));
        self.damaged = Some(at);
        self.forgotten = self.leaders.last_key_value().map_or(Epoch::ZERO, |(epoch, _)| *epoch);
    }
}

impl Node {
    /// Whether its disk holds a log that begins with `bytes`.
    fn has_on_disk(&mut self, bytes: &[u8]) -> bool {
        self.copy.truth.advance_persisted(&self.copy.disk);
        let upto = Lsn::new(bytes.len() as u64);
        self.is_readable() && self.copy.truth.persisted >= upto && self.copy.truth.bytes(Lsn::ZERO, upto) == bytes
    }
}
