//! One replica of a partition: the engine's own state while its process runs, and beside it, for as long as the run
//! lasts, its disk and what the simulator knows about its log.

use std::ops::Range;

use windrow_core::log::SegmentMemory;
use windrow_core::partition::{Partition, PartitionConfig};
use windrow_core::replication::ReplicaId;
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::SEGMENT_LEN_MIN;
use windrow_core::types::{ClusterId, LogKey, Lsn, PartitionId, UnixMillis};

use crate::disk::{Flush, PartitionDisk, SimMemory};
use crate::keys::hash_seed;
use crate::model::State;
use crate::rng::Rng;
use crate::swarm::Swarm;
use crate::truth::Truth;

/// Index entries take at most this many bytes each, and an empty index this many in all.
const INDEX_BYTES_PER_KEY_MAX: u64 = 64;
const INDEX_BYTES_MIN: u64 = 16 << 10;

pub(crate) struct Replica {
    pub(crate) config: PartitionConfig,
    pub(crate) disk: PartitionDisk,
    pub(crate) truth: Truth,
    /// What the log says now.
    pub(crate) state: State,
    /// What the log said at `base_end`, which no crash can take back.
    base: State,
    base_end: Lsn,
    /// The newest record that somebody has been shown.
    pub(crate) shown: Lsn,
    /// The disk has been made to lie since the last recovery.
    pub(crate) damaged: bool,
    /// The engine, while the process runs.
    pub(crate) partition: Option<Partition<SimMemory>>,
    pub(crate) flight: Option<Flight>,
    /// The segment that is being made.
    pub(crate) preparing: Option<(Lsn, u64)>,
}

/// The flush that is under way.
pub(crate) struct Flight {
    pub(crate) ticket: u64,
    pub(crate) flush: Flush,
    pub(crate) bases: Vec<Lsn>,
}

impl Replica {
    pub(crate) fn new(number: u16, swarm: &Swarm, rng: &mut Rng) -> Self {
        Self::named(ReplicaId::new(1), number, swarm, rng)
    }

    /// One of several copies of a partition.
    pub(crate) fn named(name: ReplicaId, number: u16, swarm: &Swarm, rng: &mut Rng) -> Self {
        let id = PartitionId::new(number);
        let key = LogKey::new(rng.next().to_le_bytes());
        let superblock = Superblock::first(ClusterId([7; 16]), id, swarm.partitions, name, hash_seed(swarm, rng), key);
        Self {
            config: PartitionConfig { segment_len: swarm.segment_len, segments_ahead: swarm.segments_ahead },
            disk: PartitionDisk::new(&superblock),
            truth: Truth::new(id),
            state: State::default(),
            base: State::default(),
            base_end: Lsn::ZERO,
            shown: Lsn::ZERO,
            damaged: false,
            partition: None,
            flight: None,
            preparing: None,
        }
    }

    pub(crate) fn engine(&mut self) -> &mut Partition<SimMemory> {
        self.partition.as_mut().expect("the process runs")
    }

    /// What no crash may take back: what somebody has been shown, and what an earlier recovery found on the disk.
    pub(crate) fn settled(&self) -> Lsn {
        self.shown.max(self.base_end)
    }

    /// Moves what the engine has written to the page cache and to the truth. Returns the new pieces.
    pub(crate) fn observe(&mut self, step: u64, write_back: bool, rng: &mut Rng) -> Range<usize> {
        let before = self.truth.pieces.len();
        let Some(partition) = &self.partition else { return before..before };
        let appended = self.truth.appended;
        let segments = partition.log().segments().rev();
        let mut written: Vec<_> = segments.take_while(|one| one.base().plus(one.segment_len()) >= appended).collect();
        written.reverse();
        for segment in written {
            let memory = segment.memory();
            if let Some(range) = memory.take_dirty() {
                let bytes = &memory.bytes()[range.clone()];
                let file = self.disk.file_mut(segment.base()).expect("a segment in use has a file");
                let old = write_back.then(|| file.cache()[range.clone()].to_vec());
                file.store(range.start, bytes);
                if let Some(old) = old {
                    file.write_back_amid(range, &old, rng);
                }
            }
            self.truth.extend(segment.base(), memory, memory.published_end(), step);
        }
        assert_eq!(self.truth.appended.max(Lsn::ZERO), partition.appended(), "everything published has been seen");
        before..self.truth.pieces.len()
    }

    /// A flush has been reported as done: what the engine believes must be on the disk.
    pub(crate) fn check_watermarks(&mut self) {
        self.truth.advance_persisted(&self.disk);
        let persisted = self.truth.persisted;
        let partition = self.partition.as_ref().expect("the process runs");
        assert!(
            partition.durable() <= persisted,
            "{} counts as durable, on the disk is {persisted}",
            partition.durable()
        );
        assert!(partition.durable() <= partition.submitted(), "durable runs ahead of submitted");
        assert!(partition.submitted() <= partition.appended(), "submitted runs ahead of appended");
        assert!(partition.committed() <= partition.durable(), "committed runs ahead of durable");
    }

