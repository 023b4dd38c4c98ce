//! Reading replies: which request each answers, what it means, what comes next.

use std::io;

use rustix::event::epoll::EventFlags;

use crate::link::{Filled, Flight};
use crate::mix::Kind;
use crate::resp::{self, Reply};

use super::Worker;

/// A request that is sent from node to node oftener than this fails.
const REDIRECTS_MAX: u8 = 5;

impl Worker<'_> {
    /// Acts on what epoll says about a connection.
    pub(super) fn serve(&mut self, link: usize, flags: EventFlags) {
        if flags.contains(EventFlags::OUT) && !self.links[link].out.is_empty() {
            self.flush(link);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR | EventFlags::RDHUP) {
            self.read(link);
        }
        // Refilled connection by connection: what is due does not wait for the others' replies to be read.
        self.generate();
        self.flush_dirty();
    }

    fn read(&mut self, link: usize) {
        loop {
            match self.links[link].fill() {
                Ok(Filled::Nothing) => return,
                Ok(Filled::Closed) => return self.break_off(link, &io::ErrorKind::UnexpectedEof.into()),
                Ok(Filled::Bytes { count, more }) => {
                    self.record.moved(0, count);
                    if let Err(error) = self.take_replies(link) {
                        return self.break_off(link, &error);
                    }
                    if !more {
                        return;
                    }
                }
                Err(error) => return self.break_off(link, &error),
            }
        }
    }

    fn take_replies(&mut self, at: usize) -> io::Result<()> {
        let now = self.now();
        let mut input = std::mem::take(&mut self.links[at].input);
        let filled = self.links[at].filled;
        let mut start = 0;
        let result = loop {
            match resp::parse(&input[start..filled]) {
                Ok(Some((reply, length))) => {
                    start += length;
                    if !self.take_reply(at, reply, now) {
                        break Err(io::Error::new(io::ErrorKind::InvalidData, "a reply that nothing had asked for"));
                    }
                }
                Ok(None) => break Ok(()),
                Err(malformed) => break Err(io::Error::new(io::ErrorKind::InvalidData, malformed)),
            }
        };
        input.copy_within(start..filled, 0);
        self.links[at].input = input;
        self.links[at].filled = filled - start;
        self.offer(at, now);
        result
    }

    /// Makes the connection available again if more may be sent on it.
    pub(super) fn offer(&mut self, at: usize, now: u64) {
        let link = &mut self.links[at];
        let room = if self.plan.batched {
            link.flights.is_empty() && !link.closing
        } else {
            link.flights.len() < self.plan.pipeline
        };
        if !room || link.queued || link.stream.is_none() {
            return;
        }
        link.queued = true;
        let free = &mut self.free[link.node];
        if free.is_empty() {
            self.free_since = now;
        }
        free.push_back(at);
    }

    /// Whether the reply answers something.
    fn take_reply(&mut self, at: usize, reply: Reply<'_>, now: u64) -> bool {
        if reply == Reply::Push {
            return true;
        }
        self.last_reply = now;
        let Some(flight) = self.links[at].flights.pop_front() else { return self.take_batch_end(at, &reply, now) };
        if let Reply::Error(text) = reply {
            self.take_error(at, flight, text, now);
            return true;
        }
        let kind = self.plan.mix.operations[flight.operation].kind;
        let reads = kind == Kind::Read || (kind == Kind::ReadModifyWrite && !flight.second);
        if reads {
            self.take_value(&flight, reply);
        }
        if reads && kind == Kind::ReadModifyWrite {
            self.put(at, Flight { second: true, ..flight }, now);
            return true;
        }
        if matches!(kind, Kind::Write | Kind::Insert | Kind::ReadModifyWrite) {
            if let Some(table) = &self.shared.table {
                table.confirm_write(flight.key, flight.version, now);
            }
            if kind == Kind::Insert {
                self.shared.inserts.confirm(flight.key);
            }
        }
        if self.plan.batch_end.is_some() {
            self.links[at].held.push((flight.operation, flight.due));
            return true;
        }
        self.outstanding -= 1;
        self.record.answered(flight.operation, flight.due, now);
        true
    }

    /// The answer to what ended a batch: its requests are answered with it, well or ill.
    fn take_batch_end(&mut self, at: usize, reply: &Reply<'_>, now: u64) -> bool {
        let Some(end) = &self.plan.batch_end else { return false };
        if !std::mem::take(&mut self.links[at].closing) {
            return false;
        }
        let fault = match reply {
            Reply::Error(text) => Some(*text),
            Reply::Number(number) if *number < end.at_least => Some(&b"the batch's end was answered with less"[..]),
            _ => None,
        };
        let mut held = std::mem::take(&mut self.links[at].held);
        self.outstanding -= held.len();
        for (operation, due) in held.drain(..) {
            if let Some(text) = fault {
                self.record.errors.note(text);
                if let Some(counts) = self.record.counts(due) {
                    counts.errors += 1;
                }
            } else {
                self.record.answered(operation, due, now);
            }
        }
        self.links[at].held = held;
        true
    }

    fn take_value(&mut self, flight: &Flight, reply: Reply<'_>) {
        let value = match reply {
            Reply::Bulk(value) => Some(value),
            _ => None,
        };
        if let Some(counts) = self.record.counts(flight.due) {
            counts.hits += u64::from(value.is_some());
            counts.misses += u64::from(value.is_none());
        }
        if let Some(table) = &self.shared.table {
            self.record.findings.checked += 1;
            if let Err(fault) = table.check(flight.key, flight.floor, value) {
                self.record.findings.note(flight.key, flight.floor, value, fault);
            }
        }
    }

    fn take_error(&mut self, at: usize, flight: Flight, text: &[u8], now: u64) {
        if text.starts_with(b"MOVED ") && flight.redirects < REDIRECTS_MAX && self.redirect(at, flight, text, now) {
            return;
        }
        self.record.errors.note(text);
        if let Some(counts) = self.record.counts(flight.due) {
            counts.errors += 1;
        }
        if self.plan.mix.operations[flight.operation].kind == Kind::Insert {
            // Later inserts are not to wait for one that has failed.
            self.shared.inserts.confirm(flight.key);
        }
        self.forget(&flight);
        self.outstanding -= 1;
    }

    /// Leaves a request whose outcome is not known, or which had none.
    pub(super) fn forget(&self, flight: &Flight) {
        let Some(table) = &self.shared.table else { return };
        match self.plan.mix.operations[flight.operation].kind {
            Kind::ReadModifyWrite if !flight.second => table.cancel_write(flight.key),
            Kind::Write | Kind::Insert | Kind::ReadModifyWrite => table.lose_write(flight.key),
            Kind::Read | Kind::Other => {}
        }
    }
}
