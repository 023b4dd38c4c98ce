//! Starting a node beside another one: what a standby has more than a leader.

#[cfg(feature = "shared-memory")]
use std::sync::Arc;

use super::ServeError;
#[cfg(feature = "shared-memory")]
use super::{
    Common, Configured, DataDir, ExitReason, Ground, Hosted, Parts, Serving, SocketAddr, addresses, hot_len,
    open_partitions, serve_parts,
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
    let ground = Ground::new(&configured, standby::check_kernel, |settings, _| {
        DataDir::open_read_only(&settings.dir).map_err(ServeError::from)
    })?;
    let Ground { settings, cpus, data_dir, listeners, owners, .. } = &ground;
    let own = addresses(listeners);
    let port = own.first().map_or(0, SocketAddr::port);
    let opened = open_partitions(owners, cpus.len(), |id| standby::open(data_dir, id, settings, port))?;
    let reports = opened.iter().flatten().map(|open| (open.partition.id(), open.report.clone())).collect();
    let hot_len = hot_len(settings, owners.len());
    let hosted = |open| Hosted::following(open, settings.segment_fill, hot_len);
    let hosted = opened.into_iter().map(|opened| opened.into_iter().map(hosted).collect()).collect();
    let followed = DataDir::open_read_only(&settings.dir)?;
    let settings = settings.clone();
    let parts = Parts { ground, hosted, reports };
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
