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
