//! Two nodes: that they find each other, notice each other's end, and refuse whom they must not trust.

use std::time::Duration;

use windrow_core::replication::{Body, Heartbeat, Message, Moment, ReplicaId};
use windrow_core::types::{ClusterId, Epoch, Lsn, PartitionId};
use windrow_proto::replication::Layout;

use super::super::limits::QUEUE_LEN_MAX;
use super::super::{CloseReason, LinkState, Secret, WireConfig};
use super::nodes::{CLUSTER, GUARD, PARTITION, Pair, Told, promise};

const STEP: Duration = Duration::from_millis(500);

#[test]
fn two_nodes_have_one_connection_and_messages_go_both_ways_in_order() {
    let mut pair = Pair::connected();
    let count = 100;
    for number in 1..=count {
        pair.one.send(2, promise(number));
        pair.two.send(1, promise(number));
    }
    pair.until(|pair| pair.one.host.told.len() > 100 && pair.two.host.told.len() > 100);
    let expected: Vec<Told> = (1..=count).map(|number| Told::Message(promise(number))).collect();
    assert_eq!(pair.one.host.told[1..], expected);
    assert_eq!(pair.two.host.told[1..], expected);
    for node in [&mut pair.one, &mut pair.two] {
        assert_eq!(node.transport.counters().connections_opened.get(), 1);
        assert_eq!(node.transport.counters().messages_dropped.get(), 0);
        assert!(node.transport.links().all(|link| link.state == LinkState::Up && link.trouble.is_none()));
    }
}

/// Neither is ever connected, and both know why: what the one that connects says has `text` in it.
fn refused(change_two: impl FnOnce(&mut WireConfig), text: &str) {
    let mut pair = Pair::new(|_| (), change_two);
    pair.ticks_until(STEP, |pair| {
        let failed = |node: &super::nodes::Node| node.transport.counters().handshakes_failed.get() > 1;
        failed(&pair.one) && failed(&pair.two)
    });
    assert!(pair.one.host.told.is_empty() && pair.two.host.told.is_empty());
    let link = pair.one.transport.links().next().unwrap();
    let trouble = link.trouble.unwrap();
    assert!(trouble.contains(text), "{trouble}");
}

#[test]
fn another_secret_is_refused() {
    refused(|two| two.secret = Secret::new(b"a secret of some lengtH"), "the shared secrets differ");
}

#[test]
fn another_cluster_is_refused() {
    refused(|two| two.cluster = ClusterId([8; 16]), "different clusters");
}

#[test]
fn another_number_of_partitions_is_refused() {
    other_layout(Layout { partitions: 5, cores: 1 }, "5 partitions on 1 core");
}

#[test]
fn another_number_of_cores_is_refused() {
    other_layout(Layout { partitions: 4, cores: 2 }, "4 partitions on 2 cores");
}

/// Both ends say what each of them has.
fn other_layout(layout: Layout, shown: &str) {
    let mut pair = Pair::new(|_| (), |two| two.layout = layout);
    pair.until(|pair| pair.two.host.count(&Told::Disconnected(ReplicaId::new(1))) == 1);
    assert!(pair.one.host.told.is_empty());
    // The one that accepts is told at the end only.
    let usual = "4 partitions on 1 core";
    for (node, own, other) in [(&mut pair.one, usual, shown), (&mut pair.two, shown, usual)] {
        let trouble = node.transport.links().next().unwrap().trouble.unwrap();
        assert!(trouble.contains(&format!("this node has {own} and the other one {other}; give all")), "{trouble}");
    }
}

#[test]
fn a_replica_that_is_not_configured_is_refused() {
    refused(|two| two.peers[0].replica = ReplicaId::new(99), "is not known here");
}

#[test]
fn another_replica_than_expected_is_refused() {
    refused(|two| two.replica = ReplicaId::new(3), "answers where");
}

#[test]
fn nodes_with_nothing_to_say_stay_connected() {
    let mut pair = Pair::connected();
    let start = pair.one.now;
    pair.ticks_until(STEP, |pair| pair.one.now > start + Duration::from_secs(30));
    assert!(pair.is_connected());
    assert_eq!(pair.one.host.told.len() + pair.two.host.told.len(), 2, "and no message is made up");
}

