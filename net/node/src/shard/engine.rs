//! What executes the commands of one core: its partitions, and its way to the other cores.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use windrow_core::types::{KeyHash, Lsn, PartitionId, PartitionMap, UnixMillis};
use windrow_proto::data::Ctx;
use windrow_proto::resp::ArgsBuf;
use windrow_store::{BackgroundClient, Done, SegmentView};

use super::ahead::Ahead;
use super::clients::Clients;
use super::cold::Fetches;
use super::commands::{CoreView, PartitionView, ServerCommands};
use super::flusher::Flushed;
use super::gathering::Gathering;
use super::handler::{DiskSink, Handler, Progress};
use super::hosted::{FlushPolicy, Hosted};
#[cfg(feature = "shared-nothing")]
use super::replicate::OnCore;
use super::work::{Answer, Asker, CoreTask};
use super::{Now, Session};
use crate::metrics::CoreMetrics;
#[cfg(feature = "shared-memory")]
use crate::net::Listener;
use crate::net::{Connection, Limits, Pool, Stalled, Ticket};
#[cfg(feature = "shared-nothing")]
use crate::peers::{Host, Outbox};
#[cfg(feature = "shared-nothing")]
use crate::replication::Replicas;
use crate::ring::ConnId;
use crate::ring::slots::Slots;
use crate::server::Node;
use crate::shared::Common;
#[cfg(feature = "shared-memory")]
use crate::shared::Peers;
#[cfg(feature = "shared-memory")]
use crate::standby::StandbyCore;

/// Where a partition is hosted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// On this core, at this place among its partitions.
    Here(usize),
    /// On this other core.
    There(usize),
}

/// A reply that goes out after some time.
pub(super) struct Delayed {
    pub(super) at: Instant,
    pub(super) conn: ConnId,
    pub(super) ticket: Ticket,
    pub(super) reply: Vec<u8>,
}

/// What a core is made of.
pub(crate) struct EngineParts<S> {
    pub(crate) core: usize,
    pub(crate) common: Arc<Common>,
    pub(crate) node: Arc<Node>,
    pub(crate) server: S,
    pub(crate) hosted: Vec<Hosted>,
    /// Where each partition of the node is hosted, by its number.
    pub(crate) places: Vec<Place>,
    pub(crate) map: PartitionMap,
    pub(crate) background: BackgroundClient,
    #[cfg(feature = "shared-memory")]
    pub(crate) peers: Peers,
    /// What a core of a standby needs.
    #[cfg(feature = "shared-memory")]
    pub(crate) standby: Option<StandbyCore>,
    /// Any number but zero.
    pub(crate) draw: u64,
    /// The replicas of the partitions, where there are other nodes.
    #[cfg(feature = "shared-nothing")]
    pub(crate) replicas: Option<Box<Replicas>>,
}

/// What executes the commands of one core.
pub(crate) struct Engine<S> {
    pub(super) parts: EngineParts<S>,
    pub(super) ctx: Ctx,
    pub(super) policy: FlushPolicy,
    /// Whose replies take so many bytes gets no more of them before some have been sent.
    pub(super) output_len_full: usize,
    settings_version: u64,
    pub(super) gatherings: Slots<Gathering>,
    /// Numbers what transactions have asked: see [`Counts`](super::counts::Counts).
    pub(super) question: u64,
    /// Answers to be delivered.
    pub(super) answered: Vec<Answer>,
    /// Tasks of this core for itself.
    pub(super) own_tasks: Vec<(Asker, CoreTask)>,
    /// Every command is timed by itself until then, because some took long together.
    pub(super) watched_until: Option<Instant>,
    /// Whether that is so for the commands that are executed now.
    pub(super) times_all: bool,
    pub(super) delayed: Vec<Delayed>,
    /// When the first of them is due.
    pub(super) delayed_due: Option<Instant>,
    pub(super) fetches: Fetches,
    pub(super) spare_args: Vec<ArgsBuf>,
    pub(super) ahead: Ahead,
    /// Hashes of the keys that are looked up next, and the records that hold them.
    pub(super) hashes: Vec<KeyHash>,
    pub(super) records: Vec<Lsn>,
    /// How many commands of each kind the batch at hand had.
    pub(super) counts: Vec<(usize, u64)>,
    /// A moment after the input had arrived that is being executed.
    pub(super) arrived: Instant,
    told_quiet: bool,
}

