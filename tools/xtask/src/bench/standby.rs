//! `cargo xtask bench standby`: what a standby costs its leader, how far it lags behind, and how long it takes to go on
//! after the leader was killed.
//!
//! The leader has the first core; the standby and whoever loads the leader share the second one.

use std::fs::File;
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::memory::fill;
use super::samples::Samples;
use super::server::{CLIENT_CORE, SERVER_CORE, Scratch, ask, free_port};
use super::{built, number};
use crate::run;

const PATIENCE: Duration = Duration::from_secs(300);
const CONNECTIONS: usize = 8;
const PIPELINE: usize = 64;
/// Writes for the lag, so far apart that both processes sleep in between.
const LAG_WRITES: usize = 3_000;
const LAG_PAUSE: Duration = Duration::from_micros(500);
/// Leaders that are killed for each number of keys.
const KILLS: usize = 3;

/// What to measure.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) seconds: f64,
    pub(crate) rounds: usize,
    /// Numbers of keys to take over with.
    pub(crate) keys: Vec<u64>,
}

impl Options {
    pub(crate) fn parse(flags: &[&str]) -> Result<Self, String> {
        let mut options = Self { seconds: 4.0, rounds: 5, keys: vec![1_000_000, 10_000_000] };
        let mut flags = flags.iter();
        while let Some(flag) = flags.next() {
            let mut value = || flags.next().copied().ok_or(format!("{flag} takes a value"));
            match *flag {
                "--quick" => (options.seconds, options.rounds, options.keys) = (1.0, 3, vec![1_000_000]),
                "--seconds" => options.seconds = number::<f64>(flag, value()?)?.clamp(0.05, 600.0),
                "--rounds" => options.rounds = number::<usize>(flag, value()?)?.max(1),
                "--keys" => {
                    options.keys = value()?.split(',').map(|text| number(flag, text)).collect::<Result<_, _>>()?
                }
                other => return Err(format!("`bench standby` does not know `{other}`")),
            }
        }
        Ok(options)
    }
}

/// Runs everything.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    let built = run::passes(run::cargo(&["build", "--release", "--locked", "-p", "windrow-cli"]));
    built.into_iter().next().map_or(Ok(()), Err)?;
    measure(options, &mut Samples::default())
}

/// Runs everything with the program that was built.
pub(crate) fn measure(options: &Options, samples: &mut Samples) -> Result<(), String> {
    let io = |error: std::io::Error| format!("a process stopped answering: {error}");
    lag(options, samples).map_err(io)??;
    cost(options, samples).map_err(io)??;
    for &keys in &options.keys {
        takeover(keys, samples).map_err(io)??;
    }
    Ok(())
}

/// A process of ours, ended when dropped.
struct Process {
    child: Child,
    port: u16,
    admin: u16,
}

