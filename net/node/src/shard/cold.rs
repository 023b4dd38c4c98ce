//! Commands whose records may be on disk only: they wait, and others go on, until the records have been read.
//!
//! A core must not touch a page that the kernel would have to fetch: that blocks all its clients. So before a command
//! on keys is executed whose records are [doubted](Partition::is_doubted), they are
//! read through the ring. The connection is stalled meanwhile, or the errand is held, and with it later errands of
//! the same connection, since order is the protocol.
//!
//! The kernel may take the pages away again at any time. So all is checked again after the reads, and after a bounded
//! number of rounds the command is executed whatever is in memory: slow is better than never.
//!
//! What has come from the disk may have rotted there, so these records are verified again before they are used: a command
//! that needs a damaged one is refused.
//!
//! What goes over many keys without naming them is not read ahead: SCAN, KEYS, RANDOMKEY, the sweep of expired keys. The
//! first three verify what they read all the same.

use std::io;
use std::ops::Range;

use windrow_core::log::Damaged;
use windrow_proto::command::{Command, keys_of};
use windrow_proto::data::DataError;
use windrow_proto::resp::{Args, Encoder};
use windrow_store::{SegmentView, cold_range};

use super::Now;
use super::client::Client;
use super::clients::Clients;
use super::commands::ServerCommands;
use super::engine::Engine;
use super::handler::DiskSink;
use super::transaction::Transaction;
use super::work::{Errand, What};
use crate::ring::ConnId;
use crate::ring::slots::Slots;

/// Bytes that are read for one command at once, unless one record has more.
const FETCH_LEN_MAX: usize = 1 << 20;
/// Rounds of reads that a command may take for each of its keys: a record's header tells how long it is, so it takes
/// two where the kernel takes nothing away.
const ROUNDS_PER_KEY: usize = 2;
/// See [`ROUNDS_PER_KEY`]: so many more.
const ROUNDS_MORE: usize = 2;

/// Who waits for reads.
#[derive(Clone, Copy, Debug)]
enum Waiter {
    /// A connection of this core.
    Connection(ConnId),
    /// An errand that is held at this partition.
    Errand { at: usize },
}

/// The reads for one command.
#[derive(Debug)]
struct Fetch {
    waiter: Waiter,
    missing: usize,
}

/// A read that is to be started.
#[derive(Debug)]
struct Wanted {
    fetch: u32,
    segment: SegmentView,
    range: Range<usize>,
}

/// The reads of one core.
#[derive(Default, Debug)]
pub(super) struct Fetches {
    under_way: Slots<Fetch>,
    wanted: Vec<Wanted>,
}

/// An errand that waits for reads, or for an earlier one of the same connection.
#[derive(Debug)]
pub(crate) struct Held {
    errand: Errand,
    /// How often it has waited.
    rounds: usize,
    /// The reads that it waits for; `None` where it waits for its turn.
    fetch: Option<u32>,
}

impl Held {
    fn is_of(&self, core: usize, conn: ConnId) -> bool {
        self.errand.asker.core == core && self.errand.conn == conn
    }
}

impl<S: ServerCommands> Engine<S> {
    /// Whether something must be done on a partition before the next command of `conn`, which then is resumed.
    #[inline]
    pub(super) fn must_wait(&mut self, at: usize, conn: ConnId) -> bool {
        let hosted = &mut self.parts.hosted[at];
        if !hosted.parked.is_empty() {
            hosted.stall(conn);
            return true;
        }
        let behind = hosted.held.iter().any(|held| held.is_of(self.parts.core, conn));
        if behind {
            hosted.behind.push(conn);
        }
        behind
    }

    /// Whether an earlier errand of the same connection is held.
    #[inline]
    pub(super) fn is_behind(&self, at: usize, errand: &Errand) -> bool {
        self.parts.hosted[at].held.iter().any(|held| held.is_of(errand.asker.core, errand.conn))
    }

    /// Notes the keys of a command, for [`fetch_for`](Self::fetch_for).
    pub(super) fn hash_keys(&mut self, at: usize, command: &'static Command, args: Args<'_>) {
        self.hashes.clear();
        self.add_keys(at, command, args);
    }

    fn add_keys(&mut self, at: usize, command: &'static Command, args: Args<'_>) {
        let partition = &self.parts.hosted[at].partition;
        self.hashes.extend(keys_of(command, args).map(|found| partition.hash(found.key)));
    }

    fn add_key(&mut self, at: usize, key: &[u8]) {
        self.hashes.push(self.parts.hosted[at].partition.hash(key));
    }

    /// Notes the keys of a transaction, the watched ones included.
    pub(super) fn hash_transaction(&mut self, at: usize, transaction: &Transaction) {
        self.hashes.clear();
        transaction.queued.iter().for_each(|queued| self.add_keys(at, queued.command, queued.args.args()));
        transaction.watched.keys().for_each(|key| self.add_key(at, key));
    }

    fn hash_errand(&mut self, at: usize, what: &What) {
        self.hashes.clear();
        match what {
            What::Command { command, args, .. } => self.add_keys(at, command, args.args()),
            What::Transaction(package) => {
                package.queued.iter().for_each(|queued| self.add_keys(at, queued.command, queued.args.args()));
                package.watched.iter().for_each(|(key, _)| self.add_key(at, key));
            }
            What::Watch(keys) => keys.iter().for_each(|key| self.add_key(at, key)),
            What::Flush | What::Count { .. } | What::CountNow | What::StopCounting => {}
        }
    }

