//! How a new segment's space is written before it is used.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// How a new segment's space is written before it is used.
///
/// A store through a mapping dirties a whole folio of the page cache, and how large the folios are is decided by the
/// size of the writes that filled it. So small writes make small commits cheap, and large writes make bulk commits
/// cheap. `docs/benchmarks.md` has the figures.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum FillMode {
    /// Zeros past the page cache, and nothing is stored through a mapping: records are memory of the process until a flush
    /// writes them to the file. The cheapest of all, and what is not flushed does not outlive the process.
    #[default]
    Direct,
    /// Zeros in writes of 4 KiB: the cheapest commits of up to a few KiB.
    Write4K,
    /// Zeros in writes of 16 KiB.
    Write16K,
    /// Zeros in writes of 64 KiB.
    Write64K,
    /// Zeros in writes of 1 MiB: the cheapest commits of a MiB and more.
    Write1M,
    /// Space is allocated but not written: quick to prepare, but every first flush of a block changes the file
    /// system's metadata.
    Allocate,
    /// As `Allocate`, and as with `Direct` records are memory of the process until a flush writes them: past the page cache,
    /// where that can be, so that each waits for the disk when it is read the next time. For a segment that is filled at once
    /// with what nobody is about to read. It costs the processor least, and most so where memory that is used for the first
    /// time is dear, as on a virtual machine whose host takes back what is free. No setting: whoever asks knows what is about
    /// to come.
    Cold,
    /// As `Allocate`, and its pages are made ready to be stored to, all of them dirty: for a segment that is filled as a
    /// whole at once and flushed when it is full. Flushed before, it is written twice. No setting either.
    Whole,
    /// As `Whole`, in small folios: for a segment of which a part comes at once, and the rest may come little by little. Its
    /// first flush writes all of it, the later ones what has been stored to. No setting either.
    Part,
}

impl FillMode {
    /// Every mode that can be set, in the order of their sizes.
    pub const ALL: [Self; 6] =
        [Self::Direct, Self::Write4K, Self::Write16K, Self::Write64K, Self::Write1M, Self::Allocate];

    /// Whether all of a segment's space is written before it is used, so that it need not be allocated before.
    #[must_use]
    pub const fn writes_all(self) -> bool {
        matches!(self, Self::Direct) || self.write_len().is_some()
    }

    /// Bytes per write through the page cache, or `None` where nothing is written so.
    #[must_use]
    pub const fn write_len(self) -> Option<usize> {
        match self {
            Self::Write4K => Some(4 << 10),
            Self::Write16K => Some(16 << 10),
            Self::Write64K => Some(64 << 10),
            Self::Write1M => Some(1 << 20),
            Self::Direct | Self::Allocate | Self::Cold | Self::Whole | Self::Part => None,
        }
    }

    /// Bytes per write where pages are made ready that need not reach the disk yet, all of them dirty.
    pub(crate) const fn pages_len(self) -> Option<usize> {
        match self {
            // Large folios cost a fraction of the processor time of small ones when they are mapped, and again when they
            // are flushed.
            Self::Whole => Some(1 << 20),
            Self::Part => Some(16 << 10),
            _ => None,
        }
    }

    /// The name used in settings, `direct`, `4k`, `16k`, `64k`, `1m` or `allocate`; or `cold`, `whole` or
    /// `part`, which are none of them.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Write4K => "4k",
            Self::Write16K => "16k",
            Self::Write64K => "64k",
            Self::Write1M => "1m",
            Self::Allocate => "allocate",
            Self::Cold => "cold",
            Self::Whole => "whole",
            Self::Part => "part",
        }
    }
}

impl fmt::Display for FillMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A fill mode that does not exist.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[error("{found:?} is no fill mode; there are direct, 4k, 16k, 64k, 1m and allocate")]
pub struct UnknownFillMode {
    /// What was asked for.
    pub found: String,
}

impl FromStr for FillMode {
    type Err = UnknownFillMode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|mode| mode.name() == text);
        found.ok_or_else(|| UnknownFillMode { found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_that_can_be_set_has_a_name_and_others_are_told_them() {
        let error = "whole".parse::<FillMode>().unwrap_err().to_string();
        for mode in FillMode::ALL {
            assert_eq!(mode.name().parse(), Ok(mode));
            assert!(error.contains(mode.name()), "{error}");
        }
    }
}
