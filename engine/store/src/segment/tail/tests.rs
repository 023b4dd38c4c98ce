use std::path::Path;
use std::sync::atomic::AtomicBool;

use windrow_core::log::SegmentMemory;

use super::super::{MappedSegment, create_segment_in_tail};
use super::*;

const LEN: usize = 256 << 10;

/// For so many segments, one of which stands prepared.
fn memory(blocks: u64) -> TailMemory {
    TailMemory::new(blocks * LEN as u64, LEN as u64, 1).unwrap()
}

fn base(number: usize) -> Lsn {
    Lsn::new((number * LEN) as u64)
}

fn make(dir: &Path, memory: &TailMemory, number: usize, keep: bool) -> MappedSegment {
    create_segment_in_tail(dir, base(number), memory, keep).unwrap()
}

/// As many segments as there is memory for.
fn make_all(dir: &Path, memory: &TailMemory) -> Vec<MappedSegment> {
    (0..memory.shared.blocks_max).map(|number| make(dir, memory, number, false)).collect()
}

fn fill(segment: &mut MappedSegment, byte: u8) {
    let from = segment.published_end();
    segment.write(from..LEN).fill(byte);
    segment.publish(LEN);
}

fn fill_and_flush(segment: &mut MappedSegment, byte: u8) {
    fill(segment, byte);
    segment.share().sync_data().unwrap();
}

/// Which memory is used, by the numbers of their files.
fn blocks(memory: &TailMemory) -> Vec<u64> {
    memory.used().iter().map(|used| rustix::fs::fstat(&used.block.memory).unwrap().st_ino).collect()
}

/// What of the file is in the page cache is asked of a mapping of its own.
fn is_cached(segment: &MappedSegment, upto: usize) -> bool {
    let file = File::open(segment.path()).unwrap();
    let map = MappedSegment::map_read_only(file, segment.path().to_owned(), segment.base(), LEN, LEN).unwrap();
    map.is_resident(0..upto)
}

/// Whether this file system writes past the page cache at all.
fn is_past_cache(dir: &Path) -> bool {
    let memory = memory(3);
    let mut segment = make(dir, &memory, 1000, false);
    fill_and_flush(&mut segment, 1);
    let is_past_cache = segment.share().is_of_tail() && !is_cached(&segment, 4096);
    if !is_past_cache {
        eprintln!("skipped: this file system does not write past the page cache");
    }
    is_past_cache
}

#[test]
fn it_takes_memory_for_what_stands_prepared_what_is_in_use_and_one_more() {
    assert!(TailMemory::new(0, 4096, 1).is_none() && TailMemory::new(4096, 0, 1).is_none());
    assert!(TailMemory::new(3 * 4096 - 1, 4096, 1).is_none() && TailMemory::new(3 * 4096, 4096, 2).is_none());
    assert_eq!(memory(3).window(), LEN as u64);
    assert_eq!(TailMemory::new(6 << 20, 1 << 20, 2).unwrap().window(), 3 << 20);
    assert_eq!(TailMemory::new(u64::MAX, 4096, 1).unwrap().window(), 30 << 12, "each is an open file");
}

#[test]
fn the_oldest_segment_gives_its_memory_to_the_next_once_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    if !is_past_cache(dir.path()) {
        return;
    }
    let memory = memory(3);
    let mut segments = make_all(dir.path(), &memory);
    let first = blocks(&memory);
    assert_eq!((memory.used_bytes(), memory.next_out()), (3 * LEN as u64, Some(base(0))));
    fill(&mut segments[0], 7);
    segments.push(make(dir.path(), &memory, 3, false));
    assert!(!segments[3].share().is_of_tail() && segments[2].share().is_of_tail(), "nothing can be given up");
    assert!(blocks(&memory) == first && memory.next_out() == Some(base(0)));
    segments[0].share().sync_data().unwrap();
    assert!(!is_cached(&segments[0], 4096) && !segments[0].share().is_in_file(0..1), "better read from memory");
    segments.push(make(dir.path(), &memory, 4, false));
    assert!(segments[4].share().is_of_tail() && blocks(&memory)[2] == first[0], "the same memory");
    assert!(segments[4].write(0..LEN).iter().all(|&byte| byte == 0), "as every new segment");
    assert_eq!((segments[0].share().cold_end(), segments[1].share().cold_end()), (Some(LEN), None));
    assert!(!segments[0].is_resident(0..4096) && segments[1].is_resident(0..LEN));
    fill_and_flush(&mut segments[4], 9);
    assert!(segments[0].published(0..LEN).iter().all(|&byte| byte == 7), "the file's own pages");
    assert_eq!(memory.next_out(), Some(base(1)));
}

