//! Connections that come, break, come back, and lead to other nodes.

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;

use rustix::event::epoll::{self, EventData, EventFlags};

use crate::error::Error;
use crate::link::{self, Flight, Link};

use super::Worker;

impl Worker<'_> {
    /// Opens `count` connections to a node.
    pub(super) fn connect_node(&mut self, node: usize, count: usize) -> Result<(), Error> {
        while self.free.len() <= node {
            self.free.push(VecDeque::with_capacity(count));
        }
        for _ in 0..count {
            let stream = link::connect(&self.topology.nodes[node], self.plan)?;
            self.watch(self.links.len(), &stream)?;
            self.links.push(Link::new(node, stream, self.plan.pipeline));
            let now = self.now();
            self.offer(self.links.len() - 1, now);
        }
        Ok(())
    }

    fn watch(&self, at: usize, stream: &TcpStream) -> Result<(), Error> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&self.epoll, stream, EventData::new_u64(at as u64), flags)
            .map_err(|errno| Error::Client { what: "epoll", source: errno.into() })
    }

    /// The connection is gone; what was under way on it has no known outcome.
    pub(super) fn break_off(&mut self, at: usize, error: &io::Error) {
        let now = self.now();
        if self.links[at].stream.is_none() {
            return;
        }
        self.record.errors.note(format!("connection lost: {error}").as_bytes());
        let node = self.links[at].node;
        self.free[node].retain(|&free| free != at);
        self.links[at].break_off();
        self.links[at].retry_at = now + Self::retry_ns();
        self.down += 1;
        if self.down == self.links.len() {
            self.all_down_since = Some(now);
        }
        let held = std::mem::take(&mut self.links[at].held);
        self.outstanding -= held.len();
        for (_, due) in held {
            if let Some(counts) = self.record.counts(due) {
                counts.lost += 1;
            }
        }
        while let Some(flight) = self.links[at].flights.pop_front() {
            if let Some(counts) = self.record.counts(flight.due) {
                counts.lost += 1;
            }
            self.forget(&flight);
            self.outstanding -= 1;
        }
    }

    /// Tries the broken connections whose time has come.
    pub(super) fn reconnect(&mut self, now: u64) {
        if self.down == 0 {
            return;
        }
        for at in 0..self.links.len() {
            if self.links[at].stream.is_some() || self.links[at].retry_at > now {
                continue;
            }
            let node = self.links[at].node;
            let stream = link::connect(&self.topology.nodes[node], self.plan);
            // The wait for an answer is the server's; what was due meanwhile is not the client's fault.
            self.free_since = self.now();
            match stream.and_then(|stream| self.watch(at, &stream).map(|()| stream)) {
                Ok(stream) => {
                    self.links[at].stream = Some(stream);
                    self.down -= 1;
                    self.all_down_since = None;
                    if let Some(counts) = self.record.counts(now) {
                        counts.reconnects += 1;
                    }
                    self.offer(at, now);
                }
                Err(_) => self.links[at].retry_at = self.free_since + Self::retry_ns(),
            }
        }
    }

    /// Sends a request again to the node that `MOVED` names; whether that was possible.
    pub(super) fn redirect(&mut self, asked: usize, mut flight: Flight, text: &[u8], now: u64) -> bool {
        let Some(node) = self.topology.moved(text, self.links[asked].node) else { return false };
        if node >= self.free.len() && self.connect_node(node, self.links_per_node).is_err() {
            return false;
        }
        // Beyond the pipeline's depth if need be: what has been accepted once is not held back again.
        let ready = self.free[node].front().copied();
        let link = ready.or_else(|| self.links.iter().position(|link| link.node == node && link.stream.is_some()));
        let Some(link) = link else { return false };
        flight.redirects += 1;
        if let Some(counts) = self.record.counts(flight.due) {
            counts.redirected += 1;
        }
        self.put(link, flight, now);
        true
    }
}
