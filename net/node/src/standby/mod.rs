//! A standby: a process beside the leader that follows its logs in place, serves reads, and goes on as the leader when
//! that process is gone.
//!
//! It owns no data: it maps the leader's segments read-only, verifies what the leader has committed where it lies, and
//! keeps an index of its own. The proof that the leader is gone is the lock on the data directory, which the kernel
//! gives to one of those who wait for it when the leader's process has ended, however it ended. No time-out decides
//! anything. What a standby takes over has passed the rules of recovery (see [`windrow_store::Follower::take_over`]).
//!
//! Its flushes are the leader's, on the same disk: it guards against the end of a process, not against that of the
//! machine or the disk, and so counts neither for `WAIT` nor for what is committed.

mod error;
mod shared;
mod takeover;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;

use windrow_core::types::PartitionId;
use windrow_store::{ControlFollower, DataDir, OpenFollower, open_follower};

pub use error::StandbyError;
pub(crate) use shared::{Phase, Shared, StandbyCore};
use takeover::Waiting;

use crate::ring::{FUTEX_WAIT, probe};
use crate::serve::{ServeError, open_config};
use crate::settings::Settings;
use crate::shared::Common;

/// What a standby does when its leader is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StandbyChoice {
    /// It also serves clients at the leader's addresses.
    pub leader_address: bool,
    /// It takes over from a leader that has ended in order, too. Otherwise it waits for the next one.
    pub after_shutdown: bool,
}

/// A standby on its way to its cores.
pub(crate) struct Starting {
    pub(crate) shared: Arc<Shared>,
    waiting: Waiting,
    /// The process that leads, as far as is known.
    pub(crate) leader: u32,
}

/// Refuses a kernel that a standby cannot sleep on.
pub(crate) fn check_kernel() -> Result<(), ServeError> {
    let can_wait = probe()?.iter().any(|capability| capability.name == FUTEX_WAIT && capability.present);
    if can_wait { Ok(()) } else { Err(StandbyError::Kernel { what: FUTEX_WAIT }.into()) }
}

/// Opens one partition to follow it, and tells its leader so.
pub(crate) fn open(
    data_dir: &DataDir,
    partition: PartitionId,
    settings: &Settings,
    port: u16,
) -> Result<OpenFollower, ServeError> {
    let opened = open_follower(data_dir, partition, &open_config(settings));
    let mut opened = opened.map_err(|source| ServeError::Open { partition, source: Box::new(source) })?;
    let attached = opened.follower.attach(port, &opened.partition);
    match attached {
        Ok(true) => {}
        Ok(false) => tracing::warn!(%partition, "the leader has no place left to list this standby in"),
        Err(source) => {
            return Err(ServeError::Open { partition, source: Box::new(source.into()) });
        }
    }
    Ok(opened)
}

/// What is needed beside the cores; nothing waits for the lock yet.
pub(crate) fn prepare(
    data_dir: DataDir,
    settings: &Settings,
    common: &Arc<Common>,
    (cores, own): (usize, Vec<SocketAddr>),
    choice: StandbyChoice,
) -> Result<Starting, ServeError> {
    let partition = PartitionId::new(0);
    let control = ControlFollower::open(&data_dir.partition_path(partition), partition)
        .map_err(|source| ServeError::Open { partition, source: Box::new(source.into()) })?;
    let leader = control.writer_pid();
    let (done, all_done) = channel();
    let followed = DataDir::open_read_only(data_dir.path())?;
    let shared = Arc::new(Shared::new(Arc::clone(common), open_config(settings), followed, cores, done));
    let waiting = Waiting { shared: Arc::clone(&shared), data_dir, control, choice, cores, own, all_done };
    Ok(Starting { shared, waiting, leader })
}

impl Starting {
    /// Waits for the lock, on a thread of its own.
    pub(crate) fn wait_for_lock(self) -> Result<(), ServeError> {
        let run = move || self.waiting.run();
        let thread = std::thread::Builder::new().name("windrow-lock".to_owned()).spawn(run);
        thread
            .map(drop)
            .map_err(|source| ServeError::System { step: "start the thread that waits for the lock", source })
    }
}

/// What a standby failed of, if it did.
pub(crate) fn failure(shared: &Shared) -> Option<ServeError> {
    shared.failure()
}
