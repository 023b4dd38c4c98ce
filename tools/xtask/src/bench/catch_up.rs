//! How fast an empty follower gets a log, beside what the machine can move at all.
//!
//! The leader is filled alone, then the follower is started and the time taken until it has flushed everything. Beside
//! it, the same files go over loopback into a reader that throws them away: by `sendfile`, and by reading and sending.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::load::Client;
use super::machine::touch_memory;
use super::samples::Samples;
use super::server::{CLIENT_CORE, Follower, Kind, Programs, SERVER_CORE, Scratch, Server};

const KEYS: &str = "1M";
const VALUE: &str = "1000";
const PIECE: usize = 1 << 20;
/// Clock ticks a second in `/proc/PID/stat` (`getconf CLK_TCK`; the same on every Linux of today).
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes that are written to once before a follower starts: more than its log and its index.
const LOG_TOUCHED: usize = 2 << 30;

/// A process that has taken less than a clock tick for so long is at rest.
const REST: Duration = Duration::from_millis(300);
const REST_WITHIN: Duration = Duration::from_secs(60);

/// What moving some bytes took.
#[derive(Clone, Copy, Debug)]
struct Moved {
    bytes: f64,
    seconds: f64,
    /// Processor time of the sender.
    cpu_seconds: f64,
}

/// Measures in turn, round by round.
pub(crate) fn measure(rounds: usize, programs: &Programs, samples: &mut Samples) -> Result<(), String> {
    let kind = Kind::named("windrow-replicated").ok_or("there is no such server")?;
    for round in 0..rounds {
        let scratch = Scratch::new("catch-up")?;
        let (mut leader, follower) = Server::start_leader(kind, programs, &scratch)?;
        let client = Client { program: super::built("windrow-load"), scratch: &scratch, seconds: 0.0 };
        client.load(&leader, KEYS, VALUE)?;
        come_to_rest(leader.pids()[0])?;
        touch_memory(LOG_TOUCHED);
        let follower = caught_up(&mut leader, &follower)?;
        let files = segments(&scratch.path().join(kind.id).join("1"));
        let io = |error: std::io::Error| format!("sending over loopback: {error}");
        let bare = over_loopback(&files, |file, socket| std::io::copy(file, socket).map(|_| ())).map_err(io)?;
        let copied = over_loopback(&files, read_and_send).map_err(io)?;
        let rate = |moved: Moved| moved.bytes / moved.seconds / 1e9;
        let cost = |moved: Moved| moved.cpu_seconds / (moved.bytes / 1e9);
        println!(
            "  round {}: a follower {:.2} GB/s, sender {:.2} s a GB; sendfile {:.2} GB/s, {:.2} s; copy {:.2} GB/s, {:.2} s",
            round + 1,
            rate(follower),
            cost(follower),
            rate(bare),
            cost(bare),
            rate(copied),
            cost(copied)
        );
        for (who, moved) in [("windrow", follower), ("sendfile", bare), ("copy", copied)] {
            samples.add("catch-up", who, "gb-per-second", round, rate(moved));
            samples.add("catch-up", who, "cpu-per-gb", round, cost(moved));
        }
    }
    Ok(())
}

/// Waits until a process does nothing: a leader that was just filled still makes its next segment, and that is not the
/// cost of sending.
fn come_to_rest(pid: u32) -> Result<(), String> {
    let started = Instant::now();
    let mut before = f64::NAN;
    while started.elapsed() < REST_WITHIN {
        let now = cpu_seconds(pid);
        if now.to_bits() == before.to_bits() {
            return Ok(());
        }
        before = now;
        thread::sleep(REST);
    }
    Err("the leader does not come to rest".to_owned())
}

/// Starts the follower; returns when it has flushed all that the leader has.
fn caught_up(leader: &mut Server, follower: &Follower) -> Result<Moved, String> {
    let there = || "the leader does not say how far its log goes";
    let bytes = Watcher::connect(leader.port).and_then(|mut leader| leader.offset()).ok_or_else(there)?;
    let before = cpu_seconds(leader.pids()[0]);
    let started = Instant::now();
    leader.start_follower(follower)?;
    let mut watcher = Watcher::connect(follower.port);
    leader.wait_until("the follower has not caught up", || {
        watcher.as_mut().and_then(Watcher::offset).is_some_and(|has| has >= bytes)
    })?;
    Ok(Moved { bytes, seconds: started.elapsed().as_secs_f64(), cpu_seconds: cpu_seconds(leader.pids()[0]) - before })
}

