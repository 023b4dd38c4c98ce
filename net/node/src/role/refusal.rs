//! What clients are told that cannot be served. A refused command has done nothing.

use std::time::Duration;

/// The reply to a write that was appended by a leader that was deposed before it was committed, or whose commit
/// cannot be waited for any longer.
pub const UNCONFIRMED: &str = "UNCONFIRMED This node no longer leads, or cannot reach a majority: the command may or \
                               may not have been executed. Read before you write again";
/// The reply to a read on a follower that would have shown a record that was cut before it was committed.
pub const UNSETTLED: &str = "TRYAGAIN What this reply would have shown was never committed: nothing was done";
/// The reply to a read on a leader that has no room to commit the record that it would show.
const UNCOMMITTED: &str = "TRYAGAIN What this reply would show is not committed, and this leader's disk has no room for \
                           the record that would commit it: nothing was done";

/// A leader that commits nothing, whatever it waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stuck {
    /// What they are told in the end who wait for it.
    pub reply: &'static str,
    /// What its operator is told.
    pub warning: &'static str,
}

impl Stuck {
    pub(super) const WITHOUT_MAJORITY: Self = Self {
        reply: UNCONFIRMED,
        warning: "this leader is not in touch with a majority: reads and writes are refused until it is",
    };
    /// It has appended nothing since it leads, so only reads wait.
    pub(super) const WITHOUT_ROOM: Self = Self {
        reply: UNCOMMITTED,
        warning: "this leader has no room for the record that it begins with: writes, and reads of what may not be \
                  committed, are refused until there is room on its disk",
    };
}

const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
const NO_QUORUM: &str = "NOREPLICAS This leader is not in touch with a majority of the replicas: nothing was done";
#[cfg(feature = "shared-nothing")]
const NO_LEADER: &str = "CLUSTERDOWN No leader is known at the moment: nothing was done";
#[cfg(feature = "shared-memory")]
const NO_LEADER: &str = "MASTERDOWN No leader is known at the moment: nothing was done";

const NO_ROOM: &str = "ERR this leader's disk has no room for a log segment, or refuses one: nothing was written; reads go \
                       on, and writes resume by themselves when it takes one; the node's log says what is wrong";

const RESTORING: &str = "LOADING This replica's log is being restored from the leader's: ask the leader, or try again";

/// Why a command was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// It writes, and this is a follower.
    ReadOnly,
    /// This leader is not sure that it still leads.
    NoQuorum,
    /// Nobody leads, as far as is known here.
    NoLeader,
    /// It writes, and this leader cannot begin to.
    NoRoom,
    /// This replica is getting back what it once had.
    Restoring,
    /// The client does not want to read what is so old.
    TooStale {
        /// How old it is; `None` where that is not known.
        age: Option<Duration>,
        /// What the client accepts.
        bound: Duration,
    },
}

impl Refusal {
    /// The error reply, without the leading `-`.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Self::ReadOnly => READ_ONLY.to_owned(),
            Self::NoQuorum => NO_QUORUM.to_owned(),
            Self::NoLeader => NO_LEADER.to_owned(),
            Self::NoRoom => NO_ROOM.to_owned(),
            Self::Restoring => RESTORING.to_owned(),
            Self::TooStale { age: None, bound } => format!(
                "STALE This replica does not know how old its data is, and the connection accepts {} ms",
                bound.as_millis()
            ),
            Self::TooStale { age: Some(age), bound } => format!(
                "STALE This replica was last up to date {} ms ago, and the connection accepts {} ms",
                age.as_millis(),
                bound.as_millis()
            ),
        }
    }
}
