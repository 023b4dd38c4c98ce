//! What a standby shows while its leader lives, and what it costs.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::thread;

use windrow_core::types::PartitionId;
use windrow_store::{DataDir, FillMode, OpenConfig, open_replica};

use super::info;
use crate::support::{Client, Place, Reply, bulk, free_port, ok, until, windrow};

/// All keys and values, by SCAN and GET.
fn contents(client: &mut Client) -> BTreeMap<String, Reply> {
    let mut found = BTreeMap::new();
    let mut cursor = "0".to_owned();
    loop {
        let Reply::Array(step) = client.call(&["SCAN", &cursor, "COUNT", "500"]).unwrap() else { panic!("SCAN") };
        let [Reply::Bulk(Some(next)), Reply::Array(keys)] = &step[..] else { panic!("{step:?}") };
        for key in keys {
            let Reply::Bulk(Some(key)) = key else { panic!("{key:?}") };
            found.insert(key.clone(), client.call(&["GET", key]).unwrap());
        }
        cursor.clone_from(next);
        if cursor == "0" {
            return found;
        }
    }
}

/// Waits until the standby has everything that the leader has confirmed.
fn catch_up(leader: &mut Client, standby: &mut Client) {
    let offset = |client: &mut Client| {
        let Reply::Array(role) = client.call(&["ROLE"]).unwrap() else { panic!("ROLE") };
        let at = if role[0] == bulk("master") { 1 } else { 4 };
        let Reply::Integer(offset) = role[at] else { panic!("{role:?}") };
        offset
    };
    // Both tell what they had at their last tick.
    until("the standby catches up", || offset(standby) == offset(leader));
}

#[test]
fn it_shows_what_the_leader_has_confirmed_under_load() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "3", "--segment-size", "64KiB"]);
    let before = leader.connect().call(&["SET", "before", "x"]).unwrap();
    assert_eq!(before, ok());
    let standby = place.standby(&["--cores", "1"]);
    assert!(standby.greeting.contains("standby of process"), "{}", standby.greeting);
    thread::scope(|scope| {
        for writer in 0..3 {
            let (leader, standby) = (leader.address, standby.address);
            scope.spawn(move || {
                let (mut to, mut from) = (Client::connect(leader).unwrap(), Client::connect(standby).unwrap());
                for version in 0..400 {
                    let (key, value) = (format!("w{writer}:{}", version % 40), format!("{version}"));
                    let command: &[&str] =
                        if version % 7 == 6 { &["DEL", &key] } else { &["SET", &key, &value, "PX", "100000000"] };
                    assert!(!matches!(to.call(command).unwrap(), Reply::Error(_)));
                    // What was confirmed is in the page before the confirmation leaves.
                    let shown = from.call(&["GET", &key]).unwrap();
                    let expected = if version % 7 == 6 { Reply::Bulk(None) } else { bulk(&value) };
                    assert_eq!(shown, expected, "{key} at {version}");
                }
            });
        }
    });
    let (mut one, mut other) = (leader.connect(), standby.connect());
    assert_eq!(other.call(&["GET", "before"]).unwrap(), bulk("x"));
    let found = contents(&mut other);
    assert_eq!(found, contents(&mut one));
    assert!(found.len() > 50, "{}", found.len());
    assert_eq!(other.call(&["DBSIZE"]).unwrap(), one.call(&["DBSIZE"]).unwrap());
    assert_eq!(one.call(&["FLUSHALL"]).unwrap(), ok());
    assert_eq!(other.call(&["DBSIZE"]).unwrap(), Reply::Integer(0));
    assert!(contents(&mut other).is_empty());
}

