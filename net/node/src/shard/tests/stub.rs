//! A handler that knows PING, SET, GET, HELD, COUNT and two ways to end, and confirms a SET after the flush of a real file.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

#[cfg(feature = "shared-nothing")]
use windrow_core::replication::{Message, ReplicaId};
#[cfg(feature = "shared-nothing")]
use windrow_core::types::Epoch;
use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::command::TABLE;
use windrow_proto::resp::{Encoder, Progress as Parsed};

use crate::metrics::{CoreMetrics, CoreShared};
use crate::net::{Connection, Limits, Pool, Stalled, Wait, limits::PIPELINE_MAX};
#[cfg(feature = "shared-nothing")]
use crate::peers::{Outbox, Piece, Room};
use crate::ring::ConnId;
use crate::shard::clients::Clients;
use crate::shard::flusher::Flushed;
use crate::shard::handler::{DiskSink, Handler, Progress, Stop};
use crate::shard::{Now, Session};

const PARTITION: PartitionId = PartitionId::new(0);

pub(crate) struct Stub {
    limits: Limits,
    stop: Arc<AtomicBool>,
    password: bool,
    metrics: CoreMetrics,
    values: HashMap<Vec<u8>, Vec<u8>>,
    file: File,
    appended: u64,
    submitted: u64,
    durable: u64,
    waiting: Vec<ConnId>,
    held: usize,
    /// Ends the core then.
    ends_at: Option<Instant>,
    /// Ends the core when it has looked again in place of sleeping; until then, one client is said to wait for a flush.
    ends_awake: bool,
    /// There was nothing to do, and it has not gone to sleep since.
    idle: bool,
    pub(crate) closed: usize,
}

impl Stub {
    pub(crate) fn new(limits: Limits, stop: Arc<AtomicBool>, password: bool) -> Self {
        Self {
            limits,
            stop,
            password,
            metrics: CoreMetrics::new(Arc::new(CoreShared::new(TABLE.len()))),
            values: HashMap::new(),
            file: tempfile::tempfile().unwrap(),
            appended: 0,
            submitted: 0,
            durable: 0,
            waiting: Vec::new(),
            held: 0,
            ends_at: None,
            ends_awake: false,
            idle: false,
            closed: 0,
        }
    }
}

impl Handler for Stub {
    type File = File;

    fn limits(&self) -> Limits {
        self.limits
    }

    fn metrics(&mut self) -> &mut CoreMetrics {
        &mut self.metrics
    }

