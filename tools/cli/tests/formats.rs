//! `docs/formats.md` against the code: every documented field stands where the table says, and nothing else does.

use std::collections::BTreeMap;

use windrow_core::codec::{Chain, OP_LEN, RecordHeader, RecordKind, SegmentFooter, SegmentHeader, batch_len};
use windrow_core::partition::{Change, Op};
use windrow_core::replication::{Position, ReplicaId};
use windrow_core::superblock::{FORMAT_VERSION, SLOT_LEN, SUPERBLOCK_LEN, Superblock};
use windrow_core::types::limits::{RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN, SEGMENT_LEN_MIN};
use windrow_core::types::{ClusterId, Epoch, HashSeed, LogKey, Lsn, PartitionId, UnixMillis};
use windrow_store::{
    BuildMode, CONTROL_LEN, CONTROL_VERSION, DataDir, FillMode, NewDataDir, OpenConfig, Progress, open_partition,
};

const MANUAL: &str = include_str!("../../../docs/formats.md");
const CLUSTER: ClusterId = ClusterId(*b"0123456789abcdef");
const KEY: LogKey = LogKey::new(*b"kKeEyY!?");

/// A field of a table: where it stands.
#[derive(Clone, Copy)]
struct Place {
    offset: usize,
    len: usize,
}

/// The fields of the first table behind `heading`; checks that they follow each other without a gap.
fn table(heading: &str) -> (BTreeMap<&'static str, Place>, usize) {
    let (_, text) = MANUAL.split_once(heading).unwrap_or_else(|| panic!("no `{heading}`"));
    let rows =
        text.lines().skip_while(|line| !line.starts_with("| offset")).skip(2).take_while(|line| line.starts_with('|'));
    let mut fields = BTreeMap::new();
    let mut next = 0;
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let (offset, len): (usize, usize) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
        assert_eq!(offset, next, "{heading}: {row}");
        next = offset + len;
        if cells[3] != "zero" {
            assert!(fields.insert(cells[3], Place { offset, len }).is_none(), "{heading}: {row}");
        }
    }
    (fields, next)
}

/// Compares `bytes` with a table: the fields named have the values given, all others are zero.
fn compare(heading: &str, bytes: &[u8], values: &[(&str, u64)], others: &[(&str, &[u8])]) {
    let (mut fields, len) = table(heading);
    assert_eq!(len, bytes.len(), "{heading}: the length");
    let mut expected = vec![0; len];
    for (name, value) in values {
        let place = fields.remove(name).unwrap_or_else(|| panic!("{heading}: no field {name}"));
        expected[place.offset..place.offset + place.len].copy_from_slice(&value.to_le_bytes()[..place.len]);
    }
    for (name, value) in others {
        let place = fields.remove(name).unwrap_or_else(|| panic!("{heading}: no field {name}"));
        expected[place.offset..place.offset + place.len].copy_from_slice(value);
    }
    assert!(fields.is_empty(), "{heading}: {:?} not compared", fields.keys());
    assert_eq!(bytes, expected, "{heading}");
}

/// CRC of bytes 0 to 7 and of all from 12 on.
fn checksum(bytes: &[u8]) -> u64 {
    u64::from(crc([&bytes[..8], &bytes[12..]].concat().as_slice()))
}

/// CRC-32, IEEE 802.3, bit by bit: not the implementation that is being tested.
fn crc(bytes: &[u8]) -> u32 {
    keyed_crc([0; 4], bytes)
}

