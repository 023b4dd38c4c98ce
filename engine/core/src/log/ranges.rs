//! Ranges of the log as bytes, for sending, and the chain value at a record's end.

use core::ops::Range;

use thiserror::Error;

use super::{BadBytes, Log, LogSegment, ReadError, SegmentMemory, Unverified};
use crate::codec::{Chain, RecordError, RecordHeader, SegmentFooter, SegmentHeader, verify_record};
use crate::types::Lsn;
use crate::types::limits::{RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};

/// What was written and verified here once has changed since.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[error("segment {base:020} is damaged at offset {offset} (LSN {}): {cause}", base.plus(*offset))]
pub struct Damaged {
    /// The segment's base.
    pub base: Lsn,
    /// Where in the segment.
    pub offset: u64,
    /// What is wrong there.
    pub cause: BadBytes,
}

/// A part of the log that lies in one segment.
pub struct LogPart<'a, M> {
    /// The segment's base.
    pub base: Lsn,
    /// Which bytes of the segment these are; of its file, too.
    pub range: Range<usize>,
    /// The bytes.
    pub bytes: &'a [u8],
    /// The segment's memory.
    pub memory: &'a M,
}

/// The parts of a range of the log, one a segment, in order. Headers, footers and pads are part of the log.
pub struct LogParts<'a, M> {
    log: &'a Log<M>,
    next: Lsn,
    upto: Lsn,
}

impl<M: SegmentMemory> Log<M> {
    /// The bytes from `from` to `upto`, or to the end of the log.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where `from` lies before the log's first segment.
    pub fn bytes(&self, from: Lsn, upto: Lsn) -> Result<LogParts<'_, M>, ReadError> {
        if from < self.start {
            return Err(ReadError::Gone { lsn: from, start: self.start });
        }
        Ok(LogParts { log: self, next: from, upto: upto.min(self.appended) })
    }

    /// The chain value of the record that ends at `lsn`; `None` where none is known to.
    #[must_use]
    pub fn chain_at(&self, lsn: Lsn) -> Option<Chain> {
        if lsn == self.appended {
            return (self.appended > self.start).then_some(self.chain);
        }
        let before = Lsn::new(lsn.get().checked_sub(1)?);
        let segment = self.segment_of(before)?;
        let offset = usize::try_from(lsn.since(segment.base())).ok()?;
        let limit = usize::try_from(segment.records_limit()).ok()?;
        if offset == limit && segment.is_sealed() {
            let footer = SegmentFooter::decode(segment.memory().published(limit..limit + SEGMENT_FOOTER_LEN)).ok()?;
            return Some(footer.chain);
        }
        // The record behind it names it.
        let end = offset.checked_add(RECORD_HEADER_LEN)?;
        if end > limit.min(segment.memory().published_end()) {
            return None;
        }
        let head = segment.memory().published(offset..end).first_chunk()?;
        let (header, _) = RecordHeader::decode(head, self.config.key).ok()?;
        (header.lsn == lsn && header.partition == self.config.partition && has_record_before(segment, lsn))
            .then_some(header.prev)
    }

    /// The header of the record that was written at `lsn` of this segment; its body is not looked at.
    ///
    /// # Errors
    /// [`Damaged`]: no whole one stands there.
    pub(crate) fn header_in(&self, segment: &LogSegment<M>, lsn: Lsn) -> Result<RecordHeader, Damaged> {
        let base = segment.base();
        let offset = lsn.since(base);
        let damaged = |cause: RecordError| Damaged { base, offset, cause: cause.into() };
        let limit = segment.records_limit().min(segment.memory().published_end() as u64);
        let end = offset.saturating_add(RECORD_HEADER_LEN as u64);
        let (Ok(from), Ok(to), true) = (usize::try_from(offset), usize::try_from(end), end <= limit) else {
            return Err(damaged(RecordError::NoRoom));
        };
        let head = segment.memory().published(from..to).first_chunk().ok_or(damaged(RecordError::NoRoom))?;
        let (header, _) = RecordHeader::decode(head, self.config.key).map_err(|cause| damaged(cause.into()))?;
        if header.lsn != lsn {
            return Err(damaged(RecordError::Misplaced { partition: header.partition, lsn: header.lsn }));
        }
        let (len, room) = (header.record_len(), limit - offset);
        if len > room { Err(damaged(RecordError::Length { len, room })) } else { Ok(header) }
    }

    /// Looks once more at what stands at `lsn`, where a record starts or ends: the record, or the footer or the header in
    /// front of it. At the end of the log, and in front of its start, nothing does.
    ///
    /// # Errors
    /// [`Damaged`]: it is not what was written.
    pub fn verify_at(&self, lsn: Lsn) -> Result<(), Damaged> {
        let Some(segment) = self.segment_of(lsn).filter(|_| lsn < self.appended) else { return Ok(()) };
        let base = segment.base();
        let published = segment.memory().published_end();
        let bytes = Unverified(segment.memory().published(0..published));
        let limit = usize::try_from(segment.records_limit()).unwrap_or(published);
        let damaged = |offset: usize, cause: BadBytes| Damaged { base, offset: offset as u64, cause };
        let mut offset = usize::try_from(lsn.since(base)).unwrap_or(limit);
        if offset < SEGMENT_HEADER_LEN {
            let header = SegmentHeader::decode(bytes.0);
            header.map_err(|cause| damaged(0, BadBytes::Header(cause)))?;
            offset = SEGMENT_HEADER_LEN;
        }
        if offset < limit.min(published) {
            let verified =
                verify_record(bytes, base, self.config.partition, self.config.key, offset, limit.min(published));
            return verified.map_err(|cause| damaged(offset, cause.into()));
        }
        if !segment.is_sealed() {
            return Ok(());
        }
        let footer = SegmentFooter::decode(&bytes.0[limit..]);
        footer.map_err(|cause| damaged(limit, BadBytes::Footer(cause)))?;
        self.verify_at(base.plus(segment.segment_len()))
    }
}

/// Behind a segment's header, no record of this segment ends.
fn has_record_before<M: SegmentMemory>(segment: &LogSegment<M>, lsn: Lsn) -> bool {
    lsn > segment.base().plus(SEGMENT_HEADER_LEN as u64)
}

impl<'a, M: SegmentMemory> Iterator for LogParts<'a, M> {
    type Item = LogPart<'a, M>;

    fn next(&mut self) -> Option<LogPart<'a, M>> {
        if self.next >= self.upto {
            return None;
        }
        let segment = self.log.segment_of(self.next)?;
        let base = segment.base();
        let end = base.plus(segment.segment_len()).min(self.upto);
        let start = usize::try_from(self.next.since(base)).ok()?;
        let range = start..usize::try_from(end.since(base)).ok()?;
        self.next = end;
        Some(LogPart { base, bytes: segment.memory().published(range.clone()), range, memory: segment.memory() })
    }
}
