//! One replica alone, event by event: promises, epochs and what they fence off.

use std::vec::Vec;

use super::disk::ORIGIN;
use super::world::{config, id};
use crate::codec::Chain;
use crate::replication::{
    Ack, Body, CommitRule, Event, Heartbeat, Hello, LogEnd, LogState, Message, Moment, Output, Position,
    PromiseRequest, Promised, PromoteError, Promotion, PromotionFailure, Refusal, Replica, ReplicaId, RoleKind,
    Verified,
};
use crate::types::{Epoch, Lsn};

fn at(millis: u64) -> Moment {
    Moment::new(millis)
}

fn outputs(replica: &mut Replica) -> Vec<Output> {
    core::iter::from_fn(|| replica.poll_output()).collect()
}

fn sent(outputs: &[Output]) -> Vec<(ReplicaId, Body)> {
    let body = |output: &Output| match output {
        Output::Send { to, message } => Some((*to, message.body.clone())),
        _ => None,
    };
    outputs.iter().filter_map(body).collect()
}

fn ticket(outputs: &[Output]) -> (u64, Promised) {
    let found = outputs.iter().find_map(|output| match output {
        Output::WriteSuperblock { ticket, promised } => Some((*ticket, *promised)),
        _ => None,
    });
    found.expect("a superblock write")
}

/// A log of one record, of `epoch`, flushed up to 64.
fn one_record(epoch: u32) -> LogState {
    let mut state = LogState::empty(ORIGIN);
    state.history.note(Epoch::new(epoch), Lsn::ZERO);
    LogState { end: Lsn::new(64), chain: Chain::new(64), durable: Lsn::new(64), ..state }
}

fn replica(number: u64, epoch: u32) -> Replica {
    let promised = Promised { promised: Epoch::new(epoch), epoch: Epoch::new(epoch), floor: None };
    let state = if epoch == 0 { LogState::empty(ORIGIN) } else { one_record(epoch) };
    Replica::new(config(number, 3, CommitRule::Quorum), state, promised, at(0)).unwrap()
}

fn heartbeat(from: u64, epoch: u32, sent: u64) -> Message {
    let config = config(from, 3, CommitRule::Quorum);
    let body = Heartbeat {
        cluster: config.cluster,
        partition: config.partition,
        committed: Lsn::ZERO,
        sent: Lsn::new(sent),
        at: at(1_000),
    };
    Message { epoch: Epoch::new(epoch), body: Body::Heartbeat(body) }
}

fn request(epoch: u32, position: Position) -> Message {
    let config = config(2, 3, CommitRule::Quorum);
    let body = PromiseRequest { cluster: config.cluster, partition: config.partition, position };
    Message { epoch: Epoch::new(epoch), body: Body::PromiseRequest(body) }
}

fn position(epoch: u32, lsn: u64) -> Position {
    Position { epoch: Epoch::new(epoch), lsn: Lsn::new(lsn) }
}

/// What replica 1 of three asks for after epoch 1.
const LED: Epoch = Epoch::new(17);

/// A replica with one record of epoch 1 that leads [`LED`] and has written the record of it, up to 96.
fn leader() -> Replica {
    let mut replica = replica(1, 1);
    replica.handle_promote(Promotion::Safe).unwrap();
    let (first, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(500), first);
    let promise = Message { epoch: LED, body: Body::Promise { position: position(1, 64) } };
    replica.handle_message(at(501), id(2), promise);
    let (second, promised) = ticket(&outputs(&mut replica));
    assert_eq!(promised.epoch, LED);
    replica.handle_superblock_written(at(502), second);
    assert!(outputs(&mut replica).contains(&Output::Lead { epoch: LED }));
    replica.handle_appended(Lsn::new(96), Chain::new(96));
    replica
}

fn follower_acks(replica: &mut Replica, from: u64, flushed: u64) {
    let ack = Ack { received: Lsn::new(flushed), flushed: Lsn::new(flushed), at: at(0) };
    replica.handle_message(at(600), id(from), Message { epoch: LED, body: Body::Ack(ack) });
}

