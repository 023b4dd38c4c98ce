//! What becomes of a standby when its leader is gone.
//!
//! `TAKEOVER_ROUNDS` says how many leaders die in the loop (4 unless set).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use windrow_torture::device::{FileSystem, FileSystemKind, WriteFault, missing};

use super::{info, standby_of, until_it_leads};
use crate::support::{Client, Place, Reply, Server, bulk, ok, skipped, until, windrow};

/// Segments of this length find room on a small disk.
const SMALL: [&str; 2] = ["--segment-size", "64KiB"];

#[test]
fn a_killed_leader_loses_nothing_that_it_confirmed() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "2"]);
    let standby = place.standby(&[]);
    let mut to = leader.connect();
    for number in 0..300 {
        assert_eq!(to.call(&["SET", &format!("key{number}"), "value", "EX", "10000"]).unwrap(), ok());
    }
    let address = leader.address;
    leader.kill();
    let mut client = until_it_leads(&standby);
    for number in 0..300 {
        assert_eq!(client.call(&["GET", &format!("key{number}")]).unwrap(), bulk("value"));
    }
    assert_eq!(info(&mut client, "replication", "role"), "master");
    // It knows which keys expire, and sweeps them now that it leads.
    assert_eq!(client.call(&["PEXPIRE", "key0", "1"]).unwrap(), Reply::Integer(1));
    until("swept", || client.call(&["DBSIZE"]).unwrap() == Reply::Integer(300));
    // Clients find it where the leader was.
    until("the address is taken over", || Client::connect(address).is_ok());
    assert_eq!(Client::connect(address).unwrap().call(&["GET", "key1"]).unwrap(), bulk("value"));

    // The old leader is told what to do when it comes back.
    let dir = place.dir();
    let mut again = windrow(&["serve", "--port", "0", "--admin-port", "0", "--dir", dir.to_str().unwrap()]);
    let output = again.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("windrow standby --of"), "{said}");
    let back = place.standby(&[]);
    assert_eq!(back.connect().call(&["GET", "key7"]).unwrap(), bulk("value"));
    standby.signal("TERM");
    assert_eq!(standby.wait().0.code(), Some(0));
    assert_eq!(until_it_leads(&back).call(&["GET", "key7"]).unwrap(), bulk("value"));
}

#[test]
fn of_two_standbys_one_takes_over_and_the_other_follows_it() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "2"]);
    let standbys = [place.standby(&[]), place.standby(&["--cores", "1"])];
    assert_eq!(leader.connect().call(&["SET", "key", "1"]).unwrap(), ok());
    leader.kill();
    let mut clients = [standbys[0].connect(), standbys[1].connect()];
    let mut winner = None;
    until("one of them leads", || {
        let leads = |client: &mut Client| client.call(&["SET", "key", "2"]).unwrap() == ok();
        winner = (0..2).find(|&at| leads(&mut clients[at]));
        winner.is_some()
    });
    let winner = winner.unwrap();
    let loser = 1 - winner;
    assert_eq!(clients[loser].call(&["GET", "key"]).unwrap(), bulk("2"), "the other follows");
    let Reply::Error(text) = clients[loser].call(&["SET", "key", "3"]).unwrap() else { panic!() };
    assert!(text.starts_with("READONLY"), "{text}");
    until("the winner lists the loser", || info(&mut clients[winner], "replication", "connected_slaves") == "1");
    let [first, second] = standbys;
    let (dies, lives) = if winner == 0 { (first, second) } else { (second, first) };
    dies.kill();
    assert_eq!(until_it_leads(&lives).call(&["GET", "key"]).unwrap(), bulk("2"));
}

