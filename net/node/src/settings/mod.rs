//! What an operator can choose.
//!
//! [`Settings`] is plain data that has been validated; [`FIELDS`] is the one table that the settings file, the
//! environment, the flags of `windrow serve`, `CONFIG` and the manual are made from; [`Configured`] is the settings
//! together with where each came from. Nothing is clamped: a value outside the allowed ones is refused with the
//! allowed ones and with the place that it came from.

mod configured;
mod error;
mod fields;
mod file;
mod kind;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use windrow_core::replication::{CommitRule, ReplicaId};
use windrow_core::types::limits::{SEGMENT_LEN_DEFAULT, SEGMENTS_AHEAD_DEFAULT};
use windrow_store::FillMode;

pub use configured::Configured;
pub use error::{ChangeError, LoadError, Source};
pub use fields::{FIELDS, Field, find};
pub use kind::{Kind, Value};

use crate::net::limits;
use crate::role::Member;
use crate::runtime::CoreChoice;

/// What an operator can choose, validated.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// The data directory.
    pub dir: PathBuf,
    /// The addresses that clients connect to. Never empty.
    pub bind: Vec<IpAddr>,
    /// The port that clients connect to; 0 lets the system choose one.
    pub port: u16,
    /// The address of the admin endpoint.
    pub admin_bind: IpAddr,
    /// The port of the admin endpoint (metrics, health); 0 turns it off.
    pub admin_port: u16,
    /// The processor cores to run on; `None` for all that the process may use.
    pub cores: Option<CoreChoice>,
    /// How many partitions a new data directory gets; `None` for one per core.
    pub partitions: Option<u16>,
    /// Bytes of one log segment.
    pub segment_size: u64,
    /// How a new segment's space is written.
    pub segment_fill: FillMode,
    /// How many segments are kept prepared ahead of the one in use.
    pub segments_ahead: usize,
    /// Percent of the memory available at the start that the newest records are taken to have; older ones may be on
    /// disk only.
    pub hot_memory_percent: u64,
    /// Bytes of memory that each partition keeps its newest segments in while what they hold is overwritten soon; 0 turns
    /// that off.
    pub tail_memory: u64,
    /// When a write is confirmed.
    pub durability: Durability,
    /// With [`Durability::Memory`]: a confirmed write is flushed within this time.
    pub memory_flush_interval: Duration,
    /// How long a core looks for something to do before it sleeps, while one client waits for a flush.
    pub idle_poll: Duration,
    /// All nodes of the replicated set, this one included; empty where there is none.
    pub peers: Vec<Member>,
    /// The address that peers connect to; `None` for the first one of clients.
    pub peer_bind: Option<IpAddr>,
    /// The file that holds what all nodes of the set know.
    pub peer_secret_file: Option<PathBuf>,
    /// Those of the peers whose flushes do not count.
    pub learners: Vec<ReplicaId>,
    /// Which replica leads where nobody else does.
    pub leader: Option<ReplicaId>,
    /// On how many replicas a write is flushed before it is confirmed.
    pub commit: CommitRule,
    /// How long a follower that has heard from its leader helps nobody else to lead.
    pub lease: Duration,
    /// The password of clients.
    pub requirepass: Option<Secret>,
    /// The file that the password was read from.
    pub requirepass_file: Option<PathBuf>,
    /// Refuse clients from other machines while there is no password.
    pub protected_mode: bool,
    /// The most clients at once.
    pub max_clients: usize,
    /// The most clients at once from one address; `None` for any number.
    pub max_clients_per_address: Option<usize>,
    /// A silent client is disconnected after this time; `None` for never.
    pub timeout: Option<Duration>,
    /// Silence after which TCP asks whether a client is still there; `None` for never.
    pub tcp_keepalive: Option<Duration>,
    /// Bytes of one reply. A client for which more than this and `output_soft_limit` wait in memory is disconnected.
    pub output_limit: usize,
    /// Bytes of replies that may wait for one client for `output_soft_duration`. At most `output_limit`.
    pub output_soft_limit: usize,
    /// See `output_soft_limit`.
    pub output_soft_duration: Duration,
    /// Commands that take longer go to the slow log; `None` turns it off.
    pub slowlog_log_slower_than: Option<Duration>,
    /// Entries that the slow log keeps.
    pub slowlog_max_len: usize,
    /// Events that take at least this long are recorded for `LATENCY`; `None` turns that off.
    pub latency_monitor_threshold: Option<Duration>,
    /// The form of the log that the process writes about itself.
    pub log_format: LogFormat,
    /// How much it writes.
    pub log_level: LogLevel,
    /// Whether clients may use `DEBUG`.
    pub enable_debug_command: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("windrow-data"),
            bind: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 6379,
            admin_bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            admin_port: 9121,
            cores: None,
            partitions: None,
            segment_size: SEGMENT_LEN_DEFAULT,
            segment_fill: FillMode::default(),
            segments_ahead: SEGMENTS_AHEAD_DEFAULT,
            hot_memory_percent: limits::HOT_MEMORY_PERCENT_DEFAULT,
            tail_memory: limits::TAIL_MEMORY_DEFAULT,
            durability: Durability::Commit,
            memory_flush_interval: Duration::from_secs(1),
            idle_poll: limits::IDLE_POLL_DEFAULT,
            peers: Vec::new(),
            peer_bind: None,
            peer_secret_file: None,
            learners: Vec::new(),
            leader: None,
            commit: CommitRule::Quorum,
            lease: Duration::from_secs(2),
            requirepass: None,
            requirepass_file: None,
            protected_mode: true,
            max_clients: limits::CLIENTS_MAX_DEFAULT,
            max_clients_per_address: None,
            timeout: None,
            tcp_keepalive: Some(limits::TCP_KEEPALIVE_DEFAULT),
            output_limit: limits::OUTPUT_LEN_MAX,
            output_soft_limit: limits::OUTPUT_SOFT_LEN,
            output_soft_duration: limits::OUTPUT_SOFT_DURATION,
            slowlog_log_slower_than: Some(Duration::from_millis(10)),
            slowlog_max_len: 128,
            latency_monitor_threshold: None,
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            enable_debug_command: false,
        }
    }
}

impl Settings {
    /// Whether `address` can only be reached from this machine.
    #[must_use]
    pub fn is_local(address: IpAddr) -> bool {
        address.to_canonical().is_loopback()
    }
}

/// When a write is confirmed to the client.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Durability {
    /// After the flush that covers it: a confirmed write survives a power cut.
    Commit,
    /// At once. It survives the end of the process, and a power cut once it has been flushed.
    Memory,
}

impl Durability {
    /// Its name in settings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Memory => "memory",
        }
    }
}

/// The form of the log that the process writes about itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// How much the process writes about itself.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LogLevel {
    /// What needs somebody to act.
    Error,
    /// What somebody should look at.
    Warn,
    /// Starts, stops and changes.
    Info,
    /// What helps to find a fault.
    Debug,
    /// Everything.
    Trace,
}

/// A password, plain or in its stored form. It is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that hashes or compares it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
