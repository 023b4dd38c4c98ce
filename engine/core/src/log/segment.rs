//! One segment in use.

use super::SegmentMemory;
use crate::codec::{Batch, Chain, RecordHeader, RecordKind, SegmentFooter, SegmentHeader, padded};
use crate::types::limits::{RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};
use crate::types::{LogKey, Lsn, UnixMillis};

/// One segment in use: its memory, and how far it is filled.
///
/// Invariant: the published prefix of the memory ends where the last record ends, or at the segment's end once it is
/// sealed.
pub struct LogSegment<M> {
    base: Lsn,
    memory: M,
    record_count: u64,
    newest_time: UnixMillis,
    live_bytes: u64,
}

impl<M: SegmentMemory> LogSegment<M> {
    /// Takes a prepared segment into use.
    pub(super) fn begin(header: SegmentHeader, mut memory: M, time: UnixMillis) -> Self {
        memory.write(0..SEGMENT_HEADER_LEN).copy_from_slice(&header.encode());
        memory.publish(SEGMENT_HEADER_LEN);
        Self { base: header.base, memory, record_count: 0, newest_time: time, live_bytes: 0 }
    }

    /// A segment as recovery found it; `memory` is published up to its last record.
    pub(crate) const fn recovered(base: Lsn, memory: M, record_count: u64, newest_time: UnixMillis) -> Self {
        Self { base, memory, record_count, newest_time, live_bytes: 0 }
    }

    /// Takes a prepared segment into use whose header came from the leader, and was believed.
    pub(super) fn begin_received(base: Lsn, mut memory: M, time: UnixMillis) -> Self {
        memory.publish(SEGMENT_HEADER_LEN);
        Self { base, memory, record_count: 0, newest_time: time, live_bytes: 0 }
    }

    /// Ends with the footer that came from the leader, and was believed.
    pub(super) fn seal_received(&mut self) {
        let end = usize::try_from(self.memory.segment_len()).expect("a segment fits the address space");
        self.memory.publish(end);
    }

    /// The memory, for a follower whose leader has written more of it.
    pub(crate) const fn memory_mut(&mut self) -> &mut M {
        &mut self.memory
    }

    /// Believes what a follower has verified: records up to `end`.
    pub(crate) fn advance(&mut self, end: usize, record_count: u64, newest_time: UnixMillis) {
        self.memory.publish(end);
        self.record_count = record_count;
        self.newest_time = newest_time;
    }

    /// The memory alone; the segment is out of the log.
    pub(crate) fn into_memory(self) -> M {
        self.memory
    }

    /// Lets a segment that was sealed end with its last record again: what follows is written once more. The footer goes,
    /// so that nothing is left behind the log's end wherever it is cut.
    pub(crate) fn unseal(&mut self) {
        let limit = usize::try_from(self.records_limit()).expect("a segment is mapped, so it fits the address space");
        if self.memory.published_end() > limit {
            self.memory.retract(limit);
            self.zero_tail();
        }
    }

    /// The position of the segment's first byte.
    #[must_use]
    pub const fn base(&self) -> Lsn {
        self.base
    }

    /// The position behind its last byte.
    pub(crate) fn end(&self) -> Lsn {
        self.base.plus(self.memory.segment_len())
    }

    /// Whether hardly anything in it is current any more: less than a part in 1024.
    #[must_use]
    pub fn is_mostly_dead(&self) -> bool {
        self.live_bytes < self.memory.segment_len() / 1024
    }

