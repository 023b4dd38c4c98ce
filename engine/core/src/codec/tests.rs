use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::log::SegmentMemory;
use crate::log::{Unverified, VecMemory};
use crate::types::limits::RECORD_HEADER_LEN;
use crate::types::{ClusterId, Epoch, LogKey, Lsn, PartitionId, UnixMillis};

const PARTITION: PartitionId = PartitionId::new(4);
const BASE: Lsn = Lsn::new(8192);
const KEY: LogKey = LogKey::new([1, 2, 3, 4, 5, 6, 7, 8]);

fn op<'a>(key: &'a [u8], value: &'a [u8]) -> WriteOp<'a> {
    WriteOp {
        key,
        value,
        kind: OpKind::Put,
        expires_at: UnixMillis::new(77),
        supersedes: Lsn::new(48),
        superseded_len: 9,
    }
}

/// A segment's memory with one record at `offset`.
fn record(ops: &[WriteOp<'_>], offset: usize) -> VecMemory {
    let payload: usize = ops.iter().map(|op| op.key.len() + op.value.len()).sum();
    let body_len = usize::try_from(batch_len(ops.len(), payload as u64)).unwrap();
    let mut memory = VecMemory::zeroed(offset + body_len + 4096);
    let body_at = offset + RECORD_HEADER_LEN;
    let body = memory.write(body_at..body_at + body_len);
    write_batch(ops, body);
    let header = RecordHeader {
        body_crc: KEY.body_sum(body),
        prev: Chain::new(0xABCD),
        body_len: u32::try_from(body_len).unwrap(),
        lsn: BASE.plus(offset as u64),
        durable: Lsn::new(64),
        time: UnixMillis::new(1_234).unwrap(),
        epoch: Epoch::new(3),
        partition: PARTITION,
        kind: RecordKind::Batch,
    };
    memory.write(offset..body_at).copy_from_slice(&header.encode(KEY).0);
    memory
}

fn read(memory: &VecMemory, offset: usize) -> Result<Record<'_>, RecordError> {
    read_record(memory.unverified(), BASE, PARTITION, KEY, offset, memory.bytes().len())
}

/// Operations, and bytes of a value, at most: few where an interpreter looks at each access, which takes hours else.
const DRAWN: (usize, usize) = if cfg!(miri) { (4, 24) } else { (40, 300) };

proptest! {
    #[test]
    fn what_is_written_is_read(
        pairs in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 0..40), prop::collection::vec(any::<u8>(), 0..DRAWN.1), 1..DRAWN.0,
        ),
        place in 8_usize..40,
    ) {
        let ops: Vec<WriteOp<'_>> = pairs.iter().map(|(key, value)| op(key, value)).collect();
        let memory = record(&ops, place * 16);
        let record = read(&memory, place * 16).unwrap();
        let batch = record.batch.unwrap();
        prop_assert_eq!(batch.len(), ops.len());
        for (read, written) in batch.iter().zip(&ops) {
            prop_assert_eq!(read.key, written.key);
            prop_assert_eq!(read.value, written.value);
            prop_assert_eq!(read.expires_at, written.expires_at);
            prop_assert_eq!(read.supersedes, written.supersedes);
            prop_assert_eq!(batch.find(written.key), Some(read));
        }
        prop_assert_eq!(batch.find(b"a key that is longer than any of those that are drawn"), None);
    }

    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), at in 0_usize..500) {
        let memory = VecMemory::from_bytes(&bytes);
        prop_assert!(read(&memory, at).is_err());
        let _ = Batch::checked(memory.unverified().0);
    }

    #[test]
    fn a_body_with_a_matching_checksum_is_still_checked(flips in prop::collection::vec((0_usize..400, any::<u8>()), 1..6)) {
        // Whoever can write the log can write checksums: the archive itself must be safe to read.
        let mut memory = record(&[op(b"key", &[7; 100]), op(b"other", b"v")], 0);
        let body_len = usize::try_from(read(&memory, 0).unwrap().header.body_len).unwrap();
        let body = memory.write(RECORD_HEADER_LEN..RECORD_HEADER_LEN + body_len);
        for (at, byte) in flips {
            body[at % body_len] = byte;
        }
        let body = memory.unverified().0[RECORD_HEADER_LEN..RECORD_HEADER_LEN + body_len].to_vec();
        let aligned = VecMemory::from_bytes(&body);
        if let Some(batch) = Batch::checked(aligned.unverified().0) {
            let total: usize = batch.iter().map(|op| op.key.len() + op.value.len()).sum();
            prop_assert!(total <= body_len);
        }
    }
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = record(&[op(b"key", b"some value"), op(b"other", b"")], 128);
    let len = usize::try_from(read(&good, 128).unwrap().header.record_len()).unwrap();
    for bit in 0..len * 8 {
        let mut bytes = good.bytes().to_vec();
        bytes[128 + bit / 8] ^= 1 << (bit % 8);
        let bad = VecMemory::from_bytes(&bytes);
        assert!(read(&bad, 128).is_err(), "bit {bit}");
    }
}