#[test]
fn a_promise_is_durable_before_it_is_answered() {
    let mut replica = replica(1, 1);
    replica.handle_message(at(900), id(2), request(5, position(1, 64)));
    let out = outputs(&mut replica);
    let (number, promised) = ticket(&out);
    assert_eq!(promised.promised, Epoch::new(5));
    assert!(sent(&out).is_empty(), "nothing is said before the superblock is written");
    replica.handle_message(at(901), id(2), request(5, position(1, 64)));
    assert!(outputs(&mut replica).is_empty());
    replica.handle_superblock_written(at(902), number);
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), Body::Promise { position: position(1, 64) })]);
    // Asked again, it says so again; another candidate of the same epoch gets nothing.
    replica.handle_message(at(903), id(2), request(5, position(1, 64)));
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), Body::Promise { position: position(1, 64) })]);
    replica.handle_message(at(904), id(3), request(5, position(1, 64)));
    assert_eq!(sent(&outputs(&mut replica)), [(id(3), Body::Refuse(Refusal::Stale))]);
}

#[test]
fn a_promise_outlives_a_restart() {
    let promised = Promised { promised: Epoch::new(5), epoch: Epoch::new(1), floor: None };
    let mut replica = Replica::new(config(1, 3, CommitRule::Quorum), one_record(1), promised, at(0)).unwrap();
    replica.handle_message(at(900), id(3), heartbeat(3, 4, 0));
    assert_eq!(sent(&outputs(&mut replica)), [(id(3), Body::Refuse(Refusal::Stale))]);
    // To whom the fifth was promised is forgotten, so nobody gets it now.
    replica.handle_message(at(901), id(2), request(5, position(1, 64)));
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), Body::Refuse(Refusal::Stale))]);
    assert_eq!(replica.handle_promote(Promotion::Safe), Ok(LED), "its own next epoch is above it");
}

#[test]
fn a_leaders_epoch_is_durable_before_it_is_followed() {
    let mut replica = replica(1, 1);
    replica.handle_message(at(10), id(3), heartbeat(3, 4, 0));
    let out = outputs(&mut replica);
    let (number, promised) = ticket(&out);
    assert_eq!((promised.promised, promised.epoch), (Epoch::new(4), Epoch::new(4)));
    assert!(sent(&out).is_empty());
    replica.handle_superblock_written(at(11), number);
    let said = sent(&outputs(&mut replica));
    assert!(matches!(&said[..], [(to, Body::Hello(Hello { .. }))] if *to == id(3)), "{said:?}");
}

#[test]
fn a_promise_is_denied_for_a_reason() {
    let deny = |replica: &mut Replica, now: u64, message: Message| {
        replica.handle_message(at(now), id(2), message);
        sent(&outputs(replica)).pop()
    };
    let refused = |refusal| Some((id(2), Body::Refuse(refusal)));
    let mut voter = replica(1, 3);
    assert_eq!(deny(&mut voter, 1, request(9, position(3, 64))), refused(Refusal::LeaseRunning));
    assert_eq!(deny(&mut voter, 900, request(9, Position::default())), refused(Refusal::EmptyCandidate));
    let longer = refused(Refusal::Longer(position(3, 64)));
    assert_eq!(deny(&mut voter, 900, request(9, position(3, 32))), longer);
    assert_eq!(deny(&mut voter, 900, request(9, position(2, 640))), longer, "a later epoch outweighs a longer log");
    assert_eq!(deny(&mut voter, 900, request(2, position(3, 64))), refused(Refusal::Stale));
    let mut blank = replica(1, 0);
    assert_eq!(deny(&mut blank, 900, request(9, position(1, 64))), refused(Refusal::Blank));
    let mut learner = config(4, 3, CommitRule::Quorum);
    learner.learners = Vec::from([id(4)]);
    let mut learner = Replica::new(learner, LogState::empty(ORIGIN), Promised::default(), at(0)).unwrap();
    assert_eq!(deny(&mut learner, 900, request(9, position(1, 64))), refused(Refusal::NotAVoter));
    assert_eq!(learner.handle_promote(Promotion::Safe), Err(PromoteError::NotAVoter));
}

#[test]
fn a_replica_below_its_floor_leads_not_and_promises_only_whoever_reaches_it() {
    let floor = Some(position(1, 128));
    let promised = Promised { promised: Epoch::new(1), epoch: Epoch::new(1), floor };
    let mut replica = Replica::new(config(1, 3, CommitRule::Quorum), one_record(1), promised, at(0)).unwrap();
    assert_eq!(replica.handle_promote(Promotion::Safe), Err(PromoteError::Restoring { floor: position(1, 128) }));
    let forced = replica.handle_promote(Promotion::LosingCommittedWrites);
    assert_eq!(forced, Err(PromoteError::Restoring { floor: position(1, 128) }));
    replica.handle_message(at(900), id(2), request(9, position(1, 96)));
    let own = Body::Refuse(Refusal::Blank);
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), own)], "longer than its own log, and too short");
    replica.handle_message(at(901), id(2), request(9, position(1, 128)));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(902), number);
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), Body::Promise { position: position(1, 128) })]);
}

