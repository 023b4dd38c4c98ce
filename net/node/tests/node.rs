//! The whole node over real sockets, in shared-memory mode.
#![cfg(feature = "shared-memory")]

mod common;

use std::collections::BTreeSet;

use common::{Node, ok, run};
use redis::Value;
use tempfile::tempdir;

/// Two cores if there are as many, and more partitions than cores.
fn two_cores() -> [(&'static str, &'static str); 2] {
    [("cores", if windrow_node::runtime::available().len() > 1 { "2" } else { "1" }), ("partitions", "4")]
}

#[test]
fn what_was_confirmed_is_there_after_a_restart() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut connection = node.connect();
    for number in 0..500 {
        ok::<()>(&mut connection, &format!("SET key{number} value{number}"));
    }
    ok::<()>(&mut connection, "DEL key7");
    node.stop();
    // Fewer cores than before; the partitions are still four.
    let node = Node::start(dir.path(), &[("cores", "1")]);
    let mut connection = node.connect();
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 499);
    for number in (0..500).filter(|&number| number != 7) {
        assert_eq!(ok::<String>(&mut connection, &format!("GET key{number}")), format!("value{number}"));
    }
}

#[test]
fn commands_on_several_keys_work_over_all_partitions() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut connection = node.connect();
    for number in 0..100 {
        ok::<()>(&mut connection, &format!("SET k{number} {number}"));
    }
    let names: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    let all = names.join(" ");
    let values: Vec<Option<u32>> = ok(&mut connection, &format!("MGET {all} nope"));
    assert_eq!(values, (0..100).map(Some).chain([None]).collect::<Vec<_>>());
    assert_eq!(ok::<u64>(&mut connection, &format!("EXISTS {all} nope")), 100);
    let keys: BTreeSet<String> = ok::<Vec<String>>(&mut connection, "KEYS *").into_iter().collect();
    assert_eq!(keys, names.iter().cloned().collect());

    let (mut scanned, mut cursor) = (BTreeSet::new(), "0".to_owned());
    loop {
        let (next, part): (String, Vec<String>) = ok(&mut connection, &format!("SCAN {cursor} COUNT 7"));
        scanned.extend(part);
        cursor = next;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(scanned, keys);
    assert!(keys.contains(&ok::<String>(&mut connection, "RANDOMKEY")));
    assert_eq!(ok::<u64>(&mut connection, "DEL k1 k2 k3 k4 nope"), 4);
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 96);
    ok::<()>(&mut connection, "FLUSHALL");
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 0);
}

#[test]
fn what_must_be_atomic_and_cannot_is_refused() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut connection = node.connect();
    let error = run::<()>(&mut connection, "MSET a 1 b 2 c 3 d 4 e 5").unwrap_err();
    assert_eq!(error.code(), Some("CROSSSLOT"));
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 0);
    ok::<()>(&mut connection, "MSET {t}a 1 {t}b 2");
    assert_eq!(ok::<Vec<u8>>(&mut connection, "MGET {t}a {t}b"), [1, 2]);
}

#[test]
fn transactions_are_all_or_nothing_on_every_core() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut connection = node.connect();
    let mut other = node.connect();
    // Tags of all four partitions, so that some are on the other core.
    for tag in ["{a}", "{b}", "{c}", "{d}", "{e}", "{f}"] {
        ok::<()>(&mut connection, &format!("WATCH {tag}x {tag}y"));
        ok::<()>(&mut connection, "MULTI");
        for line in [format!("SET {tag}x 1"), "PING".to_owned(), format!("INCR {tag}x"), format!("INCR {tag}y")] {
            assert_eq!(ok::<String>(&mut connection, &line), "QUEUED");
        }
        let replies: Vec<Value> = ok(&mut connection, "EXEC");
        assert_eq!(replies, [Value::Okay, Value::SimpleString("PONG".into()), Value::Int(2), Value::Int(1)], "{tag}");
        // Somebody else changes a watched key.
        ok::<()>(&mut connection, &format!("WATCH {tag}x"));
        ok::<()>(&mut other, &format!("SET {tag}x 9"));
        ok::<()>(&mut connection, "MULTI");
        ok::<()>(&mut connection, &format!("SET {tag}y 77"));
        assert_eq!(ok::<Value>(&mut connection, "EXEC"), Value::Nil);
        assert_eq!(ok::<String>(&mut connection, &format!("GET {tag}y")), "1");
    }
    ok::<()>(&mut connection, "MULTI");
    let refused = (0..8).filter(|number| run::<()>(&mut connection, &format!("SET k{number} 1")).is_err()).count();
    assert!(refused > 0, "eight keys in one partition of four");
    assert_eq!(run::<Value>(&mut connection, "EXEC").unwrap_err().code(), Some("EXECABORT"));
    assert_eq!(ok::<u64>(&mut connection, "EXISTS k0 k1 k2 k3 k4 k5 k6 k7"), 0);
}

