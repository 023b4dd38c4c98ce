//! The index: inserting, and looking up what is there and what is not.

use std::hint::black_box;
use std::time::Instant;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{criterion, is_smoke, scrambled, sizes};
use windrow_core::index::{Holds, Index, Part};
use windrow_core::types::{KeyHash, Lsn};

const SIZES: [u64; 4] = [1_000, 100_000, 1_000_000, 10_000_000];
/// How many hashes are looked up in a row where they are prefetched.
const PREFETCHED: u64 = 16;

fn hash(number: u64) -> KeyHash {
    KeyHash(scrambled(1, number))
}

fn absent(number: u64) -> KeyHash {
    KeyHash(scrambled(2, number))
}

const fn holds(it_does: bool) -> Holds {
    if it_does { Holds::Alone } else { Holds::No }
}

fn insert(index: &mut Index, number: u64) {
    index.insert(hash(number), Lsn::new((number + 1) * 128), Part::default());
}

fn filled(size: u64) -> Index {
    let mut index = Index::new();
    (0..size).for_each(|number| insert(&mut index, number));
    index
}

fn lookups(c: &mut Criterion) {
    for &size in sizes(&SIZES) {
        let index = filled(size);
        report(size, &index);
        let pick = |draw: u64| hash(scrambled(3, draw) % size);
        let mut group = c.benchmark_group("index");
        let mut draw = 0;
        group.bench_function(BenchmarkId::new("hit", size), |b| {
            b.iter(|| {
                draw += 1;
                index.find(pick(draw), |lsn, _| holds(black_box(lsn) != Lsn::ZERO))
            });
        });
        group.bench_function(BenchmarkId::new("miss", size), |b| {
            b.iter(|| {
                draw += 1;
                index.find(absent(draw), |lsn, _| holds(black_box(lsn) == Lsn::ZERO))
            });
        });
        group.throughput(Throughput::Elements(PREFETCHED));
        group.bench_function(BenchmarkId::new("hit_16_prefetched", size), |b| {
            b.iter(|| {
                draw += PREFETCHED;
                (0..PREFETCHED).for_each(|step| index.prefetch(pick(draw + step)));
                (0..PREFETCHED)
                    .filter_map(|step| index.find(pick(draw + step), |lsn, _| holds(black_box(lsn) != Lsn::ZERO)))
                    .max()
            });
        });
        group.finish();
    }
}

/// Inserting into an index that already has `size` entries, up to a tenth more.
fn inserts(c: &mut Criterion) {
    let mut group = c.benchmark_group("index");
    for &size in sizes(&SIZES) {
        let more = size / 10;
        group.throughput(Throughput::Elements(more));
        group.sample_size(10);
        group.bench_function(BenchmarkId::new("insert", size), |b| {
            b.iter_batched(
                || filled(size),
                |mut index| {
                    (size..size + more).for_each(|number| insert(&mut index, number));
                    index
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// Prints what criterion has no place for: memory, and the slowest single insert.
#[expect(clippy::print_stdout, reason = "a report for people")]
fn report(size: u64, index: &Index) {
    if is_smoke() {
        return;
    }
    let mut growing = Index::new();
    let mut slowest = std::time::Duration::ZERO;
    for number in 0..size {
        let start = Instant::now();
        insert(&mut growing, number);
        slowest = slowest.max(start.elapsed());
    }
    #[expect(clippy::cast_precision_loss, reason = "a report for people")]
    let bytes = index.memory_bytes() as f64 / size as f64;
    println!("index of {size} entries: {bytes:.2} bytes an entry, slowest insert {slowest:?}");
}

criterion_group! { name = benches; config = criterion(); targets = lookups, inserts }
criterion_main!(benches);
