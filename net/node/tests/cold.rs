//! Records that are on disk only: they are read before commands touch them, while other clients are served.
//!
//! Where the file system keeps all its files in memory there is nothing to be read; the values must be right
//! nevertheless.

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Metrics, Node, is_on_disk, ok, run};
use rustix::fs::{Advice, fadvise};
use tempfile::{TempDir, tempdir_in};

fn data_dir() -> TempDir {
    tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Drops the log from memory: what this process, and so the node in it, has mapped, and then the page cache.
fn evict(dir: &Path) {
    let dir = dir.canonicalize().unwrap();
    for line in std::fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let Some(start) =
            line.find('/').filter(|&at| line.ends_with(".seg") && Path::new(&line[at..]).starts_with(&dir))
        else {
            continue;
        };
        let (addresses, _) = line.split_once(' ').unwrap();
        let (from, to) = addresses.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| usize::from_str_radix(text, 16).unwrap());
        // SAFETY: a shared mapping of a file loses nothing: its pages are found again in the file.
        unsafe {
            let address = std::ptr::with_exposed_provenance_mut(from);
            // It may have been unmapped meanwhile.
            let _gone = rustix::mm::madvise(address, to - from, rustix::mm::Advice::LinuxDontNeed);
        }
        let Ok(file) = File::open(&line[start..]) else { continue };
        file.sync_all().unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
    }
}

fn value(number: usize) -> String {
    format!("{number}:").repeat(500)
}

/// A node that believes nothing to be in memory, with keys that are not.
fn cold_node(dir: &Path, keys: usize, settings: &[(&str, &str)]) -> (Node, Metrics) {
    let metrics = Metrics::choose();
    let port = metrics.port.to_string();
    let cold = [("hot-memory-percent", "0"), ("admin-port", port.as_str())];
    let node = Node::start(dir, &[&cold, settings].concat());
    let mut connection = node.connect();
    for first in (0..keys).step_by(100) {
        let mut pipe = redis::pipe();
        (first..(first + 100).min(keys)).for_each(|number| {
            pipe.set(format!("k{number}"), value(number)).ignore();
        });
        pipe.query::<()>(&mut connection).unwrap();
    }
    evict(dir);
    (node, metrics)
}

/// A number that `CLIENT LIST` says about a connection.
fn figure(list: &str, id: u64, name: &str) -> Option<u64> {
    let line = list.lines().find(|line| line.starts_with(&format!("id={id} ")))?;
    line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='))?.parse().ok()
}

#[test]
fn others_are_served_while_records_are_read() {
    let dir = data_dir();
    let (node, metrics) = cold_node(dir.path(), 1_000, &[("cores", "1"), ("partitions", "1")]);
    let on_disk = is_on_disk(dir.path());
    let mut other = node.connect();
    let mut reader = TcpStream::connect(node.addresses[0]).unwrap();
    reader.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    reader.write_all(b"CLIENT ID\r\n").unwrap();
    let mut line = [0; 32];
    let len = reader.read(&mut line).unwrap();
    let id: u64 = std::str::from_utf8(&line[1..len]).unwrap().trim().parse().unwrap();

    // All requests fit into one receive: a node that waits for the disk answers all of them or none, as others see it.
    let numbers: Vec<_> = (0..1_000).step_by(3).collect();
    let request = |number: &usize| {
        let key = format!("k{number}");
        format!("*2\r\n$3\r\nGET\r\n${}\r\n{key}\r\n", key.len())
    };
    let asked: String = numbers.iter().map(request).collect();
    assert!(asked.len() < 16 << 10);
    let expected: Vec<u8> = numbers
        .iter()
        .flat_map(|&number| {
            let value = value(number);
            format!("${}\r\n{value}\r\n", value.len()).into_bytes()
        })
        .collect();
    let mut seen_between = false;
    // Whether this thread gets to look in between is for the scheduler; so it tries again.
    for _ in 0..100 {
        evict(dir.path());
        reader.write_all(asked.as_bytes()).unwrap();
        let mut stream = reader.try_clone().unwrap();
        let len = expected.len();
        let replies = std::thread::spawn(move || {
            let mut got = vec![0; len];
            stream.read_exact(&mut got).unwrap();
            got
        });
        while !replies.is_finished() {
            assert_eq!(ok::<String>(&mut other, "PING"), "PONG");
            let list: String = ok(&mut other, "CLIENT LIST");
            let waiting = figure(&list, id, "qbuf").unwrap();
            seen_between |= waiting > 0 && waiting < asked.len() as u64;
        }
        assert!(replies.join().unwrap() == expected, "values are not what was written");
        if seen_between || !on_disk {
            break;
        }
    }
    if on_disk {
        assert!(seen_between, "nobody was served while records were read");
        assert!(metrics.sum("windrow_cold_reads_total") > 0);
    }
}

