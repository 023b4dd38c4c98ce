//! The log of one partition: segments one after another, appended to in place.
//!
//! Owns the segments, the chain and the watermarks. Invariants: `durable <= submitted <= appended`; every byte below
//! `appended` is published and never changes; a record lies in one segment; one flush is in flight at most, and it
//! covers all that was appended when it was asked for. Fault model: a flush that fails never comes back here, because
//! it ends the process; preparing a segment may fail, which stops appends and nothing else.

mod cut;
mod memory;
mod ranges;
mod reader;
mod receive;
mod segment;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

pub(crate) use cut::CutPoint;
pub use memory::{SegmentMemory, Unverified, VecMemory};
pub use ranges::{Damaged, LogPart, LogParts};
pub use reader::{ReadError, Records};
pub(crate) use receive::Taken;
pub use receive::{BadBytes, ReceiveError};
pub use segment::LogSegment;
use thiserror::Error;

use crate::codec::{Batch, Chain, RecordHeader, RecordKind, SegmentHeader, padded, read_record};
use crate::types::limits::{PARTITION_LOG_LEN_MAX, RECORD_HEADER_LEN, SEGMENT_HEADER_LEN, record_len_max};
use crate::types::{ClusterId, Epoch, LogKey, Lsn, PartitionId, UnixMillis};

/// What a log needs to know about itself.
#[derive(Clone, Copy, Debug)]
pub struct LogConfig {
    /// The cluster that the log belongs to.
    pub cluster: ClusterId,
    /// The partition whose log this is.
    pub partition: PartitionId,
    /// Keys the checksums of its records.
    pub key: LogKey,
    /// Bytes of each new segment; see [`limits`](crate::types::limits) for the range.
    pub segment_len: u64,
    /// How many segments are kept prepared ahead of the one in use; at least one.
    pub segments_ahead: usize,
}

/// Asks for the flush of every segment from `first_base` to `last_base`; see [`Log::poll_flush`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FlushRequest {
    /// Comes back in [`Log::handle_flushed`].
    pub ticket: u64,
    /// The first segment to flush.
    pub first_base: Lsn,
    /// The last segment to flush.
    pub last_base: Lsn,
    /// Everything below is durable once the flush has succeeded.
    pub upto: Lsn,
}

/// Where a record was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// The record's position.
    pub lsn: Lsn,
    /// Where it ends: whoever confirms or shows it waits until the committed watermark reaches this.
    pub end: Lsn,
}

/// Why the log has no room for a record. Nothing was written.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RoomError {
    /// The next segment is still being prepared: try again after [`Log::handle_prepared`].
    #[error("the next log segment is still being prepared")]
    NotReady,
    /// The next segment could not be prepared: the disk is full.
    #[error("there is no space for the next log segment")]
    NoSpace,
    /// The next segment could not be prepared: the disk refuses, though it is not full.
    #[error("the disk refuses the next log segment")]
    Refused,
    /// The log is that of a follower: its leader writes it.
    #[error("this replica does not lead: only the leader appends")]
    NotLeader,
    /// The record is longer than a segment can hold.
    #[error("a record of {len} bytes is longer than the {max} bytes that a segment can hold")]
    TooLarge {
        /// Bytes of the record.
        len: u64,
        /// Bytes that a segment can hold.
        max: u64,
    },
    /// The live log has reached the length that the index can address.
    #[error("the partition's log has reached its greatest length of {PARTITION_LOG_LEN_MAX} bytes")]
    LogFull,
}

/// Why a segment could not be prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PrepareFailure {
    /// The disk is full, or a quota or limit reached.
    NoSpace,
    /// Anything else: the disk refuses.
    Refused,
}

