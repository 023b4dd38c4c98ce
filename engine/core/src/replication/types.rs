//! The words of replication: who, when, where in the log, and what counts as committed.

use alloc::vec::Vec;
use core::fmt;

use super::history::History;
use super::limits::{REPLICAS_MAX, WINDOW_LEN_MAX, WINDOW_LEN_MIN};
use crate::codec::Chain;
use crate::types::{ClusterId, Epoch, Lsn, PartitionId};

/// Names one copy of a partition for ever: drawn with its data directory and lost with it.
///
/// A directory that was lost and made anew is another replica. That is what keeps a replica that forgot its promises
/// and acknowledgements from counting as the one that made them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(u64);

impl ReplicaId {
    /// The replica with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number of this replica.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplicaId({self})")
    }
}

/// A moment of this replica's monotonic clock, in milliseconds since some start. Never compared with another's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Moment(u64);

impl Moment {
    /// The moment `millis` after the clock's start.
    #[must_use]
    pub const fn new(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the clock's start.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    pub(super) const fn after(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }
}

/// How far a log reaches: the epoch of its last record, and where that record ends.
///
/// Ordered as logs are: the one with the later epoch holds everything that was committed before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Position {
    /// The epoch of the last record.
    pub epoch: Epoch,
    /// Where the last record ends.
    pub lsn: Lsn,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} LSN {}", self.epoch, self.lsn)
    }
}

/// Where the records of one epoch start in a log: where the last record of an earlier epoch ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochStart {
    /// The epoch.
    pub epoch: Epoch,
    /// Where its first record starts, counted from the end of the record before.
    pub start: Lsn,
}

/// When a record counts as committed. The ladder of durability.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[non_exhaustive]
pub enum CommitRule {
    /// Flushed on the leader. With followers, that is asynchronous replication: a promotion may lose what no other
    /// replica had, and an old leader that is cut off may serve what is no longer true.
    Leader,
    /// Flushed on a majority of the voters.
    #[default]
    Quorum,
    /// Flushed on every voter.
    All,
}

/// What a replica has promised, as it is written into its superblock.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Promised {
    /// Everything older is refused.
    pub promised: Epoch,
    /// The newest epoch that this replica has led or followed.
    pub epoch: Epoch,
    /// This replica once vouched for records up to here and no longer holds them: it does not lead until its log
    /// reaches here again, and promises only whoever's does.
    pub floor: Option<Position>,
}

/// What one more stretch of the log turned out to hold: records of one epoch, up to `end`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Verified {
    /// The epoch of all records between the end before and this one.
    pub epoch: Epoch,
    /// Where the last of them ends.
    pub end: Lsn,
    /// The chain value of the last of them.
    pub chain: Chain,
}

/// The log of this replica, as recovery found it.
#[derive(Clone, Debug)]
pub struct LogState {
    /// Where the first segment starts.
    pub start: Lsn,
    /// The chain value that the first segment starts from.
    pub start_chain: Chain,
    /// Where the last whole record ends.
    pub end: Lsn,
    /// The chain value at the end.
    pub chain: Chain,
    /// Everything below is flushed.
    pub durable: Lsn,
    /// Everything below was committed when this replica last wrote that down.
    pub committed: Lsn,
    /// Where each epoch starts.
    pub history: History,
}

impl LogState {
    /// A log without a record.
    #[must_use]
    pub const fn empty(origin: Chain) -> Self {
        Self {
            start: Lsn::ZERO,
            start_chain: origin,
            end: Lsn::ZERO,
            chain: origin,
            durable: Lsn::ZERO,
            committed: Lsn::ZERO,
            history: History::new(),
        }
    }
}

/// What a replica needs to know about itself and the others. The same on all replicas, but for `id`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster that the partition belongs to.
    pub cluster: ClusterId,
    /// Which partition this is.
    pub partition: PartitionId,
    /// Which replica this is.
    pub id: ReplicaId,
    /// Those whose promises and flushes count.
    pub voters: Vec<ReplicaId>,
    /// Those that get the log and count for nothing but WAIT.
    pub learners: Vec<ReplicaId>,
    /// When a record counts as committed.
    pub rule: CommitRule,
    /// Bytes that a follower may be sent ahead of what it has acknowledged as received.
    pub window_len: u64,
    /// How often the leader shows that it is there, in milliseconds.
    pub heartbeat_ms: u64,
    /// How long a replica that heard from its leader promises nothing to anybody else, in milliseconds.
    pub lease_ms: u64,
    /// How much less than that the leader relies on: more than any two clocks drift apart during a lease.
    pub lease_margin_ms: u64,
    /// How long to wait for an answer before asking again, in milliseconds.
    pub retry_ms: u64,
}

/// A setting out of its range.
#[derive(thiserror::Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ConfigError {
    /// Too many replicas, or no voter.
    #[error("{voters} voters and {learners} learners: there is at least one voter and at most {REPLICAS_MAX} in all")]
    Count {
        /// Voters named.
        voters: usize,
        /// Learners named.
        learners: usize,
    },
    /// A replica is named twice.
    #[error("replica {0} is named twice")]
    Twice(ReplicaId),
    /// This replica is not among those named.
    #[error("replica {0}, this one, is neither a voter nor a learner")]
    Stranger(ReplicaId),
    /// The window is out of its range.
    #[error("a window of {0} bytes is outside of {WINDOW_LEN_MIN} to {WINDOW_LEN_MAX}")]
    Window(u64),
    /// The times do not go together.
    #[error(
        "the heartbeat ({heartbeat_ms} ms) is above zero and below the lease less its margin ({lease_ms} - {lease_margin_ms} ms)"
    )]
    Times {
        /// Between two heartbeats.
        heartbeat_ms: u64,
        /// The lease.
        lease_ms: u64,
        /// Its margin.
        lease_margin_ms: u64,
    },
}

impl Config {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`ConfigError`] names the first one that is not.
    pub fn check(&self) -> Result<(), ConfigError> {
        let (voters, learners) = (self.voters.len(), self.learners.len());
        if voters == 0 || voters + learners > REPLICAS_MAX {
            return Err(ConfigError::Count { voters, learners });
        }
        let mut all: Vec<ReplicaId> = self.voters.iter().chain(&self.learners).copied().collect();
        all.sort_unstable();
        if let Some(pair) = all.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ConfigError::Twice(pair[0]));
        }
        if !all.contains(&self.id) {
            return Err(ConfigError::Stranger(self.id));
        }
        if !(WINDOW_LEN_MIN..=WINDOW_LEN_MAX).contains(&self.window_len) {
            return Err(ConfigError::Window(self.window_len));
        }
        let relied_on = self.lease_ms.saturating_sub(self.lease_margin_ms);
        if self.heartbeat_ms == 0 || self.heartbeat_ms >= relied_on || self.retry_ms == 0 {
            let Self { heartbeat_ms, lease_ms, lease_margin_ms, .. } = *self;
            return Err(ConfigError::Times { heartbeat_ms, lease_ms, lease_margin_ms });
        }
        Ok(())
    }

    pub(super) fn is_voter(&self, id: ReplicaId) -> bool {
        self.voters.contains(&id)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = ReplicaId> {
        self.voters.iter().chain(&self.learners).copied().filter(|&peer| peer != self.id)
    }

    /// How many voters are more than half of them.
    pub(super) const fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }
}
