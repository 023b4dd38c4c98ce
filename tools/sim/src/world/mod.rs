//! The world of one run: replicas, connections, clients, the clock, and everything that is on its way.
//!
//! One queue of events, ordered by time and then by when they were put there, decides what happens next. Nothing else
//! does: no thread, no wall clock, no order of a hash map.

mod connection;
mod execute;
mod faults;
mod network;
mod server;
mod transaction;
mod whole;

pub(crate) use connection::buffered;
pub(crate) use execute::shown;

use std::collections::BTreeMap;

use windrow_core::types::{Lsn, PartitionMap, UnixMillis};
use windrow_proto::data::Ctx;
use windrow_proto::resp::Protocol;

use crate::client::Client;
use crate::keys::keys;
use crate::mutation::Mutation;
use crate::replica::Replica;
use crate::rng::Rng;
use crate::stats::Stats;
use crate::swarm::Swarm;
use crate::trace::Trace;
use connection::Connection;
use faults::Fault;
use network::Lane;

/// How long everything may take to come to rest once faults have stopped.
const REST_WITHIN_US: u64 = 60_000_000;
/// The wall clock when a run begins.
const BEGIN_MS: u64 = 1_700_000_000_000;
/// More than this many operations end the faulty part of a run early.
const OPERATIONS_MAX: u64 = 2_500;

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A client connects or sends.
    Client(usize),
    ToServer {
        connection: u64,
        bytes: Vec<u8>,
    },
    ToClient {
        connection: u64,
        bytes: Vec<u8>,
    },
    /// The process executes what a connection has sent.
    Run {
        process: u64,
        connection: u64,
    },
    StartFlush {
        process: u64,
        replica: usize,
    },
    Flushed {
        process: u64,
        replica: usize,
    },
    Prepared {
        process: u64,
        replica: usize,
        base: Lsn,
        len: u64,
    },
    SuperblockWritten {
        process: u64,
        replica: usize,
        generation: u64,
    },
    Tick {
        process: u64,
    },
    /// The process starts.
    Start,
    Fault(Fault),
    DiskHasRoom,
}

pub(crate) struct World {
    pub(crate) swarm: Swarm,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) rng: Rng,
    pub(crate) trace: Trace,
    pub(crate) stats: Stats,
    pub(crate) replicas: Vec<Replica>,
    clients: Vec<Client>,
    connections: BTreeMap<u64, Connection>,
    lanes: BTreeMap<(u64, bool), Lane>,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    time_us: u64,
    /// Counts what could change a key, for the guarantee of SCAN.
    step: u64,
    /// What the wall clock is ahead by.
    clock_offset_ms: i64,
    /// Counts the processes; what belongs to an earlier one comes to nobody.
    process: u64,
    running: bool,
    /// The process comes to its end in order.
    stopping: bool,
    paused_until_us: u64,
    disk_full: bool,
    next_connection: u64,
    ctx: Ctx,
    healing: bool,
}

impl World {
    pub(crate) fn new(seed: u64, mutation: Option<Mutation>, verbose: bool) -> Self {
        let mut rng = Rng::new(seed);
        let swarm = Swarm::draw(&mut rng.fork());
        let map = PartitionMap::new(swarm.partitions).expect("a few partitions");
        let replicas = (0..swarm.partitions).map(|number| Replica::new(number, &swarm, &mut rng)).collect();
        let keys = keys(&swarm, map, &mut rng);
        let clients = (0..swarm.clients).map(|_| Client::new(rng.fork(), &swarm, &keys)).collect();
        let mut ctx = Ctx::new(map);
        ctx.protocol = if swarm.resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        ctx.large_len_min = rng.size(1..2 * swarm.value_len_max + 2);
        let trace = Trace::new(verbose);
        trace.note(|| format!("{swarm:?}"));
        Self {
            swarm,
            mutation,
            rng,
            trace,
            stats: Stats { seeds: 1, ..Stats::default() },
            replicas,
            clients,
            connections: BTreeMap::new(),
            lanes: BTreeMap::new(),
            queue: BTreeMap::new(),
            sequence: 0,
            time_us: 0,
            step: 0,
            clock_offset_ms: 0,
            process: 0,
            running: false,
            stopping: false,
            paused_until_us: 0,
            disk_full: false,
            next_connection: 1,
            ctx,
            healing: false,
        }
    }

