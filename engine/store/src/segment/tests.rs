use windrow_core::log::SegmentMemory;
use windrow_core::types::Lsn;

use super::*;
use crate::FillMode;

#[test]
fn names_sort_as_the_log_does_and_read_back() {
    let bases = [0, 1, 4096, 67_108_864, u64::MAX / 2].map(Lsn::new);
    let names = bases.map(segment_file_name);
    assert!(names.is_sorted());
    assert_eq!(names.each_ref().map(|name| parse_segment_file_name(name)), bases.map(Some));
    for foreign in [
        "",
        "1.seg",
        "0000000000000000000x.seg",
        "+0000000000000000001.seg",
        "99999999999999999999.seg",
        "18446744073709551600.seg",
    ] {
        assert_eq!(parse_segment_file_name(foreign), None, "{foreign}");
    }
}

#[test]
fn every_fill_mode_makes_an_allocated_segment_of_zeros() {
    use std::os::unix::fs::MetadataExt;
    let dir = tempfile::tempdir().unwrap();
    let len = 1_324 << 10; // no multiple of the larger fill sizes, nor of what is flushed at once
    for (number, fill) in FillMode::ALL.into_iter().enumerate() {
        let base = Lsn::new(number as u64 * len);
        let segment = create_segment(dir.path(), base, len, fill).unwrap();
        assert_eq!(segment.segment_len(), len);
        assert!(segment.unverified().0.iter().all(|&byte| byte == 0));
        let metadata = std::fs::metadata(segment.path()).unwrap();
        assert_eq!(metadata.mode() & 0o777, 0o600);
        assert!(metadata.blocks() * 512 >= len, "{fill}: the space must be allocated");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), FillMode::ALL.len(), "nothing else is left behind");
}

/// How often this thread has written to a file, and how many bytes, as the kernel counts it; `None` where it does not.
fn writes() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/thread-self/io").ok()?;
    let count = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((count("syscw:")?, count("wchar:")?))
}

/// How large the writes are decides how large the page cache's folios are, and with it what a flush costs.
#[test]
fn a_segment_is_filled_by_writes_of_the_size_that_its_mode_names() {
    let dir = tempfile::tempdir().unwrap();
    let len: u64 = 1_324 << 10;
    let sizes = [
        (FillMode::Write4K, Some(4 << 10)),
        (FillMode::Write16K, Some(16 << 10)),
        (FillMode::Write64K, Some(64 << 10)),
        (FillMode::Write1M, Some(1 << 20)),
        (FillMode::Direct, Some(256 << 10)),
        (FillMode::Allocate, None),
        (FillMode::Cold, None),
        (FillMode::Whole, Some(1 << 20)),
        (FillMode::Part, Some(16 << 10)),
    ];
    for (number, (fill, size)) in (0..).zip(sizes) {
        let Some((writes_before, bytes_before)) = writes() else {
            eprintln!("left out: this kernel does not count the writes of a thread");
            return;
        };
        create_segment(dir.path(), Lsn::new(number * len), len, fill).unwrap();
        let (writes_after, bytes_after) = writes().unwrap();
        let found = (writes_after - writes_before, bytes_after - bytes_before);
        let expected = size.map_or((0, 0), |size| (len.div_ceil(size), len));
        assert_eq!(found, expected, "{fill}");
    }
}

#[test]
fn a_flush_writes_all_that_is_new_at_once_in_whole_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = staged(dir.path());
    let mut numbers = Numbers(1);
    let mut model = vec![0; STAGED_LEN];
    for _ in 0..20 {
        let start = segment.published_end();
        append(&mut segment, &mut model, &mut numbers, 10_000);
        let blocks = start - start % 4096..segment.published_end().next_multiple_of(4096);
        let Some((writes_before, bytes_before)) = writes() else {
            eprintln!("left out: this kernel does not count the writes of a thread");
            return;
        };
        segment.share().sync_data().unwrap();
        let (writes_after, bytes_after) = writes().unwrap();
        let found = (writes_after - writes_before, bytes_after - bytes_before);
        assert_eq!(found, (1, blocks.len() as u64));
    }
}

#[test]
fn a_large_flush_leaves_what_was_stored_and_lets_more_be_stored() {
    let dir = tempfile::tempdir().unwrap();
    let len = 1 << 20;
    let mut segment = create_segment(dir.path(), Lsn::ZERO, len, FillMode::Whole).unwrap();
    let half = 600_000;
    segment.write(0..half).fill(1);
    segment.publish(half);
    let view = segment.share();
    let read_meanwhile = view.bytes(0..half);
    view.sync_data().unwrap();
    assert!(read_meanwhile.iter().all(|&byte| byte == 1));
    segment.write(half..1 << 20).fill(2);
    segment.publish(1 << 20);
    view.sync_data().unwrap();
    assert_eq!(view.bytes(half - 1..half + 1), [1, 2]);
    let file = std::fs::read(segment.path()).unwrap();
    assert!(file[..half].iter().all(|&byte| byte == 1) && file[half..].iter().all(|&byte| byte == 2));
}

