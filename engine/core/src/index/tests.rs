//! The index against a sorted map, with pages so small that growth, splits, wrap-around and passing happen all the time.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use proptest::prelude::*;

use super::{Fragment, Holds, Index, Part, Shape};
use crate::types::limits::PARTITION_LOG_LEN_MAX;
use crate::types::{KeyHash, Lsn};

/// The bits of a hash that a fragment leaves out.
const SHIFT: u32 = u64::BITS - Fragment::BITS;

/// The part that the entries of a record are given here.
fn part(lsn: Lsn) -> Part {
    Part::of(usize::try_from(lsn.get() / 16 % 16).unwrap(), 16)
}

/// Every entry as (fragment, LSN), with how often it is there.
type Model = BTreeMap<(u64, u64), usize>;

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Replace(usize),
    Remove(usize),
    RemoveAbsent(u64),
    Scan(usize),
    Clear,
}

/// Hashes that are spread evenly, that crowd in one place, or that are equal.
fn hash() -> impl Strategy<Value = u64> {
    prop_oneof![
        6 => any::<u64>(),
        3 => (0_u64..64).prop_map(|low| 0xABCD_EF00_0000_0000 | low << SHIFT),
        1 => (0_u64..3).prop_map(|high| high << 62),
        1 => Just(u64::MAX),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => hash().prop_map(Step::Insert),
        10 => any::<usize>().prop_map(Step::Replace),
        20 => any::<usize>().prop_map(Step::Remove),
        2 => hash().prop_map(Step::RemoveAbsent),
        10 => (0_usize..12).prop_map(Step::Scan),
        1 => Just(Step::Clear),
    ]
}

/// A scan under way: where it is, what was there when it began and still is, and what it has visited.
struct Scan {
    cursor: u64,
    throughout: BTreeSet<(u64, u64)>,
    visited: BTreeSet<(u64, u64)>,
}

struct Harness {
    index: Index,
    model: Model,
    next: u64,
    scan: Option<Scan>,
}

impl Harness {
    /// `base` is where the log begins, so that positions can be made to come round.
    fn new(page_buckets_max: usize, base: u64) -> Self {
        let shape = Shape::with_page_buckets_max(page_buckets_max).unwrap();
        Self { index: Index::with_shape(shape), model: Model::new(), next: base, scan: None }
    }

    fn next_lsn(&mut self) -> Lsn {
        self.next += 16 * (1 + self.next / 16 % 7);
        Lsn::new(self.next)
    }

    fn picked(&self, pick: usize) -> Option<(u64, u64)> {
        self.model.keys().nth(pick.checked_rem(self.model.len())?).copied()
    }

