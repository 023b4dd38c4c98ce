//! One thread of the generator: its connections, its schedule, its measurements, in one loop around epoll.
//!
//! Nothing is allocated for a request: commands are written into the connection's buffer, replies are read where they
//! lie, what is under way stands in a ring. The thread owns all that it touches but the table of versions and the
//! counter of inserts.

mod issue;
mod record;
mod replies;
mod wires;

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::mpsc::Sender;
use std::time::Instant;

use rustix::event::{Timespec, epoll};

use crate::cluster::Topology;
use crate::error::Error;
use crate::keys::{Chooser, Inserts};
use crate::link::Link;
use crate::measure::{ErrorKinds, Interval, Nanos};
use crate::pace::Schedule;
use crate::plan::{End, Plan};
use crate::process::ThreadTime;
use crate::units;
use crate::verify::{Findings, Table};
use record::Record;

/// What the threads share.
pub(crate) struct Shared {
    pub(crate) inserts: Inserts,
    pub(crate) table: Option<Table>,
}

/// What one thread hands back, beside its intervals.
pub(crate) struct Outcome {
    pub(crate) by_operation: Vec<Nanos>,
    pub(crate) errors: ErrorKinds,
    pub(crate) findings: Findings,
    /// Since the end of the warm-up.
    pub(crate) time: ThreadTime,
    pub(crate) idle_ns: u64,
    pub(crate) ended: u64,
    pub(crate) last_answer: u64,
}

/// A request that is drawn and not sent yet.
#[derive(Clone, Copy, Debug)]
struct Request {
    due: u64,
    key: u64,
    version: u64,
    size: u32,
    operation: usize,
}

pub(crate) struct Worker<'a> {
    plan: &'a Plan,
    shared: &'a Shared,
    number: usize,
    origin: Instant,
    topology: Topology,
    epoll: OwnedFd,
    links: Vec<Link>,
    /// By node: connections on which more may be sent.
    free: Vec<VecDeque<usize>>,
    /// Connections of this thread to each node.
    links_per_node: usize,
    /// Connections that are broken.
    down: usize,
    /// When the last connection broke that had been left.
    all_down_since: Option<u64>,
    /// Connections with something to send.
    dirty: Vec<usize>,
    /// When a connection was last to be had again after none was.
    free_since: u64,
    outstanding: usize,
    rng: fastrand::Rng,
    chooser: Chooser,
    schedule: Option<Schedule>,
    pending: Option<Request>,
    /// Requests still to be drawn.
    quota: u64,
    /// Nothing is drawn from here on.
    stop_at: u64,
    /// When the last request was drawn, for runs by number.
    exhausted_at: Option<u64>,
    /// When a reply last came in, or when the run began.
    last_reply: u64,
    version: u64,
    key_text: Vec<u8>,
    record: Record,
}

const EVENTS: usize = 64;
/// The longest sleep.
const NAP_NS: u64 = 100_000_000;

