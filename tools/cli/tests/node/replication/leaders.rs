//! Who leads: promotions, hand-overs, and old leaders that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::set::{Set, check, is_error, write};
use crate::support::{Client, Reply, bulk, ok, until};

#[test]
fn nothing_confirmed_is_lost_when_the_leader_is_killed() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 100);
    set.kill(0);
    set.promote(1, &[]).unwrap();
    let mut leader = set.connect(1);
    check(&mut leader, "a", 100);
    write(&mut leader, "b", 100);
    set.start(0, &[]);
    until("the old leader follows", || set.part(0) == "follower");
    set.settle(1);
    check(&mut set.reader(0), "b", 100);
    set.end_with_the_same_logs(1);
}

#[test]
fn whoever_leads_by_configuration_does_not_disturb_another_leader() {
    let mut set = Set::running(3);
    write(&mut set.connect(0), "a", 10);
    set.kill(0);
    set.promote(1, &[]).unwrap();
    let epoch = set.info(1, "replication_epoch");
    // Its peers take up to five seconds to call it again.
    set.start(0, &[]);
    until("the old leader follows", || set.part(0) == "follower");
    write(&mut set.connect(1), "b", 10);
    assert_eq!(set.info(1, "replication_epoch"), epoch, "nobody else has asked to lead");
    set.end_with_the_same_logs(1);
}

#[test]
fn an_old_leader_cuts_what_was_never_committed_and_keeps_it_aside() {
    let mut set = Set::new(3);
    // Long enough for a write while the others stand still, on a busy machine, too.
    set.lease = "6s";
    (0..3).for_each(|number| set.start(number, &[]));
    set.wait_for_leader(0);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 20);
    set.settle(0);
    for number in [1, 2] {
        set.server(number).pause();
    }
    // Appended and flushed on the leader, and nowhere else.
    let before = appended(&set, 0);
    leader.send(&[&["SET", "lost", "never confirmed"]]).unwrap();
    until("the write is on the leader's disk", || appended(&set, 0) > before);
    // What has been sent lies in the sockets of the others, and goes with them.
    (0..3).for_each(|number| set.kill(number));
    (1..3).for_each(|number| set.start(number, &[]));
    set.promote(2, &[]).unwrap();
    let mut leader = set.connect(2);
    write(&mut leader, "b", 20);
    set.start(0, &[]);
    // Before it is cut, while it is and afterwards: nobody is shown what was never confirmed.
    let mut reader = set.reader(0);
    until("it has everything", || {
        let reply = reader.call(&["GET", "lost"]);
        assert!(!matches!(&reply, Ok(Reply::Bulk(Some(_)))), "{reply:?}");
        set.offset(0) == set.offset(2)
    });
    set.settle(2);
    assert_eq!(set.reader(0).call(&["GET", "lost"]).unwrap(), Reply::Bulk(None));
    check(&mut set.reader(0), "b", 20);
    until("it has said so", || set.server(0).said().iter().any(|line| line.contains("the log was cut back")));
    let kept = find_aside(&set.members[0].dir);
    assert!(kept, "what was cut is kept beside the log");
    set.end_with_the_same_logs(2);
}

/// Whether the write that was cut lies in some file of a node that is no segment of its log.
fn find_aside(dir: &std::path::Path) -> bool {
    let holds = |path: &std::path::Path| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(15).any(|window| window == b"never confirmed")
    };
    std::fs::read_dir(dir).unwrap().map_while(Result::ok).any(|entry| {
        let path = entry.path();
        if path.is_dir() { find_aside(&path) } else { path.extension().is_none_or(|end| end != "seg") && holds(&path) }
    })
}

/// How far the log of a node is flushed.
pub(super) fn appended(set: &Set, number: usize) -> u64 {
    let metrics = set.connect(number).call(&["INFO", "windrow"]).unwrap();
    let Reply::Bulk(Some(text)) = metrics else { panic!() };
    let line = text.lines().find_map(|line| line.strip_prefix("partition_0:")).unwrap().to_owned();
    line.split(',').find_map(|field| field.strip_prefix("durable=")).unwrap().parse().unwrap()
}

