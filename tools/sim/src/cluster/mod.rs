//! Several replicas of one partition, the network between them, and clients: the real partition, protocol, commands and
//! wire format, in a world that one seed decides.
//!
//! Checked all the time: watermarks are in order and what they say is on the disk; whatever counts as committed is, byte
//! by byte, on as many voters' disks as the rule asks for, and every replica that calls it committed has the same bytes;
//! an epoch has one leader, which has all that was committed; replies depend on committed records only and are those of
//! the model; a leader that reads from memory has all that anybody was shown; what a replica has vouched for is there
//! after every crash; the state is what the log says, key by key. At the end the faults stop, and all must converge.

mod checks;
mod clients;
mod committed;
mod damage;
mod drive;
mod faults;
mod network;
mod node;
mod receive;
mod swarm;

use std::collections::BTreeMap;

use windrow_core::replication::Config;
use windrow_core::types::{ClusterId, Epoch, Lsn, PartitionId, PartitionMap};
use windrow_proto::data::Ctx;
use windrow_proto::resp::Protocol;

use crate::client::Generator;
use crate::keys::keys;
use crate::mutation::Mutation;
use crate::replica::Replica;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::trace::Trace;
use committed::Committed;
use faults::Fault;
use network::Network;
use node::{Node, Opening, id};
use receive::Take;
use swarm::ClusterSwarm;

/// Two clocks drift apart by less than this.
const DRIFT_PPM: u64 = 20_000;
/// Of a lease, so much is not relied on: more than the drift.
const LEASE_MARGIN_PERCENT: u64 = 10;
const TICK_US: u64 = 5_000;
/// After the last fault everything must have come to rest within this.
const REST_US: u64 = 120_000_000;

#[derive(Debug)]
enum Job {
    Flushed,
    Prepared { base: Lsn, len: u64 },
    SuperblockWritten { generation: u64 },
    PutAside,
    MovedAside { bases: Vec<Lsn> },
    Removed { bases: Vec<Lsn> },
}

enum Event {
    Message { from: usize, to: usize, bytes: Vec<u8> },
    Pieces { from: usize, to: usize, connection: u64 },
    Connect { a: usize, b: usize, connection: u64 },
    Done { node: usize, life: u64, job: Job },
    Tick { node: usize, life: u64 },
    Start { node: usize },
    Client { client: usize },
    Fault(Fault),
}

impl Event {
    /// Whose process it takes.
    const fn node(&self) -> Option<usize> {
        match self {
            Self::Message { to, .. } | Self::Pieces { to, .. } => Some(*to),
            Self::Done { node, .. } | Self::Tick { node, .. } => Some(*node),
            _ => None,
        }
    }
}