#[test]
fn an_orderly_end_is_taken_over_from_or_waited_out_as_asked() {
    let place = Place::new();
    let leader = place.leader(&[]);
    let waits = place.standby(&["--take-over-after-shutdown", "no"]);
    assert_eq!(leader.connect().call(&["SET", "key", "1"]).unwrap(), ok());
    leader.signal("TERM");
    assert_eq!(leader.wait().0.code(), Some(0));
    let mut client = waits.connect();
    until(
        "it knows that nobody leads",
        || matches!(client.call(&["SET", "key", "2"]).unwrap(), Reply::Error(text) if text.starts_with("MASTERDOWN")),
    );
    assert_eq!(client.call(&["GET", "key"]).unwrap(), bulk("1"), "it still serves reads");
    let leader = place.leader(&[]);
    assert_eq!(leader.connect().call(&["SET", "key", "3"]).unwrap(), ok());
    until("it follows the next leader", || client.call(&["GET", "key"]).unwrap() == bulk("3"));
    leader.kill();
    assert_eq!(until_it_leads(&waits).call(&["GET", "key"]).unwrap(), bulk("3"), "a death is another matter");
    let takes = place.standby(&[]);
    waits.signal("TERM");
    assert_eq!(waits.wait().0.code(), Some(0));
    assert_eq!(until_it_leads(&takes).call(&["GET", "key"]).unwrap(), bulk("3"));
}

#[test]
fn a_killed_standby_leaves_its_leader_untouched() {
    let place = Place::new();
    let leader = place.leader(&[]);
    let mut to = leader.connect();
    for round in 0..3 {
        let standby = place.standby(&[]);
        assert_eq!(to.call(&["SET", "key", &round.to_string()]).unwrap(), ok());
        assert_eq!(standby.connect().call(&["GET", "key"]).unwrap(), bulk(&round.to_string()));
        standby.kill();
        assert_eq!(to.call(&["SET", "key", "after"]).unwrap(), ok());
    }
    leader.signal("TERM");
    assert_eq!(leader.wait().0.code(), Some(0));
}

const WRITERS: usize = 3;

/// What one writer knows of its counter, which it counts up.
#[derive(Default)]
struct Counter {
    sent: AtomicU64,
    confirmed: AtomicU64,
    /// The highest that anybody was shown.
    shown: AtomicU64,
}

fn key(writer: usize) -> String {
    format!("counter{writer}")
}

fn number(reply: &Reply) -> Option<u64> {
    match reply {
        Reply::Bulk(Some(text)) => text.parse().ok(),
        _ => None,
    }
}

/// Counts up until the connection ends.
fn write(counter: &Counter, writer: usize, address: SocketAddr) {
    let Ok(mut client) = Client::connect(address) else { return };
    loop {
        let next = counter.sent.load(Ordering::SeqCst) + 1;
        counter.sent.store(next, Ordering::SeqCst);
        match client.call(&["SET", &key(writer), &next.to_string()]) {
            Ok(Reply::Error(text)) => panic!("{text}"),
            Ok(_) => counter.confirmed.store(next, Ordering::SeqCst),
            Err(_) => return,
        }
    }
}

/// Reads at the standby until told to stop, and checks that no counter runs backwards or ahead.
fn read(counters: &[Counter], address: SocketAddr, stop: &AtomicBool) {
    let mut client = Client::connect(address).unwrap();
    while !stop.load(Ordering::SeqCst) {
        for (writer, counter) in counters.iter().enumerate() {
            let at_least = counter.confirmed.load(Ordering::SeqCst).max(counter.shown.load(Ordering::SeqCst));
            let reply = client.call(&["GET", &key(writer)]).unwrap();
            let shown = number(&reply).unwrap_or(0);
            assert!(shown >= at_least, "shown {shown} after {at_least}: {reply:?}");
            assert!(shown <= counter.sent.load(Ordering::SeqCst), "shown {shown} before it was written");
            counter.shown.fetch_max(shown, Ordering::SeqCst);
        }
    }
}

