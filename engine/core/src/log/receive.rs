//! Receiving: bytes of the leader's log, put at the positions that they have there, and believed record by record.
//!
//! Everything between the log's end and what has been received is half a record, or the footer of a full segment with
//! the header of the next one: it is not published, may be received again from another leader, and is forgotten when the
//! stream breaks. Fault model: any byte may be wrong; a record that does not verify, or does not continue the log, is
//! refused, and the log stays as it was.

use alloc::boxed::Box;
use core::mem;

use thiserror::Error;

use super::{Log, LogSegment, SegmentMemory, Unverified};
use crate::codec::{
    Chain, Record, RecordError, RecordHeader, RecordKind, SegmentFooter, SegmentHeader, SegmentHeaderError, read_record,
};
use crate::types::limits::{RECORD_HEADER_LEN, SEGMENT_HEADER_LEN};
use crate::types::{Epoch, LogKey, Lsn, UnixMillis};

/// Why nothing can be received now, or what came was refused.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReceiveError {
    /// A segment is being prepared, or the superblock written: try again when that is done.
    #[error("not ready to receive yet")]
    NotReady,
    /// The next segment could not be prepared: the disk is full, or refuses.
    #[error("the next log segment could not be made")]
    NoSegment,
    /// This replica leads, or is alone.
    #[error("this replica does not follow")]
    NotFollower,
    /// The log is being cut or put aside.
    #[error("the log is being cut")]
    Busy,
    /// The bytes do not continue what is here.
    #[error("bytes from LSN {from} do not continue a log that was received up to LSN {expected}")]
    Gap {
        /// Where they start.
        from: Lsn,
        /// Where they should start.
        expected: Lsn,
    },
    /// What was received is not what a leader's log goes on with.
    #[error("what was received at LSN {lsn} is refused: {cause}")]
    Bad {
        /// Where the record starts, or the footer or header in front of it.
        lsn: Lsn,
        /// What is wrong.
        cause: BadBytes,
    },
}

/// What is wrong with bytes that were received.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum BadBytes {
    /// There is no record that continues the log.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The header of the next segment is not whole, or does not continue the log.
    #[error("the next segment's header: {0}")]
    Header(SegmentHeaderError),
    /// The footer of the segment is not whole, or not that of this segment.
    #[error("the segment's footer: {0}")]
    Footer(SegmentHeaderError),
    /// The record or segment is of an epoch that this replica has not promised.
    #[error("epoch {found} is newer than epoch {promised}, which was promised")]
    Epoch {
        /// The epoch that it names.
        found: Epoch,
        /// The newest epoch promised.
        promised: Epoch,
    },
}

/// A record that was received and is in the log now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) lsn: Lsn,
    pub(crate) end: Lsn,
    pub(crate) chain: Chain,
    pub(crate) epoch: Epoch,
    pub(crate) time: UnixMillis,
    pub(crate) is_batch: bool,
}

/// What a record has to continue.
struct Link {
    partition: crate::types::PartitionId,
    key: LogKey,
    chain: Chain,
    epoch: Epoch,
    time: UnixMillis,
    promised: Epoch,
}

impl<M: SegmentMemory> Log<M> {
    /// Everything below has arrived, whole records or not.
    #[must_use]
    pub const fn received(&self) -> Lsn {
        self.received
    }

    /// Forgets half a record: the stream starts over at the log's end.
    pub(crate) fn forget_received(&mut self) {
        self.received = self.appended;
        self.held_header = None;
    }

    /// Where the bytes of the leader's log from `from` on belong, and which of them may come next: not beyond `upto`, nor
    /// beyond the end of a segment, and the header of a segment alone.
    pub(crate) fn receive_into(&mut self, from: Lsn, upto: Lsn) -> Result<&mut [u8], ReceiveError> {
        assert!(from < upto, "something is to be received");
        if from == self.appended {
            self.forget_received();
        }
        if from != self.received {
            return Err(ReceiveError::Gap { from, expected: self.received });
        }
        let next = self.next_base();
        let (base, memory, end) = match self.segments.back_mut() {
            Some(last) if from < next => {
                let (base, end) = (last.base(), last.segment_len());
                (base, last.memory_mut(), end)
            }
            _ => {
                let Some((base, memory)) = self.prepared.front_mut() else {
                    let has_failed = self.prepare_failed.is_some();
                    return Err(if has_failed { ReceiveError::NoSegment } else { ReceiveError::NotReady });
                };
                let header_comes = from < base.plus(SEGMENT_HEADER_LEN as u64);
                let end = if header_comes { SEGMENT_HEADER_LEN as u64 } else { memory.segment_len() };
                (*base, memory, end)
            }
        };
        let end = end.min(upto.since(base));
        self.dirty = self.dirty.max(base.plus(end));
        Ok(memory.write(to_usize(from.since(base))..to_usize(end)))
    }

