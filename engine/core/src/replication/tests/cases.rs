//! The cases that cost others their data, by the names that they are known by.

use super::disk::Disk;
use super::rng::Rng;
use super::world::{Weather, World, config, id};
use crate::replication::{Body, CommitRule, Event, Message, Promotion, PromotionFailure, Refusal};
use crate::types::{Epoch, Lsn};

fn end_of(world: &mut World, number: u64) -> Lsn {
    world.node(id(number)).disk.end()
}

fn committed_of(world: &mut World, number: u64) -> Lsn {
    world.node(id(number)).replica.as_ref().unwrap().committed()
}

/// KIP-101: a follower that cuts its log to a stale high watermark and then leads loses what was committed.
#[test]
fn truncate_by_epoch_never_by_high_watermark() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    world.write(id(1), 40);
    world.run(4); // Flushed on all three; the watermark has not come back to the followers.
    let end = end_of(&mut world, 1);
    assert_eq!(committed_of(&mut world, 1), end);
    assert!(committed_of(&mut world, 2) < end);
    world.crash(id(2));
    world.restart(id(2));
    assert_eq!(committed_of(&mut world, 2), Lsn::ZERO, "a watermark is not kept");
    world.crash(id(1));
    world.run(300);
    world.promote(id(2), Promotion::Safe);
    world.run(300);
    assert_eq!(world.leader(), Some(id(2)));
    assert!(end_of(&mut world, 2) > end, "the record is still there, and the epoch record behind it");
    world.heal();
}

/// KIP-279: two fast failovers leave three lines of history; the one that lost twice still finds its place.
#[test]
fn double_fast_failover_does_not_diverge() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    let shared = end_of(&mut world, 1);
    world.isolate(1);
    (0..3).for_each(|_| world.write(id(1), 64));
    world.run(300);
    world.promote(id(2), Promotion::Safe);
    while world.leader() != Some(id(2)) {
        world.run(1);
    }
    world.isolate(2);
    world.write(id(2), 100);
    world.run(50);
    assert!(end_of(&mut world, 2) > shared && end_of(&mut world, 3) == shared);
    world.mend();
    world.isolate(2);
    world.run(300);
    // The first leader has the longest log that a majority knows of. It leads again, in a third epoch.
    world.promote(id(1), Promotion::Safe);
    world.run(500);
    assert_eq!(world.leader(), Some(id(1)));
    world.mend();
    world.heal();
    assert!(world.is_converged());
}

/// A history that parted longer ago than one Hello tells is asked for, piece by piece.
#[test]
fn older_epochs_are_asked_for_until_one_is_shared() {
    let mut world = World::settled(3, CommitRule::Quorum, 2);
    world.checks_loss = false;
    world.isolate(1);
    world.crash(id(1));
    // Epochs that nobody else comes to use: the same epoch led twice is another case.
    world.node(id(1)).disk.promised.promised = Epoch::new(1_000);
    world.restart(id(1));
    for _ in 0..150 {
        world.node(id(1)).replica.as_mut().unwrap().handle_demote();
        world.promote(id(1), Promotion::LosingCommittedWrites);
        world.run(4);
    }
    let alone = world.node(id(1)).replica.as_ref().unwrap();
    assert!(alone.log().history.entries().len() > 140, "many leaderships that nobody else has seen");
    let shared = committed_of(&mut world, 2);
    world.crash(id(1));
    world.mend();
    world.run(300);
    world.promote(id(2), Promotion::Safe);
    world.run(300);
    assert_eq!(world.leader(), Some(id(2)));
    world.restart(id(1));
    world.run(300);
    assert!(world.saw_at(2, |event| matches!(event, Event::Deposed { .. })), "the returned one has promised more");
    world.promote(id(2), Promotion::LosingCommittedWrites);
    world.heal();
    assert!(world.is_converged() && end_of(&mut world, 1) > shared);
    let history = &world.node(id(1)).replica.as_ref().unwrap().log().history;
    assert!(history.entries().len() < 10, "the cut took the lonely leaderships with it");
}

