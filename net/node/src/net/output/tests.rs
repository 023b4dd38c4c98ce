//! What leaves, when, and in which order.

use windrow_core::log::SegmentMemory;

use super::*;

const P0: PartitionId = PartitionId::new(0);
const P1: PartitionId = PartitionId::new(1);
const ELSEWHERE_LEN: usize = 1 << 20;

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
        let bytes: Vec<u8> = parts.iter().flat_map(Part::bytes).copied().collect();
        assert_eq!(released.bytes, bytes.len());
        String::from_utf8(bytes).unwrap()
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
    rig.output.fulfil(third, b"c".to_vec(), None, commit(P1, 5, 0), ELSEWHERE_LEN);
    assert_eq!(rig.release([0, 0]), "");
    rig.output.fulfil(first, b"a".to_vec(), None, Wait::Ready, ELSEWHERE_LEN);
    assert_eq!(rig.release([0, 0]), "ab");
    assert_eq!(rig.release([0, 5]), "c");
    let later = rig.output.expect(rig.now);
    rig.output.fulfil(later, b"d".to_vec(), None, Wait::Ready, ELSEWHERE_LEN);
    assert_eq!(rig.release([0, 0]), "d");
}

/// How many replies may be missing after one that came with so many bytes.
fn room_after(rig: &mut Rig, lens: &[usize]) -> usize {
    for &len in lens {
        let ticket = rig.output.expect(rig.now);
        rig.output.fulfil(ticket, vec![b'x'; len], None, Wait::Ready, ELSEWHERE_LEN);
    }
    let before = rig.output.missing;
    while rig.output.has_room(Width::Narrow) {
        rig.output.expect(rig.now);
    }
    let room = rig.output.missing - before;
    rig.output = Output { missing_max: rig.output.missing_max, ..Output::default() };
    room
}

#[test]
fn as_many_replies_are_expected_as_the_length_of_the_last_one_allows() {
    let mut rig = Rig::new();
    assert_eq!(room_after(&mut rig, &[]), 2, "nobody knows yet how long they are");
    assert_eq!(room_after(&mut rig, &[5]), 4);
    assert_eq!(room_after(&mut rig, &[0, 5]), 16);
    assert_eq!(room_after(&mut rig, &[5; 9]), ELSEWHERE_MAX);
    assert_eq!(room_after(&mut rig, &[ELSEWHERE_LEN / 20]), 20);
    assert_eq!(room_after(&mut rig, &[2 * ELSEWHERE_LEN]), 1, "who waits for one goes on");
    assert_eq!(room_after(&mut rig, &[5]), 2);

    assert_eq!(room_after(&mut rig, &[5; 9]), ELSEWHERE_MAX);
    for _ in 0..WIDE_ELSEWHERE_MAX {
        assert!(rig.output.has_room(Width::Any));
        rig.output.expect(rig.now);
    }
    assert!(!rig.output.has_room(Width::Any) && rig.output.has_room(Width::Narrow));
}

#[test]
fn what_lies_in_the_log_takes_no_memory() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new();
    let (first, second) = (rig.output.expect(rig.now), rig.output.expect(rig.now));
    let value = |range: std::ops::Range<usize>| {
        let own = tempfile::tempdir_in(dir.path()).unwrap();
        Some(mapped(&own, "a value in the log", range))
    };
    rig.output.fulfil(first, b"$5\r\n".to_vec(), value(2..7), Wait::Ready, ELSEWHERE_LEN);
    assert_eq!((rig.output.len(), rig.output.len_in_memory()), (11, 6));
    rig.output.fulfil(second, b"$1\r\n".to_vec(), value(0..1), commit(P0, 10, 0), ELSEWHERE_LEN);
    assert_eq!((rig.output.len(), rig.output.len_in_memory()), (18, 12));
    assert_eq!(rig.release([9, 0]), "$5\r\nvalue\r\n");
    assert_eq!((rig.output.len(), rig.output.len_in_memory()), (7, 6));
    assert!(rig.output.fail(P0, Lsn::new(9), b"-ERR gone\r\n"));
    assert_eq!(rig.release([9, 0]), "-ERR gone\r\n");
    assert_eq!((rig.output.len(), rig.output.len_in_memory()), (0, 0));
}

#[test]
fn replies_without_bytes_leave_no_empty_sends() {
    let mut rig = Rig::new();
    rig.reply("", Wait::Ready);
    let mut parts = Vec::new();
    let released = rig.output.release(&mut rig.pool, &mut parts, |_| Lsn::ZERO, |_, _, _| {});
    assert_eq!((released.replies, parts.len()), (1, 0));
}

/// A segment whose published bytes are `text`, and a part of it.
fn mapped(dir: &tempfile::TempDir, text: &str, range: std::ops::Range<usize>) -> Mapped {
    let mut segment =
        windrow_store::create_segment(dir.path(), Lsn::ZERO, 1 << 20, windrow_store::FillMode::Write64K).unwrap();
    segment.write(0..text.len()).copy_from_slice(text.as_bytes());
    segment.publish(text.len());
    Mapped::new(segment.share(), range)
}

#[test]
fn a_value_of_the_log_stands_between_its_neighbours_and_counts() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new();
    rig.reply("before ", Wait::Ready);
    let value = mapped(&dir, "a value in the log", 2..7);
    let buffer = rig.output.begin(&mut rig.pool, rig.now);
    let start = buffer.len();
    buffer.extend_from_slice(b"$5\r\n");
    rig.output.finish_with(start, value, commit(P0, 10, 0), &mut rig.pool, rig.now);
    rig.reply("after", Wait::Ready);
    assert_eq!((rig.output.len(), rig.output.replies()), ("before $5\r\nvalue\r\nafter".len(), 3));
    assert_eq!(rig.release([9, 0]), "before ");
    assert_eq!(rig.release([10, 0]), "$5\r\nvalue\r\nafter");
    assert_eq!((rig.output.len(), rig.output.replies()), (0, 0));
}

#[test]
fn values_of_the_log_leave_in_as_many_sends_as_they_need() {
    let mut rig = Rig::new();
    let mut expected = String::new();
    for number in 0..20 {
        let other = tempfile::tempdir().unwrap();
        let text = format!("value {number}");
        let value = mapped(&other, &text, 0..text.len());
        let start = rig.output.begin(&mut rig.pool, rig.now).len();
        rig.output.finish_with(start, value, Wait::Ready, &mut rig.pool, rig.now);
        expected += &text;
        expected += "\r\n";
    }
    let mut sent = String::new();
    while !rig.output.is_empty() {
        let part = rig.release([0, 0]);
        assert!(!part.is_empty(), "nothing goes out any more");
        sent += &part;
    }
    assert_eq!(sent, expected);
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

#[test]
fn what_can_no_longer_be_committed_becomes_an_error_and_nothing_else_does() {
    let mut rig = Rig::new();
    rig.reply("sure", commit(P0, 10, 0));
    rig.reply("other", commit(P1, 20, 0));
    rig.reply("lost", commit(P0, 30, 20));
    rig.reply("lost too", commit(P0, 31, 20));
    rig.reply("", Wait::Ready);
    rig.reply("behind", commit(P0, 40, 35));
    assert!(rig.output.fail(P0, Lsn::new(10), b"-no\r\n"));
    assert!(!rig.output.fail(P0, Lsn::new(10), b"-no\r\n"), "once is enough");
    assert_eq!(rig.release([10, 0]), "sure");
    assert_eq!(rig.release([10, 20]), "other-no\r\n-no\r\n-no\r\n");
    assert_eq!((rig.output.len(), rig.output.replies()), (0, 0));
}