impl<S: ServerCommands> Engine<S> {
    pub(crate) fn new(parts: EngineParts<S>) -> Self {
        let mut ctx = Ctx::new(parts.map);
        let limits = parts.server.limits();
        ctx.reply_len_max = limits.output_len_max;
        let settings_version = parts.node.settings_version();
        #[cfg_attr(feature = "shared-nothing", expect(unused_mut, reason = "the other mode needs it"))]
        let mut engine = Self {
            policy: policy(&parts.node),
            output_len_full: limits.output_soft_len,
            settings_version,
            parts,
            ctx,
            gatherings: Slots::default(),
            question: 0,
            answered: Vec::new(),
            own_tasks: Vec::new(),
            watched_until: None,
            times_all: false,
            delayed: Vec::new(),
            delayed_due: None,
            fetches: Fetches::default(),
            spare_args: Vec::new(),
            ahead: Ahead::default(),
            hashes: Vec::new(),
            records: Vec::new(),
            counts: Vec::new(),
            arrived: Instant::now(),
            told_quiet: false,
        };
        // Whoever asks before the first tick is told who leads.
        #[cfg(feature = "shared-memory")]
        engine.show_standbys(Now::read());
        engine
    }

    /// A number that cannot be foretold from outside; no secret is made of it.
    pub(super) fn draw(&mut self) -> u64 {
        // Xorshift64*, Vigna 2016.
        let mut state = self.parts.draw;
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.parts.draw = state;
        state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn take_jobs(&mut self, clients: &mut Clients) {
        while let Some(done) = self.parts.background.poll() {
            let partition = match &done {
                Done::Prepared { partition, .. }
                | Done::PrepareFailed { partition, .. }
                | Done::SuperblockWritten { partition, .. }
                | Done::SuperblockFailed { partition, .. }
                | Done::PutAside { partition, .. }
                | Done::MovedAside { partition, .. }
                | Done::Removed { partition }
                | Done::Warmed { partition }
                | Done::ClearingFailed { partition, .. } => *partition,
                _ => continue,
            };
            let Some(Place::Here(at)) = self.parts.places.get(usize::from(partition.get())).copied() else { continue };
            self.parts.hosted[at].job_done(done, clients, &self.parts.node.metrics);
            self.unpark(at);
            self.parts.hosted[at].submit_jobs(&self.parts.background);
            #[cfg(feature = "shared-nothing")]
            if let Some(replicas) = &mut self.parts.replicas {
                replicas.room_again = true;
            }
        }
    }

    fn run_own_tasks(&mut self, clients: &mut Clients, now: Now) {
        for (asker, task) in std::mem::take(&mut self.own_tasks) {
            self.run_task(asker, &task, clients, now);
        }
    }

    pub(super) fn run_task(&mut self, asker: Asker, task: &CoreTask, clients: &mut Clients, now: Now) {
        let piece = task(&mut View { core: self.parts.core, now, clients, hosted: &self.parts.hosted });
        let result = super::work::Outcome::Piece(piece);
        self.answered.push(Answer { asker, result, spent: ArgsBuf::new() });
    }
}

fn policy(node: &Node) -> FlushPolicy {
    let live = node.live();
    FlushPolicy { durability: live.settings.durability, interval: live.settings.memory_flush_interval }
}

/// What a core lets tasks see of it.
struct View<'a> {
    core: usize,
    now: Now,
    clients: &'a mut Clients,
    hosted: &'a [Hosted],
}