/// KIP-966: the last replica standing comes back from an unclean stop with less than the others have.
#[test]
fn last_replica_standing_does_not_lead_with_less() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    world.stuck_disk = Some(id(1));
    world.write(id(1), 40);
    world.run(100);
    let end = end_of(&mut world, 1);
    assert_eq!(committed_of(&mut world, 1), end, "two followers are a majority without the leader");
    world.node(id(1)).crash(Lsn::ZERO);
    world.stuck_disk = None;
    world.restart(id(1));
    assert!(end_of(&mut world, 1) < end, "the leader had not flushed it");
    world.run(300);
    world.promote(id(1), Promotion::Safe);
    world.run(300);
    let longer = |event: &Event| matches!(event, Event::PromotionFailed { cause: PromotionFailure::Longer { .. }, .. });
    assert!(world.saw_at(1, longer));
    assert_eq!(world.leader(), None);
    world.heal();
    assert!(world.is_converged());
}

/// With too few replicas nothing is confirmed, by `quorum` as by `all`; with the rule `leader`, it is.
#[test]
fn too_few_replicas_confirm_nothing() {
    for (rule, confirms) in [(CommitRule::Quorum, false), (CommitRule::All, false), (CommitRule::Leader, true)] {
        let mut world = World::settled(3, rule, 1);
        world.crash(id(2));
        if rule != CommitRule::All {
            world.crash(id(3));
        }
        world.write(id(1), 40);
        world.run(500);
        let end = end_of(&mut world, 1);
        assert_eq!(committed_of(&mut world, 1) == end, confirms, "{rule:?}");
        world.heal();
    }
}

/// The Redis documentation's case: a primary that restarted empty wipes its replicas.
#[test]
fn an_empty_primary_never_wipes_its_replicas() {
    let mut world = World::settled(3, CommitRule::Quorum, 5);
    let end = end_of(&mut world, 2);
    world.crash(id(1));
    world.node(id(1)).disk = Disk::new();
    world.restart(id(1));
    world.run(300);
    world.promote(id(1), Promotion::LosingCommittedWrites);
    world.run(100);
    assert_eq!(world.leader(), None, "not even by force");
    // The first attempt only tells it which epoch the others are in.
    for _ in 0..2 {
        world.promote(id(1), Promotion::Safe);
        world.run(500);
    }
    let empty = |event: &Event| matches!(event, Event::PromotionFailed { cause: PromotionFailure::Empty { .. }, .. });
    assert!(world.saw_at(1, empty));
    assert_eq!((end_of(&mut world, 2), end_of(&mut world, 3)), (end, end));
    world.promote(id(2), Promotion::Safe);
    world.run(800);
    assert_eq!(world.leader(), Some(id(2)));
    world.heal();
    assert!(end_of(&mut world, 1) > end, "it got everything anew");
}

/// A replica that lost its disk does not help another one to lead: it no longer knows what it vouched for.
#[test]
fn a_lost_disk_does_not_vote() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    world.isolate(3);
    world.write(id(1), 40);
    world.run(100);
    assert_eq!(committed_of(&mut world, 1), end_of(&mut world, 1), "committed by the first two alone");
    world.crash(id(1));
    world.crash(id(2));
    world.node(id(2)).disk = Disk::new();
    world.restart(id(2));
    world.mend();
    world.run(300);
    world.promote(id(3), Promotion::Safe);
    world.run(1_000);
    assert_eq!(world.leader(), None, "the third lacks a committed record, and nobody left knows");
    assert!(world.saw_at(3, |event| matches!(event, Event::Refused { refusal: Refusal::Blank, .. })));
    world.restart(id(1));
    world.heal();
}

/// Nor does it when it was asked to lead, or has promised, since it came back empty.
#[test]
fn a_lost_disk_does_not_vote_after_it_was_asked_to_lead() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    world.isolate(3);
    world.write(id(1), 40);
    world.run(100);
    assert_eq!(committed_of(&mut world, 1), end_of(&mut world, 1), "committed by the first two alone");
    world.crash(id(1));
    world.crash(id(2));
    world.node(id(2)).disk = Disk::new();
    world.restart(id(2));
    world.promote(id(2), Promotion::Safe);
    world.run(300);
    world.mend();
    world.promote(id(3), Promotion::Safe);
    world.run(1_000);
    assert_eq!(world.leader(), None, "the third lacks a committed record, and nobody left knows");
    assert!(world.saw_at(3, |event| matches!(event, Event::Refused { refusal: Refusal::Blank, .. })));
    world.restart(id(1));
    world.heal();
}

