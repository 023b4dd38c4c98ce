//! What has been received on one connection: frames, and the ranges behind them, which go straight into the log.

use std::io;

use thiserror::Error;
use windrow_core::replication::{Body, ReplicaId};
use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::replication::{Frame, FrameError, Handshake, Phase, decode};

use super::counters::WireCounters;
use super::handshake::{HandshakeError, Own};
use super::host::{CloseReason, Host, Outbox, Room};
use super::stream::{Done, Stream};

/// Why a connection cannot go on.
#[derive(Debug, Error)]
pub(super) enum Broken {
    #[error("the peer has closed the connection")]
    Ended,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("what came is no frame: {0}")]
    Frame(#[from] FrameError),
    #[error(
        "a message is about partition {0}, which is not on this core; run the same version of Windrow on all nodes"
    )]
    Misplaced(PartitionId),
    #[error("{0}")]
    Rejected(HandshakeError),
    #[error("{0}")]
    Refused(CloseReason),
}

/// Why receiving stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stopped {
    /// Nothing more has come.
    Drained,
    /// The driver has no place for what comes next.
    NoRoom,
    /// Enough for this round.
    Enough,
    /// The driver wants something done before the next message.
    Commands,
}

/// A range that is arriving.
#[derive(Clone, Copy, Debug)]
struct Arriving {
    partition: PartitionId,
    at: Lsn,
    upto: Lsn,
}

/// What has been received and is not through.
#[derive(Debug)]
pub(super) struct Input {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    arriving: Option<Arriving>,
    /// The last read took all that had come.
    drained: bool,
    /// Something has come since [`take_heard`](Self::take_heard).
    heard: bool,
}

/// What a connection needs to know to receive.
pub(super) struct Context<'a, H> {
    pub(super) own: &'a Own,
    pub(super) stream: &'a Stream,
    pub(super) peer: ReplicaId,
    pub(super) partitions: &'a [PartitionId],
    pub(super) host: &'a mut H,
    pub(super) outbox: &'a mut Outbox,
    pub(super) counters: &'a WireCounters,
}

impl Input {
    pub(super) fn new(len: usize) -> Self {
        Self { buffer: vec![0; len].into_boxed_slice(), start: 0, end: 0, arriving: None, drained: false, heard: false }
    }

    /// Makes the buffer larger.
    pub(super) fn grow(&mut self, len: usize) {
        let mut larger = Self::new(len.max(self.end - self.start));
        larger.end = self.end - self.start;
        larger.buffer[..larger.end].copy_from_slice(self.held());
        larger.drained = self.drained;
        larger.heard = self.heard;
        *self = larger;
    }

    /// What has been received and not been used.
    pub(super) fn held(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// Forgets the first `len` bytes of it.
    pub(super) fn consume(&mut self, len: usize) {
        self.start += len;
        assert!(self.start <= self.end, "no more than there is");
    }

    /// The socket may have more.
    pub(super) fn may_read(&mut self) {
        self.drained = false;
    }

    /// Whether something has come since the last call.
    pub(super) fn take_heard(&mut self) -> bool {
        std::mem::take(&mut self.heard)
    }

    /// Reads more behind what is held. `false`: nothing has come.
    pub(super) fn read(&mut self, stream: &Stream) -> Result<bool, Broken> {
        self.fill(stream).map(|came| came.is_some())
    }

    /// Reads behind what is held. Returns how much has come, if anything.
    fn fill(&mut self, stream: &Stream) -> Result<Option<usize>, Broken> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let end = self.end;
        let came = self.read_from(stream, &mut [], end)?;
        self.end += came.unwrap_or(0);
        Ok(came)
    }

    /// Reads into `room` while nothing is held, and what comes behind it into the buffer if `room` takes all that
    /// belongs to the range: else it would have to be copied. Returns how much went into `room`, if anything came.
    fn read_into(&mut self, stream: &Stream, room: &mut [u8], is_all: bool) -> Result<Option<usize>, Broken> {
        let behind = if is_all { 0 } else { self.buffer.len() };
        let Some(came) = self.read_from(stream, room, behind)? else { return Ok(None) };
        let direct = came.min(room.len());
        (self.start, self.end) = (0, came - direct);
        Ok(Some(direct))
    }

    /// Reads into `first` and then into the buffer from `behind` on.
    fn read_from(&mut self, stream: &Stream, first: &mut [u8], behind: usize) -> Result<Option<usize>, Broken> {
        if self.drained {
            return Ok(None);
        }
        let second = &mut self.buffer[behind..];
        let room = first.len() + second.len();
        match stream.read(first, second)? {
            Done::Ended => Err(Broken::Ended),
            Done::NotReady => {
                self.drained = true;
                Ok(None)
            }
            Done::Some(len) => {
                // Less than there was room for: there is no more. If there is after all, the wait ends at once.
                self.drained = len < room;
                self.heard = true;
                Ok(Some(len))
            }
        }
    }

