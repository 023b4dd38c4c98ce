//! Damaged logs, and the copies that mend them.

use std::fs;
use std::path::{Path, PathBuf};

use windrow_core::types::PartitionId;
use windrow_store::{DataDir, open_partition};

use super::{CONFIG, Log, NOW, verdict};
use crate::exit::Exit;
use crate::log::repair;
use crate::log::verdict::Verdict;

/// A copy of a directory and all that is in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { fs::copy(entry.path(), to).map(|_| ()).unwrap() }
    }
}

/// A log of several segments, and a copy of it.
fn two() -> (Log, PathBuf) {
    let log = Log::with_puts(100).close();
    assert!(log.segments().len() > 4);
    let other = log.dir.with_file_name("other");
    copy(&log.dir, &other);
    (log, other)
}

fn mend(log: &Log, from: &Path) -> Exit {
    repair::run(&log.dir, from).unwrap_or_else(|failure| panic!("{failure}"))
}

fn bytes(log: &Log) -> Vec<Vec<u8>> {
    log.segments().iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The damaged segments that were kept.
fn kept(log: &Log) -> usize {
    let aside = fs::read_dir(log.partition_dir()).unwrap().map(Result::unwrap);
    let aside = aside.filter(|entry| entry.file_name().to_string_lossy().starts_with("aside-"));
    aside.map(|dir| fs::read_dir(dir.path()).unwrap().count()).sum()
}

#[test]
fn a_flipped_bit_anywhere_in_a_sealed_segment_is_mended() {
    let (log, other) = two();
    let whole = bytes(&log);
    let len = whole[0].len() as u64;
    // Header, records, padding, footer; the first segment, and one within.
    for segment in [0, 2] {
        for offset in [0, 70, len / 2, len - 60, len - 1] {
            log.damage(segment, offset);
            assert_eq!(verdict(&log.dir), Verdict::Corrupt, "segment {segment}, offset {offset}");
            assert_eq!(mend(&log, &other), Exit::Ok, "segment {segment}, offset {offset}");
            assert_eq!(bytes(&log), whole);
        }
    }
    assert_eq!(kept(&log), 2, "each damaged segment is kept, the newest under its name");
    assert_eq!(mend(&log, &other), Exit::Ok, "there is nothing to do");
}

#[test]
fn several_segments_are_mended_and_a_missing_one_is_fetched() {
    let (log, other) = two();
    let whole = bytes(&log);
    let len = whole[0].len() as u64;
    // Neither the end of the first nor the start of the second can be read.
    log.damage(0, len - 1);
    log.damage(1, 0);
    fs::remove_file(&log.segments()[2]).unwrap();
    assert_eq!(mend(&log, &other), Exit::Ok);
    assert_eq!(bytes(&log), whole);
    assert_eq!(kept(&log), 2);
}

#[test]
fn a_copy_that_is_damaged_or_missing_replaces_nothing() {
    let (log, other) = two();
    log.damage(1, 100);
    let before = bytes(&log);
    let path = other.join("partition-0000").join(log.segments()[1].file_name().unwrap());
    let mut bad = fs::read(&path).unwrap();
    bad[200] ^= 1;
    fs::write(&path, &bad).unwrap();
    assert_eq!(mend(&log, &other), Exit::Found);
    fs::remove_file(&path).unwrap();
    assert_eq!(mend(&log, &other), Exit::Found);
    assert_eq!((bytes(&log), kept(&log)), (before, 0));
}

#[test]
fn the_segment_of_another_log_replaces_nothing() {
    let (log, other) = (Log::with_puts(100).close(), Log::with_puts(150).close());
    log.damage(0, 100);
    log.damage(1, 0);
    let before = bytes(&log);
    assert_eq!(mend(&log, &other.dir), Exit::Found);
    assert_eq!((bytes(&log), kept(&log)), (before, 0));
}

/// Opens a log again, in a new epoch, and writes more.
fn go_on(dir: &Path, key: &str) -> Log {
    let data_dir = DataDir::open(dir).unwrap();
    let open = open_partition(&data_dir, PartitionId::new(0), &CONFIG, NOW).unwrap();
    let parent = tempfile::tempdir().unwrap();
    let mut log = Log { _parent: parent, dir: dir.to_path_buf(), data_dir: Some(data_dir), open: Some(open) };
    for _ in 0..50 {
        log.put(key, &[b'w'; 100]);
        log.flush();
    }
    log.close()
}

#[test]
fn a_log_that_went_on_otherwise_replaces_nothing() {
    let (log, other) = two();
    let shared = log.segments().len();
    let (ours, theirs) = (go_on(&log.dir, "one"), go_on(&other, "two"));
    assert_eq!((verdict(&ours.dir), verdict(&theirs.dir)), (Verdict::Clean, Verdict::Clean));
    assert!(ours.segments().len() > shared + 2);
    // What both share is mended, what they do not share is not.
    ours.damage(1, 100);
    assert_eq!(mend(&ours, &other), Exit::Ok);
    ours.damage(shared, 0);
    ours.damage(shared + 1, 0);
    let before = bytes(&ours);
    assert_eq!(mend(&ours, &other), Exit::Found);
    assert_eq!((bytes(&ours), kept(&ours)), (before, 1));
}

#[test]
fn damage_in_the_segment_in_use_is_left_alone() {
    let (log, other) = two();
    let last = log.segments().len() - 1;
    let last = if verdict_with_damage(&log, last) { last } else { last - 1 };
    log.damage(last, 100);
    let before = bytes(&log);
    assert_eq!(mend(&log, &other), Exit::Found);
    assert_eq!((bytes(&log), kept(&log)), (before, 0));
}

/// Whether damage at the start of a segment counts: behind the one in use, there may be one that stands prepared.
fn verdict_with_damage(log: &Log, segment: usize) -> bool {
    log.damage(segment, 100);
    let is_corrupt = verdict(&log.dir) == Verdict::Corrupt;
    log.damage(segment, 100);
    is_corrupt
}

#[test]
fn a_log_that_is_in_use_or_its_own_copy_is_refused() {
    let (log, other) = two();
    let refused = |path: &Path, from: &Path| repair::run(path, from).err().map(|failure| failure.exit);
    assert_eq!(refused(&log.dir, &log.dir), Some(Exit::Usage));
    let used = DataDir::open(&log.dir).unwrap();
    assert_eq!(refused(&log.dir, &other), Some(Exit::Locked));
    assert_eq!(refused(&other, &log.dir), None, "the copies may be in use");
    drop(used);
}
