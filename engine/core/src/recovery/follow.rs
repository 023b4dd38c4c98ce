//! Following a log that somebody else writes.

use alloc::vec::Vec;

use super::scan::{Found, SegmentInfo, Stop, begin_segment, scan_segment};
use super::{RecoveryError, SegmentInput, refusal};
use crate::codec::{Record, SegmentHeader};
use crate::log::{LogSegment, LogStart, SegmentMemory};
use crate::superblock::Superblock;
use crate::types::limits::SEGMENT_HEADER_LEN;
use crate::types::{Lsn, UnixMillis};

/// Verifies what has been written behind the end of `start`, up to `limit`, and moves the end there.
///
/// The memory of the last segment shows more than before, and `added` are the segments behind it, in order. Calls
/// `visit` with every record that is new, in order, pads left out.
///
/// # Errors
/// [`RecoveryError`] where the log does not go on to `limit` unbroken; `start` then ends at the last good record.
pub(crate) fn follow<M: SegmentMemory>(
    superblock: &Superblock,
    start: &mut LogStart<M>,
    added: Vec<SegmentInput<M>>,
    limit: Lsn,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<(), RecoveryError> {
    let mut found = Found {
        end: start.end,
        record_end: start.end,
        chain: start.chain,
        epoch: start.epoch,
        time: start.segments.back().map_or(UnixMillis::ZERO, LogSegment::newest_time),
        durable: limit,
        ..Found::nothing(superblock)
    };
    let outcome = go_on(superblock, start, added, &mut found, visit);
    start.end = found.end;
    start.durable = found.end;
    start.chain = found.chain;
    start.epoch = found.epoch;
    outcome?;
    if found.end < limit {
        return Err(refusal(start.segments.iter().map(LogSegment::base), &found, limit));
    }
    Ok(())
}

fn go_on<M: SegmentMemory>(
    superblock: &Superblock,
    start: &mut LogStart<M>,
    added: Vec<SegmentInput<M>>,
    found: &mut Found,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<(), RecoveryError> {
    if let Some(last) = start.segments.back_mut()
        && !last.is_sealed()
    {
        let base = last.base();
        let header = SegmentHeader::decode(last.memory().published(0..SEGMENT_HEADER_LEN))
            .map_err(|cause| RecoveryError::CorruptSegment { base, part: "header", durable: found.durable, cause })?;
        let end = last.memory().published_end();
        found.segments.push(SegmentInfo { end, record_count: last.record_count(), newest_time: last.newest_time() });
        let sealed = scan_segment(superblock, &header, last.memory(), found, visit);
        if let Some(info) = found.segments.pop() {
            last.advance(info.end, info.record_count, info.newest_time);
        }
        if !sealed {
            return Ok(());
        }
    }
    for (base, mut memory) in added {
        if base != found.end {
            found.stop = Stop::NoSegment;
            break;
        }
        let Some(header) = begin_segment(superblock, base, &memory, found)? else { break };
        let sealed = scan_segment(superblock, &header, &memory, found, visit);
        if let Some(info) = found.segments.pop() {
            memory.publish(info.end);
            start.segments.push_back(LogSegment::recovered(base, memory, info.record_count, info.newest_time));
        }
        if !sealed {
            break;
        }
    }
    Ok(())
}
