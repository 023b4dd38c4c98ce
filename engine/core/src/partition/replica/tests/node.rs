//! A replica over plain memory, with a disk that keeps what is flushed.

use alloc::vec::Vec;
use std::collections::{BTreeMap, BTreeSet};
use std::string::String;

use crate::codec::{Chain, RecordHeader, SegmentHeader};
use crate::log::{LogSegment, ReceiveError, SegmentMemory, VecMemory};
use crate::partition::tests::blank_superblock;
use crate::partition::{Action, Change, Op, Partition, PartitionConfig, RecoveredPartition, ReplicaAction, Role};
use crate::replication::tests::rng::Rng;
use crate::replication::{LogState, Promised, ReplicaId, Verified};
use crate::superblock::Superblock;
use crate::types::limits::{RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN, SEGMENT_LEN_MIN};
use crate::types::{Epoch, LogKey, Lsn, UnixMillis};

pub(super) const SMALL: u64 = SEGMENT_LEN_MIN;
pub(super) type Disk = BTreeMap<Lsn, Vec<u8>>;
type Refusal = (ReceiveError, Vec<Verified>);

pub(super) struct Node {
    pub(super) partition: Partition<VecMemory>,
    pub(super) disk: Disk,
    pub(super) superblock: Superblock,
    /// Segments that were moved aside, and starts of what was copied.
    pub(super) aside: BTreeSet<Lsn>,
    pub(super) now: u64,
    /// After so many more changes of the disk, nothing reaches it any more.
    pub(super) fuse: Option<u32>,
    pub(super) is_dead: bool,
    pub(super) done: Vec<ReplicaAction>,
    segment_len: u64,
}

impl Node {
    pub(super) fn new(number: u64, segment_len: u64) -> Self {
        // Each was made by itself, with a key of its own.
        let log_key = LogKey::new(number.to_le_bytes());
        let superblock = Superblock { replica: ReplicaId::new(number), log_key, ..blank_superblock() };
        Self::open(superblock, Disk::new(), segment_len).0
    }

    /// Opens what is on the disk, as the store does.
    pub(super) fn open(superblock: Superblock, mut disk: Disk, segment_len: u64) -> (Self, LogState) {
        let config = PartitionConfig { segment_len, segments_ahead: 1 };
        let segments = disk.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
        let mut recovered = RecoveredPartition::new(superblock, config, segments).unwrap();
        let end = recovered.end();
        let repair = recovered.repair();
        let superblock = recovered.replica_superblock();
        let (mut partition, mut state) = recovered.into_replica(superblock);
        let aside = repair.aside.iter().copied().collect();
        for base in repair.aside.iter().chain(&repair.remove) {
            disk.remove(base);
        }
        for base in &repair.flush {
            let bytes = disk.get_mut(base).unwrap();
            let end = usize::try_from(end.since(*base).min(bytes.len() as u64)).unwrap();
            bytes[end..].fill(0);
        }
        if let Some(flush) = partition.poll_flush() {
            partition.handle_flushed(flush.ticket);
        }
        state.durable = partition.durable();
        let (done, now) = (Vec::new(), 1_000);
        let node = Self { partition, disk, superblock, aside, now, fuse: None, is_dead: false, done, segment_len };
        (node, state)
    }

    pub(super) fn rebuilt(disk: &Disk, superblock: Superblock, segment_len: u64) -> Self {
        let mut node = Self::open(superblock, disk.clone(), segment_len).0;
        node.act();
        node
    }

    /// After an orderly end.
    pub(super) fn reopened(self) -> Self {
        Self::rebuilt(&self.disk, self.superblock, self.segment_len)
    }

    /// After a power cut: of what was not flushed, any sectors are there.
    pub(super) fn crashed(self, rng: &mut Rng) -> Self {
        let mut disk = self.disk;
        let written_back = rng.below(3);
        for segment in self.partition.log().segments() {
            let Some(bytes) = disk.get_mut(&segment.base()) else { continue };
            for (sector, new) in bytes.chunks_mut(64).zip(segment.memory().bytes().chunks(64)) {
                if written_back == 2 || (written_back == 1 && rng.chance(500)) {
                    sector.copy_from_slice(new);
                }
            }
        }
        let mut node = Self::rebuilt(&disk, self.superblock, self.segment_len);
        node.now = self.now;
        node
    }

    pub(super) fn now(&self) -> UnixMillis {
        UnixMillis::new(self.now).unwrap()
    }

    pub(super) fn superblock_wanted(&mut self) -> Option<Action> {
        loop {
            match self.partition.poll_action()? {
                Action::Prepare { base, len } => {
                    self.partition.handle_prepared(base, VecMemory::zeroed(usize::try_from(len).unwrap()));
                }
                write @ Action::WriteSuperblock(_) => return Some(write),
            }
        }
    }

