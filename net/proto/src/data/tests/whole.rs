use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use windrow_core::{
    log::PrepareFailure,
    types::{Lsn, PartitionMap},
};

use super::harness::{Bench, words};
use crate::{
    command::resolve,
    data::{Outcome, Route, Unit, route},
};

fn sorted(list: &str) -> Vec<&str> {
    let mut items: Vec<&str> = list.trim_matches(['[', ']']).split(", ").filter(|item| !item.is_empty()).collect();
    items.sort_unstable();
    items
}

#[test]
fn keys_and_their_number() {
    let mut bench = Bench::new();
    bench.script(
        r#"
        DBSIZE -> :0
        KEYS * -> []
        RANDOMKEY -> nil
        SET one 1 -> OK
        RANDOMKEY -> "one"
        MSET two 2 three 3 gone 4 -> OK
        PEXPIRE gone 5 -> :1
        + 5
        KEYS t?? -> ["two"]
        KEYS nosuch -> []
        "#,
    );
    assert_eq!(sorted(&bench.reply("KEYS *")), ["\"one\"", "\"three\"", "\"two\""]);
    assert_eq!(sorted(&bench.reply("KEYS t*")), ["\"three\"", "\"two\""]);
    assert_eq!(bench.reply(&format!("KEYS {}", "a".repeat(1025))), "-ERR the pattern is longer than 1024 bytes");
    bench.script(
        r#"
        FLUSHALL nosuch -> -ERR syntax error
        FLUSHALL ASYNC SYNC -> -ERR syntax error
        FLUSHALL ASYNC -> OK
        DBSIZE -> :0
        GET one -> nil
        SET one 1 -> OK
        FLUSHDB -> OK
        KEYS * -> []
        "#,
    );
}

/// The whole node as a client scans it: whatever cursor comes back says where to go on.
fn scan_all(benches: &mut [Bench], options: &str) -> Vec<String> {
    let map = PartitionMap::new(u16::try_from(benches.len()).unwrap()).unwrap();
    let (mut cursor, mut keys) = (String::from("0"), Vec::new());
    for _ in 0..5_000 {
        let line = format!("SCAN {cursor} {options}");
        let args = words(&line);
        let Route::One { partition, slot: None } =
            route(resolve(args.args()).unwrap(), args.args(), map, Unit::Partition)
        else {
            panic!("a scan goes to one partition");
        };
        let reply = benches[usize::from(partition.get())].reply(&line);
        let (next, found) = reply.trim_matches(['[', ']']).split_once(", ").unwrap();
        keys.extend(sorted(found.trim_start_matches('[')).into_iter().map(String::from));
        cursor = next.trim_matches('"').into();
        assert!(cursor.parse::<u64>().is_ok());
        if cursor == "0" {
            return keys;
        }
    }
    panic!("a scan with {options:?} never ends");
}

#[test]
fn a_scan_finds_every_key_of_every_partition() {
    let mut benches: Vec<Bench> = (0..3).map(|number| Bench::of(number, 3, 4 << 10)).collect();
    let mut expected = BTreeSet::new();
    for number in 0..500 {
        benches[number % 3].line(&format!("SET key:{number} x"));
        expected.insert(format!("\"key:{number}\""));
    }
    for options in ["", "COUNT 1", "COUNT 1000000", "MATCH key:*", "TYPE string", "MATCH * COUNT 77 TYPE STRING"] {
        let found = scan_all(&mut benches, options);
        assert_eq!(found.len(), expected.len(), "{options:?}");
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected, "{options:?}");
    }
    let found = scan_all(&mut benches, "MATCH key:1? COUNT 50");
    assert_eq!(found.len(), 10);
    assert!(scan_all(&mut benches, "TYPE list").is_empty());
}

#[test]
fn a_scan_refuses_what_is_none() {
    Bench::new().script(
        r#"
        SCAN 0 -> ["0", []]
        SCAN x -> -ERR invalid cursor
        SCAN -1 -> -ERR invalid cursor
        SCAN 1099511627776 -> -ERR invalid cursor
        SCAN 9223372036854775807 -> -ERR invalid cursor
        SCAN 18446744073709551616 -> -ERR invalid cursor
        SCAN 0 MATCH -> -ERR syntax error
        SCAN 0 COUNT 0 -> -ERR syntax error
        SCAN 0 COUNT x -> -ERR value is not an integer or out of range
        SCAN 0 NOSUCH 1 -> -ERR syntax error
        "#,
    );
}

/// Until a write is committed, whoever is told of it has to wait.
#[test]
fn replies_wait_for_what_they_show() {
    let mut bench = Bench::new();
    bench.line("SET old 1");
    let (outcome, _) = bench.try_line("SET a 1");
    let Outcome::Done { wait: written } = outcome else { panic!("{outcome:?}") };
    assert_eq!(written, bench.partition.appended());
    let shows = ["GET a", "MGET old a", "EXISTS a", "TTL a", "STRLEN a", "DBSIZE", "KEYS *", "SCAN 0", "SET a 2 NX"];
    for line in shows.into_iter().chain(["SETNX a 2", "EXPIRE a 10 XX", "APPEND old x", "INCRBYFLOAT a x"]) {
        let (outcome, _) = bench.try_line(line);
        let Outcome::Done { wait } = outcome else { panic!("{outcome:?}") };
        assert!(wait >= written, "{line}");
    }
    bench.flush();
    for line in ["GET a", "GET old", "GET nosuch", "EXISTS a", "KEYS *", "SCAN 0", "RANDOMKEY", "SETNX a 2"] {
        assert_eq!(bench.try_line(line).0, Outcome::Done { wait: Lsn::ZERO }, "{line}");
    }
    // That a key is gone is shown no earlier than that it was there.
    let (outcome, _) = bench.try_line("DEL a");
    let Outcome::Done { wait: deleted } = outcome else { panic!("{outcome:?}") };
    assert_eq!(bench.try_line("GET a").0, Outcome::Done { wait: deleted });
    assert_eq!(bench.try_line("INCRBY old x").0, Outcome::Done { wait: Lsn::ZERO }, "refused without looking");
}

#[test]
fn a_full_disk_refuses_writes_and_nothing_else() {
    let mut bench = Bench::of(0, 1, 4 << 10);
    bench.line("SET a 1");
    bench.full = true;
    let refusal = loop {
        let reply = bench.reply("SET b 0123456789012345678901234567890123456789");
        if reply != "OK" {
            break reply;
        }
    };
    let expected = "-ERR no space left on the disk of the data directory: nothing was written; reads go on, and writes \
                    resume by themselves when there is room";
    assert_eq!(refusal, expected);
    // A reply that had begun when the write was refused is taken back.
    let large = "v".repeat(1000);
    for line in ["SET c", "MSET c 1 d", "APPEND a", "SET a 1 GET", "GETSET a"] {
        let line = line.replace("1 GET", &format!("{large} GET"));
        let line = if line.ends_with("GET") { line } else { format!("{line} {large}") };
        assert_eq!(bench.reply(&line), expected, "{line}");
    }
    assert_eq!(bench.reply("MGET a c d"), "[\"1\", nil, nil]");
    bench.failure = PrepareFailure::Refused;
    bench.act();
    let refused = "-ERR the disk of the data directory refuses a new log segment: nothing was written; reads go on, and \
                   writes resume by themselves when it takes one; the node's log says what is wrong";
    assert_eq!(bench.reply(&format!("SET c {large}")), refused, "it is not the space");
    bench.full = false;
    bench.act();
    assert_eq!(bench.reply("SET b 0123456789012345678901234567890123456789"), "OK");
}
