//! The replies of one connection, on their way out in order.
//!
//! A reply may have to wait: for the flush of what it shows, or for another core. Replies behind it wait too, since
//! order is the protocol. So the output is a queue of chunks, each of which waits for one thing; a reply joins the
//! last chunk unless that would delay the chunk.

use std::collections::VecDeque;
use std::time::Instant;

use windrow_core::types::{Lsn, PartitionId};

use super::limits::{ELSEWHERE_MAX, WIDE_ELSEWHERE_MAX};
use super::pool::Pool;
use crate::ring::{Mapped, Part};

/// A chunk that has reached this size gets no more replies.
const CHUNK_LEN: usize = 32 << 10;
/// Chunks are copied together up to this size, because a larger send is cheaper than a copy.
const COALESCED_LEN: usize = 16 << 10;
/// The most parts of one send.
const PARTS_MAX: usize = 16;
/// What a chunk with a value becomes: the text, the value, its end.
const PARTS_OF_VALUE: usize = 3;
const END_OF_VALUE: &[u8] = b"\r\n";
/// How many replies may be expected from elsewhere before it is known how long they are.
const MISSING_MAX_FIRST: usize = 2;

/// What must happen before a reply may be seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    /// Nothing.
    Ready,
    /// The partition's committed watermark must reach `end`.
    Commit {
        partition: PartitionId,
        end: Lsn,
        /// What has been handed to a flush at the time of the reply: all that lies above will be covered by one
        /// and the same flush, the next.
        submitted: Lsn,
    },
    /// The reply comes from elsewhere: another core, or a timer.
    Elsewhere,
}

/// Names a reply that is still to come. Never used twice by one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Ticket(u64);

/// How long a reply in memory may become that comes from elsewhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    /// Some tens of KiB: where more is asked for, it lies in the log.
    Narrow,
    /// As long as any.
    Any,
}

#[derive(Debug)]
struct Chunk {
    bytes: Vec<u8>,
    /// What follows the bytes, and is followed by CR LF. It ends the chunk.
    value: Option<Mapped>,
    wait: Wait,
    replies: usize,
    /// When its first reply was written.
    since: Instant,
}

impl Chunk {
    fn new(bytes: Vec<u8>, wait: Wait, replies: usize, since: Instant) -> Self {
        Self { bytes, value: None, wait, replies, since }
    }
}

/// What [`Output::release`] let go.
#[derive(Debug, Default)]
pub(crate) struct Released {
    pub(crate) bytes: usize,
    /// Those of them that do not lie in the log.
    pub(crate) in_memory: usize,
    pub(crate) replies: usize,
}

/// The replies of one connection, on their way out in order.
#[derive(Debug)]
pub(crate) struct Output {
    chunks: VecDeque<Chunk>,
    /// The ticket of the chunk at the front.
    first: u64,
    len: usize,
    replies: usize,
    /// How many of these come from elsewhere and are not there yet.
    missing: usize,
    /// How many may be missing at a time: as many as may come, if all are as long as the last one. It doubles at most with
    /// each.
    missing_max: usize,
    /// Bytes of `len` that lie in the log.
    mapped: usize,
}

impl Default for Output {
    fn default() -> Self {
        let chunks = VecDeque::new();
        Self { chunks, first: 0, len: 0, replies: 0, missing: 0, missing_max: MISSING_MAX_FIRST, mapped: 0 }
    }
}

impl Output {
    /// Bytes that have not been released.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Those of them that take memory: what is sent from the log does not.
    pub(crate) fn len_in_memory(&self) -> usize {
        self.len - self.mapped
    }

    /// Replies that have not been released.
    pub(crate) fn replies(&self) -> usize {
        self.replies
    }

    /// Whether a reply of that length may be expected from elsewhere now.
    pub(crate) fn has_room(&self, width: Width) -> bool {
        self.missing
            < match width {
                Width::Narrow => self.missing_max,
                Width::Any => self.missing_max.min(WIDE_ELSEWHERE_MAX),
            }
    }