    /// Whether any of the noted keys may lead to a record that is on disk only.
    pub(super) fn leads_to_doubted(&self, at: usize) -> bool {
        let partition = &self.parts.hosted[at].partition;
        self.hashes.iter().any(|&hash| partition.leads_to_doubted(hash))
    }

    /// Has those records of the noted keys read that are not in memory. Returns whether there are any; the connection
    /// is resumed when they are there.
    pub(super) fn fetch_for(&mut self, at: usize, client: &mut Client<'_>) -> bool {
        let rounds = &mut client.session.disk_rounds;
        let waits = self.fetch(at, *rounds, Waiter::Connection(client.id)).is_some();
        *rounds = if waits { *rounds + 1 } else { 0 };
        waits
    }

    /// Does an errand, unless it must be held: for records on disk, or because an earlier one of its connection is.
    pub(super) fn hold_errand(&mut self, at: usize, errand: Errand, rounds: usize) -> Option<Errand> {
        if self.is_behind(at, &errand) {
            self.parts.hosted[at].held.push(Held { errand, rounds, fetch: None });
            return None;
        }
        if !self.parts.hosted[at].partition.has_doubted() {
            return Some(errand);
        }
        self.hash_errand(at, &errand.what);
        let Some(fetch) = self.fetch(at, rounds, Waiter::Errand { at }) else { return Some(errand) };
        self.parts.hosted[at].held.push(Held { errand, rounds: rounds + 1, fetch: Some(fetch) });
        None
    }

    fn fetch(&mut self, at: usize, rounds: usize, waiter: Waiter) -> Option<u32> {
        let hosted = &self.parts.hosted[at];
        if !hosted.partition.has_doubted() {
            return None;
        }
        if rounds >= ROUNDS_MORE + ROUNDS_PER_KEY * self.hashes.len() {
            return None;
        }
        let Fetches { under_way, wanted } = &mut self.fetches;
        let before = wanted.len();
        let mut fetch = None;
        let mut len = 0;
        for &hash in &self.hashes {
            let Some((base, range)) = cold_range(&hosted.partition, hash) else { continue };
            let known = |other: &Wanted| other.segment.base() == base && other.range == range;
            if wanted[before..].iter().any(known) {
                continue;
            }
            if len > 0 && len + range.len() > FETCH_LEN_MAX {
                break;
            }
            let Some(segment) = hosted.partition.segment(base) else { continue };
            len += range.len();
            let fetch = *fetch.get_or_insert_with(|| under_way.insert(Fetch { waiter, missing: 0 }));
            under_way.get_mut(fetch).missing += 1;
            wanted.push(Wanted { fetch, segment: segment.share(), range });
        }
        self.parts.server.metrics().counters().cold_reads.add((wanted.len() - before) as u64);
        fetch
    }

    /// Looks once more at those records of the noted keys that may have come from the disk since they were written, and
    /// says what is wrong with the first that is not what was written.
    pub(super) fn damage(&self, at: usize) -> Option<Damaged> {
        self.parts.hosted[at].partition.verify_candidates(&self.hashes).err()
    }

    /// The reply to a command that needs a damaged record. It was not executed.
    pub(super) fn say_damage(&mut self, at: usize, damage: &Damaged, encoder: &mut Encoder<'_>) {
        self.parts.server.metrics().error_reply(b"DAMAGED");
        self.parts.hosted[at].rot.note(damage);
        let partition = self.parts.hosted[at].id;
        encoder.error_fmt(format_args!("{}", DataError::Damaged { partition, damage: *damage }));
    }

    pub(super) fn start_wanted_reads(&mut self, sink: &mut impl DiskSink<SegmentView>) {
        for Wanted { fetch, segment, range } in self.fetches.wanted.drain(..) {
            sink.read(u64::from(fetch), segment, range);
        }
    }

    /// One of the reads of a fetch is done.
    pub(super) fn one_was_read(&mut self, ticket: u64, result: io::Result<()>, clients: &mut Clients, now: Now) {
        if let Err(error) = result {
            // Whoever touches the page will end the process; perhaps nobody has to.
            tracing::error!(%error, "a part of the log could not be read");
        }
        let place = u32::try_from(ticket).expect("tickets are places of fetches");
        let fetch = self.fetches.under_way.get_mut(place);
        fetch.missing -= 1;
        if fetch.missing > 0 {
            return;
        }
        match self.fetches.under_way.remove(place).waiter {
            Waiter::Connection(conn) => clients.resume(conn),
            Waiter::Errand { at } => self.go_on(at, place, clients, now),
        }
    }

    /// Goes on with the errand that waited for `fetch`, and with those behind it.
    fn go_on(&mut self, at: usize, fetch: u32, clients: &mut Clients, now: Now) {
        let hosted = &mut self.parts.hosted[at];
        let first = hosted.held.iter().find(|held| held.fetch == Some(fetch));
        let Some((core, conn)) = first.map(|held| (held.errand.asker.core, held.errand.conn)) else { return };
        let due: Vec<Held> = hosted.held.extract_if(.., |held| held.is_of(core, conn)).collect();
        for Held { errand, rounds, .. } in due {
            self.do_errand_again(at, errand, rounds, now);
        }
        for conn in self.parts.hosted[at].behind.drain(..) {
            clients.resume(conn);
        }
    }
}
