//! What there is to count on one core.

use std::sync::OnceLock;

use super::counter::{Counter, Gauge};
use super::errors::ERROR_PREFIXES;
use super::histogram::{Scale, SharedHistogram};

/// The parts of a request's way through a core. Each is named by the event that ends it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// From the arrival of the bytes until execution began.
    Queued,
    /// Execution, which includes the append to the log.
    Appended,
    /// From the append until the record was committed. Only replies that had to wait are counted.
    Flushed,
    /// All of it: from the arrival of the bytes to handing the reply to the kernel.
    Replied,
}

impl Stage {
    /// All stages, in the order of their indices.
    pub const ALL: [Self; 4] = [Self::Queued, Self::Appended, Self::Flushed, Self::Replied];

    /// The stage's name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Appended => "appended",
            Self::Flushed => "flushed",
            Self::Replied => "replied",
        }
    }

    pub(super) const fn index(self) -> usize {
        match self {
            Self::Queued => 0,
            Self::Appended => 1,
            Self::Flushed => 2,
            Self::Replied => 3,
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was executed, whatever it found.
    Done,
    /// It was executed and answered with an error.
    Failed,
    /// It was refused before it was executed: unknown arguments, no authentication, no space.
    Rejected,
}

/// The plain counters of a core. Only the core writes them.
#[derive(Debug, Default)]
pub struct CoreCounters {
    /// Connections accepted, whether or not they were kept.
    pub connections_received: Counter,
    /// Connections refused: too many, or denied by protected mode.
    pub connections_rejected: Counter,
    /// Connections open now.
    pub connections: Gauge,
    /// Connections open now that have yet to authenticate.
    pub connections_unauthenticated: Gauge,
    /// Connections whose reply is held back for a time now: WAIT, a wrong password.
    pub clients_blocked: Gauge,
    /// The most bytes of input that one connection has ever held here.
    pub input_buffer_bytes_max: Gauge,
    /// The most bytes of output that one connection has ever held here.
    pub output_buffer_bytes_max: Gauge,
    /// Bytes of input and output buffers now.
    pub buffer_bytes: Gauge,
    /// Commands executed.
    pub commands: Counter,
    /// Commands of this core's connections that another core executed.
    pub commands_forwarded: Counter,
    /// Bytes received from clients.
    pub net_input_bytes: Counter,
    /// Bytes sent to clients.
    pub net_output_bytes: Counter,
    /// Keys looked up by a reading command and found.
    pub keyspace_hits: Counter,
    /// Keys looked up by a reading command and not found.
    pub keyspace_misses: Counter,
    /// Keys that the sweep has deleted since they had expired.
    pub keys_expired: Counter,
    /// Connections closed because they would not read their replies.
    pub output_limit_disconnections: Counter,
    /// Connections closed because they sent too much in one request.
    pub input_limit_disconnections: Counter,
    /// Connections closed because they took too long to authenticate or to finish a command.
    pub deadline_disconnections: Counter,
    /// Requests that were not RESP.
    pub protocol_errors: Counter,
    /// Attempts to authenticate that failed.
    pub authentication_failures: Counter,
    /// Writes refused because there was no room for a segment.
    pub writes_refused_no_space: Counter,
    /// Writes refused because the disk refused a segment.
    pub writes_refused_no_segment: Counter,
    /// Flushes completed.
    pub flushes: Counter,
    /// Reads of the log begun because a command's records were not in memory.
    pub cold_reads: Counter,
    /// Times that a standby took in what its leader had committed.
    pub follows: Counter,
    /// Times that a standby's wait for its leader ended.
    pub follow_wakes: Counter,
    /// How long the latest flush took.
    pub flush_last_us: Gauge,
    /// Rounds of the core's event loop.
    pub loop_rounds: Counter,
    /// When the core last saw all it had appended on disk, as a Unix time in seconds.
    pub all_durable_unix_s: Gauge,
    /// When the core last ticked, in milliseconds since the node started.
    pub heartbeat_ms: Gauge,
    /// CPU time of the core's thread, kernel included, as of the last tick.
    pub cpu_user_us: Gauge,
    /// As [`cpu_user_us`](Self::cpu_user_us), in the kernel.
    pub cpu_system_us: Gauge,
    /// Commands executed a second, averaged over the last `RATE_SAMPLES` ticks.
    pub commands_per_second: Gauge,
    /// Bytes received a second, averaged likewise.
    pub input_bytes_per_second: Gauge,
    /// Bytes sent a second, averaged likewise.
    pub output_bytes_per_second: Gauge,
}

/// What a core counts for one command.
#[derive(Debug, Default)]
pub struct CommandCounters {
    /// Times it was executed.
    pub calls: Counter,
    /// Times it answered with an error.
    pub failed: Counter,
    /// Times it was refused before it was executed.
    pub rejected: Counter,
    /// How long its executions took together.
    pub time_ns: Counter,
    /// How long each took; there from the first one published.
    pub latency: OnceLock<SharedHistogram>,
}

/// The side of a core's metrics that others may read at any time.
#[derive(Debug)]
pub struct CoreShared {
    /// Plain counters.
    pub counters: CoreCounters,
    /// Counters by command, in the order of the command table.
    pub commands: Box<[CommandCounters]>,
    /// Error replies by prefix, in the order of [`ERROR_PREFIXES`] and then all others.
    pub errors: [Counter; ERROR_PREFIXES.len() + 1],
    /// Latency by [`Stage`].
    pub stages: [SharedHistogram; 4],
    /// How long flushes took.
    pub flush_latency: SharedHistogram,
    /// How many bytes flushes covered.
    pub flush_bytes: SharedHistogram,
    /// How many records flushes covered.
    pub flush_records: SharedHistogram,
    /// From a leader's commit until it could be read on this core of its standby.
    pub follow_lag: SharedHistogram,
}

impl CoreShared {
    /// Nothing counted yet, for a table of `commands` commands.
    #[must_use]
    pub fn new(commands: usize) -> Self {
        Self {
            counters: CoreCounters::default(),
            commands: (0..commands).map(|_| CommandCounters::default()).collect(),
            errors: std::array::from_fn(|_| Counter::default()),
            stages: std::array::from_fn(|_| SharedHistogram::new(Scale::Latency)),
            flush_latency: SharedHistogram::new(Scale::Latency),
            flush_bytes: SharedHistogram::new(Scale::Bytes),
            flush_records: SharedHistogram::new(Scale::Count),
            follow_lag: SharedHistogram::new(Scale::Latency),
        }
    }
}
