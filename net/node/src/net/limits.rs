//! Every bound of the network side, in one place. What one command may look like is in [`windrow_proto::limits`].

use std::time::Duration;

/// Bytes of unfinished commands on one core, over all its connections. Beyond it the connection that wants more is
/// closed.
pub const INPUT_BUDGET_PER_CORE: usize = 1 << 30;
/// Bytes kept for a connection that executes nothing for now; the rest is left in the socket.
pub const INPUT_STALLED_MAX: usize = 32 << 10;
/// Commands of one connection whose replies have not been sent; then its bytes are left in the socket.
pub const PIPELINE_MAX: usize = 1_024;
/// A connection that was stopped is read again when this many replies are still waiting.
pub const PIPELINE_RESUME: usize = PIPELINE_MAX / 2;
/// Commands of one connection that others have been asked to execute and have not answered.
pub const ELSEWHERE_MAX: usize = 128;
/// The same where the next reply may take memory of any length, up to [`OUTPUT_LEN_MAX`].
pub const WIDE_ELSEWHERE_MAX: usize = 16;
/// Bytes of one reply. A connection for which more than this and [`OUTPUT_SOFT_LEN`] wait is closed.
pub const OUTPUT_LEN_MAX: usize = 64 << 20;
/// Bytes of replies that may wait for one client for [`OUTPUT_SOFT_DURATION`].
pub const OUTPUT_SOFT_LEN: usize = 16 << 20;
/// See [`OUTPUT_SOFT_LEN`].
pub const OUTPUT_SOFT_DURATION: Duration = Duration::from_secs(30);
/// Bytes of replies that wait for a client that has not authenticated.
pub const OUTPUT_LEN_UNAUTHENTICATED_MAX: usize = 1 << 10;
/// A client that needs a password must have given it within this time.
pub const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(10);
/// A command must be whole within this time after its first byte.
pub const COMMAND_WITHIN: Duration = Duration::from_secs(30);
/// Whoever has said that nothing more comes from there, and still waits for a command such as WAIT, is disconnected after
/// this time: mostly nobody is there any more.
pub const ENDED_WAITS_WITHIN: Duration = Duration::from_secs(60);
/// How often deadlines are checked.
pub const TICK: Duration = Duration::from_millis(100);
/// Whoever waits until a moment of his own, such as the end of a WAIT, is answered no later than this after it.
pub const ALARM_MAX: Duration = Duration::from_millis(4);
/// Deadlines of one connection are checked every so many ticks: a part of the connections at each.
pub const DEADLINE_TICKS: usize = 10;
/// A node that shuts down waits so long for its clients to read their last replies.
pub const GOODBYE_WITHIN: Duration = Duration::from_secs(5);
/// Clients of one node, unless it is set.
pub const CLIENTS_MAX_DEFAULT: usize = 10_000;
/// Percent of the memory available at the start that the newest records are taken to have, unless it is set. The rest
/// is for the index, for buffers, and for the kernel, which keeps old pages that are in use before new ones that are
/// not.
pub const HOT_MEMORY_PERCENT_DEFAULT: u64 = 50;
/// Bytes of memory that a partition keeps its newest segments in while what they hold is overwritten soon.
pub const TAIL_MEMORY_DEFAULT: u64 = 384 << 20;
/// The most of that.
pub const TAIL_MEMORY_MAX: u64 = 64 << 30;
/// All partitions together keep no more in it than this part of the memory that is available at the start.
pub const TAIL_MEMORY_OF_AVAILABLE: u64 = 8;
/// Seconds of silence after which TCP asks whether a client is still there, unless it is set.
pub const TCP_KEEPALIVE_DEFAULT: Duration = Duration::from_secs(300);

/// How long a core looks for something to do before it sleeps, while one client waits for a flush.
pub const IDLE_POLL_DEFAULT: Duration = Duration::from_millis(1);

const _: () = assert!(PIPELINE_RESUME < PIPELINE_MAX);
const _: () = assert!(OUTPUT_SOFT_LEN < OUTPUT_LEN_MAX);
const _: () = assert!(windrow_proto::limits::BULK_LEN_MAX <= INPUT_BUDGET_PER_CORE);

/// The bounds that settings can change while the node runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Clients of this core.
    pub clients_max: usize,
    /// Clients of this core from one address; `None` for any number.
    pub clients_per_address_max: Option<usize>,
    /// Bytes of one reply, and, with `output_soft_len`, of all that wait for one client and do not lie in the log.
    pub output_len_max: usize,
    /// Bytes of replies that may wait for one client for `output_soft_duration`.
    pub output_soft_len: usize,
    /// See `output_soft_len`.
    pub output_soft_duration: Duration,
    /// A client that needs a password must have given it within this time.
    pub authenticate_within: Duration,
    /// A command must be whole within this time after its first byte.
    pub command_within: Duration,
    /// A silent client is disconnected after this time; `None` for never.
    pub idle_timeout: Option<Duration>,
    /// Silence after which TCP asks whether a client is still there; `None` for never.
    pub tcp_keepalive: Option<Duration>,
    /// How long a core looks for something to do before it sleeps, while one client waits for a flush.
    pub idle_poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            clients_max: CLIENTS_MAX_DEFAULT,
            clients_per_address_max: None,
            output_len_max: OUTPUT_LEN_MAX,
            output_soft_len: OUTPUT_SOFT_LEN,
            output_soft_duration: OUTPUT_SOFT_DURATION,
            authenticate_within: AUTHENTICATE_WITHIN,
            command_within: COMMAND_WITHIN,
            idle_timeout: None,
            tcp_keepalive: Some(TCP_KEEPALIVE_DEFAULT),
            idle_poll: IDLE_POLL_DEFAULT,
        }
    }
}