impl<'a> Worker<'a> {
    /// Connects; the run starts with [`Self::run`].
    pub(crate) fn connect(
        plan: &'a Plan,
        shared: &'a Shared,
        number: usize,
        topology: Topology,
        sender: Sender<Interval>,
    ) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)
            .map_err(|errno| Error::Client { what: "epoll", source: errno.into() })?;
        let connections = share(plan.connections as u64, number, plan.threads);
        let connections = usize::try_from(connections).unwrap_or(1);
        let (thread, threads) = (number as u64, plan.threads as u64);
        let mut worker = Self {
            plan,
            shared,
            number,
            origin: Instant::now(),
            free: Vec::new(),
            links_per_node: (connections / topology.nodes.len()).max(1),
            topology,
            epoll,
            links: Vec::new(),
            down: 0,
            all_down_since: None,
            dirty: Vec::with_capacity(connections),
            free_since: 0,
            outstanding: 0,
            rng: fastrand::Rng::with_seed(plan.seed.wrapping_add(thread.wrapping_mul(0x9E37_79B9_7F4A_7C15))),
            chooser: Chooser::new(plan.distribution, plan.key_count, thread, threads),
            schedule: Schedule::new(plan.pace, number, plan.threads),
            pending: None,
            quota: match plan.end {
                End::Requests(requests) => share(requests, number, plan.threads),
                End::After(_) => u64::MAX,
            },
            stop_at: match plan.end {
                End::After(time) => units::nanos(plan.warmup) + units::nanos(time),
                End::Requests(_) => u64::MAX,
            },
            exhausted_at: None,
            last_reply: 0,
            version: plan.base,
            key_text: Vec::with_capacity(plan.keys.len()),
            record: Record::new(plan, sender),
        };
        for node in 0..worker.topology.nodes.len() {
            let count = if worker.topology.is_cluster() { worker.links_per_node } else { connections };
            worker.connect_node(node, count)?;
        }
        Ok(worker)
    }

    /// Drives the load until it is through; `origin` is the run's start, the same for all threads.
    pub(crate) fn run(mut self, origin: Instant) -> Result<Outcome, Error> {
        self.origin = origin;
        self.pin()?;
        // A millisecond's slack would make every wait late; where it cannot be set, the lag will tell.
        let _refused = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        std::thread::sleep(origin.saturating_duration_since(Instant::now()));
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let now = self.now();
            self.record.roll(now);
            self.reconnect(now);
            self.generate();
            self.flush_dirty();
            if self.is_finished() {
                break;
            }
            self.check_progress(now)?;
            self.wait(&mut events)?;
            for event in events.drain(..) {
                let event: epoll::Event = event;
                let link = usize::try_from(event.data.u64()).unwrap_or(usize::MAX);
                self.serve(link, event.flags);
            }
        }
        Ok(self.finish())
    }

    fn now(&self) -> u64 {
        units::nanos(self.origin.elapsed())
    }

    fn pin(&self) -> Result<(), Error> {
        if self.plan.cores.is_empty() {
            return Ok(());
        }
        let core = self.plan.cores[self.number % self.plan.cores.len()];
        let mut set = rustix::thread::CpuSet::new();
        set.set(core);
        rustix::thread::sched_setaffinity(None, &set).map_err(|errno| Error::Pin { core, source: errno.into() })
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> Result<(), Error> {
        let before = self.now();
        let nanos = if self.plan.spin { 0 } else { self.next_event().saturating_sub(before).min(NAP_NS) };
        let timeout = Timespec { tv_sec: 0, tv_nsec: nanos.cast_signed() };
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), Some(&timeout)) {
            Ok(0) if self.plan.spin => self.record.idle_ns += self.now().saturating_sub(before),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::Client { what: "epoll", source: errno.into() }),
        }
        Ok(())
    }

    /// When something is to be done though no socket has news.
    fn next_event(&self) -> u64 {
        let due = match &self.schedule {
            Some(schedule) if self.pending.is_none() && !self.has_drawn_all(schedule.due()) => schedule.due(),
            _ => u64::MAX,
        };
        due.min(self.record.next_roll()).min(if self.down > 0 { self.next_retry() } else { u64::MAX })
    }

    /// Whether a request that is due at `due` would be beyond the end.
    fn has_drawn_all(&self, due: u64) -> bool {
        self.quota == 0 || due >= self.stop_at
    }

    fn is_finished(&mut self) -> bool {
        let now = self.now();
        let patience = units::nanos(self.plan.drain);
        if self.all_down_since.is_some_and(|since| now.saturating_sub(since) > patience) {
            return true;
        }
        if now.saturating_sub(patience) > self.stop_at {
            return true;
        }
        let due = self.schedule.as_ref().map_or(now, Schedule::due);
        if !self.has_drawn_all(due) {
            return false;
        }
        // In a closed loop a request that waits for a connection has not been due yet.
        let waiting = self.outstanding > 0 || (self.pending.is_some() && self.schedule.is_some());
        let since = *self.exhausted_at.get_or_insert(if self.stop_at == u64::MAX { now } else { self.stop_at });
        !waiting || now.saturating_sub(since) > patience
    }

    /// A run by number has no end of its own where the server takes requests and answers none.
    fn check_progress(&self, now: u64) -> Result<(), Error> {
        let silent = now.saturating_sub(self.last_reply);
        let by_number = matches!(self.plan.end, End::Requests(_));
        if !by_number || self.outstanding == 0 || silent <= units::nanos(self.plan.stall) {
            return Ok(());
        }
        Err(Error::Stalled {
            address: self.plan.address.clone(),
            seconds: silent / units::SECOND,
            outstanding: self.outstanding,
            left: self.quota,
        })
    }

    fn finish(mut self) -> Outcome {
        let now = self.now();
        self.give_up(now);
        let time = self.record.finish();
        Outcome {
            by_operation: self.record.by_operation,
            errors: self.record.errors,
            findings: self.record.findings,
            time,
            idle_ns: self.record.idle_ns,
            ended: now,
            last_answer: self.record.last_answer,
        }
    }

    /// What has no answer yet has waited at least until now: leaving it out would flatter the server.
    fn give_up(&mut self, now: u64) {
        for link in &mut self.links {
            let held = link.held.drain(..).map(|(_, due)| due);
            for due in link.flights.drain(..).map(|flight| flight.due).chain(held) {
                self.record.given_up(due, now);
                if let Some(counts) = self.record.counts(due) {
                    counts.unanswered += 1;
                }
            }
        }
        let Some(mut schedule) = self.schedule.take() else { return };
        if let Some(request) = self.pending.take() {
            self.note_unsent(request.due, now);
        }
        while !self.has_drawn_all(schedule.due()) && schedule.due() <= now {
            self.note_unsent(schedule.due(), now);
            schedule.advance(&mut self.rng);
            self.quota -= 1;
        }
    }

    fn note_unsent(&mut self, due: u64, now: u64) {
        self.record.given_up(due, now);
        if let Some(counts) = self.record.counts(due) {
            counts.unsent += 1;
        }
    }
}

/// This thread's part of a whole that is dealt out one by one.
fn share(whole: u64, number: usize, threads: usize) -> u64 {
    let (number, threads) = (number as u64, threads as u64);
    whole / threads + u64::from(number < whole % threads)
}