    /// Whether a change reaches the disk.
    fn burn(&mut self) -> bool {
        match &mut self.fuse {
            Some(0) => self.is_dead = true,
            Some(left) => *left -= 1,
            None => {}
        }
        !self.is_dead
    }

    /// Does everything that the partition asks for, flushes included, until it dies.
    pub(super) fn act(&mut self) {
        while !self.is_dead && (self.act_once() || self.flush_once()) {}
    }

    fn act_once(&mut self) -> bool {
        if let Some(action) = self.partition.poll_action() {
            match action {
                Action::Prepare { base, len } if self.burn() => {
                    let len = usize::try_from(len).unwrap();
                    assert!(self.disk.insert(base, std::vec![0; len]).is_none(), "segment {base} is there already");
                    self.partition.handle_prepared(base, VecMemory::zeroed(len));
                }
                Action::WriteSuperblock(superblock) if self.burn() => {
                    self.superblock = superblock;
                    self.partition.handle_superblock_written(superblock.generation);
                }
                _ => {}
            }
            return true;
        }
        let Some(action) = self.partition.poll_replica() else { return false };
        match action {
            ReplicaAction::PutAside { from, upto, .. } => {
                assert!(!self.bytes(from, upto).is_empty());
                if self.burn() {
                    self.aside.insert(from);
                    self.partition.handle_put_aside(true);
                }
            }
            ReplicaAction::MoveAside { bases, .. } => {
                for base in bases {
                    if !self.burn() {
                        return true;
                    }
                    assert!(self.disk.remove(&base).is_some());
                    self.aside.insert(base);
                }
                self.partition.handle_moved_aside();
            }
            ReplicaAction::Remove { bases } => {
                if self.burn() {
                    bases.iter().for_each(|base| assert!(self.disk.remove(base).is_some()));
                    self.partition.handle_removed();
                }
            }
            told => self.done.push(told),
        }
        true
    }

    fn flush_once(&mut self) -> bool {
        let Some(request) = self.partition.poll_flush() else { return false };
        if !self.burn() {
            return true;
        }
        for segment in self.partition.log().segments() {
            if (request.first_base..=request.last_base).contains(&segment.base()) {
                self.disk.insert(segment.base(), segment.memory().bytes().to_vec());
            }
        }
        self.partition.handle_flushed(request.ticket);
        true
    }

    pub(super) fn promise(&mut self, epoch: u32) {
        let epoch = Epoch::new(epoch);
        self.partition.write_promised(u64::from(epoch.get()), Promised { promised: epoch, epoch, floor: None });
        self.act();
        assert!(self.is_dead || self.superblock.promised == epoch);
    }

    pub(super) fn lead(&mut self, epoch: u32) {
        self.promise(epoch);
        while self.partition.lead(Epoch::new(epoch), self.now()).is_err() {
            self.act();
        }
        assert_eq!(self.partition.role(), Role::Leader);
        self.act();
    }

    pub(super) fn put(&mut self, key: &str, value: &str) {
        self.put_until(key, value, None);
    }

    pub(super) fn put_until(&mut self, key: &str, value: &str, until: Option<u64>) {
        let expires_at = until.map(|until| UnixMillis::new(until).unwrap());
        self.apply(&[(key, Change::Put { value: value.as_bytes(), expires_at })]);
    }

    pub(super) fn delete(&mut self, key: &str) {
        self.apply(&[(key, Change::Delete)]);
    }

