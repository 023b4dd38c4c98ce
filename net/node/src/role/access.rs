//! What a client has said about reading from followers.

use std::time::Duration;

/// What a client has said about reading from followers.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Access {
    /// `READONLY`: reads from a follower are wanted.
    pub read_only: bool,
    /// `CLIENT STALENESS`: a follower that was not up to date for longer is not to answer.
    pub staleness: Option<Duration>,
}

impl Access {
    /// Whether a follower answers this client's reads.
    ///
    /// In shared-nothing mode clients know where the leader is and say READONLY where they want something else, as in
    /// Redis Cluster. In shared-memory mode whoever connects to a follower's port wants to read there, as in Redis.
    #[must_use]
    pub const fn may_read_here(self) -> bool {
        cfg!(feature = "shared-memory") || self.read_only
    }
}
