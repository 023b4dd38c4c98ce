//! One partition: its log, its index, and the rules between them.
//!
//! Single owner, no locks. A write is applied to the index when it is appended; whoever confirms it, or shows what it
//! wrote, waits until the committed watermark has reached the end of its record. A deleted key keeps a tombstone in
//! the index until its deletion is committed, so that a reader who finds it absent knows what to wait for.
//! Invariant: every live key has exactly one index entry, the position of its newest record.

mod expiries;
mod follow;
mod open;
mod read;
mod receive;
mod replay;
mod replica;
mod scan;
mod surgery;
mod walk;
mod write;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use expiries::Expiries;
pub use open::{PartitionConfig, RecoveredPartition};
pub use read::{Entry, Lookup};
use replay::shares_fragment;
use replica::Replication;
pub use replica::{ReplicaAction, Role};
pub use scan::{ScanCursor, ScanStep};
pub use surgery::CutError;
pub use walk::{LogWalk, WalkStep, Walked};
pub use write::{AppendError, Change, Op};

use crate::codec::Chain;
use crate::index::Index;
use crate::log::{Damaged, FlushRequest, Log, LogParts, LogSegment, PrepareFailure, ReadError, Records, SegmentMemory};
use crate::superblock::Superblock;
use crate::types::{Epoch, HashSeed, KeyHash, Lsn, PartitionId, UnixMillis};

/// What the driver of a partition is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Prepare a segment of `len` bytes at `base`: zeroed, allocated, durable, and so is its name. Comes back as
    /// [`Partition::handle_prepared`] or [`Partition::handle_prepare_failed`].
    Prepare {
        /// The position of its first byte.
        base: Lsn,
        /// Its length in bytes.
        len: u64,
    },
    /// Write the superblock durably. Comes back as [`Partition::handle_superblock_written`]; a failure is fatal.
    WriteSuperblock(Superblock),
}

/// A tombstone: the deletion is in the log, but not yet committed.
struct Tombstone {
    hash: KeyHash,
    lsn: Lsn,
    end: Lsn,
}

/// One partition.
pub struct Partition<M> {
    log: Log<M>,
    index: Index,
    seed: HashSeed,
    superblock: Superblock,
    superblock_in_flight: Option<u64>,
    superblock_wanted: bool,
    /// What superblocks say from this generation on has to be in both slots. Zero: nothing has.
    both_slots_from: u64,
    /// Everything below is committed; never beyond what is durable here.
    committed: Lsn,
    /// What only a partition with replicas has.
    replication: Option<Box<Replication>>,
    /// Never goes back, so that an expired key does not return when the machine's clock does.
    /// Atomic only so that several threads may read a partition that nobody writes meanwhile.
    clock: AtomicU64,
    /// No start will begin with an earlier clock than this: a record of that time is committed.
    settled: UnixMillis,
    /// The end of a record, and its time: settled once it is committed.
    settling: (Lsn, UnixMillis),
    /// Nothing is appended here: it is somebody else's log that is read.
    is_read_only: bool,
    tombstones: VecDeque<Tombstone>,
    /// How many of them the index still points to: the rest were superseded before they were committed.
    indexed_tombstones: usize,
    expiries: Expiries,
    /// Whoever finds nothing waits for this: the end of the newest record that cleared the partition, or of what
    /// opening or cutting left, behind which deletions are not told from keys that never were.
    cleared_end: Lsn,
    idle_since: Lsn,
    /// Bytes at the end of the log that are taken to be in memory as they were written.
    hot_len: u64,
    /// Nothing in here is taken to be in memory.
    cold: Range<Lsn>,
    /// The key of a deletion that the partition itself appends.
    scratch: Vec<u8>,
}

