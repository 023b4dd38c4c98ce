//! The table of recovery, walked exhaustively.
//!
//! A log of a few segments is written, and flushed up to a chosen record. Then every way in which a power cut or rot
//! can leave it is made, piece by piece, where a piece is a record, a segment header or a footer: kept, lost (zeros),
//! torn (half of it) or flipped. What must come out is known from the outset: a whole prefix up to at least the
//! last flush, or a refusal exactly when something flushed was touched.

use alloc::vec::Vec;
use std::collections::BTreeMap;
use std::string::String;

use super::*;
use crate::codec::{HeaderError, RecordHeader, RecordKind};
use crate::log::VecMemory;
use crate::partition::tests::{Driver, blank_superblock};
use crate::partition::{Change, Op, Partition};
use crate::superblock::Superblock;
use crate::types::limits::{RECORD_ALIGN, RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};

/// What happened to one piece of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    Kept,
    Lost,
    Torn,
    Flipped,
}

const FATES: [Fate; 4] = [Fate::Kept, Fate::Lost, Fate::Torn, Fate::Flipped];

/// A part of the log that a fault can hit.
#[derive(Clone, Copy, Debug)]
struct Piece {
    base: Lsn,
    start: usize,
    end: usize,
}

impl Piece {
    fn lsn(&self) -> Lsn {
        self.base.plus(self.start as u64)
    }

    fn apply(&self, fate: Fate, disk: &mut BTreeMap<Lsn, Vec<u8>>) {
        let bytes = &mut disk.get_mut(&self.base).unwrap()[self.start..self.end];
        match fate {
            Fate::Kept => {}
            Fate::Lost => bytes.fill(0),
            Fate::Torn => {
                let half = bytes.len() / 2;
                bytes[half..].fill(0);
            }
            Fate::Flipped => bytes[20] ^= 0x10,
        }
    }
}

struct Written {
    disk: BTreeMap<Lsn, Vec<u8>>,
    superblock: Superblock,
    pieces: Vec<Piece>,
    /// Where the log ended at the last flush that was done.
    durable: Lsn,
    /// The highest watermark that any record or header bears witness to.
    witnessed: Lsn,
    values: Vec<(Lsn, String)>,
}

/// Writes `flushed` records and flushes, then as many again without a flush; `len` bytes of value each.
fn write(flushed: usize, unflushed: usize, len: usize) -> Written {
    let mut driver = Driver::create();
    let mut values = Vec::new();
    let mut durable = driver.partition.durable();
    for number in 0..flushed + unflushed {
        let value = std::format!("{number:0len$}");
        driver.put("key", &value);
        values.push((driver.partition.appended(), value));
        if number + 1 == flushed {
            driver.flush();
            durable = driver.partition.durable();
        }
    }
    let superblock = driver.superblock;
    let mut disk = driver.disk.clone();
    let mut pieces = Vec::new();
    let mut witnessed = superblock.durable;
    for segment in driver.partition.log().segments() {
        disk.insert(segment.base(), segment.memory().bytes().to_vec());
        pieces_of(segment.base(), segment.memory(), &mut pieces, &mut witnessed);
    }
    Written { disk, superblock, pieces, durable, witnessed, values }
}

fn pieces_of(base: Lsn, memory: &VecMemory, pieces: &mut Vec<Piece>, witnessed: &mut Lsn) {
    let bytes = memory.unverified();
    let header = SegmentHeader::decode(bytes.0).unwrap();
    *witnessed = (*witnessed).max(header.durable);
    pieces.push(Piece { base, start: 0, end: SEGMENT_HEADER_LEN });
    let limit = bytes.0.len() - SEGMENT_FOOTER_LEN;
    let mut offset = SEGMENT_HEADER_LEN;
    while let Ok(record) = crate::codec::read_record(bytes, base, header.partition, header.log_key, offset, limit) {
        *witnessed = (*witnessed).max(record.header.durable);
        let end = usize::try_from(record.end().since(base)).unwrap();
        pieces.push(Piece { base, start: offset, end });
        offset = end;
    }
    if memory.published_end() == bytes.0.len() {
        pieces.push(Piece { base, start: limit, end: bytes.0.len() });
    }
}

