//! What is tested: something that serves clients at one or several addresses, and that can be hurt.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use rustix::process::Signal;

use crate::Error;
use crate::node::{Node, Setup};
use crate::witness::machine;

/// Of what a node has written to stderr, so many lines are shown.
const SAID_MAX: usize = 40;

/// Where clients may connect at the moment. Shared: a node that is started again has another address.
#[derive(Clone, Default)]
pub struct Endpoints(Arc<RwLock<Vec<SocketAddr>>>);

impl Endpoints {
    /// All of them.
    #[must_use]
    pub fn get(&self) -> Vec<SocketAddr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces them.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }
}

/// A system under test. Several nodes that are one store are one system.
pub trait System {
    /// What it is, for the report.
    fn name(&self) -> &'static str;

    /// Where it serves.
    fn endpoints(&self) -> Endpoints;

    /// The names of the faults that it can be given.
    fn faults(&self) -> &'static [&'static str];

    /// How it is, for people who look into a failure.
    fn describe(&self) -> String;

    /// Does one of them, and mends it: when this returns, the system serves again.
    ///
    /// # Errors
    /// The system does not come back.
    fn inject(&mut self, fault: &str, random: &mut fastrand::Rng) -> Result<(), Error>;
}

/// What can be seen of a node, and what it has said last.
pub(super) fn describe(node: Option<&Node>) -> String {
    let Some(node) = node else { return "a node that does not run\n".to_owned() };
    let said = node.said();
    let last: String = said.iter().rev().take(SAID_MAX).rev().map(|line| format!("    {line}\n")).collect();
    node.witness.look() + &last
}

/// One node by itself.
pub struct SingleNode {
    setup: Setup,
    node: Option<Node>,
    endpoints: Endpoints,
    forgets: bool,
    _folder: tempfile::TempDir,
}

impl SingleNode {
    /// Starts a node on an empty directory. With `forgets`, it loses its data when it is killed: a loss that is
    /// planted, to see that it is found.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(binary: &Path, flags: &[String], forgets: bool) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::io("make a temporary folder"))?;
        let dir = folder.path().join("data");
        let mut setup = Setup::new(binary, &dir, &["--partitions", "3", "--segment-size", "1MiB"]);
        setup.flags.extend_from_slice(flags);
        let mut system = Self { setup, node: None, endpoints: Endpoints::default(), forgets, _folder: folder };
        system.up()?;
        Ok(system)
    }

    fn up(&mut self) -> Result<(), Error> {
        let node = Node::start(&self.setup)?;
        self.endpoints.set(vec![node.address]);
        self.node = Some(node);
        Ok(())
    }
}

impl System for SingleNode {
    fn name(&self) -> &'static str {
        "one node"
    }

    fn endpoints(&self) -> Endpoints {
        self.endpoints.clone()
    }

    fn faults(&self) -> &'static [&'static str] {
        &["kill", "pause"]
    }

    fn describe(&self) -> String {
        describe(self.node.as_ref()) + &machine()
    }

    fn inject(&mut self, fault: &str, random: &mut fastrand::Rng) -> Result<(), Error> {
        let Some(node) = self.node.take() else { return self.up() };
        if fault == "kill" {
            node.kill();
            if self.forgets {
                std::fs::remove_dir_all(&self.setup.dir).map_err(Error::io("remove the data"))?;
            }
            return self.up();
        }
        node.signal(Signal::STOP);
        thread::sleep(Duration::from_millis(random.u64(20..300)));
        node.signal(Signal::CONT);
        self.node = Some(node);
        Ok(())
    }
}
