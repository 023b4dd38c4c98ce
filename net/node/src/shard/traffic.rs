//! What comes in on connections, and what goes out.

use std::io;
use std::mem;
use std::time::Duration;

use rustix::net::{Shutdown, shutdown};

use super::Now;
use super::clients::Clients;
use super::driver::Driver;
use super::handler::{Handler, Stop};
use crate::metrics::Stage;
use crate::net::limits::{INPUT_BUDGET_PER_CORE, INPUT_STALLED_MAX, PIPELINE_RESUME};
use crate::net::{Connection, Overdue, Pool, Receiving, Stalled, Wait};
use crate::ring::{ConnId, Lease, Part, Received};

/// Connections that a flush has woken and that one round sends to, where others ask for what needs no flush. Handing
/// replies to the kernel takes some microseconds for each, and whoever reads would wait for all of them: measured with 50
/// that write and one that reads, its median from 178 to 100 µs (alone it is 113), and its p99 to two thirds.
/// Where all wait for flushes, one round sends to all: then they come back together, and share the next flush.
const SENDS_PER_ROUND: usize = 8;
/// How long somebody is taken to be there who asks for what needs no flush.
const AT_ONCE_WITHIN: Duration = Duration::from_millis(20);

impl<H: Handler> Driver<H> {
    /// Something was received, or can't be. Returns how many bytes it was.
    pub(super) fn received(&mut self, id: ConnId, received: Received, armed: bool) -> usize {
        if let Some(connection) = self.clients.slab.get_mut(id) {
            if !armed {
                connection.receiving = Receiving::Stopped;
            }
            match received {
                Received::Eof => connection.ended = true,
                Received::Failed(_) => connection.broken = true,
                Received::Data(_) | Received::NoBuffers | Received::Cancelled => {}
            }
        }
        let mut len = 0;
        if let Received::Data(lease) = received {
            len = self.ring.bytes(&lease).len();
            self.take_in(id, &lease);
            self.ring.give_back(lease);
        }
        self.clients.touch(id);
        len
    }

    /// Executes what was received, as far as it is whole, and keeps the rest.
    fn take_in(&mut self, id: ConnId, lease: &Lease) {
        let Clients { slab, pool, .. } = &mut self.clients;
        let Some(connection) = slab.get_mut(id) else { return };
        let bytes = self.ring.bytes(lease);
        connection.session.traffic.bytes_in += bytes.len() as u64;
        connection.session.last_active = self.now.instant;
        self.handler.metrics().counters().net_input_bytes.add(bytes.len() as u64);
        if connection.broken || connection.closing {
            return;
        }
        let held = connection.input.len();
        if held == 0 && connection.stalled.is_none() {
            let consumed = execute(&mut self.handler, connection, bytes, pool, self.now);
            if consumed < bytes.len() && !connection.closing {
                connection.input = pool.take();
                connection.input.extend_from_slice(&bytes[consumed..]);
            }
        } else {
            connection.input.extend_from_slice(bytes);
            execute_held(&mut self.handler, connection, pool, self.now);
        }
        self.input_held = self.input_held - held + connection.input.len();
        let counters = self.handler.metrics().counters();
        counters.input_buffer_bytes_max.raise(connection.input.len() as u64);
        if self.input_held > INPUT_BUDGET_PER_CORE {
            counters.input_limit_disconnections.increment();
            connection.broken = true;
        }
        let full = connection.stalled.is_some() && connection.input.len() > INPUT_STALLED_MAX;
        if full && connection.receiving == Receiving::Armed {
            connection.receiving = Receiving::Stopping;
            self.ring.cancel_receive(id);
        }
    }