fn recovered(written: &Written, disk: &BTreeMap<Lsn, Vec<u8>>) -> Result<(Recovered<VecMemory>, usize), RecoveryError> {
    let segments = disk.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
    let mut batches = 0;
    let recovered =
        recover(&written.superblock, segments, &mut |record| batches += usize::from(record.batch.is_some()))?;
    Ok((recovered, batches))
}

/// What any faults above the last flush must lead to: a whole prefix, all of the flushed part in it.
fn check_survives(written: &Written, disk: BTreeMap<Lsn, Vec<u8>>, what: &dyn Fn() -> String) {
    let (found, batches) = recovered(written, &disk).unwrap_or_else(|error| panic!("{}: {error}", what()));
    assert!(found.end() >= written.durable, "{}: a flushed record is lost", what());
    assert!(found.durable() <= found.end());
    let expected = written.values.iter().filter(|(end, _)| *end <= found.end()).count();
    assert_eq!(batches, expected, "{}: a prefix, and nothing behind it", what());
    // Opened for writing, it shows that prefix, and a second recovery finds it whole.
    let mut driver =
        Driver::open(written.superblock, disk, 2_000).unwrap_or_else(|error| panic!("{}: {error}", what()));
    let newest = expected.checked_sub(1).map(|last| written.values[last].1.clone());
    assert_eq!(driver.get("key"), newest, "{}", what());
    driver.put("key", "after");
    driver.flush();
    assert_eq!(driver.reopen().get("key").as_deref(), Some("after"), "{}", what());
}

#[test]
fn whatever_a_power_cut_leaves_above_the_last_flush_is_cut_and_nothing_below_is_lost() {
    // Five unflushed records of a third of a segment each: two rolls lie among them.
    let written = write(2, 5, 1_100);
    let loose: Vec<Piece> = written.pieces.iter().copied().filter(|piece| piece.lsn() >= written.durable).collect();
    assert!((8..=12).contains(&loose.len()), "records, a pad, footers and headers: {}", loose.len());
    let cases = FATES.len().pow(u32::try_from(loose.len()).unwrap());
    for case in 0..cases {
        // A power cut keeps or loses; torn and flipped pieces are the rarer faults: at most two of them at a time.
        let fates: Vec<Fate> = (0..loose.len()).map(|at| FATES[(case >> (2 * at)) % FATES.len()]).collect();
        if fates.iter().filter(|fate| matches!(fate, Fate::Torn | Fate::Flipped)).count() > 2 {
            continue;
        }
        let mut disk = written.disk.clone();
        loose.iter().zip(&fates).for_each(|(piece, fate)| piece.apply(*fate, &mut disk));
        check_survives(&written, disk, &|| std::format!("{fates:?}"));
    }
}

#[test]
fn damage_below_a_witnessed_watermark_is_refused_wherever_it_is() {
    let written = write(6, 3, 1_100);
    assert!(written.witnessed >= written.durable, "the records behind the flush bear witness to it");
    let mut below = 0;
    for piece in written.pieces.iter().filter(|piece| piece.lsn() < written.durable) {
        below += 1;
        for fate in &FATES[1..] {
            let mut disk = written.disk.clone();
            piece.apply(*fate, &mut disk);
            if disk == written.disk {
                continue;
            }
            let Err(error) = recovered(&written, &disk) else { panic!("{piece:?} {fate:?}: accepted") };
            assert!(names_place(&error, piece), "{piece:?} {fate:?}: {error:?}");
        }
    }
    assert!(below >= 10, "two segments and their headers and footers: {below}");
}

fn names_place(error: &RecoveryError, piece: &Piece) -> bool {
    match error {
        RecoveryError::Corrupt { base, lsn, .. } => *base == piece.base && *lsn == piece.lsn(),
        RecoveryError::CorruptSegment { base, .. } => *base == piece.base,
        RecoveryError::Missing { .. }
        | RecoveryError::Foreign { .. }
        | RecoveryError::ForeignKey { .. }
        | RecoveryError::Version { .. } => false,
    }
}

#[test]
fn the_superblock_bears_witness_to_an_idle_log() {
    let mut written = write(3, 0, 100);
    let last = *written.pieces.last().unwrap();
    let mut disk = written.disk.clone();
    last.apply(Fate::Flipped, &mut disk);
    // Nothing in the log was written after its last flush, so only the superblock can tell.
    assert!(recovered(&written, &disk).is_ok(), "taken for a torn tail");
    written.superblock.durable = written.durable;
    assert!(matches!(recovered(&written, &disk), Err(RecoveryError::Corrupt { .. })));
}

