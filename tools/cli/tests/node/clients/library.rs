//! The `redis` crate, as an application would use it.

use std::collections::HashMap;

use redis::{Commands, Connection, ErrorKind, InfoDict, RedisResult, ServerErrorKind, Value};

use crate::support::Server;

/// Runs a test in RESP2 and in RESP3, each against a server of its own.
fn in_both_protocols(test: impl Fn(&Server, &mut Connection)) {
    for protocol in ["resp2", "resp3"] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(dir.path(), &[]);
        let url = format!("redis://{}/?protocol={protocol}", server.address);
        test(&server, &mut connect(&url).unwrap());
    }
}

fn connect(url: &str) -> RedisResult<Connection> {
    redis::Client::open(url)?.get_connection()
}

fn command(line: &str) -> redis::Cmd {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command
}

fn error(line: &str, connection: &mut Connection) -> String {
    let error = command(line).query::<Value>(connection).unwrap_err();
    format!("{} {}", error.code().unwrap_or("?"), error.detail().unwrap_or(""))
}

#[test]
fn values_come_back_as_they_were_set() {
    in_both_protocols(|_, connection| {
        let binary: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        let () = connection.set("{v}k", &binary).unwrap();
        assert_eq!(connection.get::<_, Vec<u8>>("{v}k").unwrap(), binary);
        assert_eq!(connection.get::<_, Option<String>>("absent").unwrap(), None);
        assert_eq!(connection.incr::<_, _, i64>("{v}n", 41).unwrap(), 41);
        assert_eq!(connection.incr::<_, _, i64>("{v}n", 1).unwrap(), 42);
        assert_eq!(connection.append::<_, _, usize>("{v}n", "0").unwrap(), 3);
        let () = connection.set_ex("t", "x", 100).unwrap();
        assert!((1..=100).contains(&connection.ttl::<_, i64>("t").unwrap()));
        assert_eq!(connection.del::<_, usize>(&["{v}k", "{v}n", "{v}absent"]).unwrap(), 2);
        let refused = connection.set::<_, _, ()>("big", vec![0_u8; (64 << 20) + 1]).unwrap_err();
        assert!(refused.is_io_error() || refused.to_string().contains("invalid bulk length"), "{refused}");
    });
}

// Where every core is an endpoint of its own, a command stays within one slot, as in Redis Cluster.
#[cfg(feature = "shared-memory")]
#[test]
fn commands_go_over_all_partitions() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--partitions", "4"]);
    let connection = &mut connect(&format!("redis://{}", server.address)).unwrap();
    let keys: Vec<String> = (0..500).map(|number| format!("key:{number}")).collect();
    for key in &keys {
        let () = connection.set(key, key).unwrap();
    }
    assert_eq!(command("DBSIZE").query::<usize>(connection).unwrap(), 500);
    assert_eq!(connection.mget::<_, Vec<String>>(&keys).unwrap(), keys);
    assert_eq!(connection.exists::<_, usize>(&keys).unwrap(), 500);
    let scanned: std::collections::HashSet<String> =
        connection.scan_match("key:*").unwrap().collect::<RedisResult<_>>().unwrap();
    assert_eq!(scanned.len(), 500);
    assert!(error("MSET a 1 b 2 c 3 d 4", connection).starts_with("CROSSSLOT "));
    let () = command("MSET {t}a 1 {t}b 2").query(connection).unwrap();
    let info: InfoDict = command("INFO keyspace").query(connection).unwrap();
    assert_eq!(info.get::<String>("db0").unwrap(), "keys=502,expires=0,avg_ttl=0");
    assert_eq!(connection.unlink::<_, usize>(&keys).unwrap(), 500);
    let () = command("FLUSHALL").query(connection).unwrap();
    assert_eq!(command("DBSIZE").query::<usize>(connection).unwrap(), 0);
}

