//! The bytes of records and segments.
//!
//! Owns the layouts described byte by byte in `docs/formats.md`. Little-endian everywhere, no implicit padding.
//! Fault model: any byte may be wrong. A record says with two checksums, of its header and of its body, whether it
//! is whole, and names its predecessor's checksum, so that records chain. Nothing here panics on bytes it is given.

mod archive;
mod header;
mod record;
mod segment;

pub(crate) use archive::write_batch;
pub use archive::{Batch, OP_LEN, OpKind, OpView, WriteOp, batch_len};
pub use header::{Chain, HeaderError, RecordHeader, RecordKind};
pub use record::{Record, RecordError, read_record, verify_record};
pub use segment::{SegmentFooter, SegmentHeader, SegmentHeaderError};

use crate::types::limits::RECORD_ALIGN;

/// `len` rounded up to the alignment of records.
#[must_use]
pub const fn padded(len: u64) -> u64 {
    len.next_multiple_of(RECORD_ALIGN as u64)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests;
