use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use windrow_core::superblock::FORMAT_VERSION;

use super::*;
use crate::partition_dir::PartitionDir;

const NEW: NewDataDir =
    NewDataDir { cluster: Some(ClusterId([0xab; 16])), replica: None, partitions: 3, mode: BuildMode::Embedded };

fn place() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    (parent, path)
}

#[test]
fn a_directory_that_is_made_can_be_opened() {
    let (_parent, path) = place();
    assert!(matches!(DataDir::open(&path), Err(DataDirError::Absent { .. })));
    assert!(!path.exists(), "opening makes nothing");
    let made = DataDir::open_or_create(&path, &NEW).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    let identity = *made.identity();
    assert_eq!(identity, Identity { cluster: ClusterId([0xab; 16]), partitions: 3, mode: BuildMode::Embedded });
    drop(made);
    assert_eq!(DataDir::open(&path).unwrap().identity(), &identity);
    assert_eq!(DataDir::open_read_only(&path).unwrap().identity(), &identity);
    let seeds: Vec<_> = (0..3)
        .map(|number| {
            let partition = PartitionId::new(number);
            let dir = path.join(partition_dir_name(partition));
            assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
            let superblock = PartitionDir::open(&dir, partition, false).unwrap().read_superblock().unwrap();
            assert_eq!((superblock.partition, superblock.partition_count), (partition, 3));
            assert_eq!(superblock.cluster, identity.cluster);
            superblock.hash_seed
        })
        .collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2], "every partition draws its own seed");
}

#[test]
fn one_writer_at_a_time_and_the_loser_learns_who_holds_it() {
    let (_parent, path) = place();
    let first = DataDir::open_or_create(&path, &NEW).unwrap();
    assert!(first.is_writable());
    match DataDir::open(&path) {
        Err(DataDirError::Lock(LockError::Held { pid, .. })) => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other:?}"),
    }
    assert!(!DataDir::open_read_only(&path).unwrap().is_writable());
    drop(first);
    DataDir::open(&path).unwrap();
}

#[test]
fn a_writer_waits_for_a_reader_that_is_opening() {
    let (_parent, path) = place();
    drop(DataDir::open_or_create(&path, &NEW).unwrap());
    let reader = Writer::look(&path).unwrap();
    assert!(matches!(reader, Writer::None { .. }));
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| DataDir::open(&path));
        drop(reader);
        writer.join().unwrap().unwrap();
    });
    let _writer = DataDir::open(&path).unwrap();
    assert!(matches!(Writer::look(&path).unwrap(), Writer::Alive));
}

/// Every state that a crash can leave while a directory is made: each prefix of the steps, in their order.
#[test]
fn an_interrupted_creation_is_completed() {
    let (_parent, whole) = place();
    drop(DataDir::open_or_create(&whole, &NEW).unwrap());
    let mut steps: Vec<PathBuf> = vec!["LOCK".into()];
    for number in 0..3 {
        let dir = PathBuf::from(partition_dir_name(PartitionId::new(number)));
        steps.extend([dir.clone(), dir.join("superblock.tmp"), dir.join("superblock")]);
    }
    steps.push("identity.tmp".into());
    for count in 0..=steps.len() {
        for partitions in [2, 3, 4] {
            let (_parent, path) = place();
            fs::create_dir_all(&path).unwrap();
            for step in &steps[..count] {
                let whole_step = whole.join(step);
                if whole_step.is_dir() {
                    fs::create_dir(path.join(step)).unwrap();
                } else {
                    // A file still being made has any part of its content.
                    let _torn =
                        fs::copy(&whole_step, path.join(step)).or_else(|_| fs::copy("/dev/null", path.join(step)));
                }
            }
            assert!(matches!(DataDir::open(&path), Err(DataDirError::Absent { .. })), "after {count} steps");
            let made = DataDir::open_or_create(&path, &NewDataDir { partitions, ..NEW }).unwrap();
            assert_eq!(made.identity().partitions, partitions);
            for number in 0..partitions {
                let partition = PartitionId::new(number);
                let dir = PartitionDir::open(&made.partition_path(partition), partition, false).unwrap();
                assert_eq!(dir.read_superblock().unwrap().partition_count, partitions);
            }
            assert!(!made.partition_path(PartitionId::new(partitions)).exists());
        }
    }
}

#[test]
fn other_peoples_directories_are_left_alone() {
    let (_parent, path) = place();
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("thesis.tex"), "precious").unwrap();
    match DataDir::open_or_create(&path, &NEW) {
        Err(DataDirError::NotEmpty { name, .. }) => assert_eq!(name, "thesis.tex"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read_dir(&path).unwrap().count(), 1, "not even a lock is made");
    fs::remove_file(path.join("thesis.tex")).unwrap();
    fs::create_dir(path.join("lost+found")).unwrap();
    DataDir::open_or_create(&path, &NEW).unwrap();
}

#[test]
fn a_lost_identity_is_not_taken_for_a_new_directory() {
    let (_parent, path) = place();
    let made = DataDir::open_or_create(&path, &NEW).unwrap();
    let segment =
        made.partition_path(PartitionId::new(1)).join(crate::segment_file_name(windrow_core::types::Lsn::ZERO));
    fs::write(&segment, [1; 4096]).unwrap();
    drop(made);
    fs::remove_file(path.join("identity")).unwrap();
    for found in [DataDir::open_or_create(&path, &NEW), DataDir::open(&path), DataDir::open_read_only(&path)] {
        assert!(matches!(found, Err(DataDirError::IdentityLost { .. })), "{found:?}");
    }
    assert!(segment.exists());
}

#[test]
fn impossible_partition_counts_are_refused() {
    for partitions in [0, 1025] {
        let (_parent, path) = place();
        let made = DataDir::open_or_create(&path, &NewDataDir { partitions, ..NEW });
        assert!(matches!(made, Err(DataDirError::Partitions { .. })));
        assert!(!path.exists());
    }
}

#[test]
fn a_damaged_identity_is_neither_valid_nor_absent() {
    let good = Identity { cluster: ClusterId([3; 16]), partitions: 12, mode: BuildMode::SharedNothing };
    let text = good.render();
    assert_eq!(Identity::parse(text.as_bytes()), Ok(good));
    for bit in 0..text.len() * 8 {
        let mut bad = text.clone().into_bytes();
        bad[bit / 8] ^= 1 << (bit % 8);
        // The case of a checksum's digit and the kind of the last line's end carry nothing.
        if let Ok(found) = Identity::parse(&bad) {
            assert_eq!(found, good, "bit {bit}");
        }
    }
    for end in 0..text.len() - 1 {
        assert!(Identity::parse(&text.as_bytes()[..end]).is_err(), "cut at {end}");
    }
    let newer = text.replace(&format!("format {FORMAT_VERSION}"), "format 99");
    assert!(matches!(Identity::parse(newer.as_bytes()), Err(IdentityError::Format { found: 99, .. })));
}

#[test]
fn an_unreadable_identity_stops_every_way_of_opening() {
    let (_parent, path) = place();
    drop(DataDir::open_or_create(&path, &NEW).unwrap());
    fs::write(path.join("identity"), "windrow data directory\nformat 1\n").unwrap();
    for found in [DataDir::open_or_create(&path, &NEW), DataDir::open(&path), DataDir::open_read_only(&path)] {
        assert!(matches!(found, Err(DataDirError::Identity { .. })), "{found:?}");
    }
}
