//! A partition over plain memory: appending, looking up, and recovery by size of the log.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{Driver, criterion, is_smoke, key, now, scrambled, sizes};
use windrow_core::partition::{Change, Op, ScanCursor};

const KEYS: [u64; 2] = [1_000, 1_000_000];
const VALUE_LENS: [usize; 3] = [16, 100, 4 << 10];
const LOG_MIB: [u64; 4] = [1, 16, 256, 1_024];
const BATCH_OPS: usize = 16;
/// The log of an appending benchmark is thrown away when it reaches this: memory is not what is measured.
const LOG_LEN_MAX: u64 = 1 << 30;

fn filled(keys: u64, value: &[u8]) -> Driver {
    let mut driver = Driver::empty();
    (0..keys).for_each(|number| driver.put(&key(number), value));
    driver.flush();
    driver
}

/// Overwriting keys: the hash, the lookup of what is superseded, the record, the index.
fn append(c: &mut Criterion) {
    let mut group = c.benchmark_group("append");
    for &keys in sizes(&KEYS) {
        for value_len in VALUE_LENS {
            let value = vec![7; value_len];
            let mut driver = filled(keys, &value[..16]);
            let mut draw = 0;
            group.throughput(Throughput::Elements(1));
            group.bench_function(BenchmarkId::new(format!("{value_len}_byte_values"), keys), |b| {
                b.iter_custom(|count| {
                    driver.time_appends(
                        count,
                        LOG_LEN_MAX,
                        || filled(keys, &value[..16]),
                        |partition| {
                            draw += 1;
                            let key = key(scrambled(1, draw) % keys);
                            let change = Change::Put { value: &value, expires_at: None };
                            let op = Op { hash: partition.hash(&key), key: &key, change };
                            partition.append(now(), &mut [op]).expect("there is room");
                        },
                    )
                });
            });
        }
    }
    group.finish();
}

fn append_batch(c: &mut Criterion) {
    let make = || filled(1_000, &[7; 100]);
    let mut driver = make();
    let keys: Vec<_> = (0..BATCH_OPS as u64).map(key).collect();
    let mut group = c.benchmark_group("append_batch");
    group.throughput(Throughput::Elements(BATCH_OPS as u64));
    group.bench_function(BenchmarkId::from_parameter(BATCH_OPS), |b| {
        b.iter_custom(|count| {
            driver.time_appends(count, LOG_LEN_MAX, make, |partition| {
                let mut ops: [Op<'_>; BATCH_OPS] = std::array::from_fn(|at| {
                    let change = Change::Put { value: &[7; 100], expires_at: None };
                    Op { hash: partition.hash(&keys[at]), key: &keys[at], change }
                });
                partition.append(now(), &mut ops).expect("there is room");
            })
        });
    });
    group.finish();
}

fn get(c: &mut Criterion) {
    let mut group = c.benchmark_group("get");
    for &keys in sizes(&KEYS) {
        let driver = filled(keys, &[7; 100]);
        let mut draw = 0;
        group.bench_function(BenchmarkId::new("hit", keys), |b| {
            b.iter(|| {
                draw += 1;
                let key = key(scrambled(1, draw) % keys);
                let lookup = driver.partition.get(driver.partition.hash(&key), black_box(&key), now());
                lookup.entry.map(|entry| entry.value[0])
            });
        });
        group.bench_function(BenchmarkId::new("miss", keys), |b| {
            b.iter(|| {
                draw += 1;
                let key = key(keys + scrambled(1, draw) % 1_000_000_000);
                driver.partition.get(driver.partition.hash(&key), black_box(&key), now()).entry.is_some()
            });
        });
    }
    group.finish();
}

/// As [`filled`], but with so many keys a record.
fn filled_in_batches(keys: u64, batch: u64) -> Driver {
    let mut driver = Driver::empty();
    let change = Change::Put { value: &[7; 100], expires_at: None };
    for first in (0..keys).step_by(usize::try_from(batch).expect("small")) {
        // Scattered, so that the order of the keys is not that of the log.
        let names: Vec<_> =
            (first..first + batch).map(|number| key(scrambled(1, number) % 1_000_000_000_000)).collect();
        let mut ops: Vec<_> =
            names.iter().map(|name| Op { hash: driver.partition.hash(name), key: name, change }).collect();
        driver.partition.append(now(), &mut ops).expect("there is room");
        driver.act();
    }
    driver.flush();
    driver
}

/// Lookups and whole scans of keys that were written together, by how many a record has.
fn batches(c: &mut Criterion) {
    let keys = if is_smoke() { 1_000 } else { 200_000 };
    let mut group = c.benchmark_group("batches");
    group.sample_size(10);
    for batch in [1, 100, 1_000] {
        let driver = filled_in_batches(keys, batch);
        let mut draw = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("get", batch), |b| {
            b.iter(|| {
                draw += 1;
                let key = key(scrambled(1, scrambled(2, draw) % keys) % 1_000_000_000_000);
                let lookup = driver.partition.get(driver.partition.hash(&key), black_box(&key), now());
                lookup.entry.map(|entry| entry.value[0])
            });
        });
        group.throughput(Throughput::Elements(keys));
        for count in [10, 128, 1_000] {
            group.bench_function(BenchmarkId::new(format!("scan_count_{count}"), batch), |b| {
                b.iter(|| {
                    let (mut cursor, mut found) = (Some(ScanCursor::START), 0_u64);
                    while let Some(from) = cursor {
                        cursor = driver.partition.scan(from, count, now(), &mut |_| found += 1).next;
                    }
                    assert_eq!(found, keys);
                });
            });
        }
    }
    group.finish();
}

/// Opening a log that is in memory: verifying every record and building the index.
fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("recovery");
    group.sample_size(10);
    for &mib in sizes(&LOG_MIB) {
        for value_len in [100_usize, 4 << 10] {
            let len = mib << 20;
            let mut driver = Driver::empty();
            let value = vec![7; value_len];
            let mut number = 0;
            while driver.partition.appended().get() < len {
                driver.put(&key(number), &value);
                number += 1;
            }
            driver.flush();
            group.throughput(Throughput::Bytes(driver.partition.appended().get()));
            group.bench_function(BenchmarkId::new(format!("{value_len}_byte_values"), format!("{mib}MiB")), |b| {
                b.iter_batched(|| driver.segments(), Driver::recover, BatchSize::PerIteration);
            });
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = append, append_batch, get, batches, recovery }
criterion_main!(benches);
