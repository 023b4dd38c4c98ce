//! What a node needs before it opens its partitions, whether it leads or stands by.

use std::net::TcpListener;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use windrow_store::{BuildMode, DataDir, DataDirError, NewDataDir, install_signal_handlers};

use super::listening::{listen, listen_admin};
use super::{ReplicationError, ServeError};
use crate::net::Listener;
use crate::ring::CpuSet;
use crate::runtime::{self, CoreChoiceError};
use crate::server::Identity;
use crate::settings::{Configured, Settings};

/// What a node has before its partitions are open.
pub(super) struct Ground {
    pub(super) settings: Settings,
    /// Where threads run that are no core's.
    pub(super) workers: CpuSet,
    pub(super) cpus: Vec<usize>,
    pub(super) data_dir: DataDir,
    pub(super) listeners: Vec<Vec<Listener>>,
    pub(super) admin: Option<TcpListener>,
    /// Which core hosts each partition.
    pub(super) owners: Vec<usize>,
}

impl Ground {
    /// Checks the kernel by `check` and opens the data directory by `open`, which is told how many cores there are.
    pub(super) fn new(
        configured: &Configured,
        check: impl FnOnce() -> Result<(), ServeError>,
        open: impl FnOnce(&Settings, usize) -> Result<DataDir, ServeError>,
    ) -> Result<Self, ServeError> {
        let settings = configured.settings().clone();
        let workers = CpuSet::of_this_thread().map_err(|source| ServeError::System { step: "list cpus", source })?;
        let cpus = choose_cpus(&settings)?;
        check()?;
        install_signal_handlers();
        raise_descriptor_limit(&settings);
        #[cfg(feature = "shared-memory")]
        refuse_peers(&settings)?;
        let data_dir = open(&settings, cpus.len())?;
        let listeners = listen(&settings, cpus.len())?;
        let admin = listen_admin(&settings)?;
        let owners = owners(data_dir.identity().partitions, cpus.len());
        Ok(Self { settings, workers, cpus, data_dir, listeners, admin, owners })
    }
}

fn choose_cpus(settings: &Settings) -> Result<Vec<usize>, ServeError> {
    let available = runtime::available();
    match &settings.cores {
        Some(choice) => Ok(choice.resolve(&available)?),
        None if available.is_empty() => Err(CoreChoiceError::None.into()),
        None => Ok(available),
    }
}

/// Descriptors beside those of clients: log segments, rings, listeners.
const DESCRIPTORS_BESIDE_CLIENTS: u64 = 1_024;

/// Lets the process open as many files as it may: every client is one, and every log segment.
fn raise_descriptor_limit(settings: &Settings) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let wanted = settings.max_clients as u64 + DESCRIPTORS_BESIDE_CLIENTS;
    if let Some(most) = limit.maximum
        && most < wanted
    {
        tracing::warn!(
            most,
            wanted,
            "the limit of open files is too low for max-clients: raise it (`ulimit -Hn`, systemd LimitNOFILE)"
        );
    }
}

/// Opens the directory of a node that leads, or makes it.
pub(super) fn open_data_dir(settings: &Settings, cores: usize) -> Result<DataDir, ServeError> {
    let mode = if Identity::IS_CLUSTER { BuildMode::SharedNothing } else { BuildMode::SharedMemory };
    let partitions = settings.partitions.unwrap_or_else(|| u16::try_from(cores).unwrap_or(u16::MAX));
    if !settings.peers.is_empty() {
        // A directory that is made here would be of another cluster, and a replica that nobody knows.
        return open_for_set(settings);
    }
    let data_dir =
        DataDir::open_or_create(&settings.dir, &NewDataDir { cluster: None, replica: None, partitions, mode })?;
    let found = data_dir.identity().partitions;
    match settings.partitions {
        Some(asked) if asked != found => Err(ServeError::Partitions { path: settings.dir.clone(), found, asked }),
        _ => Ok(data_dir),
    }
}

/// Opens a directory that was made by `windrow init`.
fn open_for_set(settings: &Settings) -> Result<DataDir, ServeError> {
    match DataDir::open(&settings.dir) {
        Err(DataDirError::Absent { path }) => Err(ReplicationError::NoDirectory { path }.into()),
        opened => Ok(opened?),
    }
}

/// Nodes of other machines are replicated to in the other mode only.
#[cfg(feature = "shared-memory")]
fn refuse_peers(settings: &Settings) -> Result<(), ServeError> {
    if settings.peers.is_empty() { Ok(()) } else { Err(ServeError::PeersInThisMode) }
}

/// Which core hosts each partition: neighbours together, as many on each as can be.
pub(super) fn owners(partitions: u16, cores: usize) -> Vec<usize> {
    let partitions = usize::from(partitions);
    let used = cores.min(partitions);
    (0..partitions).map(|partition| partition * used / partitions).collect()
}