    fn forget(&mut self, entry: (u64, u64)) {
        let count = self.model.get_mut(&entry).unwrap();
        *count -= 1;
        if *count == 0 {
            self.model.remove(&entry);
            if let Some(scan) = &mut self.scan {
                scan.throughout.remove(&entry);
            }
        }
    }

    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Insert(hash) => {
                let lsn = self.next_lsn();
                self.index.insert(KeyHash(hash), lsn, part(lsn));
                *self.model.entry((hash >> SHIFT, lsn.get())).or_default() += 1;
            }
            Step::Replace(pick) => {
                let Some((fragment, old)) = self.picked(pick) else { return };
                let new = self.next_lsn();
                assert!(self.index.replace(KeyHash(fragment << SHIFT), Lsn::new(old), new, part(new)));
                self.forget((fragment, old));
                *self.model.entry((fragment, new.get())).or_default() += 1;
            }
            Step::Remove(pick) => {
                let Some((fragment, lsn)) = self.picked(pick) else { return };
                assert!(self.index.remove(KeyHash(fragment << SHIFT), Lsn::new(lsn)));
                self.forget((fragment, lsn));
            }
            Step::RemoveAbsent(hash) => {
                let lsn = self.next_lsn();
                assert!(!self.index.remove(KeyHash(hash), lsn));
                assert!(!self.index.replace(KeyHash(hash), lsn, lsn, part(lsn)));
            }
            Step::Scan(budget) => self.scan(budget),
            Step::Clear => {
                self.index.clear();
                self.model.clear();
                if let Some(scan) = &mut self.scan {
                    scan.throughout.clear();
                }
            }
        }
    }

    /// One call of a scan, and at its end what the scan promises.
    fn scan(&mut self, budget: usize) {
        let mut scan = self.scan.take().unwrap_or_else(|| Scan {
            cursor: 0,
            throughout: self.model.keys().copied().collect(),
            visited: BTreeSet::new(),
        });
        let mut now = Model::new();
        let next = self.index.scan(scan.cursor, budget, &mut |fragment, lsn, met| {
            assert_eq!(met, part(lsn));
            *now.entry((fragment.get(), lsn.get())).or_default() += 1;
            0
        });
        let bound = next.unwrap_or(Fragment::COUNT);
        assert!(bound > scan.cursor, "every call gets on");
        let expected: Model =
            self.model.range((scan.cursor, 0)..(bound, 0)).map(|(&entry, &count)| (entry, count)).collect();
        assert_eq!(now, expected, "a call visits exactly what lies between its cursors, each entry once");
        scan.visited.extend(now.into_keys());
        match next {
            Some(cursor) => self.scan = Some(Scan { cursor, ..scan }),
            None => assert!(scan.visited.is_superset(&scan.throughout)),
        }
    }

    fn check(&self) {
        assert_eq!(self.index.len(), self.model.values().sum::<usize>());
        let mut by_fragment: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for (&(fragment, lsn), &count) in &self.model {
            by_fragment.entry(fragment).or_default().extend((0..count).map(|_| lsn));
        }
        for (&fragment, lsns) in &by_fragment {
            let hash = KeyHash(fragment << SHIFT | 0x5A5A);
            let mut found = Vec::new();
            self.index.for_each_candidate(hash, |lsn| found.push(lsn.get()));
            found.sort_unstable();
            assert_eq!(&found, lsns, "of fragment {fragment:#x}");
            let oldest = Lsn::new(lsns[0]);
            assert_eq!(
                self.index
                    .find(hash, |lsn, found| if found == part(lsn) { Holds::Among } else { Holds::No })
                    .map(Lsn::get),
                lsns.last().copied()
            );
            assert_eq!(
                self.index.find(hash, |lsn, _| if lsn == oldest { Holds::Alone } else { Holds::No }),
                Some(oldest)
            );
            assert_eq!(self.index.find(hash, |_, _| Holds::No), None);
            let mut asked = 0;
            let first = self.index.find(hash, |_, _| {
                asked += 1;
                Holds::Alone
            });
            assert!(asked == 1 && first.is_some_and(|lsn| lsns.contains(&lsn.get())), "the search ends");
        }
        for draw in [0, 1, u64::MAX, u64::MAX / 3] {
            let sample = self.index.sample(draw).map(|(fragment, lsn, met)| {
                assert_eq!(met, part(lsn));
                (fragment.get(), lsn.get())
            });
            assert!(sample.map_or(self.model.is_empty(), |entry| self.model.contains_key(&entry)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 300 }))]

    #[test]
    fn behaves_like_a_sorted_map(
        page_buckets_max in 1_usize..6,
        base in prop_oneof![Just(0), Just(PARTITION_LOG_LEN_MAX - 4_000), Just(u64::MAX / 32 * 16)],
        steps in prop::collection::vec(step(), 0..400),
    ) {
        let mut harness = Harness::new(page_buckets_max, base);
        for (number, step) in steps.iter().enumerate() {
            harness.apply(step);
            if number % 32 == 0 {
                harness.check();
            }
        }
        harness.check();
    }
}