#[test]
fn memory_that_somebody_may_still_send_from_is_let_go_of() {
    let dir = tempfile::tempdir().unwrap();
    if !is_past_cache(dir.path()) {
        return;
    }
    let memory = memory(3);
    let mut segments = make_all(dir.path(), &memory);
    let first = blocks(&memory);
    segments.iter_mut().for_each(|segment| fill_and_flush(segment, 7));
    let sent = segments[0].share();
    segments.push(make(dir.path(), &memory, 3, false));
    let second = blocks(&memory);
    assert!(second[..2] == first[1..] && second[2] != first[0], "another takes its place");
    assert!(segments[3].share().is_of_tail());
    drop(sent);
    segments.push(make(dir.path(), &memory, 4, false));
    assert_eq!(blocks(&memory)[2], first[1], "nobody had a handle on the second segment");
    // A segment that is no longer of the log, on which somebody has a handle.
    let sent = segments.remove(2).share();
    segments.push(make(dir.path(), &memory, 5, false));
    assert!(!blocks(&memory).contains(&first[2]));
    drop(sent);
    // And one on which nobody has.
    let freed = blocks(&memory)[1];
    drop(segments.remove(3));
    assert_eq!(memory.next_out(), None);
    segments.push(make(dir.path(), &memory, 6, false));
    assert_eq!(blocks(&memory)[2], freed);
}

/// Whether the system makes large pages of such memory, where a file of `dir` was mapped.
fn has_large_pages(dir: &Path) -> bool {
    let len = 3 * LARGE_PAGE;
    let file = File::options().read(true).write(true).create_new(true).open(dir.join("large")).unwrap();
    file.set_len(len as u64).unwrap();
    let map = memmap2::MmapOptions::new().len(len).map_raw(&file).unwrap();
    let memory = TailMemory::new(3 * len as u64, len as u64, 1).unwrap();
    memory.begin(false).unwrap().map_at(&map).unwrap();
    ready::make_large(&map, 0)
}

/// How much of each block is in large pages, after so many segments of three large pages each have been made.
fn large_pages(dir: &Path, dear: Duration, segments: usize) -> Vec<usize> {
    let len = 3 * LARGE_PAGE + LEN;
    let mut memory = TailMemory::new(3 * len as u64, len as u64, 1).unwrap();
    Arc::get_mut(&mut memory.shared).unwrap().dear = dear;
    std::fs::create_dir(dir).unwrap();
    let mut made = Vec::new();
    for number in 0..segments {
        let mut segment = create_segment_in_tail(dir, Lsn::new((number * len) as u64), &memory, false).unwrap();
        let byte = u8::try_from(number + 1).unwrap();
        assert!(segment.write(0..len).iter().all(|&byte| byte == 0), "as every new segment");
        segment.write(0..len).fill(byte);
        segment.publish(len);
        segment.share().sync_data().unwrap();
        assert!(segment.published(0..len).iter().all(|&found| found == byte));
        assert!(std::fs::read(segment.path()).unwrap().iter().all(|&found| found == byte));
        made.push(segment);
    }
    memory.used().iter().map(|used| used.block.large_end).collect()
}

#[test]
fn a_block_gets_large_pages_while_they_are_cheap_and_else_one_each_time() {
    let dir = tempfile::tempdir().unwrap();
    if !is_past_cache(dir.path()) {
        return;
    }
    if !has_large_pages(dir.path()) {
        eprintln!("skipped: this system has no large pages for that, or none left");
        return;
    }
    let cheap = large_pages(&dir.path().join("cheap"), Duration::MAX, 3);
    assert_eq!(cheap, [3 * LARGE_PAGE; 3]);
    let dear = |segments: usize| large_pages(&dir.path().join(segments.to_string()), Duration::ZERO, segments);
    assert_eq!(dear(3), [LARGE_PAGE; 3]);
    assert_eq!(dear(4), [1, 1, 2].map(|pages| pages * LARGE_PAGE));
    assert_eq!(dear(14), [3; 3].map(|pages| pages * LARGE_PAGE));
}

#[test]
fn what_is_to_be_kept_is_in_the_page_cache_when_it_leaves() {
    let dir = tempfile::tempdir().unwrap();
    if !is_past_cache(dir.path()) {
        return;
    }
    let memory = memory(3);
    let mut segments = make_all(dir.path(), &memory);
    fill_and_flush(&mut segments[0], 7);
    segments.push(make(dir.path(), &memory, 3, true));
    assert!(
        segments[0].is_resident(0..LEN) && is_cached(&segments[0], LEN) && segments[0].share().cold_end().is_none()
    );
    assert!(segments[0].share().is_in_file(0..LEN));
    assert!(segments[0].published(0..LEN).iter().all(|&byte| byte == 7));
}