#[test]
fn it_refuses_writes_and_says_whom_it_follows() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "2"]);
    let mut to = leader.connect();
    assert_eq!(to.call(&["SET", "key", "value"]).unwrap(), ok());
    let standby = place.standby(&[]);
    let mut client = standby.connect();
    for command in [
        &["SET", "key", "other"][..],
        &["DEL", "key"],
        &["FLUSHALL"],
        &["MSET", "{a}1", "1", "{a}2", "2"],
        &["GETDEL", "key"],
        &["EXPIRE", "key", "1"],
    ] {
        let Reply::Error(text) = client.call(command).unwrap() else { panic!("{command:?}") };
        assert!(text.starts_with("READONLY"), "{command:?}: {text}");
    }
    assert_eq!(client.call(&["GET", "key"]).unwrap(), bulk("value"));
    until("the standby knows its leader", || info(&mut client, "replication", "master_link_status") == "up");
    assert_eq!(info(&mut client, "replication", "role"), "slave");
    assert_eq!(info(&mut client, "replication", "master_port"), leader.address.port().to_string());
    let Reply::Array(role) = client.call(&["ROLE"]).unwrap() else { panic!() };
    assert_eq!((&role[0], &role[3]), (&bulk("slave"), &bulk("connected")));
    catch_up(&mut to, &mut client);
    // Nobody here can be told to lead or to follow: that is decided by who has ended.
    for command in [&["REPLICAOF", "NO", "ONE"][..], &["REPLICAOF", "127.0.0.1", "1"], &["FAILOVER"]] {
        let Reply::Error(text) = client.call(command).unwrap() else { panic!("{command:?}") };
        assert!(text.contains("a standby is a process beside its leader"), "{command:?}: {text}");
    }
    assert_eq!(to.call(&["REPLICAOF", "NO", "ONE"]).unwrap(), ok());
    assert!(matches!(to.call(&["REPLICAOF", "127.0.0.1", "1"]).unwrap(), Reply::Error(_)));

    until("the leader lists it", || info(&mut to, "replication", "connected_slaves") == "1");
    let line = info(&mut to, "replication", "slave0");
    let port = format!("port={},state=online", standby.address.port());
    assert!(line.contains(&port) && line.contains("lag_bytes=0") && line.contains("voter=0"), "{line}");
    // It has no flush of its own, so nobody can wait for it.
    assert_eq!(to.call(&["WAIT", "1", "10"]).unwrap(), Reply::Integer(0));
    standby.kill();
    until("the leader notices", || info(&mut to, "replication", "connected_slaves") == "0");
    assert_eq!(to.call(&["SET", "key", "after"]).unwrap(), ok());
}

#[test]
fn expired_keys_are_never_shown_and_never_deleted_by_it() {
    let place = Place::new();
    let leader = place.leader(&[]);
    let mut to = leader.connect();
    let standby = place.standby(&[]);
    let mut client = standby.connect();
    assert_eq!(to.call(&["SET", "short", "1", "PX", "1"]).unwrap(), ok());
    assert_eq!(to.call(&["SET", "long", "1", "EX", "1000"]).unwrap(), ok());
    until("it expires", || client.call(&["GET", "short"]).unwrap() == Reply::Bulk(None));
    assert_eq!(client.call(&["GET", "long"]).unwrap(), bulk("1"));
    // The leader's sweep is what takes it out of the count.
    until("it is swept", || client.call(&["DBSIZE"]).unwrap() == Reply::Integer(1));
}

/// One figure of the metrics page, summed over its labels.
fn metric(address: &str, name: &str) -> u64 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let lines = page.lines().filter(|line| line.starts_with(&format!("{name}{{")));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[test]
fn an_idle_standby_is_woken_by_nothing_but_its_timer() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "2"]);
    let mut to = leader.connect();
    let port = free_port();
    let standby = place.standby(&["--admin-port", &port.to_string(), "--cores", "1"]);
    let address = format!("127.0.0.1:{port}");
    let mut client = standby.connect();
    for number in 0..50 {
        assert_eq!(to.call(&["SET", "key", &number.to_string()]).unwrap(), ok());
    }
    until("it was woken", || metric(&address, "windrow_follow_wakes_total") > 0);
    assert!(metric(&address, "windrow_follows_total") > 0);
    assert_eq!(client.call(&["GET", "key"]).unwrap(), bulk("49"));
    // The leader comes to rest: its last superblock is no commit.
    let mut counted = metric(&address, "windrow_follow_wakes_total");
    until("the leader is at rest", || {
        let before = metric(&address, "windrow_loop_rounds_total");
        until("a few ticks", || metric(&address, "windrow_loop_rounds_total") > before + 5);
        let now = metric(&address, "windrow_follow_wakes_total");
        std::mem::replace(&mut counted, now) == now
    });
    let rounds = metric(&address, "windrow_loop_rounds_total");
    let started = std::time::Instant::now();
    until("twenty rounds of the loop", || metric(&address, "windrow_loop_rounds_total") >= rounds + 20);
    // Ten ticks a second, of two or three rounds each: nothing spins.
    assert!(started.elapsed().as_millis() >= 300, "twenty rounds in {:?}", started.elapsed());
    assert_eq!(metric(&address, "windrow_follow_wakes_total"), counted, "it sleeps until there is something");
    assert_eq!(to.call(&["SET", "key", "new"]).unwrap(), ok());
    assert_eq!(client.call(&["GET", "key"]).unwrap(), bulk("new"));
}