#[test]
fn a_record_is_believed_at_its_own_place_only() {
    let memory = record(&[op(b"key", b"value")], 128);
    let bytes = memory.unverified();
    let end = bytes.0.len();
    assert!(read_record(bytes, BASE, PARTITION, KEY, 128, end).is_ok());
    let elsewhere = read_record(bytes, BASE.plus(4096), PARTITION, KEY, 128, end);
    assert!(matches!(elsewhere, Err(RecordError::Misplaced { .. })));
    let another = read_record(bytes, BASE, PartitionId::new(5), KEY, 128, end);
    assert!(matches!(another, Err(RecordError::Misplaced { .. })));
    assert!(matches!(read_record(bytes, BASE, PARTITION, KEY, 128, 200), Err(RecordError::Length { .. })));
    assert!(matches!(read_record(bytes, BASE, PARTITION, KEY, 128, 150), Err(RecordError::NoRoom)));
    assert!(matches!(read_record(bytes, BASE, PARTITION, KEY, end, end), Err(RecordError::NoRoom)));
    assert!(matches!(read_record(bytes, BASE, PARTITION, KEY, 0, end), Err(RecordError::Header(HeaderError::Blank))));
}

#[test]
fn the_layout_is_the_documented_one() {
    assert_eq!(OP_LEN, 40, "bytes of an operation beside its key and value");
    assert_eq!(batch_len(1, 13), 16 + 40 + 8);
    let header = RecordHeader {
        body_crc: 0x0403_0201,
        prev: Chain::new(0x0807_0605),
        body_len: 0x0c0b_0a09,
        lsn: Lsn::new(0x1817_1615_1413_1211),
        durable: Lsn::new(0x2827_2625_2423_2221),
        time: UnixMillis::new(0x3635_3433_3231).unwrap(),
        epoch: Epoch::new(0x4443_4241),
        partition: PartitionId::new(0x5251),
        kind: RecordKind::Batch,
    };
    let (bytes, chain) = header.encode(KEY);
    assert_eq!(bytes[0..4], chain.get().to_le_bytes());
    assert_eq!(bytes[4..16], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    assert_eq!(bytes[16..24], [0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18]);
    assert_eq!(bytes[24..32], [0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28]);
    assert_eq!(bytes[32..40], [0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0, 0]);
    assert_eq!(bytes[40..48], [0x41, 0x42, 0x43, 0x44, 0x51, 0x52, 1, 0]);
    assert_eq!(RecordHeader::decode(&bytes, KEY), Ok((header, chain)));
}

#[test]
fn segment_headers_and_footers_notice_every_flipped_bit() {
    let header = SegmentHeader {
        cluster: ClusterId([3; 16]),
        partition: PARTITION,
        epoch: Epoch::new(2),
        base: BASE,
        len: 8192,
        chain: Chain::new(5),
        durable: Lsn::new(6),
        log_key: KEY,
    };
    let footer = SegmentFooter { base: BASE, records_end: 8128, record_count: 7, chain: Chain::new(9) };
    assert_eq!(SegmentHeader::decode(&header.encode()), Ok(header));
    assert_eq!(SegmentFooter::decode(&footer.encode()), Ok(footer));
    for bit in 0..header.encode().len() * 8 {
        let mut bytes = header.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&bytes).is_err(), "bit {bit}");
    }
    for bit in 0..footer.encode().len() * 8 {
        let mut bytes = footer.encode();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentFooter::decode(&bytes).is_err(), "bit {bit}");
    }
    assert_eq!(SegmentHeader::decode(&[0; 128]), Err(SegmentHeaderError::Blank));
    assert_eq!(SegmentHeader::decode(&[1; 20]), Err(SegmentHeaderError::Short { len: 20 }));
}

#[test]
fn unverified_bytes_say_nothing_until_they_are_read() {
    let blank = VecMemory::zeroed(512);
    let Unverified(bytes) = blank.unverified();
    assert!(bytes.iter().all(|&byte| byte == 0));
    assert!(read(&blank, 128).is_err());
}

