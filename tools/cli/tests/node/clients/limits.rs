//! What a client must not do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::{PATIENCE, Reply, Server, ok, until};

/// What the server says to these bytes before it closes the connection.
fn last_words(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    let mut said = Vec::new();
    // An end with a reset says as much.
    let _ = stream.read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn who_has_not_authenticated_gets_little() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--requirepass", "secret"]);
    assert_eq!(last_words(&server, b"*11\r\n"), "-ERR Protocol error: unauthenticated multibulk length\r\n");
    let bulk = last_words(&server, b"*2\r\n$4\r\nAUTH\r\n$5000\r\n");
    assert_eq!(bulk, "-ERR Protocol error: unauthenticated bulk length\r\n");
    let mut client = server.connect();
    assert_eq!(client.call(&["AUTH", "secret"]).unwrap(), ok());
    assert_eq!(client.call(&["ECHO", &"x".repeat(5_000)]).unwrap(), Reply::Bulk(Some("x".repeat(5_000))));
}

#[test]
fn bytes_that_are_no_request_end_the_connection_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    for (bytes, error) in [
        (&b"*99999999999999999999\r\n"[..], "invalid multibulk length"),
        (b"*1\r\n$-5\r\n", "invalid bulk length"),
        (b"*1\r\n:1\r\n", "expected '$', got ':'"),
        (b"\"unbalanced\r\n", "unbalanced quotes in request"),
    ] {
        assert_eq!(last_words(&server, bytes), format!("-ERR Protocol error: {error}\r\n"));
    }
    assert_eq!(server.connect().call(&["PING"]).unwrap(), Reply::Simple("PONG".to_owned()));
}

#[test]
fn wrong_passwords_of_one_connection_are_answered_one_after_the_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--requirepass", "secret"]);
    let mut client = server.connect();
    let start = Instant::now();
    client.send(&[&["AUTH", "a"], &["AUTH", "b"], &["AUTH", "c"]]).unwrap();
    for _ in 0..3 {
        assert!(matches!(client.receive().unwrap(), Reply::Error(text) if text.starts_with("WRONGPASS ")));
    }
    // 50 ms and twice as much with each: 50 + 100 + 200.
    assert!(start.elapsed().as_millis() >= 350, "{:?}", start.elapsed());
}

#[test]
fn more_clients_than_allowed_are_turned_away() {
    let dir = tempfile::tempdir().unwrap();
    // One core: each takes a new limit over with a tick of its own, and the kernel chooses which one a client meets.
    let server = Server::start(dir.path(), &["--cores", "1"]);
    let mut first = server.connect();
    assert_eq!(first.call(&["CONFIG", "SET", "maxclients", "1"]).unwrap(), ok());
    // The core takes the new limit over with its next tick.
    let deadline = Instant::now() + PATIENCE;
    while server.connect().call(&["PING"]).is_ok_and(|reply| reply == Reply::Simple("PONG".to_owned())) {
        assert!(Instant::now() < deadline, "nobody is turned away");
    }
    assert_eq!(last_words(&server, b""), "-ERR max number of clients reached\r\n");
    assert_eq!(first.call(&["PING"]).unwrap(), Reply::Simple("PONG".to_owned()));
}

/// `WAIT 9 0` waits for ever; who asked for it need not live as long.
#[test]
fn nobody_waits_for_replicas_on_behalf_of_a_client_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &[]);
    let (mut waiting, mut other) = (server.connect(), server.connect());
    let Reply::Integer(id) = waiting.call(&["CLIENT", "ID"]).unwrap() else { panic!("an id") };
    let mut is_blocked = || {
        let Reply::Bulk(Some(text)) = other.call(&["INFO", "clients"]).unwrap() else { panic!("a text") };
        !text.lines().any(|line| line == "blocked_clients:0")
    };
    waiting.send(&[&["WAIT", "9", "0"]]).unwrap();
    until("it waits", &mut is_blocked);
    server.connect().call(&["CLIENT", "KILL", "ID", &id.to_string()]).unwrap();
    until("nobody waits", || !is_blocked());
}

