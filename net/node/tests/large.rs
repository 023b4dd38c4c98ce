//! Large values, which leave the log without being copied.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use common::{Node, ok};
use tempfile::tempdir;

const SETTINGS: [(&str, &str); 2] = [("cores", "1"), ("segment-size", "4MiB")];

/// Bytes in which every place differs from its neighbours, and every value from others.
fn value(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from((at + at / 251 + seed) % 251).unwrap()).collect()
}

fn request(words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

fn bulk(value: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", value.len()).as_bytes(), value, b"\r\n"].concat()
}

fn connect(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.addresses[0]).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

fn expect(stream: &mut TcpStream, reply: &[u8]) {
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got).unwrap();
    let differs = got.iter().zip(reply).position(|(got, wanted)| got != wanted);
    if let Some(at) = differs {
        let ends = got.iter().zip(reply).rposition(|(got, wanted)| got != wanted);
        panic!("the reply of {} bytes is another from {at} to {ends:?}", reply.len());
    }
}

#[test]
fn values_of_every_size_come_back_as_they_were() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &SETTINGS);
    let mut stream = connect(&node);
    let large = [0, 1, 1_000, 16 << 10, 32 << 10, 64 << 10];
    let sizes = large.into_iter().flat_map(|len: usize| [len.saturating_sub(1), len, len + 1]).chain([1_000_000]);
    let values: Vec<_> = sizes.enumerate().map(|(seed, len)| (format!("key{seed}"), value(len, seed))).collect();
    for (key, value) in &values {
        stream.write_all(&request(&[b"SET", key.as_bytes(), value])).unwrap();
    }
    expect(&mut stream, &b"+OK\r\n".repeat(values.len()));
    // Many at once, other replies between them, in one transaction, and in one array.
    let (mut asked, mut expected) = (Vec::new(), Vec::new());
    for round in 0..4 {
        for (key, value) in &values {
            asked.extend(request(&[b"GET", key.as_bytes()]));
            expected.extend(bulk(value));
            if round % 2 == 1 {
                asked.extend(b"PING\r\n");
                expected.extend(b"+PONG\r\n");
            }
        }
    }
    let mut writer = stream.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&asked).unwrap());
    expect(&mut stream, &expected);
    sender.join().unwrap();
}

#[test]
fn a_value_on_its_way_is_not_changed_by_what_becomes_of_its_key() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &[&SETTINGS[..], &[("output-soft-limit", "64MiB")][..]].concat());
    let (first, second) = (value(3_000_000, 1), value(3_000_000, 2));
    let mut slow = connect(&node);
    slow.write_all(&request(&[b"SET", b"k", &first])).unwrap();
    expect(&mut slow, b"+OK\r\n");
    // The replies are more than the sockets hold, so that the rest is still being sent.
    // They are sent together: one by one, some would wait in this socket until the first is acknowledged, and be executed
    // after what the other client does.
    slow.write_all(&b"GET k\r\n".repeat(8)).unwrap();
    let mut got = [0; 10];
    slow.read_exact(&mut got).unwrap();
    let mut other = connect(&node);
    for _ in 0..4 {
        other.write_all(&request(&[b"SET", b"k", &second])).unwrap();
        expect(&mut other, b"+OK\r\n");
    }
    other.write_all(b"FLUSHALL\r\n").unwrap();
    expect(&mut other, b"+OK\r\n");
    let whole = bulk(&first).repeat(8);
    assert_eq!(got, whole[..10]);
    expect(&mut slow, &whole[10..]);
    slow.write_all(b"GET k\r\n").unwrap();
    expect(&mut slow, b"$-1\r\n");
}

/// The segment that it is sent from is kept in memory that goes to another one meanwhile.
#[test]
fn a_value_on_its_way_is_not_changed_when_its_memory_is_used_again() {
    let dir = tempdir().unwrap();
    let limits = [("output-soft-limit", "64MiB"), ("tail-memory", "20MiB"), ("partitions", "1")];
    let node = Node::start(dir.path(), &[&SETTINGS[..], &limits[..]].concat());
    let mut other = connect(&node);
    let mut overwrite = |times: usize| {
        for seed in 0..times {
            other.write_all(&request(&[b"SET", b"other", &value(1_000_000, seed)])).unwrap();
            expect(&mut other, b"+OK\r\n");
        }
    };
    overwrite(60);
    let mut asking = node.connect();
    while ok::<String>(&mut asking, "INFO memory").contains("used_memory_tail:0\r\n") {}
    let first = value(3_000_000, 1);
    let mut slow = connect(&node);
    slow.write_all(&request(&[b"SET", b"k", &first])).unwrap();
    expect(&mut slow, b"+OK\r\n");
    slow.write_all(&b"GET k\r\n".repeat(8)).unwrap();
    let mut got = [0; 10];
    slow.read_exact(&mut got).unwrap();
    ok::<u64>(&mut asking, "DEL k");
    overwrite(60);
    let whole = bulk(&first).repeat(8);
    assert_eq!(got, whole[..10]);
    expect(&mut slow, &whole[10..]);
}

#[test]
fn a_client_that_does_not_read_large_values_is_disconnected_after_the_soft_limits_time() {
    let dir = tempdir().unwrap();
    let limits = [("output-limit", "8MiB"), ("output-soft-limit", "8MiB"), ("output-soft-duration", "1s")];
    let node = Node::start(dir.path(), &[&SETTINGS[..], &limits[..]].concat());
    let mut stream = connect(&node);
    stream.write_all(&request(&[b"SET", b"k", &value(600_000, 0)])).unwrap();
    expect(&mut stream, b"+OK\r\n");
    // It may be cut off while it still asks.
    let _cut_off = stream.write_all(&b"GET k\r\n".repeat(200));
    let mut other = node.connect();
    while !ok::<String>(&mut other, "INFO stats").contains("client_output_buffer_limit_disconnections:1") {}
}

/// Whoever reads need not know how much a pipeline may ask for.
#[test]
fn a_client_that_reads_gets_more_at_a_time_than_may_wait_for_it() {
    let dir = tempdir().unwrap();
    let limits = [("output-limit", "8MiB"), ("output-soft-limit", "1MiB")];
    let node = Node::start(dir.path(), &[&SETTINGS[..], &limits[..]].concat());
    let mut stream = connect(&node);
    // Values that are copied into the reply, and values that are sent from the log.
    for len in [20_000, 600_000] {
        let value = value(len, 0);
        stream.write_all(&request(&[b"SET", b"k", &value])).unwrap();
        expect(&mut stream, b"+OK\r\n");
        let count = 30_000_000 / len;
        stream.write_all(&b"GET k\r\n".repeat(count)).unwrap();
        (0..count).for_each(|_| expect(&mut stream, &bulk(&value)));
    }
}

/// The same where another core answers: how long its replies will be, nobody knows when it is asked.
#[cfg(feature = "shared-memory")]
#[test]
fn a_client_that_reads_gets_more_from_another_core_than_may_wait_for_it() {
    let dir = tempdir().unwrap();
    let node = Node::start(dir.path(), &[("cores", "2")]);
    let mut stream = connect(&node);
    // Of the first partition and of the second: one of them is the other core's.
    for key in [&b"b"[..], b"a"] {
        let value = value(100_000, 0);
        stream.write_all(&request(&[b"SET", key, &value])).unwrap();
        expect(&mut stream, b"+OK\r\n");
        stream.write_all(&request(&[b"GET", key]).repeat(1_000)).unwrap();
        (0..1_000).for_each(|_| expect(&mut stream, &bulk(&value)));
    }
}