#[test]
fn a_promotion_by_force_says_what_it_keeps() {
    let mut replica = replica(1, 1);
    let epoch = replica.handle_promote(Promotion::LosingCommittedWrites).unwrap();
    for _ in 0..2 {
        let (number, _) = ticket(&outputs(&mut replica));
        replica.handle_superblock_written(at(1), number);
    }
    let forced = Event::Forced { epoch, kept: position(1, 64), committed: Lsn::ZERO, leader_committed: Lsn::ZERO };
    let forced = Output::Event(forced);
    let told: Vec<Output> = outputs(&mut replica);
    let (said, leads) = (told.iter().position(|one| *one == forced), told.contains(&Output::Lead { epoch }));
    assert!(said.is_some() && leads, "{told:?}");
}

#[test]
fn a_promotion_by_force_says_what_leaders_have_committed_that_it_lacks() {
    let mut replica = replica(1, 1);
    for (epoch, committed) in [(2, 640), (3, 96), (3, 80)] {
        let mut said = heartbeat(3, epoch, 0);
        if let Body::Heartbeat(heartbeat) = &mut said.body {
            heartbeat.committed = Lsn::new(committed);
        }
        replica.handle_message(at(10), id(3), said.clone());
        let told = outputs(&mut replica);
        if told.iter().any(|one| matches!(one, Output::WriteSuperblock { .. })) {
            replica.handle_superblock_written(at(10), ticket(&told).0);
            replica.handle_message(at(10), id(3), said);
        }
    }
    let epoch = replica.handle_promote(Promotion::LosingCommittedWrites).unwrap();
    let mut told = outputs(&mut replica);
    while !told.contains(&Output::Lead { epoch }) {
        let (number, _) = ticket(&told);
        replica.handle_superblock_written(at(20), number);
        told = outputs(&mut replica);
    }
    let (kept, leader_committed) = (position(1, 64), Lsn::new(96));
    let forced = Event::Forced { epoch, kept, committed: Lsn::ZERO, leader_committed };
    assert!(told.contains(&Output::Event(forced)), "not what an older history had: {told:?}");
}

/// A voter lost its disk and began to follow a leader that was gone before anybody had the record of its epoch: nobody
/// ever reaches the floor that it took then. Whoever holds what there is leads with everybody's word.
#[test]
fn a_floor_that_nobody_reaches_keeps_nobody_from_leading_who_has_everything() {
    let epoch = Epoch::new;
    let whole = Promised { promised: epoch(1), epoch: epoch(1), floor: None };
    let floor = Some(position(82, 64));
    let lost = Promised { promised: epoch(82), epoch: epoch(82), floor };
    let rule = CommitRule::Quorum;
    let empty = LogState::empty(ORIGIN);
    let mut lost = Replica::new(config(3, 3, rule), empty, lost, at(0)).unwrap();
    lost.handle_message(at(900), id(1), request(97, position(1, 64)));
    assert_eq!(sent(&outputs(&mut lost)), [(id(1), Body::Refuse(Refusal::Blank))]);
    let mut candidate = Replica::new(config(1, 3, rule), one_record(1), whole, at(0)).unwrap();
    let asked = candidate.handle_promote(Promotion::Safe).unwrap();
    let (number, _) = ticket(&outputs(&mut candidate));
    candidate.handle_superblock_written(at(900), number);
    outputs(&mut candidate);
    let says = |body| Message { epoch: asked, body };
    candidate.handle_message(at(901), id(3), says(Body::Refuse(Refusal::Blank)));
    assert_eq!(candidate.role(), RoleKind::Candidate, "the other one may have more");
    candidate.handle_message(at(902), id(2), says(Body::Promise { position: position(1, 64) }));
    let (number, promised) = ticket(&outputs(&mut candidate));
    assert_eq!(promised.epoch, asked);
    candidate.handle_superblock_written(at(903), number);
    assert_eq!(candidate.role(), RoleKind::Leader);
}

