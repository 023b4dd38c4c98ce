//! One commit, a write and a flush: through a mapping, by the way in which the segment was filled; beside it what a log
//! without a mapping would do, `pwrite` and `fdatasync`, or one `pwrite` to a file opened with `O_DIRECT` and `O_DSYNC`.
//! Needs a real disk: it writes to Cargo's target directory.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
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

/// `O_DIRECT` takes whole blocks at aligned addresses.
const BLOCK: usize = 4 << 10;

/// A log file that is written without a mapping: one file, from its start again when it is full.
struct PlainTail {
    file: File,
    len: u64,
    at: u64,
    is_direct: bool,
    /// Holds the commit's bytes at an aligned place.
    buffer: Vec<u8>,
}

impl PlainTail {
    fn new(dir: &Path, is_direct: bool, commit_len: usize) -> Self {
        let len = if is_smoke() { SMOKE_SEGMENT_LEN } else { SEGMENT_LEN };
        let path = dir.join("plain");
        // Written whole before, as a segment is: no extent changes its state when it is committed to.
        std::fs::write(&path, vec![0; usize::try_from(len).expect("a small file")]).expect("the directory has room");
        File::open(&path).and_then(|file| file.sync_all()).expect("the flush succeeds");
        let mut options = OpenOptions::new();
        options.write(true);
        if is_direct {
            let flags = rustix::fs::OFlags::DIRECT | rustix::fs::OFlags::DSYNC;
            options.custom_flags(i32::try_from(flags.bits()).expect("flags fit"));
        }
        let file = options.open(&path).expect("the file system allows O_DIRECT");
        Self { file, len, at: 0, is_direct, buffer: vec![0x5A; commit_len.next_multiple_of(BLOCK) + BLOCK] }
    }

    fn commit(&mut self, len: usize) {
        // A direct write takes the whole block again for every small record in it.
        let written = if self.is_direct { len.next_multiple_of(BLOCK) } else { len };
        if self.at + written as u64 > self.len {
            self.at = 0;
        }
        let start = self.buffer.as_ptr().align_offset(BLOCK);
        let place = if self.is_direct { self.at / BLOCK as u64 * BLOCK as u64 } else { self.at };
        self.file.write_all_at(&self.buffer[start..start + written], place).expect("the write succeeds");
        if !self.is_direct {
            self.file.sync_data().expect("the flush succeeds");
        }
        self.at += len as u64;
    }
}

fn commit_without_mapping(c: &mut Criterion) {
    let mut group = c.benchmark_group("commit");
    group.sample_size(20);
    for (name, is_direct) in [("pwrite_fdatasync", false), ("o_direct_o_dsync", true)] {
        for len in COMMIT_LENS {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
            let mut tail = PlainTail::new(dir.path(), is_direct, len);
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new(name, len), |b| b.iter(|| tail.commit(len)));
        }
    }
    group.finish();
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

criterion_group! { name = benches; config = criterion(); targets = commit, commit_without_mapping }
criterion_main!(benches);
