//! The one door from unverified bytes to a record.

use thiserror::Error;

use super::{Batch, Chain, HeaderError, RecordHeader, RecordKind};
use crate::log::Unverified;
use crate::types::limits::RECORD_HEADER_LEN;
use crate::types::{LogKey, Lsn, PartitionId};

/// A record whose checksums match and whose body could be read.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its header.
    pub header: RecordHeader,
    /// The chain value that the next record names.
    pub chain: Chain,
    /// Its operations; `None` unless it is a [`RecordKind::Batch`].
    pub batch: Option<Batch<'a>>,
}

impl Record<'_> {
    /// Where the record ends, with its padding.
    #[must_use]
    pub fn end(&self) -> Lsn {
        self.header.lsn.plus(self.header.record_len())
    }
}

/// Why there is no record at a position.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecordError {
    /// There is no room for a header here.
    #[error("no room for a record")]
    NoRoom,
    /// The header cannot be believed.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The record was written for another place or partition.
    #[error("a record of partition {partition} at LSN {lsn}, which is not this place")]
    Misplaced {
        /// The partition that it names.
        partition: PartitionId,
        /// The position that it names.
        lsn: Lsn,
    },
    /// The record would reach past the end of the segment's records.
    #[error("a record of {len} bytes where only {room} are left")]
    Length {
        /// The length with padding.
        len: u64,
        /// What is left.
        room: u64,
    },
    /// The body's checksum does not match.
    #[error("body checksum {found:#010x} instead of {expected:#010x}")]
    BodyChecksum {
        /// What the bytes add up to.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// The body's checksum matches, but it is no archive that this build can read, or the padding is not zero.
    #[error("the body is not a batch of operations that this build knows")]
    Body,
    /// The record does not follow the one before it: checksum, epoch, time or watermark say so.
    #[error("the record does not continue the log: it names chain {found:#010x}, the log has {expected:#010x}")]
    Link {
        /// The chain value of the log.
        expected: u32,
        /// What the record names.
        found: u32,
    },
}

/// Reads the record at `offset` of a segment that starts at `base`, whose records have `key` and end at `limit`.
///
/// The record is checked by itself; whether it continues the log is for the caller to see, by its `prev`.
///
/// # Errors
/// Says why there is no whole record there. Reads nothing outside `segment[offset..limit]`.
pub fn read_record(
    segment: Unverified<'_>,
    base: Lsn,
    partition: PartitionId,
    key: LogKey,
    offset: usize,
    limit: usize,
) -> Result<Record<'_>, RecordError> {
    let Summed { header, chain, body } = summed(segment, base, partition, key, offset, limit)?;
    let batch = match header.kind {
        RecordKind::Batch => Some(Batch::checked(body).ok_or(RecordError::Body)?),
        RecordKind::Pad | RecordKind::Epoch => None,
    };
    Ok(Record { header, chain, batch })
}

/// Looks once more at a record that [`read_record`] has read or this process has written: where its checksums match, it is
/// what it was, so its operations need no check of their own: 0.55 of the time for a record of a thousand (bench
/// `record/verify_again`).
///
/// # Errors
/// As [`read_record`].
pub fn verify_record(
    segment: Unverified<'_>,
    base: Lsn,
    partition: PartitionId,
    key: LogKey,
    offset: usize,
    limit: usize,
) -> Result<(), RecordError> {
    summed(segment, base, partition, key, offset, limit).map(|_| ())
}

/// A record whose checksums match.
struct Summed<'a> {
    header: RecordHeader,
    chain: Chain,
    body: &'a [u8],
}

fn summed(
    segment: Unverified<'_>,
    base: Lsn,
    partition: PartitionId,
    key: LogKey,
    offset: usize,
    limit: usize,
) -> Result<Summed<'_>, RecordError> {
    let bytes = segment.0.get(offset..limit).ok_or(RecordError::NoRoom)?;
    let head = bytes.first_chunk::<RECORD_HEADER_LEN>().ok_or(RecordError::NoRoom)?;
    let (header, chain) = RecordHeader::decode(head, key)?;
    if header.partition != partition || header.lsn.get() != base.get().wrapping_add(offset as u64) {
        return Err(RecordError::Misplaced { partition: header.partition, lsn: header.lsn });
    }
    let room = bytes.len() as u64;
    let len = header.record_len();
    let (Ok(record_len), Ok(body_len), true) = (usize::try_from(len), usize::try_from(header.body_len), len <= room)
    else {
        return Err(RecordError::Length { len, room });
    };
    let (body, padding) = bytes[RECORD_HEADER_LEN..record_len].split_at(body_len);
    if padding.iter().any(|&byte| byte != 0) {
        return Err(RecordError::Body);
    }
    match header.kind {
        RecordKind::Batch => {
            let expected = key.body_sum(body);
            if expected != header.body_crc {
                return Err(RecordError::BodyChecksum { expected, found: header.body_crc });
            }
        }
        RecordKind::Pad => {
            if body.iter().any(|&byte| byte != 0) || header.body_crc != key.body_sum(&[]) {
                return Err(RecordError::Body);
            }
        }
        RecordKind::Epoch => {
            if body_len != 0 || header.body_crc != key.body_sum(&[]) {
                return Err(RecordError::Body);
            }
        }
    }
    Ok(Summed { header, chain, body })
}