#[test]
fn a_leader_that_was_paused_wakes_up_fenced() {
    let set = Set::running(3);
    let mut old = set.connect(0);
    write(&mut old, "a", 20);
    assert_eq!(old.call(&["SET", "key", "old"]).unwrap(), ok());
    let mut waiting = set.connect(0);
    let [mut reads, mut writes] = ["GET", "DEL"].map(|command| {
        let mut client = set.connect(0);
        assert_eq!(client.call(&["MULTI"]).unwrap(), ok());
        assert_eq!(client.call(&[command, "key"]).unwrap(), Reply::Simple("QUEUED".to_owned()));
        client
    });
    set.server(0).pause();
    // They arrive while it is paused, and are executed when it wakes up.
    old.send(&[&["GET", "key"]]).unwrap();
    waiting.send(&[&["SET", "key", "from the grave"]]).unwrap();
    reads.send(&[&["EXEC"]]).unwrap();
    writes.send(&[&["EXEC"]]).unwrap();
    set.promote(1, &[]).unwrap();
    let mut leader = set.connect(1);
    assert_eq!(leader.call(&["SET", "key", "new"]).unwrap(), ok());
    set.server(0).signal("CONT");
    let (read, written) = (old.receive(), waiting.receive());
    assert!(!matches!(&read, Ok(Reply::Bulk(_))), "a stale read: {read:?}");
    let refused =
        ["NOREPLICAS ", "MOVED ", "CLUSTERDOWN ", "UNCONFIRMED "].iter().any(|prefix| is_error(&written, prefix));
    assert!(refused || written.is_err(), "a write by a leader that is none: {written:?}");
    // What was queued while it led is a read of now, and a write of now, too.
    let (read, written) = (reads.receive(), writes.receive());
    assert!(!matches!(&read, Ok(Reply::Array(_))), "a stale read: {read:?}");
    assert!(!matches!(&written, Ok(Reply::Array(_))), "a write by a leader that is none: {written:?}");
    until("the old leader follows", || set.part(0) == "follower");
    assert_eq!(leader.call(&["GET", "key"]).unwrap(), bulk("new"));
    set.end_with_the_same_logs(1);
}

/// The newest epoch that a node knows to be promised.
fn epoch(set: &Set, number: usize) -> u32 {
    set.info(number, "replication_epoch").unwrap().parse().unwrap()
}

/// Promotes the first of these nodes that has everything.
fn promote_one(set: &Set, order: &[usize]) -> usize {
    let refused = |number: &usize| set.promote(*number, &[]).err();
    order.iter().copied().find(|number| refused(number).is_none()).expect("one of them has everything")
}

#[test]
fn epochs_do_not_go_back_when_all_nodes_are_killed_right_after_a_promotion() {
    let mut set = Set::without_leader(3);
    (0..3).for_each(|number| set.start(number, &[]));
    set.promote(0, &[]).unwrap();
    write(&mut set.connect(0), "a", 20);
    set.settle(0);
    let mut last = epoch(&set, 0);
    for round in 1..=3 {
        let leader = promote_one(&set, &[round % 3, (round + 1) % 3, (round + 2) % 3]);
        let promised = epoch(&set, leader);
        assert!(promised > last, "{promised} after {last}");
        (0..3).for_each(|number| set.kill(number));
        (0..3).for_each(|number| set.start(number, &[]));
        until("a majority says again what it has promised", || {
            (0..3).filter(|number| epoch(&set, *number) >= promised).count() >= 2
        });
        last = promised;
    }
    let leader = promote_one(&set, &[0, 1, 2]);
    assert!(epoch(&set, leader) > last);
    check(&mut set.connect(leader), "a", 20);
    set.end_with_the_same_logs(leader);
}

