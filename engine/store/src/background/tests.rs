use std::sync::mpsc::channel;

use windrow_core::replication::ReplicaId;
use windrow_core::types::{ClusterId, Epoch, HashSeed, LogKey};

use super::*;
use crate::partition_dir::{SUPERBLOCK_FILE, new_superblock_file};
use crate::urgent::{become_flush_thread, writes_with};

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

fn partition_dir(place: &std::path::Path) -> Arc<PartitionDir> {
    std::fs::write(place.join(SUPERBLOCK_FILE), new_superblock_file(&superblock(1))).unwrap();
    Arc::new(PartitionDir::open(place, PartitionId::new(5), true).unwrap())
}

#[test]
fn segments_come_back_in_order_each_with_a_wake() {
    let place = tempfile::tempdir().unwrap();
    let dir = partition_dir(place.path());
    let background = Background::start(&[], FlushedBy::Callers).unwrap();
    let (wakes, woken) = channel();
    let client = background.client(move || wakes.send(()).unwrap());
    let prepare =
        |base| Job::Prepare { dir: Arc::clone(&dir), base: Lsn::new(base), len: 4096, fill: FillMode::Write4K };
    for base in [4096, 8192, 4096] {
        client.submit(prepare(base));
    }
    for _ in 0..3 {
        woken.recv().unwrap();
    }
    for expected in [4096, 8192] {
        match client.poll() {
            Some(Done::Prepared { partition, base, segment }) => {
                assert_eq!((partition.get(), base.get(), segment.base().get()), (5, expected, expected));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(client.poll(), Some(Done::PrepareFailed { error: PrepareError::Exists { .. }, .. })));
    assert!(client.poll().is_none());
}

#[test]
fn a_superblock_does_not_wait_for_the_making_of_segments() {
    let place = tempfile::tempdir().unwrap();
    let dir = partition_dir(place.path());
    let background = Background::start(&[], FlushedBy::Callers).unwrap();
    // The one that makes segments is held back in its first wake until the end.
    let (go, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let (wakes, woken) = channel();
    let client = background.client(move || {
        let name = std::thread::current().name().map(str::to_owned);
        wakes.send(()).unwrap();
        if name.as_deref() == Some("windrow-background") {
            let _ended = gate.lock().unwrap().recv();
        }
    });
    let dir_of = || Arc::clone(&dir);
    client.submit(Job::Prepare { dir: dir_of(), base: Lsn::new(4096), len: 4096, fill: FillMode::Write4K });
    woken.recv().unwrap();
    assert!(matches!(client.poll(), Some(Done::Prepared { .. })));
    client.submit(Job::Prepare { dir: dir_of(), base: Lsn::new(8192), len: 4096, fill: FillMode::Write4K });
    for generation in [2, 3] {
        client.submit(Job::WriteSuperblock { dir: dir_of(), superblock: superblock(generation) });
        woken.recv().unwrap();
        assert!(
            matches!(client.poll(), Some(Done::SuperblockWritten { generation: written, .. }) if written == generation)
        );
    }
    assert_eq!(dir.read_superblock().unwrap(), superblock(3));
    drop(go);
    woken.recv().unwrap();
    assert!(matches!(client.poll(), Some(Done::Prepared { .. })));
}

#[test]
fn the_threads_may_run_where_the_process_may_or_is_asked_though_their_starter_is_pinned() {
    let everywhere = rustix::thread::sched_getaffinity(Some(rustix::process::getpid())).unwrap();
    let cores: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&core| everywhere.is_set(core)).collect();
    let first = cores[0];
    let last = *cores.last().unwrap();
    let pinned = std::thread::spawn(move || {
        let mut one = rustix::thread::CpuSet::new();
        one.set(first);
        rustix::thread::sched_setaffinity(None, &one).unwrap();
        let seen = |asked: &[usize]| {
            let background = Background::start(asked, FlushedBy::FlushThreads).unwrap();
            let (cores, seen) = channel();
            let client =
                background.client(move || cores.send(rustix::thread::sched_getaffinity(None).unwrap()).unwrap());
            let place = tempfile::tempdir().unwrap();
            let dir = partition_dir(place.path());
            client.submit(Job::WriteSuperblock { dir, superblock: superblock(2) });
            seen.recv().unwrap()
        };
        assert_eq!(seen(&[]), everywhere);
        let mut only_last = rustix::thread::CpuSet::new();
        only_last.set(last);
        assert_eq!(seen(&[last]), only_last);
    });
    pinned.join().unwrap();
}

/// Else the disk's scheduler holds the one back for the other, and a flush may wait for both.
#[test]
fn the_threads_write_with_the_priority_of_those_that_flush() {
    let helpers_of = |flushed_by| {
        let place = tempfile::tempdir().unwrap();
        let dir = partition_dir(place.path());
        let background = Background::start(&[], flushed_by).unwrap();
        let (priorities, seen) = channel();
        let client = background.client(move || priorities.send(writes_with()).unwrap());
        client.submit(Job::Prepare { dir: Arc::clone(&dir), base: Lsn::ZERO, len: 4096, fill: FillMode::Write4K });
        client.submit(Job::WriteSuperblock { dir, superblock: superblock(1) });
        [seen.recv().unwrap(), seen.recv().unwrap()]
    };
    let flush_thread = std::thread::spawn(|| {
        // The priority of the thread itself may be refused.
        let _refused = become_flush_thread(&[]);
        writes_with()
    });
    assert_eq!(helpers_of(FlushedBy::FlushThreads), [flush_thread.join().unwrap(); 2]);
    let ordinary = std::thread::spawn(writes_with).join().unwrap();
    assert_eq!(helpers_of(FlushedBy::Callers), [ordinary; 2]);
}
