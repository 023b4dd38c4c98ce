//! What all cores of a node share about the node itself: who it is, its settings, its statistics.
//!
//! Nothing here is on the path of a data command. The settings are read through [`Live`], which every core keeps a
//! copy of and renews when [`Node::settings_version`] has moved; the mutexes are held for a few instructions, by
//! commands of operators and by slow commands.

#[cfg(feature = "shared-nothing")]
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windrow_core::types::UnixMillis;

use super::identity::Identity;
use super::latency_events::LatencyEvents;
use super::slowlog::SlowLog;
use crate::admin::{Health, Source};
use crate::auth::{PasswordError, PasswordHash, random_bytes};
use crate::metrics::{
    CoreMetrics, Direction, FollowerFact, Memory, NodeFacts, NodeMetrics, PartFact, ReplicationFacts, command_names,
    memory, render,
};
use crate::net::Limits;
#[cfg(feature = "shared-nothing")]
use crate::peers::WireCounters;
use crate::role::{Board, Follower, FollowerState, Status};
use crate::settings::{ChangeError, Configured, Settings};

/// A core that has not ticked for this long does not work.
const HEARTBEAT_MAX: Duration = Duration::from_secs(10);

/// Where a node is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// It does not serve yet.
    Starting,
    /// It serves.
    Serving,
    /// It finishes what is in flight.
    Stopping,
}

/// Settings as the cores use them.
#[derive(Clone, Debug)]
pub struct Live {
    /// All settings.
    pub settings: Settings,
    /// The password of clients.
    pub password: Option<PasswordHash>,
}

