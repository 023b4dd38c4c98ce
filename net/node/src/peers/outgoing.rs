//! What waits to be sent to one peer: messages as bytes, ranges of the log as numbers.
//!
//! Messages go first, so that a heartbeat is not late because a follower is far behind: what lies before it is at most
//! the batch that is being sent, whose length `Pace` bounds, and what the kernel has not sent, which the same length
//! bounds. A heartbeat that goes before a range says that less was sent. Ranges take turns, one of each partition.
//!
//! Bounded whatever the peer does: messages beyond [`QUEUE_LEN_MAX`] are dropped, and so is a range that cannot be
//! joined to the one of its partition that waits.

use std::collections::VecDeque;

use windrow_core::replication::{Body, Heartbeat, Message};
use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::replication::{FRAME_BODY_LEN_MAX, FRAME_HEADER_LEN, encode};

use super::host::{Piece, Range};
use super::limits::{GATHER_LEN_MAX, GATHER_MAX, LARGE_LEN_MIN, QUEUE_LEN_MAX};
use crate::ring::Part;

/// What waits to be sent to one peer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Whole frames.
    frames: Vec<u8>,
    /// Ranges, at most one of each partition, in the order of their turns.
    ranges: VecDeque<(PartitionId, Range)>,
    /// What was to be sent and is being read from disk.
    aside: Option<Batch>,
}

/// Parts that are sent together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) parts: VecDeque<Part>,
    /// Bytes of the first part that have been sent.
    pub(super) offset: usize,
    /// Some of it may have to be read from disk first.
    pub(super) may_be_cold: bool,
    /// How many ranges are in it.
    pub(super) ranges: u64,
    /// The partition of the first range, and where that begins.
    first: Option<(PartitionId, Lsn)>,
}

impl Batch {
    /// Messages only.
    fn of(frames: Vec<u8>) -> Self {
        let parts = (!frames.is_empty()).then_some(Part::Bytes(frames)).into_iter().collect();
        Self { parts, ..Self::default() }
    }

