//! What the cores of a standby share with the thread that waits for the lock.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use windrow_core::types::PartitionId;
use windrow_store::{DataDir, OpenConfig, OpenReport};

use super::StandbyError;
use crate::net::Listener;
use crate::role::Address;
use crate::serve::ServeError;
use crate::shared::Common;

/// How far a core has come on its way from standby to leader.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// It follows.
    Following,
    /// Its partitions are its own; those of other cores may not be theirs yet.
    TakenOver,
    /// All are.
    Leading,
    /// It cannot go on.
    Failed,
}

/// What the cores of a standby share.
#[derive(Debug)]
pub(crate) struct Shared {
    common: Arc<Common>,
    config: OpenConfig,
    /// Where the leader is read from.
    followed: DataDir,
    /// Locked by this process: the leader is gone.
    locked: OnceLock<DataDir>,
    leaderless: AtomicBool,
    to_take_over: AtomicUsize,
    reports: Mutex<Vec<(PartitionId, OpenReport)>>,
    failed: Mutex<Option<ServeError>>,
    listeners: Mutex<Vec<Vec<Listener>>>,
    has_listeners: AtomicBool,
    /// Told when all cores have taken over.
    done: Mutex<Option<Sender<()>>>,
}

impl Shared {
    pub(super) fn new(
        common: Arc<Common>,
        config: OpenConfig,
        followed: DataDir,
        cores: usize,
        done: Sender<()>,
    ) -> Self {
        Self {
            common,
            config,
            followed,
            locked: OnceLock::new(),
            leaderless: AtomicBool::new(false),
            to_take_over: AtomicUsize::new(cores),
            reports: Mutex::default(),
            failed: Mutex::default(),
            listeners: Mutex::default(),
            has_listeners: AtomicBool::new(false),
            done: Mutex::new(Some(done)),
        }
    }

    /// The data directory, once it is this process's own.
    pub(crate) fn data_dir(&self) -> Option<&DataDir> {
        self.locked.get()
    }

    pub(crate) const fn config(&self) -> &OpenConfig {
        &self.config
    }

    /// Whether the last leader ended in order and nobody is to take over.
    pub(crate) fn is_leaderless(&self) -> bool {
        self.leaderless.load(Ordering::Acquire)
    }

    /// Whether all partitions are this process's own.
    pub(crate) fn is_open(&self) -> bool {
        self.to_take_over.load(Ordering::Acquire) == 0
    }

    /// Keeps what was found when a partition was taken over.
    pub(crate) fn note(&self, partition: PartitionId, report: OpenReport) {
        locked(&self.reports).push((partition, report));
    }

    pub(super) fn reports(&self) -> Vec<(PartitionId, OpenReport)> {
        std::mem::take(&mut *locked(&self.reports))
    }

    pub(super) fn set_leaderless(&self, leaderless: bool) {
        self.leaderless.store(leaderless, Ordering::Release);
        self.common.wake_all();
    }

    /// The directory is this process's own: the cores take their partitions over.
    pub(super) fn lock(&self, data_dir: DataDir) -> &DataDir {
        let data_dir = self.locked.get_or_init(|| data_dir);
        self.common.wake_all();
        data_dir
    }

    /// Gives each core its listeners.
    pub(super) fn listen(&self, listeners: Vec<Vec<Listener>>) {
        *locked(&self.listeners) = listeners;
        self.has_listeners.store(true, Ordering::Release);
        self.common.wake_all();
    }

    /// The first failure is the one that is told.
    pub(super) fn fail(&self, error: ServeError) {
        locked(&self.failed).get_or_insert(error);
        self.common.stop();
    }

    pub(super) fn failure(&self) -> Option<ServeError> {
        locked(&self.failed).take()
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.common.is_stopping()
    }
}

/// A core of a standby.
#[derive(Debug)]
pub(crate) struct StandbyCore {
    shared: Arc<Shared>,
    phase: Phase,
    /// Where the writer with this process id serves clients.
    leader: (u32, Option<Address>),
}

impl StandbyCore {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self { shared, phase: Phase::Following, leader: (0, None) }
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(crate) const fn phase(&self) -> Phase {
        self.phase
    }

    /// All partitions of this core are its own.
    pub(crate) fn has_taken_over(&mut self) {
        self.phase = Phase::TakenOver;
        if self.shared.to_take_over.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.shared.common.wake_all();
            if let Some(done) = locked(&self.shared.done).take() {
                // Whoever waited is gone only if the process is about to end.
                let _gone = done.send(());
            }
        }
    }

    /// It leads.
    pub(crate) const fn leads(&mut self) {
        self.phase = Phase::Leading;
    }

    /// It cannot go on, and so the node cannot.
    pub(crate) fn fail(&mut self, error: StandbyError) {
        self.phase = Phase::Failed;
        self.shared.fail(error.into());
    }

    /// Where the leader with this process id serves clients. Read from its lock when the id has changed.
    pub(crate) fn leader(&mut self, pid: u32) -> Option<Address> {
        if self.leader.0 != pid {
            let addresses = self.shared.followed.leader_addresses();
            let address = addresses.first().map(|address| Address { host: host(address), port: address.port() });
            self.leader = (pid, address);
        }
        self.leader.1.clone()
    }

    /// Further addresses to listen at.
    pub(crate) fn take_listeners(&self, core: usize) -> Vec<Listener> {
        // A load is what it costs where there are none; where there are, they are taken once.
        if !self.shared.has_listeners.load(Ordering::Acquire) {
            return Vec::new();
        }
        let mut all = locked(&self.shared.listeners);
        all.get_mut(core).map(std::mem::take).unwrap_or_default()
    }
}

/// Where clients of this machine reach an address.
fn host(address: &std::net::SocketAddr) -> String {
    let ip = address.ip().to_canonical();
    if ip.is_unspecified() { "127.0.0.1".to_owned() } else { ip.to_string() }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
