//! Every bound of the engine, in one place.

/// Every record starts at a multiple of this many bytes and is padded to one.
pub const RECORD_ALIGN: usize = 16;
/// Bytes of a record's header.
pub const RECORD_HEADER_LEN: usize = 48;
/// Bytes of the header at the start of every segment.
pub const SEGMENT_HEADER_LEN: usize = 128;
/// Bytes of the footer at the end of every sealed segment.
pub const SEGMENT_FOOTER_LEN: usize = 64;
/// The smallest segment. Small ones are for tests, where rolls should happen all the time.
pub const SEGMENT_LEN_MIN: u64 = 4 << 10;
/// The segment size unless it is set.
pub const SEGMENT_LEN_DEFAULT: u64 = 64 << 20;
/// The largest segment.
pub const SEGMENT_LEN_MAX: u64 = 1 << 30;
/// A segment's size is a multiple of this many bytes, the page size.
pub const SEGMENT_LEN_ALIGN: u64 = 4 << 10;
/// How many segments are kept prepared ahead of the one in use, unless it is set.
pub const SEGMENTS_AHEAD_DEFAULT: usize = 2;

/// The longest key, in bytes.
pub const KEY_LEN_MAX: usize = 64 << 10;
/// The longest value, in bytes; a segment may set a lower limit (see [`record_len_max`]).
pub const VALUE_LEN_MAX: usize = 512 << 20;
/// The most operations in one record.
pub const BATCH_OPS_MAX: usize = 65_536;

/// Bytes of live log that the index can address in one partition: positions are kept modulo this.
pub const PARTITION_LOG_LEN_MAX: u64 = 1 << 44;
/// The most partitions in a cluster.
pub const PARTITIONS_MAX: u16 = 1_024;

/// The longest record, with its padding, in a segment of `segment_len` bytes: one that leaves room for a pad behind it,
/// so that whatever is not longer fits an empty segment.
#[must_use]
pub const fn record_len_max(segment_len: u64) -> u64 {
    segment_len - (SEGMENT_HEADER_LEN + RECORD_HEADER_LEN + SEGMENT_FOOTER_LEN) as u64
}

const _: () = assert!(RECORD_HEADER_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!(SEGMENT_HEADER_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!(SEGMENT_FOOTER_LEN.is_multiple_of(RECORD_ALIGN));
const _: () = assert!(SEGMENT_LEN_DEFAULT.is_multiple_of(SEGMENT_LEN_ALIGN));
const _: () = assert!(SEGMENT_LEN_MIN >= SEGMENT_LEN_ALIGN && SEGMENT_LEN_MAX >= SEGMENT_LEN_DEFAULT);
const _: () = assert!(PARTITION_LOG_LEN_MAX / RECORD_ALIGN as u64 == 1 << 40);
