//! `cargo xtask bench`: the node beside Redis, in one run.
//!
//! Each server is pinned to the first core and the client to the second, so that the server's own cost decides. The
//! servers are asked in turn, round by round, and what is reported are medians and ratios: these machines are noisy,
//! and an absolute figure proves nothing. Needs `redis-server`, `redis-benchmark` and `taskset`.

mod client;
mod memory;
mod report;
mod server;

use std::path::PathBuf;

use client::Load;
use report::{Figure, Table};
use server::{Kind, Server};

/// What to measure, and how long.
#[derive(Debug)]
pub(crate) struct Options {
    rounds: usize,
    /// Requests in a pipelined run; others do a part of them.
    requests: u64,
    /// Keys for the memory and the opening measurement; none where zero.
    keys: u64,
    out: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(flags: &[&str]) -> Result<Self, String> {
        let mut options = Self { rounds: 5, requests: 1_000_000, keys: 10_000_000, out: None };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().ok_or(format!("{flag} takes a value"));
            match *flag {
                "--quick" => {
                    (options.rounds, options.requests, options.keys) = (3, 300_000, 1_000_000);
                }
                "--rounds" => options.rounds = number::<usize>(flag, value()?)?.max(1),
                "--keys" => options.keys = number(flag, value()?)?,
                "--out" => options.out = Some(PathBuf::from(value()?)),
                other => return Err(format!("`bench` does not know `{other}`")),
            }
        }
        Ok(options)
    }
}

fn number<T: std::str::FromStr>(flag: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("{flag} takes a whole number, not `{text}`"))
}

/// Runs everything. The error says what could not be done.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    server::build()?;
    let mut table = Table::new(options.rounds);
    println!("bench: {} rounds of {} pipelined requests", options.rounds, options.requests);
    {
        let scratch = server::Scratch::new()?;
        let servers = [
            Server::start(Kind::Windrow, &scratch)?,
            Server::start(Kind::RedisMemory, &scratch)?,
            Server::start(Kind::RedisAlways, &scratch)?,
        ];
        for round in 0..options.rounds {
            for load in loads(options) {
                for server in &servers {
                    let run = client::run(server, &load)?;
                    println!("  round {} {:32} {:16} {run}", round + 1, load.name, server.kind.name());
                    table.add(load.name, server.kind, run);
                }
            }
            for server in &servers {
                let (alone, beside) = client::reader_beside_writers(server)?;
                println!(
                    "  round {} {:32} {:16} p99 {alone:.3} ms alone, {beside:.3} ms beside",
                    round + 1,
                    "reader",
                    server.kind.name()
                );
                table.reader(server.kind, alone, beside);
            }
        }
    }
    let memory = if options.keys > 0 { Some(memory::measure(options.keys)?) } else { None };
    let text = report::render(&table, memory.as_ref());
    println!("\n{text}");
    if let Some(path) = &options.out {
        std::fs::write(path, &text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

fn loads(options: &Options) -> Vec<Load> {
    let few = options.requests / 10;
    vec![
        Load {
            name: "SET, 50 connections, pipeline 16",
            command: "set",
            connections: 50,
            pipeline: 16,
            requests: options.requests,
        },
        Load { name: "SET, 50 connections", command: "set", connections: 50, pipeline: 1, requests: few },
        Load { name: "SET, 1 connection", command: "set", connections: 1, pipeline: 1, requests: few / 10 },
        Load {
            name: "GET, 50 connections, pipeline 16",
            command: "get",
            connections: 50,
            pipeline: 16,
            requests: options.requests,
        },
        Load { name: "GET, 50 connections", command: "get", connections: 50, pipeline: 1, requests: few },
        Load { name: "GET, 1 connection", command: "get", connections: 1, pipeline: 1, requests: few / 10 },
    ]
}

/// The figures of one kind of run, by what is asked of them.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) type Runs = Vec<Figure>;