/// The log of one partition.
pub struct Log<M> {
    config: LogConfig,
    start: Lsn,
    is_appendable: bool,
    segments: VecDeque<LogSegment<M>>,
    prepared: VecDeque<(Lsn, M)>,
    /// The segment that is being prepared, and its length.
    preparing: Option<(Lsn, u64)>,
    prepare_failed: Option<PrepareFailure>,
    /// Bytes of the segments to be prepared: a follower's are as long as its leader's.
    next_len: u64,
    /// No segment is prepared and nothing flushed: the log is about to be cut.
    is_paused: bool,
    /// Everything below has arrived from the leader, whole records or not.
    received: Lsn,
    /// Memory up to here may hold what was received.
    dirty: Lsn,
    /// The header of the leader's next segment, while one of its length is being prepared.
    held_header: Option<Box<[u8; SEGMENT_HEADER_LEN]>>,
    /// Segments that are out of use, whose files are to be removed.
    discarded: Vec<Lsn>,
    is_removing: bool,
    /// What is being prepared will be of no use.
    is_preparing_in_vain: bool,
    /// The log was cut: what took the place of the tail has to be flushed although nothing was appended.
    flush_wanted: bool,
    chain: Chain,
    epoch: Epoch,
    appended: Lsn,
    submitted: Lsn,
    durable: Lsn,
    flight: Option<FlushRequest>,
    next_ticket: u64,
}

/// Where a log continues: what recovery found, or nothing.
pub(crate) struct LogStart<M> {
    pub(crate) start: Lsn,
    pub(crate) segments: VecDeque<LogSegment<M>>,
    pub(crate) prepared: VecDeque<(Lsn, M)>,
    pub(crate) chain: Chain,
    pub(crate) epoch: Epoch,
    pub(crate) end: Lsn,
    pub(crate) durable: Lsn,
}

impl<M: SegmentMemory> Log<M> {
    /// Takes the log apart, for a follower that goes on from its end. What stands prepared is let go.
    pub(crate) fn suspend(&mut self) -> LogStart<M> {
        LogStart {
            start: self.start,
            segments: mem::take(&mut self.segments),
            prepared: VecDeque::new(),
            chain: self.chain,
            epoch: self.epoch,
            end: self.appended,
            durable: self.durable,
        }
    }

    pub(crate) fn new(config: LogConfig, start: LogStart<M>) -> Self {
        assert!(config.segments_ahead > 0, "a log prepares at least one segment ahead");
        assert!(start.durable <= start.end, "nothing beyond the end can be durable");
        Self {
            config,
            start: start.start,
            is_appendable: true,
            segments: start.segments,
            prepared: start.prepared,
            preparing: None,
            prepare_failed: None,
            next_len: config.segment_len,
            is_paused: false,
            received: start.end,
            dirty: start.end,
            held_header: None,
            discarded: Vec::new(),
            is_removing: false,
            is_preparing_in_vain: false,
            flush_wanted: false,
            chain: start.chain,
            epoch: start.epoch,
            appended: start.end,
            // What recovery accepted may still be in the page cache only: it counts as not yet flushed.
            submitted: start.durable,
            durable: start.durable,
            flight: None,
            next_ticket: 1,
        }
    }

    /// What this log was configured with.
    #[must_use]
    pub const fn config(&self) -> &LogConfig {
        &self.config
    }

    /// Where the log starts: the base of its first segment.
    #[must_use]
    pub const fn start(&self) -> Lsn {
        self.start
    }

    /// Where the log ends: everything below is in memory.
    #[must_use]
    pub const fn appended(&self) -> Lsn {
        self.appended
    }

    /// Everything below has been handed to a flush.
    #[must_use]
    pub const fn submitted(&self) -> Lsn {
        self.submitted
    }