/// One leader dies under load. Returns the one that took over.
fn round(leader: Server, standby: Server, counters: &[Counter]) -> Server {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let (address, stopped) = (standby.address, &stop);
        let reader = scope.spawn(move || read(counters, address, stopped));
        let writers: Vec<_> = counters
            .iter()
            .enumerate()
            .map(|(writer, counter)| {
                let address = leader.address;
                scope.spawn(move || write(counter, writer, address))
            })
            .collect();
        let base: Vec<u64> = counters.iter().map(|counter| counter.confirmed.load(Ordering::SeqCst)).collect();
        until("enough writes", || {
            counters.iter().zip(&base).all(|(counter, base)| counter.confirmed.load(Ordering::SeqCst) > base + 100)
        });
        leader.kill();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        until_it_leads(&standby);
        stop.store(true, Ordering::SeqCst);
        reader.join().unwrap();
    });
    let mut client = standby.connect();
    for (writer, counter) in counters.iter().enumerate() {
        let found = number(&client.call(&["GET", &key(writer)]).unwrap()).unwrap_or(0);
        let promised = counter.confirmed.load(Ordering::SeqCst).max(counter.shown.load(Ordering::SeqCst));
        let sent = counter.sent.load(Ordering::SeqCst);
        assert!((promised..=sent).contains(&found), "{found} of {promised}..={sent}");
        counter.sent.store(found, Ordering::SeqCst);
        counter.confirmed.store(found, Ordering::SeqCst);
        counter.shown.store(found, Ordering::SeqCst);
    }
    standby
}

#[test]
fn nothing_confirmed_is_lost_and_nothing_uncommitted_shown_whichever_leader_dies() {
    let rounds = std::env::var("TAKEOVER_ROUNDS").ok().map_or(4, |text| text.parse::<usize>().unwrap());
    let place = Place::new();
    let settings = ["--segment-size", "64KiB"];
    let counters: Vec<Counter> = (0..WRITERS).map(|_| Counter::default()).collect();
    let mut leader = place.leader(&[&["--partitions", "3"], &settings[..]].concat());
    for _ in 0..rounds {
        let standby = place.standby(&[&["--take-leader-address", "no"], &settings[..]].concat());
        leader = round(leader, standby, &counters);
    }
    leader.signal("TERM");
    assert_eq!(leader.wait().0.code(), Some(0));
    let dir = place.dir();
    let output = windrow(&["log", "verify", dir.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let leader = place.leader(&settings);
    let mut client = leader.connect();
    for (writer, counter) in counters.iter().enumerate() {
        let found = number(&client.call(&["GET", &key(writer)]).unwrap());
        assert_eq!(found, Some(counter.confirmed.load(Ordering::SeqCst)));
    }
}

#[test]
fn where_a_flush_of_the_leader_has_failed_nobody_takes_over_and_nothing_confirmed_is_lost() {
    if let Some(why) = missing(FileSystemKind::Ext4) {
        skipped(&format!("no disk whose faults are commanded can be made here: {why}"));
        return;
    }
    let fs = FileSystem::new(FileSystemKind::Ext4, 1).unwrap();
    let dir = fs.path().join("data");
    let mut leader = Server::start(&dir, &SMALL);
    let mut client = leader.connect();
    for number in 0..50 {
        assert_eq!(client.call(&["SET", &format!("k{number}"), "v"]).unwrap(), ok());
    }
    let mut standby = standby_of(&dir, &SMALL);
    fs.disk.set_write_fault(WriteFault::FailData);
    assert!(
        client.call(&["SET", "k0", "chunk: which the disk is told not to take"]).is_err(),
        "nobody may confirm what was not flushed"
    );
    until("the leader ends", || leader.has_ended());
    let (status, said) = leader.wait();
    assert_eq!(status.code(), Some(74), "{said}");
    // The page cache shows what the disk has not: whoever flushed again would be told that all is well.
    until("the standby refuses to take over", || standby.has_ended());
    let (status, said) = standby.wait();
    assert_eq!(status.code(), Some(74), "{said}");
    assert!(fs.disk.counts().failed > 0);
    fs.disk.reset();
    let leader = Server::start(&dir, &SMALL);
    let mut client = leader.connect();
    for number in 0..50 {
        assert_eq!(client.call(&["GET", &format!("k{number}")]).unwrap(), bulk("v"), "k{number}");
    }
    let _standby = standby_of(&dir, &SMALL);
    assert_eq!(client.call(&["SET", "k0", "again"]).unwrap(), ok());
    leader.kill();
}