/// Raft, figure 8: a record of an older epoch on a majority can still be overruled.
#[test]
fn records_of_an_older_epoch_are_not_counted() {
    let mut replica = leader();
    replica.handle_durable(Lsn::new(64));
    follower_acks(&mut replica, 2, 64);
    follower_acks(&mut replica, 3, 64);
    assert_eq!(replica.committed(), Lsn::ZERO, "all three hold the record of epoch 1, and that is not enough");
    follower_acks(&mut replica, 2, 96);
    assert_eq!(replica.committed(), Lsn::ZERO, "the leader itself has not flushed its epoch record");
    follower_acks(&mut replica, 3, 96);
    assert_eq!(replica.committed(), Lsn::new(96), "two others are a majority");
    assert_eq!(replica.replicas_flushed(Lsn::new(96)), Some(2));
}

#[test]
fn a_leader_that_hears_of_a_newer_epoch_confirms_nothing_more() {
    let mut replica = leader();
    replica.handle_durable(Lsn::new(96));
    let stale = Message { epoch: Epoch::new(18), body: Body::Refuse(Refusal::Stale) };
    replica.handle_message(at(600), id(3), stale);
    follower_acks(&mut replica, 2, 96);
    assert_eq!((replica.role(), replica.committed()), (RoleKind::Follower, Lsn::ZERO));
    assert!(outputs(&mut replica).contains(&Output::Event(Event::Deposed { epoch: LED })));
}

#[test]
fn what_a_leader_appended_before_it_saw_that_it_is_deposed_is_part_of_its_log() {
    let mut replica = leader();
    replica.handle_message(at(600), id(3), heartbeat(3, 19, 0));
    replica.handle_appended(Lsn::new(112), Chain::new(112));
    let (write, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(601), write);
    let sent = sent(&outputs(&mut replica));
    let Some((_, Body::Hello(hello))) = sent.first() else { panic!("{sent:?}") };
    assert_eq!((hello.end, hello.chain, hello.epochs_end), (Lsn::new(112), Chain::new(112), Lsn::new(112)));
    assert_eq!(hello.epochs.last().map(|start| start.epoch), Some(LED));
}

#[test]
fn a_candidate_gives_way_to_a_longer_log() {
    let mut replica = replica(1, 1);
    replica.handle_promote(Promotion::Safe).unwrap();
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(500), number);
    let promise = Message { epoch: LED, body: Body::Promise { position: position(1, 128) } };
    replica.handle_message(at(501), id(3), promise);
    let cause = PromotionFailure::Longer { peer: id(3), position: position(1, 128) };
    let failed = Output::Event(Event::PromotionFailed { epoch: LED, cause });
    assert!(outputs(&mut replica).contains(&failed));
    assert_eq!(replica.role(), RoleKind::Follower);
}

#[test]
fn a_promotion_taken_back_while_it_is_written_does_not_lead() {
    let mut replica = replica(1, 1);
    replica.handle_promote(Promotion::LosingCommittedWrites).unwrap();
    let (first, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(1), first);
    let (second, _) = ticket(&outputs(&mut replica));
    replica.handle_demote();
    replica.handle_superblock_written(at(2), second);
    assert!(!outputs(&mut replica).iter().any(|output| matches!(output, Output::Lead { .. })));
    assert_eq!(replica.role(), RoleKind::Follower);
}

#[test]
fn a_replica_alone_leads_at_once() {
    let promised = Promised { promised: Epoch::new(1), epoch: Epoch::new(1), floor: None };
    let mut replica = Replica::new(config(1, 1, CommitRule::Quorum), one_record(1), promised, at(0)).unwrap();
    replica.handle_promote(Promotion::Safe).unwrap();
    let (first, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(1), first);
    let (second, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(1), second);
    assert!(replica.may_serve_reads(at(1)));
    replica.handle_appended(Lsn::new(96), Chain::new(96));
    replica.handle_durable(Lsn::new(96));
    assert_eq!(replica.committed(), Lsn::new(96));
}

