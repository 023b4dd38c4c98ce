//! What the driver of a replica is asked to do, and told.

use super::message::{Message, Refusal};
use super::types::{Position, Promised, ReplicaId};
use crate::codec::Chain;
use crate::types::{Epoch, Lsn};

/// What the driver of a replica is asked to do, or told. To be done in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Send a message. It may be lost: whatever matters is asked for again. So a message to a peer that takes none
    /// now is to be dropped, not kept.
    Send {
        /// To whom.
        to: ReplicaId,
        /// What.
        message: Message,
    },
    /// Send a [`Body::Bytes`](super::Body::Bytes) message with the bytes of the log behind it, or several that
    /// together cover the range, in order and behind everything sent before.
    Ship {
        /// To whom.
        to: ReplicaId,
        /// The epoch of the message.
        epoch: Epoch,
        /// The position of the first byte.
        from: Lsn,
        /// The position behind the last byte.
        upto: Lsn,
        /// The committed watermark to send with it.
        committed: Lsn,
    },
    /// Take the bytes that came with the last message into the log, the first `skip` of them left out. Comes back as
    /// [`Replica::handle_received`](super::Replica::handle_received) or
    /// [`Replica::handle_receive_failed`](super::Replica::handle_receive_failed), before the next message of the
    /// peer. Bytes for which this is not asked are to be thrown away.
    Receive {
        /// How many bytes the log has already.
        skip: u64,
        /// The position of the first byte to take.
        from: Lsn,
        /// The position behind the last byte.
        upto: Lsn,
    },
    /// Flush the log. Comes back as [`Replica::handle_durable`](super::Replica::handle_durable).
    Flush {
        /// Up to here at least.
        upto: Lsn,
    },
    /// Write the superblock durably. Comes back as
    /// [`Replica::handle_superblock_written`](super::Replica::handle_superblock_written); a failure is fatal.
    WriteSuperblock {
        /// Comes back.
        ticket: u64,
        /// What has to be in it.
        promised: Promised,
    },
    /// Cut the log here: put what is behind aside, walk the index back, and make the rest unreadable, durably. Comes
    /// back as [`Replica::handle_cut`](super::Replica::handle_cut). Durable marks that come back after that are of
    /// the log after the cut.
    Cut {
        /// Where the log is to end.
        to: Lsn,
    },
    /// Put the whole log aside and begin another one at `start`, durably. Comes back as
    /// [`Replica::handle_reset`](super::Replica::handle_reset).
    Reset {
        /// Where the log is to start and end.
        start: Lsn,
        /// The chain value that it starts from.
        chain: Chain,
    },
    /// Look up the chain value at a record's end. Comes back as
    /// [`Replica::handle_chain`](super::Replica::handle_chain).
    LookUpChain {
        /// On whose behalf.
        peer: ReplicaId,
        /// Where.
        at: Lsn,
    },
    /// This replica leads: append a record of kind `Epoch` in this epoch, alone and before any other, and tell
    /// [`Replica::handle_appended`](super::Replica::handle_appended).
    Lead {
        /// The epoch to write in.
        epoch: Epoch,
    },
    /// Everything below is committed: what waits for it may be confirmed and shown.
    Committed {
        /// The committed watermark.
        upto: Lsn,
    },
    /// Something to log, count or react to.
    Event(Event),
}

/// Something that happened to a replica.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Event {
    /// This replica leads no longer. What it appended and has not committed is in doubt: neither confirmed nor gone.
    Deposed {
        /// The epoch that it led.
        epoch: Epoch,
    },
    /// This replica leads because an operator wants it to, whatever others have. What was committed and is not in its log
    /// is lost: everything behind `kept`, and what others hold instead of it.
    Forced {
        /// In which epoch.
        epoch: Epoch,
        /// Where its log ends.
        kept: Position,
        /// Everything below is known to be committed and in its log.
        committed: Lsn,
        /// Everything below was committed by the newest leader that it has heard since it was started. What of that lies
        /// behind `committed` is lost, unless its log happens to have the same.
        leader_committed: Lsn,
    },
    /// This replica follows a leader.
    Following {
        /// Whom.
        leader: ReplicaId,
        /// In which epoch.
        epoch: Epoch,
    },
    /// The leader has stopped of its own accord and asks this replica to lead, which holds everything: promote it.
    AskedToLead {
        /// Who led.
        by: ReplicaId,
    },
    /// This replica was to lead and does not.
    PromotionFailed {
        /// In which epoch.
        epoch: Epoch,
        /// Why.
        cause: PromotionFailure,
    },
    /// Two replicas lead, or led, in the same epoch.
    TwoLeaders {
        /// The epoch.
        epoch: Epoch,
        /// The replica that shows it.
        other: ReplicaId,
    },
    /// A peer has the data of another cluster or partition.
    OtherCluster {
        /// The peer.
        peer: ReplicaId,
    },
    /// A peer refused what it was told.
    Refused {
        /// The peer.
        peer: ReplicaId,
        /// Why.
        refusal: Refusal,
    },
    /// The leader asks to cut what this replica knows to be committed: somebody forced a promotion. Nothing is cut
    /// until [`Replica::permit_loss`](super::Replica::permit_loss), unless the rule is
    /// [`CommitRule::Leader`](super::CommitRule::Leader).
    WouldLoseCommitted {
        /// Where the leader's log parts from this one.
        to: Lsn,
        /// What is known to be committed.
        committed: Lsn,
    },
    /// Bytes that a peer sent did not verify: drop the connection.
    BadBytes {
        /// The peer.
        peer: ReplicaId,
        /// Where the first bad record starts.
        at: Lsn,
    },
    /// A peer says what no peer that keeps the rules says: drop the connection.
    BadPeer {
        /// The peer.
        peer: ReplicaId,
    },
}

/// Why a promotion failed.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum PromotionFailure {
    /// Another replica's log reaches further: promote that one.
    #[error("the log of replica {peer} reaches further: {position}")]
    Longer {
        /// The replica.
        peer: ReplicaId,
        /// How far.
        position: Position,
    },
    /// This replica is empty and another one is not.
    #[error("this replica is empty, and replica {peer} is not")]
    Empty {
        /// The replica.
        peer: ReplicaId,
    },
    /// A newer epoch was promised elsewhere: promote again.
    #[error("epoch {epoch} was promised elsewhere")]
    Outbid {
        /// The newer epoch.
        epoch: Epoch,
    },
    /// The operator took it back.
    #[error("the promotion was taken back")]
    TakenBack,
}