#[test]
fn what_a_connection_watches_and_queues_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--cores", "1"]);
    let mut client = server.connect();
    let keys: Vec<String> = (0..65_535).map(|number| format!("{{w}}{number}")).collect();
    let watch: Vec<&str> = ["WATCH"].into_iter().chain(keys.iter().map(String::as_str)).collect();
    // A key that is watched already takes no more.
    assert_eq!(client.call(&watch).unwrap(), ok());
    assert_eq!(client.call(&watch).unwrap(), ok());
    assert_eq!(client.call(&["WATCH", "{w}one", "{w}one"]).unwrap(), ok());
    let refused = client.call(&["WATCH", "{w}another"]).unwrap();
    assert!(matches!(&refused, Reply::Error(text) if text.contains("too many keys are watched")), "{refused:?}");
    assert_eq!(client.call(&["UNWATCH"]).unwrap(), ok());
    // Arguments of no bytes take memory, too.
    let mut delete = vec!["DEL"];
    delete.resize(65_536, "");
    assert_eq!(client.call(&["MULTI"]).unwrap(), ok());
    let queued = (0..1_000).take_while(|_| client.call(&delete).unwrap() == Reply::Simple("QUEUED".to_owned())).count();
    assert!((1..=128).contains(&queued), "{queued} times half a MiB");
    let aborted = client.call(&["EXEC"]).unwrap();
    assert!(matches!(&aborted, Reply::Error(text) if text.starts_with("EXECABORT ")), "{aborted:?}");
}

/// Who reads what it asked for, if late, is not taken for somebody who does not, on whichever core the keys are; and the node
/// does not keep it all in memory meanwhile.
#[test]
fn long_replies_from_other_cores_wait_for_those_before_them() {
    const COUNT: usize = 120;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--output-limit", "2MiB", "--output-soft-limit", "256KiB"]);
    let value = "v".repeat(400 << 10);
    let end = value.len().to_string();
    let bulk = Reply::Bulk(Some(value.clone()));
    // One of these slots is on the other core than the connection, where there are two.
    for tag in ["{a}", "{b}"] {
        let mut client = server.connect();
        let keys: Vec<String> = (0..COUNT).map(|number| format!("{tag}{number}")).collect();
        for key in &keys {
            assert_eq!(client.call(&["SET", key, &value]).unwrap(), ok());
        }
        let (mut asked, mut expected) = (Vec::<Vec<&str>>::new(), Vec::new());
        for key in &keys {
            asked.push(vec!["GET", key]);
            expected.push(bulk.clone());
        }
        for key in &keys {
            asked.push(vec!["GETRANGE", key, "0", &end]);
            expected.push(bulk.clone());
        }
        for pair in keys.chunks(2) {
            asked.push(vec!["MGET", &pair[0], &pair[1]]);
            expected.push(Reply::Array(vec![bulk.clone(), bulk.clone()]));
        }
        for key in &keys {
            asked.extend([vec!["MULTI"], vec!["GET", key], vec!["EXEC"]]);
            expected.extend([ok(), Reply::Simple("QUEUED".to_owned()), Reply::Array(vec![bulk.clone()])]);
        }
        let Reply::Integer(id) = client.call(&["CLIENT", "ID"]).unwrap() else { panic!("an id") };
        let asked_all: Vec<&[&str]> = asked.iter().map(Vec::as_slice).collect();
        client.send(&asked_all).unwrap();
        let mut other = server.connect();
        until("its replies wait", || {
            let Reply::Bulk(Some(list)) = other.call(&["CLIENT", "LIST", "ID", &id.to_string()]).unwrap() else {
                panic!("a text");
            };
            let waiting = list.split_once(" omem=").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
            waiting.is_some_and(|len: usize| len >= 256 << 10)
        });
        for (asked, expected) in asked.iter().zip(expected) {
            assert!(client.receive().unwrap() == expected, "{asked:?}");
        }
    }
}
