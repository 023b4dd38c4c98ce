//! The servers under test: started in a directory of their own, pinned to the first core, ended by their handle.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::replicated::Pair;

/// The core that servers run on; clients have the next one, and so have replicas.
pub(crate) const SERVER_CORE: &str = "0";
pub(crate) const CLIENT_CORE: &str = "1";
/// How long a server may take to answer its first `PING`, and a replica to catch up.
const START_LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Product {
    Windrow,
    Redis,
    Valkey,
}

/// How a server keeps what it is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// A reply after the flush.
    Always,
    /// A reply at once, a flush within a second or so.
    Later,
    Never,
    /// As `Always`, on two servers; those that do not wait for each other by themselves get `WAIT 1 0` after each
    /// batch.
    Replica,
}

/// Which server, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Kind {
    pub(crate) product: Product,
    pub(crate) mode: Mode,
    /// The name in results.
    pub(crate) id: &'static str,
    /// The name in tables.
    pub(crate) name: &'static str,
}

const fn kind(product: Product, mode: Mode, id: &'static str, name: &'static str) -> Kind {
    Kind { product, mode, id, name }
}

pub(crate) const KINDS: [Kind; 11] = [
    kind(Product::Windrow, Mode::Always, "windrow", "Windrow"),
    kind(Product::Windrow, Mode::Later, "windrow-memory", "Windrow, `memory`"),
    kind(Product::Windrow, Mode::Replica, "windrow-replicated", "Windrow, two nodes"),
    kind(Product::Redis, Mode::Never, "redis-none", "Redis, nothing persisted"),
    kind(Product::Redis, Mode::Later, "redis-everysec", "Redis, `everysec`"),
    kind(Product::Redis, Mode::Always, "redis-always", "Redis, `always`"),
    kind(Product::Redis, Mode::Replica, "redis-wait", "Redis, `always`, replica, `WAIT`"),
    kind(Product::Valkey, Mode::Never, "valkey-none", "Valkey, nothing persisted"),
    kind(Product::Valkey, Mode::Later, "valkey-everysec", "Valkey, `everysec`"),
    kind(Product::Valkey, Mode::Always, "valkey-always", "Valkey, `always`"),
    kind(Product::Valkey, Mode::Replica, "valkey-wait", "Valkey, `always`, replica, `WAIT`"),
];

impl Kind {
    pub(crate) fn named(id: &str) -> Option<Self> {
        KINDS.into_iter().find(|kind| kind.id == id)
    }
}

/// Where the programs are; what is not there is left out.
#[derive(Clone, Debug)]
pub(crate) struct Programs {
    pub(crate) windrow: PathBuf,
    /// The build of shared-nothing mode, which replicates.
    pub(crate) replicating: Option<PathBuf>,
    pub(crate) redis: Option<PathBuf>,
    pub(crate) valkey: Option<PathBuf>,
}

impl Programs {
    pub(crate) fn of(&self, kind: Kind) -> Option<&Path> {
        match (kind.product, kind.mode) {
            (Product::Windrow, Mode::Replica) => self.replicating.as_deref(),
            (Product::Windrow, _) => Some(&self.windrow),
            (Product::Redis, _) => self.redis.as_deref(),
            (Product::Valkey, _) => self.valkey.as_deref(),
        }
    }
}

/// The program of this name in `PATH`.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|program| program.is_file())
}

/// A directory that is removed when this is dropped. It is in cargo's target directory, which is on a disk where that
/// of temporary files may not be.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let path = super::target().join(format!("bench-{name}-{}", std::process::id()));
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

/// The second node of a replicated set, not running yet.
pub(crate) struct Follower {
    program: PathBuf,
    dir: PathBuf,
    pub(crate) port: u16,
    arguments: Vec<String>,
}

/// A running server, and its replica if it has one.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    processes: Vec<Child>,
}

impl Server {
    /// Starts it; what has a replica is there when the replica has caught up.
    pub(crate) fn start(kind: Kind, programs: &Programs, scratch: &Scratch) -> Result<Self, String> {
        let program = programs.of(kind).ok_or_else(|| format!("{} is not installed", kind.name))?;
        let dir = scratch.path().join(kind.id);
        if (kind.product, kind.mode) == (Product::Windrow, Mode::Replica) {
            return Self::start_pair(kind, program, &dir);
        }
        let port = free_port()?;
        let mut server = Self { kind, port, processes: Vec::new() };
        server.spawn(program, SERVER_CORE, &dir, port, &[])?;
        if kind.mode == Mode::Replica {
            let (replica, primary) = (free_port()?, format!("127.0.0.1 {port}"));
            let dir = scratch.path().join(format!("{}-2", kind.id));
            server.spawn(program, CLIENT_CORE, &dir, replica, &["--replicaof".to_owned(), primary])?;
            server.wait_until("its replica has not caught up", || {
                ask(replica, "INFO replication\r\nQUIT\r\n").is_some_and(|text| text.contains("master_link_status:up"))
            })?;
        }
        Ok(server)
    }

