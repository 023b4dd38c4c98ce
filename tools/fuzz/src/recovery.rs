//! Recovery of a log of which any bytes may be wrong: it ends in a log or in a reason, and a log that it accepts can
//! be read, written and recovered again, and has everything that was durable.
//!
//! The input is a program: what is written, how far it is flushed, what is damaged. Where the first byte is odd, the
//! rest is taken for a segment as it stands.
use crate::node::{CONFIG, Node, SEGMENT_LEN, now, superblock};
use windrow_core::{
    log::VecMemory,
    partition::{Change, Op, RecoveredPartition, ScanCursor},
    superblock::Superblock,
    types::Lsn,
};

type Segments = Vec<(Lsn, Vec<u8>)>;

/// Tries one input.
pub fn recovery(data: &[u8]) {
    match data.split_first() {
        Some((first, segment)) if first % 2 == 1 => {
            let mut bytes = segment.to_vec();
            bytes.resize(usize::try_from(SEGMENT_LEN).expect("it is small"), 0);
            recover(superblock(), vec![(Lsn::ZERO, bytes)]);
        }
        Some((_, program)) => run(program),
        None => {}
    }
}

fn run(program: &[u8]) {
    let mut node = Node::new(CONFIG);
    let mut damages = Vec::new();
    for step in program.chunks_exact(4) {
        match step[0] % 8 {
            0..=3 => write(&mut node, step),
            4 => node.flush(),
            5 => {
                node.flush();
                node.partition.want_superblock();
                node.act();
            }
            _ => damages.push((usize::from(u16::from_le_bytes([step[1], step[2]])), step[3])),
        }
    }
    let mut segments: Segments = Vec::new();
    for base in node.bases.keys() {
        let zeros = vec![0; usize::try_from(SEGMENT_LEN).expect("it is small")];
        segments.push((*base, node.partition.segment(*base).map_or(zeros, |memory| memory.bytes().to_vec())));
    }
    let total = segments.len() * segments[0].1.len();
    for (place, change) in damages {
        // The places are spread over the whole log.
        let at = place * 7 % total;
        let (segment, offset) = (at / segments[0].1.len(), at % segments[0].1.len());
        segments[segment].1[offset] ^= change;
    }
    recover(node.superblock, segments);
}

pub(crate) fn write(node: &mut Node, step: &[u8]) {
    let keys = [[step[1] % 16], [step[2] % 16 + 16]];
    let value = vec![step[3]; usize::from(step[2]) * 4];
    let mut ops: Vec<Op<'_>> = keys
        .iter()
        .map(|key| Op {
            hash: node.partition.hash(key),
            key,
            change: if step[3].is_multiple_of(4) {
                Change::Delete
            } else {
                Change::Put { value: &value, expires_at: None }
            },
        })
        .collect();
    let count = 1 + usize::from(step[0] % 2);
    node.act();
    // One that does not fit is refused, which is an answer.
    let _ = node.partition.append(now(), &mut ops[..count]);
}

fn recover(superblock: Superblock, segments: Segments) {
    let memory = |segments: &Segments| {
        segments.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect::<Vec<_>>()
    };
    let Ok(mut recovered) = RecoveredPartition::new(superblock, CONFIG, memory(&segments)) else { return };
    assert!(recovered.end() >= superblock.durable, "what was durable is there, or the log is refused");
    recovered.repair();
    if recovered.next_superblock().is_none() {
        return;
    }
    let end = recovered.end();
    let mut node = Node::open(recovered);
    let mut cursor = Some(ScanCursor::START);
    while let Some(from) = cursor {
        cursor = node.partition.scan(from, 100, now(), &mut |entry| assert!(entry.lsn < end)).next;
    }
    write(&mut node, &[0, 1, 2, 3]);
    node.flush();
    for record in node.partition.records(Lsn::ZERO).expect("a log has a start") {
        record.expect("what recovery accepted can be read");
    }
}