/// Why the node's shared state cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The password's stored form is none.
    #[error("requirepass: {0}; `windrow hash-password` prints one")]
    Password(#[from] PasswordError),
    /// The kernel gave no random bytes for the password's salt.
    #[error("cannot read random bytes: {0}")]
    Random(#[from] std::io::Error),
}

/// Why `CONFIG SET` changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SetError {
    /// See [`ChangeError`].
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// See [`NodeError`].
    #[error(transparent)]
    Password(#[from] NodeError),
}

/// What all cores share about their node.
#[derive(Debug)]
pub struct Node {
    /// Who this node is.
    pub identity: Identity,
    /// What it counts.
    pub metrics: NodeMetrics,
    /// Its part in replication.
    pub replication: Board,
    configured: Mutex<Configured>,
    live: Mutex<Arc<Live>>,
    version: AtomicU64,
    slow: Box<[Mutex<SlowLog>]>,
    slow_entries: AtomicU64,
    events: Box<[Mutex<LatencyEvents>]>,
    phase: AtomicU8,
    memory_peak: AtomicU64,
    #[cfg(feature = "shared-nothing")]
    wire: OnceLock<Vec<Arc<WireCounters>>>,
}

impl Node {
    /// The state of a node that starts with these settings, on `cores` cores.
    ///
    /// # Errors
    /// See [`NodeError`].
    pub fn new(configured: Configured, identity: Identity, cores: usize) -> Result<Self, NodeError> {
        let live = Arc::new(live(configured.settings())?);
        let partitions = usize::from(identity.partitions.count());
        Ok(Self {
            metrics: NodeMetrics::new(&command_names(), cores, partitions),
            replication: Board::new(partitions),
            configured: Mutex::new(configured),
            live: Mutex::new(live),
            version: AtomicU64::new(0),
            slow: (0..cores).map(|_| Mutex::default()).collect(),
            slow_entries: AtomicU64::new(0),
            events: (0..cores).map(|_| Mutex::default()).collect(),
            phase: AtomicU8::new(0),
            memory_peak: AtomicU64::new(0),
            #[cfg(feature = "shared-nothing")]
            wire: OnceLock::new(),
            identity,
        })
    }

    /// The counters of one core, for that core to write. There must be one writer.
    ///
    /// # Panics
    /// If there is no such core.
    #[must_use]
    pub fn core_metrics(&self, core: usize) -> CoreMetrics {
        CoreMetrics::new(Arc::clone(&self.metrics.cores()[core]))
    }

    /// The settings now.
    #[must_use]
    pub fn live(&self) -> Arc<Live> {
        Arc::clone(&locked(&self.live))
    }

    /// Rises with every change of the settings.
    #[must_use]
    pub fn settings_version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The settings with their origins.
    pub fn configured(&self) -> MutexGuard<'_, Configured> {
        locked(&self.configured)
    }

    /// Changes settings, all of them or none.
    ///
    /// # Errors
    /// See [`SetError`].
    pub fn change(&self, changes: &[(&str, &str)]) -> Result<(), SetError> {
        let mut configured = self.configured();
        let mut changed = configured.clone();
        changed.change(changes)?;
        let live = live(changed.settings())?;
        *configured = changed;
        *locked(&self.live) = Arc::new(live);
        self.version.fetch_add(1, Ordering::AcqRel);
        Ok(())
    }

    /// The limits that hold on `core`. The number of clients is that of the node, less those of the other cores.
    #[must_use]
    pub fn limits(&self, core: usize) -> Limits {
        let live = self.live();
        let settings = &live.settings;
        let others = self.metrics.cores().iter().enumerate().filter(|&(other, _)| other != core);
        let elsewhere = others.fold(0_u64, |sum, (_, other)| sum.saturating_add(other.counters.connections.get()));
        Limits {
            clients_max: settings.max_clients.saturating_sub(usize::try_from(elsewhere).unwrap_or(usize::MAX)),
            clients_per_address_max: settings.max_clients_per_address,
            output_len_max: settings.output_limit,
            output_soft_len: settings.output_soft_limit,
            output_soft_duration: settings.output_soft_duration,
            idle_timeout: settings.timeout,
            tcp_keepalive: settings.tcp_keepalive,
            idle_poll: settings.idle_poll,
            ..Limits::default()
        }
    }

    /// The slow log of each core.
    pub fn slow_logs(&self) -> impl Iterator<Item = MutexGuard<'_, SlowLog>> {
        self.slow.iter().map(locked)
    }

    /// The slow log of one core, and the number of the next entry.
    pub(super) fn slow_log(&self, core: usize) -> Option<(MutexGuard<'_, SlowLog>, u64)> {
        Some((locked(self.slow.get(core)?), self.slow_entries.fetch_add(1, Ordering::Relaxed)))
    }

    /// The latency events of each core.
    pub fn latency_events(&self) -> impl Iterator<Item = MutexGuard<'_, LatencyEvents>> {
        self.events.iter().map(locked)
    }

    pub(super) fn latency_events_of(&self, core: usize) -> Option<MutexGuard<'_, LatencyEvents>> {
        self.events.get(core).map(locked)
    }

    /// Where the node is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Starting,
            1 => Phase::Serving,
            _ => Phase::Stopping,
        }
    }

    /// Moves the node on. It never goes back.
    pub fn enter(&self, phase: Phase) {
        let number = match phase {
            Phase::Starting => 0,
            Phase::Serving => 1,
            Phase::Stopping => 2,
        };
        self.phase.fetch_max(number, Ordering::AcqRel);
    }

    /// When everything appended was last seen on disk, as a Unix time in seconds. A core that has not ticked yet has
    /// appended nothing.
    #[must_use]
    pub fn last_durable(&self, now: UnixMillis) -> u64 {
        let times = self.metrics.cores().iter().map(|core| core.counters.all_durable_unix_s.get());
        times.filter(|&time| time > 0).min().unwrap_or(now.get() / 1_000)
    }

    /// The replication offset: the end of what is committed, over all partitions.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.metrics.partition_sum(|partition| partition.committed_lsn.get())
    }

    /// What the metrics tell about replication.
    fn replication_facts(&self) -> ReplicationFacts {
        let now = Instant::now();
        let seconds = |moment: Option<Instant>| moment.map(|at| now.saturating_duration_since(at).as_secs_f64());
        let follower = |one: &Follower| FollowerFact {
            name: one.name.clone(),
            is_online: one.state == FollowerState::Online,
            lag_bytes: one.lag,
            lag_seconds: seconds(one.behind_since).unwrap_or(0.0),
        };
        let part = |status: MutexGuard<'_, Status>| PartFact {
            leads: status.part.is_leader(),
            staleness: if status.part.is_leader() { None } else { seconds(status.fresh_at) },
            followers: status.followers.iter().map(follower).collect(),
        };
        ReplicationFacts { partitions: self.replication.partitions().map(part).collect(), bytes: self.wire_bytes() }
    }

    #[cfg(feature = "shared-memory")]
    #[expect(clippy::unused_self, reason = "the other mode needs it")]
    const fn wire_bytes(&self) -> Vec<(usize, Direction, &'static str, u64)> {
        Vec::new()
    }

    /// Bytes of logs that went to other nodes and came from there.
    #[cfg(feature = "shared-nothing")]
    fn wire_bytes(&self) -> Vec<(usize, Direction, &'static str, u64)> {
        let cores = self.wire.get().map(Vec::as_slice).unwrap_or_default();
        let of_core = |(core, counters): (usize, &Arc<WireCounters>)| {
            [
                (core, Direction::Sent, "gathered", counters.sent_gathered_bytes.get()),
                (core, Direction::Sent, "sendfile", counters.sent_file_bytes.get()),
                (core, Direction::Sent, "zero-copy", counters.sent_zero_copy_bytes.get()),
                (core, Direction::Sent, "zero-copy-copied", counters.sent_zero_copy_copied_bytes.get()),
                (core, Direction::Received, "direct", counters.received_direct_bytes.get()),
                (core, Direction::Received, "copied", counters.received_copied_bytes.get()),
                (core, Direction::Received, "discarded", counters.received_discarded_bytes.get()),
            ]
        };
        cores.iter().enumerate().flat_map(of_core).collect()
    }

    /// What the connections of each core with other nodes count; set once, at the start.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn set_wire(&self, counters: Vec<Arc<WireCounters>>) {
        self.wire.get_or_init(|| counters);
    }

    /// Memory now, and the most beside the log that was ever seen here.
    #[must_use]
    pub fn memory(&self) -> (Memory, u64) {
        let memory = memory();
        let before = self.memory_peak.fetch_max(memory.anonymous, Ordering::Relaxed);
        (memory, before.max(memory.anonymous))
    }
}

