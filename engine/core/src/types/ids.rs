//! Identifiers and units as types of their own, so that none is taken for another.

use core::fmt;

/// The logical byte position of a record in its partition's log.
///
/// It is an address: it never changes while the record lives. Every record starts at a multiple of
/// [`RECORD_ALIGN`](super::limits::RECORD_ALIGN).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(u64);

impl Lsn {
    /// The start of every log; no record lives here, because a segment starts with its header.
    pub const ZERO: Self = Self(0);

    /// The position `bytes` into the log.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The position in bytes.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The position `bytes` further on.
    ///
    /// # Panics
    /// If the position leaves `u64`: no log lives that long, so that is a bug.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        match self.0.checked_add(bytes) {
            Some(sum) => Self(sum),
            None => panic!("log position out of range"),
        }
    }

    /// How many bytes lie from `earlier` to here.
    ///
    /// # Panics
    /// If `earlier` is later: that is a bug.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        match self.0.checked_sub(earlier.0) {
            Some(bytes) => bytes,
            None => panic!("log positions in the wrong order"),
        }
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({})", self.0)
    }
}

/// Counts the leaderships of a partition. Epochs never decrease along a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Epoch(u32);

impl Epoch {
    /// Before the first leadership.
    pub const ZERO: Self = Self(0);

    /// The leadership number `count`.
    #[must_use]
    pub const fn new(count: u32) -> Self {
        Self(count)
    }

    /// The number of this leadership.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The leadership after this one, or `None` after 4 294 967 295 of them.
    #[must_use]
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_add(1) {
            Some(count) => Some(Self(count)),
            None => None,
        }
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition's number within its cluster, from zero.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct PartitionId(u16);

impl PartitionId {
    /// The partition number `number`.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number of this partition.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one cluster for ever: 16 random bytes drawn when its first data directory is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A moment: milliseconds since 1970-01-01 UTC. Always below 2^48 (the year 10889).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct UnixMillis(u64);

impl UnixMillis {
    /// The start of 1970.
    pub const ZERO: Self = Self(0);
    /// The latest moment that can be written down.
    pub const MAX: Self = Self((1 << 48) - 1);

    /// The moment `millis` after 1970-01-01 UTC, or `None` from 2^48 on.
    #[must_use]
    pub const fn new(millis: u64) -> Option<Self> {
        if millis <= Self::MAX.0 { Some(Self(millis)) } else { None }
    }

    /// Milliseconds since 1970-01-01 UTC.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}
