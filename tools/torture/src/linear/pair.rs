//! A leader and its standby on one machine, over one directory.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::system::{Endpoints, System, describe};
use crate::Error;
use crate::node::{Node, PATIENCE, Setup};
use crate::resp::{Client, Reply};
use crate::witness::machine;

/// Two processes: whoever leads, and who takes over when it ends. Clients read from both.
pub struct Pair {
    leads: Setup,
    follows: Setup,
    leader: Option<Node>,
    standby: Option<Node>,
    endpoints: Endpoints,
    _folder: tempfile::TempDir,
}

impl Pair {
    /// Starts both on an empty directory.
    ///
    /// # Errors
    /// One of them does not start.
    pub fn start(binary: &Path, flags: &[String]) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
        let dir = folder.path().join("data");
        let mut leads = Setup::new(binary, &dir, &["--partitions", "3", "--segment-size", "1MiB"]);
        let mut follows = Setup::standby(binary, &dir, &["--segment-size", "1MiB"]);
        leads.flags.extend_from_slice(flags);
        follows.flags.extend_from_slice(flags);
        let endpoints = Endpoints::default();
        let mut pair = Self { leads, follows, leader: None, standby: None, endpoints, _folder: folder };
        pair.leader = Some(Node::start(&pair.leads)?);
        pair.standby = Some(Node::start(&pair.follows)?);
        pair.tell();
        Ok(pair)
    }

    fn tell(&self) {
        let nodes = [&self.leader, &self.standby];
        self.endpoints.set(nodes.into_iter().flatten().map(|node| node.address).collect());
    }

    /// The standby has become the leader, and gets a standby of its own.
    fn succeed(&mut self) -> Result<(), Error> {
        self.leader = self.standby.take();
        self.tell();
        let begun = Instant::now();
        while !self.leads() {
            if begun.elapsed() > PATIENCE {
                let text = format!("the standby does not take over within {PATIENCE:?}");
                return Error::violation(format!("{text}:\n{}", self.describe()));
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.standby = Some(Node::start(&self.follows)?);
        self.tell();
        Ok(())
    }

    fn leads(&self) -> bool {
        let Some(leader) = &self.leader else { return false };
        let role = Client::connect(leader.address).and_then(|mut client| client.call(&[b"ROLE"]));
        matches!(role, Ok(Reply::Array(Some(parts))) if parts.first() == Some(&Reply::Bulk(Some(b"master".to_vec()))))
    }

    fn pause(node: Option<&Node>, random: &mut fastrand::Rng) {
        if let Some(node) = node {
            node.signal(Signal::STOP);
            thread::sleep(Duration::from_millis(random.u64(20..400)));
            node.signal(Signal::CONT);
        }
    }
}

impl System for Pair {
    fn name(&self) -> &'static str {
        "a leader and its standby"
    }

    fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    fn describe(&self) -> String {
        [&self.leader, &self.standby].map(|node| describe(node.as_ref())).concat() + &machine()
    }

    fn faults(&self) -> &'static [&'static str] {
        &["kill leader", "kill standby", "pause leader", "pause standby", "kill both"]
    }

    fn inject(&mut self, fault: &str, random: &mut fastrand::Rng) -> Result<(), Error> {
        let kill = |node: &mut Option<Node>| node.take().map_or((), Node::kill);
        match fault {
            "kill leader" => {
                kill(&mut self.leader);
                self.succeed()?;
            }
            "kill standby" => {
                kill(&mut self.standby);
                self.tell();
                self.standby = Some(Node::start(&self.follows)?);
            }
            "kill both" => {
                // The standby first, so that it does not take over.
                kill(&mut self.standby);
                kill(&mut self.leader);
                self.leader = Some(Node::start(&self.leads)?);
                self.standby = Some(Node::start(&self.follows)?);
            }
            "pause leader" => Self::pause(self.leader.as_ref(), random),
            _ => Self::pause(self.standby.as_ref(), random),
        }
        self.tell();
        Ok(())
    }
}