/// What a partition holds, for people and metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PartitionStats {
    /// Keys, those included whose expiry has passed and that have not been swept yet.
    pub keys: u64,
    /// Keys with an expiry.
    pub expiring_keys: u64,
    /// The mean of the moments at which they expire.
    pub mean_expiry: Option<UnixMillis>,
    /// Bytes of the log on disk: segments in use and segments prepared.
    pub log_bytes: u64,
    /// Bytes of keys, values and operation headers that are still current.
    pub live_bytes: u64,
    /// Segments in use.
    pub segments: u64,
    /// Segments prepared.
    pub segments_prepared: u64,
    /// Bytes of memory that the index takes.
    pub index_bytes: u64,
    /// Where the log starts.
    pub start: Lsn,
    /// Where the log ends.
    pub appended: Lsn,
    /// Everything below has been handed to a flush.
    pub submitted: Lsn,
    /// Everything below has been flushed.
    pub durable: Lsn,
    /// The epoch that records are written in.
    pub epoch: Epoch,
}

impl<M: SegmentMemory> Partition<M> {
    /// Which partition this is.
    #[must_use]
    pub const fn id(&self) -> PartitionId {
        self.superblock.partition
    }

    /// The superblock as it stands in memory.
    #[must_use]
    pub const fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The hash of a key in this partition.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        self.seed.hash(key)
    }

    /// Brings the index entry of a key towards the processor before it is asked for.
    pub fn prefetch(&self, hash: KeyHash) {
        self.index.prefetch(hash);
    }

    /// Where the log ends.
    #[must_use]
    pub const fn appended(&self) -> Lsn {
        self.log.appended()
    }

    /// Everything below has been handed to a flush.
    #[must_use]
    pub const fn submitted(&self) -> Lsn {
        self.log.submitted()
    }

    /// Everything below has been flushed.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.log.durable()
    }

    /// Everything below is durable on as many replicas as the commit rule asks for, and here. Without followers, that
    /// is what is durable here.
    #[must_use]
    pub const fn committed(&self) -> Lsn {
        self.committed
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &Log<M> {
        &self.log
    }

    /// The segment that starts at `base`.
    #[must_use]
    pub fn segment(&self, base: Lsn) -> Option<&M> {
        self.log.segment(base).map(LogSegment::memory)
    }

    /// The segment that holds `lsn`, and its base.
    #[must_use]
    pub fn segment_holding(&self, lsn: Lsn) -> Option<(Lsn, &M)> {
        self.log.segment_of(lsn).map(|segment| (segment.base(), segment.memory()))
    }

    /// The committed records from `from` on: the change feed. [`Lsn::ZERO`] stands for the start of the log.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where `from` is no longer in the log.
    pub fn records(&self, from: Lsn) -> Result<Records<'_, M>, ReadError> {
        self.log.records(from, self.committed())
    }

    /// The bytes of the log from `from` to `upto`, or to its end: one part for each segment, in order.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where `from` is no longer in the log.
    pub fn bytes(&self, from: Lsn, upto: Lsn) -> Result<LogParts<'_, M>, ReadError> {
        self.log.bytes(from, upto)
    }

    /// The chain value of the record that ends at `lsn`; `None` where none is known to.
    #[must_use]
    pub fn chain_at(&self, lsn: Lsn) -> Option<Chain> {
        self.log.chain_at(lsn)
    }

    /// Takes only so many bytes at the end of the log to be in memory as they were verified: scans verify what is older
    /// once more, and [`verify_candidates`](Self::verify_candidates) does. Without this, all of it is.
    pub const fn doubt_beyond(&mut self, hot_len: u64) {
        self.hot_len = hot_len;
    }

    /// Takes nothing in `cold` to be in memory, whatever [`doubt_beyond`](Self::doubt_beyond) says, until told otherwise: it
    /// was written past the page cache. An empty range stands for nothing.
    pub const fn doubt_in(&mut self, cold: Range<Lsn>) {
        self.cold = cold;
    }

    /// Whether there are keys that expire.
    #[must_use]
    pub fn has_expiries(&self) -> bool {
        !self.expiries.is_empty()
    }

    /// What [`doubt_in`](Self::doubt_in) was told last.
    #[must_use]
    pub const fn cold(&self) -> &Range<Lsn> {
        &self.cold
    }

    /// Whether there is anything that may have come from the disk since it was verified.
    #[inline]
    #[must_use]
    pub const fn has_doubted(&self) -> bool {
        self.old_end().get() > 0 || self.cold.end.get() > 0
    }

    /// Whether the record at `lsn` may have come from the disk since it was verified.
    #[inline]
    #[must_use]
    pub const fn is_doubted(&self, lsn: Lsn) -> bool {
        let lsn = lsn.get();
        lsn < self.old_end().get() || (self.cold.start.get() <= lsn && lsn < self.cold.end.get())
    }

    /// Whether hardly anything that is written now will be current any more when `len` more bytes have been, to judge by what
    /// was written so long ago: less than a part in 1024 of the segment that ends there.
    #[must_use]
    pub fn is_overwritten_within(&self, len: u64) -> bool {
        let before = self.log.appended().get().saturating_sub(len);
        let mut older = self.log.segments().rev().skip_while(|segment| segment.end().get() > before);
        older.next().is_some_and(LogSegment::is_mostly_dead)
    }

    /// Nothing below is taken to be in memory, because it is [old](Self::doubt_beyond).
    #[must_use]
    pub const fn old_end(&self) -> Lsn {
        Lsn::new(self.log.appended().get().saturating_sub(self.hot_len))
    }

    /// As [`verify_at`](Self::verify_at), but of a record that is [doubted](Self::doubt_beyond) only.
    pub(crate) fn verify_doubted(&self, lsn: Lsn) -> Result<(), Damaged> {
        if self.is_doubted(lsn) { self.verify_at(lsn) } else { Ok(()) }
    }

    /// Looks once more at what stands at `lsn`, where a record starts or ends.
    ///
    /// # Errors
    /// [`Damaged`]: it is not what was written.
    pub fn verify_at(&self, lsn: Lsn) -> Result<(), Damaged> {
        self.log.verify_at(lsn)
    }

    /// Keys, those included whose expiry has passed and that have not been swept yet.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.index.len().saturating_sub(self.indexed_tombstones) as u64
    }

    /// Whether there are no keys.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the partition holds.
    #[must_use]
    pub fn stats(&self) -> PartitionStats {
        let segments = self.log.segments();
        let prepared = self.log.prepared_count() as u64;
        PartitionStats {
            keys: self.len(),
            expiring_keys: self.expiries.len() as u64,
            mean_expiry: self.expiries.mean(),
            log_bytes: self.log.segments().map(LogSegment::segment_len).sum::<u64>()
                + prepared * self.log.config().segment_len,
            live_bytes: self.log.segments().map(LogSegment::live_bytes).sum(),
            segments: segments.len() as u64,
            segments_prepared: prepared,
            index_bytes: self.index.memory_bytes() as u64,
            start: self.log.start(),
            appended: self.log.appended(),
            submitted: self.log.submitted(),
            durable: self.log.durable(),
            epoch: self.log.epoch(),
        }
    }

    /// The moment it is for this partition, which is never before one that it has seen.
    fn observe(&self, now: UnixMillis) -> UnixMillis {
        let seen = self.clock.load(Ordering::Relaxed);
        if now.get() <= seen {
            return UnixMillis::new(seen).unwrap_or(UnixMillis::MAX);
        }
        self.clock.fetch_max(now.get(), Ordering::Relaxed);
        now
    }

    /// The moment it is for this partition while the machine's clock shows `now`: what decides whether a key has expired, and
    /// what the life of a key counts from.
    #[must_use]
    pub fn clock(&self, now: UnixMillis) -> UnixMillis {
        self.observe(now)
    }

    /// Whether a flush is due though nothing was appended: for what took the place of a tail that was cut.
    #[must_use]
    pub const fn owes_flush(&self) -> bool {
        self.log.owes_flush()
    }

    /// The next flush to do, if there is something new and none in flight.
    pub fn poll_flush(&mut self) -> Option<FlushRequest> {
        self.settle_surgery();
        self.log.poll_flush()
    }

    /// As [`poll_flush`](Self::poll_flush), but of segments that are full: for a follower to which whole segments come,
    /// so that each is written to the disk once.
    pub fn poll_flush_full(&mut self) -> Option<FlushRequest> {
        self.settle_surgery();
        self.log.poll_flush_full()
    }

    /// A flush has succeeded. (One that fails ends the process and never comes here.)
    ///
    /// # Panics
    /// If it is not the one in flight: that is a bug of the driver.
    pub fn handle_flushed(&mut self, ticket: u64) {
        self.log.handle_flushed(ticket);
        self.advance_committed();
    }

    /// Moves the committed watermark as far as it may go, and lets go of the deletions below.
    fn advance_committed(&mut self) {
        let durable = self.log.durable();
        let committed =
            self.replication.as_ref().map_or(durable, |replication| replication.committed_told.min(durable));
        self.committed = self.committed.max(committed);
        let committed = self.committed;
        self.settle_clock();
        while let Some(tombstone) = self.tombstones.front()
            && tombstone.end <= committed
        {
            // Keys whose hashes share a fragment may also share a record. As long as another entry leads to a record
            // that an old version of the deleted key may be in, the tombstone stays and outweighs it.
            if !shares_fragment(&self.index, tombstone.hash) && self.index.remove(tombstone.hash, tombstone.lsn) {
                self.indexed_tombstones -= 1;
            }
            self.tombstones.pop_front();
        }
    }

    /// Takes note of the newest time that is committed, or that of a record shortly before.
    fn settle_clock(&mut self) {
        for _ in 0..2 {
            let (end, time) = self.settling;
            if end > self.committed {
                return;
            }
            self.settled = self.settled.max(time);
            self.settling = (self.log.appended(), self.log.newest_time());
        }
    }

    /// The next action to take. Ask again until there is none.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.settle_surgery();
        if let Some((base, len)) = self.log.poll_prepare() {
            return Some(Action::Prepare { base, len });
        }
        if self.superblock_owed() && self.superblock_in_flight.is_none() {
            self.superblock_wanted = false;
            self.superblock.generation += 1;
            let end = self.superblock.cut.unwrap_or(Lsn::new(u64::MAX));
            self.superblock.durable = self.log.durable().min(end);
            self.superblock.committed = self.committed.min(end);
            self.superblock.keys = self.index.len() as u64;
            self.superblock_in_flight = Some(self.superblock.generation);
            return Some(Action::WriteSuperblock(self.superblock));
        }
        None
    }

    /// A segment has been prepared.
    ///
    /// # Panics
    /// If it is not the one asked for: that is a bug of the driver.
    pub fn handle_prepared(&mut self, base: Lsn, memory: M) {
        self.log.handle_prepared(base, memory);
    }

    /// A segment could not be prepared. It is asked for again at the next tick.
    pub fn handle_prepare_failed(&mut self, base: Lsn, why: PrepareFailure) {
        self.log.handle_prepare_failed(base, why);
    }

    /// The superblock of this generation is durable.
    ///
    /// # Panics
    /// If it is not the one in flight: that is a bug of the driver.
    pub fn handle_superblock_written(&mut self, generation: u64) {
        assert_eq!(self.superblock_in_flight.take(), Some(generation), "superblocks are written one by one");
    }

    /// Time has passed. Call this a few times a second.
    ///
    /// A log that has been idle since the last tick writes its watermarks into the superblock, because no record bears
    /// witness to its own flush, and none to what was committed.
    pub fn handle_tick(&mut self, now: UnixMillis) {
        self.observe(now);
        self.log.retry_prepare();
        self.tick_surgery();
        let durable = self.log.durable();
        let is_idle = durable == self.log.appended() && durable == self.idle_since;
        if is_idle && self.superblock_lags() || self.owes_witness() || self.has_outgrown_its_hint() {
            self.superblock_wanted = true;
        }
        self.idle_since = durable;
    }

    /// Asks for a superblock that bears witness to everything durable and committed now: before an orderly end.
    pub fn want_superblock(&mut self) {
        if self.superblock_lags() {
            self.superblock_wanted = true;
        }
    }

    /// Whether the driver still owes the completion of a superblock write.
    #[must_use]
    pub const fn superblock_pending(&self) -> bool {
        self.superblock_owed() || self.superblock_in_flight.is_some()
    }

    /// Whether one more superblock is to be written.
    const fn superblock_owed(&self) -> bool {
        self.superblock_wanted || self.superblock.generation <= self.both_slots_from
    }

    /// Why no further segment could be prepared, if that is so: writes fail.
    #[must_use]
    pub const fn prepare_failure(&self) -> Option<PrepareFailure> {
        self.log.prepare_failure()
    }
}

#[cfg(test)]
pub(crate) mod tests;
