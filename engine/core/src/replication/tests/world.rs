//! Several nodes, the network between them, virtual time, and what must hold at every step.

use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::disk::ORIGIN;
use super::node::{Effect, Later, Node};
use super::rng::Rng;
use crate::replication::{CommitRule, Config, Event, Message, Promotion, ReplicaId};
use crate::types::{ClusterId, Epoch, Lsn, PartitionId};

/// How bad the network and the disks are.
#[derive(Clone, Copy)]
pub(super) struct Weather {
    pub(super) loss_permille: u64,
    pub(super) repeat_permille: u64,
    pub(super) flip_permille: u64,
    pub(super) delay_ms_max: u64,
    pub(super) disk_ms_max: u64,
}

impl Weather {
    pub(super) const FAIR: Self =
        Self { loss_permille: 0, repeat_permille: 0, flip_permille: 0, delay_ms_max: 1, disk_ms_max: 1 };
}

#[derive(Clone)]
enum Happening {
    Deliver { from: ReplicaId, to: ReplicaId, message: Message, payload: Vec<u8> },
    Done { node: ReplicaId, life: u64, later: Later },
    Tick { node: ReplicaId },
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) weather: Weather,
    /// Directions that are cut off.
    pub(super) blocked: BTreeSet<(ReplicaId, ReplicaId)>,
    /// A node whose flushes do not come back.
    pub(super) stuck_disk: Option<ReplicaId>,
    pub(super) events: Vec<(ReplicaId, Event)>,
    pub(super) leaders: BTreeMap<Epoch, ReplicaId>,
    /// Who has asked for each epoch.
    candidates: BTreeMap<Epoch, ReplicaId>,
    /// Every byte that was ever committed; what may be lost by choice is not checked.
    pub(super) committed: Vec<u8>,
    pub(super) checks_loss: bool,
    /// How far the leader of each epoch has committed.
    committed_in: BTreeMap<Epoch, Lsn>,
    queue: BTreeMap<(u64, u64), Happening>,
    next: u64,
}

pub(super) const fn id(number: u64) -> ReplicaId {
    ReplicaId::new(number)
}

pub(super) fn config(number: u64, voters: u64, rule: CommitRule) -> Config {
    Config {
        cluster: ClusterId([1; 16]),
        partition: PartitionId::new(0),
        id: id(number),
        voters: (1..=voters).map(id).collect(),
        learners: Vec::new(),
        rule,
        window_len: 4 << 10,
        heartbeat_ms: 20,
        lease_ms: 200,
        lease_margin_ms: 20,
        retry_ms: 30,
    }
}

impl World {
    /// `voters` nodes that hold nothing, all started.
    pub(super) fn new(seed: u64, voters: u64, rule: CommitRule) -> Self {
        Self::with(seed, (1..=voters).map(|number| config(number, voters, rule)).collect())
    }

    pub(super) fn with(seed: u64, configs: Vec<Config>) -> Self {
        let mut world = Self {
            rng: Rng::new(seed),
            now: 0,
            nodes: configs.into_iter().map(Node::new).collect(),
            weather: Weather::FAIR,
            blocked: BTreeSet::new(),
            stuck_disk: None,
            events: Vec::new(),
            leaders: BTreeMap::new(),
            candidates: BTreeMap::new(),
            committed: Vec::new(),
            checks_loss: true,
            committed_in: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
        };
        for index in 0..world.nodes.len() {
            let node = world.nodes[index].config.id;
            world.restart(node);
            world.at(world.now + 1, Happening::Tick { node });
        }
        world
    }

