//! The entries of all fragments that start with the same bits.

use alloc::boxed::Box;
use alloc::vec;
use core::ops::ControlFlow;

use super::bucket::{BUCKET_ENTRIES, Bucket};
use super::entry::{Fragment, Part, Position};

/// A small hash table by itself: buckets in the order of the fragments that are at home there, probed linearly.
///
/// Invariant: there is always a free slot, and every bucket between an entry's home and its place counts it as
/// passed (see [`Bucket::was_passed`]); that is what lets a search end without tombstones.
pub(super) struct Page {
    buckets: Box<[Bucket]>,
    entries: u32,
    /// How many leading bits the fragments of this page share.
    depth: u32,
}

// There is one for a thousand keys and more, and every lookup reads one: it should be in the processor's cache.
const _: () = assert!(size_of::<Page>() <= 24);

impl Page {
    /// An empty page of `buckets` buckets, at least one, for fragments that share their first `depth` bits.
    pub(super) fn new(buckets: usize, depth: u32) -> Self {
        debug_assert!(buckets > 0 && depth <= Fragment::BITS);
        Self { buckets: vec![Bucket::EMPTY; buckets].into_boxed_slice(), entries: 0, depth }
    }

    pub(super) const fn depth(&self) -> u32 {
        self.depth
    }

