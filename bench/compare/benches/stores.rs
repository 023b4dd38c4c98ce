//! The same work on each store, by criterion. Writes to Cargo's target directory, which should be on the disk in
//! question. `WINDROW_COMPARE_FIRST=n` lets another store begin, so that over several runs none is always the last.

use std::env;
use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use windrow_bench_compare::{BATCH, Durability, Engine, Store, key, loaded, scrambled, value};

const KEYS: u64 = 100_000;
const SMOKE_KEYS: u64 = 1_000;

/// Whether the benchmarks are only tried out.
fn keys() -> u64 {
    let measured =
        env::args().any(|argument| argument == "--bench") && !env::args().any(|argument| argument == "--test");
    if measured { KEYS } else { SMOKE_KEYS }
}

fn engines() -> Vec<Engine> {
    let first = env::var("WINDROW_COMPARE_FIRST").ok().and_then(|text| text.parse().ok()).unwrap_or(0_usize);
    let mut engines = Engine::ALL.to_vec();
    engines.rotate_left(first % Engine::ALL.len());
    engines
}

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written")
}

/// Filled in batches, without a flush for each of them, and opened again.
fn filled(engine: Engine, dir: &Path, durability: Durability) -> Box<dyn Store> {
    drop(loaded(engine, dir, Durability::Unsynced, keys()));
    engine.open(dir, durability)
}

/// One group: the same for every store, each with a directory of its own.
fn group(
    c: &mut Criterion,
    name: &str,
    elements: u64,
    durability: Durability,
    mut bench: impl FnMut(&mut BenchmarkGroup<'_, WallTime>, Engine, &mut dyn Store),
) {
    let mut group = c.benchmark_group(name);
    group.throughput(Throughput::Elements(elements));
    for engine in engines() {
        let dir = scratch();
        let mut store = filled(engine, dir.path(), durability);
        bench(&mut group, engine, &mut *store);
    }
    group.finish();
}

fn single_puts(c: &mut Criterion, name: &str, durability: Durability) {
    group(c, name, 1, durability, |group, engine, store| {
        let mut draw = 0;
        group.bench_function(engine.name(), |b| {
            b.iter(|| {
                draw += 1;
                let number = scrambled(1, draw) % keys();
                store.put(&key(number), &value(number, draw));
            });
        });
    });
}

fn put_durable(c: &mut Criterion) {
    single_puts(c, "put_durable", Durability::Durable);
}

fn put_unsynced(c: &mut Criterion) {
    single_puts(c, "put_unsynced", Durability::Unsynced);
}

fn batch_durable(c: &mut Criterion) {
    group(c, "batch_durable", BATCH, Durability::Durable, |group, engine, store| {
        let mut draw = 0;
        group.bench_function(engine.name(), |b| {
            b.iter(|| {
                let pairs: Vec<_> = (0..BATCH)
                    .map(|_| {
                        draw += 1;
                        let number = scrambled(1, draw) % keys();
                        (key(number), value(number, draw))
                    })
                    .collect();
                store.put_batch(&pairs);
            });
        });
    });
}

fn get_hot(c: &mut Criterion) {
    group(c, "get_hot", 1, Durability::Durable, |group, engine, store| {
        let mut draw = 0;
        group.bench_function(engine.name(), |b| {
            b.iter(|| {
                draw += 1;
                let key = key(scrambled(1, draw) % keys());
                let mut sum = 0;
                assert!(store.get(black_box(&key), &mut |value| sum += usize::from(value[0]) + value.len()));
                sum
            });
        });
    });
}

fn scan(c: &mut Criterion) {
    group(c, "scan", keys(), Durability::Durable, |group, engine, store| {
        group.bench_function(engine.name(), |b| {
            b.iter(|| {
                let mut sum = 0;
                store.scan(&mut |key, value| sum += usize::from(key[0]) + value.len());
                sum
            });
        });
    });
}

fn criterion() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .configure_from_args()
}

criterion_group! {
    name = benches;
    config = criterion();
    targets = put_durable, batch_durable, put_unsynced, get_hot, scan
}
criterion_main!(benches);
