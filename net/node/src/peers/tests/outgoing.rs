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

    fn next(&self, outgoing: &mut Outgoing, len_max: usize) -> Batch {
        outgoing.next_batch(len_max, false, |partition, range| self.piece(partition, range), || panic!("dropped"))
    }

    /// What all that waits becomes, in batches of at most this length.
    fn drain(&self, outgoing: &mut Outgoing, len_max: usize) -> String {
        let mut text = String::new();
        loop {
            let batch = self.next(outgoing, len_max);
            if batch.is_empty() {
                assert_eq!((outgoing.is_empty(), outgoing.len()), (true, 0));
                return text;
            }
            text += &said(&batch);
            text += "| ";
        }
    }
}

/// What a batch says: messages by name, ranges by position.
fn said(batch: &Batch) -> String {
    let mut text = String::new();
    for part in &batch.parts {
        let Part::Bytes(frames) = part else { continue };
        let mut frames = &frames[..];
        while let Some((frame, len)) = decode(frames, Phase::Open).unwrap() {
            frames = &frames[len..];
            let Frame::Message { partition, message } = frame else { panic!() };
            text += &match message.body {
                Body::Bytes { from, to, .. } => format!("{partition}:{from}-{to} "),
                Body::Ack(_) => format!("{partition}:ack "),
                Body::Heartbeat(heartbeat) => format!("{partition}:sent-{} ", heartbeat.sent),
                _ => format!("{partition}:resume "),
            };
        }
    }
    text
}

fn heartbeat(sent: u64) -> Message {
    message(Body::Heartbeat(Heartbeat {
        cluster: windrow_core::types::ClusterId([1; 16]),
        partition: PARTITION,
        committed: Lsn::ZERO,
        sent: Lsn::new(sent),
        at: windrow_core::replication::Moment::new(1),
    }))
}

const ALL: usize = 8 << 20;

#[test]
fn messages_go_before_ranges_and_ranges_are_joined() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_message(PARTITION, &resume());
    assert!(outgoing.push_range(PARTITION, range(0, 16)));
    outgoing.push_message(PARTITION, &ack());
    assert!(outgoing.push_range(OTHER, range(64, 80)));
    assert!(outgoing.push_range(PARTITION, range(16, 48)), "joined");
    assert!(!outgoing.push_range(PARTITION, range(64, 80)), "it leaves a gap");
    outgoing.push_message(OTHER, &ack());
    assert!(outgoing.push_range(OTHER, range(80, 96)));
    assert_eq!(log.drain(&mut outgoing, ALL), "1:resume 1:ack 2:ack 1:0-48 2:64-96 | ");
}

#[test]
fn a_heartbeat_that_goes_before_a_range_says_that_less_was_sent() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    assert!(outgoing.push_message(PARTITION, &heartbeat(0)), "nothing is being sent");
    assert!(outgoing.push_message(PARTITION, &heartbeat(16)), "nothing waits");
    outgoing.push_range(PARTITION, range(16, 1 << 20));
    outgoing.push_range(OTHER, range(8, 16));
    assert!(outgoing.push_message(PARTITION, &heartbeat(1 << 20)));
    assert_eq!(said(&log.next(&mut outgoing, 64)), "1:sent-0 1:sent-16 1:sent-16 1:16-80 ");
    assert!(outgoing.push_message(PARTITION, &heartbeat(1 << 20)));
    assert_eq!(said(&log.next(&mut outgoing, 64)), "1:sent-80 2:8-16 1:80-136 ", "they take turns");
}

#[test]
fn a_heartbeat_never_says_of_a_log_that_begins_that_nothing_is_sent() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 1 << 20));
    assert!(!outgoing.push_message(PARTITION, &heartbeat(1 << 20)), "the follower would take it for a new beginning");
    assert_eq!(said(&log.next(&mut outgoing, 64)), "1:0-64 ");
    assert!(outgoing.push_message(PARTITION, &heartbeat(1 << 20)));
    assert_eq!(said(&log.next(&mut outgoing, 64)), "1:sent-64 1:64-128 ");
}

#[test]
fn what_is_to_go_on_elsewhere_does_not_go_on_here() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(64, 128));
    outgoing.push_range(OTHER, range(64, 128));
    outgoing.push_message(PARTITION, &resume());
    outgoing.push_range(PARTITION, range(32, 48));
    assert_eq!(log.drain(&mut outgoing, ALL), "1:resume 2:64-128 1:32-48 | ");
}

#[test]
fn what_is_being_read_from_disk_delays_no_message() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(16, 64));
    let cold = log.next(&mut outgoing, ALL);
    outgoing.put_aside(Batch { may_be_cold: true, ..cold });
    outgoing.push_range(PARTITION, range(64, 128));
    assert!(outgoing.push_message(PARTITION, &heartbeat(128)));
    let mut while_reading =
        || said(&outgoing.next_batch(ALL, true, |partition, range| log.piece(partition, range), || panic!("dropped")));
    assert_eq!(while_reading(), "1:sent-16 ");
    assert_eq!(while_reading(), "");
    assert!(outgoing.push_message(PARTITION, &ack()));
    assert_eq!(log.drain(&mut outgoing, ALL), "1:ack | 1:16-64 | 1:64-128 | ");
    // It is not sent where it is not to go on.
    outgoing.push_range(PARTITION, range(16, 64));
    let cold = log.next(&mut outgoing, ALL);
    outgoing.put_aside(cold);
    outgoing.push_message(PARTITION, &resume());
    assert_eq!(log.drain(&mut outgoing, ALL), "1:resume | ");
}

#[test]
fn another_epochs_range_takes_the_place_of_the_old() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 16));
    outgoing.push_range(PARTITION, Range { epoch: Epoch::new(2), ..range(32, 48) });
    assert_eq!(log.drain(&mut outgoing, ALL), "1:32-48 | ");
}

#[test]
fn large_ranges_are_cut_and_a_range_that_is_being_sent_is_still_joined() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_range(PARTITION, range(0, 3 << 20));
    let first = log.next(&mut outgoing, 1 << 20);
    assert_eq!((first.ranges, &*said(&first)), (1, "1:0-1048576 "));
    assert!(outgoing.push_range(PARTITION, range(3 << 20, 4 << 20)));
    let rest = "1:1048576-2097152 | 1:2097152-3145728 | 1:3145728-4194304 | ";
    assert_eq!(log.drain(&mut outgoing, 1 << 20), rest);
}

#[test]
fn a_full_queue_takes_no_more() {
    let mut outgoing = Outgoing::default();
    let mut taken = 0;
    while outgoing.push_message(PARTITION, &ack()) {
        taken += 1;
    }
    assert!(taken > 1_000 && outgoing.len() <= QUEUE_LEN_MAX);
}

#[test]
fn bytes_are_counted_where_they_are_of_the_log() {
    let (log, mut outgoing) = (Log::new(), Outgoing::default());
    outgoing.push_message(PARTITION, &ack());
    outgoing.push_range(PARTITION, range(0, 100));
    let mut batch = log.next(&mut outgoing, ALL);
    let head = batch.parts[0].bytes().len();
    assert_eq!(batch.mapped_within(head), 0);
    assert_eq!(batch.mapped_within(head + 10), 10);
    assert_eq!(batch.mapped_within(head + 120), 100);
    batch.advance(head + 10);
    assert_eq!((batch.offset, batch.parts.len(), batch.mapped_within(1_000)), (10, 1, 90));
}