    pub(super) const fn entries(&self) -> usize {
        self.entries as usize
    }

    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        size_of_val(&*self.buckets)
    }

    /// How many fragments share the bits of this page.
    pub(super) const fn span(&self) -> u64 {
        Fragment::COUNT >> self.depth
    }

    /// Where `fragment` is at home: its place among the fragments of this page, scaled to the buckets.
    #[inline]
    pub(super) fn home(&self, fragment: Fragment) -> usize {
        let offset = fragment.get() & (self.span() - 1);
        let home = (offset * self.buckets.len() as u64) >> (Fragment::BITS - self.depth);
        #[expect(clippy::cast_possible_truncation, reason = "below the number of buckets, because offset < span")]
        let home = home as usize;
        home
    }

    /// The offset within this page of the first fragment that is at home in bucket `home` or later.
    pub(super) fn first_offset_at_home(&self, home: usize) -> u64 {
        (self.span() * home as u64).div_ceil(self.buckets.len() as u64)
    }

    #[inline]
    fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.buckets.len() { 0 } else { bucket + 1 }
    }

    /// Calls `visit` with every bucket in which an entry that is at home in `home` can lie, until it breaks off.
    #[inline]
    fn search<B>(&self, home: usize, mut visit: impl FnMut(&Bucket) -> ControlFlow<B>) -> ControlFlow<B> {
        let mut at = home;
        // The bound matters only where counters have saturated all the way round.
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            visit(bucket)?;
            if !bucket.was_passed() {
                break;
            }
            at = self.after(at);
        }
        ControlFlow::Continue(())
    }

    /// Calls `visit` with the position and the part of every entry of `fragment`, until it breaks off.
    #[inline]
    pub(super) fn find<B>(
        &self,
        fragment: Fragment,
        mut visit: impl FnMut(Position, Part) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.search(self.home(fragment), |bucket| {
            bucket.matches(fragment).try_for_each(|slot| visit(bucket.position(slot), bucket.part(slot)))
        })
    }

    /// Calls `visit` with every entry that is at home in bucket `home`.
    pub(super) fn at_home(&self, home: usize, mut visit: impl FnMut(Fragment, Position, Part)) {
        let _all = self.search(home, |bucket| {
            for slot in bucket.used() {
                let fragment = bucket.fragment(slot);
                if self.home(fragment) == home {
                    visit(fragment, bucket.position(slot), bucket.part(slot));
                }
            }
            ControlFlow::<()>::Continue(())
        });
    }

    /// The bucket and slot of exactly this entry.
    #[inline]
    fn locate(&self, fragment: Fragment, position: Position) -> Option<(usize, usize)> {
        let mut at = self.home(fragment);
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            if let Some(slot) = bucket.slot_of(fragment, position) {
                return Some((at, slot));
            }
            if !bucket.was_passed() {
                return None;
            }
            at = self.after(at);
        }
        None
    }

    /// Whether one more entry keeps at least one slot free and the load at or below `load_percent`.
    pub(super) fn has_room(&self, load_percent: usize) -> bool {
        (self.entries() + 1) * 100 <= self.buckets.len() * BUCKET_ENTRIES * load_percent
    }

    /// Adds an entry, for which there must be room.
    #[inline]
    pub(super) fn insert(&mut self, fragment: Fragment, position: Position, part: Part) {
        let mut at = self.home(fragment);
        while !self.buckets[at].insert(fragment, position, part) {
            self.buckets[at].note_passed();
            at = self.after(at);
        }
        self.entries += 1;
    }

    /// Gives an entry another position, or returns `false` where it is not there.
    pub(super) fn replace(&mut self, fragment: Fragment, old: Position, new: Position, part: Part) -> bool {
        let Some((bucket, slot)) = self.locate(fragment, old) else { return false };
        self.buckets[bucket].set_position(slot, new, part);
        true
    }

    /// Removes an entry, or returns `false` where it is not there.
    pub(super) fn remove(&mut self, fragment: Fragment, position: Position) -> bool {
        let Some((found, slot)) = self.locate(fragment, position) else { return false };
        self.buckets[found].remove(slot);
        self.entries -= 1;
        let mut at = self.home(fragment);
        while at != found {
            self.buckets[at].forget_passed();
            at = self.after(at);
        }
        true
    }

    /// Calls `visit` with every entry, roughly in the order of fragments.
    fn for_each(&self, mut visit: impl FnMut(Fragment, Position, Part)) {
        for bucket in &self.buckets {
            bucket.used().for_each(|slot| visit(bucket.fragment(slot), bucket.position(slot), bucket.part(slot)));
        }
    }

    /// The same entries in a page of `buckets` buckets.
    pub(super) fn rebuilt(&self, buckets: usize) -> Self {
        debug_assert!(buckets * BUCKET_ENTRIES > self.entries());
        let mut page = Self::new(buckets, self.depth);
        self.for_each(|fragment, position, part| page.insert(fragment, position, part));
        page
    }

    /// Two pages: the entries whose first bit beyond the shared ones is 0, and those where it is 1.
    pub(super) fn split(&self, buckets_for: impl Fn(usize) -> usize) -> (Self, Self) {
        let depth = self.depth + 1;
        let is_high = |fragment: Fragment| fragment.get() & (Fragment::COUNT >> depth) != 0;
        let mut high_entries = 0;
        self.for_each(|fragment, _, _| high_entries += usize::from(is_high(fragment)));
        let mut low = Self::new(buckets_for(self.entries() - high_entries), depth);
        let mut high = Self::new(buckets_for(high_entries), depth);
        self.for_each(|fragment, position, part| {
            let page = if is_high(fragment) { &mut high } else { &mut low };
            page.insert(fragment, position, part);
        });
        (low, high)
    }

    /// Some entry, at or after bucket `home` if possible; `draw` chooses among those of one bucket.
    pub(super) fn sample(&self, home: usize, draw: u32) -> Option<(Fragment, Position, Part)> {
        let mut at = home;
        for _ in 0..self.buckets.len() {
            let bucket = &self.buckets[at];
            let count = bucket.used().count();
            if count > 0 {
                let slot = bucket.used().nth((draw % count) as usize)?;
                return Some((bucket.fragment(slot), bucket.position(slot), bucket.part(slot)));
            }
            at = self.after(at);
        }
        None
    }

    /// Reads one byte of bucket `home`, and one of the next, where a search often goes on.
    #[inline]
    pub(super) fn touch(&self, home: usize) -> bool {
        self.buckets[home].was_passed() | self.buckets[self.after(home)].was_passed()
    }
}
