//! Drawing requests and sending them.

use crate::link::Flight;
use crate::mix::Kind;
use crate::units;
use crate::verify::Floor;

use super::{Request, Worker};

/// Requests written before the sockets get them, when many are due at once.
const BURST: usize = 32;
/// Keys tried for one that no write is under way for.
const WRITE_TRIES: usize = 64;

impl Worker<'_> {
    /// Sends whatever is due, as long as there are connections for it.
    pub(super) fn generate(&mut self) {
        let mut now = self.now();
        let mut written = 0_usize;
        loop {
            let Some(request) = self.pending.take().or_else(|| self.next_request(now)) else {
                return self.close_last_batch(now);
            };
            let node = self.owner(request.key);
            let Some(&link) = self.free[node].front() else {
                self.pending = Some(request);
                return;
            };
            let full = self.issue(link, request, now);
            written += 1;
            if self.schedule.is_none() && full {
                // The next connection's requests are not to wait for this one's, nor the other way round.
                self.flush(link);
                now = self.now();
            } else if written.is_multiple_of(BURST) {
                self.flush_dirty();
                now = self.now();
            }
        }
    }

    fn owner(&mut self, key: u64) -> usize {
        if !self.topology.is_cluster() {
            return 0;
        }
        self.key_text.clear();
        self.plan.keys.write(key, &mut self.key_text);
        self.topology.owner(&self.key_text)
    }

    /// Draws the next request if it is due.
    fn next_request(&mut self, now: u64) -> Option<Request> {
        let due = self.schedule.as_ref().map_or(now, crate::pace::Schedule::due);
        if due > now || self.has_drawn_all(due) {
            return None;
        }
        if self.schedule.is_none() && self.free.iter().all(std::collections::VecDeque::is_empty) {
            return None;
        }
        let request = self.draw(due)?;
        self.quota -= 1;
        if let Some(schedule) = &mut self.schedule {
            schedule.advance(&mut self.rng);
        }
        Some(request)
    }

    /// `None` if every key tried has a write under way: then a reply is to be awaited.
    fn draw(&mut self, due: u64) -> Option<Request> {
        let operation = self.plan.mix.draw(&mut self.rng);
        let kind = self.plan.mix.operations[operation].kind;
        let has_value = self.plan.mix.operations[operation].template.has_value() || kind == Kind::ReadModifyWrite;
        let size = if has_value { self.plan.sizes.draw(&mut self.rng) } else { 0 };
        let present = self.shared.inserts.present();
        if kind == Kind::Insert {
            let key = self.shared.inserts.take();
            let version = self.version_of(key)?;
            return Some(Request { due, key, version, size, operation });
        }
        let mut key = self.chooser.draw(&mut self.rng, present);
        if !matches!(kind, Kind::Write | Kind::ReadModifyWrite) {
            self.version += 1;
            return Some(Request { due, key, version: self.version, size, operation });
        }
        for _ in 0..WRITE_TRIES {
            if let Some(version) = self.version_of(key) {
                return Some(Request { due, key, version, size, operation });
            }
            key = (key + 1) % present;
        }
        self.free_since = self.now();
        None
    }

    /// The version that a write of `key` makes.
    fn version_of(&mut self, key: u64) -> Option<u64> {
        match &self.shared.table {
            Some(table) => table.begin_write(key),
            None => {
                self.version += 1;
                Some(self.version)
            }
        }
    }

    /// Writes the request into the connection's buffer; whether the connection can take no more.
    fn issue(&mut self, link: usize, request: Request, now: u64) -> bool {
        let Request { due, key, version, size, operation } = request;
        let due = if self.schedule.is_some() {
            self.record.sent(due, self.free_since, now);
            due
        } else {
            now
        };
        self.put(
            link,
            Flight { due, key, version, floor: Floor(0), size, operation, second: false, redirects: 0 },
            now,
        );
        self.outstanding += 1;
        let node = self.links[link].node;
        if self.links[link].flights.len() >= self.plan.pipeline {
            self.close_batch(link);
            self.free[node].pop_front();
            self.links[link].queued = false;
            return true;
        }
        if self.schedule.is_some() {
            self.free[node].rotate_left(1);
        }
        false
    }

    /// Sends what ends a batch, where a batch is ended by something.
    fn close_batch(&mut self, at: usize) {
        let Some(end) = &self.plan.batch_end else { return };
        let link = &mut self.links[at];
        if link.out.is_empty() {
            self.dirty.push(at);
        }
        end.template.write(0, 0, 0, &mut link.out);
        link.closing = true;
    }

    /// The run's last batch is seldom a whole one.
    fn close_last_batch(&mut self, now: u64) {
        if self.plan.batch_end.is_none() || !self.has_drawn_all(now) {
            return;
        }
        for at in 0..self.links.len() {
            if !self.links[at].flights.is_empty() && !self.links[at].closing {
                self.close_batch(at);
            }
        }
    }

    /// Puts a request on a connection, as new or as a repetition.
    pub(super) fn put(&mut self, at: usize, mut flight: Flight, now: u64) {
        let operation = &self.plan.mix.operations[flight.operation];
        let template = match &operation.second {
            Some(second) if flight.second => second,
            _ => &operation.template,
        };
        if let Some(table) = &self.shared.table {
            flight.floor = table.floor(flight.key, now);
        }
        let link = &mut self.links[at];
        if link.out.is_empty() {
            self.dirty.push(at);
        }
        template.write(flight.key, flight.version, flight.size, &mut link.out);
        link.flights.push_back(flight);
    }

    pub(super) fn flush_dirty(&mut self) {
        while let Some(link) = self.dirty.pop() {
            self.flush(link);
        }
    }

    pub(super) fn flush(&mut self, link: usize) {
        match self.links[link].flush() {
            Ok(0) => {}
            Ok(count) => self.record.moved(count, 0),
            Err(error) => self.break_off(link, &error),
        }
    }

    /// When a broken connection is to be tried again, the earliest.
    pub(super) fn next_retry(&self) -> u64 {
        self.links.iter().filter(|link| link.stream.is_none()).map(|link| link.retry_at).min().unwrap_or(u64::MAX)
    }

    /// The time between two tries to connect.
    pub(super) const fn retry_ns() -> u64 {
        units::SECOND / 10
    }
}