#[test]
fn a_missing_segment_is_told_from_an_empty_log() {
    let mut written = write(6, 0, 1_100);
    written.superblock.durable = written.durable;
    let last = *written.disk.keys().rfind(|base| **base < written.durable).unwrap();
    let mut disk = written.disk.clone();
    disk.retain(|base, _| *base < last);
    assert!(matches!(recovered(&written, &disk), Err(RecoveryError::Missing { lsn, .. }) if lsn == last));
    disk.clear();
    assert!(matches!(recovered(&written, &disk), Err(RecoveryError::Missing { lsn: Lsn::ZERO, .. })));
    written.superblock.durable = Lsn::ZERO;
    assert!(recovered(&written, &disk).is_ok());
}

#[test]
fn another_logs_segment_is_refused() {
    let written = write(2, 0, 100);
    let mut other = written.superblock;
    other.cluster = ClusterId([8; 16]);
    let segments = || written.disk.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
    assert!(matches!(recover(&other, segments(), &mut |_| {}), Err(RecoveryError::Foreign { .. })));
    other = written.superblock;
    other.partition = PartitionId::new(9);
    assert!(matches!(recover(&other, segments(), &mut |_| {}), Err(RecoveryError::Foreign { .. })));
}

#[test]
fn a_tail_that_was_cut_never_comes_back() {
    // A record is lost and the ones behind it are whole; the log goes on, record for record in the same places.
    let written = write(1, 3, 100);
    let lost = *written.pieces.iter().find(|piece| piece.lsn() >= written.durable).unwrap();
    let mut disk = written.disk.clone();
    lost.apply(Fate::Lost, &mut disk);
    let (found, _) = recovered(&written, &disk).unwrap();
    let cut = found.cut().unwrap();
    assert_eq!((cut.end, cut.whole_records, cut.cause), (lost.lsn(), 2, RecordError::Header(HeaderError::Blank)));
    let mut driver = Driver::open(written.superblock, disk, 2_000).unwrap();
    let first = written.values[0].1.clone();
    assert_eq!(driver.get("key"), Some(first.clone()));
    driver.put("other", "new");
    driver.flush();
    let driver = driver.reopen();
    assert_eq!(driver.get("key"), Some(first));
    assert_eq!(driver.get("other").as_deref(), Some("new"));
}

#[test]
fn a_prepared_segment_of_another_size_is_replaced() {
    let written = write(1, 0, 100);
    let mut disk = written.disk.clone();
    let next = *disk.keys().next_back().unwrap();
    disk.insert(next, std::vec![0; 8192]);
    let (mut found, _) = recovered(&written, &disk).unwrap();
    assert_eq!(found.repair(4096), Repair { flush: Vec::new(), aside: Vec::new(), remove: std::vec![next] });
}

/// A power cut can take the name of the first segment and leave that of the second, which was prepared after it.
#[test]
fn a_log_starts_where_its_superblock_says_whatever_segments_there_are() {
    let len = 4096;
    let superblock = Driver::create().superblock;
    for base in [4096, 8192] {
        let segments = alloc::vec![(Lsn::new(base), VecMemory::zeroed(len))];
        let mut recovered = recover(&Superblock { durable: Lsn::ZERO, ..superblock }, segments, &mut |_| {}).unwrap();
        assert_eq!(recovered.end(), Lsn::ZERO, "nothing was ever written");
        let repair = recovered.repair(len as u64);
        assert_eq!(repair.remove, [Lsn::new(base)], "what does not continue the log is in its way");
        let segments = alloc::vec![(Lsn::new(base), VecMemory::zeroed(len))];
        let lost = recover(&Superblock { durable: Lsn::new(300), ..superblock }, segments, &mut |_| {});
        assert!(matches!(lost, Err(RecoveryError::Missing { .. })), "something was flushed, and is not there");
    }
}