/// What the log's end and its chain value agree on is streamed; an order about another state of the log is stale.
#[test]
fn a_late_cut_touches_nothing() {
    let mut replica = replica(1, 1);
    replica.handle_message(at(10), id(3), heartbeat(3, 4, 0));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(11), number);
    let end = LogEnd { lsn: Lsn::new(64), chain: Chain::new(64) };
    let say = |replica: &mut Replica, body| {
        replica.handle_message(at(12), id(3), Message { epoch: Epoch::new(4), body });
        outputs(replica)
    };
    let elsewhere = LogEnd { chain: Chain::new(1), ..end };
    let cut = |end| Body::Cut { end, to: Lsn::ZERO };
    let is_cut = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Cut { .. }));
    assert!(!is_cut(&say(&mut replica, cut(elsewhere))));
    let bytes = Body::Bytes { from: Lsn::new(64), to: Lsn::new(128), committed: Lsn::new(100) };
    let is_taken = |outputs: &[Output]| outputs.iter().any(|output| matches!(output, Output::Receive { .. }));
    say(&mut replica, Body::Resume(elsewhere));
    assert!(!is_taken(&say(&mut replica, bytes.clone())), "the leader has not agreed to this log");
    say(&mut replica, Body::Resume(end));
    assert!(!is_cut(&say(&mut replica, cut(end))), "what was agreed on is not cut");
    let taken = Output::Receive { skip: 0, from: Lsn::new(64), upto: Lsn::new(128) };
    assert!(say(&mut replica, bytes.clone()).contains(&taken));
    replica.handle_received(&[Verified { epoch: Epoch::new(4), end: Lsn::new(112), chain: Chain::new(112) }]);
    let out = outputs(&mut replica);
    assert!(
        out.contains(&Output::Flush { upto: Lsn::new(112) })
            && out.contains(&Output::Committed { upto: Lsn::new(100) })
    );
    let Body::Heartbeat(beat) = heartbeat(3, 4, 128).body else { panic!("a heartbeat") };
    let flushed = |outputs: &[Output]| match &sent(outputs)[..] {
        [(_, Body::Ack(ack))] => ack.flushed.get(),
        other => panic!("{other:?}"),
    };
    assert_eq!(flushed(&say(&mut replica, Body::Heartbeat(beat))), 64, "verified is not flushed");
    replica.handle_durable(Lsn::new(112));
    assert_eq!(flushed(&outputs(&mut replica)), 112);
    assert!(say(&mut replica, bytes).iter().all(|output| !matches!(output, Output::Receive { .. })), "twice is once");
    let overlap = Body::Bytes { from: Lsn::new(96), to: Lsn::new(160), committed: Lsn::ZERO };
    let rest = Output::Receive { skip: 32, from: Lsn::new(128), upto: Lsn::new(160) };
    assert!(say(&mut replica, overlap).contains(&rest));
    let gap = Body::Bytes { from: Lsn::new(320), to: Lsn::new(336), committed: Lsn::ZERO };
    assert!(say(&mut replica, gap).iter().all(|output| !matches!(output, Output::Receive { .. })));
}

#[test]
fn what_is_known_to_be_committed_is_cut_by_permission_only() {
    let mut replica = replica(1, 1);
    replica.handle_message(at(10), id(3), heartbeat(3, 4, 0));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(11), number);
    let end = LogEnd { lsn: Lsn::new(64), chain: Chain::new(64) };
    replica.handle_message(at(12), id(3), Message { epoch: Epoch::new(4), body: Body::Resume(end) });
    let bytes = Body::Bytes { from: Lsn::ZERO, to: Lsn::new(64), committed: Lsn::new(64) };
    replica.handle_message(at(12), id(3), Message { epoch: Epoch::new(4), body: bytes });
    assert_eq!(replica.committed(), Lsn::new(64));
    outputs(&mut replica);
    replica.handle_message(at(20), id(2), heartbeat(2, 5, 0));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(21), number);
    outputs(&mut replica);
    let cut = Message { epoch: Epoch::new(5), body: Body::Cut { end, to: Lsn::ZERO } };
    replica.handle_message(at(22), id(2), cut.clone());
    let refusal = Refusal::WouldLoseCommitted { committed: Lsn::new(64) };
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), Body::Refuse(refusal))]);
    replica.permit_loss();
    replica.handle_message(at(23), id(2), cut);
    assert!(outputs(&mut replica).contains(&Output::Cut { to: Lsn::ZERO }));
    replica.handle_cut(at(24), Lsn::ZERO, ORIGIN);
    assert_eq!((replica.committed(), replica.position()), (Lsn::ZERO, Position::default()));
}

