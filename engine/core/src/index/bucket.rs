//! One cache line of entries.

use super::entry::{Fragment, Part, Position, high, join, low};

/// How many entries a bucket holds.
pub(super) const BUCKET_ENTRIES: usize = 6;

/// Up to six entries in one cache line, and how many entries passed it by because it was full.
///
/// The low halves come first and side by side, so that one fragment is compared with all six at once.
#[repr(C, align(64))]
#[derive(Clone, Copy)]
pub(super) struct Bucket {
    fragments_low: [u32; BUCKET_ENTRIES],
    positions_low: [u32; BUCKET_ENTRIES],
    /// The high half of the fragment in the low bits, the part in the others.
    fragments_high: [u8; BUCKET_ENTRIES],
    positions_high: [u8; BUCKET_ENTRIES],
    /// Bit `i` says that entry `i` is there.
    used: u8,
    /// How many entries lie beyond this bucket although their search comes through it. Once it has reached
    /// `u8::MAX` it stays there, until the page is rebuilt: a search then goes on needlessly, and finds the same.
    passed: u8,
}

const _: () = assert!(size_of::<Bucket>() == 64);
const FULL: u8 = (1 << BUCKET_ENTRIES) - 1;
/// The bits of `fragments_high` that are the fragment's.
const HIGH_BITS: u32 = Fragment::BITS - u32::BITS;
const HIGH_MASK: u8 = (1 << HIGH_BITS) - 1;

impl Bucket {
    pub(super) const EMPTY: Self = Self {
        fragments_low: [0; BUCKET_ENTRIES],
        positions_low: [0; BUCKET_ENTRIES],
        fragments_high: [0; BUCKET_ENTRIES],
        positions_high: [0; BUCKET_ENTRIES],
        used: 0,
        passed: 0,
    };

    /// Which entries have `fragment`, one bit each.
    #[inline]
    pub(super) fn matches(&self, fragment: Fragment) -> Slots {
        let low = low(fragment.0);
        let mut equal = 0;
        for (slot, &other) in self.fragments_low.iter().enumerate() {
            equal |= u8::from(other == low) << slot;
        }
        equal &= self.used;
        // Almost always none or one is left.
        let mut slots = Slots(equal);
        for slot in Slots(equal) {
            if self.fragments_high[slot] & HIGH_MASK != high(fragment.0) {
                slots.0 &= !(1 << slot);
            }
        }
        slots
    }

    /// Which entries are there.
    #[inline]
    pub(super) const fn used(&self) -> Slots {
        Slots(self.used)
    }

    #[inline]
    pub(super) fn fragment(&self, slot: usize) -> Fragment {
        Fragment(join(self.fragments_low[slot], self.fragments_high[slot] & HIGH_MASK))
    }

    #[inline]
    pub(super) fn position(&self, slot: usize) -> Position {
        Position(join(self.positions_low[slot], self.positions_high[slot]))
    }

    #[inline]
    pub(super) fn part(&self, slot: usize) -> Part {
        Part(self.fragments_high[slot] >> HIGH_BITS)
    }

    #[inline]
    pub(super) fn set_position(&mut self, slot: usize, position: Position, part: Part) {
        self.fragments_high[slot] = self.fragments_high[slot] & HIGH_MASK | part.0 << HIGH_BITS;
        self.positions_low[slot] = low(position.0);
        self.positions_high[slot] = high(position.0);
    }

    /// The slot of the entry that is exactly this one.
    #[inline]
    pub(super) fn slot_of(&self, fragment: Fragment, position: Position) -> Option<usize> {
        self.matches(fragment).find(|&slot| self.position(slot) == position)
    }

    /// Adds an entry, or returns `false` where there is no room.
    #[inline]
    pub(super) fn insert(&mut self, fragment: Fragment, position: Position, part: Part) -> bool {
        let Some(slot) = Slots(!self.used & FULL).next() else { return false };
        self.fragments_low[slot] = low(fragment.0);
        self.fragments_high[slot] = high(fragment.0);
        self.set_position(slot, position, part);
        self.used |= 1 << slot;
        true
    }

    pub(super) fn remove(&mut self, slot: usize) {
        debug_assert!(self.used & (1 << slot) != 0);
        self.used &= !(1 << slot);
    }

    /// Whether a search must go on to the next bucket.
    #[inline]
    pub(super) const fn was_passed(&self) -> bool {
        self.passed != 0
    }

    /// Notes that an entry found no room here and went on.
    #[inline]
    pub(super) const fn note_passed(&mut self) {
        self.passed = self.passed.saturating_add(1);
    }

    /// Notes that an entry that had gone on from here was removed.
    #[inline]
    pub(super) fn forget_passed(&mut self) {
        debug_assert!(self.was_passed());
        if self.passed != u8::MAX {
            self.passed -= 1;
        }
    }
}

/// A set of a bucket's slots; iterating takes them out from the lowest up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Slots(u8);

impl Slots {
    pub(super) const fn count(self) -> u32 {
        self.0.count_ones()
    }
}

impl Iterator for Slots {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        let slot = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        // `trailing_zeros` of nothing is 8, which is no slot.
        if slot < 8 { Some(slot as usize) } else { None }
    }
}