    /// Both nodes of a replicated set that confirms what both have flushed.
    fn start_pair(kind: Kind, program: &Path, dir: &Path) -> Result<Self, String> {
        let pair = Pair::make(program, dir)?;
        let [first, second] = &pair.nodes;
        let mut server = Self { kind, port: first.port, processes: Vec::new() };
        let arguments = pair.arguments(false);
        server.spawn(program, SERVER_CORE, &first.dir, first.port, &arguments)?;
        server.spawn(program, CLIENT_CORE, &second.dir, second.port, &arguments)?;
        server.wait_for_write()?;
        Ok(server)
    }

    /// The first node of a replicated set, which confirms what it has flushed itself, and a place for the second.
    pub(crate) fn start_leader(kind: Kind, programs: &Programs, scratch: &Scratch) -> Result<(Self, Follower), String> {
        let program = programs.of(kind).ok_or_else(|| format!("{} is not built", kind.name))?;
        let pair = Pair::make(program, &scratch.path().join(kind.id))?;
        let arguments = pair.arguments(true);
        let [first, second] = pair.nodes;
        let mut server = Self { kind, port: first.port, processes: Vec::new() };
        server.spawn_among(&all_cores(), program, SERVER_CORE, &first.dir, first.port, &arguments)?;
        server.wait_for_write()?;
        Ok((server, Follower { program: program.to_path_buf(), dir: second.dir, port: second.port, arguments }))
    }

    /// Starts the second node beside the first one.
    pub(crate) fn start_follower(&mut self, follower: &Follower) -> Result<(), String> {
        let Follower { program, dir, port, arguments } = follower;
        self.spawn_among(&all_cores(), program, CLIENT_CORE, dir, *port, arguments)
    }

    fn wait_for_write(&mut self) -> Result<(), String> {
        let port = self.port;
        self.wait_until("it takes no write", || {
            ask(port, "SET first write\r\nQUIT\r\n").is_some_and(|text| text.starts_with("+OK"))
        })
    }

    fn spawn(&mut self, program: &Path, core: &str, dir: &Path, port: u16, extra: &[String]) -> Result<(), String> {
        self.spawn_among(core, program, core, dir, port, extra)
    }

    /// As [`spawn`](Self::spawn), but what is not bound to `core` may run on any of `allowed`.
    fn spawn_among(
        &mut self,
        allowed: &str,
        program: &Path,
        core: &str,
        dir: &Path,
        port: u16,
        extra: &[String],
    ) -> Result<(), String> {
        fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
        let mut command = Command::new("taskset");
        command.args(["-c", allowed]).arg(program).args(arguments(self.kind, core, port, dir)).args(extra);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.processes.push(command.spawn().map_err(|error| format!("cannot run taskset: {error}"))?);
        self.wait_until("it does not answer", || {
            ask(port, "PING\r\nQUIT\r\n").is_some_and(|text| text.starts_with("+PONG"))
        })
    }

    pub(crate) fn wait_until(&mut self, problem: &str, mut is_there: impl FnMut() -> bool) -> Result<(), String> {
        let started = Instant::now();
        while !is_there() {
            for process in &mut self.processes {
                if let Ok(Some(status)) = process.try_wait() {
                    return Err(format!("{} ended: {status}", self.kind.name));
                }
            }
            if started.elapsed() > START_LIMIT {
                return Err(format!("{}: {problem} after {START_LIMIT:?}", self.kind.name));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Its processes.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Memory that is no file's, in bytes.
    pub(crate) fn anonymous_bytes(&self) -> f64 {
        let of = |child: &Child| {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let field = |name| {
                let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
                line.trim().trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) * 1024.0
            };
            field("RssAnon:") + field("RssShmem:")
        };
        self.processes.iter().map(of).sum()
    }
}

impl Drop for Server {
    /// Ends it without a warning.
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ended_already = process.kill();
            let _reaped = process.wait();
        }
    }
}

/// Everything that is answered to a question that ends with `QUIT`.
pub(crate) fn ask(port: u16, question: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    stream.write_all(question.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn all_cores() -> String {
    format!("{SERVER_CORE},{CLIENT_CORE}")
}

fn arguments(kind: Kind, core: &str, port: u16, dir: &Path) -> Vec<String> {
    let cores = format!("{core}-{core}");
    let (dir, port) = (dir.display().to_string(), port.to_string());
    let mut words = match kind.product {
        Product::Windrow => vec!["serve", "--admin-port", "0", "--cores", &cores, "--partitions", "1", "--durability"],
        Product::Redis | Product::Valkey => {
            vec!["--save", "", "--auto-aof-rewrite-percentage", "0", "--repl-diskless-sync-delay", "0", "--appendonly"]
        }
    };
    words.extend(match (kind.product, kind.mode) {
        (Product::Windrow, Mode::Later | Mode::Never) => &["memory"][..],
        (Product::Windrow, Mode::Always | Mode::Replica) => &["commit"],
        (_, Mode::Never) => &["no"],
        (_, Mode::Later) => &["yes", "--appendfsync", "everysec"],
        (_, Mode::Always | Mode::Replica) => &["yes", "--appendfsync", "always"],
    });
    words.extend(["--dir", &dir, "--port", &port]);
    words.into_iter().map(str::to_owned).collect()
}

pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| format!("no free port: {error}"))?;
    listener.local_addr().map(|addr| addr.port()).map_err(|error| format!("no free port: {error}"))
}
