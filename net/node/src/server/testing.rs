//! What the tests of this module share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use windrow_core::types::{ClusterId, PartitionMap, UnixMillis};
use windrow_proto::resp::{Args, ArgsBuf, Encoder, Protocol};

use super::identity::Identity;
use super::node::Node;
use crate::settings::Configured;
use crate::shard::{CoreView, Effect, Now, PartitionView, Session};

pub(super) fn identity(partitions: u16) -> Identity {
    Identity {
        run_id: "0".repeat(40),
        cluster: ClusterId([0xab; 16]),
        port: 6_379,
        executable: "/usr/bin/windrow".to_owned(),
        started: UnixMillis::new(1_000_000).unwrap(),
        partitions: PartitionMap::new(partitions).unwrap(),
        endpoints: Vec::new(),
    }
}

pub(super) fn node(cores: usize) -> Arc<Node> {
    Arc::new(Node::new(Configured::defaults(), identity(2), cores).unwrap())
}

pub(super) fn session() -> Session {
    let peer = SocketAddr::from(([127, 0, 0, 1], 50_000));
    let mut session = Session::new(7, peer, SocketAddr::from(([127, 0, 0, 1], 6_379)), Instant::now());
    session.authenticated = true;
    session
}

pub(super) fn now() -> Now {
    Now { unix: UnixMillis::new(1_700_000_000_123).unwrap(), instant: Instant::now() }
}

/// A command line.
pub(super) struct Request(ArgsBuf);

impl Request {
    pub(super) fn new(args: &[&[u8]]) -> Self {
        let mut line = ArgsBuf::new();
        args.iter().for_each(|arg| line.push(arg));
        Self(line)
    }

    pub(super) fn args(&self) -> Args<'_> {
        self.0.args()
    }

    /// The reply in RESP2 of a command that is executed by `run`.
    pub(super) fn run(&self, run: impl FnOnce(Args<'_>, &mut Encoder<'_>)) -> String {
        let mut reply = Vec::new();
        run(self.args(), &mut Encoder::new(&mut reply, Protocol::Resp2));
        String::from_utf8(reply).unwrap()
    }
}

/// Cores of a node without sockets, to run what a command wants of every core.
pub(super) struct Cores(Vec<OneCore>);

struct OneCore {
    number: usize,
    sessions: Vec<Session>,
}

impl CoreView for OneCore {
    fn core(&self) -> usize {
        self.number
    }

    fn now(&self) -> Now {
        now()
    }

    fn visit_sessions(&mut self, visit: &mut dyn FnMut(&mut Session)) {
        self.sessions.iter_mut().for_each(visit);
    }

    fn session_count(&self) -> usize {
        self.sessions.len()
    }

    fn visit_partitions(&self, _visit: &mut dyn FnMut(PartitionView)) {}
}

impl Cores {
    /// One core for each list of client numbers. Client `n` has port 50000 + `n`.
    pub(super) fn with_sessions(cores: &[&[u64]]) -> Self {
        let client = |&id: &u64| {
            let mut client = session();
            client.id = id;
            client.peer.set_port(50_000 + u16::try_from(id).unwrap());
            client
        };
        let core = |(number, ids): (usize, &&[u64])| OneCore { number, sessions: ids.iter().map(client).collect() };
        Self(cores.iter().enumerate().map(core).collect())
    }

    /// Runs the effect of a command to the end.
    pub(super) fn finish(&mut self, effect: Effect, session: &mut Session, reply: &mut Vec<u8>) {
        if let Effect::EveryCore(work) = effect {
            let pieces = self.0.iter_mut().map(|core| (work.task)(core)).collect();
            (work.finish)(session, pieces, reply);
        }
    }

    pub(super) fn visit(&mut self, mut visit: impl FnMut(&mut dyn CoreView)) {
        self.0.iter_mut().for_each(|core| visit(core));
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.0.iter().flat_map(|core| &core.sessions)
    }
}