#[test]
fn stores_reach_the_file_and_views_outlive_their_segment() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = create_segment(dir.path(), Lsn::ZERO, 8192, FillMode::Write4K).unwrap();
    segment.write(0..5).copy_from_slice(b"hello");
    let view = segment.share();
    assert_eq!(view.published_end(), 0);
    segment.publish(5);
    assert_eq!(segment.published(1..4), b"ell");
    let path = segment.path().to_path_buf();
    drop(segment);
    let reader = std::thread::spawn(move || {
        assert_eq!(view.range_of(&view.bytes(1..4)[1..]), Some(2..4));
        assert_eq!(view.range_of(b"elsewhere"), None);
        view.bytes(0..5).to_vec()
    });
    assert_eq!(reader.join().unwrap(), b"hello");
    assert_eq!(&std::fs::read(path).unwrap()[..6], b"hello\0");
}

#[test]
fn an_existing_segment_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = create_segment(dir.path(), Lsn::ZERO, 4096, FillMode::Write4K).unwrap();
    segment.write(0..1)[0] = 9;
    let again = create_segment(dir.path(), Lsn::ZERO, 4096, FillMode::Write4K);
    assert!(matches!(again, Err(PrepareError::Exists { .. })));
    assert_eq!(std::fs::read(segment.path()).unwrap()[0], 9);
}

#[test]
#[should_panic(expected = "write below the published end")]
fn what_is_published_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = create_segment(dir.path(), Lsn::ZERO, 4096, FillMode::Write4K).unwrap();
    segment.publish(16);
    segment.write(15..17);
}

#[test]
#[should_panic(expected = "read past the published end")]
fn what_is_not_published_cannot_be_read_through_a_view() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = create_segment(dir.path(), Lsn::ZERO, 4096, FillMode::Write4K).unwrap();
    segment.publish(16);
    let _bytes = segment.share().bytes(0..17);
}

/// Numbers that look random, the same ones each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

const STAGED_LEN: usize = 256 << 10;

fn staged(dir: &std::path::Path) -> MappedSegment {
    create_segment(dir, Lsn::ZERO, STAGED_LEN as u64, FillMode::Direct).unwrap()
}

/// One that large flushes write past the page cache.
fn cold(dir: &std::path::Path) -> MappedSegment {
    create_segment(dir, Lsn::ZERO, STAGED_LEN as u64, FillMode::Cold).unwrap()
}

#[test]
fn a_cold_segment_is_in_the_file_and_not_in_memory_until_it_is_warmed() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = cold(dir.path());
    let view = segment.share();
    assert!(view.is_written_past_cache() && view.cold_end().is_none(), "nothing is");
    assert!(!staged(tempfile::tempdir().unwrap().path()).share().is_written_past_cache());
    let (half, end) = (STAGED_LEN / 2, STAGED_LEN / 2 + 1000);
    segment.write(0..end).fill(7);
    segment.publish(end);
    let read_meanwhile = view.bytes(0..end);
    view.sync_data().unwrap();
    assert_eq!(view.cold_end(), Some(half), "the rest is still written to");
    if segment.is_resident(0..half) {
        eprintln!("skipped: this file system does not write past the page cache");
        return;
    }
    assert!(!segment.is_resident(0..4096) && !segment.is_resident(half - 4096..half));
    assert!(segment.is_resident(half..STAGED_LEN), "memory of the process");
    view.warm();
    assert!(segment.is_resident(0..STAGED_LEN) && view.cold_end().is_none());
    assert!(read_meanwhile.iter().all(|&byte| byte == 7));
    let mut model = vec![7; end];
    model.resize(STAGED_LEN, 0);
    assert!(std::fs::read(segment.path()).unwrap() == model);
    // Little by little, it goes through the page cache.
    segment.write(end..end + 10).fill(8);
    segment.publish(end + 10);
    view.sync_data().unwrap();
    model[end..end + 10].fill(8);
    assert!(std::fs::read(segment.path()).unwrap() == model);
    assert!(segment.is_resident(0..STAGED_LEN) && view.cold_end().is_none(), "nothing new is cold");
    segment.write(end + 10..STAGED_LEN).fill(9);
    segment.publish(STAGED_LEN);
    view.sync_data().unwrap();
    assert_eq!(view.cold_end(), Some(STAGED_LEN), "much at once is");
}

/// Appends some bytes that are not zeros, to the segment and to what it should hold.
fn append(segment: &mut MappedSegment, model: &mut [u8], numbers: &mut Numbers, most: usize) {
    let start = segment.published_end();
    let len = (1 + numbers.below(most)).min(STAGED_LEN - start);
    let bytes: Vec<u8> = (0..len).map(|_| 1 + u8::try_from(numbers.below(255)).unwrap()).collect();
    segment.write(start..start + len).copy_from_slice(&bytes);
    model[start..start + len].copy_from_slice(&bytes);
    segment.publish(start + len);
}

/// Cuts as a log does: what is behind the new end is zeros.
fn cut(segment: &mut MappedSegment, model: &mut [u8], end: usize) {
    let before = segment.published_end();
    segment.retract(end);
    segment.write(end..before).fill(0);
    model[end..before].fill(0);
}

