//! Following the unbroken chain of records from the start of the log.

use alloc::vec::Vec;

use super::{RecoveryError, SegmentInput, header_is_foreign};
use crate::codec::{
    Chain, Record, RecordError, RecordKind, SegmentFooter, SegmentHeader, SegmentHeaderError, read_record,
};
use crate::log::SegmentMemory;
use crate::replication::History;
use crate::superblock::Superblock;
use crate::types::limits::{SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};
use crate::types::{Epoch, LogKey, Lsn, UnixMillis};

/// Why the chain of records ends where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// There is no further segment.
    NoSegment,
    /// The next segment's header is not whole, or does not continue the log.
    Header { base: Lsn, cause: SegmentHeaderError },
    /// The segment is full and its footer is not whole.
    Footer { base: Lsn, cause: SegmentHeaderError },
    /// There is no further whole record that continues the log.
    Record { cause: RecordError },
    /// The log was being cut here.
    Cut,
}

impl Stop {
    pub(super) const fn record_error(self) -> RecordError {
        match self {
            Self::Record { cause } => cause,
            Self::NoSegment | Self::Header { .. } | Self::Footer { .. } | Self::Cut => RecordError::NoRoom,
        }
    }
}

/// One segment that the log reaches into.
pub(super) struct SegmentInfo {
    pub(super) end: usize,
    pub(super) record_count: u64,
    pub(super) newest_time: UnixMillis,
}

/// Where the unbroken chain of records ends.
pub(super) struct Found {
    pub(super) segments: Vec<SegmentInfo>,
    pub(super) end: Lsn,
    /// Where the last record ends: before a footer and a header that may follow it.
    pub(super) record_end: Lsn,
    pub(super) history: History,
    /// Keys the checksums of the log's records.
    pub(super) key: LogKey,
    pub(super) chain: Chain,
    pub(super) epoch: Epoch,
    pub(super) time: UnixMillis,
    /// The highest durable watermark named by anything on the chain that was written here.
    pub(super) durable: Lsn,
    pub(super) stop: Stop,
}

impl Found {
    /// The log as far as it has been walked: nothing of it yet.
    pub(super) fn nothing(superblock: &Superblock) -> Self {
        Self {
            segments: Vec::new(),
            end: superblock.start,
            record_end: superblock.start,
            history: History::new(),
            key: superblock.log_key,
            chain: superblock.start_chain,
            epoch: Epoch::ZERO,
            time: UnixMillis::ZERO,
            durable: Lsn::ZERO,
            stop: Stop::NoSegment,
        }
    }

    fn ends_with(&mut self, superblock: &Superblock) -> bool {
        let is_cut = superblock.cut.is_some_and(|cut| self.record_end >= cut);
        if is_cut {
            self.stop = Stop::Cut;
        }
        is_cut
    }
}

