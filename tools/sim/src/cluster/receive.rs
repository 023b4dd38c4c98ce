//! What a node takes in: frames cut out of what has come, and the bytes of the log behind them, put straight where they
//! belong.

use std::collections::VecDeque;

use windrow_core::log::ReceiveError;
use windrow_core::replication::{Body, ReplicaId};
use windrow_core::types::{Epoch, Lsn};
use windrow_proto::replication::{Frame, Phase, decode};

use super::World;
use super::node::id;

/// What has come from one peer and is not taken in yet.
#[derive(Default)]
pub(super) struct Inbound {
    buffer: Vec<u8>,
    /// Messages that came one by one, behind the one in the buffer.
    pub(super) waiting: VecDeque<Vec<u8>>,
    payload: Option<Payload>,
}

/// Bytes of the log that follow a message.
struct Payload {
    left: u64,
    take: Option<Take>,
}

/// Which of them the log wants.
#[derive(Clone, Copy)]
pub(super) struct Take {
    pub(super) skip: u64,
    pub(super) next: Lsn,
    pub(super) upto: Lsn,
    /// The leadership that they belong to: under another one nobody wants them any more.
    pub(super) epoch: Epoch,
}

enum Progress {
    /// Something was taken in.
    Some,
    /// More has to come, or to happen, first.
    None,
    /// These bytes are not what a peer sends.
    Bad,
}

impl Inbound {
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets what has come: the stream has ended, or the message was none.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.payload = None;
    }
}

impl World {
    /// Takes in what has come from `peer`, as far as that goes now.
    pub(super) fn take_in(&mut self, at: usize, peer: usize) {
        loop {
            if !self.nodes[at].is_up() {
                return;
            }
            let inbound = self.nodes[at].inbound.entry(peer).or_default();
            if inbound.buffer.is_empty() && inbound.payload.is_none() {
                match inbound.waiting.pop_front() {
                    Some(message) => inbound.buffer = message,
                    None => return,
                }
            }
            let progress = if self.nodes[at].inbound[&peer].payload.is_some() {
                self.take_payload(at, peer)
            } else {
                self.take_frame(at, peer)
            };
            match progress {
                Progress::Some => {}
                Progress::None => return,
                Progress::Bad => {
                    self.stats.fault("bad-bytes");
                    if self.swarm.datagrams {
                        self.nodes[at].inbound.entry(peer).or_default().clear();
                    } else {
                        self.reset(at, peer);
                        return;
                    }
                }
            }
        }
    }

    fn take_frame(&mut self, at: usize, peer: usize) -> Progress {
        let inbound = self.nodes[at].inbound.entry(peer).or_default();
        let (frame, len) = match decode(&inbound.buffer, Phase::Open) {
            Ok(Some(found)) => found,
            // A message that came by itself has no more to come.
            Ok(None) if self.swarm.datagrams => return Progress::Bad,
            Ok(None) => return Progress::None,
            Err(_) => return Progress::Bad,
        };
        inbound.buffer.drain(..len);
        let Frame::Message { message, .. } = frame else { return Progress::Bad };
        let left = if let Body::Bytes { from, to, .. } = message.body { to.since(from) } else { 0 };
        let moment = self.nodes[at].moment(self.now);
        self.received = None;
        self.nodes[at].protocol().handle_message(moment, id(peer), message);
        self.pump(at);
        if left > 0 {
            let take = self.received.take();
            let inbound = self.nodes[at].inbound.entry(peer).or_default();
            inbound.payload = Some(Payload { left, take });
        }
        Progress::Some
    }

    fn take_payload(&mut self, at: usize, peer: usize) -> Progress {
        let node = &mut self.nodes[at];
        let inbound = node.inbound.entry(peer).or_default();
        let payload = inbound.payload.as_mut().expect("checked by the caller");
        if payload.left == 0 {
            inbound.payload = None;
            return Progress::Some;
        }
        if inbound.buffer.is_empty() {
            return if self.swarm.datagrams { Progress::Bad } else { Progress::None };
        }
        let have = inbound.buffer.len() as u64;
        let protocol = node.protocol.as_ref().expect("the process runs");
        let follows: Option<ReplicaId> = protocol.leader();
        let wanted = payload.take.filter(|take| follows == Some(id(peer)) && take.epoch == protocol.current_epoch());
        payload.take = wanted;
        let ignored = match wanted {
            Some(take) if take.skip > 0 => take.skip.min(have).min(payload.left),
            Some(take) if take.next < take.upto => return self.take_log(at, peer),
            _ => have.min(payload.left),
        };
        payload.left -= ignored;
        if let Some(take) = &mut payload.take {
            take.skip = take.skip.saturating_sub(ignored);
        }
        inbound.buffer.drain(..usize::try_from(ignored).expect("it is in a buffer"));
        Progress::Some
    }

    /// Puts bytes of the log where they belong.
    fn take_log(&mut self, at: usize, peer: usize) -> Progress {
        let node = &mut self.nodes[at];
        let inbound = node.inbound.get_mut(&peer).expect("looked up by the caller");
        let payload = inbound.payload.as_mut().expect("checked by the caller");
        let take = payload.take.as_mut().expect("checked by the caller");
        let partition = node.copy.partition.as_mut().expect("the process runs");
        let len = match partition.receive_into(take.next, take.upto) {
            Ok(room) => {
                let len = room.len().min(inbound.buffer.len());
                assert!(len > 0, "there is room for something");
                room[..len].copy_from_slice(&inbound.buffer[..len]);
                len
            }
            Err(ReceiveError::NotReady | ReceiveError::NoSegment | ReceiveError::Busy) => return Progress::None,
            Err(error) => panic!("bytes at {} cannot be received: {error}", take.next),
        };
        inbound.buffer.drain(..len);
        payload.left -= len as u64;
        take.next = take.next.plus(len as u64);
        let upto = take.next;
        let mut verified = Vec::new();
        let outcome = partition.handle_received(upto, &mut verified);
        let protocol = node.protocol.as_mut().expect("the process runs");
        match outcome {
            Ok(()) => {
                if !verified.is_empty() {
                    protocol.handle_received(&verified);
                }
                self.observe(at);
                self.pump(at);
                Progress::Some
            }
            Err(ReceiveError::Bad { .. }) => {
                assert!(
                    self.swarm.flip_ppm > 0 || self.healed,
                    "bytes are refused that nobody has changed: {outcome:?}"
                );
                protocol.handle_receive_failed(&verified);
                self.observe(at);
                self.pump(at);
                Progress::Bad
            }
            Err(error) => panic!("what was received is not wanted: {error}"),
        }
    }
}
