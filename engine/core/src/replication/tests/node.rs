//! One replica with its disk: the driver of the tests.

use std::vec::Vec;

use super::disk::{Disk, encode};
use crate::replication::{
    Body, Config, Event, Message, Moment, Output, Promised, Promotion, Replica, ReplicaId, RoleKind,
};
use crate::types::{Epoch, Lsn};

/// What a node wants done that takes time, or leaves it.
pub(super) enum Effect {
    Send { to: ReplicaId, message: Message, payload: Vec<u8> },
    Later(Later),
    Committed(Lsn),
    Lead(Epoch),
    Event(Event),
}

/// What a disk takes time for.
#[derive(Clone, Debug)]
pub(super) enum Later {
    Flush { upto: Lsn, generation: u64 },
    Superblock { ticket: u64, promised: Promised, committed: Lsn },
    Cut { to: Lsn },
    Reset { start: Lsn, chain: crate::codec::Chain },
}

pub(super) struct Node {
    pub(super) config: Config,
    pub(super) disk: Disk,
    pub(super) replica: Option<Replica>,
    /// Counts the starts: what was under way before a crash does not come back after it.
    pub(super) life: u64,
    /// What has arrived of a record that is not whole yet.
    partial: Vec<u8>,
    next_id: u64,
    /// Counts the cuts: a flush that was under way before one says nothing about the log after it.
    generation: u64,
    /// There is no room for what arrives.
    pub(super) is_full: bool,
    /// This node's clock runs by so many millionths faster than the world's, and started elsewhere.
    pub(super) clock_ppm: u64,
}

impl Node {
    pub(super) fn new(config: Config) -> Self {
        Self {
            config,
            disk: Disk::new(),
            replica: None,
            life: 0,
            partial: Vec::new(),
            next_id: 1,
            generation: 0,
            is_full: false,
            clock_ppm: 0,
        }
    }

    pub(super) fn clock(&self, now: u64) -> Moment {
        Moment::new(1_000 * self.config.id.get() + now + now * self.clock_ppm / 1_000_000)
    }

    pub(super) fn start(&mut self, now: u64) -> Vec<Effect> {
        self.life += 1;
        self.partial.clear();
        let state = self.disk.recover();
        let replica = Replica::new(self.config.clone(), state, self.disk.promised, self.clock(now)).unwrap();
        self.replica = Some(replica);
        // What recovery believed beyond the last known flush is flushed again.
        std::vec![self.flush()]
    }

    /// Stops at once. What was not flushed stays or goes: `keep` says up to where.
    pub(super) fn crash(&mut self, keep: Lsn) {
        self.replica = None;
        self.life += 1;
        self.generation += 1;
        let end = self.disk.boundary(keep.max(self.disk.durable));
        self.disk.truncate(end);
    }

    pub(super) fn is_leader(&self) -> bool {
        self.replica.as_ref().is_some_and(|replica| replica.role() == RoleKind::Leader)
    }

    /// Delivers a message and its payload.
    pub(super) fn deliver(&mut self, now: u64, from: ReplicaId, message: Message, payload: &[u8]) -> Vec<Effect> {
        let clock = self.clock(now);
        let Some(replica) = &mut self.replica else { return Vec::new() };
        replica.handle_message(clock, from, message);
        self.drain(payload)
    }

    pub(super) fn tick(&mut self, now: u64) -> Vec<Effect> {
        let clock = self.clock(now);
        let Some(replica) = &mut self.replica else { return Vec::new() };
        if !self.is_full {
            replica.handle_room(clock);
        }
        replica.handle_tick(clock);
        self.drain(&[])
    }

    pub(super) fn promote(&mut self, promotion: Promotion) -> Vec<Effect> {
        let Some(replica) = &mut self.replica else { return Vec::new() };
        let _ = replica.handle_promote(promotion);
        self.drain(&[])
    }

    /// Writes a record, if this node leads.
    pub(super) fn write(&mut self, body_len: usize) -> Vec<Effect> {
        if !self.is_leader() {
            return Vec::new();
        }
        self.append(body_len);
        let mut effects = self.drain(&[]);
        effects.push(self.flush());
        effects
    }

    fn append(&mut self, body_len: usize) {
        let replica = self.replica.as_mut().unwrap();
        self.next_id += 1;
        let id = self.next_id << 8 | self.config.id.get();
        self.disk.push(&encode(replica.current_epoch(), replica.log().chain, id, body_len));
        let end = self.disk.end();
        replica.handle_appended(end, self.disk.chain_at(end).unwrap());
    }