    /// The segment that bytes at `lsn` are received into.
    pub(crate) fn receiving_segment(&self, lsn: Lsn) -> Option<&M> {
        let ahead = || self.prepared.front().filter(|(base, _)| *base <= lsn).map(|(_, memory)| memory);
        self.segment_of(lsn).map(LogSegment::memory).or_else(ahead)
    }

    /// Bytes up to `upto` have arrived where [`receive_into`](Self::receive_into) said.
    pub(crate) fn note_received(&mut self, upto: Lsn) {
        assert!(self.received <= upto && upto <= self.dirty, "what arrives was waited for");
        self.received = upto;
    }

    /// Where the segment behind the one in use starts.
    pub(super) fn next_base(&self) -> Lsn {
        self.segments.back().map_or(self.start, |last| last.base().plus(last.segment_len()))
    }

    /// Takes the next record into the log, if it is there as a whole.
    pub(crate) fn take_received(&mut self, promised: Epoch) -> Result<Option<Taken>, BadBytes> {
        let mut link = Link {
            partition: self.config.partition,
            key: self.config.key,
            chain: self.chain,
            epoch: self.epoch,
            time: self.segments.back().map_or(UnixMillis::ZERO, LogSegment::newest_time),
            promised,
        };
        let received = self.received;
        if let Some(last) = self.segments.back_mut() {
            let limit = last.base().plus(last.records_limit());
            if self.appended < limit {
                let base = last.base();
                let Some(record) = examine(last.memory_mut(), base, self.appended, received.min(limit), limit, &link)?
                else {
                    return Ok(None);
                };
                self.take(record);
                return Ok(Some(record));
            }
        }
        let Some(header) = self.examine_header(promised)? else { return Ok(None) };
        if self.refits(header.len) {
            return Ok(None);
        }
        link.key = header.log_key;
        let Some((base, memory)) = self.prepared.front_mut() else { return Ok(None) };
        let first = base.plus(SEGMENT_HEADER_LEN as u64);
        let limit = base.plus(header.len - crate::types::limits::SEGMENT_FOOTER_LEN as u64);
        let Some(record) = examine(memory, *base, first, received.min(limit), limit, &link)? else { return Ok(None) };
        self.config.key = header.log_key;
        if let Some(last) = self.segments.back_mut() {
            last.seal_received();
        }
        if let Some((base, memory)) = self.prepared.pop_front() {
            self.segments.push_back(LogSegment::begin_received(base, memory, link.time));
        }
        self.take(record);
        Ok(Some(record))
    }

    fn take(&mut self, record: Taken) {
        if let Some(last) = self.segments.back_mut() {
            let end = to_usize(record.end.since(last.base()));
            last.advance(end, last.record_count() + 1, record.time);
        }
        self.appended = record.end;
        self.chain = record.chain;
        self.epoch = record.epoch;
    }

    /// Looks at the footer of the segment in use and at the header of the next one, once both have arrived.
    fn examine_header(&mut self, promised: Epoch) -> Result<Option<SegmentHeader>, BadBytes> {
        let next = self.next_base();
        if self.received < next.plus(SEGMENT_HEADER_LEN as u64) {
            return Ok(None);
        }
        if let Some(last) = self.segments.back_mut() {
            let (base, limit) = (last.base(), last.records_limit());
            let expected =
                SegmentFooter { base, records_end: limit, record_count: last.record_count(), chain: self.chain };
            let bytes = last.memory_mut().write(to_usize(limit)..to_usize(next.since(base)));
            match SegmentFooter::decode(bytes) {
                Ok(footer) if footer == expected => {}
                other => return Err(BadBytes::Footer(other.err().unwrap_or(SegmentHeaderError::Magic))),
            }
        }
        let header = match (&self.held_header, self.prepared.front_mut()) {
            (Some(held), _) => SegmentHeader::decode(&**held),
            (None, Some((_, memory))) => SegmentHeader::decode(memory.write(0..SEGMENT_HEADER_LEN)),
            (None, None) => return Ok(None),
        };
        let header = header.map_err(BadBytes::Header)?;
        let is_own = header.cluster == self.config.cluster && header.partition == self.config.partition;
        // A log that holds nothing has no key of its own yet: it is that of the leader whose bytes come first.
        let is_keyed = self.segments.is_empty() || header.log_key == self.config.key;
        if !is_own || !is_keyed || header.base != next || header.chain != self.chain || header.epoch < self.epoch {
            return Err(BadBytes::Header(SegmentHeaderError::Magic));
        }
        if header.epoch > promised {
            return Err(BadBytes::Epoch { found: header.epoch, promised });
        }
        Ok(Some(header))
    }