#[test]
fn a_leader_that_slept_through_a_promotion_is_fenced_by_nodes_that_were_killed_since() {
    let mut set = Set::running(3);
    let mut old = set.connect(0);
    assert_eq!(old.call(&["SET", "key", "old"]).unwrap(), ok());
    set.settle(0);
    set.server(0).pause();
    set.promote(1, &[]).unwrap();
    assert_eq!(set.connect(1).call(&["SET", "key", "new"]).unwrap(), ok());
    let promised = epoch(&set, 1);
    (1..3).for_each(|number| set.kill(number));
    (1..3).for_each(|number| set.start(number, &[]));
    set.server(0).signal("CONT");
    // The two others know from their disks alone that its epoch is over. It may ask for a new one; it has less.
    for _ in 0..20 {
        let reply = old.call(&["SET", "key", "from the grave"]);
        assert!(!matches!(reply, Ok(Reply::Simple(_))), "confirmed by a leader whose epoch is over");
        let read = old.call(&["GET", "key"]);
        assert!(!matches!(read, Ok(Reply::Bulk(_))), "a stale read: {read:?}");
    }
    let leader = promote_one(&set, &[1, 2]);
    assert!(epoch(&set, leader) > promised);
    until("the old leader follows", || set.part(0) == "follower");
    assert_eq!(set.connect(leader).call(&["GET", "key"]).unwrap(), bulk("new"));
    set.end_with_the_same_logs(leader);
}

/// Writes to whoever leads until it is told to stop, and returns how many were confirmed.
fn write_on(mut client: Client, addresses: &[std::net::SocketAddr], stop: &AtomicBool) -> Vec<String> {
    let mut confirmed = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::SeqCst) {
        let key = format!("w{number}");
        match client.call(&["SET", &key, "v"]) {
            Ok(Reply::Simple(_)) => {
                confirmed.push(key);
                number += 1;
            }
            Ok(Reply::Error(error)) => {
                let (_, address) = error.rsplit_once(' ').unwrap();
                let is_known = |known: &&std::net::SocketAddr| known.to_string() == address;
                let to = addresses.iter().find(is_known).unwrap_or_else(|| panic!("a write failed: {error}"));
                client = Client::connect(*to).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    confirmed
}

#[test]
fn leadership_is_handed_over_while_clients_write() {
    let set = Set::running(3);
    set.settle(0);
    let addresses: Vec<_> = (0..3).map(|number| set.server(number).address).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (client, stop) = (set.connect(0), Arc::clone(&stop));
        move || write_on(client, &addresses, &stop)
    });
    let port = |number: usize| set.members[number].client_port.to_string();
    let (one, two) = (port(1), port(2));
    assert_eq!(set.connect(0).call(&["FAILOVER", "TO", "127.0.0.1", &one, "TIMEOUT", "30000"]).unwrap(), ok());
    set.wait_for_leader(1);
    until("the old leader follows", || set.part(0) == "follower");
    assert_eq!(set.connect(1).call(&["REPLICAOF", "127.0.0.1", &two]).unwrap(), ok());
    set.wait_for_leader(2);
    stop.store(true, Ordering::SeqCst);
    let confirmed = writer.join().unwrap();
    assert!(!confirmed.is_empty());
    let mut leader = set.connect(2);
    for key in &confirmed {
        assert_eq!(leader.call(&["GET", key]).unwrap(), bulk("v"), "{key}");
    }
    set.end_with_the_same_logs(2);
}

/// Asks for a hand-over to node 1, which is paused and lacks what was written since.
fn hand_over_to_one_that_lacks_something(set: &Set, timeout: &str) {
    let port = set.members[1].client_port.to_string();
    let mut leader = set.connect(0);
    until("a hand-over begins", || {
        set.server(1).signal("CONT");
        until("node 1 has everything", || {
            set.info(0, "slave0").into_iter().chain(set.info(0, "slave1")).all(|line| line.contains("lag_bytes=0,"))
        });
        set.server(1).pause();
        write(&mut leader, "later", 3);
        // If it is paused for long, it counts as gone, and nobody hands over to it.
        let reply = leader.call(&["FAILOVER", "TO", "127.0.0.1", &port, "TIMEOUT", timeout]).unwrap();
        let begins = reply == ok();
        assert!(begins || is_error(&Ok(reply), "ERR FAILOVER target replica is not online"));
        begins
    });
}

