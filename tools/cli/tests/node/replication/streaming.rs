//! The log reaches all nodes, the same bytes everywhere, whatever happens on the way.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::proxy::{Faults, proxy};
use super::set::{Set, check, fill, is_error, local, write};
use crate::support::{Client, Reply, bulk, ok, until};

#[test]
fn all_nodes_hold_the_same_bytes() {
    let set = Set::running(3);
    let mut leader = set.connect(0);
    fill(&mut leader, "a", 500);
    assert_eq!(leader.call(&["WAIT", "2", "60000"]).unwrap(), Reply::Integer(2));
    assert_eq!(
        leader.call(&["WAITAOF", "1", "2", "60000"]).unwrap(),
        Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)])
    );
    assert_eq!(set.info(0, "connected_slaves").as_deref(), Some("2"));
    set.settle(0);
    for number in [1, 2] {
        let port = set.members[0].client_port;
        let mut follower = set.connect(number);
        let moved = format!("127.0.0.1:{port}");
        let ends = |reply: &std::io::Result<Reply>| matches!(reply, Ok(Reply::Error(text)) if text.starts_with("MOVED ") && text.ends_with(&moved));
        let (read, written) = (follower.call(&["GET", "a1"]), follower.call(&["SET", "a1", "x"]));
        assert!(ends(&read) && ends(&written), "{read:?} {written:?}");
        follower.call(&["READONLY"]).unwrap();
        check(&mut follower, "a", 500);
        let written = follower.call(&["SET", "a1", "x"]);
        assert!(ends(&written), "{written:?}");
        assert!(is_error(&follower.call(&["FLUSHALL"]), "READONLY "));
        let Reply::Array(role) = follower.call(&["ROLE"]).unwrap() else { panic!() };
        assert_eq!(role[0], bulk("slave"));
        assert_eq!(role[2], Reply::Integer(port.into()));
        assert_eq!(role[3], bulk("connected"));
    }
    set.end_with_the_same_logs(0);
}

/// What replies to a transaction of these commands.
fn transact(client: &mut Client, commands: &[&[&str]]) -> Reply {
    client.call(&["MULTI"]).unwrap();
    for command in commands {
        assert_eq!(client.call(command).unwrap(), Reply::Simple("QUEUED".to_owned()));
    }
    client.call(&["EXEC"]).unwrap()
}

#[test]
fn waits_in_a_transaction_count_the_followers_and_do_not_wait() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 10);
    assert_eq!(leader.call(&["WAIT", "2", "60000"]).unwrap(), Reply::Integer(2));
    let commands = [&["WAIT", "9", "0"][..], &["SET", "a1", "x"], &["WAITAOF", "1", "9", "0"]];
    let counts = |replicas| Reply::Array(vec![Reply::Integer(1), Reply::Integer(replicas)]);
    let replies = transact(&mut leader, &commands);
    assert_eq!(replies, Reply::Array(vec![Reply::Integer(2), ok(), counts(2)]));
    let mut follower = set.reader(2);
    let Reply::Array(refused) = transact(&mut follower, &commands[..1]) else { panic!() };
    assert!(matches!(&refused[..], [Reply::Error(text)] if text.starts_with("ERR WAIT cannot be used with replica")));
    set.kill(2);
    // Confirmed by the one that is left.
    write(&mut leader, "b", 10);
    let replies = transact(&mut leader, &commands);
    assert_eq!(replies, Reply::Array(vec![Reply::Integer(1), ok(), counts(1)]));
    set.start(2, &[]);
    set.settle(0);
    set.end_with_the_same_logs(0);
}

#[test]
fn a_follower_that_was_killed_catches_up() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 50);
    set.kill(2);
    fill(&mut leader, "b", 500);
    set.start(2, &[]);
    write(&mut leader, "c", 50);
    set.settle(0);
    let mut follower = set.reader(2);
    check(&mut follower, "b", 500);
    check(&mut follower, "c", 50);
    set.end_with_the_same_logs(0);
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_was() {
    let mut set = Set::new(3);
    let [two, zero] = start_through_proxies(&mut set);
    let mut leader = set.connect(0);
    for round in 0..5 {
        for faults in [&two, &zero] {
            faults.cut_after.store(faults.passed.load(Ordering::SeqCst) + 20_000, Ordering::SeqCst);
        }
        fill(&mut leader, &format!("{round}-"), 200);
        set.settle(0);
    }
    assert!(two.happened.load(Ordering::SeqCst) + zero.happened.load(Ordering::SeqCst) >= 3, "the faults have bitten");
    set.end_with_the_same_logs(0);
}

#[test]
fn a_flipped_bit_on_the_way_is_noticed_and_goes_nowhere() {
    let mut set = Set::new(3);
    let [two, zero] = start_through_proxies(&mut set);
    let mut leader = set.connect(0);
    for round in 0..5 {
        for faults in [&two, &zero] {
            faults.flip_after.store(faults.passed.load(Ordering::SeqCst) + 50_000, Ordering::SeqCst);
        }
        fill(&mut leader, &format!("{round}-"), 300);
        set.settle(0);
    }
    assert!(two.happened.load(Ordering::SeqCst) + zero.happened.load(Ordering::SeqCst) >= 3, "the faults have bitten");
    let mut follower = set.reader(2);
    check(&mut follower, "4-", 300);
    set.end_with_the_same_logs(0);
}

/// Starts three nodes; what goes between the first and the last goes through one of two proxies, whoever connects.
fn start_through_proxies(set: &mut Set) -> [Arc<Faults>; 2] {
    let (to_two, two) = proxy(local(set.members[2].peer_port));
    let (to_zero, zero) = proxy(local(set.members[0].peer_port));
    let ports: Vec<u16> = set.members.iter().map(|member| member.peer_port).collect();
    set.start_through(0, &|other| if other == 2 { to_two } else { ports[other] }, &[]);
    set.start(1, &[]);
    set.start_through(2, &|other| if other == 0 { to_zero } else { ports[other] }, &[]);
    set.wait_for_leader(0);
    [two, zero]
}

#[test]
fn a_follower_that_is_too_stale_does_not_answer_who_minds() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 10);
    set.settle(0);
    let mut patient = set.reader(1);
    let mut strict = set.reader(1);
    assert_eq!(strict.call(&["CLIENT", "STALENESS", "2000"]).unwrap(), ok());
    check(&mut strict, "a", 10);
    set.kill(0);
    set.kill(2);
    until("the follower is too stale", || is_error(&strict.call(&["GET", "a1"]), "STALE "));
    check(&mut patient, "a", 10);
    until("it knows that nobody leads", || is_error(&patient.call(&["SET", "a1", "x"]), "CLUSTERDOWN "));
}
