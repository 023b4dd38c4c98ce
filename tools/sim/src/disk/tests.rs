use windrow_core::replication::ReplicaId;
use windrow_core::types::{ClusterId, HashSeed, LogKey, PartitionId};

use super::*;

const BASE: Lsn = Lsn::ZERO;

fn disk() -> PartitionDisk {
    let mut disk = PartitionDisk::new(&superblock(1));
    disk.create(BASE, 4 * PAGE);
    disk.sync_directory();
    disk
}

fn superblock(generation: u64) -> Superblock {
    Superblock {
        generation,
        epoch: Epoch::ZERO,
        promised: Epoch::ZERO,
        durable: Lsn::ZERO,
        ..Superblock::first(
            ClusterId([0; 16]),
            PartitionId::new(0),
            1,
            ReplicaId::new(1),
            HashSeed([0; 16]),
            LogKey::new([9; 8]),
        )
    }
}

fn store(disk: &mut PartitionDisk, start: usize, byte: u8, len: usize) {
    disk.file_mut(BASE).unwrap().store(start, &vec![byte; len]);
}

fn durable(disk: &PartitionDisk) -> &[u8] {
    disk.file(BASE).unwrap().durable()
}

#[test]
fn a_flush_covers_what_was_there_when_it_began() {
    let mut disk = disk();
    store(&mut disk, 0, 1, 100);
    let flush = disk.begin_flush(&[BASE]);
    store(&mut disk, 100, 2, 100);
    assert_eq!(durable(&disk)[0], 0, "nothing is on the disk before the flush is done");
    disk.complete_flush(flush);
    assert_eq!((durable(&disk)[99], durable(&disk)[100]), (1, 0));
    disk.flush_now(&[BASE]);
    assert_eq!(durable(&disk)[199], 2);
}

#[test]
fn a_power_cut_keeps_old_or_new_sectors_and_all_kinds_of_pages_occur() {
    let (mut kept, mut lost, mut torn) = (0, 0, 0);
    for seed in 0..200 {
        let mut disk = disk();
        store(&mut disk, 0, 1, PAGE);
        disk.flush_now(&[BASE]);
        store(&mut disk, 0, 2, 2 * PAGE);
        assert!(disk.power_cut(false, &mut Rng::new(seed)));
        let sectors: Vec<u8> = durable(&disk)[..PAGE].chunks(512).map(|sector| sector[0]).collect();
        assert!(durable(&disk)[..PAGE].chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(sectors.iter().all(|byte| [1, 2].contains(byte)), "what had been flushed is there, or what came after");
        assert!(durable(&disk)[2 * PAGE..].iter().all(|byte| *byte == 0));
        match (sectors.contains(&1), sectors.contains(&2)) {
            (true, true) => torn += 1,
            (true, false) => lost += 1,
            _ => kept += 1,
        }
        assert_eq!(disk.file(BASE).unwrap().cache(), durable(&disk), "the cache is gone");
    }
    assert!(kept > 20 && lost > 20 && torn > 20, "{kept} {lost} {torn}");
}

#[test]
fn after_a_failed_flush_another_one_does_nothing_and_the_cache_says_otherwise() {
    let mut disk = disk();
    store(&mut disk, 0, 1, 4 * PAGE);
    let flush = disk.begin_flush(&[BASE]);
    disk.fail_flush(flush, &mut Rng::new(1));
    disk.flush_now(&[BASE]);
    assert!(durable(&disk).contains(&0), "some page never got there");
    assert!(disk.file(BASE).unwrap().cache().iter().all(|byte| *byte == 1));
    disk.drop_caches();
    assert_eq!(disk.file(BASE).unwrap().cache(), durable(&disk));
}

#[test]
fn names_may_be_lost_or_come_back_until_the_directory_is_synced() {
    let second = Lsn::new(4 * PAGE as u64);
    let (mut lost, mut back) = (0, 0);
    for seed in 0..100 {
        let mut disk = disk();
        disk.create(second, PAGE);
        disk.remove(BASE);
        disk.power_cut(false, &mut Rng::new(seed));
        lost += u32::from(disk.file(second).is_none());
        back += u32::from(disk.file(BASE).is_some());
    }
    assert!((20..80).contains(&lost) && (20..80).contains(&back), "{lost} {back}");
    let mut disk = disk();
    disk.create(second, PAGE);
    disk.remove(BASE);
    disk.sync_directory();
    disk.power_cut(false, &mut Rng::new(0));
    assert!(disk.file(second).is_some() && disk.file(BASE).is_none());
}

#[test]
fn a_torn_superblock_leaves_the_older_one() {
    let mut torn = 0;
    for seed in 0..200 {
        let mut disk = disk();
        disk.begin_superblock(superblock(2));
        disk.power_cut(false, &mut Rng::new(seed));
        let found = disk.read_superblock().unwrap().generation;
        assert!([1, 2].contains(&found));
        torn += u32::from(found == 1);
    }
    assert!((50..190).contains(&torn), "{torn}");
}
