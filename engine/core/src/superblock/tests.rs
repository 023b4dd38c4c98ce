use super::*;

fn sample(generation: u64) -> Superblock {
    let first = Superblock::first(
        ClusterId([7; 16]),
        PartitionId::new(3),
        8,
        ReplicaId::new(0x1122_3344_5566_7788),
        HashSeed([9; 16]),
        LogKey::new([9; 8]),
    );
    Superblock {
        generation,
        epoch: Epoch::new(5),
        promised: Epoch::new(6),
        own_epoch: Epoch::new(4),
        floor: Some(Position { epoch: Epoch::new(3), lsn: Lsn::new(0x777) }),
        start: Lsn::new(0x4000),
        start_chain: Chain::new(0xcafe_f00d),
        cut: Some(Lsn::ZERO),
        durable: Lsn::new(0x1234_5678_9abc),
        committed: Lsn::new(0x1234_5678_9ab8),
        in_set: true,
        keys: 0x0102_0304_0506,
        ..first
    }
}

#[test]
fn what_is_encoded_is_decoded() {
    assert_eq!(Superblock::decode(&sample(4).encode()), Ok(sample(4)));
    let plain = Superblock { floor: None, cut: None, ..sample(4) };
    assert_eq!(Superblock::decode(&plain.encode()), Ok(plain));
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = sample(4).encode();
    for bit in 0..good.len() * 8 {
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Superblock::decode(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn the_newer_readable_slot_wins() {
    let (old, new) = (sample(4).encode(), sample(5).encode());
    let torn = [&new[..64], &[0; 64]].concat();
    let blank = [0; SUPERBLOCK_LEN];
    assert_eq!(Superblock::choose(&old, &new), Ok(sample(5)));
    assert_eq!(Superblock::choose(&old, &torn), Ok(sample(4)));
    assert_eq!(Superblock::choose(&old, &blank), Ok(sample(4)));
    assert_eq!(Superblock::choose(&blank, &new), Ok(sample(5)));
    assert_eq!(Superblock::choose(&blank, &blank), Err(SuperblockError::Absent));
    assert!(matches!(Superblock::choose(&blank, &torn), Err(SuperblockError::Unreadable { .. })));
    assert!(matches!(Superblock::choose(&torn, &[]), Err(SuperblockError::Unreadable { .. })));
}

#[test]
fn a_newer_format_is_refused_even_beside_a_readable_slot() {
    let mut newer = sample(5).encode();
    newer[12..16].copy_from_slice(&(FORMAT_VERSION + 1).to_le_bytes());
    let sum = checksum(&newer);
    newer[8..12].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(Superblock::choose(&sample(4).encode(), &newer), Err(SuperblockError::Unreadable { .. })));
}
