//! Cutting a replica's log where the leader's goes on otherwise, and beginning it anew elsewhere.

use alloc::vec::Vec;

use super::{Log, SegmentMemory};
use crate::codec::{Chain, RecordHeader};
use crate::types::limits::{RECORD_HEADER_LEN, SEGMENT_HEADER_LEN};
use crate::types::{Epoch, Lsn, UnixMillis};

/// The log up to a record's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CutPoint {
    pub(crate) to: Lsn,
    pub(crate) chain: Chain,
    epoch: Epoch,
    time: UnixMillis,
    /// The segment that holds the record, and how many records it has up to there; `None` at the log's start.
    segment: Option<(Lsn, u64)>,
}

impl<M: SegmentMemory> Log<M> {
    /// What the log is up to `to`; `None` where no record ends there. `start_chain` is what the log starts from.
    pub(crate) fn cut_point(&self, to: Lsn, start_chain: Chain) -> Option<CutPoint> {
        if to == self.start {
            let (epoch, time) = (Epoch::ZERO, UnixMillis::ZERO);
            return Some(CutPoint { to, chain: start_chain, epoch, time, segment: None });
        }
        let segment = self.segment_of(Lsn::new(to.get().checked_sub(1)?))?;
        let limit = segment.records_limit().min(segment.memory().published_end() as u64);
        let (mut offset, mut count, mut last) = (SEGMENT_HEADER_LEN as u64, 0, None);
        while offset < limit && segment.base().plus(offset) < to {
            let start = usize::try_from(offset).ok()?;
            let head = segment.memory().published(start..start + RECORD_HEADER_LEN).first_chunk()?;
            let (header, chain) = RecordHeader::decode(head, self.config.key).ok()?;
            offset += header.record_len();
            count += 1;
            last = Some((header, chain));
        }
        let (header, chain) = last?;
        (segment.base().plus(offset) == to).then_some(CutPoint {
            to,
            chain,
            epoch: header.epoch,
            time: header.time,
            segment: Some((segment.base(), count)),
        })
    }

    /// Where the part of the log behind `to` ends that lies in the same segment.
    pub(crate) fn end_beside(&self, point: &CutPoint) -> Lsn {
        let segment = point.segment.and_then(|(base, _)| self.segment(base));
        segment.map_or(point.to, |segment| self.appended.min(segment.base().plus(segment.records_limit())))
    }

    /// Neither flushes nor prepares from now on; what is under way may come back.
    pub(crate) const fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Whether nothing is under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.flight.is_none() && self.preparing.is_none() && !self.is_discarding()
    }

    /// Ends the log at `point`, in memory. The rest of its segment is zeros and has to be flushed, for which
    /// [`poll_flush`](Self::poll_flush) asks. Returns the segments that are no longer part of the log.
    pub(crate) fn cut(&mut self, point: &CutPoint) -> Vec<Lsn> {
        self.forget_received();
        let dirty = self.dirty;
        let keep = point.segment.map_or(0, |(base, _)| {
            self.segments.iter().position(|segment| segment.base() == base).map_or(0, |index| index + 1)
        });
        let gone = self.segments.drain(keep..).map(|segment| segment.base()).collect();
        self.discard_prepared();
        if let (Some(last), Some((base, count))) = (self.segments.back_mut(), point.segment) {
            let end = usize::try_from(point.to.since(base)).expect("a segment fits the address space");
            last.cut(end, count, point.time, dirty);
            self.flush_wanted = true;
        }
        self.appended = point.to;
        self.received = point.to;
        self.dirty = point.to;
        self.submitted = self.submitted.min(point.to);
        self.durable = self.durable.min(point.to);
        self.chain = point.chain;
        self.epoch = point.epoch;
        gone
    }

    /// Begins the log anew, in memory. Returns the segments that are no longer part of it.
    pub(crate) fn reset(&mut self, start: Lsn, chain: Chain) -> Vec<Lsn> {
        let gone = self.segments.drain(..).map(|segment| segment.base()).collect();
        self.discard_prepared();
        self.held_header = None;
        self.start = start;
        self.appended = start;
        self.received = start;
        self.dirty = start;
        self.submitted = start;
        self.durable = start;
        self.chain = chain;
        self.epoch = Epoch::ZERO;
        gone
    }

    /// Whether what took the place of a tail that was cut is not flushed yet.
    pub(crate) const fn owes_flush(&self) -> bool {
        self.flush_wanted || self.flight.is_some()
    }
}
