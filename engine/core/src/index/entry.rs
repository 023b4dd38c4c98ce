//! What an entry is made of: 36 bits of a key's hash, 40 bits of a log position, and 4 that say where in the record.

use core::ops::Range;

use crate::types::limits::{PARTITION_LOG_LEN_MAX, RECORD_ALIGN};
use crate::types::{KeyHash, Lsn};

const ALIGN: u64 = RECORD_ALIGN as u64;
/// How many positions there are before they come round again.
const POSITIONS: u64 = PARTITION_LOG_LEN_MAX / ALIGN;
const _: () = assert!(POSITIONS.is_power_of_two() && POSITIONS == 1 << 40);

/// The part of a key's hash that the index keeps: its top 36 bits.
///
/// The index is ordered by it, so a bound on fragments is a place to resume a scan whatever happened meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Fragment(pub(super) u64);

impl Fragment {
    /// How many bits a fragment has.
    pub const BITS: u32 = 36;
    /// How many fragments there are: the first cursor past all of them.
    pub const COUNT: u64 = 1 << Self::BITS;

    /// The fragment of a key with this hash.
    #[must_use]
    pub const fn of(hash: KeyHash) -> Self {
        Self(hash.0 >> (u64::BITS - Self::BITS))
    }

    /// The fragment number `number`, or `None` from [`Fragment::COUNT`] on.
    #[must_use]
    pub const fn new(number: u64) -> Option<Self> {
        if number < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// The number of this fragment.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Which sixteenth of its record's operations a key's is among: where to look first. Only a hint: after two keys of one
/// record that share a fragment were told from one another wrongly, it is another key's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Part(pub(super) u8);

impl Part {
    /// How many parts there are.
    pub const COUNT: usize = 16;

    /// The part that operation `number` of a record with `count` is in.
    #[must_use]
    pub const fn of(number: usize, count: usize) -> Self {
        if number >= count {
            return Self(0);
        }
        #[expect(clippy::cast_possible_truncation, reason = "below the number of parts, because number < count")]
        let part = (number * Self::COUNT / count) as u8;
        Self(part)
    }

    /// The operations of a record with `count` that are in this part.
    #[must_use]
    pub const fn range(self, count: usize) -> Range<usize> {
        let part = self.0 as usize;
        (part * count).div_ceil(Self::COUNT)..((part + 1) * count).div_ceil(Self::COUNT)
    }
}

const _: () = assert!(Fragment::BITS + Part::COUNT.ilog2() == 40, "a fragment and a part fill five bytes");

/// A record's LSN divided by the record alignment, modulo 2^40.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Position(pub(super) u64);

impl Position {
    /// # Panics
    /// If no record can start at `lsn`, because it is not aligned: that is a bug.
    pub(super) const fn of(lsn: Lsn) -> Self {
        assert!(lsn.get().is_multiple_of(ALIGN), "a record starts at a multiple of the record alignment");
        Self((lsn.get() / ALIGN) % POSITIONS)
    }

    /// The greatest LSN up to `newest` that has this position.
    pub(super) const fn lsn(self, newest: Lsn) -> Lsn {
        let newest = newest.get() / ALIGN;
        let age = newest.wrapping_sub(self.0) % POSITIONS;
        Lsn::new(newest.wrapping_sub(age).wrapping_mul(ALIGN))
    }
}

/// The low four bytes of a 40-bit number.
#[expect(clippy::cast_possible_truncation, reason = "the low bytes are what is asked for")]
pub(super) const fn low(number: u64) -> u32 {
    number as u32
}

/// The high byte of a 40-bit number.
#[expect(clippy::cast_possible_truncation, reason = "the number is below 2^40, so the quotient is below 2^8")]
pub(super) const fn high(number: u64) -> u8 {
    (number >> 32) as u8
}

/// The 40-bit number of these bytes.
pub(super) const fn join(low: u32, high: u8) -> u64 {
    low as u64 | ((high as u64) << 32)
}
