//! The memory that a log appends into.

use core::ops::Range;

/// Bytes that nobody has verified yet. The one door out is the record reader of [`codec`](crate::codec).
#[derive(Clone, Copy)]
pub struct Unverified<'a>(pub &'a [u8]);

/// One segment's memory: a mapping of its file, or the simulator's pages.
///
/// Invariants, kept by the implementation and relied on by whoever holds a view of published bytes:
/// - bytes below the published end never change again while the segment lives, unless the log is cut there;
/// - only the holder of `&mut self` writes, and only at or above the published end.
///
/// Every replica of the partition has the same bytes at the same place.
pub trait SegmentMemory {
    /// Bytes of the whole segment, header and footer included.
    fn segment_len(&self) -> u64;

    /// Everything in the segment, not yet believed.
    ///
    /// For recovery and for offline tools: only while nobody writes the segment.
    fn unverified(&self) -> Unverified<'_>;

    /// A part of the published prefix.
    ///
    /// # Panics
    /// If the range reaches past the published end: that is a bug of the caller.
    fn published(&self, range: Range<usize>) -> &[u8];

    /// Where the published prefix ends.
    fn published_end(&self) -> usize;

    /// Makes everything below `end` immutable and readable.
    ///
    /// # Panics
    /// If `end` lies below the published end or past the segment: that is a bug of the caller.
    fn publish(&mut self, end: usize);

    /// Takes back what was published behind `end`: it may be written again.
    ///
    /// Only for a log that is being cut. Nobody holds a view of what is taken back: it was never confirmed to anybody,
    /// or it is lost by an operator's leave.
    ///
    /// # Panics
    /// If `end` lies above the published end: that is a bug of the caller.
    fn retract(&mut self, end: usize);

    /// A part of what is not published, to write to.
    ///
    /// # Panics
    /// If the range begins below the published end or reaches past the segment: that is a bug of the caller.
    fn write(&mut self, range: Range<usize>) -> &mut [u8];
}

/// Plain memory as a segment: for tests, and for whoever needs a log without a disk.
#[derive(Clone, Debug)]
pub struct VecMemory {
    bytes: rkyv::util::AlignedVec<16>,
    published: usize,
}

impl VecMemory {
    /// `len` bytes of zeros, nothing of them published.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        let mut bytes = rkyv::util::AlignedVec::with_capacity(len);
        bytes.resize(len, 0);
        Self { bytes, published: 0 }
    }

    /// These bytes, nothing of them published.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut memory = Self::zeroed(bytes.len());
        memory.bytes.copy_from_slice(bytes);
        memory
    }

    /// All bytes, published or not.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl SegmentMemory for VecMemory {
    fn segment_len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn unverified(&self) -> Unverified<'_> {
        Unverified(&self.bytes)
    }

    fn published(&self, range: Range<usize>) -> &[u8] {
        assert!(range.end <= self.published, "read past the published end");
        &self.bytes[range]
    }

    fn published_end(&self) -> usize {
        self.published
    }

    fn publish(&mut self, end: usize) {
        assert!(end >= self.published && end <= self.bytes.len(), "published end out of order");
        self.published = end;
    }

    fn retract(&mut self, end: usize) {
        assert!(end <= self.published, "only what was published is taken back");
        self.published = end;
    }

    fn write(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(range.start >= self.published, "write below the published end");
        &mut self.bytes[range]
    }
}