/// With everybody there but for what one disk has lost, whoever holds it all leads: also the other one of two.
#[test]
fn a_lost_disk_keeps_nobody_from_leading_who_has_everything() {
    for voters in [2, 3] {
        let mut world = World::settled(voters, CommitRule::Quorum, 3);
        world.crash(id(1));
        world.crash(id(2));
        world.node(id(2)).disk = Disk::new();
        world.restart(id(2));
        world.restart(id(1));
        world.promote(id(2), Promotion::Safe);
        world.run(300);
        let end = end_of(&mut world, 1);
        // The first attempt may only tell which epoch the other one has heard of.
        for _ in 0..3 {
            world.promote(id(1), Promotion::Safe);
            world.run(800);
        }
        assert_eq!(world.leader(), Some(id(1)), "of {voters}");
        world.heal();
        assert!(end_of(&mut world, 2) > end, "it got everything anew");
    }
}

/// PacificA: a primary that is cut off serves no reads once another one can lead.
#[test]
fn a_stale_primary_serves_no_reads() {
    let mut world = World::settled(3, CommitRule::Quorum, 1);
    world.nodes[0].clock_ppm = 20_000;
    world.run(200);
    let serves = |world: &mut World| {
        let now = world.now;
        let clock = world.node(id(1)).clock(now);
        world.node(id(1)).replica.as_ref().unwrap().may_serve_reads(clock)
    };
    assert!(serves(&mut world));
    world.isolate(1);
    world.promote(id(2), Promotion::Safe);
    world.run(50);
    assert!(serves(&mut world) && world.leader() == Some(id(1)), "the lease keeps others from leading so long");
    while world.leader() != Some(id(2)) {
        world.run(1); // The world checks that the old leader serves no more when the new one leads.
    }
    assert!(!serves(&mut world) && world.node(id(1)).is_leader(), "it does not even know that it is deposed");
    world.heal();
}

/// A leader that can send and cannot receive keeps its followers' leases up, but not for ever.
#[test]
fn a_leader_that_only_sends_is_replaced() {
    let mut world = World::settled(3, CommitRule::Quorum, 1);
    world.blocked.extend([(id(2), id(1)), (id(3), id(1))]);
    world.run(300);
    world.promote(id(2), Promotion::Safe);
    world.run(1_000);
    assert_eq!(world.leader(), Some(id(2)));
    world.write(id(2), 40);
    world.run(100);
    assert_eq!(committed_of(&mut world, 2), end_of(&mut world, 2));
    world.heal();
}

/// Copies that WAIT has counted are no consensus. Here, who leads is limited to holders of every committed record.
#[test]
fn wait_is_not_consensus() {
    let mut world = World::settled(3, CommitRule::Leader, 1);
    world.isolate(3);
    world.write(id(1), 40);
    world.run(100);
    let end = end_of(&mut world, 1);
    let flushed = |world: &mut World, lsn| world.node(id(1)).replica.as_ref().unwrap().replicas_flushed(lsn);
    assert_eq!(flushed(&mut world, end), Some(1), "one of two, and it says so");
    assert_eq!(flushed(&mut world, Lsn::ZERO), Some(2));
    world.crash(id(1));
    world.mend();
    world.run(300);
    world.promote(id(3), Promotion::Safe);
    world.run(500);
    assert_eq!(world.leader(), None, "the replica without the record does not lead");
    world.promote(id(2), Promotion::Safe);
    world.run(500);
    assert_eq!(world.leader(), Some(id(2)));
    world.restart(id(1));
    assert_eq!(flushed(&mut world, end), None, "whoever does not lead does not know");
}

