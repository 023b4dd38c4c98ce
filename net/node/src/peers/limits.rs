//! Every bound of the connections between nodes, in one place.

use std::time::Duration;

use windrow_core::replication::limits::{RANGE_LEN_MAX, REPLICAS_MAX};
use windrow_proto::replication::{FRAME_BODY_LEN_MAX, FRAME_HEADER_LEN, HANDSHAKE_BODY_LEN_MAX};

/// Connections of one core that have not proved yet that they know the secret. One more takes the place of another.
pub const STRANGERS_MAX: usize = 32;
/// How many of them come from one address (of IPv6: from one network of 64 bits); all nodes may be on one machine.
pub const STRANGERS_PER_ADDRESS_MAX: usize = REPLICAS_MAX;
/// Bytes kept of what has been received on a connection and is not through: a range may be copied up to here, the rest
/// of it goes straight into the log.
pub const INPUT_LEN: usize = 16 << 10;
/// The same, of a connection that has proved nothing: one frame of the handshake.
pub const INPUT_LEN_STRANGER: usize = FRAME_HEADER_LEN + HANDSHAKE_BODY_LEN_MAX;
/// Bytes of messages that wait for one peer. Beyond it messages and ranges are dropped; the replicas notice.
pub const QUEUE_LEN_MAX: usize = 64 << 10;
/// Bytes received, and bytes sent, of one connection in one round of the core: clients wait meanwhile.
pub const ROUND_LEN_MAX: usize = 256 << 10;
/// Parts that one send gathers.
pub const GATHER_MAX: usize = 32;
/// Bytes that one send gathers, so that the queue behind it can be joined to larger ranges meanwhile.
pub const GATHER_LEN_MAX: usize = 256 << 10;
/// Bytes of the log that are handed to a connection at a time, at first and over slow links.
pub const BATCH_LEN_MIN: usize = 16 << 10;
/// The same over links that take it at once. No quicker than 1 MiB, but a third less of the sender's processor time: it is
/// woken less often.
pub const BATCH_LEN_MAX: usize = 4 << 20;
/// Bytes that a socket may hold, sent or not, over a path that holds up what is sent.
pub const HELD_LEN_MIN: usize = 16 << 10;
/// What may hold more than this may hold what the kernel thinks right.
pub const HELD_LEN_MAX: usize = 128 << 10;
/// A piece of the log of at least this many bytes goes out without a copy; a smaller one is gathered with its
/// neighbours and copied. `docs/replication.md` has the measurement.
pub const LARGE_LEN_MIN: usize = 32 << 10;
/// How often one and the same complaint is logged at most.
pub const COMPLAIN_EVERY: Duration = Duration::from_secs(10);
/// The shortest secret, in bytes.
pub const SECRET_LEN_MIN: usize = 16;
/// The longest secret, in bytes.
pub const SECRET_LEN_MAX: usize = 1 << 10;

const _: () = assert!(STRANGERS_PER_ADDRESS_MAX < STRANGERS_MAX);
const _: () = assert!(INPUT_LEN >= FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX, "a frame fits");
const _: () = assert!(QUEUE_LEN_MAX >= 2 * (FRAME_HEADER_LEN + FRAME_BODY_LEN_MAX));
const _: () = assert!(BATCH_LEN_MIN <= BATCH_LEN_MAX);
const _: () = assert!(HELD_LEN_MIN <= HELD_LEN_MAX);
const _: () = assert!((BATCH_LEN_MAX as u64) <= RANGE_LEN_MAX);
const _: () = assert!((ROUND_LEN_MAX as u64) <= RANGE_LEN_MAX);