    /// Frees the start of the log up to `to`.
    pub(super) fn trim(&mut self, to: Lsn) {
        let replica = self.replica.as_mut().unwrap();
        self.disk.trim(self.disk.boundary(to));
        replica.handle_trimmed(self.disk.start, self.disk.start_chain);
    }

    /// Something that took time is done.
    pub(super) fn finish(&mut self, now: u64, later: &Later) -> Vec<Effect> {
        let clock = self.clock(now);
        if matches!(*later, Later::Flush { generation, .. } if generation != self.generation) {
            return Vec::new();
        }
        self.persist(later);
        let Some(replica) = &mut self.replica else { return Vec::new() };
        match *later {
            Later::Flush { upto, .. } => replica.handle_durable(upto),
            Later::Superblock { ticket, .. } => replica.handle_superblock_written(clock, ticket),
            Later::Cut { to } => {
                self.partial.clear();
                replica.handle_cut(clock, to, self.disk.chain_at(to).expect("cut where a record ends"));
            }
            Later::Reset { start, .. } => {
                self.partial.clear();
                replica.handle_reset(clock, start);
            }
        }
        self.drain(&[])
    }

    /// What the disk holds once that is done.
    pub(super) fn persist(&mut self, later: &Later) {
        match *later {
            Later::Flush { upto, generation } if generation == self.generation => {
                self.disk.durable = self.disk.durable.max(upto);
            }
            Later::Flush { .. } => {}
            Later::Superblock { promised, committed, .. } => {
                self.disk.promised = promised;
                self.disk.committed = committed;
            }
            Later::Cut { to } => {
                self.generation += 1;
                self.disk.truncate(to);
            }
            Later::Reset { start, chain } => {
                self.generation += 1;
                self.disk.reset(start, chain);
            }
        }
    }

    fn flush(&self) -> Effect {
        Effect::Later(Later::Flush { upto: self.disk.end(), generation: self.generation })
    }

    fn drain(&mut self, payload: &[u8]) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(output) = self.replica.as_mut().unwrap().poll_output() {
            match output {
                Output::Send { to, message } => effects.push(Effect::Send { to, message, payload: Vec::new() }),
                Output::Ship { to, epoch, from, upto, committed } => {
                    let payload = self.disk.range(from, upto).to_vec();
                    let message = Message { epoch, body: Body::Bytes { from, to: upto, committed } };
                    effects.push(Effect::Send { to, message, payload });
                }
                Output::Receive { skip, from, .. } => self.receive(&payload[usize::try_from(skip).unwrap()..], from),
                Output::Flush { upto } => {
                    assert!(upto <= self.disk.end());
                    effects.push(self.flush());
                }
                Output::WriteSuperblock { ticket, promised } => {
                    let committed = self.replica.as_ref().unwrap().committed().min(self.disk.durable);
                    effects.push(Effect::Later(Later::Superblock { ticket, promised, committed }));
                }
                Output::Cut { to } => effects.push(Effect::Later(Later::Cut { to })),
                Output::Reset { start, chain } => effects.push(Effect::Later(Later::Reset { start, chain })),
                Output::LookUpChain { peer, at } => {
                    let chain = (at >= self.disk.start && at <= self.disk.end()).then(|| self.disk.chain_at(at));
                    self.replica.as_mut().unwrap().handle_chain(peer, at, chain.flatten());
                }
                Output::Lead { epoch } => {
                    effects.push(Effect::Lead(epoch));
                    self.append(0);
                    effects.push(self.flush());
                }
                Output::Committed { upto } => effects.push(Effect::Committed(upto)),
                Output::Event(event) => effects.push(Effect::Event(event)),
            }
        }
        effects
    }

    fn receive(&mut self, payload: &[u8], from: Lsn) {
        if self.is_full {
            self.partial.clear();
            return self.replica.as_mut().unwrap().handle_no_room();
        }
        let have = usize::try_from(from.since(self.disk.end())).expect("bytes arrive behind whole records");
        assert!(have <= self.partial.len(), "a gap would be left in the log");
        self.partial.truncate(have);
        self.partial.extend_from_slice(payload);
        let (runs, is_good) = self.disk.take(&mut self.partial);
        let replica = self.replica.as_mut().unwrap();
        if is_good {
            replica.handle_received(&runs);
        } else {
            replica.handle_receive_failed(&runs);
        }
    }
}
