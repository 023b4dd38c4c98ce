use std::os::unix::fs::FileExt;

use windrow_core::replication::ReplicaId;
use windrow_core::superblock::{SLOT_LEN, SuperblockError};
use windrow_core::types::{ClusterId, Epoch, HashSeed, LogKey};

use super::*;

fn superblock(generation: u64) -> Superblock {
    Superblock {
        generation,
        epoch: Epoch::new(2),
        promised: Epoch::new(2),
        durable: Lsn::new(generation * 16),
        ..Superblock::first(
            ClusterId([1; 16]),
            PartitionId::new(0),
            1,
            ReplicaId::new(1),
            HashSeed([4; 16]),
            LogKey::new([9; 8]),
        )
    }
}

fn place() -> (tempfile::TempDir, PartitionDir) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(SUPERBLOCK_FILE), new_superblock_file(&superblock(1))).unwrap();
    let opened = PartitionDir::open(dir.path(), PartitionId::new(0), true).unwrap();
    (dir, opened)
}

#[test]
fn slots_are_written_in_turn_and_a_torn_write_leaves_the_other() {
    let (dir, partition) = place();
    assert_eq!(partition.read_superblock().unwrap(), superblock(1));
    let file = open(&dir.path().join(SUPERBLOCK_FILE), true).unwrap();
    for generation in 2..6 {
        partition.write_superblock(&superblock(generation)).unwrap();
        assert_eq!(partition.read_superblock().unwrap(), superblock(generation));
        // As torn as a write can be: the slot's first half is the new one, the second garbage.
        let slot = superblock(generation).slot() * SLOT_LEN;
        let mut whole = [0; 128];
        file.read_exact_at(&mut whole, slot as u64).unwrap();
        file.write_all_at(&[0xff; 64], slot as u64 + 64).unwrap();
        assert_eq!(partition.read_superblock().unwrap(), superblock(generation - 1));
        file.write_all_at(&whole, slot as u64).unwrap();
    }
}

#[test]
fn a_superblock_is_absent_or_unreadable_but_never_made_up() {
    let (dir, partition) = place();
    let path = dir.path().join(SUPERBLOCK_FILE);
    std::fs::write(&path, []).unwrap();
    let absent = partition.read_superblock();
    assert!(matches!(absent, Err(SuperblockFileError::Slots { source: SuperblockError::Absent, .. })), "{absent:?}");
    std::fs::write(&path, [7; 2 * SLOT_LEN]).unwrap();
    let bad = partition.read_superblock();
    assert!(
        matches!(bad, Err(SuperblockFileError::Slots { source: SuperblockError::Unreadable { .. }, .. })),
        "{bad:?}"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(PartitionDir::open(dir.path(), PartitionId::new(0), true).is_err());
}

#[test]
fn the_listing_tells_our_files_from_others() {
    let (dir, partition) = place();
    let segment = partition.prepare(Lsn::new(8192), 4096, FillMode::Write4K).unwrap();
    drop(segment);
    drop(partition.prepare(Lsn::ZERO, 8192, FillMode::Allocate).unwrap());
    for name in ["00000000000000012288.seg.tmp", "notes.txt", "control"] {
        std::fs::write(dir.path().join(name), "x").unwrap();
    }
    let listing = partition.list().unwrap();
    let at = |base, len| SegmentFile { base: Lsn::new(base), len };
    assert_eq!(listing.segments, [at(0, 8192), at(8192, 4096)]);
    assert_eq!(listing.temporary, ["00000000000000012288.seg.tmp"]);
    assert_eq!(listing.unknown, ["notes.txt"]);
    partition.remove(listing.temporary).unwrap();
    assert!(partition.list().unwrap().temporary.is_empty());
}