/// What the admin endpoint shows.
impl Source for Node {
    fn metrics(&self) -> String {
        let live = self.live();
        let facts = NodeFacts {
            version: Identity::VERSION,
            mode: Identity::MODE,
            durability: live.settings.durability.name(),
            connections_max: u64::try_from(live.settings.max_clients).unwrap_or(u64::MAX),
            memory: self.memory().0,
            replication: self.replication_facts(),
        };
        render(&self.metrics, &facts)
    }

    fn health(&self) -> Health {
        let uptime = self.metrics.uptime();
        for (number, core) in self.metrics.cores().iter().enumerate() {
            let silent = uptime.saturating_sub(Duration::from_millis(core.counters.heartbeat_ms.get()));
            if self.phase() == Phase::Serving && silent > HEARTBEAT_MAX {
                return Err(format!("core {number} has not been heard of for {} s", silent.as_secs()));
            }
        }
        Ok(())
    }

    fn readiness(&self) -> Health {
        match self.phase() {
            Phase::Starting => Err("starting".to_owned()),
            Phase::Serving => self.health(),
            Phase::Stopping => Err("stopping".to_owned()),
        }
    }

    fn title(&self) -> String {
        let port = self.identity.port;
        format!("Windrow {} ({}), serving clients on port {port}", Identity::VERSION, Identity::MODE)
    }
}

fn live(settings: &Settings) -> Result<Live, NodeError> {
    let password = match &settings.requirepass {
        Some(secret) => Some(PasswordHash::from_setting(secret.expose(), random_bytes()?)?),
        None => None,
    };
    Ok(Live { settings: settings.clone(), password })
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::super::testing::node;
    use super::*;

    #[test]
    fn clients_of_other_cores_count_against_the_limit() {
        let node = node(2);
        node.metrics.cores()[1].counters.connections.set(4_000);
        assert_eq!(node.limits(0).clients_max, 6_000);
        assert_eq!(node.limits(1).clients_max, 10_000);
    }

    #[test]
    fn a_change_that_is_refused_changes_nothing() {
        let node = node(1);
        assert!(node.change(&[("timeout", "5"), ("max-clients", "0")]).is_err());
        assert!(node.change(&[("requirepass", "sha256:oops")]).is_err());
        assert_eq!((node.settings_version(), node.live().settings.timeout), (0, None));
        node.change(&[("timeout", "5"), ("requirepass", "x")]).unwrap();
        assert_eq!(node.limits(0).idle_timeout, Some(Duration::from_secs(5)));
        assert!(node.live().password.as_ref().is_some_and(|password| password.matches(b"x")));
        node.change(&[("requirepass", "")]).unwrap();
        assert!(node.live().password.is_none());
        assert_eq!(node.settings_version(), 2);
    }

    #[test]
    fn it_is_ready_while_it_serves() {
        let node = node(1);
        assert_eq!(node.readiness(), Err("starting".to_owned()));
        node.enter(Phase::Serving);
        assert_eq!(node.readiness(), Ok(()));
        node.enter(Phase::Stopping);
        node.enter(Phase::Serving);
        assert_eq!(node.readiness(), Err("stopping".to_owned()));
    }

    #[test]
    fn the_metrics_page_names_the_node() {
        let page = Source::metrics(&*node(1));
        assert!(page.contains("durability=\"commit\"") && page.contains(Identity::VERSION), "{page}");
    }
}
