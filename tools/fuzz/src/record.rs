//! Records from any bytes: no panic, no operation outside of the record, and what is accepted encodes to the bytes
//! that it was read from. Verified once more, it is what it was, and what was refused is so for the same reason.
//!
//! Random bytes hardly ever have the right checksums, so they are also tried with their place and checksums mended:
//! that is what reaches the archive.
use windrow_core::{
    codec::{Record, RecordError, read_record, verify_record},
    log::{SegmentMemory, VecMemory},
    types::{LogKey, Lsn, PartitionId, limits::RECORD_HEADER_LEN},
};

const BASE: Lsn = Lsn::new(4096);
const OFFSET: usize = 128;
const KEY: LogKey = LogKey::new([7; 8]);

/// Tries one input.
pub fn record(data: &[u8]) {
    let mut segment = vec![0; OFFSET];
    segment.extend_from_slice(data);
    check(&segment);
    if data.len() >= RECORD_HEADER_LEN {
        mend(&mut segment);
        check(&segment);
    }
}

fn check(segment: &[u8]) {
    // An archive is read in place, so its alignment has to be that of a segment.
    let memory = VecMemory::from_bytes(segment);
    let read = read_record(memory.unverified(), BASE, PartitionId::new(0), KEY, OFFSET, segment.len());
    let verified = verify_record(memory.unverified(), BASE, PartitionId::new(0), KEY, OFFSET, segment.len());
    match read {
        Ok(record) => {
            assert_eq!(verified, Ok(()));
            check_record(&record, &memory.bytes()[OFFSET..]);
        }
        // Operations under checksums that match are not looked at once more.
        Err(RecordError::Body) if verified.is_ok() => {}
        Err(error) => assert_eq!(verified, Err(error)),
    }
}

fn check_record(record: &Record<'_>, bytes: &[u8]) {
    let len = usize::try_from(record.header.record_len()).expect("the record lies in memory");
    assert!(len <= bytes.len());
    assert_eq!(record.end(), BASE.plus((OFFSET + len) as u64));
    assert_eq!(record.header.encode(KEY).0, bytes[..RECORD_HEADER_LEN]);
    assert_eq!(record.header.encode(KEY).1, record.chain);
    let inside = bytes[..len].as_ptr_range();
    for op in record.batch.into_iter().flat_map(|batch| batch.iter()) {
        for part in [op.key, op.value] {
            let part = part.as_ptr_range();
            assert!(part.is_empty() || inside.start <= part.start && part.end <= inside.end);
        }
        let _ = record.batch.and_then(|batch| batch.find(op.key));
        let _ = op.footprint();
    }
}

/// Gives the record the place where it stands, a length that fits and the right checksums.
fn mend(segment: &mut [u8]) {
    let record = &mut segment[OFFSET..];
    let room = record.len() - RECORD_HEADER_LEN;
    let claimed = u32::from_le_bytes([record[12], record[13], record[14], record[15]]);
    // Its padding has to fit, too.
    let body_len = (claimed as usize % (room + 1)).min(room & !15);
    record[12..16].copy_from_slice(&u32::try_from(body_len).expect("an input is short").to_le_bytes());
    record[16..24].copy_from_slice(&BASE.plus(OFFSET as u64).get().to_le_bytes());
    record[44..46].fill(0);
    let end = RECORD_HEADER_LEN + body_len;
    let padded = end.next_multiple_of(16).min(record.len());
    record[end..padded].fill(0);
    let body_crc = KEY.body_sum(&record[RECORD_HEADER_LEN..end]);
    record[4..8].copy_from_slice(&body_crc.to_le_bytes());
    let header_crc = KEY.header_sum(&record[4..RECORD_HEADER_LEN]);
    record[..4].copy_from_slice(&header_crc.to_le_bytes());
}
