//! The loop of one core: enter the ring, take completions, execute, start flushes, send, and sleep when idle.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use windrow_core::types::UnixMillis;
use windrow_store::SegmentView;

use super::Now;
use super::clients::Clients;
use super::clock::Clock;
use super::flusher::{Flush, Flusher};
use super::handler::{DiskSink, Handler};
use super::polling::Polling;
use crate::net::limits::{ALARM_MAX, DEADLINE_TICKS, GOODBYE_WITHIN, TICK};
use crate::net::{Connection, Limits, Listener, Wait, prepare};
#[cfg(feature = "shared-nothing")]
use crate::peers::Transport;
use crate::ring::{Completion, ConnId, Part, Ring, Timer};
use crate::runtime::{EventWaiter, sleeps_by_itself, yield_if_needed};

/// Bytes of input after which a round looks at flushes again: some 50 to 100 µs of small commands.
const ROUND_INPUT_LEN: usize = 16 << 10;
/// A partition whose clock is ahead by no more waits for this core's.
const CLOCK_BEHIND_MAX_MS: u64 = 1_000;
const TOO_MANY_CLIENTS: &[u8] = b"-ERR max number of clients reached\r\n";

/// One core: its ring, its connections, and what executes their commands.
pub(crate) struct Driver<H: Handler> {
    pub(super) ring: Ring,
    flusher: Flusher<H::File>,
    polling: Polling,
    pub(super) clients: Clients,
    /// The connections with other nodes, where there are any.
    #[cfg(feature = "shared-nothing")]
    peers: Option<Box<Transport>>,
    pub(super) handler: H,
    pub(super) limits: Limits,
    pub(super) now: Now,
    clock: Clock,
    /// Bytes of input that all connections hold.
    pub(super) input_held: usize,
    /// Spare lists of parts.
    pub(super) spare_parts: Vec<Vec<Part>>,
    /// What the release at hand has let go: so many replies, what they waited for, since when they were there.
    pub(super) released: Vec<(usize, Wait, Instant)>,
    /// When somebody was answered last without a wait for a flush.
    pub(super) at_once: Option<Instant>,
    listeners: Vec<Accepting>,
    by_address: HashMap<IpAddr, usize>,
    ticks: usize,
    /// Connections that one tick looks at.
    due: Vec<ConnId>,
    closing_since: Option<Instant>,
}

impl Now {
    /// Reads both clocks.
    pub(crate) fn read() -> Self {
        let unix = u64::try_from(machine_time().as_millis()).ok().and_then(UnixMillis::new).unwrap_or(UnixMillis::MAX);
        Self { unix, instant: Instant::now() }
    }
}

/// What the machine's clock shows, since 1970.
fn machine_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

struct Accepting {
    listener: Listener,
    armed: bool,
}

struct Disk<'a, F: Flush> {
    ring: &'a mut Ring,
    flusher: &'a mut Flusher<F>,
}

impl<F: Flush> DiskSink<F> for Disk<'_, F> {
    fn flush(&mut self, ticket: u64, files: Vec<F>) {
        self.flusher.submit(ticket, files);
    }

    fn read(&mut self, ticket: u64, segment: SegmentView, range: Range<usize>) {
        self.ring.read(ticket, segment, range);
    }

    #[cfg(feature = "shared-memory")]
    fn watch(&mut self, ticket: u64, word: windrow_store::FutexWord, value: u32) {
        self.ring.watch(ticket, word, value);
    }
}

