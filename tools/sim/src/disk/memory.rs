//! A segment's memory as a process maps it, which remembers what was written to it.

use std::cell::Cell;
use std::ops::Range;

use windrow_core::log::{SegmentMemory, Unverified, VecMemory};

/// A mapping of a simulated file. What is written becomes part of the page cache when the driver says so, which it
/// does after every step of the engine.
pub(crate) struct SimMemory {
    memory: VecMemory,
    dirty: Cell<Option<(usize, usize)>>,
}

impl SimMemory {
    pub(crate) fn map(bytes: &[u8]) -> Self {
        Self { memory: VecMemory::from_bytes(bytes), dirty: Cell::new(None) }
    }

    pub(crate) fn zeroed(len: usize) -> Self {
        Self { memory: VecMemory::zeroed(len), dirty: Cell::new(None) }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// What has been written since the last time this was asked, pieces between included.
    pub(crate) fn take_dirty(&self) -> Option<Range<usize>> {
        self.dirty.take().map(|(start, end)| start..end)
    }
}

impl SegmentMemory for SimMemory {
    fn segment_len(&self) -> u64 {
        self.memory.segment_len()
    }

    fn unverified(&self) -> Unverified<'_> {
        self.memory.unverified()
    }

    fn published(&self, range: Range<usize>) -> &[u8] {
        self.memory.published(range)
    }

    fn published_end(&self) -> usize {
        self.memory.published_end()
    }

    fn publish(&mut self, end: usize) {
        self.memory.publish(end);
    }

    fn retract(&mut self, end: usize) {
        self.memory.retract(end);
    }

    fn write(&mut self, range: Range<usize>) -> &mut [u8] {
        let (start, end) = self.dirty.get().unwrap_or((range.start, range.end));
        self.dirty.set(Some((start.min(range.start), end.max(range.end))));
        self.memory.write(range)
    }
}