    /// Appends, preparing segments where there is no room, but flushing nothing.
    pub(super) fn apply(&mut self, changes: &[(&str, Change<'_>)]) {
        let now = self.now();
        let op = |partition: &Partition<VecMemory>, key: &str| partition.hash(key.as_bytes());
        let mut ops: Vec<Op<'_>> = changes
            .iter()
            .map(|(key, change)| Op { hash: op(&self.partition, key), key: key.as_bytes(), change: *change })
            .collect();
        while self.partition.append(now, &mut ops).is_err() {
            assert!(self.act_once(), "there is room, or there will be");
        }
    }

    pub(super) fn clear(&mut self) {
        while self.partition.clear(self.now()).is_err() {
            assert!(self.act_once(), "there is room, or there will be");
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        let lookup = self.partition.get(self.partition.hash(key.as_bytes()), key.as_bytes(), self.now());
        lookup.entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
    }

    pub(super) fn wait(&self, key: &str) -> Lsn {
        self.partition.get(self.partition.hash(key.as_bytes()), key.as_bytes(), self.now()).wait
    }

    /// What is published, by segment; the rest is zeros.
    pub(super) fn image(&self) -> Disk {
        let image = |segment: &LogSegment<VecMemory>| {
            let mut bytes = segment.memory().bytes().to_vec();
            bytes[segment.memory().published_end()..].fill(0);
            (segment.base(), bytes)
        };
        self.partition.log().segments().map(image).collect()
    }

    pub(super) fn bytes(&self, from: Lsn, upto: Lsn) -> Vec<u8> {
        let parts = self.partition.bytes(from, upto).unwrap();
        parts.flat_map(|part| part.bytes.to_vec()).collect()
    }

    /// Takes bytes of a leader's log, in pieces of at most this length, or whole where that is the greatest number.
    pub(super) fn take(
        &mut self,
        from: Lsn,
        bytes: &[u8],
        piece_max: usize,
        rng: &mut Rng,
    ) -> Result<Vec<Verified>, Refusal> {
        let (mut verified, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let lsn = from.plus(at as u64);
            let upto = from.plus(bytes.len() as u64);
            let placed = self.partition.receive_into(lsn, upto).map(|place| {
                let len = place.len().min(piece_max);
                let len = if piece_max == usize::MAX { len } else { 1 + rng.index(len) };
                place[..len].copy_from_slice(&bytes[at..at + len]);
                len
            });
            match placed {
                Ok(len) => at += len,
                Err(ReceiveError::NotReady) if self.act_once() => continue,
                Err(error) => return Err((error, verified)),
            }
            if let Err(error) = self.partition.handle_received(from.plus(at as u64), &mut verified) {
                return Err((error, verified));
            }
        }
        Ok(verified)
    }

    /// Goes on from where the log ends with what a leader has up to `upto`.
    pub(super) fn take_from(&mut self, leader: &Self, upto: Lsn, rng: &mut Rng) -> Result<Vec<Verified>, Refusal> {
        let from = self.partition.appended();
        let piece_max = 1 << rng.below(12);
        self.take(from, &leader.bytes(from, upto), piece_max, rng)
    }

    pub(super) fn cut(&mut self, to: Lsn) {
        self.partition.begin_cut(to).unwrap();
        self.act();
        let chain = self.partition.log().chain();
        assert!(self.is_dead || self.done.pop() == Some(ReplicaAction::CutDone { to, chain }));
    }

    pub(super) fn reset(&mut self, start: Lsn, chain: Chain) {
        self.partition.begin_reset(start, chain).unwrap();
        self.act();
        assert!(self.is_dead || self.done.pop() == Some(ReplicaAction::ResetDone { start }));
    }

    /// The base of a segment, and the chain value that it starts from.
    pub(super) fn segment_start(&self, index: usize) -> (Lsn, Chain) {
        let segment = self.partition.log().segments().nth(index).unwrap();
        let header = SegmentHeader::decode(segment.memory().bytes()).unwrap();
        (header.base, header.chain)
    }

    /// Where each record ends, and its chain value.
    pub(super) fn ends(&self) -> Vec<(Lsn, Chain)> {
        let mut ends = Vec::new();
        for segment in self.partition.log().segments() {
            let bytes = segment.memory().bytes();
            let limit = segment.memory().published_end().min(bytes.len() - SEGMENT_FOOTER_LEN);
            let mut offset = SEGMENT_HEADER_LEN;
            while offset < limit {
                let head = bytes[offset..offset + RECORD_HEADER_LEN].first_chunk().unwrap();
                let (header, chain) = RecordHeader::decode(head, self.partition.log().config().key).unwrap();
                offset += usize::try_from(header.record_len()).unwrap();
                ends.push((segment.base().plus(offset as u64), chain));
            }
        }
        ends
    }

    /// The same log, walked from its start up to `end`.
    fn walked(&self, end: Lsn) -> Partition<VecMemory> {
        let superblock = Superblock { cut: Some(end), durable: Lsn::ZERO, ..*self.partition.superblock() };
        let config = PartitionConfig { segment_len: self.segment_len, segments_ahead: 1 };
        let segments = self.image().iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
        RecoveredPartition::new(superblock, config, segments).unwrap().into_read_only()
    }

    /// Compares the index with a walk over the log, and what is shown with what is committed.
    pub(super) fn check(&self, when: &str) {
        let (all, committed) = (self.walked(self.partition.appended()), self.walked(self.partition.committed()));
        assert_eq!(all.appended(), self.partition.appended(), "{when}: the log can be walked to its end");
        let (ours, walked) = (self.partition.stats(), all.stats());
        assert_eq!(ours.keys, walked.keys, "{when}: keys");
        assert_eq!(ours.live_bytes, walked.live_bytes, "{when}: live bytes");
        assert_eq!(ours.expiring_keys, walked.expiring_keys, "{when}: expiring keys");
        for number in 0..100 {
            let key = std::format!("key {number}");
            let of = |partition: &Partition<VecMemory>| {
                let lookup = partition.get(partition.hash(key.as_bytes()), key.as_bytes(), self.now());
                (lookup.entry.map(|entry| (entry.value.to_vec(), entry.lsn)), lookup.wait)
            };
            let (ours, wait) = of(&self.partition);
            assert_eq!(ours, of(&all).0, "{when}: {key}");
            if wait <= self.partition.committed() {
                assert_eq!(ours, of(&committed).0, "{when}: {key} is shown before it is committed");
            }
        }
    }
}
