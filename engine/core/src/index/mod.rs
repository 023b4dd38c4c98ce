//! The index of a partition: from the hash of a key to where its newest record lies.
//!
//! It keeps 36 bits of the hash (a [`Fragment`]) and 40 bits of the position for each key, and no key, so an entry
//! is a guess that the caller confirms in the log; and 4 bits that say whereabouts in a record of many operations the
//! key's is (a [`Part`]), so that not all of them have to be looked at. It owns nothing but memory, is rebuilt by reading
//! the log, and has no faults of its own.
//!
//! Structure: extendible hashing (Fagin et al., 1979). A directory, selected by the first bits of the fragment,
//! names a page; a page is a table of cache-line buckets in the order of fragments, probed linearly, with counters
//! in place of tombstones (after F14, Facebook's hash tables). Pages grow and split one at a time, so no insert
//! ever moves more than one page of entries, and nothing is read from the log for it. Only the directory doubles as a
//! whole: four bytes for every page, some microseconds at ten million keys.
//!
//! Invariants:
//! - Every entry lies in the page that the directory names for its fragment.
//! - All positions lie within 2^44 bytes of log up to the newest that was ever given, so that each stands for one
//!   LSN. The caller sees to that.
//! - Two keys of one record whose fragments are equal have two equal entries, which cannot be told apart. When one
//!   of the keys is written again, the entry of the other still leads to a record that has both. That is why
//!   [`Index::find`] returns the newest record that has the key, unless it meets one that has no other; and why a
//!   caller that deletes a key must not remove its entry while another candidate leads to a record that has the key: it
//!   lets the entry lead to the record of the deletion instead. (In a batch of n keys this is met with a chance of about
//!   n^2 / 2^37.)

mod bucket;
mod entry;
mod page;
mod scan;
mod shape;
#[cfg(test)]
mod tests;

use alloc::vec;
use alloc::vec::Vec;
use core::ops::ControlFlow;

use entry::Position;
use page::Page;

pub use entry::{Fragment, Part};
pub use shape::Shape;

use crate::types::{KeyHash, Lsn};

/// The directory gets no longer than this many entries a page. Evenly spread fragments need two; where fragments
/// are not spread at all, a page that cannot be split grows instead.
const DIRECTORY_ENTRIES_PER_PAGE_MAX: usize = 64;

/// Whether a record has a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    /// It has not.
    No,
    /// It has, and nothing newer has: the search is over.
    Alone,
    /// It has, but another entry may lead to a newer one.
    Among,
}

/// Maps the hashes of keys to the positions of their records.
pub struct Index {
    /// Page numbers; the first `depth` bits of a fragment select one. Its length is 2^`depth`.
    directory: Vec<u32>,
    pages: Vec<Page>,
    depth: u32,
    entries: usize,
    /// The newest LSN that was ever inserted, from which positions are counted back.
    newest: Lsn,
    shape: Shape,
}

impl Index {
    /// An empty index.
    #[must_use]
    pub fn new() -> Self {
        Self::with_shape(Shape::DEFAULT)
    }

    /// An empty index with pages of another size.
    #[must_use]
    pub fn with_shape(shape: Shape) -> Self {
        Self {
            directory: vec![0],
            pages: vec![Page::new(shape.buckets_for(0), 0)],
            depth: 0,
            entries: 0,
            newest: Lsn::ZERO,
            shape,
        }
    }

