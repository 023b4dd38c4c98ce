//! The header at the start of every segment, and the footer at the end of every sealed one.

use thiserror::Error;

use super::{Chain, field};
use crate::superblock::FORMAT_VERSION;
use crate::types::limits::{
    SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN, SEGMENT_LEN_ALIGN, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN,
};
use crate::types::{ClusterId, Epoch, LogKey, Lsn, PartitionId};

const HEADER_MAGIC: [u8; 8] = *b"WINDROWL";
const FOOTER_MAGIC: [u8; 8] = *b"WINDROWF";

/// Says which log a segment belongs to and where it stands in it. Written when the segment comes into use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentHeader {
    /// The cluster that the log belongs to.
    pub cluster: ClusterId,
    /// The partition whose log this is.
    pub partition: PartitionId,
    /// The epoch in which the segment came into use.
    pub epoch: Epoch,
    /// The position of the segment's first byte.
    pub base: Lsn,
    /// Bytes of the segment, this header and the footer included.
    pub len: u64,
    /// The chain value that the segment's first record names.
    pub chain: Chain,
    /// The durable watermark when the segment came into use.
    pub durable: Lsn,
    /// Keys the checksums of the log's records; the same in all segments of a log.
    pub log_key: LogKey,
}

/// Why bytes are no segment header or footer.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SegmentHeaderError {
    /// All bytes are zero: the segment was prepared and never used, or not sealed.
    #[error("nothing was written here")]
    Blank,
    /// There are too few bytes.
    #[error("{len} bytes are too few")]
    Short {
        /// Bytes found.
        len: usize,
    },
    /// The first bytes are not those of this structure.
    #[error("not a Windrow segment")]
    Magic,
    /// The checksum does not match.
    #[error("checksum {found:#010x} instead of {expected:#010x}")]
    Checksum {
        /// What the bytes add up to.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// Written by another version of the format.
    #[error("format version {found}, but this build reads version {supported}")]
    Version {
        /// What is written.
        found: u32,
        /// What this build reads.
        supported: u32,
    },
    /// A length that no segment has.
    #[error("segment length {len} is out of range")]
    Length {
        /// The length written.
        len: u64,
    },
}

impl SegmentHeader {
    /// The bytes of this header.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_HEADER_LEN] {
        let mut bytes = [0; SEGMENT_HEADER_LEN];
        bytes[0..8].copy_from_slice(&HEADER_MAGIC);
        bytes[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.cluster.0);
        bytes[32..34].copy_from_slice(&self.partition.get().to_le_bytes());
        bytes[36..40].copy_from_slice(&self.epoch.get().to_le_bytes());
        bytes[40..48].copy_from_slice(&self.base.get().to_le_bytes());
        bytes[48..56].copy_from_slice(&self.len.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.chain.get().to_le_bytes());
        bytes[64..72].copy_from_slice(&self.durable.get().to_le_bytes());
        bytes[72..80].copy_from_slice(&self.log_key.to_bytes());
        seal_checksum(&mut bytes);
        bytes
    }

    /// Reads the header of a segment.
    ///
    /// # Errors
    /// Says why the bytes cannot be believed.
    pub fn decode(segment: &[u8]) -> Result<Self, SegmentHeaderError> {
        let bytes: &[u8; SEGMENT_HEADER_LEN] = checked(segment, HEADER_MAGIC)?;
        let len = u64::from_le_bytes(field(bytes, 48));
        if !(SEGMENT_LEN_MIN..=SEGMENT_LEN_MAX).contains(&len) || !len.is_multiple_of(SEGMENT_LEN_ALIGN) {
            return Err(SegmentHeaderError::Length { len });
        }
        Ok(Self {
            cluster: ClusterId(field(bytes, 16)),
            partition: PartitionId::new(u16::from_le_bytes(field(bytes, 32))),
            epoch: Epoch::new(u32::from_le_bytes(field(bytes, 36))),
            base: Lsn::new(u64::from_le_bytes(field(bytes, 40))),
            len,
            chain: Chain::new(u32::from_le_bytes(field(bytes, 56))),
            durable: Lsn::new(u64::from_le_bytes(field(bytes, 64))),
            log_key: LogKey::new(field(bytes, 72)),
        })
    }
}

/// Ends a sealed segment: it is never written again, and has these bytes on every replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentFooter {
    /// The position of the segment's first byte.
    pub base: Lsn,
    /// Where the records end, counted from the start of the segment.
    pub records_end: u64,
    /// How many records there are, pads included.
    pub record_count: u64,
    /// The segment's digest: the chain value of its last record, which covers every record before it.
    pub chain: Chain,
}

impl SegmentFooter {
    /// The bytes of this footer.
    #[must_use]
    pub fn encode(&self) -> [u8; SEGMENT_FOOTER_LEN] {
        let mut bytes = [0; SEGMENT_FOOTER_LEN];
        bytes[0..8].copy_from_slice(&FOOTER_MAGIC);
        bytes[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&self.records_end.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.record_count.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.chain.get().to_le_bytes());
        seal_checksum(&mut bytes);
        bytes
    }

    /// Reads a footer.
    ///
    /// # Errors
    /// Says why the bytes cannot be believed.
    pub fn decode(footer: &[u8]) -> Result<Self, SegmentHeaderError> {
        let bytes: &[u8; SEGMENT_FOOTER_LEN] = checked(footer, FOOTER_MAGIC)?;
        Ok(Self {
            base: Lsn::new(u64::from_le_bytes(field(bytes, 16))),
            records_end: u64::from_le_bytes(field(bytes, 24)),
            record_count: u64::from_le_bytes(field(bytes, 32)),
            chain: Chain::new(u32::from_le_bytes(field(bytes, 40))),
        })
    }
}

/// Both structures start alike: magic, checksum of everything else, version.
fn seal_checksum(bytes: &mut [u8]) {
    let sum = checksum(bytes);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[0..8]);
    hasher.update(&bytes[12..]);
    hasher.finalize()
}

fn checked<const N: usize>(bytes: &[u8], magic: [u8; 8]) -> Result<&[u8; N], SegmentHeaderError> {
    let Some(bytes) = bytes.first_chunk::<N>() else {
        return Err(SegmentHeaderError::Short { len: bytes.len() });
    };
    if bytes.iter().all(|&byte| byte == 0) {
        return Err(SegmentHeaderError::Blank);
    }
    if bytes[0..8] != magic {
        return Err(SegmentHeaderError::Magic);
    }
    let expected = checksum(bytes);
    let found = u32::from_le_bytes(field(bytes, 8));
    if expected != found {
        return Err(SegmentHeaderError::Checksum { expected, found });
    }
    let version = u32::from_le_bytes(field(bytes, 12));
    if version != FORMAT_VERSION {
        return Err(SegmentHeaderError::Version { found: version, supported: FORMAT_VERSION });
    }
    Ok(bytes)
}