/// Fencing: a leader that comes back from a pause confirms nothing more, gives up its tail and follows.
#[test]
fn a_deposed_leader_stops_confirming() {
    let mut world = World::settled(3, CommitRule::Quorum, 2);
    world.isolate(1);
    world.run(300);
    world.promote(id(2), Promotion::Safe);
    world.run(500);
    world.write(id(2), 40);
    world.run(100);
    let before = committed_of(&mut world, 1);
    (0..5).for_each(|_| world.write(id(1), 80));
    world.run(100);
    assert_eq!(committed_of(&mut world, 1), before, "nothing without a majority");
    world.mend();
    world.run(200);
    assert!(world.saw_at(1, |event| matches!(event, Event::Deposed { .. })));
    assert_eq!(world.leader(), Some(id(2)));
    world.heal();
    assert!(world.is_converged());
}

/// A bit that flips on the way is neither acknowledged nor kept.
#[test]
fn a_flipped_bit_is_not_acknowledged() {
    let mut world = World::settled(3, CommitRule::Quorum, 1);
    let before = committed_of(&mut world, 1);
    world.weather = Weather { flip_permille: 1000, ..Weather::FAIR };
    world.write(id(1), 40);
    world.run(300);
    assert!(world.saw(|event| matches!(event, Event::BadBytes { .. })));
    assert_eq!(committed_of(&mut world, 1), before);
    world.heal();
}

/// A replica with another cluster's data is told no before anything else.
#[test]
fn another_clusters_data_is_refused() {
    let mut configs: std::vec::Vec<_> = (1..=3).map(|number| config(number, 3, CommitRule::Quorum)).collect();
    configs[2].cluster.0[0] = 9;
    let mut world = World::with(5, configs);
    world.run(300);
    world.promote(id(1), Promotion::Safe);
    world.run(1_000);
    assert_eq!(world.leader(), None, "an empty replica needs everybody, and one is a stranger");
    assert!(world.saw_at(3, |event| matches!(event, Event::OtherCluster { .. })));
    assert!(world.saw_at(1, |event| matches!(event, Event::Refused { refusal: Refusal::OtherCluster, .. })));
    assert_eq!(end_of(&mut world, 3), Lsn::ZERO);
}

/// Two leaders that an operator forced into the same epoch find each other and stop. That takes nodes that were told of
/// different voters.
#[test]
fn two_leaders_in_one_epoch_are_found() {
    let mut world = World::settled(3, CommitRule::Quorum, 2);
    world.checks_loss = false;
    world.crash(id(2));
    let config = &mut world.node(id(2)).config;
    (config.voters, config.learners) = ([id(2), id(3)].into(), [id(1)].into());
    world.restart(id(2));
    world.node(id(1)).replica.as_mut().unwrap().handle_demote();
    (1..=3).for_each(|number| world.isolate(number));
    world.promote(id(1), Promotion::LosingCommittedWrites);
    world.promote(id(2), Promotion::LosingCommittedWrites);
    world.run(100);
    let epoch = |world: &mut World, number| world.node(id(number)).replica.as_ref().unwrap().current_epoch();
    assert_eq!(epoch(&mut world, 1), epoch(&mut world, 2));
    assert!(world.node(id(1)).is_leader() && world.node(id(2)).is_leader());
    world.mend();
    world.run(200);
    assert!(world.saw(|event| matches!(event, Event::TwoLeaders { .. })));
    assert!(!(world.node(id(1)).is_leader() && world.node(id(2)).is_leader()), "they do not both go on");
}

/// Each voter has epochs of its own to ask for, so that two who are told to lead at the same time do not share one: the
/// one that wins leads on, whoever else asked.
#[test]
fn two_candidates_at_once_do_not_depose_the_one_that_wins() {
    for seed in 0..50 {
        let mut world = World::settled(5, CommitRule::Quorum, 2);
        world.rng = Rng::new(seed);
        world.weather.delay_ms_max = 40;
        world.crash(id(1));
        world.run(250);
        (2..=3).for_each(|number| world.promote(id(number), Promotion::Safe));
        world.run(3_000);
        assert!(!world.saw(|event| matches!(event, Event::TwoLeaders { .. })), "seed {seed}: {:?}", world.leaders);
        assert!(world.leader().is_some(), "seed {seed}: {:?}", world.leaders);
    }
}

