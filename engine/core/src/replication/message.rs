//! What replicas say to one another. The wire format is `windrow_proto::replication`.

use alloc::vec::Vec;

use super::types::{EpochStart, Moment, Position};
use crate::codec::Chain;
use crate::types::{ClusterId, Epoch, Lsn, PartitionId};

/// One message, and the newest epoch that its sender has promised or leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Whoever has promised more refuses the message.
    pub epoch: Epoch,
    /// What it says.
    pub body: Body,
}

/// What a message says. Exhaustive, so that the wire format cannot forget one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// From the leader: I am here.
    Heartbeat(Heartbeat),
    /// To the leader: this is my log.
    Hello(Hello),
    /// From the leader: tell me your epochs before this one.
    OlderEpochs {
        /// The oldest epoch that the leader has been told.
        before: Epoch,
    },
    /// From the leader: what follows goes on behind the end that you named.
    Resume(LogEnd),
    /// From the leader: cut your log, which ends as you named it.
    Cut {
        /// The end that the follower named.
        end: LogEnd,
        /// Where it is to end instead.
        to: Lsn,
    },
    /// From the leader: your log, which ends as you named it, has no place in mine. Start anew.
    Restart {
        /// The end that the follower named.
        end: LogEnd,
        /// Where the leader's log starts.
        start: Lsn,
        /// The chain value that it starts from.
        start_chain: Chain,
        /// Up to where the two logs are the same, where the leader knows.
        common: Option<Lsn>,
    },
    /// From the leader: the bytes of the log from `from` to `to` follow.
    Bytes {
        /// The position of the first byte.
        from: Lsn,
        /// The position behind the last byte.
        to: Lsn,
        /// The committed watermark.
        committed: Lsn,
    },
    /// To the leader: this is what I have.
    Ack(Ack),
    /// From a candidate: promise to refuse everything older than this message's epoch.
    PromiseRequest(PromiseRequest),
    /// To a candidate: promised, durably.
    Promise {
        /// Where the log of the sender ends, flushed.
        position: Position,
    },
    /// To anybody: no.
    Refuse(Refusal),
    /// From whoever led in this epoch and has stopped of its own accord: lead, you hold everything.
    TakeOver,
}

impl Body {
    /// Whether only a leader says this.
    pub(super) const fn is_from_leader(&self) -> bool {
        matches!(
            self,
            Self::Heartbeat(_)
                | Self::OlderEpochs { .. }
                | Self::Resume(_)
                | Self::Cut { .. }
                | Self::Restart { .. }
                | Self::Bytes { .. }
        )
    }
}

/// The end of one log. Two logs with the same end are the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogEnd {
    /// Where the last record ends.
    pub lsn: Lsn,
    /// Its chain value.
    pub chain: Chain,
}

/// From the leader: I am here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// The cluster of the leader.
    pub cluster: ClusterId,
    /// The partition that it leads.
    pub partition: PartitionId,
    /// The committed watermark.
    pub committed: Lsn,
    /// Everything below was sent to this follower, since it was told to resume.
    pub sent: Lsn,
    /// The leader's clock: comes back in [`Ack`].
    pub at: Moment,
}

/// To the leader: this is my log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The cluster of the follower.
    pub cluster: ClusterId,
    /// Its partition.
    pub partition: PartitionId,
    /// Where its log starts.
    pub start: Lsn,
    /// Where its log ends.
    pub end: Lsn,
    /// The chain value there.
    pub chain: Chain,
    /// Epochs of its log, oldest first: the newest ones, or those before the epoch that was asked for.
    pub epochs: Vec<EpochStart>,
    /// Where the last of them ends.
    pub epochs_end: Lsn,
    /// Whether there are older ones.
    pub has_older: bool,
}

/// To the leader: this is what I have. A follower that has not been told to resume says zero.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ack {
    /// Everything below has arrived: more may be sent.
    pub received: Lsn,
    /// Everything below is verified and flushed.
    pub flushed: Lsn,
    /// The clock of the last heartbeat.
    pub at: Moment,
}

/// From a candidate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PromiseRequest {
    /// The cluster of the candidate.
    pub cluster: ClusterId,
    /// The partition that it wants to lead.
    pub partition: PartitionId,
    /// Where its log ends, flushed.
    pub position: Position,
}

/// Why a message was refused. Exhaustive, so that the wire format cannot forget one.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// The message is of an older epoch than the sender has promised. The message's epoch says which.
    #[error("a newer epoch was promised")]
    Stale,
    /// Another cluster or another partition.
    #[error("the data belongs to another cluster or partition")]
    OtherCluster,
    /// Two leaders in the same epoch: an operator's forced promotion went wrong.
    #[error("epoch {epoch} has two leaders")]
    TwoLeaders {
        /// The epoch that has two.
        epoch: Epoch,
    },
    /// The candidate's log is empty, and the sender's is not.
    #[error("an empty replica does not lead replicas with data")]
    EmptyCandidate,
    /// The sender knows nothing, or does not hold all that it once vouched for: its promise would mean nothing.
    #[error("the replica is new, or being restored, and does not say what was committed")]
    Blank,
    /// The sender's log is longer than the candidate's.
    #[error("the replica's log reaches further: {0}")]
    Longer(Position),
    /// The sender heard from its leader not long ago.
    #[error("the replica heard from its leader not long ago")]
    LeaseRunning,
    /// The sender is a learner.
    #[error("the replica does not vote")]
    NotAVoter,
    /// The leader would have the follower cut what it knows to be committed.
    #[error("records below LSN {committed} were committed")]
    WouldLoseCommitted {
        /// What the follower knows to be committed.
        committed: Lsn,
    },
}