/// The same, going on from a key.
fn keyed_crc(key: [u8; 4], bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!u32::from_le_bytes(key), |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn segment_headers_are_as_documented() {
    let header = SegmentHeader {
        cluster: CLUSTER,
        partition: PartitionId::new(0x0102),
        epoch: Epoch::new(0x0304_0506),
        base: Lsn::new(0x0708_090A_0B0C_0D0E),
        len: SEGMENT_LEN_MIN,
        chain: Chain::new(0x0F10_1112),
        durable: Lsn::new(0x1314_1516_1718_191A),
        log_key: KEY,
    };
    let bytes = header.encode();
    assert_eq!(bytes.len(), SEGMENT_HEADER_LEN);
    let values = [
        ("checksum", checksum(&bytes)),
        ("version", u64::from(FORMAT_VERSION)),
        ("partition", 0x0102),
        ("epoch", 0x0304_0506),
        ("base", 0x0708_090A_0B0C_0D0E),
        ("len", SEGMENT_LEN_MIN),
        ("chain", 0x0F10_1112),
        ("durable", 0x1314_1516_1718_191A),
    ];
    let others: [(&str, &[u8]); 3] = [("magic", b"WINDROWL"), ("cluster", &CLUSTER.0), ("log_key", &KEY.to_bytes())];
    compare("### Segment header", &bytes, &values, &others);
}

#[test]
fn segment_footers_are_as_documented() {
    let footer = SegmentFooter {
        base: Lsn::new(0x0102_0304_0506_0708),
        records_end: 0x090A_0B0C_0D0E_0F10,
        record_count: 0x1112_1314_1516_1718,
        chain: Chain::new(0x191A_1B1C),
    };
    let bytes = footer.encode();
    assert_eq!(bytes.len(), SEGMENT_FOOTER_LEN);
    let values = [
        ("checksum", checksum(&bytes)),
        ("version", u64::from(FORMAT_VERSION)),
        ("base", 0x0102_0304_0506_0708),
        ("records_end", 0x090A_0B0C_0D0E_0F10),
        ("record_count", 0x1112_1314_1516_1718),
        ("chain", 0x191A_1B1C),
    ];
    compare("### Segment footer", &bytes, &values, &[("magic", b"WINDROWF")]);
}

#[test]
fn record_headers_are_as_documented() {
    for (kind, number) in [(RecordKind::Batch, 1), (RecordKind::Pad, 2), (RecordKind::Epoch, 3)] {
        let header = RecordHeader {
            body_crc: 0x0102_0304,
            prev: Chain::new(0x0506_0708),
            body_len: 0x090A_0B0C,
            lsn: Lsn::new(0x0D0E_0F10_1112_1314),
            durable: Lsn::new(0x1516_1718_191A_1B1C),
            time: UnixMillis::new(0x1D1E_1F20_2122).unwrap(),
            epoch: Epoch::new(0x2324_2526),
            partition: PartitionId::new(0x2728),
            kind,
        };
        let (bytes, chain) = header.encode(KEY);
        assert_eq!(bytes.len(), RECORD_HEADER_LEN);
        assert_eq!(chain.get(), keyed_crc(*b"kKeE", &bytes[4..]), "the chain value is the header's checksum");
        let values = [
            ("header_crc", u64::from(chain.get())),
            ("body_crc", 0x0102_0304),
            ("prev", 0x0506_0708),
            ("body_len", 0x090A_0B0C),
            ("lsn", 0x0D0E_0F10_1112_1314),
            ("durable", 0x1516_1718_191A_1B1C),
            ("time", 0x1D1E_1F20_2122),
            ("epoch", 0x2324_2526),
            ("partition", 0x2728),
            ("kind", number),
            ("flags", 0),
        ];
        compare("## Record", &bytes, &values, &[]);
    }
    let origin = crc(&[&CLUSTER.0[..], &0x0102_u16.to_le_bytes()].concat());
    assert_eq!(Chain::origin(CLUSTER, PartitionId::new(0x0102)).get(), origin);
}

#[test]
fn superblocks_are_as_documented() {
    let superblock = Superblock {
        generation: 0x0102_0304_0506_0708,
        cluster: CLUSTER,
        partition: PartitionId::new(0x090A),
        partition_count: 0x0B0C,
        epoch: Epoch::new(0x0D0E_0F10),
        promised: Epoch::new(0x1112_1314),
        own_epoch: Epoch::new(0x1D1E_1F20),
        replica: ReplicaId::new(0x2122_2324_2526_2728),
        floor: Some(Position { epoch: Epoch::new(0x292A_2B2C), lsn: Lsn::new(0x2D2E_2F30_3132_3334) }),
        start: Lsn::new(0x3536_3738_393A_3B3C),
        start_chain: Chain::new(0x3D3E_3F40),
        cut: Some(Lsn::new(0x4142_4344_4546_4748)),
        durable: Lsn::new(0x1516_1718_191A_1B1C),
        committed: Lsn::new(0x494A_4B4C_4D4E_4F50),
        in_set: true,
        keys: 0x5152_5354_5556_5758,
        hash_seed: HashSeed(*b"fedcba9876543210"),
        log_key: KEY,
        features: 0,
    };
    let bytes = superblock.encode();
    assert_eq!((bytes.len(), SLOT_LEN), (SUPERBLOCK_LEN, 4096));
    let values = [
        ("checksum", checksum(&bytes)),
        ("version", u64::from(FORMAT_VERSION)),
        ("generation", 0x0102_0304_0506_0708),
        ("partition", 0x090A),
        ("partition_count", 0x0B0C),
        ("epoch", 0x0D0E_0F10),
        ("promised", 0x1112_1314),
        ("own_epoch", 0x1D1E_1F20),
        ("replica", 0x2122_2324_2526_2728),
        ("floor_epoch", 0x292A_2B2C),
        ("floor_lsn", 0x2D2E_2F30_3132_3334),
        ("start", 0x3536_3738_393A_3B3C),
        ("start_chain", 0x3D3E_3F40),
        ("cut", 0x4142_4344_4546_4748),
        ("durable", 0x1516_1718_191A_1B1C),
        ("features", 0),
        ("committed", 0x494A_4B4C_4D4E_4F50),
        ("in_set", 1),
        ("keys", 0x5152_5354_5556_5758),
    ];
    let others: [(&str, &[u8]); 4] = [
        ("magic", b"WINDROWS"),
        ("cluster", &CLUSTER.0),
        ("hash_seed", b"fedcba9876543210"),
        ("log_key", &KEY.to_bytes()),
    ];
    compare("## superblock", &bytes, &values, &others);
    let uncut = Superblock { cut: None, ..superblock }.encode();
    assert_eq!(uncut[104..112], [0xff; 8]);
    assert_eq!(superblock.slot(), 0);
    assert_eq!(Superblock { generation: 7, ..superblock }.slot(), 1);
}

/// A number of `N` bytes at `at`.
fn number<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let mut wide = [0; 8];
    wide[..N].copy_from_slice(&bytes[at..at + N]);
    u64::from_le_bytes(wide)
}

