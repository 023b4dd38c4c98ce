//! Random numbers that depend on the seed alone.

use std::ops::Range;

/// xoshiro256++ (Blackman and Vigna), seeded through splitmix64.
#[derive(Clone, Debug)]
pub(crate) struct Rng {
    state: [u64; 4],
}

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        let mut seed = seed;
        Self { state: std::array::from_fn(|_| split_mix(&mut seed)) }
    }

    /// A stream of its own, so that what one part of the simulation draws does not shift what another one gets.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let shifted = b << 17;
        let (c, d) = (c ^ a, d ^ b);
        let (b, a) = (b ^ c, a ^ d);
        self.state = [a, b, c ^ shifted, d.rotate_left(45)];
        result
    }

    /// A number in `range`, which is not empty.
    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        let width = range.end.checked_sub(range.start).filter(|&width| width > 0).expect("a range that is not empty");
        // The bias of a remainder does not matter to faults.
        range.start + self.next() % width
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.within(0..len as u64)).expect("an index fits")
    }

    pub(crate) fn size(&mut self, range: Range<usize>) -> usize {
        range.start + self.index(range.end - range.start)
    }

    /// True in `parts` cases of a million.
    pub(crate) fn ppm(&mut self, parts: u64) -> bool {
        self.next() % 1_000_000 < parts
    }

    /// True in `percent` cases of a hundred.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items.len())]
    }

    /// A number near the low end of `range` as often as near the high end, counted in powers of two.
    pub(crate) fn log_uniform(&mut self, range: Range<u64>) -> u64 {
        let low = u64::from(range.start.max(1).ilog2());
        let high = u64::from(range.end.max(2).ilog2());
        let top = 1_u64 << self.within(low..high + 1);
        self.within(range.start..(2 * top).clamp(range.start + 1, range.end))
    }
}

/// splitmix64 (Steele, Lea and Flood).
pub(crate) const fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