    /// Bytes of the whole segment.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.memory.segment_len()
    }

    /// The segment's memory.
    #[must_use]
    pub const fn memory(&self) -> &M {
        &self.memory
    }

    /// Bytes of operations that the index still points to.
    #[must_use]
    pub const fn live_bytes(&self) -> u64 {
        self.live_bytes
    }

    /// How many records there are, pads included.
    #[must_use]
    pub const fn record_count(&self) -> u64 {
        self.record_count
    }

    /// Whether the segment is sealed: never written again.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.memory.published_end() as u64 == self.memory.segment_len()
    }

    pub(crate) const fn add_live(&mut self, bytes: u32) {
        self.live_bytes += bytes as u64;
    }

    pub(crate) const fn remove_live(&mut self, bytes: u32) {
        self.live_bytes = self.live_bytes.saturating_sub(bytes as u64);
    }

    pub(crate) const fn set_live(&mut self, bytes: u64) {
        self.live_bytes = bytes;
    }

    pub(crate) const fn newest_time(&self) -> UnixMillis {
        self.newest_time
    }

    pub(super) fn contains(&self, lsn: Lsn) -> bool {
        self.base <= lsn && lsn.since(self.base) < self.memory.segment_len()
    }

    /// Where the records may reach to, counted from the start of the segment.
    pub(crate) fn records_limit(&self) -> u64 {
        self.memory.segment_len() - SEGMENT_FOOTER_LEN as u64
    }

    /// Whether a record of `len` bytes fits: it must fill the segment, or leave room for a pad.
    pub(super) fn has_room(&self, len: u64) -> bool {
        if self.is_sealed() {
            return false;
        }
        let end = self.memory.published_end() as u64 + len;
        end == self.records_limit() || end + RECORD_HEADER_LEN as u64 <= self.records_limit()
    }

    /// Appends a record that has room; `fill` writes its body. Returns the chain value.
    pub(super) fn append(&mut self, mut header: RecordHeader, key: LogKey, fill: impl FnOnce(&mut [u8])) -> Chain {
        let start = self.memory.published_end();
        let len = usize::try_from(header.record_len()).expect("a record is shorter than its segment");
        let body_len = header.body_len as usize;
        assert!(self.has_room(len as u64), "append comes after reserve");
        assert_eq!(header.lsn, self.base.plus(start as u64), "a record stands where its header says");
        let bytes = self.memory.write(start..start + len);
        let (head, rest) = bytes.split_at_mut(RECORD_HEADER_LEN);
        let (body, padding) = rest.split_at_mut(body_len);
        fill(body);
        padding.fill(0);
        header.body_crc = key.body_sum(body);
        let (encoded, chain) = header.encode(key);
        head.copy_from_slice(&encoded);
        self.memory.publish(start + len);
        self.record_count += 1;
        self.newest_time = header.time;
        chain
    }

    /// Fills the rest with a pad record and ends with the footer. Returns the chain value.
    pub(super) fn seal(&mut self, mut pad: RecordHeader, key: LogKey, chain: Chain) -> Chain {
        let start = self.memory.published_end();
        let limit = usize::try_from(self.records_limit()).expect("a segment is mapped, so it fits the address space");
        let mut chain = chain;
        if start < limit {
            let rest = limit - start;
            pad.body_len = u32::try_from(rest - RECORD_HEADER_LEN).expect("a segment is shorter than 4 GiB");
            let (encoded, pad_chain) = pad.encode(key);
            let bytes = self.memory.write(start..limit);
            bytes[..RECORD_HEADER_LEN].copy_from_slice(&encoded);
            self.memory.publish(limit);
            self.record_count += 1;
            chain = pad_chain;
        }
        let footer =
            SegmentFooter { base: self.base, records_end: limit as u64, record_count: self.record_count, chain };
        self.memory.write(limit..limit + SEGMENT_FOOTER_LEN).copy_from_slice(&footer.encode());
        self.memory.publish(limit + SEGMENT_FOOTER_LEN);
        chain
    }

    /// Ends with the record that ends at `end`; what was behind it is zeros from now on, also what was received and not
    /// published, up to `dirty`.
    pub(super) fn cut(&mut self, end: usize, record_count: u64, newest_time: UnixMillis, dirty: Lsn) {
        let received = dirty.get().saturating_sub(self.base.get()).min(self.memory.segment_len());
        let used =
            usize::try_from(received).expect("a segment fits the address space").max(self.memory.published_end());
        self.memory.retract(end);
        self.memory.write(end..used).fill(0);
        self.record_count = record_count;
        self.newest_time = newest_time;
    }

    /// Overwrites everything behind the last record with zeros.
    pub(crate) fn zero_tail(&mut self) {
        let len = usize::try_from(self.memory.segment_len()).expect("a segment fits the address space");
        let end = self.memory.published_end();
        self.memory.write(end..len).fill(0);
    }

    /// The operations of the batch at `lsn`.
    #[inline]
    pub(super) fn batch_at(&self, lsn: Lsn) -> Batch<'_> {
        let start = self.offset_of(lsn) + RECORD_HEADER_LEN;
        let end = start + self.body_len_at(lsn);
        // A length that reaches too far was not written so: the page came back from the disk with other bytes.
        Batch::trusted(if end <= self.memory.published_end() { self.memory.published(start..end) } else { &[] })
    }

    /// The batches of the segment in order, and where they stand.
    pub(crate) fn batches(&self) -> impl Iterator<Item = (Lsn, Batch<'_>)> {
        self.batches_from(self.base.plus(SEGMENT_HEADER_LEN as u64))
    }

    /// The batches of the segment from `next` on, where a record starts, in order, and where they stand.
    pub(crate) fn batches_from(&self, mut next: Lsn) -> impl Iterator<Item = (Lsn, Batch<'_>)> {
        let end = (self.memory.published_end() as u64).min(self.records_limit());
        core::iter::from_fn(move || {
            while next.plus(RECORD_HEADER_LEN as u64) <= self.base.plus(end) {
                let lsn = next;
                next = lsn.plus(self.record_len_at(lsn));
                let head = self.memory.published(self.offset_of(lsn)..self.offset_of(lsn) + RECORD_HEADER_LEN);
                if RecordKind::of_header(head) == Some(RecordKind::Batch) {
                    return Some((lsn, self.batch_at(lsn)));
                }
            }
            None
        })
    }

    /// Bytes of the record at `lsn`, with its padding.
    #[inline]
    pub(super) fn record_len_at(&self, lsn: Lsn) -> u64 {
        padded((RECORD_HEADER_LEN + self.body_len_at(lsn)) as u64)
    }

    #[inline]
    fn offset_of(&self, lsn: Lsn) -> usize {
        usize::try_from(lsn.since(self.base)).expect("a segment is mapped, so it fits the address space")
    }

    #[inline]
    fn body_len_at(&self, lsn: Lsn) -> usize {
        let start = self.offset_of(lsn);
        let head = self.memory.published(start..start + RECORD_HEADER_LEN);
        u32::from_le_bytes([head[12], head[13], head[14], head[15]]) as usize
    }
}