/// What a relative pointer at `at` points to.
fn target(bytes: &[u8], at: usize, len: usize) -> &[u8] {
    let distance = i32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let start = at.checked_add_signed(distance.try_into().unwrap()).unwrap();
    &bytes[start..start + len]
}

#[test]
fn files_are_as_documented() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("data");
    let new = NewDataDir { cluster: Some(CLUSTER), replica: None, partitions: 1, mode: BuildMode::Embedded };
    let data_dir = DataDir::open_or_create(&dir, &new).unwrap();
    let config = OpenConfig { segment_len: SEGMENT_LEN_MIN, segments_ahead: 1, fill: FillMode::Write4K };
    let now = UnixMillis::new(1_000).unwrap();
    let mut open = open_partition(&data_dir, PartitionId::new(0), &config, now).unwrap();
    let hash = |key: &[u8]| open.partition.hash(key);
    let (first, second) = (hash(b"a"), hash(b"bb"));
    let put = Change::Put { value: b"value", expires_at: UnixMillis::new(9_000) };
    let mut ops = [Op { hash: first, key: b"a", change: put }, Op { hash: second, key: b"bb", change: put }];
    let old = open.partition.append(now, &mut ops).unwrap();
    let mut ops = [Op { hash: first, key: b"a", change: Change::Delete }];
    let appended = open.partition.append(now, &mut ops).unwrap();
    open.control.publish(&Progress { appended: appended.end, epoch: Epoch::new(1), ..Progress::default() });

    let identity = std::fs::read_to_string(dir.join("identity")).unwrap();
    let covered =
        "windrow data directory\nformat 3\ncluster 30313233343536373839616263646566\npartitions 1\nmode embedded\n";
    assert_eq!(identity, format!("{covered}checksum {:08x}\n", crc(covered.as_bytes())));

    let partition = dir.join("partition-0000");
    let control = std::fs::read(partition.join("control")).unwrap();
    let (_, len) = table("## control");
    let values = [
        ("version", u64::from(CONTROL_VERSION)),
        ("partition", 0),
        ("writer_pid", u64::from(std::process::id())),
        ("appended", appended.end.get()),
        ("durable", 0),
        ("committed", 0),
        ("epoch", 1),
        ("life", 1),
        ("committed_at", number::<8>(&control, 96)),
        ("sequence", 1),
        ("waiting", 0),
    ];
    compare("## control", &control[..len], &values, &[("magic", b"WINDROWC")]);
    assert!(number::<8>(&control, 96) > 0, "something was committed");
    let (_, place_len) = table("places for followers");
    let place = &control[len..len + place_len];
    compare("places for followers", place, &[("pid", 0), ("port", 0), ("position", 0)], &[]);
    assert_eq!(control.len(), CONTROL_LEN);

    let segment = std::fs::read(partition.join("00000000000000000000.seg")).unwrap();
    sums_are_as_documented(&segment, old.lsn);
    body_is_as_documented(&segment, old.lsn, appended.lsn);
}

