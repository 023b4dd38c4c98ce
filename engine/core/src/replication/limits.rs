//! Every bound of replication, in one place.

/// The most replicas that one partition has, learners included.
pub const REPLICAS_MAX: usize = 16;
/// The most leaderships that a replica remembers the start of. A follower that left the leader's line before the
/// oldest of them is given whole segments.
pub const EPOCHS_KEPT_MAX: usize = 16_384;
/// The most leaderships that one Hello names; the leader asks for older ones if it needs them.
pub const EPOCHS_IN_HELLO_MAX: usize = 64;
/// The most bytes of log that go to a follower in one range.
pub const RANGE_LEN_MAX: u64 = 4 << 20;
/// Bytes that a follower may be sent ahead of what it has acknowledged as received, unless it is set.
pub const WINDOW_LEN_DEFAULT: u64 = 16 << 20;
/// The smallest such window.
pub const WINDOW_LEN_MIN: u64 = 4 << 10;
/// The largest such window.
pub const WINDOW_LEN_MAX: u64 = 1 << 30;

const _: () = assert!(RANGE_LEN_MAX <= WINDOW_LEN_DEFAULT);
const _: () = assert!(WINDOW_LEN_MIN <= WINDOW_LEN_DEFAULT && WINDOW_LEN_DEFAULT <= WINDOW_LEN_MAX);
const _: () = assert!(EPOCHS_IN_HELLO_MAX <= EPOCHS_KEPT_MAX);
