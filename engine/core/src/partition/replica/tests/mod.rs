//! Replicas over plain memory: a leader's bytes go to a follower in pieces, and both are compared with what a recovery
//! of the same log says.

mod node;
mod random;

use alloc::vec::Vec;
use std::string::String;

use node::{Node, SMALL};

use super::*;
use crate::log::{BadBytes, ReceiveError, RoomError};
use crate::partition::{Change, CutError, Op};
use crate::replication::tests::rng::Rng;
use crate::types::limits::SEGMENT_HEADER_LEN;

/// A leader of epoch 1 and a follower that has promised it.
fn pair() -> (Node, Node) {
    let (mut leader, mut follower) = (Node::new(1, SMALL), Node::new(2, SMALL));
    leader.lead(1);
    follower.promise(1);
    (leader, follower)
}

fn fill(node: &mut Node, keys: core::ops::Range<u32>) {
    for key in keys {
        node.put(&std::format!("key {key}"), &std::format!("value {key} {}", "x".repeat(90)));
    }
}

#[test]
fn a_follower_has_the_leaders_bytes_and_shows_them_when_they_are_committed() {
    let (mut leader, mut follower) = pair();
    fill(&mut leader, 0..100);
    leader.delete("key 7");
    leader.act();
    let end = leader.partition.appended();
    let mut rng = Rng::new(1);
    let verified = follower.take_from(&leader, end, &mut rng).unwrap();
    assert_eq!(verified.last().map(|run| (run.epoch, run.end)), Some((Epoch::new(1), end)));
    follower.act();
    assert_eq!((follower.partition.appended(), follower.partition.durable()), (end, end));
    assert_eq!(follower.partition.committed(), Lsn::ZERO);
    assert_eq!(follower.image(), leader.image());
    assert!(follower.wait("key 1") > Lsn::ZERO && follower.wait("key 7") > Lsn::ZERO, "nothing is committed yet");
    follower.partition.handle_committed(end);
    assert_eq!(follower.get("key 1"), leader.get("key 1"));
    assert_eq!((follower.get("key 7"), follower.wait("key 1"), follower.wait("key 7")), (None, Lsn::ZERO, Lsn::ZERO));
    assert_eq!(follower.partition.len(), 99);
}

#[test]
fn what_is_committed_elsewhere_is_shown_when_it_is_flushed_here() {
    let (mut leader, mut follower) = pair();
    leader.put("a", "1");
    let end = leader.partition.appended();
    follower.take_from(&leader, end, &mut Rng::new(1)).unwrap();
    follower.partition.handle_committed(end);
    assert_eq!(follower.partition.committed(), Lsn::ZERO);
    follower.act();
    assert_eq!(follower.partition.committed(), end);
}

#[test]
fn only_a_leader_appends_and_only_a_follower_receives() {
    let (mut leader, mut follower) = pair();
    let now = follower.now();
    let key = b"a";
    let mut ops = [Op { hash: follower.partition.hash(key), key, change: Change::Delete }];
    let refused = Err(AppendError::Room(RoomError::NotLeader));
    assert_eq!(follower.partition.append(now, &mut ops), refused);
    assert_eq!(follower.partition.clear(now), refused);
    assert_eq!(leader.partition.receive_into(Lsn::ZERO, Lsn::new(16)), Err(ReceiveError::NotFollower));
    leader.partition.step_down();
    assert_eq!(leader.partition.append(now, &mut ops), refused);
    let end = leader.partition.appended();
    assert_eq!(
        leader.partition.receive_into(end, end.plus(16)),
        Err(ReceiveError::NotReady),
        "it has to be noted first"
    );
    leader.act();
    assert_eq!(leader.partition.receive_into(end, end.plus(16)).map(|bytes| bytes.len()), Ok(16));
    let gap = leader.partition.receive_into(end.plus(16), end.plus(32)).map(|bytes| bytes.len());
    assert_eq!(gap, Err(ReceiveError::Gap { from: end.plus(16), expected: end }));
}

