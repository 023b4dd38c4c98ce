//! The client: `windrow-load`, pinned to the second core.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::json::Json;
use super::machine::touch_memory;
use super::samples::Samples;
use super::server::{CLIENT_CORE, Kind, Mode, Product, Programs, Scratch, Server, find};
use super::{Options, server};

const KEYS: &str = "100k";
const VALUE: &str = "100";
/// Bytes that are written to once before each turn: more than the quickest server writes in it.
const TURN_TOUCHED: usize = 512 << 20;
/// Requests per second of the reader whose latency is measured beside writers.
const READS_PER_SECOND: &str = "1k";

/// How often the reader is measured in one round, and for how many seconds each time. A machine that others keep from
/// running for a moment spoils some of many short measurements, and all of few long ones.
const READER_TURNS: usize = 6;
const READER_SECONDS: f64 = 0.5;

/// One way of asking.
pub(crate) struct Load {
    /// The name in results.
    pub(crate) id: &'static str,
    /// The name in tables.
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
    connections: u32,
    pipeline: u32,
}

pub(crate) const LOADS: [Load; 6] = [
    load("set-c50-p16", "SET, 50 connections, pipeline 16", "set", 50, 16),
    load("set-c50", "SET, 50 connections", "set", 50, 1),
    load("set-c1", "SET, 1 connection", "set", 1, 1),
    load("get-c50-p16", "GET, 50 connections, pipeline 16", "get", 50, 16),
    load("get-c50", "GET, 50 connections", "get", 50, 1),
    load("get-c1", "GET, 1 connection", "get", 1, 1),
];

const fn load(id: &'static str, name: &'static str, command: &'static str, connections: u32, pipeline: u32) -> Load {
    Load { id, name, command, connections, pipeline }
}

impl Load {
    /// Reads do not touch the disk: one way of keeping data for each product is enough.
    pub(crate) fn concerns(&self, kind: Kind) -> bool {
        match kind.product {
            Product::Windrow => self.command == "set" || kind.mode == Mode::Always,
            Product::Redis | Product::Valkey => self.command == "set" || kind.mode == Mode::Never,
        }
    }
}

/// The generator, as it was built.
pub(crate) struct Client<'a> {
    pub(crate) program: PathBuf,
    pub(crate) scratch: &'a Scratch,
    pub(crate) seconds: f64,
}

/// Measures every load on every server in turn, round by round.
pub(crate) fn measure(options: &Options, programs: &Programs, samples: &mut Samples) -> Result<(), String> {
    let scratch = Scratch::new("servers")?;
    let client = Client { program: super::built("windrow-load"), scratch: &scratch, seconds: options.seconds };
    let mut servers = Vec::new();
    for kind in server::KINDS {
        if programs.of(kind).is_none() {
            continue;
        }
        match Server::start(kind, programs, &scratch).and_then(|server| client.fill(&server).map(|()| server)) {
            Ok(server) => servers.push(server),
            // The others are worth measuring without it.
            Err(problem) => super::problem(samples, &problem),
        }
    }
    if servers.is_empty() {
        return Err("no server could be started".to_owned());
    }
    for round in 0..options.rounds {
        for load in &LOADS {
            for server in servers.iter().filter(|server| load.concerns(server.kind)) {
                touch_memory(TURN_TOUCHED);
                if let Err(problem) = client.run(server, load, round, samples) {
                    super::problem(samples, &problem);
                }
            }
        }
        for server in servers.iter().filter(|server| server.kind.mode != Mode::Replica) {
            for turn in 0..READER_TURNS {
                if let Err(problem) = client.reader_beside_writers(server, round * READER_TURNS + turn, samples) {
                    super::problem(samples, &problem);
                }
            }
        }
    }
    Ok(())
}

