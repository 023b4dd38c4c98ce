//! What lies behind the end of the chain: zeros, remains, and whole records that bear witness to a watermark.

use alloc::vec::Vec;

use super::scan::Found;
use super::{SegmentInput, header_is_foreign};
use crate::codec::{RecordKind, SegmentHeader, read_record};
use crate::log::{SegmentMemory, Unverified};
use crate::superblock::Superblock;
use crate::types::Lsn;
use crate::types::limits::{RECORD_ALIGN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};

/// What lies behind the end of the chain.
#[derive(Default)]
pub(super) struct Evidence {
    /// The highest durable watermark that a whole record or segment header names.
    pub(super) durable: Lsn,
    /// Bytes behind the end in its own segment, up to the last that is not zero.
    pub(super) len: u64,
    pub(super) whole_records: u64,
    /// Further segments that hold something.
    pub(super) segments: Vec<Lsn>,
}

/// Looks at everything behind the end of the chain.
///
/// A record counts as evidence if it is whole, stands where it says, and is of the newest epoch on the chain or a
/// later one: older bytes belong to a tail that was cut before, whose watermarks were settled then. What a leader wrote
/// names the leader's watermarks, which say nothing of this copy.
pub(super) fn behind<M: SegmentMemory>(
    superblock: &Superblock,
    segments: &[SegmentInput<M>],
    found: &Found,
) -> Evidence {
    let mut evidence = Evidence::default();
    for (index, (base, memory)) in segments.iter().enumerate() {
        let bytes = memory.unverified();
        match found.segments.get(index) {
            Some(info) => {
                let last = index + 1 == found.segments.len();
                if last {
                    evidence.len = used_len(&bytes.0[info.end..]);
                    if evidence.len > 0 {
                        records(superblock, *base, bytes, info.end, found, &mut evidence);
                    }
                }
            }
            None if !is_zero(bytes.0) => {
                evidence.segments.push(*base);
                if let Ok(header) = SegmentHeader::decode(bytes.0)
                    && !header_is_foreign(&header, superblock, *base)
                    && header.log_key == found.key
                    && header.epoch >= found.epoch
                    && superblock.is_own(header.epoch)
                {
                    evidence.durable = evidence.durable.max(header.durable);
                }
                records(superblock, *base, bytes, SEGMENT_HEADER_LEN, found, &mut evidence);
            }
            None => {}
        }
    }
    evidence
}

/// Bytes up to the last that is not zero. Looks at large parts first, since nearly all are zeros, and from front to back,
/// since that is how a disk reads ahead.
fn used_len(bytes: &[u8]) -> u64 {
    const PART: usize = 4096;
    let parts = bytes.chunks(PART).zip((PART..).step_by(PART));
    let end = parts.filter(|(part, _)| !is_zero(part)).last().map_or(0, |(_, end)| end.min(bytes.len()));
    bytes[..end].iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1)
}

/// Compares the bytes with themselves, one further on: that runs at the speed of memory, as a loop over bytes does not.
pub(super) fn is_zero(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == 0 && bytes[..rest.len()] == *rest,
    }
}

/// Looks for whole records at every place where one may start. Such a place may lie in a value, which has any bytes that
/// a client chose; what a client cannot make is a checksum under the log's key.
fn records(
    superblock: &Superblock,
    base: Lsn,
    bytes: Unverified<'_>,
    from: usize,
    found: &Found,
    evidence: &mut Evidence,
) {
    let limit = bytes.0.len().saturating_sub(SEGMENT_FOOTER_LEN);
    let mut offset = from;
    while offset < limit {
        // The record's own position is a cheap and strong filter before its checksums.
        let names_itself = bytes
            .0
            .get(offset + 16..offset + 24)
            .is_some_and(|field| field.iter().copied().eq(base.get().wrapping_add(offset as u64).to_le_bytes()));
        let record = if names_itself {
            read_record(bytes, base, superblock.partition, found.key, offset, limit).ok()
        } else {
            None
        };
        match record {
            Some(record) if record.header.epoch >= found.epoch && record.header.durable <= record.header.lsn => {
                if superblock.is_own(record.header.epoch) {
                    evidence.durable = evidence.durable.max(record.header.durable);
                }
                evidence.whole_records += u64::from(record.header.kind != RecordKind::Pad);
                offset = usize::try_from(record.end().since(base)).unwrap_or(limit);
            }
            _ => offset += RECORD_ALIGN,
        }
    }
}
