//! The rings between one core and each other one.
//!
//! `tools/model` compiles this file, too, around small rings of its own: what it goes through is when something is put
//! into a ring, kept back, announced and seen, not how `rtrb` works inside.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rings::{Consumer, OUTBOX_LEN, Producer, PushError, RING_LEN, RingBuffer};
use super::waker::Common;
use crate::ring::ConnId;
use crate::shard::Message;

struct Link {
    core: usize,
    to: Producer<Message>,
    from: Consumer<Message>,
    outbox: VecDeque<Message>,
    /// Something was put into the ring of which the peer has not been told.
    unannounced: bool,
    stalled: Vec<ConnId>,
}

/// One core's rings to and from all others.
pub(crate) struct Peers {
    common: Arc<Common>,
    links: Vec<Link>,
}

/// The rings between all cores, for each core its own.
pub(crate) fn connect(common: &Arc<Common>) -> Vec<Peers> {
    let count = common.cores();
    let mut all: Vec<Peers> = (0..count).map(|_| Peers { common: Arc::clone(common), links: Vec::new() }).collect();
    for a in 0..count {
        for b in a + 1..count {
            let (to_b, from_a) = RingBuffer::new(RING_LEN);
            let (to_a, from_b) = RingBuffer::new(RING_LEN);
            all[a].links.push(Link::new(b, to_b, from_b));
            all[b].links.push(Link::new(a, to_a, from_a));
        }
    }
    for peers in &mut all {
        peers.links.sort_by_key(|link| link.core);
    }
    all
}

impl Link {
    fn new(core: usize, to: Producer<Message>, from: Consumer<Message>) -> Self {
        Self { core, to, from, outbox: VecDeque::new(), unannounced: false, stalled: Vec::new() }
    }

    fn push(&mut self, message: Message) {
        if !self.outbox.is_empty() {
            self.outbox.push_back(message);
            return;
        }
        match self.to.push(message) {
            Ok(()) => self.unannounced = true,
            Err(PushError::Full(message)) => self.outbox.push_back(message),
        }
    }

    fn drain_outbox(&mut self) {
        while let Some(message) = self.outbox.pop_front() {
            match self.to.push(message) {
                Ok(()) => self.unannounced = true,
                Err(PushError::Full(message)) => {
                    self.outbox.push_front(message);
                    return;
                }
            }
        }
    }
}

impl Peers {
    fn link(&mut self, core: usize) -> &mut Link {
        self.links.iter_mut().find(|link| link.core == core).expect("another core of this node")
    }

    /// Whether no more errands should be given to `core` for now. If so, `conn` is resumed when there is room.
    pub(crate) fn is_full(&mut self, core: usize, conn: ConnId) -> bool {
        let link = self.link(core);
        let full = link.outbox.len() >= OUTBOX_LEN;
        if full {
            link.stalled.push(conn);
        }
        full
    }

    /// Sends `message` to `core`. It leaves with the next [`announce`](Self::announce) at the latest.
    pub(crate) fn send(&mut self, core: usize, message: Message) {
        self.link(core).push(message);
    }

    /// Moves on what waited for room, and wakes those who have new messages. Puts connections that may go on into
    /// `resumed`. Returns whether there is more to move.
    pub(crate) fn announce(&mut self, mut resumed: impl FnMut(ConnId)) -> bool {
        let mut more = false;
        for link in &mut self.links {
            link.drain_outbox();
            if std::mem::take(&mut link.unannounced) {
                self.common.waker(link.core).wake();
            }
            more |= !link.outbox.is_empty();
            if link.outbox.len() < OUTBOX_LEN / 2 {
                link.stalled.drain(..).for_each(&mut resumed);
            }
        }
        more
    }

    /// The next message of any core.
    pub(crate) fn receive(&mut self) -> Option<Message> {
        self.links.iter_mut().find_map(|link| link.from.pop().ok())
    }
}
