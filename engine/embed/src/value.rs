//! Bytes in the log, kept alive by whoever holds them.

use std::fmt;
use std::ops::{Deref, Range};

use windrow_core::log::SegmentMemory;
use windrow_core::partition::{Entry, Partition};
use windrow_core::types::{Lsn, UnixMillis};
use windrow_store::{MappedSegment, SegmentView};

/// A key or a value, in the log itself: nothing was copied.
///
/// Derefs to `[u8]`. It keeps its log segment mapped and on disk as long as it lives, so copy out
/// (`value.to_vec()`) what is to be kept for long. What it shows never changes: a later write of the same key makes a
/// new record elsewhere. Cloning costs one atomic increment.
#[derive(Clone)]
pub struct Value {
    segment: SegmentView,
    range: Range<usize>,
}

impl Value {
    /// `bytes` must be a part of the published prefix of the segment that holds `lsn`.
    pub(crate) fn new(partition: &Partition<MappedSegment>, lsn: Lsn, bytes: &[u8]) -> Self {
        let Some((_, memory)) = partition.segment_holding(lsn) else { unreachable!("a record lies in a segment") };
        let segment = memory.share();
        // Nothing is nowhere in particular.
        let range = if bytes.is_empty() { Some(0..0) } else { segment.range_of(bytes) };
        let Some(range) = range else { unreachable!("a record's bytes lie in its segment") };
        assert!(range.end <= memory.published_end(), "only what is published is shown");
        Self { segment, range }
    }
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.segment.bytes(self.range.clone())
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl<T: AsRef<[u8]> + ?Sized> PartialEq<T> for Value {
    fn eq(&self, other: &T) -> bool {
        **self == *other.as_ref()
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.escape_ascii())
    }
}

/// Which write made a key what it is. Of two versions of one key the later one is greater.
///
/// A deleted key has none, and a version never comes back: what is written after a deletion has a greater one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version(pub(crate) Lsn);

impl Version {
    /// The version as a number: the position of its record in the partition's log.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The version that [`get`](Self::get) gave.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(Lsn::new(number))
    }
}

/// A key as it stands.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Item {
    /// The key.
    pub key: Value,
    /// Its value.
    pub value: Value,
    /// When it ceases to exist.
    pub expires_at: Option<UnixMillis>,
    /// Which write made it so.
    pub version: Version,
}

impl Item {
    pub(crate) fn new(partition: &Partition<MappedSegment>, entry: &Entry<'_>) -> Self {
        Self {
            key: Value::new(partition, entry.lsn, entry.key),
            value: Value::new(partition, entry.lsn, entry.value),
            expires_at: entry.expires_at,
            version: Version(entry.lsn),
        }
    }
}