#[test]
fn what_is_flushed_or_written_out_is_in_the_file_and_the_rest_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = staged(dir.path());
    let view = segment.share();
    let in_file = |end: usize| std::fs::read(view.path()).unwrap()[..end].iter().all(|&byte| byte == 7);
    segment.write(0..9000).fill(7);
    segment.publish(5000);
    assert!(!view.is_in_file(0..1) && !in_file(1));
    view.sync_data().unwrap();
    assert!(view.is_in_file(0..5000) && in_file(5000));
    segment.publish(9000);
    assert!(view.is_in_file(0..5000) && !view.is_in_file(4999..5001));
    segment.write_out().unwrap();
    assert!(view.is_in_file(0..9000) && in_file(9000));
    assert!(view.bytes(0..9000).iter().all(|&byte| byte == 7));
    assert!(view.is_resident(0..STAGED_LEN), "memory of the process is there");
}

#[test]
fn the_pages_of_the_file_take_the_place_of_what_was_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let mut segment = staged(dir.path());
    let view = segment.share();
    segment.write(0..STAGED_LEN).fill(7);
    segment.publish(STAGED_LEN - 1);
    let held = view.bytes(0..STAGED_LEN - 1);
    view.sync_data().unwrap();
    let file = std::fs::File::options().write(true).open(view.path()).unwrap();
    let shows = |at: usize| {
        std::os::unix::fs::FileExt::write_all_at(&file, &[8], at as u64).unwrap();
        held[at] == 8
    };
    assert!(shows(0) && shows(STAGED_LEN / 2), "the file's own pages");
    assert!(!shows(STAGED_LEN - 2), "the part that is still written to is memory of the process");
    segment.publish(STAGED_LEN);
    view.sync_data().unwrap();
    assert!(shows(STAGED_LEN - 3), "a full segment is all the file's");
    assert_eq!(view.range_of(&held[5..6]), Some(5..6), "nothing has moved");
}

#[test]
fn a_staged_segment_is_what_was_appended_and_not_cut() {
    for seed in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let (mut model, mut numbers) = (vec![0; STAGED_LEN], Numbers(seed));
        let most = if seed % 4 == 1 { 40_000 } else { 6000 };
        let mut segment = if seed % 4 == 1 {
            cold(dir.path())
        } else if seed % 4 > 1 {
            staged(dir.path())
        } else {
            // One that is gone on with.
            let fill = FillMode::Write16K;
            let mut segment = create_segment(dir.path(), Lsn::ZERO, STAGED_LEN as u64, fill).unwrap();
            (0..numbers.below(10)).for_each(|_| append(&mut segment, &mut model, &mut numbers, 20_000));
            segment.share().sync_data().unwrap();
            segment.share().stage_rest(None).unwrap();
            segment
        };
        for _ in 0..200 {
            match numbers.below(12) {
                0..6 => append(&mut segment, &mut model, &mut numbers, most),
                6..8 => segment.write_out().unwrap(),
                8 => {
                    let end = numbers.below(segment.published_end() + 1);
                    cut(&mut segment, &mut model, end);
                }
                _ => {
                    segment.share().sync_data().unwrap();
                    assert!(std::fs::read(segment.path()).unwrap() == model, "seed {seed}: the file after a flush");
                }
            }
            let end = segment.published_end();
            assert!(segment.published(0..end) == &model[..end], "seed {seed}: what is published");
            let behind = segment.write(end..STAGED_LEN);
            assert!(behind.iter().all(|&byte| byte == 0), "seed {seed}: what is behind it");
        }
    }
}

#[test]
fn a_flush_runs_beside_appends_cuts_and_readers() {
    use std::sync::atomic::{AtomicBool, Ordering};
    for seed in 0..8 {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = if seed % 2 == 0 { staged(dir.path()) } else { cold(dir.path()) };
        let (mut model, mut numbers) = (vec![0; STAGED_LEN], Numbers(1000 + seed));
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let view = segment.share();
            let ended = &ended;
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    view.sync_data().unwrap();
                }
            });
            // Nothing is cut below this, so it never changes.
            append(&mut segment, &mut model, &mut numbers, 4 * staging::BLOCK);
            let kept = segment.published_end();
            let (view, expected) = (segment.share(), model[..kept].to_vec());
            scope.spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    assert!(view.bytes(0..kept) == expected, "seed {seed}: what is read meanwhile");
                }
            });
            for _ in 0..400 {
                append(&mut segment, &mut model, &mut numbers, 3000);
                if numbers.below(20) == 0 {
                    let end = kept + numbers.below(segment.published_end() - kept + 1);
                    cut(&mut segment, &mut model, end);
                }
                if numbers.below(10) == 0 {
                    segment.write_out().unwrap();
                }
            }
            ended.store(true, Ordering::Relaxed);
        });
        segment.share().sync_data().unwrap();
        assert!(std::fs::read(segment.path()).unwrap() == model, "seed {seed}");
        let end = segment.published_end();
        assert!(segment.published(0..end) == &model[..end], "seed {seed}");
    }
}
