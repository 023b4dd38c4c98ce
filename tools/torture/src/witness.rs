//! What can be seen of a server that does not answer: for people who look into why.
//!
//! A reply that does not come cannot be explained afterwards, so whoever waits in vain looks at once: what the
//! server's threads wait for, in the kernel too, whether they run, what its rings and sockets hold, whether another
//! client is answered, and whether the machine itself stood still.

use std::fmt::Write;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::node::PATIENCE;
use crate::pulse;
use crate::resp::{Client, Reply};

/// How long threads are watched to see whether they run.
const WATCHED: Duration = Duration::from_millis(500);
/// How long another client waits.
const OTHER_PATIENCE: Duration = Duration::from_secs(2);
/// Lines of a file of `/proc` that are shown.
const LINES_MAX: usize = 24;
/// What the kernel calls a socket that is over.
const TIME_WAIT: &str = "06";

/// Whom to look at when no reply comes.
#[derive(Clone, Debug)]
pub struct Witness {
    /// Its process, where that is known.
    pid: Option<u32>,
    address: SocketAddr,
}

impl Witness {
    /// Whether it keeps the newest segments of a log in memory, for what they hold is overwritten soon.
    #[must_use]
    pub fn keeps_tail(&self) -> bool {
        let maps = self.pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/maps")).ok());
        maps.is_some_and(|maps| maps.contains("memfd:windrow-tail"))
    }

    /// Of the process `pid`, which serves clients at `address`, or will: port 0 is not known yet.
    #[must_use]
    pub fn new(pid: u32, address: SocketAddr) -> Self {
        pulse::start();
        Self { pid: Some(pid), address }
    }

    /// Of whoever serves clients at `address`.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        pulse::start();
        Self { pid: None, address }
    }

    /// Where it serves.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `client`, that is `who`, has waited for a reply until this `error`: says what the server does meanwhile, and
    /// whether the reply comes after all, within `patience` more.
    #[must_use]
    pub(crate) fn silence(&self, who: &str, client: &mut Client, error: &io::Error, patience: Duration) -> Error {
        let mut text = format!("{who}: no reply: {error}\n{}", self.report());
        let since = Instant::now();
        let later = client.set_patience(patience).and_then(|()| client.receive());
        let waited = since.elapsed();
        // It may have been asked for more than one.
        let _ = match later {
            Ok(reply) => write!(text, "after {waited:.1?} more a reply came: {}", short(&reply)),
            Err(error) if is_late(&error) => write!(text, "no reply came within {patience:?} more, either"),
            Err(error) => write!(text, "after {waited:.1?} more the connection ended: {error}"),
        };
        Error::Violation(text)
    }

    /// What the server does at the moment, and how the machine is.
    #[must_use]
    pub fn report(&self) -> String {
        self.look() + &machine()
    }

    /// What the server does at the moment.
    #[must_use]
    pub fn look(&self) -> String {
        let pid = self.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        let mut text = format!("process {pid}, {}:\n", self.address);
        if self.pid.is_some() {
            self.threads(&mut text);
            self.descriptors(&mut text);
        }
        if self.address.port() != 0 {
            self.sockets(&mut text);
            for question in ["INFO server", "INFO persistence", "INFO replication", "CLIENT LIST"] {
                let _ = writeln!(text, "  {question}: {}", self.ask(question));
            }
        }
        text
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string())).join(name)
    }

    /// What each thread waits for, and how long it ran while it was watched.
    fn threads(&self, text: &mut String) {
        let mut threads: Vec<PathBuf> = entries(&self.proc("task"));
        threads.sort();
        let before: Vec<_> = threads.iter().map(|thread| time_run(thread)).collect();
        thread::sleep(WATCHED);
        for (thread, before) in threads.iter().zip(before) {
            let ran = time_run(thread).zip(before).map(|(after, before)| (after.0 - before.0, after.1 - before.1));
            let (ran, ready) = ran.unwrap_or_default();
            let stat = read(&thread.join("stat"));
            // The name is in parentheses and may hold anything.
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?');
            let name = read(&thread.join("comm"));
            let (wchan, call) = (read(&thread.join("wchan")), read(&thread.join("syscall")));
            let call = call.split(' ').next().unwrap_or_default();
            let _ = writeln!(
                text,
                "  thread {} {state}: in {wchan}, system call {call}, of {WATCHED:?} it ran {} ms and was ready for {} ms",
                name.trim(),
                ran / 1_000_000,
                ready / 1_000_000
            );
            for frame in read(&thread.join("stack")).lines().take(LINES_MAX) {
                let _ = writeln!(text, "      {}", frame.trim_start_matches("[<0>] "));
            }
        }
    }

    /// What the kernel says of its rings and eventfds.
    fn descriptors(&self, text: &mut String) {
        for descriptor in entries(&self.proc("fd")) {
            let target = fs::read_link(&descriptor).map(|target| target.display().to_string()).unwrap_or_default();
            if !["[io_uring]", "[eventfd]"].iter().any(|kind| target.ends_with(kind)) {
                continue;
            }
            let number = descriptor.file_name().unwrap_or_default().to_owned();
            let info = read(&self.proc("fdinfo").join(&number));
            let lines: Vec<&str> = info.lines().filter(|line| says_something(line)).take(LINES_MAX).collect();
            let _ = writeln!(text, "  descriptor {}, {target}: {}", number.display(), lines.join("; "));
        }
    }

    /// The sockets at its port, with what waits in them to be sent and to be read.
    fn sockets(&self, text: &mut String) {
        let is_its =
            |end: &str| parse_end(end).is_some_and(|(ip, port)| port == self.address.port() && ip == self.address.ip());
        for line in read(&self.proc("net").join("tcp")).lines().skip(1) {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let [_, local, remote, state, queues, ..] = words[..]
                && state != TIME_WAIT
                && (is_its(local) || is_its(remote))
            {
                let _ = writeln!(text, "  socket {local} {remote} state {state} queues {queues}");
            }
        }
    }

    /// What another client is told.
    fn ask(&self, question: &str) -> String {
        let words: Vec<&[u8]> = question.split(' ').map(str::as_bytes).collect();
        let asked = Client::connect(self.address).and_then(|mut client| {
            client.set_patience(OTHER_PATIENCE)?;
            client.call(&words)
        });
        match asked {
            Ok(Reply::Bulk(Some(info))) => {
                let text = String::from_utf8_lossy(&info).into_owned();
                text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
            }
            Ok(other) => short(&other),
            Err(error) => format!("another client is not answered either: {error}"),
        }
    }
}

