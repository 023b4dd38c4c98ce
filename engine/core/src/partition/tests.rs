mod doubt;
mod expiry;
mod rot;
mod surgery;
mod walk;

use alloc::vec::Vec;
use std::collections::{BTreeMap, BTreeSet};
use std::string::String;

use proptest::prelude::*;

use super::*;
use crate::log::VecMemory;
use crate::replication::ReplicaId;
use crate::types::limits::SEGMENT_LEN_MIN;
use crate::types::{ClusterId, LogKey};

/// Drives a partition over plain memory and keeps the image of what has been flushed.
pub(crate) struct Driver {
    pub(crate) partition: Partition<VecMemory>,
    /// Segments as they were at the last flush or at their preparation, by base.
    pub(crate) disk: BTreeMap<Lsn, Vec<u8>>,
    pub(crate) superblock: Superblock,
    pub(crate) now: u64,
}

pub(crate) fn blank_superblock() -> Superblock {
    Superblock::first(
        ClusterId([1; 16]),
        PartitionId::new(0),
        1,
        ReplicaId::new(1),
        HashSeed([2; 16]),
        LogKey::new([9; 8]),
    )
}

pub(crate) const CONFIG: PartitionConfig = PartitionConfig { segment_len: SEGMENT_LEN_MIN, segments_ahead: 1 };

impl Driver {
    pub(crate) fn create() -> Self {
        Self::open(blank_superblock(), BTreeMap::new(), 1_000).unwrap()
    }

    pub(crate) fn open(
        superblock: Superblock,
        disk: BTreeMap<Lsn, Vec<u8>>,
        now: u64,
    ) -> Result<Self, crate::recovery::RecoveryError> {
        let segments = disk.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
        let mut recovered = RecoveredPartition::new(superblock, CONFIG, segments)?;
        let repair = recovered.repair();
        let superblock = recovered.next_superblock().unwrap();
        let partition = recovered.into_writable(superblock);
        let mut driver = Self { partition, disk, superblock, now };
        repair.flush.iter().for_each(|base| driver.sync(*base));
        for base in repair.remove {
            driver.disk.remove(&base);
        }
        driver.act();
        driver.partition.start_epoch(driver.now()).unwrap();
        driver.flush();
        Ok(driver)
    }

    pub(crate) fn now(&self) -> UnixMillis {
        UnixMillis::new(self.now).unwrap()
    }

    fn sync(&mut self, base: Lsn) {
        let bytes = self.partition.segment(base).unwrap().bytes().to_vec();
        self.disk.insert(base, bytes);
    }

    pub(crate) fn act(&mut self) {
        while let Some(action) = self.partition.poll_action() {
            match action {
                Action::Prepare { base, len } => {
                    let len = usize::try_from(len).unwrap();
                    self.disk.insert(base, std::vec![0; len]);
                    self.partition.handle_prepared(base, VecMemory::zeroed(len));
                }
                Action::WriteSuperblock(superblock) => {
                    self.superblock = superblock;
                    self.partition.handle_superblock_written(superblock.generation);
                }
            }
        }
    }

    pub(crate) fn flush(&mut self) {
        while let Some(request) = self.partition.poll_flush() {
            self.flushed(request);
        }
    }

    fn flushed(&mut self, request: FlushRequest) {
        let bases: Vec<Lsn> = self.partition.log().segments().map(LogSegment::base).collect();
        for base in bases {
            if (request.first_base..=request.last_base).contains(&base) {
                self.sync(base);
            }
        }
        self.partition.handle_flushed(request.ticket);
    }

    pub(crate) fn put(&mut self, key: &str, value: &str) {
        self.put_until(key, value, None);
    }

    pub(crate) fn put_until(&mut self, key: &str, value: &str, expires_at: Option<UnixMillis>) {
        self.apply(&[(key, Change::Put { value: value.as_bytes(), expires_at })]);
    }

