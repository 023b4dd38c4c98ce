//! A running `windrow` and a small client, for tests of the whole binary.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest that anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody has, and that nobody is given.
///
/// It lies below the range out of which the system serves whoever asks for any port, listeners and outgoing connections
/// alike: one from that range may be taken by a neighbour before the node that it is meant for has started, or while
/// that node is down. Processes that run side by side begin at different places.
pub(crate) fn free_port() -> u16 {
    const FIRST: u16 = 10_000;
    const COUNT: u32 = 22_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let place = std::process::id().wrapping_mul(127).wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = FIRST + u16::try_from(place % COUNT).unwrap();
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Waits until `is_so`, and panics with `what` if it never is; the time is a guard against waiting for ever.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < PATIENCE, "never: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Says that a test does nothing here, and why, past what keeps the output of tests that pass.
pub(crate) fn skipped(why: &str) {
    let _closed = writeln!(std::io::stderr(), "SKIPPED: {why}");
}

/// The binary.
pub(crate) const WINDROW: &str = env!("CARGO_BIN_EXE_windrow");

/// A command that sees none of the settings of whoever runs the tests.
pub(crate) fn windrow(args: &[&str]) -> Command {
    clean(WINDROW, args)
}

/// As [`windrow`], for another program.
pub(crate) fn clean(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("WINDROW_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null());
    command
}

/// A place for a data directory, removed when dropped.
pub(crate) struct Place(pub(crate) tempfile::TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where a data directory is, or will be.
    pub(crate) fn dir(&self) -> PathBuf {
        self.0.path().join("data")
    }
}

/// A server, killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// What it said when it started.
    pub(crate) greeting: String,
    messages: mpsc::Receiver<String>,
}

impl Server {
    /// Starts a server on a free port and waits until it says that it serves.
    ///
    /// One core in the mode where every core is an endpoint of its own, so that there is one endpoint.
    pub(crate) fn start(dir: &Path, extra: &[&str]) -> Self {
        Self::start_by(&[WINDROW], dir, extra)
    }

    /// As [`start`](Self::start), by a program that is given the arguments of `windrow` behind its own.
    pub(crate) fn start_by(program: &[&str], dir: &Path, extra: &[&str]) -> Self {
        let one_core = cfg!(feature = "shared-nothing") && !extra.contains(&"--cores");
        let cores: &[&str] = if one_core { &["--cores", "1"] } else { &[] };
        let admin: &[&str] = if extra.contains(&"--admin-port") { &[] } else { &["--admin-port", "0"] };
        let port: &[&str] = if extra.contains(&"--port") { &[] } else { &["--port", "0"] };
        let base = ["serve", "--dir", dir.to_str().unwrap()];
        Self::start_with(clean(program[0], &[&program[1..], &base, port, cores, admin, extra].concat()))
    }

    /// Runs a command that greets as a server does, and waits for that.
    pub(crate) fn start_with(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let messages = lines(child.stderr.take().unwrap());
        let greetings = lines(child.stdout.take().unwrap());
        let mut greeting = String::new();
        let mut address = None;
        loop {
            match greetings.recv_timeout(PATIENCE) {
                Ok(line) => {
                    greeting.push_str(&line);
                    greeting.push('\n');
                    match (line.strip_prefix("clients"), address) {
                        (Some(rest), _) => address = Some(rest.split_whitespace().next().unwrap().parse().unwrap()),
                        // The last line.
                        (None, Some(address)) => return Self { child, address, greeting, messages },
                        (None, None) => {}
                    }
                }
                Err(_) => {
                    let status = child.kill().and_then(|()| child.wait());
                    let said: Vec<String> = messages.iter().collect();
                    panic!("no server: {status:?}\n{greeting}{}", said.join("\n"));
                }
            }
        }
    }

    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// What it has said on stderr and nobody has looked at yet.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn said(&self) -> Vec<String> {
        self.messages.try_iter().collect()
    }

    /// Stops it, and waits until every thread of it stands still: on a busy machine that is not at once.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn pause(&self) {
        self.signal("STOP");
        let stands = |task: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name of a thread may hold anything; its state follows the last parenthesis.
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        let tasks = format!("/proc/{}/task", self.child.id());
        while !std::fs::read_dir(&tasks).unwrap().map(Result::unwrap).all(stands) {
            thread::yield_now();
        }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the end, and returns the status and what was said on stderr.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().unwrap();
        (status, self.messages.iter().collect::<Vec<_>>().join("\n"))
    }

    /// Ends it at once, as a crash would.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// The lines of a pipe, read by a thread so that the other side never waits.
fn lines(pipe: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A reply.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<String>),
    Array(Vec<Reply>),
}

/// The reply to what was done.
pub(crate) fn ok() -> Reply {
    Reply::Simple("OK".to_owned())
}

/// The reply that is a value.
pub(crate) fn bulk(text: &str) -> Reply {
    Reply::Bulk(Some(text.to_owned()))
}

/// A connection that speaks RESP2.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends commands without waiting for a reply.
    pub(crate) fn send(&mut self, commands: &[&[&str]]) -> std::io::Result<()> {
        let mut bytes = String::new();
        for command in commands {
            bytes.push_str(&format!("*{}\r\n", command.len()));
            for part in *command {
                bytes.push_str(&format!("${}\r\n{part}\r\n", part.len()));
            }
        }
        self.stream.get_mut().write_all(bytes.as_bytes())
    }

    pub(crate) fn receive(&mut self) -> std::io::Result<Reply> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        let (kind, rest) = line.trim_end().split_at(1);
        Ok(match kind {
            "+" => Reply::Simple(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(rest.parse().unwrap()),
            "$" if rest == "-1" => Reply::Bulk(None),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.stream.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(Some(String::from_utf8(bytes).unwrap()))
            }
            "*" => {
                let count: usize = rest.parse().unwrap_or(0);
                Reply::Array((0..count).map(|_| self.receive()).collect::<Result<_, _>>()?)
            }
            other => panic!("reply of type {other:?}"),
        })
    }

    pub(crate) fn call(&mut self, command: &[&str]) -> std::io::Result<Reply> {
        self.send(&[command])?;
        self.receive()
    }
}