/// A follower whose disk is full hears its leader and answers, and asks for nothing before there is room.
#[test]
fn a_follower_without_room_answers_heartbeats_and_asks_for_nothing() {
    let mut replica = replica(1, 1);
    replica.handle_message(at(10), id(3), heartbeat(3, 4, 0));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(11), number);
    let end = LogEnd { lsn: Lsn::new(64), chain: Chain::new(64) };
    let say = |replica: &mut Replica, millis, body| {
        replica.handle_message(at(millis), id(3), Message { epoch: Epoch::new(4), body });
        sent(&outputs(replica))
    };
    say(&mut replica, 12, Body::Resume(end));
    say(&mut replica, 13, Body::Bytes { from: Lsn::new(64), to: Lsn::new(500), committed: Lsn::ZERO });
    replica.handle_no_room();
    replica.handle_received(&[]);
    for millis in [500, 1_000, 2_000] {
        let said = say(&mut replica, millis, heartbeat(3, 4, 500).body);
        let [(_, Body::Ack(ack))] = &said[..] else { panic!("{said:?}") };
        assert_eq!((ack.received, ack.flushed), (Lsn::ZERO, Lsn::ZERO));
        replica.handle_tick(at(millis + 1));
        assert!(outputs(&mut replica).is_empty(), "nothing is asked for");
    }
    replica.handle_room(at(2_001));
    assert!(matches!(&sent(&outputs(&mut replica))[..], [(_, Body::Hello(hello))] if hello.end == end.lsn));
    say(&mut replica, 2_002, Body::Resume(end));
    assert!(replica.is_streaming());
}

/// Each voter has one of sixteen successive epochs for itself, by its place among the voters.
#[test]
fn no_two_voters_ask_for_the_same_epoch() {
    let mut asked = Vec::new();
    for newest in 1..40 {
        for number in 1..=3 {
            let promised = Promised { promised: Epoch::new(newest), epoch: Epoch::new(1), floor: None };
            let mut replica =
                Replica::new(config(number, 3, CommitRule::Quorum), one_record(1), promised, at(0)).unwrap();
            let epoch = replica.handle_promote(Promotion::LosingCommittedWrites).unwrap().get();
            assert!(epoch > newest && epoch <= newest + 16, "{number} asks for {epoch} after {newest}");
            asked.push((epoch, number));
        }
    }
    asked.sort_unstable();
    asked.dedup();
    assert!(asked.windows(2).all(|pair| pair[0].0 < pair[1].0), "{asked:?}");
}

/// Where the nodes were told of different voters, two may ask for one epoch all the same: whoever has not won it follows
/// the one that has.
#[test]
fn a_candidate_follows_whoever_leads_in_its_epoch() {
    let mut replica = replica(1, 1);
    let epoch = replica.handle_promote(Promotion::Safe).unwrap();
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(11), number);
    outputs(&mut replica);
    replica.handle_message(at(12), id(3), heartbeat(3, epoch.get(), 0));
    let outputs = outputs(&mut replica);
    assert!(outputs.contains(&Output::Event(Event::Following { leader: id(3), epoch })), "{outputs:?}");
    assert!(outputs.iter().any(|one| matches!(one, Output::Event(Event::PromotionFailed { .. }))), "{outputs:?}");
    let said = sent(&outputs);
    assert!(said.iter().all(|(to, body)| *to == id(3) && !matches!(body, Body::Refuse(_))), "{said:?}");
    // What it promised itself is promised to nobody else.
    let request = Body::PromiseRequest(PromiseRequest {
        cluster: config(2, 3, CommitRule::Quorum).cluster,
        partition: config(2, 3, CommitRule::Quorum).partition,
        position: Position { epoch, lsn: Lsn::new(1_000) },
    });
    replica.handle_message(at(500), id(2), Message { epoch, body: request });
    let said = sent(&self::outputs(&mut replica));
    assert!(said.contains(&(id(2), Body::Refuse(Refusal::Stale))), "{said:?}");
}

