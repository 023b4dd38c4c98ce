//! How pages grow.

use super::bucket::BUCKET_ENTRIES;

/// How large the pages of an [`Index`](super::Index) become, and in which steps.
///
/// A page grows in four steps to each doubling, and splits when the largest is too full. Since fragments are
/// spread evenly, all pages fill at the same rate, so the steps decide how full the whole index is at worst: 73 %,
/// which is 14.6 bytes an entry; at best it is 87 %. Fuller pages cost more than they save: at 93 % a lookup reads
/// two buckets as a rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    page_buckets_max: usize,
}

/// A page grows or splits before more than this many of its slots would be used.
pub(super) const LOAD_PERCENT_MAX: usize = 87;
/// A new page gets so many buckets that at most this many of its slots are used.
const LOAD_PERCENT_NEW: usize = 79;
/// What a page's buckets grow by at each step, in 1024ths of the largest size: 2^(-3/4), 2^(-1/2), 2^(-1/4), 1.
const STEPS: [usize; 4] = [609, 724, 861, 1024];

impl Shape {
    /// The shape for data of any size: a page has at most 28 KiB, and the insert that grows or splits one moves
    /// at most 2 338 entries, which takes about 15 µs.
    pub const DEFAULT: Self = Self { page_buckets_max: 448 };

    /// Pages of at most `buckets` buckets of six entries each. Small ones make splits frequent, for tests.
    ///
    /// Returns `None` for zero, and from 2^16 on: growing such a page would stall.
    #[must_use]
    pub const fn with_page_buckets_max(buckets: usize) -> Option<Self> {
        if buckets == 0 || buckets >= 1 << 16 { None } else { Some(Self { page_buckets_max: buckets }) }
    }

    /// Whether a page of this many buckets is to be split instead of growing.
    pub(super) const fn is_largest(self, buckets: usize) -> bool {
        buckets >= self.page_buckets_max
    }

    /// How many buckets a page for so many entries gets. More than the largest size only where entries did not
    /// spread over pages, so that they would not fit otherwise.
    pub(super) fn buckets_for(self, entries: usize) -> usize {
        let enough = (entries * 100).div_ceil(BUCKET_ENTRIES * LOAD_PERCENT_NEW).max(1);
        (0..usize::BITS)
            .map(|octave| self.page_buckets_max >> octave)
            .take_while(|&largest| largest >= enough)
            .last()
            .into_iter()
            .flat_map(|largest| STEPS.map(|step| largest * step / 1024))
            .find(|&buckets| buckets >= enough)
            .unwrap_or_else(|| self.page_buckets_max.max((entries * 100).div_ceil(BUCKET_ENTRIES * LOAD_PERCENT_MAX)))
    }

    /// How many bits select a page, where so many entries are spread over pages that are as large as can be.
    pub(super) const fn depth_for(self, entries: usize) -> u32 {
        let in_page = self.page_buckets_max * BUCKET_ENTRIES * LOAD_PERCENT_NEW / 100;
        let pages = entries.div_ceil(if in_page == 0 { 1 } else { in_page });
        pages.next_power_of_two().trailing_zeros()
    }

    /// How many buckets a page gets next that cannot be split although it has this many, which are too few.
    pub(super) const fn buckets_beyond(buckets: usize) -> usize {
        buckets + buckets / 4 + 1
    }
}

impl Default for Shape {
    fn default() -> Self {
        Self::DEFAULT
    }
}