fn refused(args: &[&str]) -> (Option<i32>, String) {
    let base = ["standby", "--port", "0", "--admin-port", "0"];
    let Output { status, stderr, .. } = windrow(&[&base, args].concat()).output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

#[test]
fn without_a_leader_s_directory_it_says_what_is_missing() {
    let place = Place::new();
    let (status, said) = refused(&["--of", place.dir().to_str().unwrap()]);
    assert_eq!(status, Some(78), "{said}");
    assert!(said.contains("there is no data directory here"), "{said}");
    let leader = place.leader(&[]);
    let control = place.dir().join("partition-0000/control");
    leader.signal("TERM");
    leader.wait();
    let mut page = std::fs::read(&control).unwrap();
    page[8] = 1;
    std::fs::write(&control, &page).unwrap();
    let (status, said) = refused(&["--of", place.dir().to_str().unwrap()]);
    assert_eq!(status, Some(76), "{said}");
    assert!(said.contains("control page has version 1"), "{said}");
    page[0] = 0;
    std::fs::write(&control, &page).unwrap();
    let (status, said) = refused(&["--of", place.dir().to_str().unwrap()]);
    assert_eq!(status, Some(65), "{said}");
    assert!(said.contains("no control page of partition"), "{said}");
    // Whoever leads makes it anew.
    drop(place.leader(&[]));
    drop(place.standby(&[]));
}

#[test]
fn a_replica_of_a_set_is_neither_served_nor_stood_by_until_it_has_left_the_set() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "1", "--cores", "1"]);
    assert_eq!(leader.connect().call(&["SET", "key", "value"]).unwrap(), ok());
    leader.signal("TERM");
    leader.wait();
    let dir = place.dir();
    {
        // As a node of a set leaves it.
        let data_dir = DataDir::open(&dir).unwrap();
        let config = OpenConfig { segment_len: 64 << 20, segments_ahead: 1, fill: FillMode::default() };
        drop(open_replica(&data_dir, PartitionId::new(0), &config).unwrap());
    }
    let dir = dir.to_str().unwrap();
    let Output { status, stderr, .. } =
        windrow(&["serve", "--dir", dir, "--port", "0", "--admin-port", "0"]).output().unwrap();
    let (said, standby) = (String::from_utf8(stderr).unwrap(), refused(&["--of", dir]));
    for (status, said) in [(status.code(), said), standby] {
        assert_eq!(status, Some(78), "{said}");
        assert!(said.contains("this is a replica in a set of nodes") && said.contains("leave-set"), "{said}");
    }
    let Output { status, stdout, .. } = windrow(&["leave-set", "--dir", dir]).output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    assert!(status.success() && said.contains("has left its set"), "{said}");
    let leader = place.leader(&["--cores", "1"]);
    assert_eq!(leader.connect().call(&["GET", "key"]).unwrap(), bulk("value"));
    let Output { status, stderr, .. } = windrow(&["leave-set", "--dir", dir]).output().unwrap();
    assert_eq!(status.code(), Some(75), "{}", String::from_utf8_lossy(&stderr));
}

#[test]
fn a_log_that_cannot_be_believed_ends_it_and_leaves_the_leader_alone() {
    let place = Place::new();
    let leader = place.leader(&["--partitions", "1", "--cores", "1"]);
    let mut to = leader.connect();
    assert_eq!(to.call(&["SET", "key", "value"]).unwrap(), ok());
    let standby = place.standby(&["--cores", "1"]);
    assert_eq!(standby.connect().call(&["GET", "key"]).unwrap(), bulk("value"));
    // The page promises more than there is.
    let control = std::fs::OpenOptions::new().write(true).open(place.dir().join("partition-0000/control")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&control, &(1_u64 << 30).to_le_bytes(), 80).unwrap();
    let _ended = standby.connect().call(&["GET", "key"]);
    let (status, said) = standby.wait();
    assert_eq!(status.code(), Some(65), "{said}");
    assert!(said.contains("cannot be followed any further"), "{said}");
    assert_eq!(to.call(&["SET", "key", "other"]).unwrap(), ok());
    assert_eq!(to.call(&["GET", "key"]).unwrap(), bulk("other"));
}