/// What was known to be committed is so after a restart, too, as far as it was written down.
#[test]
fn what_was_committed_before_a_restart_is_cut_by_permission_only() {
    let promised = Promised { promised: Epoch::new(1), epoch: Epoch::new(1), floor: None };
    let state = LogState { committed: Lsn::new(64), ..one_record(1) };
    let mut replica = Replica::new(config(1, 3, CommitRule::Quorum), state, promised, at(0)).unwrap();
    assert_eq!(replica.committed(), Lsn::new(64));
    replica.handle_message(at(20), id(2), heartbeat(2, 5, 0));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(21), number);
    outputs(&mut replica);
    let end = LogEnd { lsn: Lsn::new(64), chain: Chain::new(64) };
    replica.handle_message(at(22), id(2), Message { epoch: Epoch::new(5), body: Body::Cut { end, to: Lsn::ZERO } });
    let refusal = Refusal::WouldLoseCommitted { committed: Lsn::new(64) };
    assert_eq!(sent(&outputs(&mut replica)), [(id(2), Body::Refuse(refusal))]);
}

/// A follower of a forced leader in epoch 5, whose log ends at 64, that starts at `log_start` and is committed up to
/// `committed`; and what it does when it is told to begin anew.
fn restarted(log_start: u64, committed: u64, body: impl Fn(LogEnd) -> Body) -> (Replica, Vec<Output>) {
    let promised = Promised { promised: Epoch::new(1), epoch: Epoch::new(1), floor: None };
    let state = LogState { start: Lsn::new(log_start), committed: Lsn::new(committed), ..one_record(1) };
    let mut replica = Replica::new(config(1, 3, CommitRule::Quorum), state, promised, at(0)).unwrap();
    replica.handle_message(at(20), id(2), heartbeat(2, 5, 0));
    let (number, _) = ticket(&outputs(&mut replica));
    replica.handle_superblock_written(at(21), number);
    outputs(&mut replica);
    let end = LogEnd { lsn: Lsn::new(64), chain: Chain::new(64) };
    replica.handle_message(at(22), id(2), Message { epoch: Epoch::new(5), body: body(end) });
    let said = outputs(&mut replica);
    (replica, said)
}

/// The order to begin anew is looked at, too: a leader that lacks what is known to be committed is not obeyed.
#[test]
fn a_log_is_not_begun_anew_without_what_is_known_to_be_committed() {
    let lsn = Lsn::new;
    // Where the log starts, what is committed; the leader's start, its chain value there, what is common; what is lost.
    let cases = [
        (0, 64, 32, 1, None, Some(32), "records that the leader should hold and does not"),
        (0, 64, 0, 1, Some(16), Some(16), "the logs part before what is committed"),
        (32, 32, 0, 1, Some(16), Some(16), "they part in what was freed here, which was committed"),
        (0, 64, 64, 1, None, Some(0), "another record stands before the leader's start than the committed one"),
        (0, 64, 128, 1, None, None, "the leader has freed what this replica holds, and more"),
        (0, 32, 64, 1, None, None, "what differs may lie behind what is committed"),
        (0, 32, 32, 1, None, None, "the same"),
        (32, 32, 0, 1, Some(32), None, "only what is not committed differs"),
        (0, 0, 0, 1, Some(0), None, "nothing is known to be committed"),
    ];
    for (log_start, committed, start, chain, common, lost, why) in cases {
        let order =
            |end| Body::Restart { end, start: lsn(start), start_chain: Chain::new(chain), common: common.map(lsn) };
        let (mut replica, said) = restarted(log_start, committed, order);
        let begins = said.iter().any(|output| matches!(output, Output::WriteSuperblock { .. }));
        let Some(to) = lost else {
            assert!(begins, "{why}: {said:?}");
            continue;
        };
        let committed = lsn(committed);
        assert!(said.contains(&Output::Event(Event::WouldLoseCommitted { to: lsn(to), committed })), "{why}: {said:?}");
        assert!(!begins && sent(&said) == [(id(2), Body::Refuse(Refusal::WouldLoseCommitted { committed }))], "{why}");
        replica.permit_loss();
        let end = LogEnd { lsn: lsn(64), chain: Chain::new(64) };
        replica.handle_message(at(23), id(2), Message { epoch: Epoch::new(5), body: order(end) });
        let (_, promised) = ticket(&outputs(&mut replica));
        assert_eq!(promised.floor, Some(position(1, 64)), "{why}: it does so where the operator permits it");
    }
}

#[test]
fn epochs_end_before_they_wrap() {
    let promised = Promised { promised: Epoch::new(u32::MAX), epoch: Epoch::new(1), floor: None };
    let mut replica = Replica::new(config(1, 3, CommitRule::Quorum), one_record(1), promised, at(0)).unwrap();
    assert_eq!(replica.handle_promote(Promotion::Safe), Err(PromoteError::NoEpochLeft));
}
