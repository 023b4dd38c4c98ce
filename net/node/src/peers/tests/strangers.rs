//! A node among strangers: what they send costs little and leads nowhere.

use std::io::Write;
use std::time::Duration;

use windrow_core::replication::{Body, Message, ReplicaId};
use windrow_core::types::{ClusterId, Epoch, Lsn};
use windrow_proto::replication::{Handshake, Mode, Rejection, Versions, encode};

use super::super::LinkState;
use super::super::limits::STRANGERS_PER_ADDRESS_MAX;
use super::nodes::{Node, PARTITION, Told};
use super::stranger::{Stranger, framed, opening};

/// The node still takes the right one.
fn still_works(node: &mut Node) {
    let before = node.host.count(&Told::Connected(ReplicaId::new(1)));
    let _peer = Stranger::welcome(node);
    assert_eq!(node.host.count(&Told::Connected(ReplicaId::new(1))), before + 1);
}

#[test]
fn identity_is_compared_before_any_proof() {
    let mut node = Node::alone();
    let wrong = [
        (opening(1), None),
        (windrow_opening(|opening| opening.cluster = ClusterId([9; 16])), Some(Rejection::Cluster)),
        (windrow_opening(|opening| opening.mode = Mode::SharedMemory), Some(Rejection::Mode)),
        (
            windrow_opening(|opening| (opening.version_min, opening.version_max) = (3, 9)),
            Some(Rejection::Version(Versions::OWN)),
        ),
        (windrow_opening(|opening| (opening.features, opening.features_required) = (1, 1)), Some(Rejection::Features)),
        (windrow_opening(|opening| opening.replica = ReplicaId::new(7)), Some(Rejection::Stranger)),
        (windrow_opening(|opening| opening.replica = ReplicaId::new(2)), Some(Rejection::Stranger)),
    ];
    for (opening, expected) in wrong {
        let mut stranger = Stranger::connect(&mut node);
        stranger.say(&Handshake::Opening(opening));
        match expected {
            Some(why) => stranger.is_rejected(&mut node, why),
            None => assert!(matches!(stranger.hear(&mut node), Some((Handshake::Challenge(_), _)))),
        }
    }
    assert!(node.host.told.is_empty());
    still_works(&mut node);
}

fn windrow_opening(
    change: impl FnOnce(&mut windrow_proto::replication::Opening),
) -> windrow_proto::replication::Opening {
    let mut opening = opening(1);
    change(&mut opening);
    opening
}

#[test]
fn a_proof_is_of_no_use_a_second_time() {
    let mut node = Node::alone();
    let mut first = Stranger::connect(&mut node);
    let proof = first.prove(&mut node, opening(1));
    let mut second = Stranger::connect(&mut node);
    // The same opening, nonce included, and yet another challenge.
    assert_ne!(second.prove(&mut node, opening(1)), proof);
    second.say(&Handshake::Proof { proof });
    second.is_rejected(&mut node, Rejection::Proof);
    assert!(node.host.told.is_empty());
    first.say(&Handshake::Proof { proof });
    assert!(matches!(first.hear(&mut node), Some((Handshake::Welcome(_), _))));
}

#[test]
fn what_is_cut_short_leads_nowhere() {
    let mut node = Node::alone();
    let whole = framed(&Handshake::Opening(opening(1)));
    for len in 0..whole.len() {
        let mut stranger = Stranger::connect(&mut node);
        stranger.socket.write_all(&whole[..len]).unwrap();
        node.turn();
        stranger.socket.shutdown(std::net::Shutdown::Write).unwrap();
        stranger.is_closed(&mut node);
    }
    assert!(node.host.told.is_empty());
    assert_eq!(node.transport.counters().handshakes_failed.get(), whole.len() as u64);
    still_works(&mut node);
}

#[test]
fn what_is_no_handshake_ends_the_connection() {
    let mut node = Node::alone();
    let mut twice = framed(&Handshake::Opening(opening(1)));
    twice.extend(twice.clone());
    let mut flipped = framed(&Handshake::Opening(opening(1)));
    flipped[30] ^= 1;
    let mut message = Vec::new();
    encode(PARTITION, &super::nodes::promise(1), &mut message);
    let early = framed(&Handshake::Proof { proof: [0; 32] });
    for bytes in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0xFF; 100], twice, flipped, message, early] {
        let mut stranger = Stranger::connect(&mut node);
        stranger.socket.write_all(&bytes).unwrap();
        stranger.is_closed(&mut node);
    }
    assert!(node.host.told.is_empty());
    still_works(&mut node);
}

