//! Two replicas at random: appends, flushes, shipping, flipped bits, changes of leader, cuts, resets, and crashes at every
//! step of them.

use super::*;

/// How many schedules are tried unless it is set; each is named by its seed.
const SEEDS: u64 = 200;
const STEPS: u32 = 120;

struct Pair {
    nodes: [Option<Node>; 2],
    leader: usize,
    epoch: u32,
    committed: Lsn,
    rng: Rng,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let nodes = [Some(Node::new(1, SMALL)), Some(Node::new(2, SMALL))];
        let mut pair = Self { nodes, leader: 0, epoch: 0, committed: Lsn::ZERO, rng: Rng::new(seed) };
        pair.elect(0);
        pair
    }

    fn node(&mut self, index: usize) -> &mut Node {
        self.nodes[index].as_mut().unwrap()
    }

    /// `index` leads in a new epoch, and the other one is made to follow it.
    fn elect(&mut self, index: usize) {
        self.epoch += 1;
        let epoch = self.epoch;
        self.leader = index;
        let other = self.node(1 - index);
        other.partition.step_down();
        other.promise(epoch);
        let leader = self.node(index);
        leader.partition.step_down();
        leader.lead(epoch);
        self.reconcile();
    }

    /// Cuts the follower to the last common point, crashing on the way now and then.
    fn reconcile(&mut self) {
        let leader = self.leader;
        loop {
            let (ends, (base, chain)) = (self.node(leader).ends(), self.node(leader).segment_start(0));
            let fuse = self.rng.chance(400).then(|| u32::try_from(self.rng.below(12)).unwrap());
            let anew = self.rng.chance(30);
            let committed = self.committed;
            let follower = self.node(1 - leader);
            let (start, end) = (follower.partition.log().start(), follower.partition.appended());
            let common = follower.ends().iter().rev().find(|end| ends.contains(end)).map(|(end, _)| *end);
            let common = common.or((start == base).then_some(base));
            if common == Some(end) && !anew {
                return;
            }
            follower.fuse = fuse;
            match common {
                Some(common) if !anew => {
                    assert!(common >= committed.min(end), "what is committed is never cut");
                    follower.cut(common);
                }
                _ => follower.reset(base, chain),
            }
            if follower.is_dead {
                self.crash(1 - leader);
            } else {
                follower.fuse = None;
                follower.check("after a cut");
            }
        }
    }

    fn crash(&mut self, index: usize) {
        let node = self.nodes[index].take().unwrap();
        self.nodes[index] = Some(node.crashed(&mut self.rng));
        self.node(index).check("after a crash");
    }

    fn step(&mut self) {
        let leader = self.leader;
        match self.rng.below(100) {
            0..45 => self.append(),
            45..55 => self.node(leader).act(),
            55..75 => self.ship(),
            75..82 => self.node(1 - leader).act(),
            82..92 => self.commit(),
            // Only whoever has what is committed leads.
            92..95 if self.node(1 - leader).partition.appended() >= self.committed => self.elect(1 - leader),
            92..98 => {
                self.crash(1 - leader);
                let epoch = Epoch::new(self.epoch);
                assert_eq!(self.node(1 - leader).superblock.promised, epoch, "a promise outlives a crash");
                self.reconcile();
            }
            _ => {
                self.crash(leader);
                self.elect(leader);
            }
        }
    }

    fn append(&mut self) {
        let leader = self.leader;
        let draws: Vec<u64> = (0..6).map(|_| self.rng.next()).collect();
        let key = |draw: u64| std::format!("key {}", draw % 30);
        let value = "v".repeat(usize::try_from(draws[0] % 400).unwrap());
        let put = Change::Put { value: value.as_bytes(), expires_at: None };
        let node = self.node(leader);
        match draws[1] % 20 {
            0..9 => node.apply(&[(&key(draws[2]), put)]),
            9..12 => node.put_until(&key(draws[2]), &value, Some(1_000_000 + draws[3] % 5)),
            12..16 => node.delete(&key(draws[2])),
            16..19 => {
                let (first, second) = (draws[2] % 30, (draws[2] % 30 + 1 + draws[3] % 28) % 30);
                let change = if draws[4].is_multiple_of(2) { put } else { Change::Delete };
                node.apply(&[(&key(first), put), (&key(second), change)]);
            }
            _ if draws[5].is_multiple_of(4) => node.clear(),
            _ => node.now += 1,
        }
    }

    fn ship(&mut self) {
        let leader = self.nodes[self.leader].take().unwrap();
        let index = 1 - self.leader;
        let (from, end) = (self.node(index).partition.appended(), leader.partition.appended());
        if from < end {
            let upto = from.plus(1 + self.rng.below(end.since(from)));
            let mut bytes = leader.bytes(from, upto);
            let flipped = self.rng.chance(150);
            if flipped {
                let at = self.rng.index(bytes.len());
                bytes[at] ^= 1 << self.rng.below(8);
            }
            let piece_max = 1 << self.rng.below(12);
            let mut rng = Rng::new(self.rng.next());
            let follower = self.node(index);
            match follower.take(from, &bytes, piece_max, &mut rng) {
                Ok(_) => {}
                Err((ReceiveError::Bad { .. }, _)) => assert!(flipped, "good bytes are taken"),
                Err((error, _)) => panic!("{error}"),
            }
            let ends = leader.ends();
            assert!(follower.ends().iter().all(|end| ends.contains(end)), "a follower's log is a part of the leader's");
            follower.check("after receiving");
        }
        self.nodes[self.leader] = Some(leader);
    }

    /// What both have flushed is committed.
    fn commit(&mut self) {
        let leader = self.leader;
        let durable = self.node(0).partition.durable().min(self.node(1).partition.durable());
        let ends = self.node(leader).ends();
        let both = ends.iter().rev().find(|(end, _)| *end <= durable).map_or(Lsn::ZERO, |(end, _)| *end);
        self.committed = self.committed.max(both);
        let committed = self.committed;
        for index in 0..2 {
            let end = self.node(index).partition.appended();
            self.node(index).partition.handle_committed(committed.min(end));
            self.node(index).check("after a commit");
        }
    }
}

#[test]
fn replicas_are_what_their_logs_say_whatever_happens() {
    let seeds = std::env::var("WINDROW_REPLICATION_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS);
    let from = std::env::var("WINDROW_REPLICATION_FROM").ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in from..from + seeds {
        let mut pair = Pair::new(seed);
        for step in 0..STEPS {
            let run = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| pair.step()));
            if let Err(cause) = run {
                std::eprintln!("seed {seed}, step {step}");
                std::panic::resume_unwind(cause);
            }
        }
    }
}
