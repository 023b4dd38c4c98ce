use windrow_core::types::{Lsn, UnixMillis};

use super::harness::Bench;
use crate::data::Outcome;

fn wait_of(bench: &mut Bench, line: &str) -> Lsn {
    match bench.try_line(line).0 {
        Outcome::Done { wait } => wait,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_first_reply_that_shows_an_expiry_waits_for_a_record_of_it_and_no_other_reply_does() {
    for line in ["GET a", "EXISTS a", "TTL a", "MGET b a", "SCAN 0", "KEYS *", "RANDOMKEY", "SET a 1 XX", "DEL a"] {
        let mut bench = Bench::new();
        bench.line("SET a 1 PX 100");
        bench.line("SET b 1 PX 100");
        bench.advance(99);
        assert_eq!(wait_of(&mut bench, "GET a"), Lsn::ZERO);
        bench.advance(1);
        let before = bench.partition.appended();
        let wait = wait_of(&mut bench, line);
        let logged = bench.partition.appended();
        assert!(logged > before && wait == logged, "{line} waits for {wait}, the log went from {before} to {logged}");
        bench.flush();
        for line in ["GET a", "GET b", line] {
            assert_eq!(wait_of(&mut bench, line), Lsn::ZERO, "{line}");
        }
        assert_eq!(bench.partition.appended(), logged, "{line}: it is logged once");
    }
}

#[test]
fn a_write_is_record_enough() {
    let mut bench = Bench::new();
    bench.line("SET a 1 PX 100");
    bench.advance(100);
    assert_eq!(bench.reply("SET a 2 NX"), "OK");
    assert_eq!(bench.partition.log().records(Lsn::ZERO, bench.partition.appended()).unwrap().count(), 3);
}

#[test]
fn a_life_counts_from_the_partitions_clock_when_the_machines_is_behind() {
    let mut bench = Bench::new();
    bench.line("SET a 1 EX 10");
    bench.ctx.now = UnixMillis::new(bench.ctx.now.get() - 3_600_000).unwrap();
    bench.script("SET b 1 EX 5 -> OK\nGET b -> \"1\"\nPTTL b -> :5000\nPTTL a -> :10000");
    bench.script("SET c 1 -> OK\nPEXPIRE c 700 -> :1\nPTTL c -> :700\nGETEX c EX 9 -> \"1\"\nTTL c -> :9");
    let exec = bench.transaction(&[], &["SET d 1 PX 50", "PTTL d", "GET d"]);
    assert_eq!(exec, "[OK, :50, \"1\"]");
}