    pub(super) fn node(&mut self, id: ReplicaId) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.config.id == id).expect("a node of this world")
    }

    fn at(&mut self, time: u64, happening: Happening) {
        self.next += 1;
        self.queue.insert((time, self.next), happening);
    }

    pub(super) fn restart(&mut self, node: ReplicaId) {
        let now = self.now;
        if self.node(node).replica.is_none() {
            let effects = self.node(node).start(now);
            self.apply(node, effects);
        }
    }

    /// Stops a node at once. Whatever was being written may have been, or not.
    pub(super) fn crash(&mut self, id: ReplicaId) {
        let life = self.node(id).life;
        if self.node(id).replica.is_none() {
            return;
        }
        let under_way: Vec<Later> = self
            .queue
            .values()
            .filter_map(|happening| match happening {
                Happening::Done { node, life: of, later } if *node == id && *of == life => Some(later.clone()),
                _ => None,
            })
            .collect();
        for later in under_way {
            if self.rng.chance(300) {
                self.node(id).persist(&later);
            }
        }
        let (durable, end) = (self.node(id).disk.durable, self.node(id).disk.end());
        let keep = durable.plus(self.rng.below(end.since(durable) + 1));
        self.node(id).crash(keep);
    }

    pub(super) fn promote(&mut self, id: ReplicaId, promotion: Promotion) {
        let effects = self.node(id).promote(promotion);
        self.apply(id, effects);
    }

    pub(super) fn write(&mut self, id: ReplicaId, body_len: usize) {
        let effects = self.node(id).write(body_len);
        self.apply(id, effects);
    }

    /// Lets `millis` pass.
    pub(super) fn run(&mut self, millis: u64) {
        let until = self.now + millis;
        while let Some((&(time, number), _)) = self.queue.first_key_value() {
            if time > until {
                break;
            }
            let happening = self.queue.remove(&(time, number)).expect("just seen");
            self.now = time;
            self.happen(happening);
        }
        self.now = until;
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        let (node, effects) = match happening {
            Happening::Deliver { from, to, message, payload } => {
                if self.blocked.contains(&(from, to)) {
                    return;
                }
                (to, self.node(to).deliver(now, from, message, &payload))
            }
            Happening::Done { node, life, later } => {
                if self.node(node).life != life {
                    return;
                }
                (node, self.node(node).finish(now, &later))
            }
            Happening::Tick { node } => {
                self.at(now + 5, Happening::Tick { node });
                (node, self.node(node).tick(now))
            }
        };
        self.apply(node, effects);
        self.check_leases();
    }

    fn apply(&mut self, node: ReplicaId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Send { to, message, payload } => self.send(node, to, message, payload),
                Effect::Later(Later::Flush { .. }) if self.stuck_disk == Some(node) => {}
                Effect::Later(later) => {
                    let life = self.node(node).life;
                    let time = self.now + 1 + self.rng.below(self.weather.disk_ms_max);
                    self.at(time, Happening::Done { node, life, later });
                }
                Effect::Committed(upto) => self.check_committed(node, upto),
                Effect::Lead(epoch) => self.check_leader(node, epoch),
                Effect::Event(event) => self.events.push((node, event)),
            }
        }
    }

    fn send(&mut self, from: ReplicaId, to: ReplicaId, message: Message, mut payload: Vec<u8>) {
        if let crate::replication::Body::PromiseRequest(_) = message.body
            && self.checks_loss
        {
            let first = *self.candidates.entry(message.epoch).or_insert(from);
            assert_eq!(first, from, "two candidates ask for epoch {}", message.epoch);
        }
        let weather = self.weather;
        if self.rng.chance(weather.loss_permille) {
            return;
        }
        let copies = 1 + usize::from(self.rng.chance(weather.repeat_permille));
        if !payload.is_empty() && self.rng.chance(weather.flip_permille) {
            let at = self.rng.index(payload.len());
            payload[at] ^= 0x10;
        }
        for _ in 0..copies {
            let time = self.now + 1 + self.rng.below(weather.delay_ms_max);
            let (message, payload) = (message.clone(), payload.clone());
            self.at(time, Happening::Deliver { from, to, message, payload });
        }
    }

    /// No committed byte ever changes, and each node's log holds what it calls committed.
    fn check_committed(&mut self, id: ReplicaId, upto: Lsn) {
        if self.node(id).is_leader()
            && let Some(replica) = &self.node(id).replica
        {
            let epoch = replica.current_epoch();
            self.committed_in.insert(epoch, upto);
        }
        let disk = self.node(id).disk.clone();
        assert!(upto <= disk.end(), "only what is in the log is committed");
        if !self.checks_loss {
            return;
        }
        let start = usize::try_from(disk.start.get()).unwrap();
        let bytes = disk.range(disk.start, upto);
        assert!(start <= self.committed.len(), "nothing is freed that is not committed");
        let known = (self.committed.len() - start).min(bytes.len());
        assert!(self.committed[start..start + known] == bytes[..known], "{id:?}: another record was committed there");
        self.committed.extend_from_slice(&bytes[known..]);
    }

    /// One leader an epoch, which holds everything that was committed in earlier ones; and no earlier one may serve
    /// reads by now. (A candidate may find only late that it has won: it then leads in an epoch that is over.)
    fn check_leader(&mut self, id: ReplicaId, epoch: Epoch) {
        if !self.checks_loss {
            return;
        }
        assert_eq!(*self.leaders.entry(epoch).or_insert(id), id, "epoch {epoch} has two leaders");
        let now = self.now;
        let disk = self.node(id).disk.clone();
        let committed = self.committed_in.range(..epoch).map(|(_, upto)| *upto).max().unwrap_or_default();
        let committed = committed.max(disk.start);
        assert!(disk.end() >= committed, "{id:?} leads without committed records");
        let (start, end) = (usize::try_from(disk.start.get()).unwrap(), usize::try_from(committed.get()).unwrap());
        let own = disk.range(disk.start, committed);
        assert!(own == &self.committed[start..end], "{id:?} leads with other records");
        for node in self.nodes.iter().filter(|node| node.config.id != id) {
            let Some(replica) = &node.replica else { continue };
            let serves = replica.current_epoch() < epoch && replica.may_serve_reads(node.clock(now));
            assert!(!serves, "{:?} still serves reads when {id:?} leads", node.config.id);
        }
    }

    fn check_leases(&self) {
        let serving = self.nodes.iter().filter(|node| {
            node.config.rule != CommitRule::Leader
                && node.replica.as_ref().is_some_and(|replica| replica.may_serve_reads(node.clock(self.now)))
        });
        assert!(!self.checks_loss || serving.count() <= 1, "two replicas may serve reads");
    }

    /// The leader of the newest epoch, if that one is up.
    pub(super) fn leader(&self) -> Option<ReplicaId> {
        let leading = self.nodes.iter().filter(|node| node.is_leader());
        leading
            .max_by_key(|node| node.replica.as_ref().map(|replica| replica.current_epoch()))
            .map(|node| node.config.id)
    }

    /// The voter with the longest log among those that are up.
    pub(super) fn longest(&self) -> Option<ReplicaId> {
        let voters = self.nodes.iter().filter(|node| node.config.voters.contains(&node.config.id));
        let up = voters.filter_map(|node| node.replica.as_ref().map(|replica| (replica, node.config.id)));
        up.max_by_key(|(replica, _)| (replica.position(), replica.current_epoch())).map(|(_, id)| id)
    }

    /// Makes everything well and waits until all logs are the same and all of it is committed.
    pub(super) fn heal(&mut self) {
        self.weather = Weather::FAIR;
        self.blocked.clear();
        for index in 0..self.nodes.len() {
            self.restart(self.nodes[index].config.id);
        }
        self.run(300);
        for _ in 0..12 {
            if let Some(leader) = self.leader() {
                self.write(leader, 10);
                self.run(1_000);
                if self.is_converged() {
                    return;
                }
            } else {
                let best = self.longest().expect("all are up");
                self.promote(best, Promotion::Safe);
                self.run(500);
            }
        }
        panic!("no convergence: {:?}", self.summary());
    }

    fn summary(&self) -> Vec<std::string::String> {
        let mut lines: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                let replica = node.replica.as_ref().unwrap();
                std::format!(
                    "{:?} {:?} epoch {} {:?}..{:?} committed {} leader {:?} {:?} | {:?}",
                    node.config.id,
                    replica.role(),
                    replica.current_epoch(),
                    replica.log().start,
                    replica.position(),
                    replica.committed(),
                    replica.leader(),
                    node.disk.promised,
                    replica.peers().collect::<Vec<_>>(),
                )
            })
            .collect();
        lines.extend(self.events.iter().rev().take(12).map(|event| std::format!("{event:?}")));
        lines
    }

    pub(super) fn is_converged(&self) -> bool {
        let Some(leader) = self.nodes.iter().find(|node| node.is_leader()) else { return false };
        let end = leader.disk.end();
        self.nodes.iter().all(|node| {
            let Some(replica) = &node.replica else { return false };
            let from = node.disk.start.max(leader.disk.start);
            replica.committed() == end
                && node.disk.end() == end
                && node.disk.durable == end
                && from <= end
                && node.disk.range(from, end) == leader.disk.range(from, end)
        })
    }

    pub(super) fn saw(&self, matches: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(_, event)| matches(event))
    }

    pub(super) fn saw_at(&self, node: u64, matches: impl Fn(&Event) -> bool) -> bool {
        self.events.iter().any(|(at, event)| *at == id(node) && matches(event))
    }

    /// Cuts a node off from all others, in both directions.
    pub(super) fn isolate(&mut self, number: u64) {
        for other in self.nodes.iter().map(|node| node.config.id).filter(|other| *other != id(number)) {
            self.blocked.insert((id(number), other));
            self.blocked.insert((other, id(number)));
        }
    }

    pub(super) fn mend(&mut self) {
        self.blocked.clear();
    }

    /// A world whose first node leads, with `records` committed everywhere.
    pub(super) fn settled(voters: u64, rule: CommitRule, records: usize) -> Self {
        let mut world = Self::new(1, voters, rule);
        world.run(300);
        world.promote(id(1), Promotion::Safe);
        world.run(300);
        for _ in 0..records {
            world.write(id(1), 40);
        }
        world.run(300);
        assert!(world.is_converged(), "{:?}", world.summary());
        world
    }
}

#[test]
fn a_new_log_starts_from_its_origin() {
    let world = World::new(1, 1, CommitRule::Quorum);
    assert_eq!(world.nodes[0].disk.chain_at(Lsn::ZERO), Some(ORIGIN));
}
