//! A replicated set of nodes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::hosts::Hosts;
use crate::support::{Client, Reply, Server, WINDROW, clean, free_port, ok, until, windrow};

/// Segments of this length fill up within a test.
const SEGMENT_SIZE: &str = "64KiB";

/// What `windrow init` has printed.
pub(crate) struct Identity {
    pub(crate) cluster: String,
    pub(crate) replica: String,
}

/// Makes a data directory.
pub(crate) fn init(dir: &Path, cluster: Option<&str>) -> Identity {
    let mut args = vec!["init", "--dir", dir.to_str().unwrap(), "--partitions", "1"];
    args.extend(cluster.iter().flat_map(|cluster| ["--cluster", cluster]));
    let output = windrow(&args).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    Identity { cluster: field("cluster "), replica: field("replica ") }
}

/// One node of a set, running or not.
pub(crate) struct Member {
    pub(crate) dir: PathBuf,
    pub(crate) identity: Identity,
    pub(crate) peer_port: u16,
    pub(crate) client_port: u16,
    pub(crate) server: Option<Server>,
}

/// A replicated set of nodes.
pub(crate) struct Set {
    pub(crate) root: TempDir,
    pub(crate) members: Vec<Member>,
    secret: PathBuf,
    /// What is given to every node beside its own.
    pub(crate) extra: Vec<String>,
    pub(crate) lease: &'static str,
    /// What `peers` calls the machine that they run on, instead of its address.
    pub(crate) name: Option<&'static str>,
    /// The hosts that they run on, each on its own; all on loopback where there are none.
    pub(crate) hosts: Option<Hosts>,
}

impl Set {
    /// A set of so many nodes, none of them running; the first one leads where nobody else does.
    pub(crate) fn new(count: usize) -> Self {
        let mut set = Self::without_leader(count);
        set.extra = vec!["--leader".to_owned(), set.members[0].identity.replica.clone()];
        set
    }

    /// As [`new`](Self::new), without a leader by configuration.
    pub(crate) fn without_leader(count: usize) -> Self {
        let root = tempfile::tempdir().unwrap();
        let secret = root.path().join("secret");
        std::fs::write(&secret, "twenty-four bytes at the least, or so\n").unwrap();
        std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        let mut members: Vec<Member> = Vec::new();
        for number in 0..count {
            let dir = root.path().join(format!("node-{number}"));
            let identity = init(&dir, members.first().map(|first| first.identity.cluster.as_str()));
            members.push(Member { dir, identity, peer_port: free_port(), client_port: free_port(), server: None });
        }
        Self { root, members, secret, extra: Vec::new(), lease: "1s", name: None, hosts: None }
    }

    /// Starts all nodes, each on a host of its own, and waits until the first one leads. `None` where such hosts cannot
    /// be made.
    pub(crate) fn on_hosts(count: usize) -> Option<Self> {
        let hosts = Hosts::new(count)?;
        let mut set = Self::new(count);
        set.hosts = Some(hosts);
        (0..count).for_each(|number| set.start(number, &[]));
        set.wait_for_leader(0);
        Some(set)
    }

    /// The hosts.
    pub(crate) fn hosts(&self) -> &Hosts {
        self.hosts.as_ref().expect("a set on hosts")
    }

    /// Where a node is reached.
    pub(crate) fn host(&self, number: usize) -> String {
        match (self.name, &self.hosts) {
            (Some(name), _) => name.to_owned(),
            (None, Some(_)) => Hosts::address(number),
            (None, None) => "127.0.0.1".to_owned(),
        }
    }

    /// The setting `peers` as node `own` has it, the others' peer ports replaced by `port_of`.
    pub(crate) fn peers(&self, own: usize, port_of: &dyn Fn(usize) -> u16) -> String {
        let member = |(number, member): (usize, &Member)| {
            let port = if number == own { member.peer_port } else { port_of(number) };
            format!("{}@{}:{port}/{}", member.identity.replica, self.host(number), member.client_port)
        };
        self.members.iter().enumerate().map(member).collect::<Vec<_>>().join(",")
    }

