//! Visiting entries in the order of fragments, and drawing one.

use super::{Fragment, Index, Part};
use crate::types::Lsn;

impl Index {
    /// Visits entries whose fragment is at least `cursor`, and returns where to go on, or `None` after the last.
    ///
    /// Starting at 0 and going on until `None`, every entry that is there throughout is visited, whatever was
    /// inserted, replaced or removed between the calls. Entries with equal fragments are visited in the same call.
    /// Within a call the order is not that of fragments.
    ///
    /// A call ends once it has visited `budget` entries, or a few more so as to end between two buckets; where
    /// there are hardly any entries it ends after as many buckets. `visit` returns what more an entry counts for, where it
    /// takes longer than others.
    pub fn scan(&self, cursor: u64, budget: usize, visit: &mut dyn FnMut(Fragment, Lsn, Part) -> usize) -> Option<u64> {
        let mut from = Fragment::new(cursor)?;
        let mut spent = 0;
        loop {
            let page = self.page(from);
            let start = from.get() & !(page.span() - 1);
            let mut next = start + page.span();
            let first_home = if page.entries() == 0 { page.buckets() } else { page.home(from) };
            for home in first_home..page.buckets() {
                let mut visited = 0;
                page.at_home(home, |fragment, position, part| {
                    if fragment >= from {
                        visited += 1 + visit(fragment, position.lsn(self.newest), part);
                    }
                });
                spent += visited.max(1);
                if spent >= budget {
                    next = start + page.first_offset_at_home(home + 1);
                    break;
                }
            }
            spent += 1;
            from = Fragment::new(next)?;
            if spent >= budget {
                return Some(next);
            }
        }
    }

    /// Some entry, chosen by `draw`, or `None` where there are none. Every entry is drawn about equally often if
    /// the draws are evenly spread over all 64 bits and the index is not nearly empty.
    #[must_use]
    pub fn sample(&self, draw: u64) -> Option<(Fragment, Lsn, Part)> {
        if self.is_empty() {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the low bits, which the fragment does not have")]
        let slot_draw = (draw as u32) & 0x00FF_FFFF;
        let mut from = Fragment::of(crate::types::KeyHash(draw));
        loop {
            let page = self.page(from);
            if page.entries() > 0 {
                let (fragment, position, part) = page.sample(page.home(from), slot_draw)?;
                return Some((fragment, position.lsn(self.newest), part));
            }
            let next = (from.get() & !(page.span() - 1)) + page.span();
            from = Fragment::new(next % Fragment::COUNT)?;
        }
    }
}
