//! RESP: parsing requests and encoding replies.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use windrow_bench_micro::{criterion, key};
use windrow_proto::limits::Limits;
use windrow_proto::resp::{Encoder, Parser, Progress, Protocol};

fn request(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Parses every command of `input`; returns how many arguments there were.
fn parse_all(parser: &mut Parser, mut input: &[u8]) -> usize {
    let mut args = 0;
    while !input.is_empty() {
        match parser.parse(input, &Limits::AUTHENTICATED) {
            Ok(Progress::Complete { consumed }) => {
                args += parser.args(input).len();
                input = &input[consumed..];
            }
            Ok(Progress::Incomplete { .. }) | Err(_) => unreachable!("the requests are whole"),
        }
    }
    args
}

fn parse(c: &mut Criterion) {
    let value = [b'v'; 100];
    let key = key(42);
    let set = request(&[b"SET", &key, &value]);
    let keys: Vec<_> = (0..100).map(windrow_bench_micro::key).collect();
    let mget: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys.iter().map(|key| &key[..])).collect();
    let cases: [(&str, Vec<u8>, u64); 5] = [
        ("get", request(&[b"GET", &key]), 1),
        ("set_100", set.clone(), 1),
        ("set_100_pipeline_16", set.repeat(16), 16),
        ("mget_100", request(&mget), 1),
        ("inline_get", b"GET key:000000000042\r\n".to_vec(), 1),
    ];
    let mut group = c.benchmark_group("resp_parse");
    let mut parser = Parser::new();
    for (name, input, commands) in cases {
        group.throughput(Throughput::Elements(commands));
        group.bench_function(name, |b| b.iter(|| parse_all(&mut parser, black_box(&input))));
    }
    group.finish();
}

fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("resp_encode");
    let mut out = Vec::with_capacity(128 << 10);
    group.bench_function("ok", |b| {
        b.iter(|| {
            out.clear();
            Encoder::new(&mut out, Protocol::Resp2).ok();
            black_box(&out).len()
        });
    });
    group.bench_function("integer", |b| {
        b.iter(|| {
            out.clear();
            Encoder::new(&mut out, Protocol::Resp2).integer(black_box(1_234_567));
            black_box(&out).len()
        });
    });
    for len in [16, 100, 4 << 10, 64 << 10] {
        let value = vec![b'v'; len];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("bulk", len), |b| {
            b.iter(|| {
                out.clear();
                Encoder::new(&mut out, Protocol::Resp2).bulk(black_box(&value));
                black_box(&out).len()
            });
        });
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = parse, encode }
criterion_main!(benches);
