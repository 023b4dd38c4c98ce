//! What the connections of one core need to know.

use std::time::Duration;

use windrow_core::replication::ReplicaId;
use windrow_core::types::{ClusterId, PartitionId};
use windrow_proto::replication::Layout;

use super::place::Place;
use super::secret::Secret;

/// What the connections of one core need to know.
#[derive(Clone, Debug)]
pub struct WireConfig {
    /// Which replica this node is.
    pub replica: ReplicaId,
    /// The cluster of its data.
    pub cluster: ClusterId,
    /// How many partitions the cluster has, and on how many cores they are on every node.
    pub layout: Layout,
    /// The partitions of this core.
    pub partitions: Vec<PartitionId>,
    /// All other nodes.
    pub peers: Vec<PeerAddress>,
    /// What all of them know.
    pub secret: Secret,
    /// How large pieces of the log are sent.
    pub large: LargeWay,
    /// How long things may take.
    pub times: Times,
    /// Any number, another one on each core and at each start. Only delays depend on it.
    pub draw: u64,
}

/// Another node.
#[derive(Clone, Debug)]
pub struct PeerAddress {
    /// Which replica it is.
    pub replica: ReplicaId,
    /// Where the core of it listens that has the same partitions as this one.
    pub place: Place,
}

/// How large pieces of the log are sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum LargeWay {
    /// By `sendfile`: the kernel sends the pages of the segment's file themselves.
    #[default]
    SendFile,
    /// By `SEND_ZC`: the kernel sends from the mapping, and says afterwards whether it had to copy. Needs locked memory
    /// for what is in flight.
    ZeroCopy,
    /// As small pieces: the kernel copies them into the socket.
    Gathered,
}

/// How long things may take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    /// Until a connection is made and both ends have proved themselves.
    pub handshake_within: Duration,
    /// A peer from which nothing has come for so long is gone, whatever the kernel says.
    pub silent_after: Duration,
    /// Whoever has sent nothing for so long shows that it is there.
    pub alive_every: Duration,
    /// Before the second attempt to connect; then twice as long each time, unless the host says that nobody listens.
    pub redial_min: Duration,
    /// The longest time between two attempts.
    pub redial_max: Duration,
    /// How many attempts in a row a host may refuse, because nobody listens there, before they get rarer.
    pub redials_quick: u32,
    /// The longest time between two attempts where the host refuses.
    pub redial_refused_max: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            handshake_within: Duration::from_secs(5),
            silent_after: Duration::from_secs(3),
            alive_every: Duration::from_millis(500),
            redial_min: Duration::from_millis(100),
            redial_max: Duration::from_secs(5),
            redials_quick: 100,
            redial_refused_max: Duration::from_secs(1),
        }
    }
}