    /// Starts a node.
    pub(crate) fn start(&mut self, number: usize, extra: &[&str]) {
        let ports: Vec<u16> = self.members.iter().map(|member| member.peer_port).collect();
        self.start_through(number, &|other| ports[other], extra);
    }

    /// As [`start`](Self::start), with the others reached at other ports.
    pub(crate) fn start_through(&mut self, number: usize, port_of: &dyn Fn(usize) -> u16, extra: &[&str]) {
        let args = self.settings(number, port_of, extra);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut program = vec![WINDROW];
        if let Some(hosts) = &self.hosts {
            program.splice(..0, hosts.command(number));
        }
        let server = Server::start_by(&program, &self.members[number].dir, &args);
        self.members[number].server = Some(server);
    }

    /// The settings of a node, but for its directory.
    fn settings(&self, number: usize, port_of: &dyn Fn(usize) -> u16, extra: &[&str]) -> Vec<String> {
        let peers = self.peers(number, port_of);
        let port = self.members[number].client_port.to_string();
        let secret = self.secret.to_str().unwrap();
        let host = self.host(number);
        let mut args = vec!["--port", &port, "--peers", &peers, "--peer-secret-file", secret];
        args.extend(["--lease", self.lease, "--segment-size", SEGMENT_SIZE]);
        if self.hosts.is_some() {
            args.extend(["--bind", &host, "--protected-mode", "no"]);
        }
        args.extend(self.extra.iter().map(String::as_str));
        args.extend(extra);
        args.into_iter().map(str::to_owned).collect()
    }

