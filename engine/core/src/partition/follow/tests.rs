//! A follower beside a writer: whatever is written, it shows what recovery would find, also after it has taken over.

use std::collections::BTreeMap;
use std::string::String;

use proptest::prelude::*;

use super::super::tests::{CONFIG, Driver};
use super::super::{Change, ScanCursor};
use super::*;
use crate::log::VecMemory;
use crate::types::UnixMillis;

#[derive(Clone, Debug)]
enum Step {
    Write(Vec<(u8, Act)>),
    Clear,
    Flush,
    Follow,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Put { len: usize, expires_at: Option<u64> },
    Delete,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0_usize..200, proptest::option::of(5_000_u64..5_004)).prop_map(|(len, expires_at)| Act::Put { len, expires_at }),
        1 => Just(Act::Delete),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = proptest::collection::vec((0_u8..12, act()), 1..5).prop_map(|mut ops| {
        ops.sort_by_key(|(key, _)| *key);
        ops.dedup_by_key(|(key, _)| *key);
        Step::Write(ops)
    });
    let step = prop_oneof![12 => write, 1 => Just(Step::Clear), 4 => Just(Step::Flush), 4 => Just(Step::Follow)];
    proptest::collection::vec(step, 1..80)
}

fn run(driver: &mut Driver, step: &Step) {
    match step {
        Step::Write(ops) => {
            let value = [b'v'; 200];
            let named: Vec<(String, Change<'_>)> = ops
                .iter()
                .map(|(key, act)| {
                    let change = match *act {
                        Act::Put { len, expires_at } => {
                            let expires_at = expires_at.and_then(UnixMillis::new);
                            Change::Put { value: &value[..len], expires_at }
                        }
                        Act::Delete => Change::Delete,
                    };
                    (std::format!("key{key}"), change)
                })
                .collect();
            let changes: Vec<(&str, Change<'_>)> = named.iter().map(|(key, change)| (key.as_str(), *change)).collect();
            driver.apply(&changes);
        }
        Step::Clear => {
            driver.act();
            driver.partition.clear(driver.now()).unwrap();
        }
        Step::Flush => driver.flush(),
        Step::Follow => {}
    }
}

/// Brings a follower to where the writer has committed.
fn follow_to(follower: &mut Partition<VecMemory>, writer: &Partition<VecMemory>) -> Result<Lsn, RecoveryError> {
    let limit = writer.committed();
    if limit <= follower.committed() {
        return Ok(limit);
    }
    let known = follower.log().segments().next_back().map(LogSegment::base);
    let visible = |base: Lsn, memory: &VecMemory| {
        let end = usize::try_from(limit.since(base)).unwrap().min(memory.bytes().len());
        let mut bytes = memory.bytes().to_vec();
        bytes[end..].fill(0);
        bytes
    };
    let added = writer.log().segments().filter(|segment| known.is_none_or(|known| segment.base() > known));
    let added = added
        .filter(|segment| segment.base() < limit)
        .map(|segment| (segment.base(), VecMemory::from_bytes(&visible(segment.base(), segment.memory()))))
        .collect();
    let mut grow = |base: Lsn, memory: &mut VecMemory| {
        let bytes = visible(base, writer.segment(base).unwrap());
        let from = memory.published_end();
        memory.write(from..bytes.len()).copy_from_slice(&bytes[from..]);
    };
    follower.follow(limit, &mut grow, added)
}

fn blank_follower(driver: &Driver) -> Partition<VecMemory> {
    RecoveredPartition::new(driver.superblock, CONFIG, Vec::new()).unwrap().into_read_only()
}

/// All that a partition holds, by its keys, without what depends on how its index came about.
fn contents(partition: &Partition<VecMemory>) -> BTreeMap<Vec<u8>, (Vec<u8>, Option<UnixMillis>, Lsn)> {
    let mut found = BTreeMap::new();
    let mut cursor = Some(ScanCursor::START);
    while let Some(from) = cursor {
        let step = partition.scan(from, 5, UnixMillis::ZERO, &mut |entry| {
            found.insert(entry.key.to_vec(), (entry.value.to_vec(), entry.expires_at, entry.lsn));
        });
        cursor = step.next;
    }
    found
}

fn live(partition: &Partition<VecMemory>) -> Vec<(Lsn, u64)> {
    partition.log().segments().map(|segment| (segment.base(), segment.live_bytes())).collect()
}

fn assert_same(one: &Partition<VecMemory>, other: &Partition<VecMemory>) {
    assert_eq!(contents(one), contents(other));
    assert_eq!(one.expiries, other.expiries);
    assert_eq!(one.len(), other.len());
    assert_eq!(live(one), live(other));
    assert_eq!((one.appended(), one.durable()), (other.appended(), other.durable()));
    assert_eq!(one.log().chain(), other.log().chain());
}

/// The segments as a process that is killed now leaves them: all that was stored, flushed or not.
fn image(driver: &Driver) -> BTreeMap<Lsn, Vec<u8>> {
    let mut image = driver.disk.clone();
    for segment in driver.partition.log().segments() {
        image.insert(segment.base(), segment.memory().bytes().to_vec());
    }
    image
}

/// What of an image a process that takes over is given.
fn take(
    follower: &mut Partition<VecMemory>,
    superblock: Superblock,
    image: &BTreeMap<Lsn, Vec<u8>>,
    witnessed: Lsn,
) -> Result<RecoveredPartition<VecMemory>, RecoveryError> {
    let last = follower.log().segments().next_back();
    let tail = last.filter(|last| !last.is_sealed()).map(|last| VecMemory::from_bytes(&image[&last.base()]));
    let behind = last.map_or(Lsn::ZERO, |last| last.base().plus(last.segment_len()));
    let behind = image.range(behind..).map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
    follower.take_over(superblock, CONFIG, tail, behind, witnessed)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn it_shows_what_recovery_finds_and_takes_over_as_recovery_opens(
        steps in steps(),
        torn in proptest::option::of(1_usize..60),
    ) {
        let mut driver = Driver::create();
        let mut follower = blank_follower(&driver);
        for step in &steps {
            run(&mut driver, step);
            if matches!(step, Step::Follow) {
                follow_to(&mut follower, &driver.partition).unwrap();
                prop_assert_eq!(follower.committed(), driver.partition.committed());
            }
        }
        let mut image = image(&driver);
        // The last store was under way: a part of the newest record, if it was not flushed.
        let end = driver.partition.appended();
        if let Some(torn) = torn
            && end.since(driver.partition.durable()) > torn as u64
        {
            let (base, _) = driver.partition.segment_holding(Lsn::new(end.get() - 1)).unwrap();
            let end = usize::try_from(end.since(base)).unwrap();
            image.get_mut(&base).unwrap()[end.saturating_sub(torn)..end].fill(0);
        }
        let segments = image.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
        let mut fresh = RecoveredPartition::new(driver.superblock, CONFIG, segments).unwrap();
        let mut taken = take(&mut follower, driver.superblock, &image, driver.partition.durable()).unwrap();
        prop_assert!(follower.is_empty());
        prop_assert_eq!(taken.end(), fresh.end());
        prop_assert_eq!(taken.cut(), fresh.cut());
        prop_assert!(taken.durable() >= fresh.durable() && taken.durable() == driver.partition.durable());
        prop_assert_eq!(taken.repair(), fresh.repair());
        let (own, theirs) = (taken.next_superblock().unwrap(), fresh.next_superblock().unwrap());
        prop_assert_eq!(own.epoch, theirs.epoch);
        let (taken, fresh) = (taken.into_writable(own), fresh.into_writable(theirs));
        prop_assert_eq!(contents(&taken), contents(&fresh));
        prop_assert_eq!(&taken.expiries, &fresh.expiries);
        prop_assert_eq!((taken.len(), live(&taken)), (fresh.len(), live(&fresh)));
        prop_assert_eq!((taken.appended(), taken.log().chain()), (fresh.appended(), fresh.log().chain()));
        prop_assert_eq!(taken.log().prepared_count(), fresh.log().prepared_count());
    }
}

#[test]
fn a_follower_that_stands_where_the_writer_stood_takes_over_and_goes_on() {
    let mut driver = Driver::create();
    let mut follower = blank_follower(&driver);
    for number in 0..100 {
        driver.put(&std::format!("key{number}"), &"v".repeat(100));
        if number % 10 == 0 {
            driver.flush();
            follow_to(&mut follower, &driver.partition).unwrap();
        }
    }
    driver.flush();
    let mut other = blank_follower(&driver);
    follow_to(&mut other, &driver.partition).unwrap();
    follow_to(&mut follower, &driver.partition).unwrap();
    assert_same(&follower, &other);
    let recovered = take(&mut follower, driver.superblock, &image(&driver), driver.partition.durable()).unwrap();
    assert!(recovered.cut().is_none());
    assert_eq!(recovered.end(), driver.partition.appended());
}

#[test]
fn what_was_witnessed_to_be_flushed_is_not_cut() {
    let mut driver = Driver::create();
    driver.put("a", "1");
    driver.flush();
    let mut follower = blank_follower(&driver);
    follow_to(&mut follower, &driver.partition).unwrap();
    driver.put("b", "2");
    driver.flush();
    let mut image = image(&driver);
    let end = usize::try_from(driver.partition.durable().get()).unwrap();
    image.get_mut(&Lsn::ZERO).unwrap()[end - 20] ^= 1;
    // The superblock knows nothing of the second record, and nothing in the log bears witness to it.
    let refused = take(&mut follower, driver.superblock, &image, driver.partition.durable()).map(|_| ());
    assert!(matches!(refused, Err(RecoveryError::Corrupt { .. })), "{refused:?}");
}
