//! Three nodes that replicate, with a network between them that can be cut.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::proxy::Proxy;
use super::system::{Endpoints, System, describe};
use crate::Error;
use crate::node::{Node, PATIENCE, Setup};
use crate::resp::{Client, Reply};
use crate::witness::machine;

const NODES: usize = 3;
/// How long followers stay with a leader that is silent. Shorter than the longest pause.
const LEASE: &str = "500ms";
/// The longest pause and the longest partition.
const HURT_MS_MAX: u64 = 2_000;

/// Where all nodes listen for clients and for each other: each has an address of its own, which nobody else uses.
const CLIENT_PORT: u16 = 6_379;
const PEER_PORT: u16 = 16_379;

struct Member {
    dir: PathBuf,
    replica: String,
    address: Ipv4Addr,
    node: Option<Node>,
}

impl Member {
    fn clients(&self) -> SocketAddr {
        (self.address, CLIENT_PORT).into()
    }

    fn peers(&self) -> SocketAddr {
        (self.address, PEER_PORT).into()
    }
}

/// Three voters, each of which reaches the others through proxies of its own.
pub struct Cluster {
    binary: PathBuf,
    flags: Vec<String>,
    secret: PathBuf,
    members: Vec<Member>,
    /// By who asks and who is asked.
    links: Vec<Vec<Option<Proxy>>>,
    endpoints: Endpoints,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Makes and starts three nodes, and waits until one of them leads.
    ///
    /// # Errors
    /// They do not start, or none leads.
    pub fn start(binary: &Path, flags: &[String]) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
        let secret = folder.path().join("secret");
        std::fs::write(&secret, "the secret of a set that lives for a minute\n")
            .map_err(Error::io("write a secret"))?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, private).map_err(Error::io("make the secret private"))?;
        let mut members: Vec<Member> = Vec::new();
        let mut name = None;
        for number in 0..NODES {
            let dir = folder.path().join(format!("node-{number}"));
            let (cluster, replica) = init(binary, &dir, name.as_deref())?;
            name.get_or_insert(cluster);
            members.push(Member { dir, replica, address: free_address()?, node: None });
        }
        let mut cluster = Self {
            binary: binary.to_path_buf(),
            flags: flags.to_vec(),
            secret,
            links: links(&members).map_err(Error::io("make a network"))?,
            members,
            endpoints: Endpoints::default(),
            _folder: folder,
        };
        for number in 0..NODES {
            cluster.up(number)?;
        }
        cluster.endpoints.set(cluster.members.iter().map(Member::clients).collect());
        cluster.await_leader()?;
        Ok(cluster)
    }

    fn up(&mut self, number: usize) -> Result<(), Error> {
        let own = &self.members[number];
        let peer = |(other, member): (usize, &Member)| {
            let link = self.links[number][other].as_ref();
            let port = link.map_or(PEER_PORT, |link| link.port);
            format!("{}@{}:{port}/{CLIENT_PORT}", member.replica, member.address)
        };
        let peers: Vec<String> = self.members.iter().enumerate().map(peer).collect();
        let (peers, secret) = (peers.join(","), self.secret.display().to_string());
        let (address, port) = (own.address.to_string(), CLIENT_PORT.to_string());
        let mut flags =
            vec!["--cores", "1", "--segment-size", "1MiB", "--lease", LEASE, "--port", &port, "--bind", &address];
        flags.extend(["--peers", &peers, "--peer-secret-file", &secret, "--leader", &self.members[0].replica]);
        let mut setup = Setup::new(&self.binary, &own.dir, &flags);
        setup.flags.extend_from_slice(&self.flags);
        self.members[number].node = Some(Node::start(&setup)?);
        Ok(())
    }

    /// One field of `INFO replication`, none where the node does not answer.
    fn info(&self, number: usize, field: &str) -> Option<String> {
        let mut client = Client::connect(self.members[number].clients()).ok()?;
        client.set_patience(Duration::from_secs(2)).ok()?;
        let Ok(Reply::Bulk(Some(text))) = client.call(&[b"INFO", b"replication"]) else { return None };
        let text = String::from_utf8(text).ok()?;
        text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned()))
    }

    fn leads(&self, number: usize) -> bool {
        self.members[number].node.is_some() && self.info(number, "replication_part").as_deref() == Some("leader")
    }

    fn leader(&self) -> Option<usize> {
        (0..NODES).find(|&number| self.leads(number))
    }

    fn await_leader(&self) -> Result<usize, Error> {
        self.until("one of them leads", Self::leader)
    }

    fn until<T>(&self, what: &str, mut found: impl FnMut(&Self) -> Option<T>) -> Result<T, Error> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Error::violation(format!("within {PATIENCE:?} it never was so that {what}:\n{}", self.describe()))
    }

    /// How a node is, for people.
    fn describe_one(&self, number: usize) -> String {
        let Member { replica, node, .. } = &self.members[number];
        format!("node {number}, replica {replica}: {}", describe(node.as_ref()))
    }

    /// Has one of `candidates` lead: each is asked in turn until one does.
    fn promote(&self, candidates: &[usize]) -> Result<usize, Error> {
        let mut turn = 0;
        self.until("one of those asked leads", |cluster| {
            let candidate = candidates[turn % candidates.len()];
            if cluster.leads(candidate) {
                return Some(candidate);
            }
            turn += 1;
            let next = candidates[turn % candidates.len()];
            let mut client = Client::connect(cluster.members[next].clients()).ok()?;
            client.set_patience(Duration::from_secs(2)).ok()?;
            let _refused = client.call(&[b"REPLICAOF", b"NO", b"ONE"]);
            let asked = Instant::now();
            while asked.elapsed() < Duration::from_millis(700) {
                if cluster.leads(next) {
                    return Some(next);
                }
                thread::sleep(Duration::from_millis(20));
            }
            None
        })
    }

    fn others(of: usize) -> Vec<usize> {
        (0..NODES).filter(|&number| number != of).collect()
    }

    fn kill(&mut self, number: usize) {
        if let Some(node) = self.members[number].node.take() {
            node.kill();
        }
    }

    fn signal(&self, number: usize, signal: Signal) {
        if let Some(node) = &self.members[number].node {
            node.signal(signal);
        }
    }

    /// Takes `number` off the network of the others, or puts it back.
    fn isolate(&self, number: usize, how: Option<bool>) {
        for other in Self::others(number) {
            for link in [&self.links[number][other], &self.links[other][number]].into_iter().flatten() {
                match how {
                    Some(closes) => link.cut(closes),
                    None => link.mend(),
                }
            }
        }
    }

    fn hand_over(&self, leader: usize, to: usize) -> Result<(), Error> {
        let (address, port) = (self.members[to].address.to_string(), CLIENT_PORT.to_string());
        let Ok(mut client) = Client::connect(self.members[leader].clients()) else { return Ok(()) };
        let command: [&[u8]; 4] = [b"FAILOVER", b"TO", address.as_bytes(), port.as_bytes()];
        let _refused = client.call(&command);
        // Whoever led goes on where nobody else takes over in time.
        self.until("one of them leads after a hand-over", |set| {
            let states = Self::others(to).into_iter().map(|number| set.info(number, "replication_part"));
            let settled = !states.flatten().any(|part| part == "handing-over");
            set.leader().filter(|_| settled)
        })
        .map(|_| ())
    }
}

