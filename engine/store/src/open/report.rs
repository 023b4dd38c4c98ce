//! What opening a partition found and did.

use windrow_core::log::SegmentMemory;
use windrow_core::partition::RecoveredPartition;
use windrow_core::recovery::Cut;
use windrow_core::types::{Epoch, Lsn};

use crate::partition_dir::Listing;

/// What opening a partition found and did: for the log of whoever opened it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OpenReport {
    /// Segment files found.
    pub segments: usize,
    /// Their bytes.
    pub segment_bytes: u64,
    /// Where the log that was found ends.
    pub end: Lsn,
    /// Everything below was known to have been flushed.
    pub durable: Lsn,
    /// The tail that was cut. Nothing in it was ever confirmed.
    pub cut: Option<Cut>,
    /// The bases of segments that were removed: behind the cut, or of no use any more.
    pub removed: Vec<Lsn>,
    /// Files that were still being made; removed.
    pub temporary: Vec<String>,
    /// Files that are none of ours; left alone.
    pub unknown: Vec<String>,
    /// Segments whose cached bytes had not reached the disk, because a flush had failed. The disk was believed.
    pub cache_dropped: Vec<Lsn>,
    /// The epoch that the partition is written in.
    pub epoch: Epoch,
    /// There was no space for a segment: the partition can be read only, for now.
    pub out_of_space: bool,
}

impl OpenReport {
    pub(super) fn new<M: SegmentMemory>(
        recovered: &RecoveredPartition<M>,
        listing: &Listing,
        cache_dropped: Vec<Lsn>,
    ) -> Self {
        Self {
            segments: listing.segments.len(),
            segment_bytes: listing.segments.iter().map(|segment| segment.len).sum(),
            end: recovered.end(),
            durable: recovered.durable(),
            cut: recovered.cut().cloned(),
            removed: Vec::new(),
            temporary: listing.temporary.clone(),
            unknown: listing.unknown.clone(),
            cache_dropped,
            epoch: Epoch::ZERO,
            out_of_space: false,
        }
    }
}