    /// Starts a node that does not start. Returns its status and what it says.
    pub(crate) fn refused(&self, number: usize) -> (Option<i32>, String) {
        let settings = self.settings(number, &|other| self.members[other].peer_port, &[]);
        let dir = self.members[number].dir.to_str().unwrap();
        // One that does start is ended by and by.
        let mut args = vec!["60", WINDROW, "serve", "--dir", dir, "--cores", "1", "--admin-port", "0"];
        args.extend(settings.iter().map(String::as_str));
        let output = clean("timeout", &args).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Starts all nodes and waits until the first one leads.
    pub(crate) fn running(count: usize) -> Self {
        let mut set = Self::new(count);
        (0..count).for_each(|number| set.start(number, &[]));
        set.wait_for_leader(0);
        set
    }

    pub(crate) fn server(&self, number: usize) -> &Server {
        self.members[number].server.as_ref().expect("the node runs")
    }

    pub(crate) fn connect(&self, number: usize) -> Client {
        let address = self.server(number).address;
        let connect = || Client::connect(address).unwrap();
        self.hosts.as_ref().map_or_else(connect, |hosts| hosts.on(number, connect))
    }

    /// A connection that reads from a follower.
    pub(crate) fn reader(&self, number: usize) -> Client {
        let mut client = self.connect(number);
        assert_eq!(client.call(&["READONLY"]).unwrap(), ok());
        client
    }

    /// Ends a node as a crash would.
    pub(crate) fn kill(&mut self, number: usize) {
        self.members[number].server.take().expect("the node runs").kill();
    }

    /// Ends a node in order, and returns what it has said.
    pub(crate) fn stop(&mut self, number: usize) -> String {
        let server = self.members[number].server.take().expect("the node runs");
        server.signal("TERM");
        let (status, said) = server.wait();
        assert!(status.success(), "{status}\n{said}");
        said
    }

    /// One line of `INFO replication`.
    pub(crate) fn info(&self, number: usize, field: &str) -> Option<String> {
        let Ok(Reply::Bulk(Some(text))) = self.connect(number).call(&["INFO", "replication"]) else { return None };
        text.lines().find_map(|line| Some(line.strip_prefix(field)?.strip_prefix(':')?.to_owned()))
    }

    pub(crate) fn part(&self, number: usize) -> String {
        self.info(number, "replication_part").unwrap_or_default()
    }

    pub(crate) fn wait_for_leader(&self, number: usize) {
        until(&format!("node {number} leads"), || self.part(number) == "leader");
    }

    pub(crate) fn offset(&self, number: usize) -> u64 {
        self.info(number, "master_repl_offset").and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// Waits until every running node has committed as much as node `leader`.
    pub(crate) fn settle(&self, leader: usize) {
        for number in 0..self.members.len() {
            if self.members[number].server.is_some() {
                until(&format!("node {number} has everything"), || {
                    let end = self.offset(leader);
                    end > 0 && self.offset(number) == end
                });
            }
        }
    }

    /// Has a node lead, by the command line.
    pub(crate) fn promote(&self, number: usize, extra: &[&str]) -> Result<String, String> {
        let port = self.members[number].client_port.to_string();
        let host = self.host(number);
        let args = [&["promote", "--host", &host, "--port", &port][..], extra].concat();
        let output = match &self.hosts {
            Some(hosts) => {
                let program = hosts.command(number);
                clean(program[0], &[&program[1..], &[WINDROW], &args].concat()).output().unwrap()
            }
            None => windrow(&args).output().unwrap(),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Stops all nodes and checks that all logs are whole and hold the same bytes.
    pub(crate) fn end_with_the_same_logs(mut self, leader: usize) {
        self.settle(leader);
        for number in 0..self.members.len() {
            if self.members[number].server.is_some() {
                self.stop(number);
            }
        }
        for number in (0..self.members.len()).filter(|number| *number != leader) {
            let (one, other) = (&self.members[leader].dir, &self.members[number].dir);
            let args = ["log", "verify", one.to_str().unwrap(), "--against", other.to_str().unwrap()];
            let output = windrow(&args).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success() && text.contains("the same: "), "{text}");
        }
    }
}

impl Drop for Set {
    /// What the nodes have said is worth reading where a test fails.
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (number, member) in self.members.iter().enumerate() {
                let said = member.server.as_ref().map(Server::said).unwrap_or_default();
                eprintln!("node {number} ({}):\n{}", member.identity.replica, said.join("\n"));
            }
        }
    }
}

/// Writes `count` keys with this prefix, each confirmed.
pub(crate) fn write(client: &mut Client, prefix: &str, count: usize) {
    let value = "v".repeat(100);
    for number in 0..count {
        let reply = client.call(&["SET", &format!("{prefix}{number}"), &value]).unwrap();
        assert_eq!(reply, ok(), "{prefix}{number}");
    }
}

/// As [`write`], in batches.
pub(crate) fn fill(client: &mut Client, prefix: &str, count: usize) {
    let value = "v".repeat(1_000);
    for batch in 0..count.div_ceil(100) {
        let keys: Vec<String> = (0..100).map(|number| format!("{prefix}{}", batch * 100 + number)).collect();
        let commands: Vec<[&str; 3]> = keys.iter().map(|key| ["SET", key, &value]).collect();
        let commands: Vec<&[&str]> = commands.iter().map(<[&str; 3]>::as_slice).collect();
        client.send(&commands).unwrap();
        for key in &keys {
            assert_eq!(client.receive().unwrap(), ok(), "{key}");
        }
    }
}

/// Checks that all keys of [`write`] or [`fill`] can be read.
pub(crate) fn check(client: &mut Client, prefix: &str, count: usize) {
    for number in 0..count {
        let reply = client.call(&["GET", &format!("{prefix}{number}")]).unwrap();
        assert!(matches!(&reply, Reply::Bulk(Some(value)) if value.starts_with('v')), "{prefix}{number}: {reply:?}");
    }
}

/// Whether a reply is an error with this prefix.
pub(crate) fn is_error(reply: &std::io::Result<Reply>, prefix: &str) -> bool {
    matches!(reply, Ok(Reply::Error(text)) if text.starts_with(prefix))
}

/// An address on loopback.
pub(crate) fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}
