//! What keeps a node from starting, and what to do about it.

use std::net::SocketAddr;
use std::path::PathBuf;

use thiserror::Error;
use windrow_core::replication::{ConfigError, ReplicaId};
use windrow_core::types::PartitionId;
use windrow_store::{DataDirError, OpenError};

use crate::net::ListenError;
#[cfg(feature = "shared-nothing")]
use crate::peers::SecretError;
use crate::ring::SetupError;
use crate::runtime::{CoreChoiceError, CoreError};
use crate::server::NodeError;

/// Why a node did not start, or could not go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The cores that were asked for.
    #[error(transparent)]
    Cores(#[from] CoreChoiceError),
    /// io_uring does not work here as it must.
    #[error(transparent)]
    Ring(#[from] SetupError),
    /// The data directory.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The directory was made with another number of partitions, which never changes.
    #[error(
        "{}: has {found} partitions, not {asked}. Remedy: leave --partitions out (any number of cores can serve them), \
         or choose another --dir", path.display()
    )]
    Partitions {
        /// The directory.
        path: PathBuf,
        /// How many it has.
        found: u16,
        /// How many were asked for.
        asked: u16,
    },
    /// An address for clients.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// There are not enough ports above the first.
    #[error(
        "{cores} cores need {cores} ports from {first} on, and there are only 65535. Remedy: choose a lower --port"
    )]
    Ports {
        /// The first port.
        first: u16,
        /// How many cores there are.
        cores: usize,
    },
    /// Peers in a build that has none.
    #[error(
        "this build is for shared-memory mode, in which there are no peers. Remedy: leave `peers` out, or serve with a \
         build of `--no-default-features --features shared-nothing`"
    )]
    PeersInThisMode,
    /// The settings of replication.
    #[error(transparent)]
    Replication(#[from] ReplicationError),
    /// The secret of the set.
    #[cfg(feature = "shared-nothing")]
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A partition does not open.
    #[error("partition {partition}: {source}")]
    Open {
        /// Which one.
        partition: PartitionId,
        /// Why.
        source: Box<OpenError>,
    },
    /// The state that all cores share.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The admin endpoint.
    #[error("the admin endpoint cannot listen on {address}: {source}. Remedy: choose another --admin-port, 0 for none")]
    Admin {
        /// Its address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// A core's executor.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A standby that cannot follow its leader, or take over from it.
    #[cfg(feature = "shared-memory")]
    #[error(transparent)]
    Standby(#[from] crate::standby::StandbyError),
    /// A core could not go on.
    #[error("core {core}: its ring does not work any more: {source}")]
    CoreStopped {
        /// Which one.
        core: usize,
        /// Why.
        source: std::io::Error,
    },
    /// A system call that hardly ever fails.
    #[error("cannot {step}: {source}")]
    System {
        /// What was being done.
        step: &'static str,
        /// Why.
        source: std::io::Error,
    },
}

/// Why the settings of replication do not go together.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum ReplicationError {
    /// There is no directory yet.
    #[error(
        "{}: there is no data directory here, and one with peers is not made by itself. Remedy: `windrow init --dir`, \
         with --cluster on all nodes but the first", path.display()
    )]
    NoDirectory {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// This directory is another replica.
    #[error(
        "this data directory is replica {own}, which `peers` does not name. Remedy: put what `windrow init` has printed \
         for this directory into `peers`, on every node of the set"
    )]
    Stranger {
        /// Which replica it is.
        own: ReplicaId,
    },
    /// A learner or leader that is not among the peers.
    #[error("`{setting}` names replica {replica}, which `peers` does not. Remedy: name it there, too")]
    Unknown {
        /// The setting.
        setting: &'static str,
        /// Whom it names.
        replica: ReplicaId,
    },
    /// What the replicas themselves refuse.
    #[error("the settings of replication do not go together: {0}")]
    Config(#[from] ConfigError),
}
