//! Segments as memory-mapped files, or files to be: what is appended may be memory of the process until it is flushed.
//!
//! Invariants, which the `unsafe` blocks of this crate rely on:
//! - **one writer**: the process that holds the data directory's lock has one [`MappedSegment`] per file, and only
//!   `&mut` access to it writes, only at or above the published end;
//! - **what is published is immutable**: bytes below the published end never change again, so `&[u8]` over them may
//!   be handed to any thread, for as long as the mapping lives. The one exception is a replica that cuts its log: its
//!   driver sees to it that nobody has a view of what is cut, which nobody was ever shown;
//! - **a mapped file is never truncated**, so that every byte of a mapping can be touched.
//!
//! Fault model: the disk may fail under a mapping; that is a SIGBUS, see [`sigbus`](crate::sigbus).

mod create;
mod map;
mod prefetch;
mod residency;
mod staging;
mod tail;

pub use create::{PrepareError, create_segment, create_segment_in_tail};
pub use map::{MappedSegment, SegmentView};
pub use residency::cold_range;
pub use tail::TailMemory;

use windrow_core::types::Lsn;

const SUFFIX: &str = ".seg";
/// A log that grows by a GiB a second reaches this after 292 years; positions beyond could overflow.
const BASE_MAX: u64 = u64::MAX / 2;
/// Decimal digits of the largest LSN, so that names sort as the log does.
const DIGITS: usize = 20;

/// The file name of the segment at `base`.
#[must_use]
pub fn segment_file_name(base: Lsn) -> String {
    format!("{:0width$}{SUFFIX}", base.get(), width = DIGITS)
}

/// The base in a segment's file name, or `None` where this is no such name, or names a place that no log reaches.
#[must_use]
pub fn parse_segment_file_name(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(SUFFIX)?;
    if digits.len() != DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|base| *base <= BASE_MAX).map(Lsn::new)
}

#[cfg(test)]
mod tests;