/// A slow follower neither delays what the others can commit nor is owed more than its window.
#[test]
fn a_slow_follower_delays_nothing_and_holds_nothing() {
    let mut world = World::settled(3, CommitRule::Quorum, 1);
    world.blocked.insert((id(3), id(1)));
    for _ in 0..200 {
        world.write(id(1), 500);
        world.run(10);
    }
    let end = end_of(&mut world, 1);
    assert_eq!(committed_of(&mut world, 1), end);
    let window = world.node(id(1)).config.window_len;
    let slow = world.node(id(1)).replica.as_ref().unwrap().peers().find(|peer| peer.id == id(3)).unwrap();
    assert!(slow.sent.since(slow.received) <= window && slow.sent < end, "{slow:?}");
    world.heal();
}

/// A follower that is behind the first segment gets whole segments, and vouches for nothing until it is back.
#[test]
fn a_follower_behind_the_first_segment_starts_anew() {
    let mut world = World::settled(3, CommitRule::Quorum, 2);
    world.isolate(3);
    (0..20).for_each(|_| world.write(id(1), 200));
    world.run(200);
    let before = end_of(&mut world, 3);
    let committed = committed_of(&mut world, 1);
    world.node(id(1)).trim(Lsn::new(committed.get() - 1));
    let start = world.node(id(1)).disk.start;
    assert!(start > before);
    world.mend();
    world.run(300);
    assert_eq!(world.node(id(3)).disk.start, start);
    let floor = world.node(id(3)).disk.promised.floor.expect("what it vouched for is noted");
    assert_eq!(floor.lsn, before);
    world.heal();
}

#[test]
fn what_only_a_leader_says_is_said_by_a_leader() {
    assert!(!Body::Refuse(Refusal::Stale).is_from_leader());
    assert!(Body::OlderEpochs { before: Epoch::ZERO }.is_from_leader());
}

/// An orderly hand-over waits for no lease to end, and loses nothing.
#[test]
fn leadership_is_handed_over_without_waiting_for_a_lease() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    world.write(id(1), 40);
    world.run(20);
    let before = world.now;
    world.node(id(1)).replica.as_mut().unwrap().handle_hand_over(id(2));
    world.run(12);
    assert!(world.leader().is_none(), "the old leader has stopped of its own accord");
    assert!(world.events.contains(&(id(2), Event::AskedToLead { by: id(1) })));
    world.promote(id(2), Promotion::Safe);
    world.run(30);
    assert_eq!(world.leader(), Some(id(2)));
    assert!(world.now - before < config(1, 3, CommitRule::Quorum).lease_ms);
    world.heal();
}

/// Only its own leader can ask a replica to lead.
#[test]
fn a_stranger_cannot_have_a_replica_lead() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    let now = world.now;
    let epoch = world.node(id(2)).replica.as_ref().unwrap().current_epoch();
    let message = Message { epoch, body: Body::TakeOver };
    world.node(id(2)).deliver(now, id(3), message, &[]);
    world.run(20);
    assert!(!world.events.iter().any(|(_, event)| matches!(event, Event::AskedToLead { .. })));
    assert_eq!(world.leader(), Some(id(1)));
}

/// A voter that let a lease end for a candidate gives it one as soon as it leads.
#[test]
fn a_new_leader_serves_as_soon_as_it_is_heard() {
    let mut world = World::settled(3, CommitRule::Quorum, 3);
    world.write(id(1), 40);
    world.run(50);
    world.crash(id(1));
    // The lease of the dead leader still runs, so this is refused first.
    world.promote(id(2), Promotion::Safe);
    while world.leader() != Some(id(2)) {
        world.run(1);
    }
    world.run(45);
    let now = world.now;
    let node = world.node(id(2));
    let clock = node.clock(now);
    assert!(node.replica.as_ref().unwrap().may_serve_reads(clock));
}