#[test]
fn a_node_that_stops_is_noticed_and_connected_with_again() {
    let mut pair = Pair::connected();
    // Two does nothing any more; its kernel goes on to take what comes.
    let start = pair.one.now;
    while pair.one.now < start + Duration::from_secs(4) {
        pair.one.tick_after(STEP);
        pair.one.turn();
    }
    assert_eq!(pair.one.host.count(&Told::Disconnected(ReplicaId::new(2))), 1);
    assert_eq!(pair.one.transport.counters().connections_silent.get(), 1);
    // It goes on, and both find each other again.
    pair.ticks_until(STEP, |pair| pair.is_connected());
    assert_eq!(pair.two.host.count(&Told::Disconnected(ReplicaId::new(1))), 1);
}

#[test]
fn a_node_that_was_stopped_itself_looks_before_it_complains() {
    let mut pair = Pair::connected();
    pair.one.send(2, promise(1));
    pair.one.turn();
    pair.one.turn();
    pair.two.tick_after(Duration::from_secs(60));
    assert!(pair.is_connected(), "something had come meanwhile");
}

#[test]
fn a_connection_that_the_driver_wants_closed_is_closed_on_both_sides() {
    let mut pair = Pair::connected();
    pair.two.transport.outbox().close(ReplicaId::new(1), CloseReason::BadBytes);
    pair.until(|pair| {
        pair.one.host.count(&Told::Disconnected(ReplicaId::new(2))) == 1
            && pair.two.host.count(&Told::Disconnected(ReplicaId::new(1))) == 1
    });
    let trouble = pair.two.transport.links().next().unwrap().trouble.unwrap();
    assert!(trouble.contains("do not verify"), "{trouble}");
    pair.ticks_until(STEP, |pair| pair.is_connected());
}

#[test]
fn a_message_about_another_cores_partition_ends_the_connection() {
    let mut pair = Pair::connected();
    pair.one.transport.outbox().send(ReplicaId::new(2), PartitionId::new(0), promise(1));
    pair.until(|pair| pair.two.host.count(&Told::Disconnected(ReplicaId::new(1))) == 1);
    let trouble = pair.two.transport.links().next().unwrap().trouble.unwrap();
    assert!(trouble.contains("which is not on this core; run the same version"), "{trouble}");
}

#[test]
fn a_peer_that_takes_nothing_costs_a_bounded_queue() {
    let mut pair = Pair::connected();
    pair.two.host.room_upto = 0;
    pair.one.host.append(8 << 20);
    pair.one.ship(2, 0, 8 << 20);
    let heartbeat =
        Heartbeat { cluster: CLUSTER, partition: PARTITION, committed: Lsn::ZERO, sent: Lsn::ZERO, at: Moment::new(1) };
    for _ in 0..5_000 {
        pair.one.send(2, Message { epoch: Epoch::new(1), body: Body::Heartbeat(heartbeat) });
        pair.turn();
    }
    let counters = pair.one.transport.counters();
    assert!(counters.messages_dropped.get() > 1_000);
    let queued = pair.one.transport.links().next().unwrap().queued;
    assert!((1..=QUEUE_LEN_MAX).contains(&queued), "{queued}");
    assert_eq!(pair.two.host.end, 0);
    // It was not silent: it could not be read.
    pair.two.tick_after(Duration::from_secs(10));
    assert!(pair.is_connected());
    pair.two.host.room_upto = usize::MAX;
    pair.two.transport.outbox().resume(ReplicaId::new(1));
    pair.until(|pair| pair.two.host.end == 8 << 20);
    assert!(pair.two.host.bytes() == pair.one.host.bytes());
}

#[test]
fn closing_leaves_nothing_in_the_ring() {
    let mut pair = Pair::connected();
    pair.two.host.room_upto = 100;
    pair.one.host.append(8 << 20);
    pair.one.ship(2, 0, 8 << 20);
    pair.until(|pair| pair.two.host.end == 100);
    for node in [&mut pair.one, &mut pair.two] {
        node.transport.close(&mut node.ring);
        let since = std::time::Instant::now();
        while node.ring.in_flight() > 0 {
            node.turn();
            assert!(since.elapsed() < GUARD, "operations are left");
        }
    }
}