impl CoreView for View<'_> {
    fn core(&self) -> usize {
        self.core
    }

    fn now(&self) -> Now {
        self.now
    }

    fn visit_sessions(&mut self, visit: &mut dyn FnMut(&mut Session)) {
        let mut killed = Vec::new();
        for connection in self.clients.slab.iter_mut() {
            connection.note_traffic();
            visit(&mut connection.session);
            if connection.session.killed && !connection.broken {
                connection.broken = true;
                killed.push(connection.id);
            }
        }
        killed.into_iter().for_each(|id| self.clients.touch(id));
    }

    fn session_count(&self) -> usize {
        self.clients.slab.len()
    }

    fn visit_partitions(&self, visit: &mut dyn FnMut(PartitionView)) {
        for hosted in self.hosted {
            let committed = hosted.partition.committed();
            visit(PartitionView { id: hosted.id, stats: hosted.partition.stats(), committed });
        }
    }
}

impl<S: ServerCommands> Handler for Engine<S> {
    type File = SegmentView;

    fn limits(&self) -> Limits {
        self.parts.server.limits()
    }

    fn metrics(&mut self) -> &mut CoreMetrics {
        self.parts.server.metrics()
    }

    fn opened(&mut self, peer: SocketAddr, local: SocketAddr, now: Now) -> Result<Session, &'static [u8]> {
        let mut session = Session::new(self.parts.common.next_session(), peer, local, now.instant);
        self.parts.server.connected(&mut session)?;
        Ok(session)
    }

    fn closed(&mut self, connection: &mut Connection) {
        self.parts.server.disconnected(&connection.session);
        if connection.stalled == Some(Stalled::Command) {
            self.stop_counting(&connection.session, connection.id);
        }
    }

    fn execute(&mut self, connection: &mut Connection, input: &[u8], pool: &mut Pool, now: Now) -> Progress {
        // So that a read sees what was committed before it came.
        #[cfg(feature = "shared-memory")]
        self.follow(now);
        self.execute_input(connection, input, pool, now)
    }

    fn committed(&self, partition: PartitionId) -> Lsn {
        match self.parts.places[usize::from(partition.get())] {
            Place::Here(at) => self.parts.hosted[at].partition.committed(),
            Place::There(_) => unreachable!("replies of other cores come when they are committed"),
        }
    }

    fn wait(&mut self, conn: ConnId, partition: PartitionId, end: Lsn) {
        if let Place::Here(at) = self.parts.places[usize::from(partition.get())] {
            self.parts.hosted[at].wait(conn, end);
        }
    }

    fn run(&mut self, clients: &mut Clients, now: Now) -> bool {
        let mut busy = false;
        if self.parts.common.waker(self.parts.core).take() {
            busy = true;
            self.take_jobs(clients);
            #[cfg(feature = "shared-memory")]
            self.go_on_as_standby(clients, now);
        }
        #[cfg(feature = "shared-memory")]
        {
            busy |= self.follow(now);
        }
        busy |= self.receive(clients, now);
        self.run_own_tasks(clients, now);
        busy |= !self.answered.is_empty();
        self.deliver(clients, now);
        busy | self.announce(clients)
    }

    fn start_flushes(&mut self, sink: &mut impl DiskSink<SegmentView>, now: Now, busy: bool) {
        for (at, hosted) in self.parts.hosted.iter_mut().enumerate() {
            hosted.write_out();
            hosted.start_flush(at as u64, self.policy, sink, now, busy);
            hosted.submit_jobs(&self.parts.background);
        }
    }

    fn flushed(&mut self, flushed: Flushed<SegmentView>, clients: &mut Clients, now: Now) {
        let at = usize::try_from(flushed.ticket).expect("tickets are places of partitions");
        let metrics = self.parts.server.metrics();
        self.parts.hosted[at].flushed(flushed, clients, &mut self.answered, metrics, now);
    }

    fn waiting_for_flush(&self) -> usize {
        self.parts.hosted.iter().map(Hosted::waiting_for_flush).sum()
    }

    fn start_reads(&mut self, sink: &mut impl DiskSink<SegmentView>) {
        self.start_wanted_reads(sink);
    }

    fn was_read(&mut self, ticket: u64, result: io::Result<()>, clients: &mut Clients, now: Now) {
        self.one_was_read(ticket, result, clients, now);
    }

    #[inline]
    fn deadline(&self) -> Option<Instant> {
        let counting = self.parts.hosted.iter().filter_map(|hosted| hosted.count_due);
        counting.chain(self.delayed_due).min()
    }

    fn settle_due(&mut self, clients: &mut Clients, now: Now) {
        let stopping = self.parts.common.is_stopping();
        for hosted in &mut self.parts.hosted {
            hosted.settle_counts(now.instant, stopping, &mut self.answered);
        }
        for late in self.delayed.extract_if(.., |delayed| stopping || delayed.at <= now.instant) {
            clients.fulfil(late.conn, late.ticket, late.reply, None);
            clients.resume(late.conn);
        }
        self.delayed_due = self.delayed.iter().map(|delayed| delayed.at).min();
    }

    fn tick(&mut self, clients: &mut Clients, now: Now) {
        let version = self.parts.node.settings_version();
        if version != self.settings_version {
            self.settings_version = version;
            self.policy = policy(&self.parts.node);
            let limits = self.parts.server.limits();
            self.ctx.reply_len_max = limits.output_len_max;
            self.output_len_full = limits.output_soft_len;
        }
        for at in 0..self.parts.hosted.len() {
            let (node, server) = (&self.parts.node.metrics, &mut self.parts.server);
            self.parts.hosted[at].tick(self.parts.core, node, server.metrics(), now);
            self.parts.hosted[at].warm_up(&self.parts.background);
            self.unpark(at);
        }
        #[cfg(feature = "shared-memory")]
        self.show_standbys(now);
        #[cfg(feature = "shared-nothing")]
        self.tick_replicas(clients, now);
        self.settle_due(clients, now);
        let counting: usize = self.parts.hosted.iter().map(Hosted::counting).sum();
        let held_back = (self.delayed.len() + counting) as u64;
        self.parts.server.metrics().counters().clients_blocked.set(held_back);
        let mut view = View { core: self.parts.core, now, clients, hosted: &self.parts.hosted };
        self.parts.server.tick(now, &mut view);
    }

    fn newest_time(&self) -> UnixMillis {
        let seen = self.parts.hosted.iter().map(|hosted| hosted.partition.clock(UnixMillis::ZERO));
        seen.max().unwrap_or_default()
    }

    #[cfg(feature = "shared-memory")]
    fn watch(&mut self, sink: &mut impl DiskSink<SegmentView>) -> bool {
        self.watch_leader(sink)
    }

    #[cfg(feature = "shared-memory")]
    fn watched(&mut self, ticket: u64) {
        self.leader_has_moved(ticket);
    }

    #[cfg(feature = "shared-memory")]
    fn take_listeners(&mut self) -> Vec<Listener> {
        let core = self.parts.core;
        self.parts.standby.as_ref().map_or_else(Vec::new, |standby| standby.take_listeners(core))
    }

    #[cfg(feature = "shared-nothing")]
    fn replicate(&mut self, out: &mut Outbox, clients: &mut Clients, now: Now) {
        self.replicate_all(out, clients, now);
    }

    #[cfg(feature = "shared-nothing")]
    fn host<'a>(&'a mut self, clients: &'a mut Clients, now: Now) -> impl Host + 'a {
        OnCore::new(self, clients, now)
    }

    fn fall_asleep(&mut self) -> bool {
        self.answered.is_empty() && self.own_tasks.is_empty() && self.parts.common.waker(self.parts.core).fall_asleep()
    }

    fn woken(&mut self) {
        self.parts.common.waker(self.parts.core).woken();
    }

    fn is_closing(&self) -> bool {
        self.parts.common.is_stopping()
    }

    fn close(&mut self, _now: Now) -> bool {
        if !self.told_quiet {
            self.told_quiet = true;
            self.parts.common.core_is_quiet();
        }
        // Other cores may still ask for something on behalf of their clients.
        let mut done = self.parts.common.all_quiet();
        for hosted in &mut self.parts.hosted {
            done &= hosted.close();
            hosted.submit_jobs(&self.parts.background);
        }
        done
    }
}