pub(crate) struct World {
    rng: Rng,
    swarm: ClusterSwarm,
    mutation: Option<Mutation>,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
    now: u64,
    step: u64,
    queue: BTreeMap<(u64, u64), Event>,
    next: u64,
    nodes: Vec<Node>,
    network: Network,
    generator: Generator,
    ctx: Ctx,
    committed: Committed,
    leaders: BTreeMap<Epoch, usize>,
    /// What the log wants of the bytes behind the message that is being handled.
    received: Option<Take>,
    healed: bool,
    /// The replica whose disk has rotted or was lost, until it has everything again.
    damaged: Option<usize>,
    /// The newest epoch of a leader that a lost disk may have forgotten to have promised.
    forgotten: Epoch,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let swarm = ClusterSwarm::draw(&mut rng);
        let map = PartitionMap::new(1).expect("one partition");
        let mut ctx = Ctx::new(map);
        if swarm.commands.resp3 {
            ctx.protocol = Protocol::Resp3;
        }
        let count = swarm.voters + swarm.learners;
        let nodes = (0..count).map(|at| Self::node(at, &swarm, &mut rng)).collect();
        let keys = keys(&swarm.commands, map, &mut rng);
        Self {
            trace: Trace::new(verbose),
            stats: Stats { seeds: 1, ..Stats::default() },
            now: 0,
            step: 0,
            queue: BTreeMap::new(),
            next: 0,
            nodes,
            network: Network::new(count),
            generator: Generator::new(swarm.commands.clone(), keys),
            ctx,
            committed: Committed::default(),
            leaders: BTreeMap::new(),
            received: None,
            healed: false,
            damaged: None,
            forgotten: Epoch::ZERO,
            rng,
            swarm,
            mutation,
        }
    }

    fn node(at: usize, swarm: &ClusterSwarm, rng: &mut Rng) -> Node {
        let mut copy = Replica::named(id(at), 0, &swarm.commands, rng);
        if rng.percent(swarm.resize_percent) {
            copy.config.segment_len = 4096 * rng.within(1..5);
        }
        let config = Config {
            cluster: ClusterId([7; 16]),
            partition: PartitionId::new(0),
            id: id(at),
            voters: (0..swarm.voters).map(id).collect(),
            learners: (swarm.voters..swarm.voters + swarm.learners).map(id).collect(),
            rule: swarm.rule,
            window_len: swarm.window_len,
            heartbeat_ms: swarm.heartbeat_ms,
            lease_ms: swarm.lease_ms,
            lease_margin_ms: swarm.lease_ms * LEASE_MARGIN_PERCENT / 100,
            retry_ms: swarm.retry_ms,
        };
        Node::new(copy, config, DRIFT_PPM, rng)
    }

    const fn map(&self) -> PartitionMap {
        match PartitionMap::new(1) {
            Some(map) => map,
            None => panic!("one partition"),
        }
    }

    fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// A time about as long as `mean`.
    fn around(&mut self, mean: u64) -> u64 {
        self.rng.within(mean / 2..mean * 3 / 2 + 2)
    }

    fn schedule(&mut self, delay: u64, event: Event) {
        self.next += 1;
        self.queue.insert((self.now + delay, self.next), event);
    }

    /// Goes through the whole run.
    pub(crate) fn run(&mut self) {
        for at in 0..self.nodes.len() {
            self.start(at);
        }
        for a in 0..self.nodes.len() {
            for b in a + 1..self.nodes.len() {
                self.schedule(0, Event::Connect { a, b, connection: 0 });
            }
        }
        for client in 0..self.swarm.clients {
            self.schedule(0, Event::Client { client });
        }
        self.begin_faults();
        self.pass(self.swarm.duration_us);
        self.heal();
        self.stats.simulated_us += self.now;
    }

    /// Lets time pass.
    fn pass(&mut self, micros: u64) {
        let until = self.now + micros;
        while let Some((&(time, number), _)) = self.queue.first_key_value() {
            if time > until {
                break;
            }
            let event = self.queue.remove(&(time, number)).expect("just seen");
            self.now = time;
            self.trace.time_us = time;
            self.happen(event);
        }
        self.now = until;
    }

    fn happen(&mut self, event: Event) {
        if let Some(at) = event.node()
            && self.nodes[at].paused_until > self.now
        {
            let delay = self.nodes[at].paused_until - self.now;
            return self.schedule(delay, event);
        }
        match event {
            Event::Message { from, to, bytes } => self.message(from, to, bytes),
            Event::Pieces { from, to, connection } => self.pieces(from, to, connection),
            Event::Connect { a, b, connection } => self.connect(a, b, connection),
            Event::Done { node, life, job } if self.nodes[node].life == life => self.done(node, job),
            Event::Tick { node, life } if self.nodes[node].life == life => {
                self.schedule(TICK_US, Event::Tick { node, life });
                self.tick(node);
            }
            Event::Done { .. } | Event::Tick { .. } => {}
            Event::Start { node } => self.start(node),
            Event::Client { client } => self.client_turn(client),
            Event::Fault(fault) => self.strike(fault),
        }
    }

    fn start(&mut self, at: usize) {
        if self.nodes[at].is_up() {
            return;
        }
        self.step += 1;
        if self.rng.percent(self.swarm.resize_percent) {
            self.nodes[at].copy.config.segment_len = 4096 * self.rng.within(1..5);
        }
        self.damage(at);
        let fuse = self.rng.percent(self.swarm.crash_in_open_percent).then(|| self.rng.within(1..7));
        match self.nodes[at].recover(self.now, self.step, fuse) {
            Opening::Open => self.check_kept(),
            Opening::Cut => {
                self.stats.fault("cut-in-open");
                self.trace.note(|| format!("node {at}: the power goes while it starts"));
                self.nodes[at].stop();
                self.nodes[at].copy.disk.power_cut(false, &mut self.rng);
                return self.schedule(1_000, Event::Start { node: at });
            }
            Opening::Refused => {
                self.replace(at);
                return self.schedule(1_000, Event::Start { node: at });
            }
        }
        let end = self.nodes[at].partition().appended();
        self.trace.event("open", &[at as u64, end.get()]);
        self.stats.recoveries += 1;
        let life = self.nodes[at].life;
        self.schedule(TICK_US, Event::Tick { node: at, life });
        self.compare_after_start(at);
        self.pump(at);
    }

    /// Ends the faults and waits until everything has come to rest.
    fn heal(&mut self) {
        self.swarm.heal();
        self.healed = true;
        for at in 0..self.nodes.len() {
            self.nodes[at].paused_until = self.nodes[at].paused_until.min(self.now);
            self.nodes[at].disk_full = false;
            self.network.directions[at].iter_mut().for_each(|direction| direction.blocked_until = 0);
            if !self.nodes[at].is_up() {
                self.schedule(1_000, Event::Start { node: at });
            }
        }
        let began = self.now;
        let shown = self.stats.replies;
        while self.now < began + REST_US {
            self.pass(200_000);
            self.promote_best();
            if self.is_serving(shown) {
                self.queue.retain(|_, event| !matches!(event, Event::Client { .. }));
                if self.is_converged() {
                    return self.check_end();
                }
            }
        }
        panic!("no convergence:\n{}", self.summary());
    }

    fn is_serving(&self, shown: u64) -> bool {
        self.stats.replies > shown
    }
}

/// A position as an index of the bytes of the log.
fn index(lsn: Lsn) -> usize {
    usize::try_from(lsn.get()).expect("logs are short")
}