    fn opened(&mut self, peer: SocketAddr, local: SocketAddr, now: Now) -> Result<Session, &'static [u8]> {
        let mut session = Session::new(1, peer, local, now.instant);
        session.authenticated = !self.password;
        Ok(session)
    }

    fn closed(&mut self, _connection: &mut Connection) {
        self.closed += 1;
    }

    fn execute(&mut self, connection: &mut Connection, input: &[u8], pool: &mut Pool, now: Now) -> Progress {
        let mut consumed = 0;
        loop {
            if connection.output.replies() >= PIPELINE_MAX {
                connection.stalled = Some(Stalled::Replies);
                return Progress { consumed, stop: Stop::Stalled };
            }
            let rest = &input[consumed..];
            let limits = connection.command_limits();
            let parsed = connection.parser.parse(rest, limits);
            let buffer = connection.output.begin(pool, now.instant);
            let start = buffer.len();
            let mut encoder = Encoder::new(buffer, connection.session.protocol);
            let len = match parsed {
                Ok(Parsed::Complete { consumed: len }) => len,
                Ok(Parsed::Incomplete { need }) => {
                    return Progress { consumed, stop: Stop::NeedsInput { at_least: need } };
                }
                Err(error) => {
                    encoder.error_fmt(format_args!("ERR {error}"));
                    connection.output.finish(start, Wait::Ready, pool, now.instant);
                    return Progress { consumed, stop: Stop::Close };
                }
            };
            let args = connection.parser.args(rest);
            let mut wait = Wait::Ready;
            match args.at(0) {
                b"PING" => encoder.simple("PONG"),
                b"END-SOON" => {
                    self.ends_at = Some(now.instant + Duration::from_millis(10));
                    encoder.ok();
                }
                b"END-AWAKE" => {
                    self.ends_awake = true;
                    encoder.ok();
                }
                b"HELD" => encoder.count(self.held),
                b"COUNT" => {
                    let counters = self.metrics.counters();
                    encoder.integer(match args.at(1) {
                        b"deadline" => counters.deadline_disconnections.get().cast_signed(),
                        b"output" => counters.output_limit_disconnections.get().cast_signed(),
                        b"rejected" => counters.connections_rejected.get().cast_signed(),
                        _ => -1,
                    });
                }
                b"SET" => {
                    let (key, value) = (args.at(1), args.at(2));
                    match self.values.get_mut(key) {
                        Some(old) => value.clone_into(old),
                        None => drop(self.values.insert(key.to_vec(), value.to_vec())),
                    }
                    self.appended += 16;
                    wait = Wait::Commit {
                        partition: PARTITION,
                        end: Lsn::new(self.appended),
                        submitted: Lsn::new(self.submitted),
                    };
                    encoder.ok();
                }
                b"GET" => match self.values.get(args.at(1)) {
                    Some(value) => encoder.bulk(value),
                    None => encoder.null(),
                },
                _ => encoder.error("ERR unknown command"),
            }
            connection.output.finish(start, wait, pool, now.instant);
            consumed += len;
        }
    }

    fn committed(&self, _partition: PartitionId) -> Lsn {
        Lsn::new(self.durable)
    }

    fn wait(&mut self, conn: ConnId, _partition: PartitionId, _end: Lsn) {
        self.waiting.push(conn);
    }

    fn run(&mut self, clients: &mut Clients, _now: Now) -> bool {
        self.held = clients.slab.iter_mut().map(|connection| connection.input.capacity()).sum();
        if std::mem::take(&mut self.idle) && self.ends_awake {
            self.stop.store(true, Ordering::Relaxed);
        }
        false
    }

    fn start_flushes(&mut self, sink: &mut impl DiskSink<File>, _now: Now, _busy: bool) {
        if self.submitted == self.durable && self.appended > self.submitted {
            self.submitted = self.appended;
            sink.flush(self.submitted, vec![self.file.try_clone().unwrap()]);
        }
    }

    fn flushed(&mut self, flushed: Flushed<File>, clients: &mut Clients, _now: Now) {
        flushed.result.unwrap();
        self.durable = flushed.ticket;
        self.waiting.drain(..).for_each(|conn| clients.wake(conn));
    }

    fn waiting_for_flush(&self) -> usize {
        if self.ends_awake {
            1
        } else if self.submitted > self.durable {
            self.waiting.len()
        } else {
            0
        }
    }

    fn start_reads(&mut self, _sink: &mut impl DiskSink<File>) {}

    fn was_read(&mut self, _ticket: u64, _result: io::Result<()>, _clients: &mut Clients, _now: Now) {
        unreachable!("its values are not on disk")
    }

    fn deadline(&self) -> Option<Instant> {
        self.ends_at
    }

    fn settle_due(&mut self, _clients: &mut Clients, now: Now) {
        if self.ends_at.is_some_and(|at| at <= now.instant) {
            self.stop.store(true, Ordering::Relaxed);
        }
    }

    fn tick(&mut self, _clients: &mut Clients, _now: Now) {}

    fn watch(&mut self, _sink: &mut impl DiskSink<File>) -> bool {
        self.idle = true;
        false
    }

    #[cfg(feature = "shared-nothing")]
    fn replicate(&mut self, _out: &mut Outbox, _clients: &mut Clients, _now: Now) {}

    #[cfg(feature = "shared-nothing")]
    fn host<'a>(&'a mut self, _clients: &'a mut Clients, _now: Now) -> impl crate::peers::Host + 'a {
        Nobody
    }

    fn fall_asleep(&mut self) -> bool {
        self.idle = false;
        true
    }

    fn woken(&mut self) {}

    fn is_closing(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn close(&mut self, _now: Now) -> bool {
        self.durable == self.appended
    }
}

/// There are no peers.
#[cfg(feature = "shared-nothing")]
struct Nobody;

#[cfg(feature = "shared-nothing")]
impl crate::peers::Host for Nobody {
    fn connected(&mut self, _: ReplicaId, _: &mut Outbox) {}

    fn disconnected(&mut self, _: ReplicaId, _: &mut Outbox) {}

    fn message(&mut self, _: ReplicaId, _: PartitionId, _: Message, _: &mut Outbox) {}

    fn room(&mut self, _: ReplicaId, _: PartitionId, at: Lsn, upto: Lsn) -> Room<'_> {
        Room::Discard(upto.since(at))
    }

    fn arrived(&mut self, _: ReplicaId, _: PartitionId, _: Lsn, _: usize, _: &mut Outbox) {}

    fn range_end(&mut self, _: ReplicaId, _: PartitionId, _: &mut Outbox) {}

    fn piece(&mut self, _: PartitionId, _: Epoch, _: Lsn, _: Lsn) -> Option<Piece> {
        None
    }
}
