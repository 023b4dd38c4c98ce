//! Ranges of the log from one node to another: the same bytes at the same places, whatever happens on the way.

use std::time::Duration;

use windrow_core::replication::ReplicaId;

use super::super::LargeWay;
use super::super::limits::{INPUT_LEN, LARGE_LEN_MIN};
use super::nodes::{Pair, SEGMENT, Told, promise};

const STEP: Duration = Duration::from_millis(500);

#[test]
fn ranges_of_all_sizes_arrive_byte_for_byte() {
    for large in [LargeWay::SendFile, LargeWay::ZeroCopy, LargeWay::Gathered] {
        let mut pair = Pair::with_large(large);
        let lens = [16, 48, 4_080, INPUT_LEN - 40, INPUT_LEN, LARGE_LEN_MIN - 16, LARGE_LEN_MIN, 200 << 10];
        let lens = lens.into_iter().chain([SEGMENT, SEGMENT - 16, 3 * SEGMENT, (4 << 20) + 16, 9 << 20]);
        for (number, len) in (1..).zip(lens) {
            let from = pair.one.host.end;
            pair.one.host.append(len);
            pair.one.ship(2, from, from + len);
            pair.until(|pair| pair.two.host.end == from + len);
            pair.one.send(2, promise(number));
            let told = Told::Message(promise(number));
            pair.until(|pair| pair.two.host.told.last() == Some(&told));
        }
        assert!(pair.two.host.bytes() == pair.one.host.bytes(), "{large:?}: the logs differ");
        let (sent, received) = (pair.one.transport.counters(), pair.two.transport.counters());
        let zero_copy = sent.sent_zero_copy_bytes.get() + sent.sent_zero_copy_copied_bytes.get();
        let (gathered, file) = (sent.sent_gathered_bytes.get(), sent.sent_file_bytes.get());
        let end = pair.one.host.end as u64;
        assert_eq!(gathered + file + zero_copy, end, "{large:?}");
        match large {
            LargeWay::SendFile => assert!(file > end / 10 * 9, "{file} of {end}"),
            LargeWay::ZeroCopy => assert!(zero_copy > end / 10 * 9, "{zero_copy} of {end}"),
            LargeWay::Gathered => assert_eq!(gathered, end),
        }
        let (direct, copied) = (received.received_direct_bytes.get(), received.received_copied_bytes.get());
        assert_eq!(direct + copied, end);
        assert!(copied <= received.ranges_received.get() * INPUT_LEN as u64, "no more than comes with a message");
        // What comes with a message is copied, and how many messages a range needs depends on the pace.
        assert!(direct > end / 2, "{direct} of {end} straight into the log");
    }
}

#[test]
fn many_small_ranges_are_joined_while_they_wait() {
    let mut pair = Pair::connected();
    pair.one.host.append(1 << 20);
    for from in (0..1 << 20).step_by(64) {
        pair.one.ship(2, from, from + 64);
    }
    pair.until(|pair| pair.two.host.end == 1 << 20);
    assert!(pair.two.host.bytes() == pair.one.host.bytes());
    assert_eq!(pair.one.transport.counters().messages_dropped.get(), 0);
    assert!(pair.one.transport.counters().ranges_sent.get() < 100);
}

#[test]
fn what_the_follower_has_is_thrown_away() {
    let mut pair = Pair::connected();
    pair.one.host.append(3 << 20);
    pair.two.host.append(1_500_000);
    pair.one.ship(2, 0, 3 << 20);
    pair.until(|pair| pair.two.host.end == 3 << 20 && pair.two.host.told.last() == Some(&Told::RangeEnd));
    assert!(pair.two.host.bytes() == pair.one.host.bytes());
    assert_eq!(pair.two.transport.counters().received_discarded_bytes.get(), 1_500_000);
}

#[test]
fn a_reset_in_the_middle_of_a_range_loses_only_its_rest() {
    let mut pair = Pair::connected();
    pair.one.host.append(4 << 20);
    let stops = [1, 100, SEGMENT - 1, SEGMENT, SEGMENT + 1, 3_000_000];
    for (number, stop) in (1..).zip(stops) {
        pair.two.host.room_upto = stop;
        let from = pair.two.host.end;
        pair.one.ship(2, from, 4 << 20);
        pair.until(|pair| pair.two.host.end == stop);
        pair.one.transport.outbox().close(ReplicaId::new(2), super::super::CloseReason::BadPeer);
        pair.one.turn();
        assert_eq!(pair.one.host.count(&Told::Disconnected(ReplicaId::new(2))), number);
        // The other one has no room and does not look, until the new connection takes the place of the old.
        pair.ticks_until(STEP, |pair| pair.is_connected());
        assert_eq!(pair.two.host.count(&Told::Disconnected(ReplicaId::new(1))), number);
        assert_eq!(pair.two.host.end, stop);
    }
    pair.two.host.room_upto = usize::MAX;
    let from = pair.two.host.end;
    pair.one.ship(2, from, 4 << 20);
    pair.until(|pair| pair.two.host.end == 4 << 20);
    assert!(pair.two.host.bytes() == pair.one.host.bytes());
}

#[test]
fn a_follower_that_waits_for_room_gets_the_rest_afterwards() {
    let mut pair = Pair::connected();
    pair.one.host.append(4 << 20);
    pair.one.ship(2, 0, 4 << 20);
    for upto in [1, 5, INPUT_LEN, SEGMENT - 1, SEGMENT, 3 * SEGMENT + 7, 4 << 20] {
        pair.two.host.room_upto = upto;
        pair.two.transport.outbox().resume(ReplicaId::new(1));
        pair.until(|pair| pair.two.host.end == upto);
        for _ in 0..10 {
            pair.turn();
        }
        assert_eq!(pair.two.host.end, upto, "nothing without room");
    }
    assert!(pair.two.host.bytes() == pair.one.host.bytes());
}

#[test]
fn what_is_gone_is_not_sent() {
    let mut pair = Pair::connected();
    pair.one.host.append(1_000);
    pair.one.ship(2, 5_000, 6_000);
    pair.one.send(2, promise(1));
    pair.until(|pair| pair.two.host.told.last() == Some(&Told::Message(promise(1))));
    assert_eq!(pair.two.host.end, 0);
    assert_eq!(pair.one.transport.counters().messages_dropped.get(), 1);
}

#[test]
fn what_is_on_disk_only_is_read_before_it_is_sent() {
    let mut pair = Pair::connected();
    pair.one.host.append(2 * SEGMENT);
    pair.one.host.cold = true;
    if !pair.one.host.chill() {
        eprintln!("skipped: this file system keeps its pages in memory");
        return;
    }
    pair.one.ship(2, 0, 2 * SEGMENT);
    pair.until(|pair| pair.two.host.end == 2 * SEGMENT);
    assert!(pair.two.host.bytes() == pair.one.host.bytes());
    // The system may read ahead of what is asked for.
    let cold = pair.one.transport.counters().sent_cold_bytes.get();
    assert!(0 < cold && cold <= SEGMENT as u64, "{cold}");
}
