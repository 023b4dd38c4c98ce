//! A running `windrow`.

use std::io::{BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Error;
use crate::witness::Witness;

/// The longest that anything may take before a run gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a node is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The program.
    pub binary: PathBuf,
    /// Its data directory.
    pub dir: PathBuf,
    /// Flags beside the directory and the ports.
    pub flags: Vec<String>,
    is_standby: bool,
}

impl Setup {
    /// A node on a free port.
    #[must_use]
    pub fn new(binary: &Path, dir: &Path, flags: &[&str]) -> Self {
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self { binary: binary.to_path_buf(), dir: dir.to_path_buf(), flags, is_standby: false }
    }

    /// A standby of the node that has this directory.
    #[must_use]
    pub fn standby(binary: &Path, dir: &Path, flags: &[&str]) -> Self {
        Self { is_standby: true, ..Self::new(binary, dir, flags) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        // Nothing of the settings of whoever runs this.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("WINDROW_")) {
            command.env_remove(name);
        }
        let how = if self.is_standby { ["standby", "--of"] } else { ["serve", "--dir"] };
        command.args(how).arg(&self.dir);
        if !self.flags.iter().any(|flag| flag == "--port") {
            command.args(["--port", "0"]);
        }
        command.args(["--admin-port", "0"]).args(&self.flags);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }
}

/// A running node, killed when dropped.
pub struct Node {
    child: Child,
    pid: Pid,
    /// Where it listens.
    pub address: SocketAddr,
    /// Looks at it where it does not answer.
    pub witness: Witness,
    messages: mpsc::Receiver<String>,
}

/// A node that has been started and has not yet said where it listens.
pub struct Starting {
    child: Child,
    pid: Pid,
    greetings: mpsc::Receiver<String>,
    messages: mpsc::Receiver<String>,
}

impl Starting {
    /// Starts the process.
    ///
    /// # Errors
    /// There is no such program.
    pub fn new(setup: &Setup) -> Result<Self, Error> {
        let mut child = setup.command().spawn().map_err(Error::io(format!("run {}", setup.binary.display())))?;
        let pid = Pid::from_child(&child);
        let messages = lines(child.stderr.take());
        let greetings = lines(child.stdout.take());
        Ok(Self { child, pid, greetings, messages })
    }

    /// Ends it at once.
    pub fn kill(mut self) {
        end(&mut self.child);
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// It ended, or takes too long.
    pub fn serving(mut self) -> Result<Node, Error> {
        let late = Instant::now() + PATIENCE;
        let mut address = None;
        loop {
            match self.greetings.recv_timeout(late.saturating_duration_since(Instant::now())) {
                Ok(line) => match (line.strip_prefix("clients"), address) {
                    (Some(rest), _) => address = rest.split_whitespace().next().and_then(|word| word.parse().ok()),
                    // The last line.
                    (None, Some(address)) => {
                        let Self { child, pid, messages, .. } = self;
                        let witness = Witness::new(child.id(), address);
                        return Ok(Node { child, pid, address, witness, messages });
                    }
                    (None, None) => {}
                },
                Err(error) => {
                    let mut seen = None;
                    if error == RecvTimeoutError::Timeout {
                        let address = address.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 0).into());
                        seen = Some(Witness::new(self.child.id(), address).report());
                        let _ended_already = self.child.kill();
                    }
                    let status = self.child.wait().ok().and_then(|status| status.code());
                    let said: Vec<String> = self.messages.iter().chain(seen).collect();
                    return Err(Error::NotStarted { status, said: said.join("\n") });
                }
            }
        }
    }
}

impl Node {
    /// Starts a node and waits until it serves.
    ///
    /// # Errors
    /// It does not come up.
    pub fn start(setup: &Setup) -> Result<Self, Error> {
        Starting::new(setup)?.serving()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // It may have ended already: its process id is kept until it is waited for.
        let _ended = kill_process(self.pid, signal);
    }

    /// Ends it at once, as a crash would.
    pub fn kill(mut self) {
        end(&mut self.child);
    }

    /// What it has written to stderr since it was last asked.
    pub fn said(&self) -> Vec<String> {
        self.messages.try_iter().collect()
    }

    /// Waits until it ends by itself. Returns its status, none for a signal, and what it wrote to stderr.
    ///
    /// # Errors
    /// It goes on living.
    pub fn wait(mut self) -> Result<(Option<i32>, String), Error> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().map_err(Error::io("wait for the server"))? {
                return Ok((status.code(), self.messages.iter().collect::<Vec<_>>().join("\n")));
            }
            thread::sleep(Duration::from_millis(1));
        }
        Error::violation(format!("the server did not end within {PATIENCE:?}\n{}", self.witness.report()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    let _ended_already = child.kill();
    let _reaped = child.wait();
}

/// The lines of a pipe, read by a thread so that the other side never waits.
fn lines(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}