/// A client writes a value that looks like records that know of a flush, from the place on where they will stand.
fn value_that_looks_like_records(partition: &Partition<VecMemory>, key: &str, guess: LogKey) -> Vec<u8> {
    let value_at = partition.appended().plus((RECORD_HEADER_LEN + key.len()) as u64);
    let first = value_at.get().next_multiple_of(RECORD_ALIGN as u64);
    let mut value = std::vec![0; usize::try_from(first - value_at.get()).unwrap()];
    let body = [0x5A; 16];
    for (kind, body) in [(RecordKind::Epoch, &[][..]), (RecordKind::Pad, &[]), (RecordKind::Batch, &body)] {
        let lsn = value_at.plus(value.len() as u64);
        let header = RecordHeader {
            body_crc: guess.body_sum(body),
            prev: Chain::new(0),
            body_len: u32::try_from(body.len()).unwrap(),
            lsn,
            durable: lsn,
            time: UnixMillis::MAX,
            epoch: Epoch::new(u32::MAX),
            partition: PartitionId::new(0),
            kind,
        };
        value.extend(header.encode(guess).0);
        value.extend(body);
    }
    value
}

/// What the next start makes of a log whose last record holds such a value and lost its header in a power cut.
fn start_after_forgery(log_key: LogKey, guess: LogKey) -> Result<(), RecoveryError> {
    let superblock = Superblock { log_key, ..blank_superblock() };
    let mut driver = Driver::open(superblock, BTreeMap::new(), 1_000).unwrap();
    driver.put("mine", "flushed");
    driver.flush();
    let value = value_that_looks_like_records(&driver.partition, "key", guess);
    let (hash, now) = (driver.partition.hash(b"key"), driver.now());
    let change = Change::Put { value: &value, expires_at: None };
    let appended = driver.partition.append(now, &mut [Op { hash, key: b"key", change }]).unwrap();
    let mut bytes = driver.partition.segment(Lsn::ZERO).unwrap().bytes().to_vec();
    let torn = usize::try_from(appended.lsn.get()).unwrap();
    bytes[torn..torn + RECORD_HEADER_LEN].fill(0);
    driver.disk.insert(Lsn::ZERO, bytes);
    let written = driver.superblock;
    let mut driver = Driver::open(written, driver.disk, 2_000)?;
    assert_eq!(driver.get("mine").as_deref(), Some("flushed"));
    driver.put("mine", "after");
    driver.flush();
    assert_eq!(driver.reopen().get("mine").as_deref(), Some("after"));
    Ok(())
}

#[test]
fn what_clients_write_bears_no_witness() {
    // Whoever knew the key could do it, or the test would show nothing.
    let key = blank_superblock().log_key;
    assert!(matches!(start_after_forgery(key, key), Err(RecoveryError::Corrupt { .. })));
    let mut guesses = std::vec![LogKey::default()];
    // Nor does half a key do.
    let ([h0, h1, h2, h3, b0, b1, b2, b3], other) = (key.to_bytes(), 0x33);
    guesses.push(LogKey::new([h0, h1, h2, h3, other, b1, b2, b3]));
    guesses.push(LogKey::new([other, h1, h2, h3, b0, b1, b2, b3]));
    for guess in guesses {
        start_after_forgery(key, guess).unwrap_or_else(|error| panic!("{:?}: {error}", guess.to_bytes()));
    }
}

#[test]
fn a_segment_with_another_key_is_refused() {
    let written = write(6, 0, 1_100);
    let mut disk = written.disk.clone();
    let other = Superblock { log_key: LogKey::new([7; 8]), ..written.superblock };
    assert!(matches!(
        recovered(&Written { superblock: other, ..write(6, 0, 1_100) }, &disk),
        Err(RecoveryError::ForeignKey { base: Lsn::ZERO })
    ));
    // A replica goes by what its first segment says, and by that only.
    let replica = Superblock { own_epoch: Superblock::OTHERS_ONLY, ..other };
    let (found, _) = recovered(&Written { superblock: replica, ..write(6, 0, 1_100) }, &disk).unwrap();
    assert_eq!((found.log_key(), found.end()), (written.superblock.log_key, written.durable));
    let second = *disk.keys().nth(1).unwrap();
    let bytes = disk.get_mut(&second).unwrap();
    let header = SegmentHeader { log_key: LogKey::new([7; 8]), ..SegmentHeader::decode(bytes).unwrap() };
    bytes[..SEGMENT_HEADER_LEN].copy_from_slice(&header.encode());
    for superblock in [written.superblock, replica] {
        let mixed = Written { superblock, ..write(6, 0, 1_100) };
        assert!(matches!(recovered(&mixed, &disk), Err(RecoveryError::ForeignKey { base }) if base == second));
    }
}
