//! How long parsing pipelined commands takes: `cargo run --release -p windrow-proto --example parse_speed`.
#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "measuring time and printing it is what it is for")]

use std::{hint::black_box, time::Instant};

use windrow_proto::{
    limits::Limits,
    resp::{Parser, Progress},
};

const COMMANDS: usize = 64;
const ROUNDS: u32 = 200_000;

fn main() {
    let value = "v".repeat(100);
    measure("SET, 100-byte value", &format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$100\r\n{value}\r\n"));
    measure("SET, 3-byte value", "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000042\r\n$3\r\nxxx\r\n");
    measure("GET", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n");
    measure("inline GET", "GET key:000000000042\r\n");
}

fn measure(name: &str, command: &str) {
    let pipeline = command.repeat(COMMANDS).into_bytes();
    let mut parser = Parser::new();
    let mut bytes = 0;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let mut rest = black_box(&pipeline[..]);
        while let Ok(Progress::Complete { consumed }) = parser.parse(rest, &Limits::AUTHENTICATED) {
            bytes += parser.args(rest).from(0).map(<[u8]>::len).sum::<usize>();
            rest = &rest[consumed..];
        }
    }
    let ns = start.elapsed().as_secs_f64() * 1e9 / (f64::from(ROUNDS) * COMMANDS as f64);
    println!("{name}: {ns:.1} ns a command ({} argument bytes)", bytes / COMMANDS / ROUNDS as usize);
}