#[test]
fn every_flipped_bit_is_refused_and_the_log_stays_as_it_was() {
    let (mut leader, mut follower) = pair();
    fill(&mut leader, 0..30);
    let end = leader.partition.appended();
    let middle = Lsn::new(3 * 1024 + 512);
    follower.take_from(&leader, middle, &mut Rng::new(3)).unwrap();
    let (before, held) = (follower.partition.appended(), follower.image());
    let good = leader.bytes(before, end);
    for bit in (0..good.len() * 8).step_by(13) {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let outcome = follower.take(before, &bad, usize::MAX, &mut Rng::new(0));
        let Err((ReceiveError::Bad { lsn, .. }, _)) = outcome else { panic!("bit {bit}: {outcome:?}") };
        assert!(lsn <= before.plus(bit as u64 / 8 + 64), "bit {bit} is met at {lsn}");
        assert_eq!(follower.partition.received(), follower.partition.appended());
        follower = Node::rebuilt(&held, follower.superblock, SMALL);
    }
    follower.take_from(&leader, end, &mut Rng::new(3)).unwrap();
    assert_eq!(follower.image(), leader.image());
}

#[test]
fn an_epoch_that_was_not_promised_is_refused() {
    let (mut leader, mut follower) = (Node::new(1, SMALL), Node::new(2, SMALL));
    leader.lead(5);
    follower.promise(4);
    let end = leader.partition.appended();
    let refused = follower.take_from(&leader, end, &mut Rng::new(1)).unwrap_err();
    let (found, promised) = (Epoch::new(5), Epoch::new(4));
    assert_eq!(refused.0, ReceiveError::Bad { lsn: Lsn::ZERO, cause: BadBytes::Epoch { found, promised } });
}

#[test]
fn segments_are_as_long_as_the_leaders() {
    let (mut leader, mut follower) = (Node::new(1, 3 * SMALL), Node::new(2, SMALL));
    leader.lead(1);
    follower.promise(1);
    fill(&mut leader, 0..200);
    let end = leader.partition.appended();
    follower.take_from(&leader, end, &mut Rng::new(9)).unwrap();
    assert_eq!(follower.image(), leader.image());
    // It leads, in segments of its own length.
    follower.lead(2);
    fill(&mut follower, 200..300);
    leader.partition.step_down();
    leader.promise(2);
    leader.act();
    let end = follower.partition.appended();
    leader.take_from(&follower, end, &mut Rng::new(9)).unwrap();
    assert_eq!(follower.image(), leader.image());
    let lens: Vec<u64> = leader.partition.log().segments().map(|segment| segment.segment_len()).collect();
    assert_eq!((lens.first(), lens.last()), (Some(&(3 * SMALL)), Some(&SMALL)));
}

#[test]
fn expired_keys_are_swept_by_the_leader_alone_and_by_a_follower_that_comes_to_lead() {
    let (mut leader, mut follower) = pair();
    leader.put_until("a", "1", Some(5_000));
    leader.put_until("b", "1", Some(5_000));
    leader.put_until("b", "2", Some(9_000));
    leader.put_until("c", "1", Some(5_000));
    leader.put("c", "2");
    let end = leader.partition.appended();
    follower.take_from(&leader, end, &mut Rng::new(1)).unwrap();
    assert_eq!(follower.partition.stats().expiring_keys, 2);
    follower.now = 6_000;
    assert_eq!((follower.get("a"), follower.get("b")), (None, Some(String::from("2"))));
    assert_eq!(follower.partition.sweep_expired(follower.now(), 10), Ok(0));
    follower.lead(2);
    assert_eq!(follower.partition.sweep_expired(follower.now(), 10), Ok(1));
    assert_eq!(follower.partition.len(), 2);
}

