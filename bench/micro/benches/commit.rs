//! One commit, a write and a flush, by the way in which the segment was filled. Needs a real disk: it writes to
//! Cargo's target directory.

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{criterion, is_smoke};
use windrow_core::log::SegmentMemory;
use windrow_core::types::Lsn;
use windrow_store::{FillMode, MappedSegment, create_segment};

const COMMIT_LENS: [usize; 4] = [128, 4 << 10, 64 << 10, 1 << 20];
const SEGMENT_LEN: u64 = 64 << 20;
const SMOKE_SEGMENT_LEN: u64 = 4 << 20;

/// A log that is only written: one segment after the other.
struct Tail<'a> {
    dir: &'a Path,
    fill: FillMode,
    len: u64,
    segment: MappedSegment,
}

impl<'a> Tail<'a> {
    fn new(dir: &'a Path, fill: FillMode) -> Self {
        let len = if is_smoke() { SMOKE_SEGMENT_LEN } else { SEGMENT_LEN };
        let segment = create_segment(dir, Lsn::ZERO, len, fill).expect("the target directory has room");
        Self { dir, fill, len, segment }
    }

    /// Makes room for a commit of `len` bytes; not a part of it.
    fn make_room(&mut self, len: usize) {
        if self.segment.published_end() as u64 + len as u64 > self.len {
            let path = self.segment.path().to_path_buf();
            let base = self.segment.base().plus(self.len);
            self.segment = create_segment(self.dir, base, self.len, self.fill).expect("the target directory has room");
            std::fs::remove_file(path).expect("the file was made here");
        }
    }

    fn commit(&mut self, bytes: &[u8]) {
        let start = self.segment.published_end();
        let end = start + bytes.len();
        self.segment.write(start..end).copy_from_slice(bytes);
        self.segment.publish(end);
        self.segment.share().sync_data().expect("the flush succeeds");
    }
}

fn commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.sample_size(20);
    for fill in FillMode::ALL {
        for len in COMMIT_LENS {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
            let bytes = vec![0x5A; len];
            let mut tail = Tail::new(dir.path(), fill);
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new(format!("fill_{fill}"), len), |b| {
                b.iter_custom(|commits| {
                    let mut total = Duration::ZERO;
                    for _ in 0..commits {
                        tail.make_room(len);
                        let start = Instant::now();
                        tail.commit(&bytes);
                        total += start.elapsed();
                    }
                    total
                });
            });
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = commit }
criterion_main!(benches);
