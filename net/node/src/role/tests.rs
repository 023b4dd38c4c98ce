use std::time::{Duration, Instant};

use windrow_core::types::PartitionId;

use super::*;

const READS: Access = Access { read_only: true, staleness: None };

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[test]
fn a_leader_serves_until_its_lease_is_over() {
    let at = Instant::now();
    let role = Role::Leader { until: at + ms(10) };
    for writes in [true, false] {
        assert_eq!(role.verdict(writes, Access::default(), at), Verdict::Run);
        let over = role.verdict(writes, Access::default(), at + ms(10));
        assert_eq!(over, Verdict::Refuse(Refusal::NoQuorum));
        assert_eq!(Role::Alone.verdict(writes, Access::default(), at), Verdict::Run);
    }
    assert!(role.appends(at) && !role.appends(at + ms(10)) && Role::Alone.appends(at));
}

#[test]
fn writes_are_held_and_reads_go_on_while_leadership_is_handed_over() {
    let at = Instant::now();
    let role = Role::HandingOver { until: Some(at + ms(10)) };
    assert_eq!(role.verdict(true, Access::default(), at), Verdict::Hold);
    assert_eq!(role.verdict(true, Access::default(), at + ms(10)), Verdict::Hold);
    assert_eq!(role.verdict(false, Access::default(), at), Verdict::Run);
    assert_eq!(role.verdict(false, Access::default(), at + ms(10)), Verdict::Refuse(Refusal::NoQuorum));
    assert_eq!(Role::HandingOver { until: None }.verdict(false, Access::default(), at), Verdict::Run);
    assert!(!role.appends(at), "nothing is appended behind the last write that was taken");
}

#[test]
fn a_leader_without_room_refuses_writes_and_goes_on_reading() {
    let at = Instant::now();
    let role = Role::OutOfSpace { until: at + ms(10) };
    assert_eq!(role.verdict(true, Access::default(), at), Verdict::Refuse(Refusal::NoRoom), "nobody waits for room");
    assert_eq!(role.verdict(false, Access::default(), at), Verdict::Run);
    assert_eq!(role.verdict(false, Access::default(), at + ms(10)), Verdict::Refuse(Refusal::NoQuorum));
    assert!(role.is_leader() && !role.appends(at));
    assert_eq!(role.stuck(at), Some(Stuck::WITHOUT_ROOM), "reads of what is not committed do not wait for room either");
}

#[test]
fn who_waits_for_a_commit_is_told_that_none_comes() {
    let at = Instant::now();
    let leader = Role::Leader { until: at + ms(10) };
    assert_eq!([at, at + ms(10)].map(|at| leader.stuck(at)), [None, Some(Stuck::WITHOUT_MAJORITY)]);
    let others = [Role::Alone, Role::HandingOver { until: None }, Role::Follower { fresh_at: None }];
    assert!(others.iter().all(|role| role.stuck(at).is_none()));
}

#[test]
fn a_follower_sends_writes_to_its_leader_if_it_knows_one() {
    let at = Instant::now();
    let (follower, leaderless) = (Role::Follower { fresh_at: None }, Role::Leaderless { fresh_at: None });
    for access in [Access::default(), READS] {
        assert_eq!(follower.verdict(true, access, at), Verdict::AskLeader);
        assert_eq!(leaderless.verdict(true, access, at), Verdict::Refuse(Refusal::NoLeader));
    }
    assert_eq!(follower.verdict(false, READS, at), Verdict::Run);
    assert_eq!(leaderless.verdict(false, READS, at), Verdict::Run, "what was committed stays readable");
    assert!(!follower.appends(at) && !leaderless.appends(at), "a follower deletes nothing by its own clock");
}

#[test]
fn a_follower_that_has_less_than_it_has_shown_shows_nothing() {
    let at = Instant::now();
    for leader_known in [true, false] {
        let role = Role::Restoring { leader_known };
        assert_eq!(role.verdict(false, READS, at), Verdict::Refuse(Refusal::Restoring));
        let write = if leader_known { Verdict::AskLeader } else { Verdict::Refuse(Refusal::NoLeader) };
        assert_eq!(role.verdict(true, READS, at), write);
        assert!(!role.appends(at) && !role.is_leader());
    }
    assert!(Refusal::Restoring.text().starts_with("LOADING "), "clients know this prefix as one to try again after");
}

#[test]
fn a_follower_reads_for_whoever_wants_that() {
    let role = Role::Follower { fresh_at: None };
    let unasked = role.verdict(false, Access::default(), Instant::now());
    let expected = if cfg!(feature = "shared-memory") { Verdict::Run } else { Verdict::AskLeader };
    assert_eq!(unasked, expected);
}

#[test]
fn reads_are_refused_that_would_be_staler_than_asked_for() {
    let then = Instant::now();
    let access = Access { staleness: Some(ms(100)), ..READS };
    for role in [Role::Follower { fresh_at: Some(then) }, Role::Leaderless { fresh_at: Some(then) }] {
        assert_eq!(role.verdict(false, access, then + ms(100)), Verdict::Run);
        assert_eq!(role.verdict(false, READS, then + ms(10_000)), Verdict::Run);
        let Verdict::Refuse(refusal) = role.verdict(false, access, then + ms(101)) else { panic!() };
        assert_eq!(refusal, Refusal::TooStale { age: Some(ms(101)), bound: ms(100) });
        assert_eq!(
            refusal.text(),
            "STALE This replica was last up to date 101 ms ago, and the connection accepts 100 ms"
        );
    }
    let unknown = Role::Follower { fresh_at: None }.verdict(false, access, then);
    assert_eq!(unknown, Verdict::Refuse(Refusal::TooStale { age: None, bound: ms(100) }));
}

fn follower(name: &str, flushed: u64, lag: u64, state: FollowerState, behind_since: Option<Instant>) -> Follower {
    Follower {
        name: name.to_owned(),
        address: Address { host: "10.0.0.2".to_owned(), port: 7_000 },
        is_voter: true,
        state,
        flushed,
        lag,
        behind_since,
        heard: None,
    }
}

#[test]
fn the_board_shows_the_worst_of_its_partitions() {
    let board = Board::new(2);
    assert!(!board.is_replicated() && board.part() == Part::Alone);
    let at = Instant::now();
    board.partition(PartitionId::new(0)).part = Part::Leader;
    board.partition(PartitionId::new(1)).part = Part::LeaderWithoutQuorum;
    assert!(board.is_replicated() && board.part() == Part::LeaderWithoutQuorum);
    board.partition(PartitionId::new(0)).followers =
        vec![follower("a", 10, 0, FollowerState::Online, None), follower("b", 7, 3, FollowerState::Offline, Some(at))];
    board.partition(PartitionId::new(1)).followers = vec![follower("a", 5, 1, FollowerState::Joining, Some(at))];
    let all = board.followers();
    assert_eq!(all.len(), 2);
    assert_eq!((all[0].flushed, all[0].lag, all[0].state), (15, 1, FollowerState::Joining));
    assert_eq!((all[0].behind_since, all[1].behind_since), (Some(at), Some(at)));
}
