use windrow_core::log::SegmentMemory;
use windrow_core::replication::{Ack, LogEnd};
use windrow_core::types::Epoch;
use windrow_proto::replication::{Frame, Phase, decode};
use windrow_store::{FillMode, MappedSegment, create_segment};

use super::*;
use crate::ring::Mapped;

const PARTITION: PartitionId = PartitionId::new(1);
const OTHER: PartitionId = PartitionId::new(2);

fn message(body: Body) -> Message {
    Message { epoch: Epoch::new(1), body }
}

fn ack() -> Message {
    message(Body::Ack(Ack::default()))
}

fn resume() -> Message {
    message(Body::Resume(LogEnd { lsn: Lsn::ZERO, chain: windrow_core::codec::Chain::new(0) }))
}

fn range(from: u64, upto: u64) -> Range {
    Range { epoch: Epoch::new(1), from: Lsn::new(from), upto: Lsn::new(upto), committed: Lsn::ZERO }
}

struct Log {
    segment: MappedSegment,
    /// Removed with it.
    _dir: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut segment = create_segment(dir.path(), Lsn::ZERO, 8 << 20, FillMode::Write64K).unwrap();
        segment.publish(8 << 20);
        Self { segment, _dir: dir }
    }

    fn piece(&self, _: PartitionId, range: Range) -> Option<Piece> {
        let bounds = [range.from, range.upto].map(|lsn| usize::try_from(lsn.get()).unwrap());
        Some(Piece { bytes: Mapped::new(self.segment.share(), bounds[0]..bounds[1]), may_be_cold: false })
    }

    /// What all that waits becomes: messages by name, ranges by position, `|` between batches.
    fn drain(&self, outgoing: &mut Outgoing) -> String {
        let mut text = String::new();
        loop {
            let batch = outgoing.next_batch(|partition, range| self.piece(partition, range), || panic!("dropped"));
            if batch.is_empty() {
                assert_eq!((outgoing.is_empty(), outgoing.len()), (true, 0));
                return text;
            }
            for part in &batch.parts {
                let Part::Bytes(frames) = part else { continue };
                let mut frames = &frames[..];
                while let Some((frame, len)) = decode(frames, Phase::Open).unwrap() {
                    frames = &frames[len..];
                    let Frame::Message { partition, message } = frame else { panic!() };
                    text += &match message.body {
                        Body::Bytes { from, to, .. } => format!("{partition}:{from}-{to} "),
                        Body::Ack(_) => format!("{partition}:ack "),
                        _ => format!("{partition}:resume "),
                    };
                }
            }
            text += "| ";
        }
    }
}

#[test]
fn ranges_keep_their_place_and_are_joined_over_acknowledgements_only() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_message(PARTITION, &resume());
    assert!(outgoing.push_range(PARTITION, range(0, 16)));
    outgoing.push_message(PARTITION, &ack());
    assert!(outgoing.push_range(OTHER, range(64, 80)));
    outgoing.push_message(OTHER, &resume());
    assert!(outgoing.push_range(PARTITION, range(16, 48)), "joined");
    assert!(outgoing.push_range(OTHER, range(80, 96)), "behind what it was told");
    assert!(outgoing.push_range(PARTITION, range(64, 80)), "it leaves a gap");
    outgoing.push_message(PARTITION, &resume());
    assert!(outgoing.push_range(PARTITION, range(80, 96)));
    let sent = log.drain(&mut outgoing);
    assert_eq!(sent, "1:resume 1:0-48 1:ack 2:64-80 2:resume 2:80-96 1:64-80 1:resume 1:80-96 | ");
}

#[test]
fn another_epochs_range_is_not_joined() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 16));
    outgoing.push_range(PARTITION, Range { epoch: Epoch::new(2), ..range(16, 32) });
    assert_eq!(log.drain(&mut outgoing), "1:0-16 1:16-32 | ");
}

#[test]
fn large_ranges_are_cut_and_go_apart() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 16));
    outgoing.push_message(PARTITION, &resume());
    outgoing.push_range(PARTITION, range(16, 6 << 20));
    outgoing.push_message(PARTITION, &ack());
    assert_eq!(log.drain(&mut outgoing), "1:0-16 1:resume 1:16-4194320 | 1:4194320-6291456 | 1:ack | ");
}

#[test]
fn a_range_that_is_being_sent_is_still_joined() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 5 << 20));
    let first = outgoing.next_batch(|partition, range| log.piece(partition, range), || panic!("dropped"));
    assert_eq!(first.ranges, 1);
    assert!(outgoing.push_range(PARTITION, range(5 << 20, 6 << 20)));
    assert_eq!(log.drain(&mut outgoing), "1:4194304-6291456 | ");
    assert!(outgoing.push_range(PARTITION, range(6 << 20, 7 << 20)), "there is nothing to join it to");
    assert_eq!(log.drain(&mut outgoing), "1:6291456-7340032 | ");
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut outgoing = Outgoing::default();
    let mut taken = 0;
    while outgoing.push_message(PARTITION, &ack()) {
        taken += 1;
    }
    assert!(taken > 1_000 && outgoing.len() <= QUEUE_LEN_MAX);
    let mut position = 0;
    while outgoing.push_range(PARTITION, range(position, position + 16)) {
        position += 32;
    }
    assert!(outgoing.len() <= QUEUE_LEN_MAX);
}

#[test]
fn bytes_are_counted_where_they_are_of_the_log() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 100));
    outgoing.push_message(PARTITION, &ack());
    let mut batch = outgoing.next_batch(|partition, range| log.piece(partition, range), || panic!("dropped"));
    let head = batch.parts[0].bytes().len();
    assert_eq!(batch.mapped_within(head), 0);
    assert_eq!(batch.mapped_within(head + 10), 10);
    assert_eq!(batch.mapped_within(head + 120), 100);
    batch.advance(head + 10);
    assert_eq!((batch.offset, batch.parts.len(), batch.mapped_within(1_000)), (10, 2, 90));
}