    pub(crate) fn apply(&mut self, changes: &[(&str, Change<'_>)]) {
        let mut ops: Vec<Op<'_>> = changes
            .iter()
            .map(|(key, change)| Op { hash: self.partition.hash(key.as_bytes()), key: key.as_bytes(), change: *change })
            .collect();
        let now = self.now();
        self.act();
        self.partition.append(now, &mut ops).unwrap();
    }

    pub(crate) fn get(&self, key: &str) -> Option<String> {
        let lookup = self.partition.get(self.partition.hash(key.as_bytes()), key.as_bytes(), self.now());
        lookup.entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
    }

    fn wait(&self, key: &str) -> Lsn {
        self.partition.get(self.partition.hash(key.as_bytes()), key.as_bytes(), self.now()).wait
    }

    /// What a reopening after a power cut that lost everything unflushed finds.
    pub(crate) fn reopen(self) -> Self {
        Self::open(self.superblock, self.disk, self.now).unwrap()
    }

    fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        let mut cursor = Some(ScanCursor::START);
        while let Some(from) = cursor {
            let step = self.partition.scan(from, 3, self.now(), &mut |entry| {
                keys.push(String::from_utf8(entry.key.to_vec()).unwrap());
            });
            cursor = step.next;
        }
        keys.sort();
        assert_eq!(self.walked(&mut LogWalk::default(), 3), keys, "the log shows what the index shows");
        keys
    }

    /// The keys that a walk over the log visits from here on, in order, in steps of so many operations.
    fn walked(&self, walk: &mut LogWalk, budget: usize) -> Vec<String> {
        let mut keys = Vec::new();
        let mut walked = Walked::More;
        while walked == Walked::More {
            let step = self.partition.walk(walk, budget, self.now(), &mut |entry| {
                keys.push(String::from_utf8(entry.key.to_vec()).unwrap());
            });
            walked = step.walked;
        }
        assert_eq!(walked, Walked::All);
        keys.sort();
        keys
    }
}

#[test]
fn full_segments_are_flushed_alone_and_are_there_after_a_power_cut() {
    let mut driver = Driver::create();
    let mut ends = Vec::new();
    let mut flushes = 0;
    while driver.partition.log().segments().count() < 5 {
        let number = ends.len();
        driver.put(&std::format!("key-{number}"), &"x".repeat(300));
        ends.push(driver.partition.appended());
        let Some(request) = driver.partition.poll_flush_full() else { continue };
        flushes += 1;
        assert!(driver.partition.poll_flush().is_none(), "one at a time");
        let open = driver.partition.log().segments().next_back().unwrap().base();
        assert!(request.upto < open && request.last_base < open, "what is not full is left alone");
        driver.flushed(request);
        assert_eq!(driver.partition.durable(), request.upto);
        assert!(driver.partition.poll_flush_full().is_none(), "once");
        let reopened = Driver::open(driver.superblock, driver.disk.clone(), driver.now).unwrap();
        for (number, end) in ends.iter().enumerate() {
            let found = reopened.get(&std::format!("key-{number}")).is_some();
            assert_eq!(found, *end <= request.upto, "key-{number} that ends at {end}, flushed up to {}", request.upto);
        }
    }
    assert_eq!(flushes, 4);
    driver.flush();
    assert_eq!(driver.partition.durable(), driver.partition.appended(), "the rest, when it is asked for");
    let count = ends.len();
    let reopened = driver.reopen();
    assert!((0..count).all(|number| reopened.get(&std::format!("key-{number}")).is_some()));
}

#[test]
fn a_write_is_seen_at_once_and_waited_for_until_it_is_durable() {
    let mut driver = Driver::create();
    driver.put("a", "1");
    assert_eq!(driver.get("a").as_deref(), Some("1"));
    assert_eq!(driver.wait("a"), driver.partition.appended());
    driver.flush();
    assert_eq!(driver.wait("a"), Lsn::ZERO);
    driver.put("b", "2");
    assert_eq!(driver.wait("a"), Lsn::ZERO, "no reader waits for a stranger");
}

#[test]
fn a_deletion_is_waited_for_too() {
    let mut driver = Driver::create();
    driver.put("a", "1");
    driver.flush();
    driver.apply(&[("a", Change::Delete)]);
    assert_eq!(driver.get("a"), None);
    assert_eq!(driver.wait("a"), driver.partition.appended());
    assert_eq!(driver.partition.len(), 0);
    driver.flush();
    assert_eq!(driver.wait("a"), Lsn::ZERO);
    assert_eq!(driver.partition.index.len(), 0, "the tombstone is gone");
}

#[test]
fn a_clear_is_waited_for_by_whoever_sees_nothing() {
    let mut driver = Driver::create();
    driver.put("a", "1");
    driver.flush();
    driver.act();
    driver.partition.clear(driver.now()).unwrap();
    assert_eq!(driver.wait("a"), driver.partition.appended());
    assert_eq!(driver.wait("never there"), driver.partition.appended());
    driver.flush();
    assert_eq!(driver.wait("a"), Lsn::ZERO);
    assert_eq!(driver.reopen().get("a"), None);
}

#[test]
fn an_expired_key_is_absent_even_when_the_clock_goes_back() {
    let mut driver = Driver::create();
    driver.put_until("a", "1", UnixMillis::new(5_000));
    driver.now = 4_999;
    assert_eq!(driver.get("a").as_deref(), Some("1"));
    driver.now = 5_000;
    assert_eq!(driver.get("a"), None);
    driver.now = 2_000;
    assert_eq!(driver.get("a"), None, "the partition's clock does not go back");
    assert_eq!(driver.partition.len(), 1);
    assert_eq!(driver.partition.sweep_expired(driver.now(), 10), Ok(1));
    assert_eq!(driver.partition.len(), 0);
    driver.flush();
    let mut driver = driver.reopen();
    driver.now = 0;
    assert_eq!(driver.get("a"), None);
}

#[test]
fn expiries_are_found_again_after_reopening() {
    let mut driver = Driver::create();
    driver.put_until("a", "1", UnixMillis::new(5_000));
    driver.put_until("b", "1", UnixMillis::new(6_000));
    driver.put("b", "2");
    driver.flush();
    let mut driver = driver.reopen();
    assert_eq!(driver.partition.stats().expiring_keys, 1);
    driver.now = 9_000;
    driver.act();
    assert_eq!(driver.partition.sweep_expired(driver.now(), 10), Ok(1));
    assert_eq!(driver.keys(), ["b"]);
}

#[test]
fn a_batch_is_one_record_and_its_keys_are_found() {
    let mut driver = Driver::create();
    let keys: Vec<String> = (0..40).map(|number| std::format!("key{number}")).collect();
    let changes: Vec<(&str, Change<'_>)> =
        keys.iter().map(|key| (key.as_str(), Change::Put { value: b"v", expires_at: None })).collect();
    let before = driver.partition.log().segments().map(LogSegment::record_count).sum::<u64>();
    driver.apply(&changes);
    assert_eq!(driver.partition.log().segments().map(LogSegment::record_count).sum::<u64>(), before + 1);
    assert!(keys.iter().all(|key| driver.get(key).is_some()));
    assert_eq!(driver.keys().len(), 40);
    driver.flush();
    assert_eq!(driver.reopen().keys().len(), 40);
}

#[test]
fn what_cannot_be_appended_changes_nothing() {
    let mut driver = Driver::create();
    let now = driver.now();
    let hash = driver.partition.hash(b"a");
    let op = |value| Op { hash, key: b"a", change: Change::Put { value, expires_at: None } };
    let big = std::vec![0; 5_000];
    assert_eq!(driver.partition.append(now, &mut []), Err(AppendError::NotASet));
    assert_eq!(driver.partition.append(now, &mut [op(b"1"), op(b"2")]), Err(AppendError::NotASet));
    assert!(matches!(
        driver.partition.append(now, &mut [op(&big)]),
        Err(AppendError::Room(crate::log::RoomError::TooLarge { .. }))
    ));
    let end = driver.partition.appended();
    assert_eq!(driver.get("a"), None);
    assert_eq!(driver.partition.appended(), end);
}

#[test]
fn a_record_of_any_length_is_written_or_refused() {
    let mut driver = Driver::create();
    let (mut written, mut refused) = (0, 0);
    for len in 3_700..3_950 {
        driver.act();
        let value = std::vec![0; len];
        let hash = driver.partition.hash(b"a");
        let change = Change::Put { value: &value, expires_at: None };
        match driver.partition.append(driver.now(), &mut [Op { hash, key: b"a", change }]) {
            Ok(_) => written += 1,
            Err(AppendError::Room(crate::log::RoomError::TooLarge { .. })) => refused += 1,
            Err(other) => panic!("{len} bytes: {other}"),
        }
    }
    assert!(written > 50 && refused > 50);
}

#[test]
fn appends_wait_for_the_next_segment_and_go_on_when_it_is_there() {
    let mut driver = Driver::create();
    driver.act();
    let value = std::vec![b'v'; 2_500];
    let now = driver.now();
    let hash = driver.partition.hash(b"a");
    let mut op = [Op { hash, key: b"a", change: Change::Put { value: &value, expires_at: None } }];
    driver.partition.append(now, &mut op).unwrap();
    driver.partition.append(now, &mut op).unwrap();
    let refused = driver.partition.append(now, &mut op).unwrap_err();
    assert!(refused.is_not_ready());
    let Some(Action::Prepare { base, .. }) = driver.partition.poll_action() else { panic!("a segment is wanted") };
    driver.partition.handle_prepare_failed(base, PrepareFailure::NoSpace);
    let refused = driver.partition.append(now, &mut op).unwrap_err();
    assert_eq!(refused, AppendError::Room(crate::log::RoomError::NoSpace));
    assert!(driver.partition.prepare_failure() == Some(PrepareFailure::NoSpace));
    assert_eq!(driver.partition.poll_action(), None, "asked again at the next tick only");
    driver.partition.handle_tick(now);
    assert_eq!(driver.partition.poll_action().map(|again| matches!(again, Action::Prepare { .. })), Some(true));
    driver.partition.handle_prepare_failed(base, PrepareFailure::Refused);
    let refused = driver.partition.append(now, &mut op).unwrap_err();
    assert_eq!(refused, AppendError::Room(crate::log::RoomError::Refused), "it is not the space");
    driver.partition.handle_tick(now);
    driver.act();
    driver.partition.append(now, &mut op).unwrap();
}

#[test]
fn an_idle_log_bears_witness_in_its_superblock() {
    let mut driver = Driver::create();
    driver.put("a", "1");
    driver.flush();
    driver.act();
    let now = driver.now();
    driver.partition.handle_tick(now);
    driver.act();
    assert!(driver.superblock.durable < driver.partition.durable());
    driver.partition.handle_tick(now);
    driver.act();
    assert_eq!(driver.superblock.durable, driver.partition.durable());
}

#[test]
fn the_change_feed_gives_every_committed_record_in_order() {
    let mut driver = Driver::create();
    for number in 0..100 {
        driver.put("key", &std::format!("value {number}"));
    }
    driver.flush();
    driver.put("key", "not committed");
    let mut values = Vec::new();
    let mut records = driver.partition.records(Lsn::ZERO).unwrap();
    let mut middle = Lsn::ZERO;
    while let Some(record) = records.next() {
        let Some(batch) = record.unwrap().batch else { continue };
        values.extend(batch.iter().map(|op| String::from_utf8(op.value.to_vec()).unwrap()));
        if values.len() == 50 {
            middle = records.position();
        }
    }
    assert_eq!(values, (0..100).map(|number| std::format!("value {number}")).collect::<Vec<_>>());
    assert_eq!(driver.partition.records(middle).unwrap().count(), 50);
}

#[test]
fn random_finds_every_key() {
    let mut driver = Driver::create();
    (0..20).for_each(|number| driver.put(&std::format!("key{number}"), "v"));
    driver.apply(&[("key3", Change::Delete)]);
    let mut seen = BTreeSet::new();
    for draw in 0..2_000 {
        let entry = driver.partition.random(draw, driver.now()).unwrap().entry.unwrap();
        seen.insert(entry.key.to_vec());
    }
    assert_eq!(seen.len(), 19);
}

#[test]
fn whoever_draws_nothing_waits_for_every_deletion() {
    let mut driver = Driver::create();
    let keys: Vec<String> = (0..500).map(|number| std::format!("key{number}")).collect();
    keys.iter().for_each(|key| driver.put(key, "v"));
    driver.flush();
    keys.iter().for_each(|key| driver.apply(&[(key, Change::Delete)]));
    for draw in 0..50 {
        let lookup = driver.partition.random(draw << 40, driver.now()).unwrap();
        assert_eq!((lookup.entry, lookup.wait), (None, driver.partition.appended()));
    }
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u16, Option<u16>),
    Delete(u8),
    Batch(Vec<(u8, Option<u16>)>),
    Clear,
    Flush,
    Tick(u16),
    Sweep,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..20_u8, 0..900_u16, prop::option::of(0..500_u16)).prop_map(|(k, v, t)| Step::Put(k, v, t)),
        3 => (0..20_u8).prop_map(Step::Delete),
        2 => prop::collection::vec((0..20_u8, prop::option::of(0..90_u16)), 1..25).prop_map(Step::Batch),
        1 => Just(Step::Clear),
        4 => Just(Step::Flush),
        2 => (0..300_u16).prop_map(Step::Tick),
        1 => Just(Step::Sweep),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..80)
}

