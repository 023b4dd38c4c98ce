//! What leaves, when, and in which order.

use super::*;

const P0: PartitionId = PartitionId::new(0);
const P1: PartitionId = PartitionId::new(1);

struct Rig {
    output: Output,
    pool: Pool,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self { output: Output::default(), pool: Pool::default(), now: Instant::now() }
    }

    fn reply(&mut self, text: &str, wait: Wait) {
        let buffer = self.output.begin(&mut self.pool, self.now);
        let start = buffer.len();
        buffer.extend_from_slice(text.as_bytes());
        self.output.finish(start, wait, &mut self.pool, self.now);
    }

    fn release(&mut self, committed: [u64; 2]) -> String {
        let mut parts = Vec::new();
        let lsn = |partition: PartitionId| Lsn::new(committed[usize::from(partition.get())]);
        let released = self.output.release(&mut self.pool, &mut parts, lsn, |_, _, _| {});
        assert_eq!(released.bytes, parts.concat().len());
        String::from_utf8(parts.concat()).unwrap()
    }
}

fn commit(partition: PartitionId, end: u64, submitted: u64) -> Wait {
    Wait::Commit { partition, end: Lsn::new(end), submitted: Lsn::new(submitted) }
}

#[test]
fn nothing_overtakes() {
    let mut rig = Rig::new();
    rig.reply("a", Wait::Ready);
    rig.reply("b", commit(P0, 10, 0));
    rig.reply("c", Wait::Ready);
    rig.reply("d", commit(P1, 7, 0));
    rig.reply("e", Wait::Ready);
    assert_eq!((rig.output.len(), rig.output.replies()), (5, 5));
    assert_eq!(rig.release([0, 9]), "a");
    assert_eq!(rig.release([9, 9]), "");
    assert_eq!(rig.release([10, 6]), "bc");
    assert_eq!(rig.release([10, 7]), "de");
    assert!(rig.output.is_empty());
    assert_eq!((rig.output.len(), rig.output.replies()), (0, 0));
}

#[test]
fn replies_behind_one_flush_share_a_chunk() {
    let mut rig = Rig::new();
    for end in [11, 12, 13] {
        rig.reply("x", commit(P0, end, 10));
    }
    assert_eq!(rig.output.chunks.len(), 1);
    assert_eq!(rig.release([12, 0]), "");
    assert_eq!(rig.release([13, 0]), "xxx");
}

#[test]
fn a_reply_that_waits_for_the_flush_in_flight_is_not_held_by_the_next() {
    let mut rig = Rig::new();
    rig.reply("read", commit(P0, 10, 10));
    rig.reply("write", commit(P0, 11, 10));
    assert_eq!(rig.release([10, 0]), "read");
    assert_eq!(rig.release([11, 0]), "write");
}

#[test]
fn a_flush_that_started_meanwhile_closes_the_chunk() {
    let mut rig = Rig::new();
    rig.reply("a", commit(P0, 20, 10));
    rig.reply("b", commit(P0, 30, 25));
    assert_eq!(rig.release([25, 0]), "a");
}

#[test]
fn replies_from_elsewhere_keep_their_place() {
    let mut rig = Rig::new();
    let first = rig.output.expect(rig.now);
    rig.reply("b", Wait::Ready);
    let third = rig.output.expect(rig.now);
    rig.output.fulfil(third, b"c".to_vec(), commit(P1, 5, 0));
    assert_eq!(rig.release([0, 0]), "");
    rig.output.fulfil(first, b"a".to_vec(), Wait::Ready);
    assert_eq!(rig.release([0, 0]), "ab");
    assert_eq!(rig.release([0, 5]), "c");
    let later = rig.output.expect(rig.now);
    rig.output.fulfil(later, b"d".to_vec(), Wait::Ready);
    assert_eq!(rig.release([0, 0]), "d");
}

#[test]
fn replies_without_bytes_leave_no_empty_sends() {
    let mut rig = Rig::new();
    rig.reply("", Wait::Ready);
    let mut parts = Vec::new();
    let released = rig.output.release(&mut rig.pool, &mut parts, |_| Lsn::ZERO, |_, _, _| {});
    assert_eq!((released.replies, parts.len()), (1, 0));
}

#[test]
fn one_send_takes_a_bounded_number_of_parts() {
    let mut rig = Rig::new();
    let long = "x".repeat(CHUNK_LEN);
    for _ in 0..PARTS_MAX + 3 {
        rig.reply(&long, Wait::Ready);
    }
    assert_eq!(rig.release([0, 0]).len(), PARTS_MAX * CHUNK_LEN);
    assert_eq!(rig.release([0, 0]).len(), 3 * CHUNK_LEN);
}