impl System for Cluster {
    fn name(&self) -> &'static str {
        "three nodes"
    }

    fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    fn describe(&self) -> String {
        (0..NODES).map(|number| self.describe_one(number)).collect::<String>() + &machine()
    }

    fn faults(&self) -> &'static [&'static str] {
        &[
            "kill leader",
            "pause leader",
            "partition leader",
            "hand over",
            "kill follower",
            "partition follower",
            "kill all",
        ]
    }

    fn inject(&mut self, fault: &str, random: &mut fastrand::Rng) -> Result<(), Error> {
        let leader = self.await_leader()?;
        let mut others = Self::others(leader);
        random.shuffle(&mut others);
        let hurt = Duration::from_millis(random.u64(50..HURT_MS_MAX));
        let replaced = random.bool();
        match fault {
            "kill leader" => {
                self.kill(leader);
                if replaced {
                    self.promote(&others)?;
                }
                self.up(leader)?;
            }
            "kill follower" => {
                self.kill(others[0]);
                thread::sleep(hurt / 4);
                self.up(others[0])?;
            }
            "kill all" => {
                (0..NODES).for_each(|number| self.kill(number));
                (0..NODES).try_for_each(|number| self.up(number))?;
            }
            "pause leader" => {
                self.signal(leader, Signal::STOP);
                thread::sleep(hurt);
                let promoted = if replaced { self.promote(&others).map(|_| ()) } else { Ok(()) };
                self.signal(leader, Signal::CONT);
                promoted?;
            }
            "partition leader" => {
                self.isolate(leader, Some(random.bool()));
                let promoted = if replaced { self.promote(&others).map(|_| ()) } else { Ok(()) };
                thread::sleep(hurt);
                self.isolate(leader, None);
                promoted?;
            }
            "partition follower" => {
                self.isolate(others[0], Some(random.bool()));
                thread::sleep(hurt);
                self.isolate(others[0], None);
            }
            _ => self.hand_over(leader, others[0])?,
        }
        // Without a leader nothing goes on: somebody has to see to it, as an operator would.
        if self.leader().is_none() {
            thread::sleep(Duration::from_millis(200));
            if self.leader().is_none() {
                self.promote(&[0, 1, 2])?;
            }
        }
        Ok(())
    }
}

/// An address of this machine that no other run has. All of 127.0.0.0/8 is loopback.
fn free_address() -> Result<Ipv4Addr, Error> {
    let draw = || Ipv4Addr::new(127, fastrand::u8(1..255), fastrand::u8(..), fastrand::u8(1..255));
    let is_free =
        |address: &Ipv4Addr| [CLIENT_PORT, PEER_PORT].iter().all(|&port| TcpListener::bind((*address, port)).is_ok());
    (0..100).map(|_| draw()).find(is_free).ok_or_else(|| Error::Idle("no loopback address is free".to_owned()))
}

fn links(members: &[Member]) -> std::io::Result<Vec<Vec<Option<Proxy>>>> {
    let link = |from: usize, to: usize| match from == to {
        true => Ok(None),
        false => Proxy::new(members[to].peers()).map(Some),
    };
    (0..members.len()).map(|from| (0..members.len()).map(|to| link(from, to)).collect()).collect()
}

/// Makes a data directory. Returns the names of its cluster and of itself.
fn init(binary: &Path, dir: &Path, cluster: Option<&str>) -> Result<(String, String), Error> {
    let mut command = Command::new(binary);
    command.args(["init", "--partitions", "1", "--dir"]).arg(dir).stdin(Stdio::null());
    command.args(cluster.iter().flat_map(|cluster| ["--cluster", cluster]));
    let output = command.output().map_err(Error::io(format!("run {}", binary.display())))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(|rest| rest.trim().to_owned());
    match (field("cluster "), field("replica ")) {
        (Some(cluster), Some(replica)) if output.status.success() => Ok((cluster, replica)),
        _ => Err(Error::Command {
            command: format!("windrow init --dir {}", dir.display()),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
    }
}