#[test]
fn a_record_is_whole_under_its_own_key_only() {
    let memory = record(&[op(b"key", b"value")], 128);
    let end = memory.bytes().len();
    assert!(read(&memory, 128).is_ok());
    let [h0, h1, h2, h3, b0, b1, b2, b3] = KEY.to_bytes();
    let header_differs = LogKey::new([!h0, h1, h2, h3, b0, b1, b2, b3]);
    let body_differs = LogKey::new([h0, h1, h2, h3, b0, b1, b2, !b3]);
    let under = |key| read_record(memory.unverified(), BASE, PARTITION, key, 128, end).err();
    assert!(matches!(under(header_differs), Some(RecordError::Header(HeaderError::Checksum { .. }))));
    assert!(matches!(under(body_differs), Some(RecordError::BodyChecksum { .. })));
    // Kinds without a body tell the key all the same.
    for kind in [RecordKind::Epoch, RecordKind::Pad] {
        let good = RecordHeader {
            body_crc: KEY.body_sum(&[]),
            prev: Chain::new(1),
            body_len: 0,
            lsn: BASE,
            durable: BASE,
            time: UnixMillis::ZERO,
            epoch: Epoch::new(1),
            partition: PARTITION,
            kind,
        };
        let bad = RecordHeader { body_crc: body_differs.body_sum(&[]), ..good };
        let read = |header: RecordHeader| {
            let memory = VecMemory::from_bytes(&header.encode(KEY).0);
            read_record(memory.unverified(), BASE, PARTITION, KEY, 0, RECORD_HEADER_LEN).map(|record| record.header)
        };
        assert_eq!((read(good), read(bad)), (Ok(good), Err(RecordError::Body)));
    }
}

#[test]
fn nothing_written_is_told_from_a_record_under_any_key() {
    // Under this key, the sum of zeros is zero.
    let zeros = [0; RECORD_HEADER_LEN];
    let key = key_of_zero_sum(zeros.len() - 4);
    assert_eq!(key.header_sum(&zeros[4..]), 0);
    for key in [KEY, key] {
        assert_eq!(RecordHeader::decode(&zeros, key), Err(HeaderError::Blank));
    }
}

/// The key under which the sum of so many zeros is zero: the register of the checksum, run backwards.
fn key_of_zero_sum(len: usize) -> LogKey {
    let back = |register: u32, _| {
        if register >> 31 == 1 { ((register ^ 0xEDB8_8320) << 1) | 1 } else { register << 1 }
    };
    let [k0, k1, k2, k3] = (!(0..len * 8).fold(u32::MAX, back)).to_le_bytes();
    LogKey::new([k0, k1, k2, k3, 0, 0, 0, 0])
}

#[test]
fn what_is_read_without_a_check_is_what_was_written() {
    let names: Vec<_> = (100..140_u32).map(|number| alloc::format!("key{number}")).collect();
    for count in [1, 2, 3, 16, 17, 40] {
        let ops: Vec<_> = names[..count].iter().map(|name| op(name.as_bytes(), b"a value")).collect();
        let memory = record(&ops, 128);
        let batch = read(&memory, 128).unwrap().batch.unwrap();
        assert_eq!(batch.len(), count);
        for (number, (op, found)) in ops.iter().zip(batch.iter()).enumerate() {
            assert_eq!((found.key, found.value, found.kind), (op.key, op.value, op.kind));
            assert_eq!(batch.get(number), Some(found));
            assert_eq!(batch.find(op.key), Some(found));
            // Wherever it is looked for first.
            for likely in [0..0, 0..1, number..number + 1, count - 1..count, 3..50, 60..70] {
                assert_eq!(batch.find_in(likely, op.key), Some(found));
            }
        }
        assert_eq!((batch.get(count), batch.find(b"key"), batch.find_in(0..1, b"other")), (None, None, None));
        assert_eq!(batch.only().is_some(), count == 1);
    }
}

proptest! {
    #[test]
    fn what_is_read_without_a_check_lies_in_its_body(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), 0_u8..4], 0..if cfg!(miri) { 100 } else { 300 }),
        count in 0_u8..9,
    ) {
        let mut bytes = bytes;
        if let Some(root) = bytes.last_chunk_mut::<4>() {
            *root = u32::from(count).to_le_bytes();
        }
        let batch = Batch::trusted(&bytes);
        let body = bytes.as_ptr_range();
        prop_assert!(batch.len() <= bytes.len() / OP_LEN);
        for op in batch.iter() {
            for part in [op.key, op.value].map(<[u8]>::as_ptr_range) {
                prop_assert!(part.is_empty() || body.start <= part.start && part.end <= body.end);
            }
            prop_assert!(batch.find(op.key).is_none_or(|found| found.key == op.key));
        }
    }
}
