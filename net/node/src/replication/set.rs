//! The replicas of one core, and how the settings make them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use windrow_core::replication::limits::WINDOW_LEN_DEFAULT;
use windrow_core::replication::{CommitRule, Config, Moment, ReplicaId};
use windrow_core::types::{ClusterId, PartitionId};

use super::part::Part;
use crate::peers::{PeerAddress, Resolver};
use crate::role::{Member, Members};
use crate::serve::ReplicationError;

/// How often a leader shows that it is there, unless the lease is short.
const HEARTBEAT_MAX: Duration = Duration::from_millis(100);
/// How long to wait for an answer before asking again.
const RETRY: Duration = Duration::from_millis(300);

/// The replicas of one core.
pub(crate) struct Replicas {
    pub(crate) members: Members,
    pub(crate) lease: Duration,
    /// In the order of the core's partitions.
    pub(crate) parts: Vec<Part>,
    /// Peers that can be reached.
    pub(crate) connected: BTreeSet<ReplicaId>,
    /// When this process' clock began, less a moment, so that no moment is zero.
    pub(crate) start: Instant,
    /// The number of the last request that was looked at.
    pub(crate) seen_request: u64,
    /// The number of the core.
    pub(crate) core: usize,
    /// There may be room where there was none.
    pub(crate) room_again: bool,
    /// Since when a majority of the voters can be reached, this one included, and since when all can.
    pub(crate) majority_since: Option<Instant>,
    pub(crate) all_since: Option<Instant>,
}

/// A leader shows that it is there as soon as it can be reached; this is ample time for that.
const LEADER_IS_HEARD_WITHIN: Duration = Duration::from_millis(500);

impl Replicas {
    /// Notes who can be reached.
    pub(crate) fn note_reach(&mut self, now: Instant) {
        let voters = || self.members.all.iter().filter(|member| !self.members.learners.contains(&member.replica));
        let own = self.members.own;
        let reached = voters().filter(|one| one.replica == own || self.connected.contains(&one.replica)).count();
        let count = voters().count();
        let since = |before: Option<Instant>, is_so: bool| is_so.then(|| before.unwrap_or(now));
        self.majority_since = since(self.majority_since, reached > count / 2);
        self.all_since = since(self.all_since, reached == count);
    }

    /// Whether a replica may ask to lead without an operator: a leader that is alive would have been heard. Asking
    /// takes a new epoch, which would end its leadership.
    pub(crate) fn may_ask(&self, is_empty: bool, now: Instant) -> bool {
        let (since, long) =
            if is_empty { (self.all_since, LEADER_IS_HEARD_WITHIN) } else { (self.majority_since, self.lease) };
        since.is_some_and(|since| now.saturating_duration_since(since) >= long)
    }

    /// How long a replica that leads by configuration waits before it asks (again): not as long as another one that
    /// does, too.
    pub(crate) fn wait_before_asking(&self) -> Duration {
        let place = self.members.all.iter().position(|member| member.replica == self.members.own).unwrap_or(0);
        self.lease + self.lease / 4 * u32::try_from(place + 1).unwrap_or(1)
    }

    /// This process' clock as the replicas read it.
    pub(crate) fn moment(&self, at: Instant) -> Moment {
        let millis = at.saturating_duration_since(self.start).as_millis();
        Moment::new(u64::try_from(millis).unwrap_or(u64::MAX).saturating_add(1))
    }

    /// The moment of this process' clock that a replica has named.
    pub(crate) fn instant(&self, moment: Moment) -> Instant {
        // A leader that needs no lease names the end of time.
        let longest = Duration::from_secs(100 * 366 * 86_400);
        let since = Duration::from_millis(moment.get().saturating_sub(1));
        self.start + since.min(longest)
    }
}

/// Looks at whether this node is one of the set, and whoever is named elsewhere, too.
///
/// # Errors
/// [`ReplicationError`]: it is not.
pub(crate) fn check(members: &Members, leader: Option<ReplicaId>) -> Result<(), ReplicationError> {
    if members.find(members.own).is_none() {
        return Err(ReplicationError::Stranger { own: members.own });
    }
    let named = members.learners.iter().map(|&learner| ("learners", learner));
    let named = named.chain(leader.map(|leader| ("leader", leader)));
    for (setting, replica) in named {
        if members.find(replica).is_none() {
            return Err(ReplicationError::Unknown { setting, replica });
        }
    }
    Ok(())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// What the replica of one partition needs to know.
pub(crate) fn config(
    members: &Members,
    cluster: ClusterId,
    partition: PartitionId,
    rule: CommitRule,
    lease: Duration,
) -> Config {
    let all = members.all.iter().map(|member| member.replica);
    let (learners, voters) = all.partition(|replica| members.learners.contains(replica));
    Config {
        cluster,
        partition,
        id: members.own,
        voters,
        learners,
        rule,
        window_len: WINDOW_LEN_DEFAULT,
        heartbeat_ms: millis(HEARTBEAT_MAX.min(lease / 8)).max(1),
        lease_ms: millis(lease),
        lease_margin_ms: millis(lease / 8),
        retry_ms: millis(RETRY),
    }
}

/// Where the others listen for core number `core` of this node.
pub(crate) fn peer_addresses(members: &Members, core: usize, resolver: &Resolver) -> Vec<PeerAddress> {
    let above = u16::try_from(core).unwrap_or(u16::MAX);
    let others = members.all.iter().filter(|member| member.replica != members.own);
    let place = |member: &Member| resolver.place(&member.host, member.peer_port.saturating_add(above));
    others.map(|member| PeerAddress { replica: member.replica, place: place(member) }).collect()
}