#[test]
fn a_flush_writes_what_is_published_and_zeros_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let memory = memory(3);
    let mut segment = make(dir.path(), &memory, 0, false);
    let in_file = |segment: &MappedSegment| std::fs::read(segment.path()).unwrap();
    let mut model = vec![0; LEN];
    for (end, next) in [(100, 5000), (5000, 9000), (8192, 9000), (8193, 8193), (12_288, 20_000), (LEN, LEN)] {
        let from = segment.published_end();
        segment.write(from..next.max(end)).fill(7);
        segment.publish(end);
        model[from..end].fill(7);
        segment.share().sync_data().unwrap();
        assert!(in_file(&segment) == model, "flushed up to {end}");
        // Nothing is new: what was written is written once more, or not at all.
        segment.share().sync_data().unwrap();
        assert!(in_file(&segment) == model, "flushed up to {end} again");
    }
}

#[test]
fn others_who_read_the_file_find_it_in_the_page_cache() {
    let dir = tempfile::tempdir().unwrap();
    if !is_past_cache(dir.path()) {
        return;
    }
    let memory = memory(3);
    let mut segment = make(dir.path(), &memory, 0, false);
    let mut append = |upto: usize| {
        let from = segment.published_end();
        segment.write(from..upto).fill(7);
        segment.publish(upto);
        segment.share().sync_data().unwrap();
        (is_cached(&segment, upto), std::fs::read(segment.path()).unwrap()[..upto].iter().all(|&byte| byte == 7))
    };
    memory.set_shared(true);
    assert_eq!(append(9000), (true, true));
    memory.set_shared(false);
    assert_eq!(append(LEN / 2 + 1), (false, true));
    memory.set_shared(true);
    assert!(append(LEN).1);
    let _others = [make(dir.path(), &memory, 1, false), make(dir.path(), &memory, 2, false)];
    drop(make(dir.path(), &memory, 3, false));
    assert_eq!(segment.share().cold_end(), Some(LEN), "part of it was written past the page cache");
    assert!(segment.published(0..LEN).iter().all(|&byte| byte == 7));
}

/// As a replica does whose log diverges.
#[test]
fn a_segment_that_was_cut_goes_on_and_leaves_as_others_do() {
    let dir = tempfile::tempdir().unwrap();
    let memory = memory(3);
    let mut segments = make_all(dir.path(), &memory);
    let (segment, others) = segments.split_first_mut().unwrap();
    segment.write(0..100_000).fill(7);
    segment.publish(100_000);
    segment.share().sync_data().unwrap();
    segment.retract(50_001);
    segment.write(50_001..100_000).fill(0);
    segment.share().sync_data().unwrap();
    let mut model = vec![7; 50_001];
    model.resize(LEN, 0);
    assert!(std::fs::read(segment.path()).unwrap() == model);
    fill_and_flush(segment, 8);
    model[50_001..].fill(8);
    assert!(std::fs::read(segment.path()).unwrap() == model);
    others.iter_mut().for_each(|other| fill_and_flush(other, 1));
    let next = make(dir.path(), &memory, 3, false);
    assert!(next.share().is_of_tail() && segments[0].published(0..LEN) == model);
}

#[test]
fn readers_see_the_same_bytes_while_memory_goes_round() {
    let dir = tempfile::tempdir().unwrap();
    let memory = memory(4);
    let ended = AtomicBool::new(false);
    let written: Mutex<Vec<(u8, Arc<MappedSegment>)>> = Mutex::default();
    std::thread::scope(|scope| {
        for reader in 0..2_usize {
            let (written, ended) = (&written, &ended);
            scope.spawn(move || {
                for round in 0_usize.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let some = {
                        let written = written.lock().unwrap();
                        let at = (round * 7 + reader).checked_rem(written.len());
                        at.map(|at| (written[at].0, Arc::clone(&written[at].1)))
                    };
                    // The one reads what the log has, the other with a handle of its own.
                    let Some((byte, segment)) = some else { continue };
                    let is_same = if reader == 0 {
                        segment.published(0..LEN).iter().all(|&found| found == byte)
                    } else {
                        segment.share().bytes(0..LEN).iter().all(|&found| found == byte)
                    };
                    assert!(is_same, "segment {byte}");
                }
            });
        }
        for number in 0..40 {
            let byte = u8::try_from(number + 1).unwrap();
            let mut segment = make(dir.path(), &memory, number, number % 5 == 0);
            let view = segment.share();
            std::thread::scope(|scope| {
                let flusher = scope.spawn(|| {
                    while view.published_end() < LEN {
                        view.sync_data().unwrap();
                    }
                });
                while segment.published_end() < LEN {
                    let (from, to) = (segment.published_end(), (segment.published_end() + 3001).min(LEN));
                    segment.write(from..to).fill(byte);
                    segment.publish(to);
                }
                flusher.join().unwrap();
            });
            view.sync_data().unwrap();
            assert!(std::fs::read(segment.path()).unwrap().iter().all(|&found| found == byte), "segment {number}");
            written.lock().unwrap().push((byte, Arc::new(segment)));
        }
        ended.store(true, Ordering::Relaxed);
    });
    let written = written.into_inner().unwrap();
    assert!(written.iter().all(|(byte, segment)| segment.published(0..LEN).iter().all(|found| found == byte)));
}