/// A fixed sequence of numbers that look random (SplitMix64).
fn numbers(seed: u64) -> impl Iterator<Item = u64> {
    (1_u64..).map(move |count| {
        let mut mixed = seed.wrapping_add(count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    })
}

#[test]
fn many_equal_fragments_are_slow_but_right() {
    let mut harness = Harness::new(4, 0);
    let hash = KeyHash(0x1234_5678_9ABC_DEF0);
    for number in 0..2_000 {
        harness.apply(&Step::Insert(hash.0));
        harness.apply(&Step::Insert(numbers(1).nth(number).unwrap()));
    }
    harness.check();
    harness.scan(1);
    while harness.scan.is_some() {
        harness.scan(1);
    }
    while let Some((fragment, lsn)) = harness.picked(0) {
        assert!(harness.index.remove(KeyHash(fragment << SHIFT), Lsn::new(lsn)));
        harness.forget((fragment, lsn));
    }
    harness.check();
}

#[test]
fn a_long_common_prefix_does_not_make_a_huge_directory() {
    let mut harness = Harness::new(2, 0);
    for low in 0..3_000_u64 {
        harness.apply(&Step::Insert(0xFEDC_BA98_0000_0000 | low << SHIFT));
    }
    harness.check();
    assert!(harness.index.memory_bytes() < 3_000 * 64, "{} bytes", harness.index.memory_bytes());
}

#[test]
fn a_crowded_page_splits_once_the_directory_may_grow() {
    let mut harness = Harness::new(2, 0);
    let crowd = |low: u64| Step::Insert(0xFEDC_BA98_0000_0000 | low << SHIFT);
    (0..500).for_each(|low| harness.apply(&crowd(low)));
    numbers(6).take(20_000).for_each(|hash| harness.apply(&Step::Insert(hash)));
    (500..1_500).for_each(|low| harness.apply(&crowd(low)));
    harness.check();
}

#[test]
fn bytes_per_key_stay_within_sixteen_at_every_size() {
    let mut index = Index::new();
    for (number, hash) in (1_u32..=1_200_000).zip(numbers(2)) {
        index.insert(KeyHash(hash), Lsn::new(u64::from(number) * 128), Part::default());
        if number >= 100_000 && number % 10_000 == 0 {
            let keys = usize::try_from(number).unwrap();
            assert!(index.memory_bytes() <= 16 * keys, "{} bytes for {keys} keys", index.memory_bytes());
        }
    }
}

#[test]
fn a_scan_of_a_nearly_empty_index_ends_its_calls_early() {
    let mut index = Index::new();
    let entries: Vec<_> =
        numbers(3).zip(1..).map(|(hash, number)| (KeyHash(hash), Lsn::new(number * 16))).take(50_000).collect();
    entries.iter().for_each(|&(hash, lsn)| index.insert(hash, lsn, Part::default()));
    entries.iter().skip(1).for_each(|&(hash, lsn)| assert!(index.remove(hash, lsn)));
    let (mut cursor, mut calls, mut visited) = (Some(0), 0, Vec::new());
    while let Some(from) = cursor {
        cursor = index.scan(from, 100, &mut |fragment, lsn, part| {
            visited.push((fragment, lsn, part));
            0
        });
        calls += 1;
    }
    assert_eq!(visited, [(Fragment::of(entries[0].0), entries[0].1, Part::default())]);
    assert!(calls > 1);
    assert_eq!(index.sample(7), Some(visited[0]));
}

#[test]
fn samples_are_spread_over_the_entries() {
    let mut index = Index::new();
    for (hash, number) in numbers(4).zip(1..=1_000) {
        index.insert(KeyHash(hash), Lsn::new(number * 16), Part::default());
    }
    let mut drawn: BTreeMap<u64, u32> = BTreeMap::new();
    for draw in numbers(5).take(100_000) {
        *drawn.entry(index.sample(draw).unwrap().1.get()).or_default() += 1;
    }
    assert_eq!(drawn.len(), 1_000);
    assert!(drawn.values().all(|&count| (10..1_000).contains(&count)), "{:?}", drawn.values().max());
}

#[test]
fn an_index_made_for_so_many_entries_hardly_grows() {
    for count in [0_u64, 1, 100, 2_000, 2_500, 70_000, 100_000] {
        let capacity = usize::try_from(count).unwrap();
        let mut index = Index::with_capacity(capacity);
        let before = index.memory_bytes();
        assert!(before <= 26 * capacity + 4_096, "{before} bytes for {count} entries");
        for number in 1..=count {
            index.insert(KeyHash(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)), Lsn::new(number * 16), Part::default());
        }
        assert_eq!(index.len(), capacity);
        assert!(index.memory_bytes() <= before + before / 50 + 4_096, "{before} became {}", index.memory_bytes());
        let last = KeyHash(count.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        assert_eq!(index.find(last, |_, _| Holds::Alone).is_some(), count > 0);
    }
}

#[test]
fn an_entry_that_takes_long_ends_a_call_sooner() {
    let mut index = Index::new();
    numbers(8).take(10_000).for_each(|hash| index.insert(KeyHash(hash), Lsn::new(16), Part::default()));
    let visited = |cost: usize| {
        let mut visited = 0;
        index.scan(0, 1_000, &mut |_, _, _| {
            visited += 1;
            cost
        });
        visited
    };
    assert!((990..1_010).contains(&visited(0)), "{}", visited(0));
    assert!((10..20).contains(&visited(99)), "{}", visited(99));
}

#[test]
fn every_operation_is_in_the_part_that_it_is_given() {
    for count in (1..70).chain([1_000, 65_536]) {
        for number in 0..count {
            assert!(Part::of(number, count).range(count).contains(&number), "{number} of {count}");
        }
        let all: usize = (0..16).map(|part| Part::of(part, 16).range(count).len()).sum();
        assert_eq!(all, count);
    }
    assert_eq!(Part::of(3, 3), Part::default(), "an operation that is not there");
}
