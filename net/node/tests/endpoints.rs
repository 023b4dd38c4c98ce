//! The whole node over real sockets, in shared-nothing mode: every core an endpoint of its own.
#![cfg(feature = "shared-nothing")]

mod common;

use common::{Node, ok, run};
use redis::Value;
use tempfile::tempdir;

fn cores() -> [(&'static str, &'static str); 2] {
    [("cores", if windrow_node::runtime::available().len() > 1 { "2" } else { "1" }), ("partitions", "4")]
}

#[test]
fn a_client_is_sent_to_the_endpoint_of_its_slot() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &cores());
    let mut connections: Vec<_> = (0..node.addresses.len()).map(|endpoint| node.connect_to(endpoint)).collect();
    let mut stored = vec![0_u64; connections.len()];
    let mut moved = 0;
    for number in 0..100 {
        let line = format!("SET k{number} {number}");
        let at = match run::<()>(&mut connections[0], &line) {
            Ok(()) => 0,
            Err(error) => {
                moved += 1;
                assert_eq!(error.code(), Some("MOVED"), "{error}");
                let (address, _) = error.redirect_node().unwrap();
                let endpoint = node.addresses.iter().position(|known| known.to_string() == address).unwrap();
                ok::<()>(&mut connections[endpoint], &line);
                endpoint
            }
        };
        stored[at] += 1;
        assert_eq!(ok::<u32>(&mut connections[at], &format!("GET k{number}")), number);
    }
    assert!(moved > 0 || connections.len() == 1, "every key was at the first endpoint");
    for (connection, stored) in connections.iter_mut().zip(stored) {
        assert_eq!(ok::<u64>(connection, "DBSIZE"), stored);
        let mut cursor = "0".to_owned();
        let mut seen = 0;
        loop {
            let (next, part): (String, Vec<String>) = ok(connection, &format!("SCAN {cursor}"));
            seen += part.len() as u64;
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen, stored, "a scan sees the keys of its endpoint");
    }
}

#[test]
fn keys_of_one_command_must_share_a_slot() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &[("cores", "1")]);
    let mut connection = node.connect();
    assert_eq!(run::<Value>(&mut connection, "MGET a b").unwrap_err().code(), Some("CROSSSLOT"));
    ok::<()>(&mut connection, "MSET {t}a 1 {t}b 2");
    ok::<()>(&mut connection, "MULTI");
    ok::<()>(&mut connection, "INCR {t}a");
    assert_eq!(run::<()>(&mut connection, "INCR other").unwrap_err().code(), Some("CROSSSLOT"));
    assert_eq!(run::<Value>(&mut connection, "EXEC").unwrap_err().code(), Some("EXECABORT"));
    assert_eq!(ok::<u8>(&mut connection, "GET {t}a"), 1);
}

#[test]
fn an_endpoint_without_a_partition_answers_what_concerns_all_of_its_partitions() {
    if windrow_node::runtime::available().len() < 2 {
        return;
    }
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &[("cores", "2"), ("partitions", "1")]);
    ok::<()>(&mut node.connect(), "SET key value");
    let mut connection = node.connect_to(1);
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 0);
    assert_eq!(ok::<Vec<String>>(&mut connection, "KEYS *"), Vec::<String>::new());
    assert_eq!(ok::<Value>(&mut connection, "RANDOMKEY"), Value::Nil);
    for line in ["FLUSHALL", "SAVE"] {
        assert_eq!(ok::<String>(&mut connection, line), "OK");
    }
    assert_eq!(ok::<u64>(&mut connection, "WAIT 1 0"), 0);
    assert_eq!(ok::<Vec<u64>>(&mut connection, "WAITAOF 1 0 0"), [1, 0]);
    ok::<()>(&mut connection, "MULTI");
    ok::<()>(&mut connection, "WAIT 1 0");
    assert_eq!(ok::<Vec<u64>>(&mut connection, "EXEC"), [0]);
    assert_eq!(ok::<String>(&mut node.connect(), "GET key"), "value");
}