impl<H: Handler> Driver<H> {
    /// A core that serves the clients of `listeners`.
    pub(crate) fn new(ring: Ring, listeners: Vec<Listener>, flusher: Flusher<H::File>, handler: H) -> Self {
        Self {
            ring,
            flusher,
            polling: Polling::default(),
            clients: Clients { elsewhere_len: handler.limits().output_soft_len, ..Clients::default() },
            #[cfg(feature = "shared-nothing")]
            peers: None,
            limits: handler.limits(),
            handler,
            now: Now::read(),
            clock: Clock::new(machine_time(), Instant::now()),
            input_held: 0,
            spare_parts: Vec::new(),
            released: Vec::new(),
            at_once: None,
            listeners: listeners.into_iter().map(|listener| Accepting { listener, armed: false }).collect(),
            by_address: HashMap::new(),
            ticks: 0,
            due: Vec::new(),
            closing_since: None,
        }
    }

    /// Talks to other nodes over `peers`, if there are any.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn with_peers(mut self, peers: Option<Transport>) -> Self {
        self.peers = peers.map(Box::new);
        self
    }

    /// Lets the replicas of this core act, and sends and receives for them. Returns whether there was anything to do.
    #[cfg(feature = "shared-nothing")]
    fn talk_to_peers(&mut self) -> bool {
        let Some(peers) = &mut self.peers else { return false };
        self.handler.replicate(peers.outbox(), &mut self.clients, self.now);
        if self.closing_since.is_some() && self.clients.slab.len() == 0 {
            return false;
        }
        let mut host = self.handler.host(&mut self.clients, self.now);
        peers.run(&mut self.ring, &mut host, self.now.instant)
    }

    /// Gives a completion to the connections with other nodes, if it is theirs.
    #[cfg(feature = "shared-nothing")]
    fn of_clients(&mut self, completion: Completion) -> Option<Completion> {
        match &mut self.peers {
            Some(peers) => peers.completion(completion, &mut self.ring),
            None => Some(completion),
        }
    }

    #[cfg(feature = "shared-memory")]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the other mode needs it")]
    fn of_clients(&self, completion: Completion) -> Option<Completion> {
        Some(completion)
    }

    /// Runs until the node has shut down in order, and returns the handler.
    ///
    /// # Errors
    /// The ring or its eventfd does not work.
    pub(crate) async fn run(mut self) -> io::Result<H> {
        let waiter = EventWaiter::new(self.ring.eventfd())?;
        self.ring.stay_awake();
        self.accept();
        // Whoever starts is expected: the first connections are not left to the first tick.
        #[cfg(feature = "shared-nothing")]
        self.tick_peers();
        loop {
            let instant = Instant::now();
            self.now = Now { unix: self.clock.read(machine_time(), instant), instant };
            self.handler.metrics().counters().loop_rounds.increment();
            self.ring.arm_timer(Timer::Tick, TICK);
            self.arm_alarm();
            self.ring.enter()?;
            let mut busy = self.take_flushes();
            let (any, more) = self.take_completions();
            busy |= any;
            busy |= self.handler.run(&mut self.clients, self.now);
            busy |= self.resume();
            #[cfg(feature = "shared-nothing")]
            {
                busy |= self.talk_to_peers();
            }
            let disk = &mut Disk { ring: &mut self.ring, flusher: &mut self.flusher };
            self.handler.start_flushes(disk, self.now, more);
            self.handler.start_reads(disk);
            busy |= self.send();
            if self.handler.is_closing() && self.close() {
                #[cfg(feature = "shared-nothing")]
                if let Some(peers) = &mut self.peers {
                    peers.close(&mut self.ring);
                }
                return Ok(self.handler);
            }
            self.add_listeners();
            let disk = &mut Disk { ring: &mut self.ring, flusher: &mut self.flusher };
            let busy = busy || self.handler.watch(disk);
            if busy {
                self.polling.busy();
            } else if self.polls() {
                // Another round.
            } else if sleeps_by_itself() {
                if self.handler.fall_asleep() {
                    self.ring.wait()?;
                }
                self.handler.woken();
            } else if self.ring.may_sleep() {
                if self.handler.fall_asleep() {
                    waiter.wait().await?;
                }
                self.handler.woken();
                self.ring.stay_awake();
            }
            yield_if_needed().await;
        }
    }

    /// There is nothing to do. Whether to look again in place of sleeping; if so, somebody else had the processor.
    fn polls(&mut self) -> bool {
        let waiting = self.handler.waiting_for_flush();
        let polls = self.polling.looks_again(waiting, self.limits.idle_poll, self.now.instant);
        if polls {
            let offered = Instant::now();
            std::thread::yield_now();
            self.polling.offered(offered, Instant::now());
        }
        polls
    }

    /// Has the core woken for whoever must be answered before the next tick. Nobody waits so in the steady state.
    fn arm_alarm(&mut self) {
        let Some(deadline) = self.handler.deadline() else { return };
        let left = deadline.saturating_duration_since(self.now.instant);
        if left < TICK {
            // An alarm that is under way is not put forward, so none is far away.
            self.ring.arm_timer(Timer::Alarm, left.min(ALARM_MAX));
        }
    }

    fn take_flushes(&mut self) -> bool {
        let mut any = false;
        while let Some(flushed) = self.flusher.poll() {
            any = true;
            // The time of the round may be from before the wait.
            self.handler.flushed(flushed, &mut self.clients, Now::read());
        }
        any
    }

    /// Takes what has completed, but not more input than fits a round: a flush that is done meanwhile is noticed, and
    /// the next one started, between two rounds. Returns whether there was anything, and whether any of it was input.
    fn take_completions(&mut self) -> (bool, bool) {
        let mut any = false;
        let mut taken_in = 0;
        while taken_in < ROUND_INPUT_LEN
            && let Some(completion) = self.ring.poll()
        {
            any = true;
            let Some(completion) = self.of_clients(completion) else { continue };
            match completion {
                Completion::Received { conn, received, armed } => taken_in += self.received(conn, received, armed),
                Completion::Sent { conn, result, parts } => self.sent(conn, result, parts),
                Completion::Read { ticket, result } => {
                    self.handler.was_read(ticket, result, &mut self.clients, self.now);
                }
                #[cfg(feature = "shared-memory")]
                Completion::Watched { ticket } => self.handler.watched(ticket),
                Completion::Accepted { listener, socket, armed } => {
                    if let Some(accepting) = self.listeners.get_mut(listener as usize) {
                        accepting.armed = armed;
                    }
                    self.accepted(socket);
                }
                Completion::Timer(Timer::Tick) => self.tick(),
                Completion::Timer(Timer::Alarm) => self.handler.settle_due(&mut self.clients, self.now),
                // No client's connection asks for these.
                Completion::Ready { .. } | Completion::ZeroCopySent { .. } => {}
            }
        }
        (any, taken_in > 0)
    }

    /// Serves clients at further addresses.
    fn add_listeners(&mut self) {
        let added = self.handler.take_listeners();
        if !added.is_empty() && self.closing_since.is_none() {
            self.listeners.extend(added.into_iter().map(|listener| Accepting { listener, armed: false }));
            self.accept();
        }
    }

    fn accept(&mut self) {
        for (number, accepting) in (0..).zip(&mut self.listeners) {
            if !accepting.armed {
                accepting.armed = true;
                self.ring.accept(number, accepting.listener.as_fd());
            }
        }
    }

    fn accepted(&mut self, socket: io::Result<OwnedFd>) {
        match socket {
            Ok(socket) => {
                self.handler.metrics().counters().connections_received.increment();
                if let Err(error) = self.open(socket) {
                    tracing::debug!(%error, "a connection was gone before it could be served");
                }
                if self.closing_since.is_none() {
                    self.accept();
                }
            }
            // Armed again at the next tick: without descriptors or memory it would fail again at once.
            Err(error) if error.raw_os_error() != Some(libc::ECANCELED) => {
                tracing::warn!(%error, "cannot accept a connection; trying again");
            }
            Err(_) => {}
        }
    }

    fn open(&mut self, socket: OwnedFd) -> io::Result<()> {
        let (peer, local) = prepare(&socket, self.limits.tcp_keepalive)?;
        let from_there = self.by_address.get(&peer.ip()).copied().unwrap_or(0);
        let full = self.clients.slab.len() >= self.limits.clients_max
            || self.limits.clients_per_address_max.is_some_and(|max| from_there >= max);
        if self.closing_since.is_some() {
            return Ok(());
        }
        if full {
            return self.refuse(&socket, TOO_MANY_CLIENTS);
        }
        let session = match self.handler.opened(peer, local, self.now) {
            Err(reply) => return self.refuse(&socket, reply),
            Ok(session) => session,
        };
        *self.by_address.entry(peer.ip()).or_insert(0) += 1;
        let id = self.clients.slab.insert_with(|id| Connection::new(id, socket, session));
        self.count_connections();
        self.clients.touch(id);
        Ok(())
    }

    fn refuse(&mut self, socket: &OwnedFd, reply: &[u8]) -> io::Result<()> {
        self.handler.metrics().counters().connections_rejected.increment();
        rustix::net::send(socket, reply, rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn count_connections(&mut self) {
        let count = self.clients.slab.len() as u64;
        self.handler.metrics().counters().connections.set(count);
    }

    /// The connection is gone.
    pub(super) fn removed(&mut self, mut connection: Connection) {
        self.input_held -= connection.input.len();
        let address = connection.session.peer.ip();
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
        self.handler.closed(&mut connection);
        self.count_connections();
    }

    fn tick(&mut self) {
        self.limits = self.handler.limits();
        self.clients.elsewhere_len = self.limits.output_soft_len;
        self.ticks = self.ticks.wrapping_add(1);
        if self.closing_since.is_none() {
            self.accept();
        }
        let mut due = std::mem::take(&mut self.due);
        due.extend(self.clients.slab.ids(self.ticks % DEADLINE_TICKS, DEADLINE_TICKS));
        for id in due.drain(..) {
            self.check_deadlines(id);
        }
        self.due = due;
        self.handler.tick(&mut self.clients, self.now);
        self.follow_clock();
        #[cfg(feature = "shared-nothing")]
        self.tick_peers();
    }

    #[cfg(feature = "shared-nothing")]
    fn tick_peers(&mut self) {
        if let Some(peers) = &mut self.peers {
            let mut host = self.handler.host(&mut self.clients, self.now);
            peers.tick(&mut self.ring, &mut host, self.now.instant);
        }
    }

    /// Catches up with the clock of a partition that is ahead: the machine's was set back while nothing ran here, or the
    /// one that wrote the log has another.
    fn follow_clock(&mut self) {
        let newest = self.handler.newest_time();
        let behind = newest.get().saturating_sub(self.now.unix.get());
        if behind > CLOCK_BEHIND_MAX_MS {
            tracing::warn!(behind_ms = behind, "the clock is behind the log: expiry goes on from the log's time");
            self.clock.raise(newest);
        }
    }

    /// Goes on with the shutdown. Returns whether it is complete.
    fn close(&mut self) -> bool {
        let begins = self.closing_since.is_none();
        let since = *self.closing_since.get_or_insert(self.now.instant);
        if begins {
            for (number, _) in (0..).zip(&self.listeners) {
                self.ring.cancel_accept(number);
            }
            let all: Vec<_> = self.clients.slab.ids(0, 1).collect();
            for id in all {
                if let Some(connection) = self.clients.slab.get_mut(id) {
                    connection.closing = true;
                }
                self.clients.touch(id);
            }
        }
        let late = self.now.instant.duration_since(since) >= GOODBYE_WITHIN;
        if late {
            let rest: Vec<_> = self.clients.slab.ids(0, 1).collect();
            for id in rest {
                self.give_up(id);
            }
        }
        // Replies wait for flushes, so the log is closed only when the last of them is out.
        let quiet = self.clients.slab.len() == 0;
        quiet && self.handler.close(self.now)
    }
}
