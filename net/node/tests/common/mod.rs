//! A node inside the test process, reached over real sockets.

#![allow(dead_code, reason = "each test file uses a part of it")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::mpsc::channel;
use std::thread::JoinHandle;
use std::time::Duration;

use redis::{Client, Connection, FromRedisValue};
use windrow_node::settings::Configured;
use windrow_node::{ExitReason, ServeError, serve};

/// What the kernel calls a file system in memory.
const TMPFS_MAGIC: rustix::fs::FsWord = 0x0102_1994;

/// A running node.
pub(crate) struct Node {
    pub(crate) addresses: Vec<SocketAddr>,
    thread: Option<JoinHandle<Result<ExitReason, ServeError>>>,
}

impl Node {
    /// Starts a node on a port that the system chooses.
    pub(crate) fn start(dir: &Path, settings: &[(&str, &str)]) -> Self {
        let fixed = [("dir", dir.to_str().unwrap()), ("port", "0")];
        // No admin endpoint, and small segments, so that making them takes no time.
        let usual = [("admin-port", "0"), ("segment-size", "262144")];
        let usual = usual.iter().filter(|(name, _)| settings.iter().all(|(other, _)| other != name));
        let all = fixed.iter().chain(settings).chain(usual).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let configured = Configured::load(None, std::iter::empty(), all).unwrap();
        let (ready, started) = channel();
        let thread =
            std::thread::spawn(move || serve(configured, |serving| ready.send(serving.addresses.clone()).unwrap()));
        let Ok(addresses) = started.recv() else { panic!("{:?}", thread.join().unwrap()) };
        Self { addresses, thread: Some(thread) }
    }

    pub(crate) fn connect(&self) -> Connection {
        self.connect_to(0)
    }

    pub(crate) fn connect_to(&self, endpoint: usize) -> Connection {
        let connection =
            Client::open(format!("redis://{}", self.addresses[endpoint])).unwrap().get_connection().unwrap();
        connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        connection
    }

    /// Shuts the node down in order.
    pub(crate) fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        // There is no reply: the connection closes.
        let _closed = redis::cmd("SHUTDOWN").query::<()>(&mut self.connect());
        assert_eq!(thread.join().unwrap().unwrap(), ExitReason::Asked);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// Runs a command that is written as a line.
pub(crate) fn run<T: FromRedisValue>(connection: &mut Connection, line: &str) -> Result<T, redis::RedisError> {
    let mut words = line.split(' ');
    let mut command = redis::cmd(words.next().unwrap());
    words.for_each(|word| {
        command.arg(word);
    });
    command.query(connection)
}

/// Runs a command that must succeed.
pub(crate) fn ok<T: FromRedisValue>(connection: &mut Connection, line: &str) -> T {
    run(connection, line).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Where a node tells its metrics.
pub(crate) struct Metrics {
    pub(crate) port: u16,
}

impl Metrics {
    /// A port that is free.
    pub(crate) fn choose() -> Self {
        Self { port: TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port() }
    }

    /// What all series of a metric add up to.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    }
}

/// Whether files in `dir` need not be in memory.
pub(crate) fn is_on_disk(dir: &Path) -> bool {
    rustix::fs::statfs(dir).unwrap().f_type != TMPFS_MAGIC
}
