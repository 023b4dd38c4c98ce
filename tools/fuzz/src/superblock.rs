//! Superblocks from any bytes: no panic, what is accepted survives being written again, the newer of two wins, and a
//! single wrong bit is never accepted.
//!
//! The input is two slots, half and half. Random bytes hardly ever have the right checksum, so both are also tried with
//! magic, version and checksum mended: that is what reaches the fields.

use windrow_core::superblock::{SUPERBLOCK_LEN, SlotError, Superblock, SuperblockError};

/// Tries one input.
pub fn superblock(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    check(first, second);
    let (first, second) = (mend(first), mend(second));
    check(&first, &second);
    check(&first, &[0; SUPERBLOCK_LEN]);
    if let Ok(block) = Superblock::decode(&first) {
        refuses_flips(&block, data);
    }
}

fn check(first: &[u8], second: &[u8]) {
    let slots = [Superblock::decode(first), Superblock::decode(second)];
    for block in slots.iter().flatten() {
        assert_eq!(Superblock::decode(&block.encode()).as_ref(), Ok(block), "written and read again");
        assert!(block.slot() < 2);
    }
    match Superblock::choose(first, second) {
        Ok(chosen) => {
            assert!(slots.contains(&Ok(chosen)), "it is one of the two");
            assert!(slots.iter().flatten().all(|block| block.generation <= chosen.generation), "it is the newer one");
        }
        Err(SuperblockError::Absent) => assert_eq!(slots, [Err(SlotError::Blank), Err(SlotError::Blank)]),
        Err(_) => assert!(slots.iter().any(Result::is_err), "two that can be read give one"),
    }
}

/// Bits chosen by the input, of the slot as it would be written.
fn refuses_flips(block: &Superblock, data: &[u8]) {
    for pair in data.chunks_exact(2).take(16) {
        let mut slot = block.encode();
        let at = usize::from(u16::from_le_bytes([pair[0], pair[1]])) % (SUPERBLOCK_LEN * 8);
        slot[at / 8] ^= 1 << (at % 8);
        assert!(Superblock::decode(&slot).is_err(), "bit {at} is wrong, and it is accepted");
    }
}

/// The bytes as a whole slot with the magic, the version and the checksum that it should have.
fn mend(bytes: &[u8]) -> [u8; SUPERBLOCK_LEN] {
    let sound = crate::node::superblock().encode();
    let mut slot = [0; SUPERBLOCK_LEN];
    let len = bytes.len().min(SUPERBLOCK_LEN);
    slot[..len].copy_from_slice(&bytes[..len]);
    slot[..8].copy_from_slice(&sound[..8]);
    slot[12..16].copy_from_slice(&sound[12..16]);
    // The rest of the checks come after the checksum, so both ways are tried: as it is, and without features.
    if bytes.first().is_some_and(|byte| byte % 4 != 0) {
        slot[80..88].fill(0);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&slot[..8]);
    hasher.update(&slot[12..]);
    slot[8..12].copy_from_slice(&hasher.finalize().to_le_bytes());
    slot
}