    /// Goes on with connections that had stalled. Returns whether there were any.
    pub(super) fn resume(&mut self) -> bool {
        if self.clients.resumed.is_empty() {
            return false;
        }
        let mut resumed = mem::take(&mut self.clients.resumed);
        for id in resumed.drain(..) {
            let Clients { slab, pool, .. } = &mut self.clients;
            let Some(connection) = slab.get_mut(id) else { continue };
            if !connection.broken && !connection.closing {
                let held = connection.input.len();
                execute_held(&mut self.handler, connection, pool, self.now);
                self.input_held = self.input_held - held + connection.input.len();
            }
            self.clients.touch(id);
        }
        if self.clients.resumed.is_empty() {
            self.clients.resumed = resumed;
        }
        true
    }

    /// Sends what may be sent. Returns whether there is something to be done at once.
    pub(super) fn send(&mut self) -> bool {
        let mut dirty = mem::take(&mut self.clients.dirty);
        for id in dirty.drain(..) {
            self.settle(id);
        }
        if self.clients.dirty.is_empty() {
            self.clients.dirty = dirty;
        }
        let mixed = self.at_once.is_some_and(|last| self.now.instant.saturating_duration_since(last) < AT_ONCE_WITHIN);
        for _ in 0..if mixed { SENDS_PER_ROUND } else { usize::MAX } {
            let Some(id) = self.clients.next_woken() else { break };
            self.settle(id);
        }
        let Clients { dirty, woken, resumed, .. } = &self.clients;
        !(dirty.is_empty() && woken.is_empty() && resumed.is_empty())
    }

    /// A send is done.
    pub(super) fn sent(&mut self, id: ConnId, result: io::Result<usize>, mut parts: Vec<Part>) {
        for part in parts.drain(..) {
            match part {
                Part::Bytes(bytes) => self.clients.pool.give_back(bytes),
                // Lets go of the segment.
                Part::Mapped(value) => drop(value),
            }
        }
        self.spare_parts.push(parts);
        if let Some(connection) = self.clients.slab.get_mut(id) {
            connection.sending = false;
            connection.sending_len = 0;
            connection.sending_in_memory = 0;
            match result {
                Ok(len) => {
                    connection.session.traffic.bytes_out += len as u64;
                    self.handler.metrics().counters().net_output_bytes.add(len as u64);
                }
                Err(_) => connection.broken = true,
            }
        }
        self.clients.touch(id);
    }

    /// Does what is due for a connection: sends, waits, resumes, receives again, closes.
    fn settle(&mut self, id: ConnId) {
        let Some(connection) = self.clients.slab.get_mut(id) else { return };
        connection.dirty = false;
        self.release(id);
        let Some(connection) = self.clients.slab.get_mut(id) else { return };
        if connection.output_exceeds(&self.limits) && !connection.broken {
            self.handler.metrics().counters().output_limit_disconnections.increment();
            connection.broken = true;
        }
        let has_sent = connection.output.replies() <= PIPELINE_RESUME
            && connection.output.has_room_again()
            && connection.output_len() <= self.limits.output_soft_len / 2;
        if connection.stalled == Some(Stalled::Replies) && has_sent {
            connection.stalled = None;
            self.clients.resumed.push(id);
        } else if connection.is_done() {
            self.finish(id);
            return;
        }
        let Some(connection) = self.clients.slab.get_mut(id) else { return };
        let full = connection.stalled.is_some() && connection.input.len() > INPUT_STALLED_MAX;
        let wanted = !(connection.ended || connection.closing || connection.broken || full);
        if wanted && connection.receiving == Receiving::Stopped {
            connection.receiving = Receiving::Armed;
            self.ring.receive(id, connection.socket());
        }
    }