#[test]
fn transactions_are_all_or_nothing() {
    in_both_protocols(|_, connection| {
        let (first, second): (i64, i64) =
            redis::pipe().atomic().incr("{t}a", 1).incr("{t}b", 2).query(connection).unwrap();
        assert_eq!((first, second), (1, 2));
        let () = command("MULTI").query(connection).unwrap();
        assert!(error("NOSUCH", connection).starts_with("ERR unknown command 'NOSUCH'"));
        assert_eq!(command("SET {t}a 9").query::<String>(connection).unwrap(), "QUEUED");
        assert!(error("EXEC", connection).starts_with("EXECABORT "));
        assert_eq!(connection.get::<_, i64>("{t}a").unwrap(), 1);
        let (pong, id): (String, i64) =
            redis::pipe().atomic().cmd("PING").cmd("CLIENT").arg("ID").query(connection).unwrap();
        assert!(pong == "PONG" && id > 0);
    });
}

#[test]
fn waits_in_a_transaction_say_what_is_there() {
    in_both_protocols(|_, connection| {
        let () = connection.set("{t}a", 1).unwrap();
        let (replicas, set, both): (i64, String, (i64, i64)) = redis::pipe()
            .atomic()
            .add_command(command("WAIT 1 0"))
            .add_command(command("SET {t}a 2"))
            .add_command(command("WAITAOF 1 1 0"))
            .query(connection)
            .unwrap();
        assert_eq!((replicas, set.as_str(), both), (0, "OK", (1, 0)));
        let () = command("WATCH {t}a").query(connection).unwrap();
        let () = connection.set("{t}a", 3).unwrap();
        let aborted: Option<(i64,)> =
            redis::pipe().atomic().add_command(command("WAIT 1 0")).query(connection).unwrap();
        assert_eq!(aborted, None);
        // What would answer late, or has to ask every core, is refused in its place; and wrong arguments are, too.
        let refused = "ERR Command not allowed inside a transaction";
        for (line, expected) in [
            ("INFO", refused),
            ("CLIENT LIST", refused),
            ("CLIENT KILL ID 999999", refused),
            ("WAIT x 0", "ERR value is not an integer or out of range"),
            ("WAITAOF 2 0 0", "ERR value is out of range, value must between 0 and 1"),
        ] {
            let () = command("MULTI").query(connection).unwrap();
            let () = command(line).query(connection).unwrap();
            assert_eq!(error("EXEC", connection), expected, "{line}");
        }
        let () = command("MULTI").query(connection).unwrap();
        assert!(error("SAVE", connection).ends_with(" not allowed inside a transaction"));
        assert!(error("EXEC", connection).starts_with("EXECABORT "));
    });
}

#[test]
fn a_pipeline_is_answered_in_order() {
    in_both_protocols(|_, connection| {
        let mut pipe = redis::pipe();
        for number in 0..5_000 {
            pipe.cmd("SET").arg(format!("p{}", number % 97)).arg(number).ignore();
            pipe.cmd("GET").arg(format!("p{}", number % 97));
        }
        let values: Vec<i64> = pipe.query(connection).unwrap();
        assert_eq!(values, (0..5_000).collect::<Vec<_>>());
    });
}

