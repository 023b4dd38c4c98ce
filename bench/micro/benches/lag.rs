//! How far a follower of the same box lags behind: from the moment when a write is committed and published in the
//! control page to the follower's read of it, with its record verified in place and in the index. The follower sleeps on
//! the page's futex through its ring, as a standby does. Sockets are left out; `cargo xtask bench standby` has them.
//!
//! The leader is pinned to the first core, the follower to the second. Needs a real disk: it writes to Cargo's target
//! directory.

use std::os::fd::AsFd;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use rustix::event::{EventfdFlags, eventfd};
use windrow_bench_micro::{criterion, key, now, pin};
use windrow_core::partition::{Action, Change, Op};
use windrow_core::types::PartitionId;
use windrow_node::ring::{Completion, CpuSet, Ring};
use windrow_store::{
    BuildMode, DataDir, FillMode, FlushTask, NewDataDir, OpenConfig, OpenFollower, OpenPartition, Progress,
    open_follower, open_partition,
};

const VALUE: [u8; 100] = [7; 100];
const ID: PartitionId = PartitionId::new(0);
const CONFIG: OpenConfig = OpenConfig { segment_len: 16 << 20, segments_ahead: 1, fill: FillMode::Write16K };
/// The key that ends it.
const LAST: &[u8] = b"last";

/// Does what the leader's partition asks for.
fn act(leader: &mut OpenPartition) {
    while let Some(action) = leader.partition.poll_action() {
        match action {
            Action::Prepare { base, len } => {
                let segment = leader.dir.prepare(base, len, CONFIG.fill).expect("the target directory has room");
                leader.partition.handle_prepared(base, segment);
            }
            Action::WriteSuperblock(superblock) => {
                leader.dir.write_superblock(&superblock).expect("the target directory has room");
                leader.partition.handle_superblock_written(superblock.generation);
            }
        }
    }
}

/// One write, flushed and published.
fn put(leader: &mut OpenPartition, key: &[u8]) {
    act(leader);
    let partition = &mut leader.partition;
    let change = Change::Put { value: &VALUE, expires_at: None };
    let op = Op { hash: partition.hash(key), key, change };
    partition.append(now(), &mut [op]).expect("a segment is prepared");
    let request = partition.poll_flush().expect("something is new");
    let ticket = FlushTask::new(partition, &request).run().expect("the flush succeeds");
    partition.handle_flushed(ticket);
    leader.control.publish(&Progress::of(partition));
}

/// Follows until [`LAST`] comes, and tells how long each commit took to be seen.
fn follow(opened: OpenFollower, next: impl Fn(u64) -> [u8; 16], seen: &Sender<Duration>) {
    pin(1);
    let OpenFollower { mut partition, follower, .. } = opened;
    let wake = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let cores = CpuSet::of_this_thread().expect("the system tells");
    let mut ring = Ring::new(&cores, wake.as_fd()).expect("the system has io_uring");
    let mut number = 0;
    loop {
        if let Some(committed) = follower.refresh(&mut partition).expect("the leader writes a whole log") {
            let key = next(number);
            if partition.get(partition.hash(&key), &key, now()).entry.is_some() {
                number += 1;
                seen.send(committed.elapsed()).expect("somebody measures");
            } else if partition.get(partition.hash(LAST), LAST, now()).entry.is_some() {
                return;
            }
        }
        let Some(value) = follower.prepare_sleep(&partition) else { continue };
        ring.watch(0, follower.futex(), value);
        loop {
            ring.enter().expect("the ring works");
            if let Some(Completion::Watched { .. }) = ring.poll() {
                break;
            }
            if ring.may_sleep() {
                rustix::io::read(ring.eventfd(), &mut [0; 8]).expect("the eventfd is open");
            }
            ring.stay_awake();
        }
    }
}

fn lag(c: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
    let path = dir.path().join("data");
    let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::SharedMemory };
    let data_dir = DataDir::open_or_create(&path, &new).expect("a new directory");
    let mut leader = open_partition(&data_dir, ID, &CONFIG, now()).expect("a new partition");
    put(&mut leader, b"first");
    let followed = DataDir::open_read_only(&path).expect("it was made just now");
    let follower = open_follower(&followed, ID, &CONFIG).expect("the leader is there");
    let (seen, lags) = channel();
    thread::scope(|scope| {
        scope.spawn(move || follow(follower, key, &seen));
        pin(0);
        let mut number = 0;
        c.bench_function("lag/asleep", |b| {
            b.iter_custom(|times| {
                let mut total = Duration::ZERO;
                for _ in 0..times {
                    put(&mut leader, &key(number));
                    number += 1;
                    total += lags.recv().expect("the follower follows");
                }
                total
            });
        });
        put(&mut leader, LAST);
    });
}

criterion_group! { name = benches; config = criterion(); targets = lag }
criterion_main!(benches);