#[test]
fn every_kind_of_command_finds_what_is_on_disk() {
    let dir = data_dir();
    let cores = if windrow_node::runtime::available().len() > 1 && cfg!(feature = "shared-memory") { "2" } else { "1" };
    let (node, metrics) = cold_node(dir.path(), 100, &[("cores", cores), ("partitions", "4")]);
    let mut connection = node.connect();
    ok::<()>(&mut connection, "MSET {t}a one {t}b two {t}n 41");
    let mut reads = metrics.sum("windrow_cold_reads_total");
    for round in 0..3 {
        evict(dir.path());
        assert_eq!(ok::<u64>(&mut connection, "STRLEN k7"), value(7).len() as u64);
        assert_eq!(
            ok::<Vec<Option<String>>>(&mut connection, "MGET {t}a {t}no {t}b"),
            [Some("one".to_owned()), None, Some("two".to_owned())]
        );
        evict(dir.path());
        // Writes that look at what was there before, in a pipeline and so in order.
        let mut pipe = redis::pipe();
        pipe.cmd("GETRANGE").arg("k8").arg(0).arg(1).cmd("INCR").arg("{t}n").cmd("APPEND").arg("k9").arg("+");
        pipe.cmd("SET").arg("k10").arg("new").arg("GET").cmd("GET").arg("k10").cmd("SET").arg("k10").arg(value(10));
        let length = value(9).len() + round + 1;
        let (range, number, len, old, new, ()): (String, usize, usize, String, String, ()) =
            pipe.query(&mut connection).unwrap();
        assert_eq!((range.as_str(), number, len), ("8:", 42 + round, length));
        assert_eq!((old, new.as_str()), (value(10), "new"));
        evict(dir.path());
        // A transaction on watched keys.
        ok::<()>(&mut connection, "WATCH {t}a");
        evict(dir.path());
        let mut pipe = redis::pipe();
        pipe.atomic().cmd("GET").arg("{t}a").cmd("GETSET").arg("{t}b").arg("two");
        let (a, b): (String, String) = pipe.query(&mut connection).unwrap();
        assert_eq!((a.as_str(), b.as_str()), ("one", "two"));
        if is_on_disk(dir.path()) {
            let now = metrics.sum("windrow_cold_reads_total");
            assert!(now > reads, "round {round} read nothing");
            reads = now;
        }
    }
    // Whatever is still on disk is there after a restart, too.
    evict(dir.path());
    node.stop();
    let node = Node::start(dir.path(), &[("cores", "1")]);
    assert_eq!(ok::<String>(&mut node.connect(), "GET k11"), value(11));
}

#[cfg(feature = "shared-memory")]
#[test]
fn commands_on_many_keys_wait_for_all_of_them_and_keep_their_order() {
    let dir = data_dir();
    let cores = if windrow_node::runtime::available().len() > 1 { "2" } else { "1" };
    let (node, metrics) = cold_node(dir.path(), 1_000, &[("cores", cores), ("partitions", "4")]);
    let mut connection = node.connect();
    let reads = metrics.sum("windrow_cold_reads_total");
    // As many as meet all partitions, and in memory where the others are not.
    let hot: Vec<_> = (0..20).map(|number| format!("hot{number}")).collect();
    for _ in 0..5 {
        evict(dir.path());
        let mut pipe = redis::pipe();
        hot.iter().for_each(|key| {
            pipe.set(key, "before").ignore();
        });
        pipe.query::<()>(&mut connection).unwrap();
        // What is asked for first must not see what is written next.
        let mut pipe = redis::pipe();
        let asked = pipe.cmd("MGET").arg(&hot);
        (0..1_000).for_each(|number| {
            asked.arg(format!("k{number}"));
        });
        hot.iter().for_each(|key| {
            pipe.set(key, "after").ignore();
        });
        pipe.cmd("MGET").arg(&hot);
        let (mut values, after): (Vec<String>, Vec<String>) = pipe.query(&mut connection).unwrap();
        assert!(values.drain(..hot.len()).all(|value| value == "before"), "a later write was seen");
        assert!(values.into_iter().eq((0..1_000).map(value)), "a value is not what was written");
        assert!(after.iter().all(|value| value == "after"), "a write was not seen");
    }
    assert!(metrics.sum("windrow_cold_reads_total") > reads || !is_on_disk(dir.path()));
}

/// Flips a bit of the record that has this value.
fn rot(dir: &Path, value: &[u8]) {
    let entries = std::fs::read_dir(dir.join("partition-0000")).unwrap().map(|entry| entry.unwrap().path());
    let segments = entries.filter(|path| path.extension().is_some_and(|it| it == "seg"));
    let found = segments.filter_map(|path| {
        let bytes = std::fs::read(&path).unwrap();
        Some((bytes.windows(value.len()).position(|window| window == value)?, path))
    });
    let (at, path) = found.min().expect("it was written");
    File::options().write(true).open(path).unwrap().write_all_at(&[value[0] ^ 0x10], at as u64).unwrap();
}

fn damaged_segments(connection: &mut redis::Connection) -> u64 {
    let info: String = ok(connection, "INFO persistence");
    let line = info.lines().find_map(|line| line.strip_prefix("damaged_segments:")).unwrap();
    line.parse().unwrap()
}

#[test]
fn damage_is_counted_whichever_command_meets_it() {
    for command in ["GET key", "SCAN 0", "RANDOMKEY", "KEYS *"] {
        let dir = data_dir();
        // Read from the file's pages from the first moment on, and not from the node's own memory.
        let read_from_file = ("segment-fill", "16k");
        let settings = [("hot-memory-percent", "0"), ("cores", "1"), ("partitions", "1"), read_from_file];
        let node = Node::start(dir.path(), &settings);
        let mut connection = node.connect();
        ok::<()>(&mut connection, "SET key value-that-rots");
        assert_eq!(damaged_segments(&mut connection), 0);
        rot(dir.path(), b"value-that-rots");
        let error = run::<redis::Value>(&mut connection, command).unwrap_err();
        assert_eq!(error.code(), Some("DAMAGED"), "{command}: {error}");
        let since = Instant::now();
        while damaged_segments(&mut connection) != 1 {
            assert!(since.elapsed() < Duration::from_secs(30), "{command}: it is never counted");
        }
    }
}