#[test]
fn what_a_library_asks_about_itself() {
    in_both_protocols(|_, connection| {
        let info: InfoDict = command("INFO").query(connection).unwrap();
        assert_eq!(info.get::<String>("redis_version").unwrap(), "7.2.0");
        assert_eq!(info.get::<String>("role").unwrap(), "master");
        assert_eq!(info.get::<u64>("connected_clients").unwrap(), 1);
        assert_eq!(info.get::<String>("durability").unwrap(), "commit");
        assert_eq!(info.get::<u64>("confirmed_at_risk_bytes").unwrap(), 0);

        let () = command("CLIENT SETNAME tester").query(connection).unwrap();
        assert_eq!(command("CLIENT GETNAME").query::<String>(connection).unwrap(), "tester");
        let line: String = command("CLIENT INFO").query(connection).unwrap();
        assert!(line.contains(" name=tester ") && line.contains(" cmd=client|info "), "{line}");
        let list: String = command("CLIENT LIST").query(connection).unwrap();
        assert_eq!(list.lines().count(), 1, "{list}");

        let config: HashMap<String, String> = command("CONFIG GET maxclients appendonly").query(connection).unwrap();
        assert_eq!(config["maxclients"], "10000");
        assert_eq!(config["appendonly"], "yes");
        let count: usize = command("COMMAND COUNT").query(connection).unwrap();
        let described: Vec<Value> = command("COMMAND").query(connection).unwrap();
        assert_eq!(described.len(), count);
        let docs: HashMap<String, Value> = command("COMMAND DOCS get client|list").query(connection).unwrap();
        assert_eq!(docs.len(), 2);
        let keys: Vec<String> = command("COMMAND GETKEYS MSET a 1 b 2").query(connection).unwrap();
        assert_eq!(keys, ["a", "b"]);
        let (seconds, micros): (u64, u64) = command("TIME").query(connection).unwrap();
        assert!(seconds > 1_600_000_000 && micros < 1_000_000);
        let (role, offset, replicas): (String, i64, Vec<Value>) = command("ROLE").query(connection).unwrap();
        assert!(role == "master" && offset >= 0 && replicas.is_empty());
        assert!(command("LASTSAVE").query::<u64>(connection).unwrap() > 1_600_000_000);
        assert_eq!(command("SAVE").query::<String>(connection).unwrap(), "OK");
        assert_eq!(command("WAIT 0 100").query::<i64>(connection).unwrap(), 0);
        assert_eq!(command("WAIT 1 50").query::<i64>(connection).unwrap(), 0);
        let () = connection.set("w", 1).unwrap();
        assert_eq!(command("WAITAOF 1 0 0").query::<(i64, i64)>(connection).unwrap(), (1, 0));
        assert_eq!(command("MODULE LIST").query::<Vec<Value>>(connection).unwrap(), []);
        assert_eq!(command("ACL WHOAMI").query::<String>(connection).unwrap(), "default");
    });
}

#[test]
fn statistics_follow_what_is_done() {
    in_both_protocols(|_, connection| {
        let () = command("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 5").query(connection).unwrap();
        let () = connection.set("a", 1).unwrap();
        let _: Option<i64> = connection.get("a").unwrap();
        let _: Option<i64> = connection.get("nothing").unwrap();
        let _: Vec<String> = command("KEYS *").query(connection).unwrap();
        error("GET", connection);
        let info: InfoDict = command("INFO everything").query(connection).unwrap();
        assert_eq!((info.get::<u64>("keyspace_hits"), info.get::<u64>("keyspace_misses")), (Some(1), Some(1)));
        assert!(info.get::<String>("cmdstat_get").unwrap().starts_with("calls=2,"));
        assert_eq!(info.get::<String>("errorstat_ERR").unwrap(), "count=1");
        let slow: Vec<(u64, u64, u64, Vec<String>, String, String)> =
            command("SLOWLOG GET 100").query(connection).unwrap();
        assert!(slow.iter().any(|entry| entry.3 == ["KEYS", "*"]), "{slow:?}");
        assert!(command("SLOWLOG LEN").query::<usize>(connection).unwrap() <= 5);
        let () = command("CONFIG RESETSTAT").query(connection).unwrap();
        let info: InfoDict = command("INFO stats").query(connection).unwrap();
        assert_eq!(info.get::<u64>("keyspace_hits").unwrap(), 0);
    });
}

#[test]
fn a_client_can_ask_for_more_durability_than_its_node_gives() {
    let dir = tempfile::tempdir().unwrap();
    // Nothing is flushed on its own while the test runs.
    let server = Server::start(dir.path(), &["--durability", "memory", "--memory-flush-interval", "1h"]);
    let connection = &mut connect(&format!("redis://{}", server.address)).unwrap();
    let at_risk = |connection: &mut Connection| {
        let info: InfoDict = command("INFO everything").query(connection).unwrap();
        info.get::<u64>("confirmed_at_risk_bytes").unwrap()
    };
    assert_eq!(command("CLIENT DURABILITY").query::<String>(connection).unwrap(), "memory");
    let () = connection.set("{t}a", 1).unwrap();
    assert!(at_risk(connection) > 0);
    let () = command("CLIENT DURABILITY commit").query(connection).unwrap();
    let () = connection.set("{t}b", 2).unwrap();
    assert_eq!(at_risk(connection), 0, "its reply came after the flush, which covers what came before");
    let () = redis::pipe().atomic().incr("{t}a", 1).incr("{t}b", 1).query(connection).unwrap();
    assert_eq!(at_risk(connection), 0);
}