#[test]
fn writes_wait_for_the_next_segment_and_keep_their_order() {
    let dir = tempdir().unwrap();
    let small = [("segment-size", "4096"), ("segments-ahead", "1")];
    let settings: Vec<_> = two_cores().into_iter().chain(small).collect();
    let node = Node::start(dir.path(), &settings);
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let mut connection = node.connect();
            std::thread::spawn(move || {
                for round in 0..20 {
                    let mut pipeline = redis::pipe();
                    for key in 0..50 {
                        pipeline.cmd("SET").arg(format!("{writer}:{key}")).arg(format!("{round}")).ignore();
                        pipeline.cmd("APPEND").arg(format!("{writer}:{key}")).arg("x".repeat(40));
                        pipeline.cmd("GET").arg(format!("{writer}:{key}"));
                    }
                    let replies: Vec<Value> = pipeline.query(&mut connection).unwrap();
                    for pair in replies.chunks(2) {
                        let expected = format!("{round}{}", "x".repeat(40));
                        assert_eq!(pair[0], Value::Int(i64::try_from(expected.len()).unwrap()));
                        assert_eq!(pair[1], Value::BulkString(expected.into_bytes()));
                    }
                }
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
    let mut connection = node.connect();
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 200);
    // One that no segment can hold.
    let error = redis::cmd("SET").arg("large").arg(vec![b'x'; 5_000]).query::<()>(&mut connection).unwrap_err();
    assert!(error.to_string().contains("too large"), "{error}");
}

#[test]
fn memory_mode_confirms_at_once_and_waitaof_waits_for_the_disk() {
    let dir = tempdir().unwrap();
    let settings: Vec<_> = two_cores().into_iter().chain([("durability", "memory")]).collect();
    let node = Node::start(dir.path(), &settings);
    let mut connection = node.connect();
    for number in 0..50 {
        ok::<()>(&mut connection, &format!("SET k{number} v"));
    }
    assert_eq!(ok::<Vec<u64>>(&mut connection, "WAITAOF 1 0 0"), [1, 0]);
    node.stop();
    let node = Node::start(dir.path(), &[]);
    assert_eq!(ok::<u64>(&mut node.connect(), "DBSIZE"), 50);
}

/// What replies to a transaction of these commands.
fn transact(connection: &mut redis::Connection, lines: &[&str]) -> Value {
    ok::<()>(connection, "MULTI");
    lines.iter().for_each(|line| assert_eq!(ok::<String>(connection, line), "QUEUED"));
    ok(connection, "EXEC")
}

/// What WAITAOF replies where there are no replicas.
fn local(count: i64) -> Value {
    Value::Array(vec![Value::Int(count), Value::Int(0)])
}

#[test]
fn waits_in_a_transaction_do_not_wait_and_do_not_count_its_own_writes() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut connection = node.connect();
    let mut other = node.connect();
    // Tags of all four partitions, so that some are on the other core.
    for tag in ["{a}", "{b}", "{c}", "{d}", "{e}", "{f}"] {
        let set = format!("SET {tag}x 1");
        let replies = transact(&mut connection, &["WAIT 9 0", &set, "WAITAOF 1 9 0"]);
        assert_eq!(replies, Value::Array(vec![Value::Int(0), Value::Okay, local(1)]), "{tag}");
        ok::<()>(&mut connection, &format!("WATCH {tag}x"));
        ok::<()>(&mut other, &format!("SET {tag}x 9"));
        assert_eq!(transact(&mut connection, &["WAIT 9 0", &set]), Value::Nil, "{tag}");
        assert_eq!(ok::<u8>(&mut connection, &format!("GET {tag}x")), 9);
    }
}

#[test]
fn waits_in_a_transaction_count_all_partitions_and_have_nothing_flushed() {
    let dir = tempdir().unwrap();
    let settings = two_cores().into_iter().chain([("durability", "memory"), ("memory-flush-interval", "1h")]);
    let node = Node::start(dir.path(), &settings.collect::<Vec<_>>());
    let mut connection = node.connect();
    assert_eq!(transact(&mut connection, &["WAITAOF 1 0 0"]), Value::Array(vec![local(1)]), "nothing is written yet");
    ok::<()>(&mut connection, "SET {a}x 1");
    for tag in ["{a}", "{b}", "{c}", "{d}", "{e}", "{f}"] {
        for _ in 0..20 {
            let replies = transact(&mut connection, &[&format!("GET {tag}y"), "WAITAOF 1 9 0"]);
            assert_eq!(replies, Value::Array(vec![Value::Nil, local(0)]), "{tag}");
        }
    }
    assert_eq!(ok::<Vec<u64>>(&mut connection, "WAITAOF 1 0 0"), [1, 0]);
    assert_eq!(transact(&mut connection, &["WAITAOF 1 0 0"]), Value::Array(vec![local(1)]));
}

