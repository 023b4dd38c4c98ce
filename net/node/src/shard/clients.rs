//! The connections of one core, and which of them have something to be done.

use std::collections::VecDeque;

use crate::net::{Connection, Pool, Slab, Stalled, Ticket, Wait};
use crate::ring::{ConnId, Mapped};

/// The connections of one core.
#[derive(Default)]
pub(crate) struct Clients {
    pub(crate) slab: Slab<Connection>,
    pub(crate) pool: Pool,
    /// Connections whose output may have something to send, or that may be closed.
    pub(crate) dirty: Vec<ConnId>,
    /// Connections whose wait for a flush is over, each once. Many are at a time, so that each round looks at some of
    /// them only.
    pub(crate) woken: VecDeque<ConnId>,
    /// Connections that had stalled and may go on.
    pub(crate) resumed: Vec<ConnId>,
    /// Bytes that the replies may have together that one connection expects from elsewhere, as far as is known.
    pub(crate) elsewhere_len: usize,
}

impl Clients {
    /// Has the connection's output looked at in this tick.
    pub(crate) fn touch(&mut self, id: ConnId) {
        if let Some(connection) = self.slab.get_mut(id)
            && !connection.dirty
        {
            connection.dirty = true;
            self.dirty.push(id);
        }
    }

    /// A reply that was expected is there, and may go out; nothing happens where the connection is gone. It is `reply`
    /// and, if there is a value to follow it, that and CR LF.
    pub(crate) fn fulfil(&mut self, id: ConnId, ticket: Ticket, reply: Vec<u8>, value: Option<Mapped>) {
        match self.slab.get_mut(id) {
            Some(connection) => connection.output.fulfil(ticket, reply, value, Wait::Ready, self.elsewhere_len),
            None => self.pool.give_back(reply),
        }
        self.touch(id);
    }

    /// A command that had to wait need not any longer. Who waits for its replies to go out goes on waiting.
    pub(crate) fn resume(&mut self, id: ConnId) {
        if let Some(connection) = self.slab.get_mut(id)
            && connection.stalled == Some(Stalled::Command)
        {
            connection.stalled = None;
            self.resumed.push(id);
        }
    }

    /// What a connection that waited for a flush had to wait for may have come.
    pub(crate) fn wake(&mut self, id: ConnId) {
        if let Some(connection) = self.slab.get_mut(id) {
            connection.waiting = false;
            // It may be among them still: something that it has sent was a reason to send to it before its turn.
            if !connection.woken {
                connection.woken = true;
                self.woken.push_back(id);
            }
        }
    }

    /// The next of those whose wait for a flush is over.
    pub(crate) fn next_woken(&mut self) -> Option<ConnId> {
        let id = self.woken.pop_front()?;
        if let Some(connection) = self.slab.get_mut(id) {
            connection.woken = false;
        }
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::time::Instant;

    use super::*;
    use crate::shard::Session;

    fn connected(clients: &mut Clients) -> ConnId {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        let session = Session::new(1, address, address, Instant::now());
        let socket = tempfile::tempfile().unwrap().into();
        clients.slab.insert_with(|id| Connection::new(id, socket, session))
    }

    /// A client with a long pipeline waits for flush after flush while its turn is still to come.
    #[test]
    fn who_is_woken_again_before_his_turn_has_one_turn() {
        let mut clients = Clients::default();
        let (id, other) = (connected(&mut clients), connected(&mut clients));
        clients.wake(id);
        clients.wake(other);
        clients.wake(id);
        assert_eq!([clients.next_woken(), clients.next_woken(), clients.next_woken()], [Some(id), Some(other), None]);
        clients.wake(id);
        assert_eq!(clients.next_woken(), Some(id));
    }

    #[test]
    fn only_who_waits_for_a_command_is_resumed() {
        let mut clients = Clients::default();
        let id = connected(&mut clients);
        let stall = |clients: &mut Clients, stalled| clients.slab.get_mut(id).unwrap().stalled = stalled;
        clients.resume(id);
        assert!(clients.resumed.is_empty());

        // Else nobody would go on with its input once the replies are out.
        stall(&mut clients, Some(Stalled::Replies));
        clients.resume(id);
        assert!(clients.resumed.is_empty());
        assert_eq!(clients.slab.get_mut(id).unwrap().stalled, Some(Stalled::Replies));

        stall(&mut clients, Some(Stalled::Command));
        clients.resume(id);
        clients.resume(id);
        assert_eq!(clients.resumed, [id]);
        assert_eq!(clients.slab.get_mut(id).unwrap().stalled, None);
    }
}