    /// Hands on what comes until there is nothing more or a reason to stop. `budget` bytes are left for this round.
    pub(super) fn progress<H: Host>(
        &mut self,
        context: &mut Context<'_, H>,
        budget: &mut usize,
    ) -> Result<Stopped, Broken> {
        loop {
            if !context.outbox.is_empty() {
                return Ok(Stopped::Commands);
            }
            if *budget == 0 {
                return Ok(Stopped::Enough);
            }
            let went_on = match self.arriving {
                Some(arriving) if arriving.at == arriving.upto => {
                    self.arriving = None;
                    context.counters.ranges_received.increment();
                    context.host.range_end(context.peer, arriving.partition, context.outbox);
                    true
                }
                Some(arriving) => match self.take_bytes(context, arriving, budget)? {
                    Some(stopped) => return Ok(stopped),
                    None => true,
                },
                None => self.take_frame(context)?,
            };
            if !went_on {
                let Some(came) = self.fill(context.stream)? else { return Ok(Stopped::Drained) };
                *budget = budget.saturating_sub(came);
            }
        }
    }

    /// Hands on the frame at the start, if it is whole.
    fn take_frame<H: Host>(&mut self, context: &mut Context<'_, H>) -> Result<bool, Broken> {
        let Some((frame, len)) =
            decode(self.held(), Phase::Open).map_err(|error| self.no_message(context.own, error))?
        else {
            return Ok(false);
        };
        self.consume(len);
        let Frame::Message { partition, message } = frame else { return Ok(true) };
        if !context.partitions.contains(&partition) {
            return Err(Broken::Misplaced(partition));
        }
        if let Body::Bytes { from, to, .. } = message.body {
            self.arriving = Some(Arriving { partition, at: from, upto: to });
        }
        context.counters.messages_received.increment();
        context.host.message(context.peer, partition, message, context.outbox);
        Ok(true)
    }

    /// Why what is held is no message. The last step of the handshake may have shown the one that connected what it
    /// does not like; then it says so where messages are expected.
    fn no_message(&self, own: &Own, error: FrameError) -> Broken {
        match decode(self.held(), Phase::Handshake) {
            Ok(Some((Frame::Handshake(Handshake::Rejected(rejection)), _))) => {
                Broken::Rejected(HandshakeError::by_peer(own, rejection))
            }
            _ => Broken::Frame(error),
        }
    }

    /// Hands on the next bytes of a range.
    fn take_bytes<H: Host>(
        &mut self,
        context: &mut Context<'_, H>,
        arriving: Arriving,
        budget: &mut usize,
    ) -> Result<Option<Stopped>, Broken> {
        let Arriving { partition, at, upto } = arriving;
        let left = usize::try_from(upto.since(at)).expect("a range has at most a few MiB");
        let len = match context.host.room(context.peer, partition, at, upto) {
            Room::Wait => return Ok(Some(Stopped::NoRoom)),
            Room::Refuse(why) => return Err(Broken::Refused(why)),
            Room::Into(room) => {
                assert!(!room.is_empty(), "room for at least one byte");
                let most = room.len().min(left).min(*budget);
                let room = &mut room[..most];
                let held = self.end - self.start;
                if held > 0 {
                    let len = held.min(room.len());
                    room[..len].copy_from_slice(&self.held()[..len]);
                    self.consume(len);
                    context.counters.received_copied_bytes.add(len as u64);
                    len
                } else {
                    let read = self.read_into(context.stream, room, most == left)?;
                    let Some(len) = read else { return Ok(Some(Stopped::Drained)) };
                    context.counters.received_direct_bytes.add(len as u64);
                    len
                }
            }
            Room::Discard(most) => {
                assert!(most > 0, "at least one byte to throw away");
                if self.start == self.end && self.fill(context.stream)?.is_none() {
                    return Ok(Some(Stopped::Drained));
                }
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                let len = (self.end - self.start).min(most).min(left);
                self.consume(len);
                self.arriving = Some(Arriving { at: at.plus(len as u64), ..arriving });
                context.counters.received_discarded_bytes.add(len as u64);
                *budget = budget.saturating_sub(len);
                return Ok(None);
            }
        };
        *budget = budget.saturating_sub(len);
        self.arriving = Some(Arriving { at: at.plus(len as u64), ..arriving });
        if len > 0 {
            context.host.arrived(context.peer, partition, at, len, context.outbox);
        }
        Ok(None)
    }
}
