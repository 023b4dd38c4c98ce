//! What a client must not do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use crate::support::{PATIENCE, Reply, Server};

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
    assert_eq!(client.call(&["AUTH", "secret"]).unwrap(), Reply::Simple("OK".to_owned()));
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
    assert_eq!(first.call(&["CONFIG", "SET", "maxclients", "1"]).unwrap(), Reply::Simple("OK".to_owned()));
    // The core takes the new limit over with its next tick.
    let deadline = Instant::now() + PATIENCE;
    while server.connect().call(&["PING"]).is_ok_and(|reply| reply == Reply::Simple("PONG".to_owned())) {
        assert!(Instant::now() < deadline, "nobody is turned away");
    }
    assert_eq!(last_words(&server, b""), "-ERR max number of clients reached\r\n");
    assert_eq!(first.call(&["PING"]).unwrap(), Reply::Simple("PONG".to_owned()));
}