#[test]
fn a_deletion_that_the_leader_has_let_go_of_leaves_nothing_behind() {
    let (mut leader, mut follower) = pair();
    leader.put("a", "1");
    leader.delete("a");
    leader.act();
    leader.partition.handle_committed(leader.partition.appended());
    assert_eq!(leader.partition.index.len(), 0);
    leader.put("a", "2");
    let end = leader.partition.appended();
    follower.take_from(&leader, end, &mut Rng::new(1)).unwrap();
    follower.act();
    assert_eq!((follower.partition.index.len(), follower.partition.len()), (1, 1));
    follower.partition.handle_committed(end);
    assert_eq!((follower.partition.index.len(), follower.get("a").as_deref()), (1, Some("2")));
}

#[test]
fn promises_are_told_of_once_both_slots_of_the_superblock_hold_them() {
    let mut node = Node::new(1, SMALL);
    node.act();
    let promise = |epoch| Promised { promised: Epoch::new(epoch), epoch: Epoch::new(1), floor: None };
    node.partition.write_promised(1, promise(1));
    let Some(crate::partition::Action::WriteSuperblock(first)) = node.superblock_wanted() else { panic!("no write") };
    node.partition.write_promised(2, promise(2));
    node.partition.write_promised(3, promise(3));
    assert_eq!(node.partition.poll_replica(), None);
    node.partition.handle_superblock_written(first.generation);
    assert_eq!(node.partition.poll_replica(), None, "if this slot rots, the other one takes the promise back");
    assert_eq!(node.partition.poll_replica(), None, "the others came after it was encoded");
    let Some(crate::partition::Action::WriteSuperblock(second)) = node.superblock_wanted() else { panic!("no write") };
    assert_eq!((first.promised, second.promised), (Epoch::new(1), Epoch::new(3)));
    assert_eq!(first.slot(), 1 - second.slot());
    node.partition.handle_superblock_written(second.generation);
    assert_eq!(node.partition.poll_replica(), Some(ReplicaAction::PromiseWritten { ticket: 1 }));
    assert_eq!(node.partition.poll_replica(), None, "the others came after the first was encoded");
    let Some(crate::partition::Action::WriteSuperblock(third)) = node.superblock_wanted() else { panic!("no write") };
    node.partition.handle_superblock_written(third.generation);
    assert_eq!(node.superblock_wanted(), None);
    assert_eq!(node.partition.poll_replica(), Some(ReplicaAction::PromiseWritten { ticket: 2 }));
    assert_eq!(node.partition.poll_replica(), Some(ReplicaAction::PromiseWritten { ticket: 3 }));
}

#[test]
fn what_a_leader_had_flushed_is_no_witness_to_what_a_follower_had() {
    let (mut leader, mut follower) = pair();
    for key in 0..20 {
        fill(&mut leader, key..key + 1);
        leader.act();
    }
    let end = leader.partition.appended();
    follower.take_from(&leader, end, &mut Rng::new(1)).unwrap();
    // A power cut: of what was received and not flushed, only the last pages reached the disk.
    let mut disk = follower.image();
    let last = disk.last_entry().unwrap().into_mut();
    last[SEGMENT_HEADER_LEN..SEGMENT_HEADER_LEN + 48].fill(0);
    let follower = Node::rebuilt(&disk, follower.superblock, SMALL);
    assert!(follower.partition.appended() < end, "the rest comes again");
}

#[test]
fn a_cut_is_refused_where_no_record_ends() {
    let (mut leader, mut follower) = pair();
    fill(&mut leader, 0..10);
    let end = leader.partition.appended();
    assert_eq!(leader.partition.begin_cut(end), Err(CutError::NotFollower));
    follower.take_from(&leader, end, &mut Rng::new(1)).unwrap();
    follower.act();
    for lsn in [end.plus(16), Lsn::new(end.get() - 16), Lsn::new(SEGMENT_HEADER_LEN as u64), Lsn::new(1)] {
        assert_eq!(follower.partition.begin_cut(lsn), Err(CutError::NoRecordEnd { lsn }));
    }
    let chain = leader.partition.log().chain();
    let lsn = Lsn::new(SMALL + 16);
    assert_eq!(follower.partition.begin_reset(lsn, chain), Err(CutError::NoSegmentStart { lsn }));
}