    /// Whether so many replies have come from elsewhere that whoever had no room goes on.
    pub(crate) fn has_room_again(&self) -> bool {
        self.missing <= self.missing_max / 2
    }

    /// Whether everything has been released.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// The buffer that the next reply is written to; [`finish`](Self::finish) must follow.
    pub(crate) fn begin(&mut self, pool: &mut Pool, now: Instant) -> &mut Vec<u8> {
        let open = |last: &Chunk| last.wait != Wait::Elsewhere && last.bytes.len() < CHUNK_LEN && last.value.is_none();
        if !self.chunks.back().is_some_and(open) {
            self.chunks.push_back(Chunk::new(pool.take(), Wait::Ready, 0, now));
        }
        &mut self.chunks.back_mut().expect("pushed just now").bytes
    }

    /// The reply that starts at `start` of the buffer is complete and waits for `wait`.
    ///
    /// # Panics
    /// Without [`begin`](Self::begin).
    pub(crate) fn finish(&mut self, start: usize, wait: Wait, pool: &mut Pool, now: Instant) {
        let last = self.chunks.back_mut().expect("a reply has begun");
        if last.bytes.len() == start && last.replies > 0 {
            return; // Nothing is sent for this command, so it must not become an error either.
        }
        self.len += last.bytes.len() - start;
        self.replies += 1;
        if joins(last.wait, wait, last.replies == 0) {
            last.replies += 1;
            last.wait = longer(last.wait, wait);
            return;
        }
        let mut bytes = pool.take();
        bytes.extend_from_slice(&last.bytes[start..]);
        last.bytes.truncate(start);
        self.chunks.push_back(Chunk::new(bytes, wait, 1, now));
    }

    /// As [`finish`](Self::finish) of a reply whose text ends where a value must follow: `value`, and CR LF.
    pub(crate) fn finish_with(&mut self, start: usize, value: Mapped, wait: Wait, pool: &mut Pool, now: Instant) {
        self.finish(start, wait, pool, now);
        self.len += value.len() + END_OF_VALUE.len();
        self.mapped += value.len();
        self.chunks.back_mut().expect("finished just now").value = Some(value);
    }

    /// A reply that will be there later.
    pub(crate) fn expect(&mut self, now: Instant) -> Ticket {
        self.chunks.push_back(Chunk::new(Vec::new(), Wait::Elsewhere, 1, now));
        self.replies += 1;
        self.missing += 1;
        Ticket(self.first + self.chunks.len() as u64 - 1)
    }

    /// The expected reply is there: `bytes`, and, if there is one, a value that follows them, and CR LF. No more are asked
    /// for at a time than have `len_max` bytes together, as far as the length of this one tells.
    ///
    /// # Panics
    /// If it was not expected, or has come before.
    pub(crate) fn fulfil(&mut self, ticket: Ticket, bytes: Vec<u8>, value: Option<Mapped>, wait: Wait, len_max: usize) {
        let chunk = usize::try_from(ticket.0 - self.first).ok().and_then(|at| self.chunks.get_mut(at));
        let chunk = chunk.expect("an expected reply stays until it has come");
        assert_eq!(chunk.wait, Wait::Elsewhere, "a reply comes once");
        self.missing -= 1;
        let mapped = value.as_ref().map_or(0, Mapped::len);
        let len = bytes.len() + value.as_ref().map_or(0, |value| value.len() + END_OF_VALUE.len());
        self.missing_max = (len_max / len.max(1)).clamp(1, ELSEWHERE_MAX).min(2 * self.missing_max);
        self.len += len;
        self.mapped += mapped;
        chunk.bytes = bytes;
        chunk.value = value;
        chunk.wait = wait;
    }