#[test]
fn what_is_confirmed_before_it_is_flushed_outlives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    // On several partitions, in several segments, a transaction among it; nothing is flushed on its own.
    let flags = ["--durability", "memory", "--memory-flush-interval", "1h", "--segment-size", "64KiB"];
    let count = 300;
    for round in 0..2 {
        let server = Server::start(dir.path(), &[&flags[..], &["--partitions", "2"]].concat());
        let connection = &mut connect(&format!("redis://{}", server.address)).unwrap();
        if round == 1 {
            let found: usize = command("DBSIZE").query(connection).unwrap();
            assert_eq!(found, count + 1, "what was confirmed before the kill");
            assert_eq!(connection.get::<_, String>("{t}a").unwrap(), "7");
            break;
        }
        for number in 0..count {
            let () = connection.set(format!("key{number}"), "x".repeat(500)).unwrap();
        }
        let () = redis::pipe().atomic().set("{t}a", 6).incr("{t}a", 1).query(connection).unwrap();
        server.kill();
    }
}

#[test]
fn a_client_can_be_closed_by_another() {
    in_both_protocols(|server, connection| {
        let mut victim = connect(&format!("redis://{}", server.address)).unwrap();
        let id: u64 = command("CLIENT ID").query(&mut victim).unwrap();
        assert_eq!(command(&format!("CLIENT KILL ID {id}")).query::<u64>(connection).unwrap(), 1);
        assert!(command("PING").query::<Value>(&mut victim).unwrap_err().is_connection_dropped());
        assert_eq!(command(&format!("CLIENT KILL ID {id}")).query::<u64>(connection).unwrap(), 0);
        assert_eq!(error("CLIENT KILL 127.0.0.1:1", connection), "ERR No such client");
    });
}

#[test]
fn a_password_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path(), &["--requirepass", "secret"]);
    let address = server.address;
    let mut stranger = connect(&format!("redis://{address}")).unwrap();
    assert_eq!(error("GET a", &mut stranger), "NOAUTH Authentication required.");
    assert!(error("AUTH wrong", &mut stranger).starts_with("WRONGPASS "));
    let refused = connect(&format!("redis://:wrong@{address}")).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::AuthenticationFailed);
    for protocol in ["resp2", "resp3"] {
        let mut friend = connect(&format!("redis://:secret@{address}/?protocol={protocol}")).unwrap();
        assert_eq!(command("PING").query::<String>(&mut friend).unwrap(), "PONG");
    }
    let () = command("AUTH secret").query(&mut stranger).unwrap();
    let () = command("MULTI").query(&mut stranger).unwrap();
    let () = command("AUTH wrong").query(&mut stranger).unwrap();
    assert_eq!(error("EXEC", &mut stranger), "ERR Command not allowed inside a transaction");
    let () = command("CONFIG SET requirepass other").query(&mut stranger).unwrap();
    assert!(connect(&format!("redis://:secret@{address}")).is_err());
    connect(&format!("redis://:other@{address}")).unwrap();
}

#[test]
fn wrong_uses_are_named_as_redis_names_them() {
    in_both_protocols(|_, connection| {
        for (line, expected) in [
            ("NOSUCH a b", "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
            ("GET", "ERR wrong number of arguments for 'get' command"),
            ("CLIENT NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try CLIENT HELP."),
            ("CLIENT LIST TYPE x", "ERR Unknown client type 'x'"),
            ("SELECT 1", "ERR DB index is out of range"),
            ("HELLO 9", "NOPROTO unsupported protocol version"),
            ("CONFIG SET nosuch 1", "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
            ("EXEC", "ERR EXEC without MULTI"),
            ("SUBSCRIBE x", "ERR unknown command 'SUBSCRIBE', with args beginning with: 'x' "),
            ("MONITOR", "ERR unknown command 'MONITOR', with args beginning with: "),
        ] {
            assert_eq!(error(line, connection).trim_end(), expected.trim_end(), "{line}");
        }
        let debug = command("DEBUG SLEEP 0").query::<Value>(connection).unwrap_err();
        assert_eq!(debug.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
    });
}