type Model = BTreeMap<String, (String, Option<u64>)>;

fn model_view(model: &Model, now: u64) -> BTreeMap<String, String> {
    let live = model.iter().filter(|(_, (_, at))| at.is_none_or(|at| at > now));
    live.map(|(key, (value, _))| (key.clone(), value.clone())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn a_partition_is_a_map_that_a_power_cut_takes_back_to_the_last_flush(steps in steps()) {
        let mut driver = Driver::create();
        let (mut model, mut flushed) = (Model::new(), Model::new());
        for step in steps {
            driver.act();
            match step {
                Step::Put(key, len, ttl) => {
                    let (key, value) = (std::format!("k{key}"), "v".repeat(usize::from(len)));
                    let at = ttl.map(|ttl| driver.now + u64::from(ttl) + 1);
                    driver.put_until(&key, &value, at.and_then(UnixMillis::new));
                    model.insert(key, (value, at));
                }
                Step::Delete(key) => {
                    let key = std::format!("k{key}");
                    driver.apply(&[(&key, Change::Delete)]);
                    model.remove(&key);
                }
                Step::Batch(changes) => {
                    let changes: BTreeMap<String, Option<String>> = changes
                        .into_iter()
                        .map(|(key, len)| (std::format!("k{key}"), len.map(|len| "b".repeat(usize::from(len)))))
                        .collect();
                    let ops: Vec<(&str, Change<'_>)> = changes
                        .iter()
                        .map(|(key, value)| (key.as_str(), match value {
                            Some(value) => Change::Put { value: value.as_bytes(), expires_at: None },
                            None => Change::Delete,
                        }))
                        .collect();
                    driver.apply(&ops);
                    for (key, value) in changes {
                        match value {
                            Some(value) => drop(model.insert(key, (value, None))),
                            None => drop(model.remove(&key)),
                        }
                    }
                }
                Step::Clear => {
                    driver.partition.clear(driver.now()).unwrap();
                    model.clear();
                }
                Step::Flush => {
                    driver.flush();
                    flushed = model.clone();
                }
                Step::Tick(millis) => {
                    driver.now += u64::from(millis);
                    let now = driver.now();
                    driver.partition.handle_tick(now);
                }
                Step::Sweep => {
                    // One deletion at a time, because each may need a segment of its own.
                    while driver.partition.sweep_expired(driver.now(), 1).unwrap() > 0 {
                        driver.act();
                    }
                    let now = driver.now;
                    model.retain(|_, (_, at)| at.is_none_or(|at| at > now));
                }
                Step::Reopen => {
                    driver = driver.reopen();
                    model = flushed.clone();
                }
            }
            let view = model_view(&model, driver.now);
            prop_assert_eq!(driver.keys(), view.keys().cloned().collect::<Vec<_>>());
            for (key, value) in &view {
                let found = driver.get(key);
                prop_assert_eq!(found.as_ref(), Some(value));
            }
            prop_assert_eq!(driver.partition.index.len(), driver.partition.indexed_tombstones
                + usize::try_from(driver.partition.len()).unwrap());
        }
        // What is counted as live while running is what a walk over the log counts.
        driver.flush();
        let live = driver.partition.stats().live_bytes;
        prop_assert_eq!(driver.reopen().partition.stats().live_bytes, live);
    }
}

/// Two keys whose hashes agree in the bits that the index keeps, under the seed of these tests.
fn colliding_keys(driver: &Driver) -> (String, String) {
    let fragment = |number: u64| {
        let key = std::format!("n{number}");
        crate::index::Fragment::of(driver.partition.hash(key.as_bytes()))
    };
    assert_eq!(fragment(COLLIDING.0), fragment(COLLIDING.1), "search again: the hash or its seed has changed");
    (std::format!("n{}", COLLIDING.0), std::format!("n{}", COLLIDING.1))
}

const COLLIDING: (u64, u64) = (620_770, 1_866_879);

#[test]
fn keys_that_collide_in_one_record_are_kept_apart() {
    let mut driver = Driver::create();
    let (one, two) = colliding_keys(&driver);
    let put = |value: &'static str| Change::Put { value: value.as_bytes(), expires_at: None };
    driver.apply(&[(&one, put("old")), (&two, put("two"))]);
    driver.flush();
    driver.put(&one, "new");
    driver.flush();
    assert_eq!(driver.keys().len(), 2, "each key once, and no version that is gone");
    driver.apply(&[(&one, Change::Delete)]);
    for _ in 0..2 {
        assert_eq!((driver.get(&one), driver.get(&two).as_deref()), (None, Some("two")));
        assert_eq!(driver.keys(), core::slice::from_ref(&two));
        assert_eq!(driver.partition.len(), 1);
        driver.flush();
    }
    driver = driver.reopen();
    assert_eq!((driver.get(&one), driver.get(&two).as_deref()), (None, Some("two")));
    assert_eq!((driver.keys(), driver.partition.len()), (std::vec![two.clone()], 1));
    driver.put(&one, "again");
    assert_eq!((driver.get(&one).as_deref(), driver.partition.len()), (Some("again"), 2));
    driver.flush();
    driver = driver.reopen();
    assert_eq!((driver.get(&one).as_deref(), driver.partition.len()), (Some("again"), 2));
}

#[test]
fn a_deletion_and_a_write_that_collide_in_one_record_are_replayed_apart() {
    let mut driver = Driver::create();
    let (one, two) = colliding_keys(&driver);
    let (first, second) = if one < two { (one, two) } else { (two, one) };
    let put = |value: &'static str| Change::Put { value: value.as_bytes(), expires_at: None };
    driver.put(&first, "old");
    driver.apply(&[(&first, Change::Delete), (&second, put("two"))]);
    driver.put(&first, "again");
    driver.flush();
    for _ in 0..2 {
        assert_eq!((driver.get(&first).as_deref(), driver.get(&second).as_deref()), (Some("again"), Some("two")));
        assert_eq!(driver.partition.len(), 2);
        driver = driver.reopen();
    }
}
