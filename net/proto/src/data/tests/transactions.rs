use alloc::{format, string::String, vec::Vec};

use windrow_core::{
    log::RoomError,
    partition::{AppendError, Change, Op},
};

use super::harness::Bench;
use crate::{
    command::TABLE,
    data::{Outcome, is_allowed_in_transaction, keyspace::Keyspace, transaction::Staged},
};

#[test]
fn commands_see_what_those_before_them_did() {
    let mut bench = Bench::new();
    bench.line("SET old 1");
    let reply = bench.transaction(
        &[],
        &[
            "SET a 1",
            "INCR a",
            "GET a",
            "PING",
            "DEL old",
            "EXISTS old a",
            "RENAME a b",
            "MGET a b",
            "PEXPIRE b 50",
            "PTTL b",
        ],
    );
    assert_eq!(reply, "[OK, :2, \"2\", PONG, :1, :1, OK, [nil, \"2\"], :1, :50]");
    bench.script("MGET a b old -> [nil, \"2\", nil]");
    bench.script("PTTL b -> :50");
}

#[test]
fn all_changes_are_one_record() {
    let mut bench = Bench::new();
    let records = |bench: &Bench| bench.partition.records(windrow_core::types::Lsn::ZERO).unwrap().count();
    let before = records(&bench);
    bench.transaction(&[], &["SET a 1", "SET b 1", "SET a 2", "SET c 3", "DEL c", "APPEND b x"]);
    assert_eq!(records(&bench), before + 1);
    bench.script("MGET a b c -> [\"2\", \"1x\", nil]");
    // Where nothing changes in the end, nothing is written.
    assert_eq!(bench.transaction(&[], &["SET d 1", "GET d", "DEL d"]), "[OK, \"1\", :1]");
    assert_eq!(bench.transaction(&[], &["GET a"]), "[\"2\"]");
    assert_eq!(bench.transaction(&[], &[]), "[]");
    assert_eq!(records(&bench), before + 1);
}

#[test]
fn an_error_of_one_command_leaves_the_others() {
    let mut bench = Bench::new();
    let reply = bench.transaction(&[], &["SET a x", "INCR a", "SET a 5 NX XX", "SET b 1", "KEYS *"]);
    let not_here = "-ERR Command not allowed inside a transaction";
    assert_eq!(reply, format!("[OK, -ERR value is not an integer or out of range, -ERR syntax error, OK, {not_here}]"));
    bench.script("MGET a b -> [\"x\", \"1\"]");
}

#[test]
fn a_watched_key_that_changed_stops_everything() {
    let mut bench = Bench::new();
    bench.line("SET a 1");
    let watched = [bench.watch("a"), bench.watch("absent")];
    assert_eq!(bench.transaction(&watched, &["SET b 1"]), "[OK]");
    for change in ["SET a 1", "DEL a", "SET absent 1", "EXPIRE a 10", "FLUSHALL"] {
        bench.line("SET a 1");
        bench.line("DEL absent");
        let watched = [bench.watch("a"), bench.watch("absent")];
        bench.line(change);
        assert_eq!(bench.transaction(&watched, &["SET b 2"]), "nil", "{change}");
        assert_ne!(bench.reply("GET b"), "\"2\"", "{change}");
    }
    // Expiring is a change, too; having been expired already is none.
    bench.line("SET a 1 PX 10");
    let watched = [bench.watch("a")];
    bench.advance(10);
    assert_eq!(bench.transaction(&watched, &["SET b 2"]), "nil");
    let watched = [bench.watch("a")];
    assert_eq!(bench.transaction(&watched, &["SET b 2"]), "[OK]");
}

#[test]
fn nothing_is_applied_when_the_record_is_refused() {
    let mut bench = Bench::of(0, 1, 4 << 10);
    bench.line("SET a 1");
    let value = "v".repeat(2000);
    let (set, append) = (format!("SET a {value}"), format!("SET b {value}"));
    let reply = bench.transaction(&[], &[&set, &append, "DEL a"]);
    assert_eq!(reply, "[OK, OK, :1]", "the first of them is superseded");
    bench.line("SET a 1");
    let reply = bench.transaction(&[], &["INCR a", &set, &append]);
    assert!(reply.starts_with("-ERR too large: a record of "), "{reply}");
    bench.script("GET a -> \"1\"");
    bench.full = true;
    let refused = loop {
        let reply = bench.transaction(&[], &["INCR a", &append]);
        if reply.starts_with('-') {
            break reply;
        }
    };
    assert!(refused.starts_with("-ERR no space left on the disk"), "{refused}");
    let before = bench.reply("GET a");
    assert_eq!(bench.transaction(&[], &["INCR a", &append]), refused);
    assert_eq!(bench.reply("GET a"), before);
}