#[test]
fn a_hand_over_says_how_far_it_has_come_is_taken_back_and_ends_in_time() {
    let set = Set::running(3);
    set.settle(0);
    let state = || set.info(0, "master_failover_state").unwrap();
    let mut leader = set.connect(0);
    assert!(is_error(&leader.call(&["FAILOVER", "ABORT"]), "ERR No failover in progress"));

    hand_over_to_one_that_lacks_something(&set, "600000");
    assert_eq!(state(), "waiting-for-sync");
    until("writes are held", || set.part(0) == "handing-over");
    let mut held = set.connect(0);
    held.send(&[&["SET", "held", "v"]]).unwrap();
    assert!(is_error(&leader.call(&["FAILOVER"]), "ERR FAILOVER already in progress"));
    assert_eq!(leader.call(&["FAILOVER", "ABORT"]).unwrap(), ok());
    assert_eq!(held.receive().unwrap(), ok(), "writes go on");
    until("it is over", || state() == "no-failover");
    let refusal = || set.info(0, "replication_refusal").unwrap();
    until("it says why", || refusal().contains("taken back"));

    hand_over_to_one_that_lacks_something(&set, "300");
    held.send(&[&["SET", "held", "v"]]).unwrap();
    assert_eq!(held.receive().unwrap(), ok(), "writes go on when the time is over");
    until("it is over", || state() == "no-failover");
    assert!(refusal().contains("did not catch up in time"), "{}", refusal());
    set.wait_for_leader(0);
    set.server(1).signal("CONT");
    set.end_with_the_same_logs(0);
}

#[test]
fn without_a_majority_nothing_is_confirmed_and_everybody_is_told() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 10);
    set.kill(1);
    set.kill(2);
    // Either it is refused, or it is appended and cannot be committed.
    let reply = leader.call(&["SET", "a1", "x"]);
    assert!(is_error(&reply, "UNCONFIRMED ") || is_error(&reply, "NOREPLICAS "), "{reply:?}");
    until("it knows that it is alone", || set.part(0) == "leader-without-quorum");
    for command in [&["SET", "a2", "x"][..], &["GET", "a2"]] {
        let reply = leader.call(command);
        assert!(is_error(&reply, "NOREPLICAS "), "{reply:?}");
    }
    set.start(1, &[]);
    until("it has a majority again", || leader.call(&["SET", "a3", "v"]).unwrap() == ok());
    set.start(2, &[]);
    set.end_with_the_same_logs(0);
}

#[test]
fn a_replica_with_less_is_not_promoted_and_a_forced_promotion_says_what_it_loses() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 10);
    set.settle(0);
    let end = set.offset(0);
    set.kill(2);
    write(&mut leader, "b", 10);
    set.settle(0);
    set.server(0).pause();
    set.start(2, &[]);
    let refused = set.promote(2, &[]).unwrap_err();
    assert!(refused.contains("reaches further"), "{refused}");
    set.server(1).pause();
    let said = set.promote(2, &["--losing-committed-writes"]).unwrap();
    let epoch = set.info(2, "replication_epoch").unwrap();
    let kept = format!(
        "partition 0: leads in epoch {epoch} with the log up to {end}. All that this node knows to be confirmed"
    );
    assert!(said.contains(&kept), "{kept}\n{said}");
    let port = set.members[2].client_port.to_string();
    for number in [0, 1] {
        set.server(number).signal("CONT");
        until("it sees what it would lose", || {
            set.server(number).said().iter().any(|line| line.contains("LOSING-COMMITTED-WRITES"))
        });
        let permit = ["REPLICAOF", "127.0.0.1", &port, "LOSING-COMMITTED-WRITES"];
        assert_eq!(set.connect(number).call(&permit).unwrap(), ok());
        until("it follows", || set.info(number, "master_sync_in_progress").as_deref() == Some("0"));
    }
    set.wait_for_leader(2);
    let mut leader = set.connect(2);
    check(&mut leader, "a", 10);
    write(&mut leader, "c", 10);
    set.settle(2);
    assert_eq!(set.reader(0).call(&["GET", "b1"]).unwrap(), Reply::Bulk(None));
    set.end_with_the_same_logs(2);
}
