//! The replicas of one core, and how the settings make them.

use std::collections::BTreeSet;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use windrow_core::replication::limits::WINDOW_LEN_DEFAULT;
use windrow_core::replication::{CommitRule, Config, Moment, ReplicaId};
use windrow_core::types::{ClusterId, PartitionId};

use super::part::Part;
use crate::peers::PeerAddress;
use crate::role::Members;
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
}

impl Replicas {
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
///
/// # Errors
/// [`ReplicationError::Resolve`]: a name that is not known.
pub(crate) fn peer_addresses(members: &Members, core: usize) -> Result<Vec<PeerAddress>, ReplicationError> {
    let above = u16::try_from(core).unwrap_or(u16::MAX);
    let others = members.all.iter().filter(|member| member.replica != members.own);
    let address = |member: &crate::role::Member| {
        let place = (member.host.as_str(), member.peer_port.saturating_add(above));
        let found: Result<Option<SocketAddr>, _> = place.to_socket_addrs().map(|mut all| all.next());
        let failed = |source| ReplicationError::Resolve { host: member.host.clone(), source };
        let address = found.map_err(failed)?.ok_or_else(|| failed(std::io::ErrorKind::NotFound.into()))?;
        Ok(PeerAddress { replica: member.replica, address })
    };
    others.map(address).collect()
}
