//! What waits to be sent to one peer: messages as bytes, ranges of the log as numbers.
//!
//! Bounded whatever the peer does: messages beyond [`QUEUE_LEN_MAX`] are dropped, and so is a range that cannot be
//! joined to one that waits. Ranges keep their place among the messages of their partition, but for heartbeats and
//! acknowledgements, which a range that is joined to an earlier one may overtake: a follower that has more than a
//! heartbeat says misses nothing.

use std::collections::VecDeque;

use windrow_core::replication::limits::RANGE_LEN_MAX;
use windrow_core::replication::{Body, Message};
use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::replication::{FRAME_BODY_LEN_MAX, FRAME_HEADER_LEN, encode};

use super::host::{Piece, Range};
use super::limits::{GATHER_LEN_MAX, GATHER_MAX, LARGE_LEN_MIN, QUEUE_LEN_MAX};
use crate::ring::Part;

/// What a waiting range costs, against [`QUEUE_LEN_MAX`].
const RANGE_COST: usize = 64;

#[derive(Debug)]
enum Item {
    /// Whole frames.
    Frames(Vec<u8>),
    /// A range.
    Range(PartitionId, Range),
}

/// What waits to be sent to one peer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    items: VecDeque<Item>,
    /// The number of the first item.
    first: u64,
    /// What the items cost.
    len: usize,
    /// The number of the range of each partition that a later one may be joined to.
    joinable: Vec<(PartitionId, u64)>,
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
}

impl Batch {
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
        self.items.is_empty()
    }

    /// What waits, in bytes or thereabouts.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The frames at the end of the queue, to be appended to.
    fn frames(&mut self) -> &mut Vec<u8> {
        if !matches!(self.items.back(), Some(Item::Frames(_))) {
            self.items.push_back(Item::Frames(Vec::new()));
        }
        match self.items.back_mut() {
            Some(Item::Frames(frames)) => frames,
            _ => unreachable!("pushed just now"),
        }
    }

    /// Appends what `write` writes: frames of the connection itself, which are few.
    pub(super) fn push_frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let frames = self.frames();
        let before = frames.len();
        write(frames);
        let added = frames.len() - before;
        self.len += added;
    }

    /// Appends a message. Returns whether there was room.
    pub(super) fn push_message(&mut self, partition: PartitionId, message: &Message) -> bool {
        if self.len + FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX > QUEUE_LEN_MAX {
            return false;
        }
        if !matches!(message.body, Body::Heartbeat(_) | Body::Ack(_)) {
            self.joinable.retain(|(of, _)| *of != partition);
        }
        self.push_frame(|frames| encode(partition, message, frames));
        true
    }

    /// Appends a range. Returns whether there was room.
    pub(super) fn push_range(&mut self, partition: PartitionId, range: Range) -> bool {
        if let Some(waiting) = self.joinable(partition)
            && waiting.upto == range.from
            && waiting.epoch == range.epoch
        {
            waiting.upto = range.upto;
            waiting.committed = waiting.committed.max(range.committed);
            return true;
        }
        if self.len + RANGE_COST > QUEUE_LEN_MAX {
            return false;
        }
        let number = self.first + self.items.len() as u64;
        self.joinable.retain(|(of, _)| *of != partition);
        self.joinable.push((partition, number));
        self.items.push_back(Item::Range(partition, range));
        self.len += RANGE_COST;
        true
    }

    fn joinable(&mut self, partition: PartitionId) -> Option<&mut Range> {
        let (_, number) = *self.joinable.iter().find(|(of, _)| *of == partition)?;
        let place = usize::try_from(number.checked_sub(self.first)?).ok()?;
        match self.items.get_mut(place)? {
            Item::Range(_, range) => Some(range),
            Item::Frames(_) => None,
        }
    }

    fn pop(&mut self) {
        let cost = match self.items.pop_front() {
            Some(Item::Frames(frames)) => frames.len(),
            Some(Item::Range(..)) => RANGE_COST,
            None => return,
        };
        self.first += 1;
        self.len -= cost;
    }

    /// The next parts to be sent; `piece` finds the bytes of ranges. Empty if there is nothing to send.
    pub(super) fn next_batch(
        &mut self,
        mut piece: impl FnMut(PartitionId, Range) -> Option<Piece>,
        mut dropped: impl FnMut(),
    ) -> Batch {
        let mut batch = Batch::default();
        let (mut gathered, mut head) = (0, Vec::new());
        while gathered + head.len() < GATHER_LEN_MAX && batch.parts.len() + 2 <= GATHER_MAX {
            match self.items.front_mut() {
                None => break,
                Some(Item::Frames(frames)) => {
                    let taken = frames.len();
                    if head.is_empty() {
                        head = std::mem::take(frames);
                    } else {
                        head.append(frames);
                    }
                    self.len -= taken;
                    self.pop();
                }
                Some(Item::Range(partition, range)) => {
                    let (partition, wanted) = (*partition, *range);
                    let limit = wanted.from.plus(RANGE_LEN_MAX).min(wanted.upto);
                    let found = Found::collect(partition, Range { upto: limit, ..wanted }, &mut piece);
                    let Some(found) = found else {
                        self.pop();
                        dropped();
                        continue;
                    };
                    let is_apart = found.may_be_cold && !(batch.parts.is_empty() && head.is_empty());
                    if is_apart {
                        // What can be sent now does not wait for the disk.
                        break;
                    }
                    match self.items.front_mut() {
                        Some(Item::Range(_, range)) if found.upto < range.upto => range.from = found.upto,
                        _ => self.pop(),
                    }
                    let (from, to, committed) = (wanted.from, found.upto, wanted.committed);
                    let message = Message { epoch: wanted.epoch, body: Body::Bytes { from, to, committed } };
                    encode(partition, &message, &mut head);
                    gathered += head.len();
                    batch.parts.push_back(Part::Bytes(std::mem::take(&mut head)));
                    batch.ranges += 1;
                    batch.may_be_cold = found.may_be_cold;
                    gathered += found.len;
                    let is_large = found.has_large;
                    batch.parts.extend(found.parts);
                    if is_large || batch.may_be_cold {
                        break;
                    }
                }
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