/// An IPv4 address with its port as `/proc/net/tcp` has it.
fn parse_end(text: &str) -> Option<(IpAddr, u16)> {
    let (ip, port) = text.split_once(':')?;
    let ip = u32::from_str_radix(ip, 16).ok().filter(|_| ip.len() == 8)?;
    Some((Ipv4Addr::from(ip.to_ne_bytes()).into(), u16::from_str_radix(port, 16).ok()?))
}

/// Whether it is only the time that is over.
#[must_use]
pub fn is_late(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// How busy the machine is, whether it stood still, and what its kernel has said last.
#[must_use]
pub fn machine() -> String {
    let mut text = String::new();
    let _ = writeln!(text, "  load {}", read(Path::new("/proc/loadavg")).trim());
    for what in ["cpu", "io", "memory"] {
        let pressure = read(&Path::new("/proc/pressure").join(what));
        let _ = writeln!(text, "  pressure of {what}: {}", pressure.trim().replace('\n', "; "));
    }
    let vmstat = read(Path::new("/proc/vmstat"));
    let dirty: Vec<&str> = vmstat.lines().filter(|line| line.contains("dirty") || line.contains("writeback")).collect();
    let _ = writeln!(text, "  pages: {}", dirty.join("; "));
    let _ = writeln!(text, "  {}", pulse::describe(PATIENCE * 2));
    let said = std::process::Command::new("dmesg").output().map(|output| output.stdout).unwrap_or_default();
    let said = String::from_utf8_lossy(&said).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    for line in &lines[lines.len().saturating_sub(LINES_MAX)..] {
        let _ = writeln!(text, "  kernel: {line}");
    }
    text
}

/// How long a thread has run, and how long it was ready to, in nanoseconds.
fn time_run(thread: &Path) -> Option<(u64, u64)> {
    let text = read(&thread.join("schedstat"));
    let mut words = text.split_whitespace().map(|word| word.parse().ok());
    Some((words.next()??, words.next()??))
}

/// Of what the kernel says of a descriptor, what differs from one to the next.
fn says_something(line: &str) -> bool {
    let is_empty = line.ends_with(":\t0") || line.trim_end().ends_with(':');
    let is_known = ["pos:", "flags:", "mnt_id:", "ino:"].iter().any(|name| line.starts_with(name));
    !is_empty && !is_known
}

fn short(reply: &Reply) -> String {
    format!("{reply:?}").chars().take(200).collect()
}

fn entries(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

/// A file's text; nothing where the process is gone or it is not permitted.
fn read(path: &Path) -> String {
    fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn silent() -> (TcpListener, Witness) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let witness = Witness::new(std::process::id(), listener.local_addr().unwrap());
        (listener, witness)
    }

    #[test]
    fn a_server_that_is_silent_is_looked_at() {
        let (_listener, witness) = silent();
        let mut client = Client::connect(witness.address).unwrap();
        client.set_patience(Duration::from_millis(10)).unwrap();
        let error = client.call(&[b"PING"]).unwrap_err();
        assert!(is_late(&error), "{error}");
        let Error::Violation(text) = witness.silence("somebody", &mut client, &error, Duration::from_millis(10)) else {
            panic!("the server broke its promise");
        };
        let port = format!(":{:04X}", witness.address.port());
        for expected in [
            "somebody: no reply",
            "thread pulse ",
            "another client is not answered either",
            "socket 0100007F",
            &port,
            "the machine",
            "no reply came within 10ms more, either",
        ] {
            assert!(text.contains(expected), "{expected}:\n{text}");
        }
    }

    #[test]
    fn a_reply_that_comes_late_is_told_apart() {
        let (listener, witness) = silent();
        let mut client = Client::connect(witness.address).unwrap();
        let (mut served, _) = listener.accept().unwrap();
        io::Write::write_all(&mut served, b"+PONG\r\n").unwrap();
        let late = io::Error::from(io::ErrorKind::WouldBlock);
        let error = witness.silence("somebody", &mut client, &late, PATIENCE);
        assert!(error.to_string().contains("more a reply came: Simple(\"PONG\")"), "{error}");
    }

    #[test]
    fn a_process_that_is_gone_is_looked_at_without_harm() {
        let gone = Witness::new(u32::MAX, (Ipv4Addr::LOCALHOST, 1).into());
        assert!(gone.report().contains("another client is not answered either"));
    }
}