/// Asks how far a log goes, always over the same connection: opening one each time took a tenth of the follower's core.
struct Watcher(BufReader<TcpStream>);

impl Watcher {
    fn connect(port: u16) -> Option<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        Some(Self(BufReader::new(stream)))
    }

    fn offset(&mut self) -> Option<f64> {
        self.0.get_mut().write_all(b"INFO replication\r\n").ok()?;
        let mut header = String::new();
        self.0.read_line(&mut header).ok()?;
        let len: usize = header.strip_prefix('$')?.trim().parse().ok()?;
        let mut text = vec![0; len + b"\r\n".len()];
        self.0.read_exact(&mut text).ok()?;
        let text = String::from_utf8(text).ok()?;
        text.lines().find_map(|line| line.strip_prefix("master_repl_offset:"))?.trim().parse().ok()
    }
}

/// Processor time that all threads of a process have taken so far.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS_PER_SECOND
}

/// The log's files below a data directory, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files.extend(segments(&path));
        } else if path.metadata().is_ok_and(|metadata| metadata.len() >= 1 << 20) {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Sends the files, from the first core to the second, and waits until the reader has all of them.
fn over_loopback(
    files: &[PathBuf],
    send: impl Fn(&mut File, &mut TcpStream) -> std::io::Result<()> + Sync,
) -> std::io::Result<Moved> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            pin(CLIENT_CORE);
            let (mut socket, _) = listener.accept()?;
            let mut piece = vec![0; PIECE];
            while socket.read(&mut piece)? > 0 {}
            socket.write_all(b"!")
        });
        let sender = scope.spawn(|| {
            pin(SERVER_CORE);
            let mut socket = TcpStream::connect(address)?;
            let (before, started) = (thread_seconds(), Instant::now());
            let mut bytes = 0;
            for path in files {
                let mut file = File::open(path)?;
                bytes += file.metadata()?.len();
                send(&mut file, &mut socket)?;
            }
            socket.shutdown(std::net::Shutdown::Write)?;
            socket.read_exact(&mut [0])?;
            #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
            let bytes = bytes as f64;
            Ok(Moved { bytes, seconds: started.elapsed().as_secs_f64(), cpu_seconds: thread_seconds() - before })
        });
        let panicked = |_| Err(std::io::ErrorKind::Other.into());
        let moved = sender.join().unwrap_or_else(panicked);
        reader.join().unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()))?;
        moved
    })
}

fn read_and_send(file: &mut File, socket: &mut TcpStream) -> std::io::Result<()> {
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    loop {
        match file.read_at(&mut piece, at)? {
            0 => return Ok(()),
            count => {
                socket.write_all(&piece[..count])?;
                at += count as u64;
            }
        }
    }
}

/// Pins this thread, where that is possible.
fn pin(core: &str) {
    let own = fs::read_link("/proc/thread-self").unwrap_or_default();
    if let Some(id) = own.file_name() {
        let mut command = Command::new("taskset");
        command.args(["-cp", core]).arg(id).stdout(Stdio::null()).stderr(Stdio::null());
        let _as_it_is = command.status();
    }
}

/// Processor time of this thread.
fn thread_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|nanos| nanos.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_arrive_whole_by_both_ways() {
        let dir = std::env::temp_dir().join(format!("windrow-loopback-{}", std::process::id()));
        fs::create_dir_all(dir.join("p")).unwrap();
        fs::write(dir.join("p/2.log"), vec![2; 3 << 20]).unwrap();
        fs::write(dir.join("1.log"), vec![1; 1 << 20]).unwrap();
        fs::write(dir.join("small"), "x").unwrap();
        let files = segments(&dir);
        assert_eq!(files, [dir.join("1.log"), dir.join("p/2.log")]);
        for moved in [
            over_loopback(&files, |file, socket| std::io::copy(file, socket).map(|_| ())),
            over_loopback(&files, read_and_send),
        ] {
            let moved = moved.unwrap();
            assert_eq!(moved.bytes.to_bits(), f64::from(4 << 20).to_bits());
            assert!(moved.seconds > 0.0 && moved.cpu_seconds >= 0.0);
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