    pub(crate) fn is(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    pub(crate) fn now(&self) -> UnixMillis {
        let millis = (BEGIN_MS + self.time_us / 1000).saturating_add_signed(self.clock_offset_ms);
        UnixMillis::new(millis).expect("clocks jump by hours, not by ages")
    }

    pub(crate) fn schedule(&mut self, delay_us: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.time_us + delay_us, self.sequence), event);
    }

    /// About as long as `mean`.
    pub(crate) fn around(&mut self, mean_us: u64) -> u64 {
        self.rng.within(mean_us / 2..mean_us * 3 / 2 + 2)
    }

    /// Runs the whole of it: first with faults, then without.
    pub(crate) fn run(&mut self) {
        self.schedule(0, Event::Start);
        for client in 0..self.clients.len() {
            let delay = self.rng.within(0..20_000);
            self.schedule(delay, Event::Client(client));
        }
        self.schedule_faults();
        let end = self.swarm.duration_us;
        while self.time_us < end && self.stats.operations < OPERATIONS_MAX {
            self.step_once();
        }
        self.heal();
        self.come_to_rest();
        self.last_look();
        self.stats.simulated_us = self.time_us;
    }

    fn step_once(&mut self) {
        let ((time, _), event) = self.queue.pop_first().expect("ticks and clients never end");
        self.time_us = time;
        self.trace.time_us = time;
        self.handle(event);
    }

    fn handle(&mut self, event: Event) {
        if self.time_us < self.paused_until_us && !event.survives_pause() {
            let delay = self.paused_until_us - self.time_us;
            self.schedule(delay, event);
            return;
        }
        match event {
            Event::Client(client) => self.client_acts(client),
            Event::ToServer { connection, bytes } => self.arrived_at_server(connection, &bytes),
            Event::ToClient { connection, bytes } => self.arrived_at_client(connection, &bytes),
            Event::Run { process, connection } if process == self.process => self.run_connection(connection),
            Event::StartFlush { process, replica } if process == self.process => self.start_flush(replica),
            Event::Flushed { process, replica } if process == self.process => self.flushed(replica),
            Event::Prepared { process, replica, base, len } if process == self.process => {
                self.prepared(replica, base, len);
            }
            Event::SuperblockWritten { process, replica, generation } if process == self.process => {
                self.superblock_written(replica, generation);
            }
            Event::Tick { process } if process == self.process => self.tick(),
            Event::Start => self.start_process(),
            Event::Fault(fault) => self.fault(fault),
            Event::DiskHasRoom => self.disk_full = false,
            _ => {}
        }
    }

    fn heal(&mut self) {
        self.trace.event("heal", &[]);
        self.healing = true;
        self.swarm.heal();
        self.paused_until_us = 0;
        self.disk_full = false;
        if !self.running && !self.queue.values().any(|event| matches!(event, Event::Start)) {
            self.schedule(0, Event::Start);
        }
    }

    /// Without faults, whatever was asked for is answered and everything gets to the disk.
    fn come_to_rest(&mut self) {
        let limit = self.time_us + REST_WITHIN_US;
        while !self.is_at_rest() {
            assert!(
                self.time_us < limit,
                "things do not come to rest after the faults have stopped: {}",
                self.unrest()
            );
            self.step_once();
        }
    }

    fn is_at_rest(&self) -> bool {
        let quiet = |replica: &Replica| {
            replica.partition.as_ref().is_some_and(|one| one.durable() == one.appended() && !one.superblock_pending())
        };
        self.running && self.clients.iter().all(|client| client.outstanding() == 0) && self.replicas.iter().all(quiet)
    }

    fn unrest(&self) -> String {
        let waiting: Vec<usize> = self.clients.iter().map(Client::outstanding).collect();
        format!("running: {}, replies outstanding: {waiting:?}", self.running)
    }

    /// Everything must still be there after one more power cut, and every client must be served.
    fn last_look(&mut self) {
        for replica in &self.replicas {
            replica.check_bounds();
            replica.check_feed();
            let durable = replica.partition.as_ref().map(windrow_core::partition::Partition::durable);
            assert_eq!(Some(replica.truth.persisted), durable, "everything is on the disk");
        }
        self.crash(true);
        self.start_process();
        assert!(self.running, "everything opens once faults have stopped");
        for replica in &self.replicas {
            assert_eq!(replica.truth.persisted, replica.truth.appended, "an open partition is flushed");
        }
        let before = self.stats.replies;
        for client in 0..self.clients.len() {
            self.connect(client);
            self.send_requests(client);
        }
        self.come_to_rest();
        assert!(self.stats.replies >= before + self.clients.len() as u64, "every client is served again");
        self.trace.event("end", &[self.stats.operations]);
    }
}

impl Event {
    /// Whether it happens outside the process, which may be paused.
    const fn survives_pause(&self) -> bool {
        !matches!(
            self,
            Self::Run { .. }
                | Self::StartFlush { .. }
                | Self::Flushed { .. }
                | Self::Prepared { .. }
                | Self::SuperblockWritten { .. }
                | Self::Tick { .. }
        )
    }
}
