//! Records: encoding their header, verifying them for the first time and again, reading them in place, and the checksum by itself.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{Driver, KEY, criterion, key, now};
use windrow_core::codec::{RecordHeader, read_record, verify_record};
use windrow_core::log::SegmentMemory;
use windrow_core::partition::{Change, Op};
use windrow_core::types::limits::RECORD_HEADER_LEN;
use windrow_core::types::{Lsn, PartitionId};

const VALUE_LENS: [usize; 4] = [16, 100, 4 << 10, 64 << 10];
const BATCH_OPS: [u64; 3] = [1, 16, 1_000];

/// A log with one record of `ops` keys, and where it lies.
fn with_record(ops: u64, value_len: usize) -> (Driver, usize) {
    let mut driver = Driver::empty();
    let keys: Vec<_> = (0..ops).map(key).collect();
    let value = vec![7; value_len];
    let change = Change::Put { value: &value, expires_at: None };
    let mut ops: Vec<_> = keys.iter().map(|key| Op { hash: driver.partition.hash(key), key, change }).collect();
    let appended = driver.partition.append(now(), &mut ops).expect("there is room");
    driver.act();
    let offset = usize::try_from(appended.lsn.get()).expect("in the first segment");
    (driver, offset)
}

fn verify(c: &mut Criterion) {
    let mut group = c.benchmark_group("record");
    let cases = VALUE_LENS.map(|len| (1, len)).into_iter().chain(BATCH_OPS.map(|ops| (ops, 100)).into_iter().skip(1));
    for (ops, value_len) in cases {
        let name = format!("{ops}x{value_len}");
        let (driver, offset) = with_record(ops, value_len);
        let memory = driver.partition.segment(Lsn::ZERO).expect("the first segment");
        let bytes = memory.unverified();
        let read =
            || read_record(bytes, Lsn::ZERO, PartitionId::new(0), KEY, offset, bytes.0.len()).expect("it was written");
        let record = read();
        let batch = record.batch.expect("a batch");
        let wanted = key(ops / 2);
        group.bench_function(BenchmarkId::new("access", &name), |b| {
            b.iter(|| batch.find(black_box(&wanted)).map(|op| op.value.len()));
        });
        group.throughput(Throughput::Bytes(record.header.record_len()));
        group.bench_function(BenchmarkId::new("verify", &name), |b| b.iter(|| black_box(read()).chain));
        let again = || verify_record(bytes, Lsn::ZERO, PartitionId::new(0), KEY, offset, bytes.0.len()).is_ok();
        group.bench_function(BenchmarkId::new("verify_again", &name), |b| b.iter(again));
    }
    group.finish();
}

fn header(c: &mut Criterion) {
    let (driver, offset) = with_record(1, 100);
    let memory = driver.partition.segment(Lsn::ZERO).expect("the first segment");
    let bytes = *memory.unverified().0[offset..].first_chunk::<RECORD_HEADER_LEN>().expect("a header");
    let (header, _) = RecordHeader::decode(&bytes, KEY).expect("it was written");
    let mut group = c.benchmark_group("record_header");
    group.bench_function("encode", |b| b.iter(|| black_box(&header).encode(KEY)));
    group.bench_function("decode", |b| b.iter(|| RecordHeader::decode(black_box(&bytes), KEY).is_ok()));
    group.finish();
}

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [48, 128, 4 << 10, 64 << 10, 1 << 20] {
        let bytes = vec![0x5A; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::from_parameter(len), |b| b.iter(|| crc32fast::hash(black_box(&bytes))));
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = verify, header, checksum }
criterion_main!(benches);
