//! The fixed header of every record.

use thiserror::Error;

use super::{field, padded};
use crate::types::limits::RECORD_HEADER_LEN;
use crate::types::{ClusterId, Epoch, LogKey, Lsn, PartitionId, UnixMillis};

/// The checksum of a record's header under its log's key, which covers its body's checksum and its predecessor's `Chain`.
///
/// Two logs that agree on the chain at one position agree on everything before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Chain(u32);

impl Chain {
    /// The chain value that `sum` stands for.
    #[must_use]
    pub const fn new(sum: u32) -> Self {
        Self(sum)
    }

    /// The chain value as it is written down.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Where the chain of a partition's log begins, so that no log continues another partition's or cluster's.
    #[must_use]
    pub fn origin(cluster: ClusterId, partition: PartitionId) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&cluster.0);
        hasher.update(&partition.get().to_le_bytes());
        Self(hasher.finalize())
    }
}

/// What a record holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// One atomic batch of operations.
    Batch,
    /// Nothing: fills the rest of a segment. Its body is zeros and is not covered by a checksum.
    Pad,
    /// The start of an epoch. It has no body.
    Epoch,
}

impl RecordKind {
    const fn to_byte(self) -> u8 {
        match self {
            Self::Batch => 1,
            Self::Pad => 2,
            Self::Epoch => 3,
        }
    }

    /// The kind that a header names; the header is one that was verified before.
    pub(crate) fn of_header(header: &[u8]) -> Option<Self> {
        header.get(46).and_then(|byte| Self::from_byte(*byte))
    }

    const fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            1 => Some(Self::Batch),
            2 => Some(Self::Pad),
            3 => Some(Self::Epoch),
            _ => None,
        }
    }
}

/// The header of a record: all that is used before its body has been checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader {
    /// The checksum of the body under the log's key; that of nothing where the kind has no body, or a pad's.
    pub body_crc: u32,
    /// The chain value of the record before this one.
    pub prev: Chain,
    /// Bytes of the body, without padding.
    pub body_len: u32,
    /// Where the record stands.
    pub lsn: Lsn,
    /// The durable watermark when the record was written: everything below it had been flushed.
    pub durable: Lsn,
    /// The leader's clock when it wrote the record; never decreases along a log.
    pub time: UnixMillis,
    /// The leadership that wrote the record; never decreases along a log.
    pub epoch: Epoch,
    /// The partition whose log this is.
    pub partition: PartitionId,
    /// What the body holds.
    pub kind: RecordKind,
}

/// Why bytes are no record header.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HeaderError {
    /// All bytes are zero: nothing was ever written here.
    #[error("nothing was written here")]
    Blank,
    /// The checksum does not match.
    #[error("header checksum {found:#010x} instead of {expected:#010x}")]
    Checksum {
        /// What the bytes add up to.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// A kind, flag or time that this build does not know, under a checksum that matches.
    #[error("record kind {kind}, flags {flags:#04x}, time {time}: not known to this build")]
    Unknown {
        /// The kind byte.
        kind: u8,
        /// The flags byte.
        flags: u8,
        /// The time field.
        time: u64,
    },
}

impl RecordHeader {
    /// Bytes of the record with its padding: the next record starts this much further on.
    #[must_use]
    pub fn record_len(&self) -> u64 {
        padded(RECORD_HEADER_LEN as u64 + u64::from(self.body_len))
    }

    /// The bytes of this header in a log of this key, and the chain value that the next record names.
    #[must_use]
    pub fn encode(&self, key: LogKey) -> ([u8; RECORD_HEADER_LEN], Chain) {
        let mut bytes = [0; RECORD_HEADER_LEN];
        bytes[4..8].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.prev.0.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lsn.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.get().to_le_bytes());
        bytes[32..40].copy_from_slice(&self.time.get().to_le_bytes());
        bytes[40..44].copy_from_slice(&self.epoch.get().to_le_bytes());
        bytes[44..46].copy_from_slice(&self.partition.get().to_le_bytes());
        bytes[46] = self.kind.to_byte();
        let sum = key.header_sum(&bytes[4..]);
        bytes[0..4].copy_from_slice(&sum.to_le_bytes());
        (bytes, Chain(sum))
    }

    /// Reads a header and its chain value, in a log of this key.
    ///
    /// # Errors
    /// Says why the bytes cannot be believed.
    pub fn decode(bytes: &[u8; RECORD_HEADER_LEN], key: LogKey) -> Result<(Self, Chain), HeaderError> {
        let found = u32::from_le_bytes(field(bytes, 0));
        let expected = key.header_sum(&bytes[4..]);
        if found != expected {
            return Err(if is_blank(bytes) { HeaderError::Blank } else { HeaderError::Checksum { expected, found } });
        }
        let (kind, flags, time) = (bytes[46], bytes[47], u64::from_le_bytes(field(bytes, 32)));
        let (Some(kind), 0, Some(time)) = (RecordKind::from_byte(kind), flags, UnixMillis::new(time)) else {
            // Under one key in 2^32, the sum of zeros is zero.
            return Err(if is_blank(bytes) { HeaderError::Blank } else { HeaderError::Unknown { kind, flags, time } });
        };
        let header = Self {
            body_crc: u32::from_le_bytes(field(bytes, 4)),
            prev: Chain(u32::from_le_bytes(field(bytes, 8))),
            body_len: u32::from_le_bytes(field(bytes, 12)),
            lsn: Lsn::new(u64::from_le_bytes(field(bytes, 16))),
            durable: Lsn::new(u64::from_le_bytes(field(bytes, 24))),
            time,
            epoch: Epoch::new(u32::from_le_bytes(field(bytes, 40))),
            partition: PartitionId::new(u16::from_le_bytes(field(bytes, 44))),
            kind,
        };
        Ok((header, Chain(expected)))
    }
}

fn is_blank(bytes: &[u8; RECORD_HEADER_LEN]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}