    /// Every reply that waits for more of `partition` than `committed` becomes `error`, a whole RESP error. Returns
    /// whether there were any.
    #[cfg(any(feature = "shared-nothing", test))]
    pub(crate) fn fail(&mut self, partition: PartitionId, committed: Lsn, error: &[u8]) -> bool {
        let mut any = false;
        for chunk in &mut self.chunks {
            let Wait::Commit { partition: waits_for, end, .. } = chunk.wait else { continue };
            if waits_for != partition || end <= committed {
                continue;
            }
            any = true;
            if let Some(value) = chunk.value.take() {
                self.len -= value.len() + END_OF_VALUE.len();
                self.mapped -= value.len();
            }
            self.len -= chunk.bytes.len();
            chunk.bytes.clear();
            (0..chunk.replies).for_each(|_| chunk.bytes.extend_from_slice(error));
            self.len += chunk.bytes.len();
            chunk.wait = Wait::Ready;
        }
        any
    }

    /// What the reply at the front waits for; `None` where there is none.
    pub(crate) fn front(&self) -> Option<Wait> {
        self.chunks.front().map(|chunk| chunk.wait)
    }

    /// Moves what need not wait any longer into `parts`, as far as one send takes it. `waited` is told how many
    /// replies come out of a chunk, what it waited for and since when it was there.
    pub(crate) fn release(
        &mut self,
        pool: &mut Pool,
        parts: &mut Vec<Part>,
        committed: impl Fn(PartitionId) -> Lsn,
        mut waited: impl FnMut(usize, Wait, Instant),
    ) -> Released {
        let mut released = Released::default();
        while let Some(front) = self.chunks.front() {
            let ready = match front.wait {
                Wait::Ready => true,
                Wait::Commit { partition, end, .. } => committed(partition) >= end,
                Wait::Elsewhere => false,
            };
            if !ready {
                break;
            }
            let joins = match parts.last() {
                Some(Part::Bytes(last)) => last.len() + front.bytes.len() <= COALESCED_LEN,
                _ => false,
            };
            let room = PARTS_MAX - parts.len();
            if (!joins && room == 0) || (front.value.is_some() && room < PARTS_OF_VALUE) {
                break;
            }
            let chunk = self.chunks.pop_front().expect("looked at just now");
            self.first += 1;
            released.bytes += chunk.bytes.len();
            released.in_memory += chunk.bytes.len();
            released.replies += chunk.replies;
            waited(chunk.replies, chunk.wait, chunk.since);
            match parts.last_mut() {
                _ if chunk.bytes.is_empty() => pool.give_back(chunk.bytes),
                Some(Part::Bytes(last)) if joins => {
                    last.extend_from_slice(&chunk.bytes);
                    pool.give_back(chunk.bytes);
                }
                _ => parts.push(Part::Bytes(chunk.bytes)),
            }
            if let Some(value) = chunk.value {
                released.bytes += value.len() + END_OF_VALUE.len();
                released.in_memory += END_OF_VALUE.len();
                self.mapped -= value.len();
                parts.push(Part::Mapped(value));
                // What follows goes into the same buffer.
                let mut end = pool.take();
                end.extend_from_slice(END_OF_VALUE);
                parts.push(Part::Bytes(end));
            }
        }
        self.len -= released.bytes;
        self.replies -= released.replies;
        released
    }
}

/// Whether a reply that waits for `next` may share a chunk that waits for `last`, without delaying it.
fn joins(last: Wait, next: Wait, last_is_empty: bool) -> bool {
    match (last, next) {
        _ if last_is_empty => true,
        (_, Wait::Ready) => true,
        (Wait::Commit { partition: a, end, .. }, Wait::Commit { partition: b, end: next_end, submitted }) => {
            // Shown by what the chunk waits for anyway, or both behind the next flush.
            a == b && (next_end <= end || end > submitted)
        }
        _ => false,
    }
}

fn longer(last: Wait, next: Wait) -> Wait {
    match (last, next) {
        (Wait::Commit { end: a, .. }, Wait::Commit { end: b, .. }) if a >= b => last,
        (Wait::Commit { .. }, Wait::Ready) => last,
        _ => next,
    }
}

#[cfg(test)]
mod tests;
