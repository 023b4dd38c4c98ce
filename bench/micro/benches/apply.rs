//! A follower applying what its leader sends: every record verified where it was received, linked, and put into the
//! index. Memory to memory; what the link and the disk cost is measured with whole processes (`cargo xtask bench`).

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{Driver, criterion, key, sizes};
use windrow_core::types::Lsn;

const LOG_MIB: [u64; 2] = [1, 256];
const VALUE_LENS: [usize; 2] = [100, 1 << 10];
/// Bytes that arrive at once.
const PIECE: u64 = 1 << 20;

fn leader(log_len: u64, value: &[u8]) -> Driver {
    let mut leader = Driver::empty();
    let mut number = 0;
    while leader.partition.appended().get() < log_len {
        leader.put(&key(number), value);
        number += 1;
    }
    leader.flush();
    leader
}

/// Has an empty follower take the whole log; returns how long it took to apply it, without the copying that stands for
/// the network.
fn catch_up(leader: &Driver) -> Duration {
    let mut follower = Driver::follower();
    let (end, mut taken) = (leader.partition.appended(), Duration::ZERO);
    let mut verified = Vec::new();
    while follower.partition.received() < end {
        let from = follower.partition.received();
        let upto = from.plus(PIECE).min(end);
        let room = follower.partition.receive_into(from, upto).expect("a segment is prepared");
        let len = room.len() as u64;
        copy(leader, from, room);
        let start = Instant::now();
        follower.partition.handle_received(from.plus(len), &mut verified).expect("a leader's bytes");
        taken += start.elapsed();
        follower.act();
        follower.flush();
    }
    assert_eq!(follower.partition.appended(), end);
    assert_eq!(follower.partition.len(), leader.partition.len());
    taken
}

/// What the leader has at `from`.
fn copy(leader: &Driver, from: Lsn, mut into: &mut [u8]) {
    let upto = from.plus(into.len() as u64);
    for part in leader.partition.log().bytes(from, upto).expect("the log was not cut") {
        let (now, later) = into.split_at_mut(part.bytes.len());
        now.copy_from_slice(part.bytes);
        into = later;
    }
}

fn apply(c: &mut Criterion) {
    let mut group = c.benchmark_group("apply");
    group.sample_size(10);
    for &mib in sizes(&LOG_MIB) {
        for value_len in VALUE_LENS {
            let leader = leader(mib << 20, &vec![7; value_len]);
            group.throughput(Throughput::Bytes(leader.partition.appended().get()));
            group.bench_function(BenchmarkId::new(format!("{value_len}_byte_values"), format!("{mib}MiB")), |b| {
                b.iter_custom(|times| (0..times).map(|_| catch_up(&leader)).sum());
            });
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = apply }
criterion_main!(benches);