#[test]
fn a_clear_that_is_cut_brings_everything_back() {
    let (mut leader, mut follower) = pair();
    fill(&mut leader, 0..50);
    leader.delete("key 3");
    let end = leader.partition.appended();
    leader.clear();
    leader.put("new", "1");
    leader.act();
    follower.take_from(&leader, leader.partition.appended(), &mut Rng::new(1)).unwrap();
    follower.act();
    assert_eq!(follower.partition.len(), 1);
    follower.cut(end);
    assert_eq!((follower.partition.len(), follower.get("new"), follower.get("key 3")), (49, None, None));
    assert_eq!(follower.get("key 4").map(|value| value.len()), Some(8 + 90));
    follower.check("after the cut");
    assert_eq!(follower.wait("key 3"), end, "a deletion that may not be committed is waited for");
}

#[test]
fn a_cut_leaves_nothing_behind_it_in_a_segment_that_had_been_full() {
    let (mut leader, mut follower) = pair();
    fill(&mut leader, 0..50);
    leader.act();
    follower.take_from(&leader, leader.partition.appended(), &mut Rng::new(1)).unwrap();
    follower.act();
    // A power cut takes the names of all segments but the first, which is full and has its footer.
    follower.disk.retain(|base, _| *base == Lsn::ZERO);
    follower.superblock.durable = Lsn::ZERO;
    let mut follower = follower.reopened();
    let end = follower.partition.appended();
    assert_eq!(end.get(), SMALL - crate::types::limits::SEGMENT_FOOTER_LEN as u64);
    let to = leader.ends().into_iter().map(|(lsn, _)| lsn).find(|lsn| lsn.get() > 1_000).unwrap();
    follower.cut(to);
    let cut = usize::try_from(to.get()).unwrap();
    assert!(follower.disk[&Lsn::ZERO][cut..].iter().all(|byte| *byte == 0), "the footer is part of what was cut");
}

#[test]
fn a_log_begins_anew_at_a_segment_of_the_leaders() {
    let (mut leader, mut follower) = pair();
    fill(&mut leader, 0..100);
    leader.act();
    follower.take_from(&leader, Lsn::new(SMALL + 500), &mut Rng::new(1)).unwrap();
    follower.act();
    let (base, chain) = leader.segment_start(2);
    follower.reset(base, chain);
    assert_eq!((follower.partition.appended(), follower.partition.committed()), (base, base));
    assert!(follower.aside.contains(&Lsn::ZERO) && !follower.disk.contains_key(&Lsn::ZERO));
    let mut follower = follower.reopened();
    let end = leader.partition.appended();
    follower.take_from(&leader, end, &mut Rng::new(2)).unwrap();
    follower.act();
    follower.check("after the reset");
    let follower = follower.reopened();
    assert_eq!((follower.partition.log().start(), follower.partition.appended()), (base, end));
    assert_eq!(follower.partition.log().chain(), leader.partition.log().chain());
}

#[test]
fn chain_values_are_known_at_every_records_end_and_nowhere_else() {
    let (mut leader, _) = pair();
    fill(&mut leader, 0..60);
    let ends = leader.ends();
    for lsn in (0..leader.partition.appended().get()).step_by(16).map(Lsn::new) {
        let known = ends.iter().find(|(end, _)| *end == lsn).map(|(_, chain)| *chain);
        assert_eq!(leader.partition.chain_at(lsn), known, "{lsn}");
    }
    assert_eq!(leader.partition.chain_at(leader.partition.appended()), Some(leader.partition.log().chain()));
}
