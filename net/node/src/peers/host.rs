//! The seam between the connections and the driver of the replicas: what the driver is asked and told ([`Host`]), and
//! what it wants done ([`Outbox`]). Neither knows of sockets, so that a driver can be tested without any.

use std::collections::VecDeque;

use windrow_core::replication::{Message, ReplicaId};
use windrow_core::types::{Epoch, Lsn, PartitionId};

use crate::ring::Mapped;

/// What the transport asks of and tells the driver of a core's replicas. Nothing is called from inside another call,
/// and nothing may block.
pub trait Host {
    /// A connection with `peer` is there, and both ends have proved who they are.
    fn connected(&mut self, peer: ReplicaId, out: &mut Outbox);

    /// The connection with `peer` is gone. A range that was arriving on it has ended where it was.
    fn disconnected(&mut self, peer: ReplicaId, out: &mut Outbox);

    /// A message has come. After one with [`Body::Bytes`](windrow_core::replication::Body::Bytes), `room` and
    /// `arrived` follow until the range is through, and then `range_end`; no other message of this peer comes before.
    fn message(&mut self, peer: ReplicaId, partition: PartitionId, message: Message, out: &mut Outbox);

    /// Where the bytes of the log from `at` on are to go, which arrive from `peer`, up to `upto` at most.
    fn room(&mut self, peer: ReplicaId, partition: PartitionId, at: Lsn, upto: Lsn) -> Room<'_>;

    /// So many bytes have been written to the start of what `room` has given for `at`.
    fn arrived(&mut self, peer: ReplicaId, partition: PartitionId, at: Lsn, len: usize, out: &mut Outbox);

    /// All bytes of a range have come, or were thrown away.
    fn range_end(&mut self, peer: ReplicaId, partition: PartitionId, out: &mut Outbox);

    /// The bytes of the log from `at` on, as far as they lie in one segment and below `upto`. `None` where they are not
    /// to be sent any more: they were freed or cut, or this replica no longer leads `epoch`.
    fn piece(&mut self, partition: PartitionId, epoch: Epoch, at: Lsn, upto: Lsn) -> Option<Piece>;
}

/// Where bytes that arrive are to go.
#[derive(Debug)]
pub enum Room<'a> {
    /// Here; not empty. More than is left of the range is not used; where it is less, the rest is asked for later.
    Into(&'a mut [u8]),
    /// So many of them, more than none, nowhere; for the rest it is asked again.
    Discard(u64),
    /// There is no place yet. Nothing is received from this peer until [`Outbox::resume`].
    Wait,
    /// There will be none: the connection is dropped.
    Refuse(CloseReason),
}

/// Bytes of the log to be sent.
#[derive(Debug)]
pub struct Piece {
    /// The bytes, pinned where they lie; not empty.
    pub bytes: Mapped,
    /// They may be on disk only. Then they are read first, through the ring.
    pub may_be_cold: bool,
}

/// A range of a leader's log that is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    /// The epoch of the message.
    pub epoch: Epoch,
    /// The position of the first byte.
    pub from: Lsn,
    /// The position behind the last byte.
    pub upto: Lsn,
    /// The committed watermark to send with it.
    pub committed: Lsn,
}

/// Why the driver wants a connection closed.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CloseReason {
    /// Bytes that came from there do not verify.
    #[error("bytes of the log from there do not verify")]
    BadBytes,
    /// It broke the protocol.
    #[error("the peer breaks the protocol")]
    BadPeer,
    /// The log cannot take what comes from there.
    #[error("the log cannot take what comes from there")]
    NoRoom,
}

/// Something that the driver wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Send a message.
    Send {
        /// To whom.
        to: ReplicaId,
        /// Of which partition.
        partition: PartitionId,
        /// What.
        message: Message,
    },
    /// Send a range of the log.
    Ship {
        /// To whom.
        to: ReplicaId,
        /// Of which partition.
        partition: PartitionId,
        /// Which.
        range: Range,
    },
    /// Ask for room again.
    Resume(ReplicaId),
    /// Drop the connection.
    Close(ReplicaId, CloseReason),
}

/// What the driver wants done, in order.
#[derive(Default, Debug)]
pub struct Outbox(VecDeque<Command>);

impl Outbox {
    /// Sends a message, or drops it where the peer is not there or takes nothing.
    pub fn send(&mut self, to: ReplicaId, partition: PartitionId, message: Message) {
        self.0.push_back(Command::Send { to, partition, message });
    }

    /// Sends a range of the log, in one message or several, behind everything that was sent before. Messages that are sent
    /// later may come before it. Costs next to
    /// nothing until the peer takes it: its bytes are asked for then ([`Host::piece`]).
    pub fn ship(&mut self, to: ReplicaId, partition: PartitionId, range: Range) {
        self.0.push_back(Command::Ship { to, partition, range });
    }

    /// There may be room now for what arrives from `peer`.
    pub fn resume(&mut self, peer: ReplicaId) {
        self.0.push_back(Command::Resume(peer));
    }

    /// Drops the connection with `peer`. There will be another one after a while.
    pub fn close(&mut self, peer: ReplicaId, why: CloseReason) {
        self.0.push_back(Command::Close(peer, why));
    }

    /// Takes the next command out.
    pub fn take(&mut self) -> Option<Command> {
        self.0.pop_front()
    }

    /// Whether nothing is to be done.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