impl Client<'_> {
    fn command(&self, server: &Server, verb: &str, keys: &str, value: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.args([verb, "--quiet", "--cores", CLIENT_CORE, "--keys", keys, "--value", value]);
        command.args(["--address", &format!("127.0.0.1:{}", server.port)]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Writes every key once.
    fn fill(&self, server: &Server) -> Result<(), String> {
        self.load(server, KEYS, VALUE)
    }

    /// Writes so many keys once, with values of so many bytes.
    pub(crate) fn load(&self, server: &Server, keys: &str, value: &str) -> Result<(), String> {
        finished(self.command(server, "load", keys, value).args(["--pipeline", "64"]), server)
    }

    fn timed(&self, server: &Server, command: &str, connections: u32, seconds: f64) -> Command {
        let mut run = self.command(server, "run", KEYS, VALUE);
        run.args(["--mix", &format!("{command}=1"), "--connections", &connections.to_string()]);
        run.args(["--warmup", "200ms", "--duration", &format!("{seconds}s")]);
        run
    }

    /// Runs it and reads what it has found.
    fn result(&self, command: &mut Command, server: &Server) -> Result<Json, String> {
        let path = self.scratch.path().join("result.json");
        finished(command.arg("--json").arg(&path), server)?;
        let text = std::fs::read_to_string(&path).map_err(|error| format!("no result of windrow-load: {error}"))?;
        Json::parse(&text).ok_or_else(|| "windrow-load wrote no JSON".to_owned())
    }

    fn run(&self, server: &Server, load: &Load, round: usize, samples: &mut Samples) -> Result<(), String> {
        let mut command = self.timed(server, load.command, load.connections, self.seconds);
        command.args(["--batched", "--pipeline", &load.pipeline.to_string()]);
        for pid in server.pids() {
            command.args(["--pid", &pid.to_string()]);
        }
        if server.kind.mode == Mode::Replica && server.kind.product != Product::Windrow {
            command.args(["--batch-end", "WAIT 1 0"]);
        }
        let result = self.result(&mut command, server)?;
        let failed =
            ["errors", "lost", "unanswered"].iter().filter_map(|name| result.number(&format!("counts.{name}")));
        let failed: f64 = failed.sum();
        if failed > 0.0 {
            return Err(format!("{}, {}: {failed} requests failed", server.kind.name, load.name));
        }
        let number = |path: &str, scale: f64| result.number(path).map_or(f64::NAN, |number| number * scale);
        let is_client = result.text("client.limit") == Some("client");
        let figures = [
            ("rps", number("requests_per_second", 1.0)),
            ("p50", number("latency.p50", 1e-6)),
            ("p99", number("latency.p99", 1e-6)),
            ("cpu", number("server.cpu_us_per_request", 1.0)),
            ("client-limit", f64::from(u8::from(is_client))),
        ];
        for (metric, value) in figures {
            samples.add(load.id, server.kind.id, metric, round, value);
        }
        println!(
            "  round {} {:34} {:34} {:9.0}/s, p50 {:.3} ms, p99 {:.3} ms, server {:.2} us a request{}",
            round + 1,
            load.name,
            server.kind.name,
            figures[0].1,
            figures[1].1,
            figures[2].1,
            figures[3].1,
            if is_client { ", limit: the client" } else { "" }
        );
        Ok(())
    }

    /// The p99 of a reader with a fixed rate, alone and beside 50 connections that write. The reader goes before the
    /// writers on their core, where the system allows that.
    fn reader_beside_writers(&self, server: &Server, turn: usize, samples: &mut Samples) -> Result<(), String> {
        let read = || {
            let inner = self.timed(server, "get", 1, READER_SECONDS);
            let mut reader = urgent(&inner);
            reader.args(["--rate", READS_PER_SECOND]).stdin(Stdio::null()).stdout(Stdio::null());
            let result = self.result(&mut reader, server)?;
            result.number("latency.p99").map(|nanos| nanos * 1e-6).ok_or_else(|| "a result without p99".to_owned())
        };
        let alone = read()?;
        // Longer than the reader needs; ended by its handle when the reader is done.
        let mut writers = self.timed(server, "set", 50, 600.0);
        let mut writers = writers.spawn().map_err(|error| format!("cannot run windrow-load: {error}"))?;
        let beside = read();
        let _ended_already = writers.kill();
        let _reaped = writers.wait();
        let beside = beside?;
        samples.add("reader", server.kind.id, "alone", turn, alone);
        samples.add("reader", server.kind.id, "beside", turn, beside);
        println!(
            "  round {} {:34} {:34} p99 {alone:.3} ms alone, {beside:.3} ms beside writers",
            turn / READER_TURNS + 1,
            "reader",
            server.kind.name
        );
        Ok(())
    }
}

/// The same command, before all others on its core.
fn urgent(inner: &Command) -> Command {
    let allowed = find("chrt").is_some()
        && Command::new("chrt").args(["-f", "1", "true"]).stderr(Stdio::null()).status().is_ok_and(|s| s.success());
    let mut command = if allowed { Command::new("chrt") } else { Command::new(inner.get_program()) };
    if allowed {
        command.args(["-f", "1"]).arg(inner.get_program());
    }
    command.args(inner.get_args());
    command
}

fn finished(command: &mut Command, server: &Server) -> Result<(), String> {
    let output =
        command.stderr(Stdio::piped()).output().map_err(|error| format!("cannot run windrow-load: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: windrow-load ended with {}: {}", server.kind.name, output.status, said.trim()))
}