    /// An empty index that takes so many entries, if their fragments are spread evenly, without moving any.
    #[must_use]
    pub fn with_capacity(entries: usize) -> Self {
        let shape = Shape::DEFAULT;
        let depth = shape.depth_for(entries).min(Fragment::BITS);
        let count = 1_usize << depth;
        let buckets = shape.buckets_for(entries / count);
        let numbers = 0..u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            directory: numbers.clone().collect(),
            pages: numbers.map(|_| Page::new(buckets, depth)).collect(),
            depth,
            ..Self::with_shape(shape)
        }
    }

    /// How many entries there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Removes all entries and frees their memory.
    pub fn clear(&mut self) {
        *self = Self::with_shape(self.shape);
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.pages.iter().map(Page::memory_bytes).sum::<usize>()
            + self.pages.capacity() * size_of::<Page>()
            + self.directory.capacity() * size_of::<u32>()
    }

    /// The newest record of the key with this hash, of those that the index knows.
    ///
    /// `holds` is asked whether the record there has this very key, most likely in that part of it, for entries that have
    /// the key's fragment, in no particular order. A record that has it alone ends the search: an entry that leads there is
    /// the key's own, and any other record with the key that an entry leads to is older. Entries that lie beyond are often
    /// in another cache line.
    /// The caller sees to it that a key has no two entries of its own that lead to such records.
    #[inline]
    pub fn find(&self, hash: KeyHash, mut holds: impl FnMut(Lsn, Part) -> Holds) -> Option<Lsn> {
        let fragment = Fragment::of(hash);
        let mut found = None;
        let alone = self.page(fragment).find(fragment, |position, part| {
            let lsn = position.lsn(self.newest);
            if Some(lsn) > found {
                match holds(lsn, part) {
                    Holds::No => {}
                    Holds::Among => found = Some(lsn),
                    Holds::Alone => return ControlFlow::Break(lsn),
                }
            }
            ControlFlow::Continue(())
        });
        alone.break_value().or(found)
    }

    /// Calls `visit` with the position of every entry that has the fragment of this hash, in no particular order.
    pub fn for_each_candidate(&self, hash: KeyHash, mut visit: impl FnMut(Lsn)) {
        let fragment = Fragment::of(hash);
        let _all = self.page(fragment).find(fragment, |position, _| {
            visit(position.lsn(self.newest));
            ControlFlow::<()>::Continue(())
        });
    }

    /// Some entry that has the fragment of this hash, nearly always the only one. Looks no further than it must.
    #[inline]
    #[must_use]
    pub fn any_candidate(&self, hash: KeyHash) -> Option<Lsn> {
        let fragment = Fragment::of(hash);
        let any = self.page(fragment).find(fragment, |position, _| ControlFlow::Break(position));
        any.break_value().map(|position| position.lsn(self.newest))
    }

    /// Brings what [`Index::find`] reads first for this hash into the processor's cache, without waiting for it.
    ///
    /// Worth it for several hashes in a row, before the first is looked up.
    #[inline]
    pub fn prefetch(&self, hash: KeyHash) {
        let fragment = Fragment::of(hash);
        let page = self.page(fragment);
        core::hint::black_box(page.touch(page.home(fragment)));
    }

    /// Adds an entry: the key's operation is in this part of the record. It does not look for one of the same key.
    ///
    /// # Panics
    /// If no record can start at `lsn`, because it is not aligned: that is a bug.
    pub fn insert(&mut self, hash: KeyHash, lsn: Lsn, part: Part) {
        let fragment = Fragment::of(hash);
        let position = Position::of(lsn);
        let mut number = self.page_number(fragment);
        while !self.pages[number].has_room(shape::LOAD_PERCENT_MAX) {
            self.make_room(number, fragment);
            number = self.page_number(fragment);
        }
        self.pages[number].insert(fragment, position, part);
        self.entries += 1;
        self.newest = self.newest.max(lsn);
    }

    /// Lets the entry of a key that leads to `old` lead to this part of `new`; returns `false` where there is no such entry.
    ///
    /// # Panics
    /// If no record can start at `old` or `new`, because it is not aligned: that is a bug.
    pub fn replace(&mut self, hash: KeyHash, old: Lsn, new: Lsn, part: Part) -> bool {
        let fragment = Fragment::of(hash);
        let number = self.page_number(fragment);
        let replaced = self.pages[number].replace(fragment, Position::of(old), Position::of(new), part);
        if replaced {
            self.newest = self.newest.max(new);
        }
        replaced
    }

    /// Removes the entry of a key that leads to `lsn`; returns `false` where there is no such entry.
    ///
    /// # Panics
    /// If no record can start at `lsn`, because it is not aligned: that is a bug.
    pub fn remove(&mut self, hash: KeyHash, lsn: Lsn) -> bool {
        let fragment = Fragment::of(hash);
        let number = self.page_number(fragment);
        let removed = self.pages[number].remove(fragment, Position::of(lsn));
        self.entries -= usize::from(removed);
        removed
    }

    /// Where the directory names the page of `fragment`.
    #[inline]
    fn directory_index(&self, fragment: Fragment) -> usize {
        let index = fragment.get() >> (Fragment::BITS - self.depth);
        #[expect(clippy::cast_possible_truncation, reason = "below the directory's length, which is a usize")]
        let index = index as usize;
        index
    }

    #[inline]
    fn page_number(&self, fragment: Fragment) -> usize {
        self.directory[self.directory_index(fragment)] as usize
    }

    #[inline]
    fn page(&self, fragment: Fragment) -> &Page {
        &self.pages[self.page_number(fragment)]
    }

    /// Makes page `number`, which has `fragment`, larger or splits it.
    #[cold]
    #[inline(never)]
    fn make_room(&mut self, number: usize, fragment: Fragment) {
        let page = &self.pages[number];
        let buckets = page.buckets();
        if !self.shape.is_largest(buckets) {
            let larger = self.shape.buckets_for(page.entries() + 1).max(buckets + 1);
            self.pages[number] = page.rebuilt(larger);
        } else if page.depth() < self.depth || self.double_directory() {
            self.split(number, fragment);
        } else {
            self.pages[number] = self.pages[number].rebuilt(Shape::buckets_beyond(buckets));
        }
    }

    /// Doubles the directory, or returns `false` where that would be out of proportion.
    fn double_directory(&mut self) -> bool {
        let length = self.directory.len() * 2;
        if self.depth == Fragment::BITS || length > self.pages.len() * DIRECTORY_ENTRIES_PER_PAGE_MAX {
            return false;
        }
        let mut directory = Vec::with_capacity(length);
        directory.extend(self.directory.iter().flat_map(|&number| [number, number]));
        self.directory = directory;
        self.depth += 1;
        true
    }

    /// Splits page `number`, which has `fragment` and fewer bits than the directory.
    fn split(&mut self, number: usize, fragment: Fragment) {
        let (low, high) = self.pages[number].split(|entries| self.shape.buckets_for(entries));
        let Ok(high_number) = u32::try_from(self.pages.len()) else { unreachable!("2^32 pages do not fit in memory") };
        // The directory entries of the page are a run of this length; the second half of it becomes the new page's.
        let run = 1 << (self.depth - self.pages[number].depth());
        let first = self.directory_index(fragment) / run * run;
        self.directory[first + run / 2..first + run].fill(high_number);
        self.pages[number] = low;
        self.pages.push(high);
    }
}

impl Default for Index {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Index {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Index")
            .field("entries", &self.entries)
            .field("pages", &self.pages.len())
            .field("depth", &self.depth)
            .field("newest", &self.newest)
            .finish_non_exhaustive()
    }
}
