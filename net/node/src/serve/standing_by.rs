//! Starting a node beside another one: what a standby has more than a leader.

#[cfg(feature = "shared-memory")]
use std::sync::Arc;

use super::ServeError;
#[cfg(feature = "shared-memory")]
use super::{
    Common, Configured, CpuSet, DataDir, ExitReason, Hosted, Parts, Serving, SocketAddr, addresses, choose_cpus,
    hot_len, install_signal_handlers, listen, listen_admin, open_partitions, owners, raise_descriptor_limit,
    serve_parts,
};
#[cfg(feature = "shared-memory")]
use crate::standby;

/// As [`serve`](super::serve), but beside a leader of the same data directory: serves reads, and goes on as the leader when that
/// one is gone.
///
/// # Errors
/// As [`serve`](super::serve).
///
/// # Panics
/// Never.
#[cfg(feature = "shared-memory")]
pub fn serve_as_standby(
    configured: Configured,
    choice: standby::StandbyChoice,
    ready: impl FnOnce(&Serving),
) -> Result<ExitReason, ServeError> {
    let settings = configured.settings().clone();
    let workers = CpuSet::of_this_thread().map_err(|source| ServeError::System { step: "list cpus", source })?;
    let cpus = choose_cpus(&settings)?;
    standby::check_kernel()?;
    install_signal_handlers();
    raise_descriptor_limit(&settings);
    let data_dir = DataDir::open_read_only(&settings.dir)?;
    let listeners = listen(&settings, cpus.len())?;
    let admin = listen_admin(&settings)?;
    let own = addresses(&listeners);
    let port = own.first().map_or(0, SocketAddr::port);
    let owners = owners(data_dir.identity().partitions, cpus.len());
    let opened = open_partitions(&owners, cpus.len(), |id| standby::open(&data_dir, id, &settings, port))?;
    let reports = opened.iter().flatten().map(|open| (open.partition.id(), open.report.clone())).collect();
    let hot_len = hot_len(&settings, owners.len());
    let hosted = |open| Hosted::following(open, settings.segment_fill, hot_len);
    let hosted = opened.into_iter().map(|opened| opened.into_iter().map(hosted).collect()).collect();
    let followed = DataDir::open_read_only(&settings.dir)?;
    let parts = Parts {
        settings: settings.clone(),
        workers,
        cpus,
        data_dir: &data_dir,
        listeners,
        admin,
        owners,
        hosted,
        reports,
    };
    let prepare = |common: &Arc<Common>, cores| standby::prepare(followed, &settings, common, (cores, own), choice);
    serve_parts(configured, parts, prepare, ready)
}

/// What a standby has more than a leader.
pub(super) trait StandsBy: Sized {
    /// The process that leads, if that is another one.
    fn leader(&self) -> Option<u32>;
    /// What a core of a standby needs.
    #[cfg(feature = "shared-memory")]
    fn core(&self) -> Option<standby::StandbyCore>;
    /// Waits for its turn. Clients are served by now. Returns what it fails of later on.
    fn begin(self) -> Result<Box<dyn FnOnce() -> Option<ServeError>>, ServeError>;
}

pub(super) struct NoStandby;

impl StandsBy for NoStandby {
    fn leader(&self) -> Option<u32> {
        None
    }

    #[cfg(feature = "shared-memory")]
    fn core(&self) -> Option<standby::StandbyCore> {
        None
    }

    fn begin(self) -> Result<Box<dyn FnOnce() -> Option<ServeError>>, ServeError> {
        Ok(Box::new(|| None))
    }
}

#[cfg(feature = "shared-memory")]
impl StandsBy for standby::Starting {
    fn leader(&self) -> Option<u32> {
        Some(self.leader)
    }

    fn core(&self) -> Option<standby::StandbyCore> {
        Some(standby::StandbyCore::new(Arc::clone(&self.shared)))
    }

    fn begin(self) -> Result<Box<dyn FnOnce() -> Option<ServeError>>, ServeError> {
        let shared = Arc::clone(&self.shared);
        self.wait_for_lock()?;
        Ok(Box::new(move || standby::failure(&shared)))
    }
}
