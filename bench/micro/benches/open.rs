//! Opening a partition from its files, as after a crash: what a restart takes by size of the log. The files are in the
//! page cache. Needs a real disk: it writes to Cargo's target directory.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{criterion, key, now, sizes};
use windrow_core::partition::{Action, Change, Op};
use windrow_core::types::PartitionId;
use windrow_store::{BuildMode, DataDir, FillMode, FlushTask, NewDataDir, OpenConfig, OpenPartition, open_partition};

const LOG_MIB: [u64; 3] = [16, 256, 1024];
const VALUE: [u8; 100] = [7; 100];
const ID: PartitionId = PartitionId::new(0);

fn config(log_len: u64) -> OpenConfig {
    OpenConfig { segment_len: (log_len / 8).min(64 << 20), segments_ahead: 1, fill: FillMode::Write64K }
}

/// Writes `log_len` bytes of log, and leaves without a word to the superblock.
fn write_log(open: &mut OpenPartition, log_len: u64) {
    let partition = &mut open.partition;
    let mut number = 0;
    while partition.appended().get() < log_len {
        let key = key(number);
        let change = Change::Put { value: &VALUE, expires_at: None };
        match partition.append(now(), &mut [Op { hash: partition.hash(&key), key: &key, change }]) {
            Ok(_) => number += 1,
            Err(error) => {
                assert!(error.is_not_ready(), "{error}");
                let Some(Action::Prepare { base, len }) = partition.poll_action() else { continue };
                let segment = open.dir.prepare(base, len, FillMode::Write64K).expect("the target directory has room");
                partition.handle_prepared(base, segment);
            }
        }
    }
    if let Some(request) = partition.poll_flush() {
        let ticket = FlushTask::new(partition, &request).run().expect("the flush succeeds");
        partition.handle_flushed(ticket);
    }
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("open");
    group.sample_size(10);
    for &mib in sizes(&LOG_MIB) {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::Embedded };
        let data_dir = DataDir::open_or_create(&dir.path().join("data"), &new).expect("a new directory");
        let log_len = mib << 20;
        let config = config(log_len);
        let mut open = open_partition(&data_dir, ID, &config, now()).expect("a new partition");
        write_log(&mut open, log_len);
        drop(open);
        group.throughput(Throughput::Bytes(log_len));
        group.bench_function(BenchmarkId::new("mib_of_log", mib), |b| {
            b.iter_with_large_drop(|| open_partition(&data_dir, ID, &config, now()).expect("a whole log"));
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = open }
criterion_main!(benches);
