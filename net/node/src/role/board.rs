//! What the node tells about its part in replication. Written by the cores that host the partitions, on every change
//! and a few times a second; read by commands of operators and by clients that are sent elsewhere.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use windrow_core::types::PartitionId;

use super::control::{Control, Request};
use super::members::Members;

/// Where clients reach a node, or one of its cores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// A name or an IP address.
    pub host: String,
    /// The port for clients.
    pub port: u16,
}

/// The part that this process has in a partition, by name.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Part {
    /// It leads, and there are no other replicas.
    #[default]
    Alone,
    /// It leads.
    Leader,
    /// It leads, and is not in touch with a majority.
    LeaderWithoutQuorum,
    /// It leads and is about to hand over.
    HandingOver,
    /// It asks to lead.
    Candidate,
    /// It follows.
    Follower,
    /// It knows no leader.
    Leaderless,
}

impl Part {
    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Alone => "alone",
            Self::Leader => "leader",
            Self::LeaderWithoutQuorum => "leader-without-quorum",
            Self::HandingOver => "handing-over",
            Self::Candidate => "candidate",
            Self::Follower => "follower",
            Self::Leaderless => "leaderless",
        }
    }

    /// Whether Redis would call it a master.
    #[must_use]
    pub const fn is_leader(self) -> bool {
        matches!(self, Self::Alone | Self::Leader | Self::LeaderWithoutQuorum | Self::HandingOver)
    }
}

/// How a follower and its leader are connected.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Link {
    /// Whether the leader can be reached.
    pub is_up: bool,
    /// When it was last heard.
    pub heard: Option<Instant>,
    /// Whether this log is known to be a prefix of the leader's, and goes on.
    pub is_streaming: bool,
}

/// What a leader knows of a follower.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Follower {
    /// Its name, for people.
    pub name: String,
    /// Where clients reach it.
    pub address: Address,
    /// Whether its flushes count for what is committed.
    pub is_voter: bool,
    /// How it is doing.
    pub state: FollowerState,
    /// Everything below is flushed there.
    pub flushed: u64,
    /// How many bytes of the log it has yet to flush.
    pub lag: u64,
    /// Since when it has not had all of the log; `None` while it has.
    pub behind_since: Option<Instant>,
    /// When it was last known to be in touch.
    pub heard: Option<Instant>,
}

/// How a follower is doing, from the worst to the best.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum FollowerState {
    /// It cannot be reached.
    Offline,
    /// It is being asked where its log ends.
    Joining,
    /// It gets what is appended.
    Online,
}

impl FollowerState {
    /// The word of Redis for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Offline => "offline",
            Self::Joining => "wait_bgsave",
            Self::Online => "online",
        }
    }
}

/// How far a hand-over has come that an operator has asked for, by the words of Redis.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub enum Failover {
    /// None was asked for, or it is over.
    #[default]
    None,
    /// This node has stopped leading and asks the other one to.
    InProgress,
    /// The other one does not have everything yet; writes are held.
    WaitingForSync,
}

impl Failover {
    /// The word of Redis for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no-failover",
            Self::InProgress => "failover-in-progress",
            Self::WaitingForSync => "waiting-for-sync",
        }
    }
}

/// What a promotion by force has kept of a log, and what was known to be committed then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forced {
    /// The epoch in which it leads.
    pub epoch: u32,
    /// Where the log ended. Whatever was confirmed and lies behind it is lost.
    pub kept: u64,
    /// Everything below was known to be committed and here.
    pub committed: u64,
    /// Everything below was committed by the newest leader that had been heard.
    pub leader_committed: u64,
}

/// What a node tells about one of its partitions.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Status {
    /// Its part.
    pub part: Part,
    /// A hand-over that is under way.
    pub failover: Failover,
    /// Everything older than this epoch is refused.
    pub epoch: u32,
    /// Where the leader is, if that is another node and known.
    pub leader: Option<Address>,
    /// The way to the leader.
    pub link: Link,
    /// Everything below is committed, as far as is known here.
    pub committed: u64,
    /// Where the log ends.
    pub appended: u64,
    /// When everything committed was last known to be here.
    pub fresh_at: Option<Instant>,
    /// The followers, while this process leads.
    pub followers: Vec<Follower>,
    /// The last promotion by force since the start.
    pub forced: Option<Forced>,
}

/// What a node tells about its part in replication.
#[derive(Debug)]
pub struct Board {
    partitions: Box<[Mutex<Status>]>,
    members: OnceLock<Members>,
    /// What operators ask for.
    pub control: Control,
}

impl Board {
    /// Of a node without followers.
    #[must_use]
    pub fn new(partitions: usize) -> Self {
        let partitions = (0..partitions).map(|_| Mutex::default()).collect();
        Self { partitions, members: OnceLock::new(), control: Control::default() }
    }

    /// Names the nodes of the set, once, before anybody reads it.
    pub fn set_members(&self, members: Members) {
        self.members.get_or_init(|| members);
    }

    /// The nodes of the set; `None` where there is none.
    #[must_use]
    pub fn members(&self) -> Option<&Members> {
        self.members.get()
    }

    /// What is told about one partition. Held for a few instructions.
    ///
    /// # Panics
    /// If there is no such partition.
    pub fn partition(&self, id: PartitionId) -> MutexGuard<'_, Status> {
        self.partitions[usize::from(id.get())].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is told about every partition.
    pub fn partitions(&self) -> impl Iterator<Item = MutexGuard<'_, Status>> {
        self.partitions.iter().map(|status| status.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether any partition is replicated.
    #[must_use]
    pub fn is_replicated(&self) -> bool {
        self.partitions().any(|status| status.part != Part::Alone)
    }

    /// Each follower with all partitions taken together: positions and lags summed, and the worst of the rest.
    #[must_use]
    pub fn followers(&self) -> Vec<Follower> {
        let mut all: Vec<Follower> = Vec::new();
        for status in self.partitions() {
            for one in &status.followers {
                match all.iter_mut().find(|known| known.name == one.name) {
                    None => all.push(one.clone()),
                    Some(known) => {
                        known.flushed += one.flushed;
                        known.lag += one.lag;
                        known.state = known.state.min(one.state);
                        known.heard = known.heard.min(one.heard);
                        known.behind_since = match (known.behind_since, one.behind_since) {
                            (Some(a), Some(b)) => Some(a.min(b)),
                            (a, b) => a.or(b),
                        };
                    }
                }
            }
        }
        all
    }

    /// The hand-over that is under way, if there is one: that of the partition that has come least far.
    #[must_use]
    pub fn failover(&self) -> Failover {
        self.partitions().map(|status| status.failover).max().unwrap_or_default()
    }

    /// Asks the cores. What they are asked for is shown at once, and not only when they have seen it.
    pub fn ask(&self, request: Request) {
        self.control.ask(request);
        if matches!(request, Request::HandOver { .. }) {
            self.partitions().for_each(|mut status| status.failover = Failover::WaitingForSync);
        }
    }

    /// The part of the node as a whole: that of its partitions if they agree, else the one that serves least.
    #[must_use]
    pub fn part(&self) -> Part {
        let order = |part: &Part| match part {
            Part::Alone => 0,
            Part::Leader => 1,
            Part::HandingOver => 2,
            Part::LeaderWithoutQuorum => 3,
            Part::Follower => 4,
            Part::Candidate => 5,
            Part::Leaderless => 6,
        };
        self.partitions().map(|status| status.part).max_by_key(order).unwrap_or_default()
    }
}