    /// Everything below has been flushed.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.durable
    }

    /// The epoch that records are written in.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The chain value of the newest record.
    #[must_use]
    pub const fn chain(&self) -> Chain {
        self.chain
    }

    /// The time of the newest record.
    pub(crate) fn newest_time(&self) -> UnixMillis {
        self.segments.back().map_or(UnixMillis::ZERO, LogSegment::newest_time)
    }

    /// Whether a small record could be appended now.
    pub(crate) fn takes_records(&self) -> bool {
        let has_room = || self.segments.back().is_some_and(|segment| segment.has_room(RECORD_HEADER_LEN as u64));
        self.is_appendable && (!self.prepared.is_empty() || self.prepare_failed.is_none() || has_room())
    }

    /// The segments in use, in order.
    pub fn segments(&self) -> impl DoubleEndedIterator<Item = &LogSegment<M>> + ExactSizeIterator {
        self.segments.iter()
    }

    /// How many segments stand prepared.
    #[must_use]
    pub fn prepared_count(&self) -> usize {
        self.prepared.len()
    }

    /// The segment that starts at `base`.
    #[must_use]
    pub fn segment(&self, base: Lsn) -> Option<&LogSegment<M>> {
        self.segment_index(base).map(|index| &self.segments[index]).filter(|segment| segment.base() == base)
    }

    fn segment_index(&self, lsn: Lsn) -> Option<usize> {
        let first = self.segments.front()?.base();
        let distance = lsn.get().checked_sub(first.get())?;
        // Nearly always all segments have the same length, so the first guess is right.
        let guess = usize::try_from(distance / self.config.segment_len).ok()?;
        match self.segments.get(guess) {
            Some(segment) if segment.contains(lsn) => Some(guess),
            _ => {
                let index = self.segments.partition_point(|segment| segment.base() <= lsn).checked_sub(1)?;
                self.segments[index].contains(lsn).then_some(index)
            }
        }
    }

    /// The segment that holds `lsn`.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<&LogSegment<M>> {
        self.segment_index(lsn).map(|index| &self.segments[index])
    }

    pub(crate) fn segment_of_mut(&mut self, lsn: Lsn) -> Option<&mut LogSegment<M>> {
        self.segment_index(lsn).map(|index| &mut self.segments[index])
    }

    /// The operations of the batch at `lsn`, a position that the index holds.
    ///
    /// # Panics
    /// If no record of this log stands there: the index holds none but such positions.
    pub(crate) fn batch_at(&self, lsn: Lsn) -> Batch<'_> {
        let segment = self.segment_of(lsn).expect("the index points into the log");
        segment.batch_at(lsn)
    }

    /// The operations of the batch at `lsn`, if a whole record that has any stands there: for a position that nobody
    /// vouches for.
    pub(crate) fn verified_batch_at(&self, lsn: Lsn) -> Option<Batch<'_>> {
        let segment = self.segment_of(lsn)?;
        let end = segment.memory().published_end();
        let limit = end.min(usize::try_from(segment.records_limit()).ok()?);
        let offset = usize::try_from(lsn.since(segment.base())).ok()?;
        let published = Unverified(segment.memory().published(0..end));
        if offset >= limit {
            return None;
        }
        read_record(published, segment.base(), self.config.partition, self.config.key, offset, limit).ok()?.batch
    }

    /// Where the record at `lsn` ends, a position that the index holds.
    pub(crate) fn record_end(&self, lsn: Lsn) -> Lsn {
        let end = lsn.plus(self.segment_of(lsn).expect("the index points into the log").record_len_at(lsn));
        end.min(self.appended)
    }

    /// Nothing in the log is current any more.
    pub(crate) fn clear_live(&mut self) {
        self.segments.iter_mut().for_each(|segment| segment.set_live(0));
    }

    /// Lets records no longer be appended here, only received.
    pub(crate) fn receive_only(&mut self) {
        self.is_appendable = false;
        self.received = self.appended;
        self.dirty = self.dirty.max(self.appended);
    }

    /// Makes room for the first record of `epoch`, which a leader writes here from now on.
    ///
    /// # Panics
    /// If the epoch is not newer than what the log holds: nobody leads with such a log, so that is a bug.
    pub(crate) fn begin_epoch(&mut self, epoch: Epoch) -> Result<(), RoomError> {
        assert!(epoch > self.epoch, "every leadership has an epoch of its own");
        self.end_receiving();
        // The pad in front of the record is of the new epoch, too.
        let before = mem::replace(&mut self.epoch, epoch);
        self.is_appendable = true;
        let room = self.reserve(0);
        if room.is_err() {
            self.epoch = before;
            self.is_appendable = false;
        }
        room
    }

    /// Makes room for a record with a body of `body_len` bytes, opening the next segment if this one is full.
    pub(crate) fn reserve(&mut self, body_len: u64) -> Result<(), RoomError> {
        if !self.is_appendable {
            return Err(RoomError::NotLeader);
        }
        let len = padded(RECORD_HEADER_LEN as u64 + body_len);
        let max = record_len_max(self.config.segment_len);
        if len > max || u32::try_from(body_len).is_err() {
            return Err(RoomError::TooLarge { len, max });
        }
        if self.segments.back().is_some_and(|segment| segment.has_room(len)) {
            return Ok(());
        }
        if self.prepared.is_empty() {
            return Err(match self.prepare_failed {
                None => RoomError::NotReady,
                Some(PrepareFailure::NoSpace) => RoomError::NoSpace,
                Some(PrepareFailure::Refused) => RoomError::Refused,
            });
        }
        if self.appended.since(self.start) + 2 * self.config.segment_len >= PARTITION_LOG_LEN_MAX {
            return Err(RoomError::LogFull);
        }
        self.roll();
        Ok(())
    }

    /// Seals the segment in use and takes the next one. There must be one prepared.
    fn roll(&mut self) {
        // A log that ended with a sealed segment goes on in the next one without sealing it again.
        if let Some(full) = self.segments.back_mut().filter(|segment| !segment.is_sealed()) {
            let pad = RecordHeader {
                body_crc: self.config.key.body_sum(&[]),
                prev: self.chain,
                body_len: 0,
                lsn: self.appended,
                durable: self.durable,
                time: full.newest_time(),
                epoch: self.epoch,
                partition: self.config.partition,
                kind: RecordKind::Pad,
            };
            self.chain = full.seal(pad, self.config.key, self.chain);
        }
        let (base, memory) = self.prepared.pop_front().expect("checked by the caller");
        let header = SegmentHeader {
            cluster: self.config.cluster,
            partition: self.config.partition,
            epoch: self.epoch,
            base,
            len: memory.segment_len(),
            chain: self.chain,
            durable: self.durable,
            log_key: self.config.key,
        };
        let time = self.segments.back().map_or(UnixMillis::ZERO, LogSegment::newest_time);
        self.segments.push_back(LogSegment::begin(header, memory, time));
        self.appended = base.plus(SEGMENT_HEADER_LEN as u64);
    }

    /// Appends a record for which [`reserve`](Self::reserve) has made room; `fill` writes the body in place.
    pub(crate) fn append(
        &mut self,
        kind: RecordKind,
        time: UnixMillis,
        body_len: u32,
        fill: impl FnOnce(&mut [u8]),
    ) -> Appended {
        let lsn = self.appended;
        let header = RecordHeader {
            body_crc: 0,
            prev: self.chain,
            body_len,
            lsn,
            durable: self.durable,
            time,
            epoch: self.epoch,
            partition: self.config.partition,
            kind,
        };
        let segment = self.segments.back_mut().expect("reserve made room");
        self.chain = segment.append(header, self.config.key, fill);
        self.appended = lsn.plus(header.record_len());
        Appended { lsn, end: self.appended }
    }

    /// The next flush to do, if there is something new and none in flight.
    pub fn poll_flush(&mut self) -> Option<FlushRequest> {
        self.flush_upto(self.appended)
    }

    /// As [`poll_flush`](Self::poll_flush), but of full segments only: for a log that comes in whole segments.
    pub fn poll_flush_full(&mut self) -> Option<FlushRequest> {
        let full = |segment: &&LogSegment<M>| segment.base().plus(segment.records_limit()) <= self.appended;
        let last = self.segments.iter().rev().find(full)?;
        let upto = last.base().plus(last.records_limit());
        if upto <= self.submitted || self.flush_wanted { None } else { self.flush_upto(upto) }
    }

    fn flush_upto(&mut self, upto: Lsn) -> Option<FlushRequest> {
        let is_new = self.submitted != self.appended || self.flush_wanted;
        // A log that is being cut is flushed for that alone.
        let is_paused = self.is_paused && !self.flush_wanted;
        if self.flight.is_some() || !is_new || is_paused {
            return None;
        }
        let last = self.segments.iter().rev().find(|segment| segment.base() < upto).or(self.segments.back())?.base();
        let first = self.segment_of(self.submitted).map_or_else(|| self.segments[0].base(), LogSegment::base);
        let request = FlushRequest { ticket: self.next_ticket, first_base: first, last_base: last, upto };
        self.next_ticket += 1;
        self.flush_wanted = false;
        self.submitted = upto;
        self.flight = Some(request);
        Some(request)
    }

    /// The flush in flight, if there is one.
    #[must_use]
    pub const fn flush_in_flight(&self) -> Option<FlushRequest> {
        self.flight
    }

    /// A flush has succeeded.
    ///
    /// # Panics
    /// If it is not the one in flight: that is a bug of the driver.
    pub fn handle_flushed(&mut self, ticket: u64) {
        let flight = self.flight.take().expect("a flush completes once");
        assert_eq!(flight.ticket, ticket, "flushes complete in order");
        assert!(self.durable <= flight.upto && flight.upto <= self.submitted, "watermarks in order");
        self.durable = flight.upto;
    }

    /// The next segment to prepare: its base and its length. Asked for once.
    pub fn poll_prepare(&mut self) -> Option<(Lsn, u64)> {
        let is_enough = self.prepared.len() >= self.config.segments_ahead;
        if self.preparing.is_some()
            || self.prepare_failed.is_some()
            || is_enough
            || self.is_paused
            || self.is_discarding()
        {
            return None;
        }
        let base = match self.prepared.back() {
            Some((base, memory)) => base.plus(memory.segment_len()),
            None => self.next_base(),
        };
        self.preparing = Some((base, self.next_len));
        self.preparing
    }

    /// A segment has been prepared: it is zeroed and durable, and so is its name.
    ///
    /// # Panics
    /// If it is not the one that was asked for: that is a bug of the driver.
    pub fn handle_prepared(&mut self, base: Lsn, memory: M) {
        let asked = self.preparing.take();
        assert_eq!(asked, Some((base, memory.segment_len())), "a segment is prepared once, as long as asked for");
        if mem::take(&mut self.is_preparing_in_vain) {
            self.discarded.push(base);
        } else {
            self.prepared.push_back((base, memory));
        }
    }

    /// A segment could not be prepared. [`retry_prepare`](Self::retry_prepare) asks again.
    pub fn handle_prepare_failed(&mut self, base: Lsn, why: PrepareFailure) {
        let asked = self.preparing.take();
        assert_eq!(asked.map(|(asked, _)| asked), Some(base), "a segment is prepared once");
        self.prepare_failed = (!mem::take(&mut self.is_preparing_in_vain)).then_some(why);
    }

    /// Asks again for what could not be prepared.
    pub const fn retry_prepare(&mut self) {
        self.prepare_failed = None;
    }

    /// Why the last attempt to prepare a segment failed, if it did.
    #[must_use]
    pub const fn prepare_failure(&self) -> Option<PrepareFailure> {
        self.prepare_failed
    }
}

#[cfg(test)]
mod tests;