#[test]
fn a_flood_before_the_proof_ends_after_one_frame() {
    let mut node = Node::alone();
    let mut stranger = Stranger::connect(&mut node);
    // As much as the socket takes.
    let _ = stranger.socket.write(&vec![0; 4 << 20]);
    stranger.is_closed(&mut node);
    still_works(&mut node);
}

#[test]
fn strangers_crowd_out_one_another_and_are_listened_to_for_a_while_only() {
    let mut node = Node::alone();
    let mut first = Stranger::connect(&mut node);
    let mut patient: Vec<Stranger> = (1..STRANGERS_PER_ADDRESS_MAX).map(|_| Stranger::connect(&mut node)).collect();
    // All of them are known to the node once it has answered them.
    for stranger in [&mut first].into_iter().chain(&mut patient) {
        stranger.say(&Handshake::Opening(opening(1)));
        assert!(matches!(stranger.hear(&mut node), Some((Handshake::Challenge(_), _))));
    }
    // Who has waited longest makes room, and whoever knows the secret always gets in.
    still_works(&mut node);
    first.is_rejected(&mut node, Rejection::Busy);
    node.tick_after(Duration::from_secs(6));
    for stranger in &mut patient {
        stranger.is_closed(&mut node);
    }
    still_works(&mut node);
}

#[test]
fn a_peer_that_says_nothing_is_gone_after_a_while() {
    let mut node = Node::alone();
    let mut peer = Stranger::welcome(&mut node);
    node.tick_after(Duration::from_secs(1));
    assert_eq!(node.transport.links().next().unwrap().state, LinkState::Up);
    node.tick_after(Duration::from_secs(4));
    assert_eq!(node.host.told, [Told::Connected(ReplicaId::new(1)), Told::Disconnected(ReplicaId::new(1))]);
    peer.is_closed(&mut node);
}

#[test]
fn a_newer_connection_takes_the_place_of_an_older_one() {
    let mut node = Node::alone();
    let mut old = Stranger::welcome(&mut node);
    let _new = Stranger::welcome(&mut node);
    let one = ReplicaId::new(1);
    assert_eq!(node.host.told, [Told::Connected(one), Told::Disconnected(one), Told::Connected(one)]);
    old.is_closed(&mut node);
    assert_eq!(node.transport.links().next().unwrap().state, LinkState::Up);
}

#[test]
fn a_known_peer_that_sends_garbage_is_disconnected() {
    let mut node = Node::alone();
    let mut flipped = Vec::new();
    encode(PARTITION, &super::nodes::promise(1), &mut flipped);
    *flipped.last_mut().unwrap() ^= 1;
    let again = framed(&Handshake::Opening(opening(1)));
    for bytes in [vec![0xFF; 3_000], flipped, again] {
        let mut peer = Stranger::welcome(&mut node);
        peer.socket.write_all(&bytes).unwrap();
        peer.is_closed(&mut node);
        assert_eq!(node.host.told.last(), Some(&Told::Disconnected(ReplicaId::new(1))));
        assert!(!node.host.told.iter().any(|told| matches!(told, Told::Message(_))));
    }
    still_works(&mut node);
}

#[test]
fn frames_and_ranges_may_come_in_any_pieces() {
    let mut node = Node::alone();
    let mut peer = Stranger::welcome(&mut node);
    let log: Vec<u8> = (0..3_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let mut bytes = Vec::new();
    for from in (0..3_000_usize).step_by(1_000) {
        let (from, to) = (Lsn::new(from as u64), Lsn::new(from as u64 + 1_000));
        let body = Body::Bytes { from, to, committed: Lsn::ZERO };
        encode(PARTITION, &Message { epoch: Epoch::new(1), body }, &mut bytes);
        let start = usize::try_from(from.get()).unwrap();
        bytes.extend_from_slice(&log[start..start + 1_000]);
        encode(PARTITION, &super::nodes::promise(9), &mut bytes);
    }
    for piece in bytes.chunks(7) {
        peer.socket.write_all(piece).unwrap();
        node.turn();
    }
    while node.host.told.len() < 1 + 3 * 3 {
        node.turn();
    }
    assert!(node.host.bytes() == log);
    assert!(node.host.arrived.len() > 100, "each piece was told of when it came");
}
