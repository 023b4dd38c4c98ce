//! Taking over a log whose writer is gone, from where a follower stood.

use alloc::vec::Vec;

use super::evidence::is_zero;
use super::scan::{Found, SegmentInfo, Stop, begin_segment, scan_segment};
use super::{Recovered, RecoveryError, SegmentInput, conclude};
use crate::codec::{Record, SegmentHeader};
use crate::log::{LogSegment, LogStart, SegmentMemory};
use crate::superblock::Superblock;
use crate::types::limits::SEGMENT_HEADER_LEN;
use crate::types::{Lsn, UnixMillis};

/// Finds out where the log ends that a follower has verified up to the end of `start`. The same decision as
/// [`recover`](super::recover), by the same rules, over what lies behind that end only.
///
/// `tail` is the memory of the last segment of `start`, unless that one is sealed, and `behind` are the segments
/// behind it; nobody writes any of them. Everything followed counts as flushed, as does everything below `witnessed`.
///
/// Only the writer's process is gone, not the machine: all that it stored is there, in the order in which it stored it.
/// It begins a segment with the header, so one whose start is blank was prepared and never used. Such a segment is not
/// looked through, which for each would take longer than all the rest.
///
/// # Errors
/// [`RecoveryError`] where the log cannot be believed.
///
/// # Panics
/// If `tail` is not the memory of the last segment: a bug of the driver.
pub(crate) fn take_over<M: SegmentMemory>(
    superblock: &Superblock,
    mut start: LogStart<M>,
    tail: Option<M>,
    behind: Vec<SegmentInput<M>>,
    witnessed: Lsn,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Recovered<M>, RecoveryError> {
    let mut found = Found {
        end: start.end,
        record_end: start.end,
        chain: start.chain,
        epoch: start.epoch,
        time: start.segments.back().map_or(UnixMillis::ZERO, LogSegment::newest_time),
        durable: start.end.max(witnessed),
        ..Found::nothing(superblock)
    };
    let mut inputs = Vec::with_capacity(1 + behind.len());
    let mut goes_on = true;
    if let Some(last) = start.segments.pop_back_if(|last| !last.is_sealed()) {
        let base = last.base();
        let memory = tail.expect("the last segment is open, so its memory is given");
        assert_eq!(memory.segment_len(), last.segment_len(), "the memory of the last segment");
        let header = SegmentHeader::decode(last.memory().published(0..SEGMENT_HEADER_LEN))
            .map_err(|cause| RecoveryError::CorruptSegment { base, part: "header", durable: found.durable, cause })?;
        found.segments.push(SegmentInfo {
            end: last.memory().published_end(),
            record_count: last.record_count(),
            newest_time: last.newest_time(),
        });
        goes_on = scan_segment(superblock, &header, &memory, &mut found, visit);
        inputs.push((base, memory));
    }
    let mut prepared = Vec::new();
    for (base, memory) in behind {
        if memory.unverified().0.get(..SEGMENT_HEADER_LEN).is_some_and(is_zero) {
            prepared.push((base, memory));
            continue;
        }
        if goes_on && base == found.end {
            goes_on = match begin_segment(superblock, base, &memory, &mut found)? {
                Some(header) => scan_segment(superblock, &header, &memory, &mut found, visit),
                None => false,
            };
        } else if goes_on {
            found.stop = Stop::NoSegment;
            goes_on = false;
        }
        inputs.push((base, memory));
    }
    let mut recovered = conclude(superblock, start.segments, inputs, &found)?;
    recovered.behind.extend(prepared);
    Ok(recovered)
}
