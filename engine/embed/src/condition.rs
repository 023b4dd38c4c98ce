//! Conditions on what a key is before it is written.

use windrow_core::partition::Entry;

use crate::value::Version;

/// What a key has to be for a write to happen. A key whose expiry has passed is absent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Condition<'a> {
    /// There is no such key.
    Absent,
    /// There is such a key.
    Present,
    /// The key has this value.
    Value(&'a [u8]),
    /// The key was last written by this write.
    Version(Version),
}

impl Condition<'_> {
    pub(crate) fn holds(self, entry: Option<Entry<'_>>) -> bool {
        match self {
            Self::Absent => entry.is_none(),
            Self::Present => entry.is_some(),
            Self::Value(value) => entry.is_some_and(|entry| entry.value == value),
            Self::Version(version) => entry.is_some_and(|entry| entry.lsn == version.0),
        }
    }
}

/// What became of a conditional write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a conditional write may not have happened"]
pub enum PutOutcome {
    /// The condition held, and this is the key's version now.
    Written(Version),
    /// The condition did not hold; nothing was written.
    Refused {
        /// The key's version, where it was there.
        found: Option<Version>,
    },
}

impl PutOutcome {
    /// Whether it was written.
    #[must_use]
    pub const fn is_written(self) -> bool {
        matches!(self, Self::Written(_))
    }
}