/// What it holds meanwhile is bounded, too, not only what is written in the end.
#[test]
fn changes_that_are_too_much_are_not_kept_in_memory() {
    let mut bench = Bench::of(0, 1, 4 << 10);
    let now = bench.ctx.now;
    let mut staged = Staged::new(&mut bench.partition, now);
    let value = [7; 3_000];
    for number in 0..100_u8 {
        let key = [number];
        let hash = staged.hash(&key);
        let change = Change::Put { value: &value, expires_at: None };
        staged.apply(&mut [Op { hash, key: &key, change }]).unwrap();
        assert!(staged.kept_len() <= 2 * (4 << 10), "after {number}");
    }
    assert!(staged.kept_len() > 0);
    assert!(matches!(staged.commit(), Err(AppendError::Room(RoomError::TooLarge { .. }))));
}

/// Each command is short, and what it would do is long: a transaction takes no more memory than what it may write and
/// what may wait for its client.
#[test]
fn a_transaction_that_comes_to_too_much_is_refused_before_it_does() {
    let mut bench = Bench::of(0, 1, 4 << 10);
    bench.line("SET a 1");
    let lines: Vec<String> = (0..100).map(|key| format!("SETRANGE key{key} 60000000 x")).collect();
    let lines: Vec<&str> = ["INCR a"].into_iter().chain(lines.iter().map(String::as_str)).collect();
    let reply = bench.transaction(&[], &lines);
    assert!(reply.starts_with("-ERR too large: a record of 60"), "{reply}");
    bench.script("GET a -> \"1\"");

    bench.line(&format!("SET b {}", "v".repeat(1_000)));
    bench.ctx.reply_len_max = 5_000;
    let (few, many) = (["MGET b b b b"], ["INCR a", "GET b", "GET b", "GET b", "GET b", "GET b"]);
    assert!(bench.transaction(&[], &few).starts_with("[[\"vvv"));
    let refused =
        "-ERR the reply is longer than the 5000 bytes that may wait for a client: nothing was done; ask for less";
    assert_eq!(bench.transaction(&[], &many), refused);
    assert_eq!(bench.reply("MGET b b b b b"), refused);
    (0..600).for_each(|key| drop(bench.line(&format!("SET {key:05} x"))));
    assert_eq!(bench.reply("KEYS *"), refused);
    assert!(bench.reply("KEYS 001*").starts_with("[\"00"));
    bench.script("GET a -> \"1\"");
}

#[test]
fn a_transaction_that_has_to_wait_for_a_segment_is_run_again_as_a_whole() {
    let mut bench = Bench::of(0, 1, 4 << 10);
    let value = "v".repeat(1500);
    let lines = ["INCR a".into(), format!("SET b {value}")];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let mut retried = 0;
    for round in 1..50 {
        loop {
            let (outcome, out) = bench.try_transaction(&[], &lines);
            match outcome {
                Outcome::Done { .. } => break,
                Outcome::Retry => {
                    assert!(out.is_empty());
                    retried += 1;
                    bench.act();
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(bench.reply("GET a"), format!("\"{round}\""));
    }
    assert!(retried > 0, "segments of this size run out");
}

/// One that only reads, and one that a watched key stops, show writes that are not committed, too.
#[test]
fn replies_wait_for_what_they_show() {
    let mut bench = Bench::new();
    let before = bench.watch("a");
    let (outcome, _) = bench.try_line("SET a 1");
    let Outcome::Done { wait: written } = outcome else { panic!("{outcome:?}") };
    assert_eq!(bench.try_transaction(&[], &["PING", "GET a"]).0, Outcome::Done { wait: written });
    assert_eq!(bench.try_transaction(&[before], &["PING"]).0, Outcome::Done { wait: written });
    let watched = [bench.watch("a")];
    assert_eq!(bench.try_transaction(&watched, &["PING"]).0, Outcome::Done { wait: written });
    let (outcome, _) = bench.try_transaction(&[], &["SET b 1"]);
    assert_eq!(outcome, Outcome::Done { wait: bench.partition.appended() });
    bench.flush();
    let at_once = Outcome::Done { wait: windrow_core::types::Lsn::ZERO };
    assert_eq!(bench.try_transaction(&watched, &["PING", "GET b"]).0, at_once);
}

#[test]
fn commands_on_the_whole_node_are_not_allowed() {
    let refused: Vec<&str> =
        TABLE.iter().filter(|command| !is_allowed_in_transaction(command)).map(|command| command.name).collect();
    let whole_node = ["keys", "randomkey", "scan", "dbsize", "flushall", "flushdb", "save", "shutdown"];
    let mut expected = [&whole_node[..], &["failover", "replicaof", "slaveof"]].concat();
    expected.sort_unstable();
    let mut sorted = refused;
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
}
