//! The servers under test: started in a directory of their own, pinned to the first core, ended by their handle.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run;

/// The core that servers run on; clients have the next one.
const SERVER_CORE: &str = "0";
/// How long a server may take to answer its first `PING`.
const START_LIMIT: Duration = Duration::from_secs(120);
/// Clock ticks a second in `/proc/PID/stat` (`getconf CLK_TCK`; the same on every Linux of today).
const TICKS_PER_SECOND: f64 = 100.0;

/// Which server, and how it keeps what it is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Windrow,
    RedisMemory,
    RedisAlways,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Windrow, Self::RedisMemory, Self::RedisAlways];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Windrow => "Windrow, durable",
            Self::RedisMemory => "Redis, nothing persisted",
            Self::RedisAlways => "Redis, appendfsync always",
        }
    }
}

/// Builds the node.
pub(crate) fn build() -> Result<(), String> {
    let problems = run::passes(run::cargo(&["build", "--release", "-p", "windrow-cli"]));
    problems.into_iter().next().map_or(Ok(()), Err)
}

/// A directory that is removed when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("windrow-bench-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _gone_already = fs::remove_dir_all(&self.0);
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    child: Child,
}

impl Server {
    pub(crate) fn start(kind: Kind, scratch: &Scratch) -> Result<Self, String> {
        let port = free_port()?;
        let dir = scratch.path().join(format!("{kind:?}"));
        fs::create_dir_all(&dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let mut command = Command::new("taskset");
        command.args(["-c", SERVER_CORE]).args(arguments(kind, port, &dir));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|error| format!("cannot run taskset: {error}"))?;
        let mut server = Self { kind, port, child };
        server.await_ready()?;
        Ok(server)
    }

    fn await_ready(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while started.elapsed() < START_LIMIT {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(format!("{} ended at once: {status}", self.kind.name()));
            }
            if self.answers() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Err(format!("{} did not answer within {START_LIMIT:?}", self.kind.name()))
    }

    fn answers(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) else { return false };
        let mut reply = [0; 7];
        stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut reply).is_ok() && &reply == b"+PONG\r\n"
    }

    /// Processor time that all its threads have taken so far.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    /// Memory that is no file's, in bytes.
    pub(crate) fn anonymous_bytes(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1024.0
    }

    /// Ends it without a warning.
    pub(crate) fn kill(mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn arguments(kind: Kind, port: u16, dir: &Path) -> Vec<String> {
    let (dir, port) = (dir.display().to_string(), port.to_string());
    let words: Vec<&str> = match kind {
        Kind::Windrow => {
            vec!["--dir", &dir, "--port", &port, "--admin-port", "0", "--cores", "0-0", "--partitions", "1"]
        }
        Kind::RedisMemory => vec!["--dir", &dir, "--port", &port, "--save", "", "--appendonly", "no"],
        Kind::RedisAlways => vec![
            "--dir",
            &dir,
            "--port",
            &port,
            "--save",
            "",
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--auto-aof-rewrite-percentage",
            "0",
        ],
    };
    let program = match kind {
        Kind::Windrow => vec![binary().display().to_string(), "serve".to_owned()],
        Kind::RedisMemory | Kind::RedisAlways => vec!["redis-server".to_owned()],
    };
    program.into_iter().chain(words.into_iter().map(str::to_owned)).collect()
}

fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from);
    target.join("release").join("windrow")
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no free port: {error}"))?;
    listener.local_addr().map(|addr| addr.port()).map_err(|error| format!("no free port: {error}"))
}
