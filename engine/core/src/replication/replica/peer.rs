//! What the leader knows about one peer.

use crate::replication::message::LogEnd;
use crate::replication::types::{Moment, ReplicaId};
use crate::types::Lsn;

/// How far the leader and a peer have come with each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Link {
    /// The peer has to say where its log ends.
    Unknown,
    /// The chain value at the peer's end is being looked up.
    Checking { end: LogEnd },
    /// The peer's log is a prefix of the leader's, and everything below `sent` was sent.
    Streaming { sent: Lsn },
}

/// What the leader knows about one peer.
pub(super) struct Peer {
    pub(super) link: Link,
    /// What the peer has taken in, for the window.
    pub(super) received: Lsn,
    /// What the peer has flushed. True for the whole epoch: a follower of it never cuts what it has acknowledged. Only a
    /// disk that loses what it had flushed makes it less, which its hello tells.
    pub(super) flushed: Lsn,
    /// When the last heartbeat that the peer has answered was sent.
    pub(super) lease_from: Option<Moment>,
}

impl Peer {
    pub(super) const fn new() -> Self {
        Self { link: Link::Unknown, received: Lsn::ZERO, flushed: Lsn::ZERO, lease_from: None }
    }
}

/// One follower, as its leader sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PeerStatus {
    /// Who it is.
    pub id: ReplicaId,
    /// Whether its flushes count.
    pub is_voter: bool,
    /// Whether it is known to hold a prefix of the leader's log, and gets what follows.
    pub is_streaming: bool,
    /// Everything below was sent.
    pub sent: Lsn,
    /// Everything below has arrived.
    pub received: Lsn,
    /// Everything below is verified and flushed there.
    pub flushed: Lsn,
    /// When the last heartbeat that it has answered was sent, by this replica's clock.
    pub answered: Option<Moment>,
}