pub(super) fn scan<M: SegmentMemory>(
    superblock: &Superblock,
    segments: &[SegmentInput<M>],
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Found, RecoveryError> {
    let mut found = Found::nothing(superblock);
    for (base, memory) in segments {
        if found.ends_with(superblock) {
            break;
        }
        // Where the segment before this one ended, the log goes on at the next base.
        if *base != found.end {
            found.stop = Stop::NoSegment;
            break;
        }
        match begin_segment(superblock, *base, memory, &mut found)? {
            Some(header) if !scan_segment(superblock, &header, memory, &mut found, visit) => break,
            Some(_) => {}
            None => break,
        }
    }
    Ok(found)
}

/// Reads the segment's header. `None`: the log ends before this segment.
pub(super) fn begin_segment<M: SegmentMemory>(
    superblock: &Superblock,
    base: Lsn,
    memory: &M,
    found: &mut Found,
) -> Result<Option<SegmentHeader>, RecoveryError> {
    let header = match SegmentHeader::decode(memory.unverified().0) {
        Ok(header) => header,
        Err(cause @ SegmentHeaderError::Version { .. }) => return Err(RecoveryError::Version { base, cause }),
        Err(cause) => {
            found.stop = Stop::Header { base, cause };
            return Ok(None);
        }
    };
    if header_is_foreign(&header, superblock, base) {
        return Err(RecoveryError::Foreign {
            base,
            cluster: header.cluster,
            partition: header.partition,
            found_base: header.base,
        });
    }
    if header.log_key != found.key {
        // A replica that had nothing took over the key of its leader with the first segment; see `Log::take_received`.
        let is_adopted = base == superblock.start && superblock.own_epoch == Superblock::OTHERS_ONLY;
        if !is_adopted {
            return Err(RecoveryError::ForeignKey { base });
        }
        found.key = header.log_key;
    }
    if header.len != memory.segment_len() {
        found.stop = Stop::Header { base, cause: SegmentHeaderError::Length { len: memory.segment_len() } };
        return Ok(None);
    }
    if header.chain != found.chain || header.epoch < found.epoch {
        found.stop = Stop::Header { base, cause: SegmentHeaderError::Magic };
        return Ok(None);
    }
    if superblock.is_own(header.epoch) {
        found.durable = found.durable.max(header.durable);
    }
    found.end = base.plus(SEGMENT_HEADER_LEN as u64);
    found.segments.push(SegmentInfo { end: SEGMENT_HEADER_LEN, record_count: 0, newest_time: found.time });
    Ok(Some(header))
}

/// Follows the records of one segment, the last of `found.segments`, from its `end` on. `true`: it is sealed, and the
/// log goes on at the next base.
pub(super) fn scan_segment<M: SegmentMemory>(
    superblock: &Superblock,
    header: &SegmentHeader,
    memory: &M,
    found: &mut Found,
    visit: &mut dyn FnMut(&Record<'_>),
) -> bool {
    let bytes = memory.unverified();
    // A follower's memory ends where its leader has committed, so there may be fewer bytes than the segment has.
    let limit = usize::try_from(header.len).map_or(0, |len| len - SEGMENT_FOOTER_LEN);
    let visible = limit.min(bytes.0.len());
    let at = found.segments.len() - 1;
    let mut offset = found.segments[at].end;
    while offset < limit {
        if found.ends_with(superblock) {
            return false;
        }
        let read = read_record(bytes, header.base, header.partition, found.key, offset, visible);
        let record = match read {
            Ok(record) if continues(&record, found.chain, found.epoch, found.time) => record,
            other => {
                let cause = other.map_or_else(|cause| cause, |record| link_error(&record, found.chain));
                found.stop = Stop::Record { cause };
                return false;
            }
        };
        if record.header.kind != RecordKind::Pad {
            visit(&record);
        }
        found.history.note(record.header.epoch, found.record_end);
        found.chain = record.chain;
        found.epoch = record.header.epoch;
        found.time = record.header.time;
        if superblock.is_own(found.epoch) {
            found.durable = found.durable.max(record.header.durable);
        }
        found.end = record.end();
        found.record_end = found.end;
        offset = usize::try_from(record.end().since(header.base)).unwrap_or(limit);
        let info = &mut found.segments[at];
        info.end = offset;
        info.record_count += 1;
        info.newest_time = found.time;
    }
    if found.ends_with(superblock) {
        return false;
    }
    let info = &mut found.segments[at];
    match SegmentFooter::decode(bytes.0.get(limit..).unwrap_or_default()) {
        Ok(footer)
            if footer.base == header.base
                && footer.chain == found.chain
                && footer.records_end == limit as u64
                && footer.record_count == info.record_count =>
        {
            found.end = header.base.plus(header.len);
            info.end = limit + SEGMENT_FOOTER_LEN;
            true
        }
        other => {
            let cause = other.err().unwrap_or(SegmentHeaderError::Magic);
            found.stop = Stop::Footer { base: header.base, cause };
            false
        }
    }
}

fn continues(record: &Record<'_>, chain: Chain, epoch: Epoch, time: UnixMillis) -> bool {
    let header = &record.header;
    header.prev == chain && header.epoch >= epoch && header.time >= time && header.durable <= header.lsn
}

const fn link_error(record: &Record<'_>, chain: Chain) -> RecordError {
    RecordError::Link { expected: chain.get(), found: record.header.prev.get() }
}
