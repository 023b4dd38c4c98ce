//! The part that this process has in a partition, as clients and operators see it.
//!
//! [`Role`] is what a core reads before it runs a command on one of its partitions; whoever drives replication sets
//! it, in either mode. [`Board`] is what the node tells about it: ROLE, INFO, CLUSTER, metrics. Invariant: a command
//! that is refused has done nothing; what was appended and may be lost is answered with [`UNCONFIRMED`].

mod access;
mod board;
mod control;
mod members;
mod refusal;
#[cfg(test)]
mod tests;

use std::time::Instant;

pub use access::Access;
pub use board::{Address, Board, Failover, Follower, FollowerState, Forced, Link, Part, Status};
pub use control::{Control, Request};
pub use members::{Member, MemberError, Members, replica_from_hex};
pub use refusal::{Refusal, Stuck, UNCONFIRMED, UNSETTLED};

/// The part that this process has in one partition. Set and read by the core that hosts the partition.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Role {
    /// It leads, and nobody else can: there are no other replicas, or the operator has chosen that.
    #[default]
    Alone,
    /// It leads, and before this moment nobody else can. Behind it, it neither reads nor writes, until that is
    /// renewed.
    Leader {
        /// Until when.
        until: Instant,
    },
    /// It leads and is about to hand over: writes are held until somebody leads.
    HandingOver {
        /// See [`Role::Leader`].
        until: Option<Instant>,
    },
    /// It leads, and has no room for the record that its leadership begins with.
    OutOfSpace {
        /// See [`Role::Leader`].
        until: Instant,
    },
    /// It follows a leader.
    Follower {
        /// Everything that was committed at this moment is here; `None` before that is known.
        fresh_at: Option<Instant>,
    },
    /// It follows, and its log is being cut or has been begun anew: for a while it has less than it has shown.
    Restoring {
        /// Whether it knows a leader.
        leader_known: bool,
    },
    /// It knows no leader: it waits for one, or asks to lead.
    Leaderless {
        /// See [`Role::Follower`].
        fresh_at: Option<Instant>,
    },
}

/// Why a command is not run now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is run.
    Run,
    /// It waits until the role has changed.
    Hold,
    /// Whoever leads has to be asked.
    AskLeader,
    /// It is refused.
    Refuse(Refusal),
}

impl Role {
    /// Whether every command runs. The one thing that is looked at on a node without replication.
    #[inline]
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Alone)
    }

    /// Whether this process leads, able to serve or not.
    #[must_use]
    pub const fn is_leader(self) -> bool {
        matches!(self, Self::Alone | Self::Leader { .. } | Self::HandingOver { .. } | Self::OutOfSpace { .. })
    }

    /// Whether records are appended here: only then may keys be swept that have expired.
    #[must_use]
    pub fn appends(self, at: Instant) -> bool {
        match self {
            Self::Alone => true,
            Self::Leader { until } => at < until,
            Self::HandingOver { .. }
            | Self::OutOfSpace { .. }
            | Self::Follower { .. }
            | Self::Restoring { .. }
            | Self::Leaderless { .. } => false,
        }
    }

    /// Why nothing is committed until something changes.
    #[must_use]
    pub fn stuck(self, at: Instant) -> Option<Stuck> {
        match self {
            Self::Leader { until } if at >= until => Some(Stuck::WITHOUT_MAJORITY),
            Self::OutOfSpace { .. } => Some(Stuck::WITHOUT_ROOM),
            _ => None,
        }
    }

    /// What becomes of a command that has arrived before `at`, a moment that was read after it had arrived: a leader
    /// that was paused in between must not answer from what has been superseded.
    #[inline]
    #[must_use]
    pub fn verdict(self, writes: bool, access: Access, at: Instant) -> Verdict {
        match self {
            Self::Alone => Verdict::Run,
            Self::Leader { until } if at < until => Verdict::Run,
            Self::HandingOver { .. } if writes => Verdict::Hold,
            Self::HandingOver { until } if until.is_none_or(|until| at < until) => Verdict::Run,
            Self::OutOfSpace { .. } if writes => Verdict::Refuse(Refusal::NoRoom),
            Self::OutOfSpace { until } if at < until => Verdict::Run,
            Self::Leader { .. } | Self::HandingOver { .. } | Self::OutOfSpace { .. } => {
                Verdict::Refuse(Refusal::NoQuorum)
            }
            Self::Restoring { leader_known } if writes || !access.may_read_here() => {
                if leader_known {
                    Verdict::AskLeader
                } else {
                    Verdict::Refuse(Refusal::NoLeader)
                }
            }
            Self::Restoring { .. } => Verdict::Refuse(Refusal::Restoring),
            Self::Follower { fresh_at } | Self::Leaderless { fresh_at } => {
                self.as_follower(fresh_at, writes, access, at)
            }
        }
    }

    fn as_follower(self, fresh_at: Option<Instant>, writes: bool, access: Access, at: Instant) -> Verdict {
        let leader_known = matches!(self, Self::Follower { .. });
        if writes || !access.may_read_here() {
            return if leader_known { Verdict::AskLeader } else { Verdict::Refuse(Refusal::NoLeader) };
        }
        let Some(bound) = access.staleness else { return Verdict::Run };
        let age = fresh_at.map(|fresh_at| at.saturating_duration_since(fresh_at));
        if age.is_some_and(|age| age <= bound) {
            Verdict::Run
        } else {
            Verdict::Refuse(Refusal::TooStale { age, bound })
        }
    }
}