    /// How many bytes it has.
    pub(super) fn len(&self) -> usize {
        self.parts.iter().map(Part::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Whether all of it is still there. Else the peer has been promised what this replica has cut since.
    pub(super) fn is_there(&self) -> bool {
        self.parts.iter().all(Part::is_there)
    }

    /// So many more bytes have been sent.
    pub(super) fn advance(&mut self, len: usize) {
        self.offset += len;
        while let Some(part) = self.parts.front()
            && self.offset >= part.len()
        {
            self.offset -= part.len();
            self.parts.pop_front();
        }
        assert!(!self.parts.is_empty() || self.offset == 0, "no more is sent than there is");
    }

    /// How many of the next `len` bytes are bytes of the log.
    pub(super) fn mapped_within(&self, len: usize) -> usize {
        let (mut left, mut skip, mut mapped) = (len, self.offset, 0);
        for part in &self.parts {
            let here = (part.len() - skip).min(left);
            if matches!(part, Part::Mapped(_)) {
                mapped += here;
            }
            left -= here;
            skip = 0;
        }
        mapped
    }
}

impl Outgoing {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty() && self.ranges.is_empty() && self.aside.is_none()
    }

    /// Bytes of messages that wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Appends what `write` writes: frames of the connection itself, which are few.
    pub(super) fn push_frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.frames);
    }

    /// Appends a message. Returns whether there was room.
    pub(super) fn push_message(&mut self, partition: PartitionId, message: &Message) -> bool {
        if self.len() + FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX > QUEUE_LEN_MAX {
            return false;
        }
        match &message.body {
            Body::Heartbeat(heartbeat) => {
                let Some(heartbeat) = self.before_ranges(partition, heartbeat) else { return false };
                let message = Message { epoch: message.epoch, body: Body::Heartbeat(heartbeat) };
                encode(partition, &message, &mut self.frames);
                return true;
            }
            // The follower has said anew where its log ends: what was to go on from somewhere else is of no use.
            Body::Resume(_) | Body::Cut { .. } | Body::Restart { .. } | Body::OlderEpochs { .. } => {
                self.forget_range(partition);
            }
            _ => {}
        }
        encode(partition, message, &mut self.frames);
        true
    }

    /// What a heartbeat says that is sent before the range that waits. `None` if that is the first one of a log: the
    /// heartbeat would say that nothing is being sent, and another one is due soon.
    fn before_ranges(&self, partition: PartitionId, heartbeat: &Heartbeat) -> Option<Heartbeat> {
        let waiting = self.ranges.iter().map(|(of, range)| (*of, range.from));
        let waiting = waiting.chain(self.aside.as_ref().and_then(|aside| aside.first));
        let unsent = waiting.filter(|(of, _)| *of == partition).map(|(_, from)| from).min();
        let sent = unsent.map_or(heartbeat.sent, |unsent| heartbeat.sent.min(unsent));
        (sent > Lsn::ZERO || heartbeat.sent == Lsn::ZERO).then_some(Heartbeat { sent, ..*heartbeat })
    }

    fn forget_range(&mut self, partition: PartitionId) {
        self.ranges.retain(|(of, _)| *of != partition);
        self.aside.take_if(|aside| aside.first.is_some_and(|(of, _)| of == partition));
    }

    /// Appends a range. Returns whether it can be joined to what waits.
    pub(super) fn push_range(&mut self, partition: PartitionId, range: Range) -> bool {
        let Some((_, waiting)) = self.ranges.iter_mut().find(|(of, _)| *of == partition) else {
            self.ranges.push_back((partition, range));
            return true;
        };
        if waiting.epoch != range.epoch {
            // Nothing of another epoch is sent any more.
            *waiting = range;
            return true;
        }
        if waiting.upto != range.from {
            return false;
        }
        waiting.upto = range.upto;
        waiting.committed = waiting.committed.max(range.committed);
        true
    }

    /// What was to be sent next is being read from disk: it comes back once it is no more.
    pub(super) fn put_aside(&mut self, batch: Batch) {
        assert!(self.aside.is_none(), "one at a time");
        self.aside = Some(Batch { may_be_cold: false, ..batch });
    }

    /// The next parts to be sent, with at most `len_max` bytes of the log; `piece` finds the bytes of ranges. Only
    /// messages while something is being read from disk. Empty if there is nothing to send.
    pub(super) fn next_batch(
        &mut self,
        len_max: usize,
        is_reading: bool,
        mut piece: impl FnMut(PartitionId, Range) -> Option<Piece>,
        mut dropped: impl FnMut(),
    ) -> Batch {
        let mut head = std::mem::take(&mut self.frames);
        if is_reading || self.aside.is_some() {
            return match self.aside.take_if(|_| head.is_empty() && !is_reading) {
                Some(aside) => aside,
                None => Batch::of(head),
            };
        }
        let mut batch = Batch::default();
        let (mut gathered, len_max) = (0, len_max.max(1));
        while gathered < len_max.min(GATHER_LEN_MAX)
            && batch.parts.len() + 2 <= GATHER_MAX
            && let Some((partition, wanted)) = self.ranges.pop_front()
        {
            let limit = wanted.from.plus((len_max - gathered) as u64).min(wanted.upto);
            let Some(found) = Found::collect(partition, Range { upto: limit, ..wanted }, &mut piece) else {
                dropped();
                continue;
            };
            if found.may_be_cold && !(batch.parts.is_empty() && head.is_empty()) {
                // What can be sent now does not wait for the disk.
                self.ranges.push_front((partition, wanted));
                break;
            }
            if found.upto < wanted.upto {
                self.ranges.push_back((partition, Range { from: found.upto, ..wanted }));
            }
            let body = Body::Bytes { from: wanted.from, to: found.upto, committed: wanted.committed };
            encode(partition, &Message { epoch: wanted.epoch, body }, &mut head);
            batch.parts.push_back(Part::Bytes(std::mem::take(&mut head)));
            batch.first.get_or_insert((partition, wanted.from));
            batch.ranges += 1;
            batch.may_be_cold = found.may_be_cold;
            gathered += found.len;
            let is_large = found.has_large;
            batch.parts.extend(found.parts);
            if is_large || batch.may_be_cold {
                break;
            }
        }
        if !head.is_empty() {
            batch.parts.push_back(Part::Bytes(head));
        }
        batch
    }
}

/// The bytes of one message.
#[derive(Default)]
struct Found {
    parts: Vec<Part>,
    upto: Lsn,
    len: usize,
    has_large: bool,
    may_be_cold: bool,
}

impl Found {
    /// `None` if there are none any more.
    fn collect(
        partition: PartitionId,
        range: Range,
        piece: &mut impl FnMut(PartitionId, Range) -> Option<Piece>,
    ) -> Option<Self> {
        let mut found = Self { upto: range.from, ..Self::default() };
        while found.upto < range.upto && found.parts.len() < GATHER_MAX / 2 {
            let Some(piece) = piece(partition, Range { from: found.upto, ..range }) else { break };
            let left = range.upto.since(found.upto);
            assert!(!piece.bytes.is_empty() && piece.bytes.len() as u64 <= left, "a piece of what was asked for");
            found.upto = found.upto.plus(piece.bytes.len() as u64);
            found.len += piece.bytes.len();
            found.has_large |= piece.bytes.len() >= LARGE_LEN_MIN;
            found.may_be_cold |= piece.may_be_cold;
            found.parts.push(Part::Mapped(piece.bytes));
        }
        (found.upto > range.from).then_some(found)
    }
}

#[cfg(test)]
#[path = "tests/outgoing.rs"]
mod tests;
