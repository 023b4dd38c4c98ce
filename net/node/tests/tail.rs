//! Segments that are kept in memory while what they hold is overwritten soon, and are on disk only then.

mod common;

use std::time::{Duration, Instant};

use common::{Metrics, Node, is_on_disk, ok};
use redis::Connection;
use tempfile::tempdir_in;

/// Some four segments of the size that the nodes of these tests have.
const ROUND: usize = 1_000;

fn value(number: usize) -> String {
    format!("{number}:").repeat(1_000 / (number.to_string().len() + 1))
}

fn set_all(connection: &mut Connection, keys: impl Iterator<Item = (String, String)>) {
    let mut pipe = redis::pipe();
    keys.for_each(|(key, value)| {
        pipe.set(key, value).ignore();
    });
    pipe.query::<()>(connection).unwrap();
}

/// Writes the same few keys again and again, and one more that is never overwritten.
fn overwrite(connection: &mut Connection, round: usize) {
    let rare = std::iter::once((format!("rare{round}"), format!("of round {round}")));
    set_all(connection, rare.chain((0..ROUND).map(|number| (format!("k{}", number % 10), value(number)))));
}

/// Waits for what is told a few times a second.
fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < Duration::from_secs(30), "{what}: never");
        std::thread::yield_now();
    }
}

#[test]
fn what_is_overwritten_soon_stays_in_memory_and_the_rest_is_found_on_disk() {
    let dir = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let metrics = Metrics::choose();
    let port = metrics.port.to_string();
    let settings = [("cores", "1"), ("partitions", "1"), ("tail-memory", "1536KiB"), ("admin-port", port.as_str())];
    let node = Node::start(dir.path(), &settings);
    let mut connection = node.connect();
    let tail_bytes = || metrics.sum("windrow_partition_tail_memory_bytes");
    assert_eq!(tail_bytes(), 0, "nothing is known of what will be written");
    (0..15).for_each(|round| overwrite(&mut connection, round));
    wait_until("all of the memory is used", || tail_bytes() == 1536 << 10);
    let check = |connection: &mut Connection, rounds: usize, kept: usize| {
        for round in 0..rounds {
            assert_eq!(ok::<String>(connection, &format!("GET rare{round}")), format!("of round {round}"));
        }
        for number in 0..10 {
            assert_eq!(ok::<String>(connection, &format!("GET k{number}")), value(ROUND - 10 + number));
        }
        for number in 0..kept {
            assert_eq!(ok::<String>(connection, &format!("GET kept{number}")), value(number), "kept{number}");
        }
    };
    check(&mut connection, 15, 0);
    let cold_reads = metrics.sum("windrow_cold_reads_total");
    let is_on_disk = is_on_disk(dir.path());
    assert!(cold_reads > 0 || !is_on_disk);
    // What lives as long as it may: it is in the page cache when it leaves.
    for first in (0..4_000).step_by(500) {
        set_all(&mut connection, (first..first + 500).map(|number| (format!("kept{number}"), value(number))));
    }
    (15..30).for_each(|round| overwrite(&mut connection, round));
    check(&mut connection, 15, 4_000);
    check(&mut connection, 30, 0);
    if is_on_disk {
        let read = metrics.sum("windrow_cold_reads_total") - cold_reads;
        assert!(read < 500, "{read} of 4000 values were not in memory");
    }
    assert_eq!(tail_bytes(), 1536 << 10);
    let info: String = ok(&mut connection, "INFO memory");
    assert!(info.contains("used_memory_tail:1572864\r\n"), "{info}");
    node.stop();
    let node = Node::start(dir.path(), &settings);
    check(&mut node.connect(), 30, 4_000);
    assert_eq!(tail_bytes(), 0);
}

#[test]
fn nothing_is_kept_where_it_would_be_of_no_use() {
    let off = [("tail-memory", "0"), ("durability", "memory"), ("segment-fill", "16k"), ("segments-ahead", "8")];
    for setting in off {
        let dir = tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let metrics = Metrics::choose();
        let port = metrics.port.to_string();
        let small = [("cores", "1"), ("partitions", "1"), ("admin-port", port.as_str())];
        let memory = if setting.0 == "tail-memory" { None } else { Some(("tail-memory", "2MiB")) };
        let settings: Vec<_> = small.into_iter().chain(memory).chain([setting]).collect();
        let node = Node::start(dir.path(), &settings);
        let mut connection = node.connect();
        (0..8).for_each(|round| overwrite(&mut connection, round));
        let end = metrics.sum("windrow_partition_log_appended_bytes");
        (8..16).for_each(|round| overwrite(&mut connection, round));
        // Both are told at the same time.
        wait_until("more was written", || metrics.sum("windrow_partition_log_appended_bytes") > end + (4 << 20));
        assert_eq!(metrics.sum("windrow_partition_tail_memory_bytes"), 0, "{setting:?}");
        assert_eq!(ok::<String>(&mut connection, "GET rare3"), "of round 3");
    }
}