/// The record at `lsn`, whose sums go on from what the segment's header says.
fn sums_are_as_documented(segment: &[u8], lsn: Lsn) {
    let (fields, _) = table("### Segment header");
    let key = &segment[fields["log_key"].offset..][..8];
    let (header, body) = (*key.first_chunk().unwrap(), *key.last_chunk().unwrap());
    let at = usize::try_from(lsn.get()).unwrap();
    let body_len = usize::try_from(number::<4>(segment, at + 12)).unwrap();
    assert_eq!(number::<4>(segment, at), u64::from(keyed_crc(header, &segment[at + 4..at + 48])));
    assert_eq!(number::<4>(segment, at + 4), u64::from(keyed_crc(body, &segment[at + 48..at + 48 + body_len])));
    // The first record starts an epoch and has no body.
    assert_eq!(segment[132..136], body);
}

fn body_is_as_documented(segment: &[u8], batch: Lsn, deletion: Lsn) {
    let start = usize::try_from(batch.get()).unwrap() + RECORD_HEADER_LEN;
    let body_len = usize::try_from(number::<4>(segment, start - RECORD_HEADER_LEN + 12)).unwrap();
    assert_eq!(body_len as u64, batch_len(2, 3 + 10));
    let body = &segment[start..start + body_len];
    let (root, root_len) = table("The root, the last 8 bytes of the body:");
    let (entry, entry_len) = table("An entry, 40 bytes:");
    assert_eq!((root_len, entry_len, body_len % 8), (8, OP_LEN, 0));
    let root_at = body_len - root_len;
    assert_eq!(number::<4>(body, root_at + root["ops_count"].offset), 2);
    let ops_at = target(body, root_at + root["ops_at"].offset, 0).as_ptr().addr() - body.as_ptr().addr();
    assert_eq!(ops_at, root_at - 2 * entry_len, "the entries stand before the root");
    for (index, key) in [b"a".as_slice(), b"bb"].into_iter().enumerate() {
        let at = ops_at + index * entry_len;
        assert_eq!(number::<4>(body, at + entry["key_len"].offset), key.len() as u64);
        assert_eq!(target(body, at + entry["key_at"].offset, key.len()), key);
        assert_eq!(number::<4>(body, at + entry["value_len"].offset), 5);
        assert_eq!(target(body, at + entry["value_at"].offset, 5), b"value");
        assert_eq!(number::<8>(body, at + entry["expires_at"].offset), 9_000);
        assert_eq!(number::<8>(body, at + entry["supersedes"].offset), 0);
        assert_eq!(number::<4>(body, at + entry["kind"].offset), 1);
    }
    let at = usize::try_from(deletion.get()).unwrap() + RECORD_HEADER_LEN + 8;
    assert_eq!(number::<8>(segment, at + entry["supersedes"].offset), batch.get());
    assert_eq!(number::<4>(segment, at + entry["superseded_len"].offset), (1 + 5 + OP_LEN) as u64);
    assert_eq!(number::<4>(segment, at + entry["kind"].offset), 2);
}