    /// What was cut must be gone from the disk before anything new is written.
    pub(crate) fn check_tail(&self) {
        let end = self.truth.appended;
        for file in self.disk.files().filter(|file| file.base.plus(file.durable().len() as u64) > end) {
            let from = usize::try_from(end.get().saturating_sub(file.base.get())).expect("segments are small");
            let remains = file.durable()[from..].iter().position(|&byte| byte != 0);
            assert!(remains.is_none(), "segment {} has remains of a tail that was cut at {end}", file.base);
        }
    }

    /// The change feed gives every committed batch, once and in order.
    pub(crate) fn check_feed(&self) {
        let Some(partition) = &self.partition else { return };
        let records = partition.records(Lsn::ZERO).expect("the log has its start");
        let found: Vec<Lsn> = records
            .map(|record| record.expect("a committed record reads"))
            .filter(|record| record.batch.is_some())
            .map(|record| record.header.lsn)
            .collect();
        let committed = partition.committed();
        let batches = self.truth.pieces.iter().filter(|piece| piece.is_batch && piece.end <= committed);
        let wanted: Vec<Lsn> = batches.map(|piece| piece.start).collect();
        assert!(found == wanted, "the feed gives {} batches, {} are committed", found.len(), wanted.len());
    }

    /// Counts agree, and nothing grows beyond its bound.
    pub(crate) fn check_bounds(&self) {
        let Some(partition) = &self.partition else { return };
        let stats = partition.stats();
        assert_eq!(stats.keys, self.state.keys.len() as u64, "keys counted");
        assert_eq!(stats.live_bytes, self.state.live_bytes(), "live bytes counted");
        let expiring = self.state.keys.values().filter(|stored| stored.value.expires_at.is_some()).count() as u64;
        assert_eq!(stats.expiring_keys, expiring, "expiring keys counted");
        // A crash can make prepared segments again of segments that had been used.
        let most = self.truth.highest.get().div_ceil(SEGMENT_LEN_MIN) + self.config.segments_ahead as u64 + 1;
        assert!(stats.segments + stats.segments_prepared <= most, "more segments than were ever wanted");
        assert!(
            stats.index_bytes <= INDEX_BYTES_MIN + INDEX_BYTES_PER_KEY_MAX * (stats.keys + self.state.changed_count()),
            "index of {} bytes for {} keys",
            stats.index_bytes,
            stats.keys
        );
    }

    /// What the state was when the log ended at `end`, found out from the records alone.
    pub(crate) fn rewind(&mut self, end: Lsn, step: u64) {
        self.truth.cut(end);
        let persisted = self.truth.persisted;
        let base_end = self.base_end;
        for piece in self.truth.pieces.iter().filter(|piece| piece.start >= base_end && piece.end <= persisted) {
            self.base.observe(piece.time);
            self.base.apply(&piece.ops, piece.end, piece.step);
            self.base_end = piece.end;
        }
        let mut state = self.base.clone();
        for piece in self.truth.pieces.iter().filter(|piece| piece.start >= self.base_end) {
            state.observe(piece.time);
            state.apply(&piece.ops, piece.end, piece.step);
        }
        // A key that was gone and is back has not been there all the time.
        for (key, stored) in &mut state.keys {
            if self.state.live(key).is_none() {
                stored.since = step;
            }
        }
        state.settle();
        self.state = state;
    }

    /// What the state is when the log ends at `end`, where nothing counts as settled: another leader may cut it. A process
    /// that starts knows what time it is from the log alone.
    pub(crate) fn rebuild(&mut self, end: Lsn, starts: bool, step: u64) {
        self.truth.cut(end);
        let mut state = State::default();
        for piece in &self.truth.pieces {
            state.observe(piece.time);
            state.apply(&piece.ops, piece.end, piece.step.min(step));
        }
        if !starts {
            state.observe(self.state.clock);
        }
        self.state = state;
    }

    /// Compares everything that the engine holds with the model.
    pub(crate) fn compare(&mut self, now: UnixMillis, gone: &State) {
        self.state.observe(now.get());
        let partition = self.partition.as_ref().expect("the process runs");
        for key in self.state.keys.keys().chain(gone.keys.keys()) {
            let found = partition.get(partition.hash(key), key, now).entry;
            let found = found.map(|entry| (entry.value.to_vec(), entry.expires_at.map(UnixMillis::get)));
            let wanted = self.state.live(key).map(|stored| (stored.value.bytes.clone(), stored.value.expires_at));
            let brief = |value: &Option<(Vec<u8>, Option<u64>)>| value.as_ref().map(|(bytes, at)| (bytes.len(), *at));
            assert!(
                found == wanted,
                "key {}: bytes and expiry {:?}, expected {:?} at {}",
                key.escape_ascii(),
                brief(&found),
                brief(&wanted),
                self.state.clock
            );
        }
        let mut keys = Vec::new();
        let mut cursor = Some(windrow_core::partition::ScanCursor::START);
        while let Some(from) = cursor {
            cursor = partition.scan(from, 7, now, &mut |entry| keys.push(entry.key.to_vec())).next;
        }
        keys.sort();
        let wanted: Vec<_> = self.state.live_keys().map(|(key, _)| key.clone()).collect();
        assert!(keys == wanted, "{} keys scanned, {} expected", keys.len(), wanted.len());
        self.check_bounds();
    }
}