impl Process {
    fn start(words: &[&str], core: &str, dir: &Path) -> Result<Self, String> {
        let (port, admin) = (free_port()?, free_port()?);
        let mut command = Command::new("taskset");
        command.args(["-c", core]).arg(built("windrow")).args(words).arg(dir);
        command.args(["--cores", &format!("{core}-{core}"), "--port", &port.to_string()]);
        command.args(["--admin-port", &admin.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
        let log = File::create(dir.with_extension(format!("{port}.log"))).map_err(|error| error.to_string())?;
        let child = command.stderr(log).spawn().map_err(|error| format!("cannot run taskset: {error}"))?;
        let mut process = Self { child, port, admin };
        let started = Instant::now();
        while !ask(port, "PING\r\nQUIT\r\n").is_some_and(|text| text.starts_with("+PONG")) {
            if let Ok(Some(status)) = process.child.try_wait() {
                return Err(format!("`windrow {}` ended: {status}", words[0]));
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("no answer on port {port}"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(process)
    }

    fn leader(dir: &Path) -> Result<Self, String> {
        Self::start(&["serve", "--partitions", "1", "--dir"], SERVER_CORE, dir)
    }

    fn standby(dir: &Path) -> Result<Self, String> {
        Self::start(&["standby", "--of"], CLIENT_CORE, dir)
    }

    fn connect(&self) -> std::io::Result<Client> {
        Client::connect(self.port)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(port: u16) -> std::io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    /// A reply that is a line, or a bulk string.
    fn receive(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if std::io::BufRead::read_line(&mut self.0, &mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end().to_owned();
        let Some(len) = line.strip_prefix('$').and_then(|len| len.parse::<usize>().ok()) else { return Ok(line) };
        let mut bytes = vec![0; len + 2];
        self.0.read_exact(&mut bytes)?;
        bytes.truncate(len);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn call(&mut self, words: &[&str]) -> std::io::Result<String> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.send(request.as_bytes())?;
        self.receive()
    }
}

type Outcome = std::io::Result<Result<(), String>>;

/// From a commit until the standby shows it, as the standby itself measures it, and as a client sees it.
fn lag(options: &Options, samples: &mut Samples) -> Outcome {
    let (scratch, leader, standby) = match pair() {
        Ok(all) => all,
        Err(error) => return Ok(Err(error)),
    };
    let (mut to, mut from) = (leader.connect()?, standby.connect()?);
    for round in 0..options.rounds {
        let before = buckets(standby.admin);
        for number in 0..LAG_WRITES {
            to.call(&["SET", "key", &format!("{round}.{number}")])?;
            thread::sleep(LAG_PAUSE);
        }
        // The standby publishes at its ticks.
        thread::sleep(Duration::from_millis(300));
        let own: Vec<(f64, f64)> =
            buckets(standby.admin).iter().zip(&before).map(|(now, old)| (now.0, now.1 - old.1)).collect();
        let mut seen = Vec::new();
        for number in 0..LAG_WRITES {
            let value = format!("{round}:{number}");
            to.call(&["SET", "key", &value])?;
            let confirmed = Instant::now();
            while from.call(&["GET", "key"])? != value {}
            seen.push(confirmed.elapsed().as_secs_f64() * 1e6);
            thread::sleep(LAG_PAUSE);
        }
        samples.add("standby", "windrow", "lag-us", round, quantile(&own, 0.5) * 1e6);
        println!(
            "  lag, round {}: {} of {} commits; shown after p50 {:.0} us, p99 {:.0} us (interpolated); reply to the \
             leader's client until a client of the standby has read it: p50 {:.0} us, p99 {:.0} us",
            round + 1,
            own.last().map_or(0.0, |(_, count)| *count),
            LAG_WRITES,
            quantile(&own, 0.5) * 1e6,
            quantile(&own, 0.99) * 1e6,
            percentile(&mut seen, 0.5),
            percentile(&mut seen, 0.99),
        );
    }
    drop((leader, standby, scratch));
    Ok(Ok(()))
}

fn pair() -> Result<(Scratch, Process, Process), String> {
    let scratch = Scratch::new("standby")?;
    let dir = scratch.path().join("data");
    let leader = Process::leader(&dir)?;
    let standby = Process::standby(&dir)?;
    Ok((scratch, leader, standby))
}

/// The cumulative buckets of the lag: bound in seconds, count.
fn buckets(admin: u16) -> Vec<(f64, f64)> {
    let page = ask(admin, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap_or_default();
    let lines = page.lines().filter_map(|line| line.strip_prefix("windrow_follow_lag_seconds_bucket{"));
    let parsed = lines.filter_map(|line| {
        let (labels, count) = line.rsplit_once("} ")?;
        let bound = labels.rsplit_once("le=\"")?.1.trim_end_matches('"');
        Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
    });
    parsed.collect()
}

/// Interpolated within its bucket.
fn quantile(buckets: &[(f64, f64)], share: f64) -> f64 {
    let wanted = buckets.last().map_or(0.0, |(_, count)| count * share);
    let mut below = (0.0, 0.0);
    for &(bound, count) in buckets {
        if count >= wanted {
            if bound.is_infinite() || count <= below.1 {
                return below.0;
            }
            return below.0 + (bound - below.0) * (wanted - below.1) / (count - below.1);
        }
        below = (bound, count);
    }
    f64::NAN
}

fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    let at = (values.len() as f64 * share) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}

/// The leader's throughput with and without a standby, in turn.
fn cost(options: &Options, samples: &mut Samples) -> Outcome {
    let scratch = match Scratch::new("standby") {
        Ok(scratch) => scratch,
        Err(error) => return Ok(Err(error)),
    };
    let dir = scratch.path().join("data");
    let leader = match Process::leader(&dir) {
        Ok(leader) => leader,
        Err(error) => return Ok(Err(error)),
    };
    throughput(leader.port, options.seconds)?;
    let mut ratios = Vec::new();
    for round in 0..options.rounds {
        let alone = throughput(leader.port, options.seconds)?;
        let standby = match Process::standby(&dir) {
            Ok(standby) => standby,
            Err(error) => return Ok(Err(error)),
        };
        let followed = throughput(leader.port, options.seconds)?;
        drop(standby);
        ratios.push(followed / alone);
        samples.add("standby", "windrow", "throughput", round, followed / alone);
        println!(
            "  cost, round {}: {alone:.0} SETs/s alone, {followed:.0} with a standby, ratio {:.3}",
            round + 1,
            followed / alone
        );
    }
    println!("  cost: median ratio {:.3}", percentile(&mut ratios, 0.5));
    Ok(Ok(()))
}

/// SETs a second, pipelined over a few connections.
fn throughput(port: u16, seconds: f64) -> std::io::Result<f64> {
    let (done, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..CONNECTIONS)
            .map(|worker| {
                scope.spawn({
                    let (done, stop) = (&done, &stop);
                    move || load(port, worker, done, stop)
                })
            })
            .collect();
        thread::sleep(Duration::from_secs_f64(seconds));
        stop.store(true, Ordering::Relaxed);
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into())))
    })?;
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let count = done.load(Ordering::Relaxed) as f64;
    Ok(count / started.elapsed().as_secs_f64())
}

fn load(port: u16, worker: usize, done: &AtomicU64, stop: &AtomicBool) -> std::io::Result<()> {
    let mut client = Client::connect(port)?;
    let value = "v".repeat(100);
    let mut number = worker * 7_919;
    while !stop.load(Ordering::Relaxed) {
        let mut request = String::with_capacity(PIPELINE * 160);
        for _ in 0..PIPELINE {
            number = (number * 31 + 17) % 100_003;
            request.push_str(&format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{number:012}\r\n$100\r\n{value}\r\n"));
        }
        client.send(request.as_bytes())?;
        let mut replies = vec![0; PIPELINE * 5];
        client.0.read_exact(&mut replies)?;
        done.fetch_add(PIPELINE as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// From `kill -9` to the first accepted write, at the standby's own address and at the leader's.
fn takeover(keys: u64, samples: &mut Samples) -> Outcome {
    let scratch = match Scratch::new("standby") {
        Ok(scratch) => scratch,
        Err(error) => return Ok(Err(error)),
    };
    let dir = scratch.path().join("data");
    let mut leader = match Process::leader(&dir) {
        Ok(leader) => leader,
        Err(error) => return Ok(Err(error)),
    };
    let address = leader.port;
    fill(address, keys)?;
    for kill in 0..KILLS {
        let standby = match Process::standby(&dir) {
            Ok(standby) => standby,
            Err(error) => return Ok(Err(error)),
        };
        let mut client = standby.connect()?;
        let all = leader.connect()?.call(&["DBSIZE"])?;
        while client.call(&["DBSIZE"])? != all {
            thread::sleep(Duration::from_millis(5));
        }
        // Something is in flight, and something is not flushed yet.
        let stop = AtomicBool::new(false);
        let done = AtomicU64::new(0);
        let (own, there) = thread::scope(|scope| {
            let port = leader.port;
            let (stop, counted) = (&stop, &done);
            scope.spawn(move || load(port, 1, counted, stop));
            while counted.load(Ordering::Relaxed) < 1_000 {
                thread::sleep(Duration::from_millis(1));
            }
            let killed = Instant::now();
            leader.child.kill()?;
            while client.call(&["SET", "key", "value"])? != "+OK" {}
            let own = killed.elapsed();
            let there = loop {
                let written = Client::connect(address).and_then(|mut client| client.call(&["SET", "key", "value"]));
                if written.is_ok_and(|reply| reply == "+OK") {
                    break killed.elapsed();
                }
            };
            stop.store(true, Ordering::Relaxed);
            std::io::Result::Ok((own, there))
        })?;
        let said = std::fs::read_to_string(dir.with_extension(format!("{}.log", standby.port))).unwrap_or_default();
        let lock_to_lead = said.lines().find_map(|line| line.split_once("took_us=")).map_or("?", |(_, took)| took);
        samples.add("standby", "windrow", &format!("takeover-ms-{keys}"), kill, own.as_secs_f64() * 1e3);
        println!(
            "  takeover with {keys} keys, kill {}: first write after {:.1} ms at the standby's address, {:.1} ms at the \
             leader's; {lock_to_lead} us of it from the lock on",
            kill + 1,
            own.as_secs_f64() * 1e3,
            there.as_secs_f64() * 1e3,
        );
        leader = standby;
    }
    Ok(Ok(()))
}