    /// Whether the leader's segment has another length than the one that stands prepared, which is then replaced. `true`
    /// until that is done.
    fn refits(&mut self, len: u64) -> bool {
        match self.prepared.front_mut() {
            Some((_, memory)) if memory.segment_len() == len => {
                if let Some(held) = self.held_header.take() {
                    memory.write(0..SEGMENT_HEADER_LEN).copy_from_slice(&*held);
                }
                false
            }
            Some((_, memory)) => {
                let mut held = Box::new([0; SEGMENT_HEADER_LEN]);
                match self.held_header.take() {
                    Some(earlier) => held = earlier,
                    None => held.copy_from_slice(memory.write(0..SEGMENT_HEADER_LEN)),
                }
                self.held_header = Some(held);
                self.next_len = len;
                self.discard_prepared();
                true
            }
            None => true,
        }
    }

    /// Lets go of every segment that stands prepared or is being prepared; their files are to be removed.
    pub(super) fn discard_prepared(&mut self) {
        self.discarded.extend(self.prepared.iter().map(|(base, _)| *base));
        self.prepared.clear();
        self.is_preparing_in_vain = self.preparing.is_some();
    }

    /// The files that are to be removed before further segments are prepared, asked for once.
    pub(crate) fn poll_discarded(&mut self) -> Option<alloc::vec::Vec<Lsn>> {
        if self.is_removing || self.discarded.is_empty() || self.is_preparing_in_vain {
            return None;
        }
        self.is_removing = true;
        Some(mem::take(&mut self.discarded))
    }

    /// The files are gone.
    pub(crate) fn handle_discarded(&mut self) {
        assert!(mem::take(&mut self.is_removing), "files are removed once");
    }

    /// Whether segments are being let go of.
    pub(crate) fn is_discarding(&self) -> bool {
        self.is_removing || !self.discarded.is_empty() || self.is_preparing_in_vain
    }

    /// Takes away what was received and is no whole record, and segments of another length: this log is written here.
    pub(super) fn end_receiving(&mut self) {
        self.forget_received();
        let dirty = mem::replace(&mut self.dirty, self.appended);
        if let Some(last) = self.segments.back_mut() {
            let end = last.base().plus(last.segment_len()).min(dirty);
            if end > self.appended {
                let base = last.base();
                let range = to_usize(self.appended.since(base))..to_usize(end.since(base));
                last.memory_mut().write(range).fill(0);
            }
        }
        for (base, memory) in &mut self.prepared {
            if *base < dirty {
                let end = memory.segment_len().min(dirty.since(*base));
                memory.write(0..to_usize(end)).fill(0);
            }
        }
        self.next_len = self.config.segment_len;
        let differs = |len| len != self.next_len;
        if self.prepared.iter().any(|(_, memory)| differs(memory.segment_len()))
            || self.preparing.is_some_and(|(_, len)| differs(len))
        {
            self.discard_prepared();
        }
    }
}

/// Looks at the record at `at` of a segment's memory, whose bytes have arrived up to `upto`. `None`: not all of it has.
fn examine<M: SegmentMemory>(
    memory: &mut M,
    base: Lsn,
    at: Lsn,
    upto: Lsn,
    limit: Lsn,
    link: &Link,
) -> Result<Option<Taken>, BadBytes> {
    if upto <= at {
        return Ok(None);
    }
    let bytes: &[u8] = memory.write(to_usize(at.since(base))..to_usize(upto.since(base)));
    let Some(head) = bytes.first_chunk::<RECORD_HEADER_LEN>() else { return Ok(None) };
    // The header says how much to wait for, so it is looked at before that has come.
    let (header, chain) = RecordHeader::decode(head, link.key).map_err(RecordError::from)?;
    if header.partition != link.partition || header.lsn != at {
        return Err(RecordError::Misplaced { partition: header.partition, lsn: header.lsn }.into());
    }
    let in_order = header.epoch >= link.epoch && header.time >= link.time && header.durable <= header.lsn;
    if header.prev != link.chain || !in_order {
        return Err(RecordError::Link { expected: link.chain.get(), found: header.prev.get() }.into());
    }
    if header.epoch > link.promised {
        return Err(BadBytes::Epoch { found: header.epoch, promised: link.promised });
    }
    let (len, room) = (header.record_len(), limit.since(at));
    // A record fills the segment, or leaves room for a pad.
    if len != room && len + RECORD_HEADER_LEN as u64 > room {
        return Err(RecordError::Length { len, room }.into());
    }
    if (bytes.len() as u64) < len {
        return Ok(None);
    }
    let record = read_record(Unverified(bytes), at, link.partition, link.key, 0, to_usize(len))?;
    if !names_the_past(&record) {
        return Err(RecordError::Body.into());
    }
    let end = at.plus(len);
    let is_batch = header.kind == RecordKind::Batch;
    Ok(Some(Taken { lsn: at, end, chain, epoch: header.epoch, time: header.time, is_batch }))
}

/// Whether a record supersedes only what came before it.
fn names_the_past(record: &Record<'_>) -> bool {
    record.batch.is_none_or(|batch| batch.iter().all(|op| op.supersedes < record.header.lsn))
}

fn to_usize(bytes: u64) -> usize {
    usize::try_from(bytes).expect("a segment is mapped, so it fits the address space")
}