    /// Hands replies that need not wait to the kernel, and has the connection woken for the others.
    fn release(&mut self, id: ConnId) {
        let Clients { slab, pool, .. } = &mut self.clients;
        let Some(connection) = slab.get_mut(id) else { return };
        if connection.sending || connection.broken {
            return;
        }
        let mut parts = self.spare_parts.pop().unwrap_or_default();
        let handler = &self.handler;
        let released = connection.output.release(
            pool,
            &mut parts,
            |partition| handler.committed(partition),
            |replies, wait, since| self.released.push((replies, wait, since)),
        );
        let metrics = self.handler.metrics();
        for (replies, wait, since) in self.released.drain(..) {
            let took = self.now.instant.saturating_duration_since(since);
            if matches!(wait, Wait::Commit { .. }) {
                metrics.stage(Stage::Flushed, took, replies as u64);
            } else {
                self.at_once = Some(self.now.instant);
            }
            metrics.stage(Stage::Replied, took, replies as u64);
        }
        if parts.is_empty() {
            self.spare_parts.push(parts);
        } else {
            metrics.counters().output_buffer_bytes_max.raise((connection.output.len() + released.bytes) as u64);
            connection.sending = true;
            connection.sending_len = released.bytes;
            connection.sending_in_memory = released.in_memory;
            self.ring.send(id, connection.socket(), parts);
        }
        if let Some(Wait::Commit { partition, end, .. }) = connection.output.front()
            && !connection.waiting
            && self.handler.committed(partition) < end
        {
            connection.waiting = true;
            self.handler.wait(id, partition, end);
        }
    }

    /// Brings a connection to its end: the socket is closed once the kernel has no operation on it.
    fn finish(&mut self, id: ConnId) {
        let Some(connection) = self.clients.slab.get_mut(id) else { return };
        if connection.receiving == Receiving::Armed {
            connection.receiving = Receiving::Stopping;
            self.ring.cancel_receive(id);
        }
        if connection.sending {
            // Ends the send; that it may already be so is no matter.
            let _ = shutdown(connection.socket(), Shutdown::Both);
            return;
        }
        if connection.receiving == Receiving::Stopped
            && let Some(connection) = self.clients.slab.remove(id)
        {
            self.removed(connection);
        }
    }

    /// Disconnects a client without sending what is left.
    pub(super) fn give_up(&mut self, id: ConnId) {
        if let Some(connection) = self.clients.slab.get_mut(id) {
            connection.broken = true;
            self.clients.touch(id);
        }
    }

    /// Disconnects a client whose time is over.
    pub(super) fn check_deadlines(&mut self, id: ConnId) {
        let Some(connection) = self.clients.slab.get_mut(id) else { return };
        connection.note_traffic();
        let overdue = connection.overdue(self.now.instant, &self.limits);
        let killed = connection.session.killed;
        let counters = self.handler.metrics().counters();
        match overdue {
            Some(Overdue::Deadline) => counters.deadline_disconnections.increment(),
            Some(Overdue::Output) => counters.output_limit_disconnections.increment(),
            Some(Overdue::Idle) | None => {}
        }
        if overdue.is_some() || killed {
            self.give_up(id);
        }
    }
}

/// Executes what a connection holds.
fn execute_held<H: Handler>(handler: &mut H, connection: &mut Connection, pool: &mut Pool, now: Now) {
    if connection.stalled.is_some() || connection.input.len() < connection.needed {
        return;
    }
    let mut input = mem::take(&mut connection.input);
    let consumed = execute(handler, connection, &input, pool, now);
    input.drain(..consumed);
    if input.is_empty() || connection.closing {
        pool.give_back(input);
    } else {
        connection.input = input;
    }
}

/// Executes whole commands at the start of `input` and returns how many bytes they took.
fn execute<H: Handler>(handler: &mut H, connection: &mut Connection, input: &[u8], pool: &mut Pool, now: Now) -> usize {
    let progress = handler.execute(connection, input, pool, now);
    let partial = match progress.stop {
        Stop::NeedsInput { at_least } => {
            connection.needed = at_least;
            progress.consumed < input.len()
        }
        Stop::Stalled => {
            connection.needed = 1;
            false
        }
        Stop::Close => {
            connection.closing = true;
            false
        }
    };
    connection.note_partial(partial, now.instant);
    progress.consumed
}
