use std::sync::mpsc::channel;

use windrow_core::replication::ReplicaId;
use windrow_core::types::{ClusterId, Epoch, HashSeed, LogKey};

use super::*;
use crate::partition_dir::{SUPERBLOCK_FILE, new_superblock_file};

fn superblock(generation: u64) -> Superblock {
    Superblock {
        generation,
        epoch: Epoch::new(2),
        promised: Epoch::new(2),
        durable: Lsn::ZERO,
        ..Superblock::first(
            ClusterId([1; 16]),
            PartitionId::new(5),
            8,
            ReplicaId::new(1),
            HashSeed([4; 16]),
            LogKey::new([9; 8]),
        )
    }
}

#[test]
fn results_come_back_in_order_each_with_a_wake() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join(SUPERBLOCK_FILE), new_superblock_file(&superblock(1))).unwrap();
    let dir = Arc::new(PartitionDir::open(place.path(), PartitionId::new(5), true).unwrap());
    let background = Background::start().unwrap();
    let (wakes, woken) = channel();
    let client = background.client(move || wakes.send(()).unwrap());
    let prepare =
        |base| Job::Prepare { dir: Arc::clone(&dir), base: Lsn::new(base), len: 4096, fill: FillMode::Write4K };
    client.submit(prepare(4096));
    client.submit(Job::WriteSuperblock { dir: Arc::clone(&dir), superblock: superblock(2) });
    client.submit(prepare(4096));
    for _ in 0..3 {
        woken.recv().unwrap();
    }
    match client.poll() {
        Some(Done::Prepared { partition, base, segment }) => {
            assert_eq!((partition.get(), base.get(), segment.base().get()), (5, 4096, 4096));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.poll(), Some(Done::SuperblockWritten { generation: 2, .. })));
    assert!(matches!(client.poll(), Some(Done::PrepareFailed { error: PrepareError::Exists { .. }, .. })));
    assert!(client.poll().is_none());
    assert_eq!(dir.read_superblock().unwrap(), superblock(2));
}

#[test]
fn the_thread_may_run_where_the_process_may_though_its_starter_is_pinned() {
    let everywhere = rustix::thread::sched_getaffinity(Some(rustix::process::getpid())).unwrap();
    let pinned = std::thread::spawn(move || {
        let first = (0..rustix::thread::CpuSet::MAX_CPU).find(|&core| everywhere.is_set(core)).unwrap();
        let mut one = rustix::thread::CpuSet::new();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        let background = Background::start().unwrap();
        let (cores, seen) = channel();
        let client = background.client(move || cores.send(rustix::thread::sched_getaffinity(None).unwrap()).unwrap());
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(SUPERBLOCK_FILE), new_superblock_file(&superblock(1))).unwrap();
        let dir = Arc::new(PartitionDir::open(place.path(), PartitionId::new(5), true).unwrap());
        client.submit(Job::WriteSuperblock { dir, superblock: superblock(2) });
        assert_eq!(seen.recv().unwrap(), everywhere);
    });
    pinned.join().unwrap();
}