#[test]
fn who_wants_a_flush_where_all_is_flushed_has_no_later_write_flushed() {
    let dir = tempdir().unwrap();
    let settings = two_cores().into_iter().chain([("durability", "memory"), ("memory-flush-interval", "1h")]);
    let node = Node::start(dir.path(), &settings.collect::<Vec<_>>());
    let mut connection = node.connect();
    for _ in 0..2 {
        ok::<()>(&mut connection, "SET {a}x 1");
        assert_eq!(ok::<Vec<u64>>(&mut connection, "WAITAOF 1 0 0"), [1, 0]);
        assert_eq!(ok::<Vec<u64>>(&mut connection, "WAITAOF 1 0 0"), [1, 0], "nothing is left to be flushed");
        ok::<()>(&mut connection, "SET {a}x 2");
        for _ in 0..50 {
            assert_eq!(
                transact(&mut connection, &["GET {a}y", "WAITAOF 1 9 0"]),
                Value::Array(vec![Value::Nil, local(0)])
            );
        }
    }
}

#[test]
fn a_transaction_that_is_given_up_leaves_nothing_behind() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut pipeline = redis::pipe();
    for line in ["MULTI", "WAIT 9 0", "RESET", "MULTI", "WAIT 9 0", "DISCARD", "MULTI", "WAIT 9 0", "EXEC", "PING"] {
        pipeline.add_command(
            redis::cmd(line.split(' ').next().unwrap()).arg(&line.split(' ').collect::<Vec<_>>()[1..]).clone(),
        );
    }
    let queued = Value::SimpleString("QUEUED".into());
    let (begun, ended) = ([Value::Okay, queued], Value::SimpleString("PONG".into()));
    let reset = Value::SimpleString("RESET".into());
    let expected = [&begun[..], &[reset], &begun, &[Value::Okay], &begun, &[Value::Array(vec![Value::Int(0)]), ended]];
    for _ in 0..20 {
        let replies: Vec<Value> = pipeline.query(&mut node.connect()).unwrap();
        assert_eq!(replies, expected.concat());
        // Nobody is there any more when it is known what the last one answers.
        node.connect().send_packed_command(&pipeline.get_packed_pipeline()).unwrap();
    }
    let mut connection = node.connect();
    while !ok::<String>(&mut connection, "INFO clients").contains("connected_clients:1\r\n") {}
    assert!(ok::<String>(&mut connection, "INFO clients").contains("blocked_clients:0\r\n"));
}

#[test]
fn clients_are_listed_and_killed_wherever_they_are() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut victims: Vec<_> = (0..12).map(|_| node.connect()).collect();
    for victim in &mut victims {
        ok::<()>(victim, "CLIENT SETNAME victim");
    }
    let mut connection = node.connect();
    let list: String = ok(&mut connection, "CLIENT LIST");
    assert_eq!(list.matches("name=victim").count(), 12);
    for victim in &mut victims {
        let id: u64 = ok(victim, "CLIENT ID");
        assert_eq!(ok::<u64>(&mut connection, &format!("CLIENT KILL ID {id}")), 1);
        assert!(run::<()>(victim, "PING").is_err(), "a killed client is answered");
    }
}

#[test]
fn replies_that_a_client_does_not_want_are_left_out() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let mut connection = node.connect();
    let mut pipeline = redis::pipe();
    pipeline.cmd("CLIENT").arg("REPLY").arg("OFF");
    for number in 0..20 {
        pipeline.cmd("SET").arg(format!("k{number}")).arg(number);
    }
    pipeline.cmd("CLIENT").arg("REPLY").arg("ON");
    connection.send_packed_command(&pipeline.get_packed_pipeline()).unwrap();
    assert_eq!(connection.recv_response().unwrap(), Value::Okay);
    connection.send_packed_command(&redis::cmd("CLIENT").arg("REPLY").arg("SKIP").get_packed_command()).unwrap();
    connection.send_packed_command(&redis::cmd("GET").arg("k1").get_packed_command()).unwrap();
    connection.send_packed_command(&redis::cmd("GET").arg("k2").get_packed_command()).unwrap();
    assert_eq!(connection.recv_response().unwrap(), Value::BulkString(b"2".to_vec()));
    assert_eq!(ok::<u64>(&mut connection, "DBSIZE"), 20);
}

#[test]
fn a_taken_port_and_a_wrong_number_of_partitions_are_said_so() {
    use windrow_node::settings::Configured;
    use windrow_node::{ServeError, serve};
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &two_cores());
    let port = node.addresses[0].port().to_string();
    let elsewhere = tempdir().unwrap();
    let start = |dir: &std::path::Path, more: [(&str, &str); 2]| {
        let fixed = [("dir", dir.to_str().unwrap()), ("admin-port", "0")];
        let all = fixed.iter().chain(&more).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        serve(Configured::load(None, std::iter::empty(), all).unwrap(), |_| {})
    };
    let taken = start(elsewhere.path(), [("port", &port), ("cores", "1")]);
    assert!(matches!(taken, Err(ServeError::Listen(_))), "{taken:?}");
    node.stop();
    let wrong = start(dir.path(), [("port", "0"), ("partitions", "5")]);
    assert!(matches!(wrong, Err(ServeError::Partitions { found: 4, asked: 5, .. })), "{wrong:?}");
}
