//! What must hold whatever happens, by the simulator's own account of logs and disks.

use windrow_core::types::{Epoch, Lsn};

use super::committed::Part;
use super::node::id;
use super::{World, index};
use crate::model::State;

impl World {
    /// A replica leads: it is the only one of its epoch, and has all that was ever committed.
    pub(super) fn check_leader(&mut self, at: usize, epoch: Epoch) {
        self.trace.event("leads", &[at as u64, u64::from(epoch.get())]);
        let leader = *self.leaders.entry(epoch).or_insert(at);
        assert_eq!(leader, at, "epoch {epoch} has two leaders");
        // A candidate may find only late that it has won: it then leads in an epoch that is over.
        let is_forced = self.committed.forced.contains_key(&epoch);
        let earlier: Vec<(Epoch, Part)> = self.committed.by_epoch.range(..epoch).map(|(e, part)| (*e, *part)).collect();
        for (of, part) in earlier.into_iter().rev() {
            let owed = self.committed.owed(of, part, epoch);
            self.check_agrees(at, Part { upto: owed, ..part }, "leads without a committed record");
            if owed < part.upto && is_forced {
                self.stats.fault("lost-by-force");
            }
            if self.committed.forced.is_empty() {
                break;
            }
        }
    }

    /// Whether the log of a replica begins with what is committed.
    fn agrees(&mut self, at: usize, part: Part) -> bool {
        let node = &mut self.nodes[at];
        node.agreed.resize(self.committed.lines.len(), Lsn::ZERO);
        let from = node.agreed[part.line];
        if from >= part.upto {
            return true;
        }
        let has = node.copy.truth.appended >= part.upto
            && node.copy.truth.bytes(from, part.upto) == self.committed.lines[part.line][index(from)..index(part.upto)];
        if has {
            node.agreed[part.line] = part.upto;
        }
        has
    }

    fn check_agrees(&mut self, at: usize, part: Part, otherwise: &str) {
        let has = self.agrees(at, part);
        let end = self.nodes[at].copy.truth.appended;
        assert!(has, "node {at} {otherwise}: its log ends at {end}, of what is committed it has not {}", part.upto);
    }

    /// The line with which the log of a replica begins, up to here.
    fn line_of(&mut self, at: usize, upto: Lsn) -> Option<Part> {
        let lines = 0..self.committed.lines.len();
        let parts = lines.map(|line| Part { line, upto });
        let long_enough: Vec<Part> =
            parts.filter(|part| self.committed.lines[part.line].len() >= index(upto)).collect();
        long_enough.into_iter().find(|part| self.agrees(at, *part))
    }

    /// A replica says that everything below `upto` is committed.
    pub(super) fn check_committed(&mut self, at: usize, upto: Lsn) {
        self.trace.event("committed", &[at as u64, upto.get()]);
        let epoch = self.nodes[at].protocol().current_epoch();
        let leads = self.nodes[at].is_leader();
        if let Some(part) = self.line_of(at, upto) {
            if leads && self.committed.by_epoch.get(&epoch).is_none_or(|known| known.upto < upto) {
                self.committed.by_epoch.insert(epoch, part);
            }
            return;
        }
        assert!(leads, "node {at} follows and calls {upto} committed, which no leader does");
        assert!(self.nodes[at].copy.truth.appended >= upto, "node {at} commits what it has not written");
        let pieces = &self.nodes[at].copy.truth.pieces;
        let covers_own = pieces.iter().rev().any(|piece| piece.epoch == epoch && piece.end <= upto);
        assert!(covers_own, "node {at} counts flushes of older epochs alone: {upto} can still be overruled");
        let part = self.extend_line(at, upto);
        self.committed.by_epoch.insert(epoch, part);
        if self.committed.lines.len() > 1 {
            self.committed.check_contradictions(epoch, part);
        }
        self.check_copies(epoch, part);
    }

    /// Adds what a leader has committed to the line that its log begins with, or begins another one.
    fn extend_line(&mut self, at: usize, upto: Lsn) -> Part {
        let lens = self.committed.lines.iter().map(|line| Lsn::new(line.len() as u64)).enumerate();
        let mut whole: Vec<Part> = lens.map(|(line, upto)| Part { line, upto }).collect();
        whole.sort_by_key(|part| std::cmp::Reverse(part.upto));
        let longest = whole.into_iter().find(|part| part.upto <= upto && self.agrees(at, *part));
        let known = longest.unwrap_or_else(|| {
            let is_first = self.committed.lines.is_empty();
            assert!(is_first || !self.committed.forced.is_empty(), "node {at} commits {upto} on another log");
            self.committed.lines.push(Vec::new());
            self.stats.fault(if is_first { "first-commit" } else { "parted-by-force" });
            Part { line: self.committed.lines.len() - 1, upto: Lsn::ZERO }
        });
        let new = self.nodes[at].copy.truth.bytes(known.upto, upto);
        self.committed.lines[known.line].extend(new);
        let part = Part { upto, ..known };
        self.check_agrees(at, part, "commits what it has not written");
        part
    }

    /// As many voters as the rule asks for have what a leader of this epoch commits on their disks, byte by byte. One that
    /// has not heard of a promotion by force may count what others had when they said so, and have been told to cut since.
    fn check_copies(&mut self, epoch: Epoch, part: Part) {
        let part = Part { upto: self.committed.owed(epoch, part, Epoch::new(u32::MAX)), ..part };
        let copies = (0..self.swarm.voters).filter(|&at| self.has_on_disk(at, part)).count();
        let (upto, wanted) = (part.upto, self.swarm.copies());
        assert!(copies >= wanted, "{upto} counts as committed, and {copies} disks have it instead of {wanted}");
    }

    fn has_on_disk(&mut self, at: usize, part: Part) -> bool {
        let node = &mut self.nodes[at];
        node.copy.truth.advance_persisted(&node.copy.disk);
        node.copy.truth.persisted >= part.upto && self.agrees(at, part)
    }

    /// The bound on damage: each committed record is on the disk of a voter that can be read, but for what a promotion by
    /// force has lost by name.
    pub(super) fn check_kept(&mut self) {
        let Some((&newest, _)) = self.leaders.last_key_value() else { return };
        let parts: Vec<(Epoch, Part)> = self.committed.by_epoch.iter().rev().map(|(e, part)| (*e, *part)).collect();
        for (epoch, part) in parts {
            let part = Part { upto: self.committed.owed(epoch, part, newest), ..part };
            let is_kept = (0..self.swarm.voters).any(|at| self.nodes[at].is_readable() && self.has_on_disk(at, part));
            assert!(is_kept, "nobody has a good copy of {} of epoch {epoch}, which nobody gave up", part.upto);
            if self.committed.forced.is_empty() {
                break;
            }
        }
    }

    /// A reply goes out.
    pub(super) fn check_confirmed(&mut self, at: usize, depends_on: Lsn) {
        if depends_on == Lsn::ZERO {
            return;
        }
        let Some(part) = self.line_of(at, depends_on) else {
            panic!("node {at} shows {depends_on}, which is not committed");
        };
        let epoch = self.nodes[at].protocol().current_epoch();
        let leads = self.nodes[at].is_leader();
        let own = self.committed.by_epoch.get(&epoch).filter(|own| leads && own.upto >= depends_on);
        let own = own.map(|own| (epoch, Part { upto: depends_on, ..*own }));
        let (epoch, part) = own.or_else(|| self.committed.first_epoch_of(part)).expect("somebody has committed it");
        let shown = self.committed.shown.entry(epoch).or_insert(part);
        if shown.upto < depends_on {
            *shown = part;
        }
    }

    /// A leader reads from its memory: nobody has been told of anything newer. One that a promotion by force took no
    /// notice of may go on until it hears of that.
    pub(super) fn check_recent(&mut self, at: usize) {
        let epoch = self.nodes[at].protocol().current_epoch();
        let shown: Vec<(Epoch, Part)> = self.committed.shown.iter().map(|(of, part)| (*of, *part)).collect();
        for (of, part) in shown {
            let upto = if of <= epoch {
                self.committed.owed(of, part, epoch)
            } else if self.committed.forced_between(epoch, of).next().is_some() {
                continue;
            } else {
                part.upto
            };
            self.check_agrees(at, Part { upto, ..part }, "serves reads without what others were shown");
        }
    }

    /// A replica is told to cut its log at `to`: what is committed goes only if a promotion by force has lost it, and what
    /// this replica knows to be committed only if the operator has said so to it as well. Of what leaders of newer epochs
    /// commit it has promised nothing yet: none of them counts on its copy.
    pub(super) fn check_cut(&mut self, at: usize, to: Lsn) {
        let epoch = self.nodes[at].protocol().current_epoch();
        let pieces = &self.nodes[at].copy.truth.pieces;
        let next = pieces.iter().find(|piece| piece.start >= to && piece.epoch > Epoch::ZERO).map(|piece| piece.end);
        let Some(part) = next.and_then(|end| self.line_of(at, end)) else { return };
        let bytes = self.committed.lines[part.line][..index(part.upto)].to_vec();
        for (&of, other) in self.committed.by_epoch.range(..=epoch) {
            if other.upto >= part.upto && self.committed.lines[other.line].starts_with(&bytes) {
                let owed = self.committed.owed(of, Part { upto: part.upto, ..*other }, epoch);
                assert!(owed < part.upto, "node {at} is to cut what epoch {of} has committed, from {to} on");
            }
        }
    }

    /// What a replica holds is what its log says.
    pub(super) fn compare_state(&mut self, at: usize) {
        let now = self.nodes[at].wall(self.now);
        self.nodes[at].copy.compare(now, &State::default());
    }

    /// Whether all logs are the same and committed to the end.
    pub(super) fn is_converged(&self) -> bool {
        let Some(leader) = self.nodes.iter().find(|node| node.is_leader()) else { return false };
        let end = leader.partition().appended();
        self.nodes.iter().all(|node| {
            let Some(partition) = &node.copy.partition else { return false };
            partition.appended() == end && partition.durable() == end && partition.committed() == end
        })
    }

    /// The end of a run: every replica has the same log, the same state, and all that was confirmed.
    pub(super) fn check_end(&mut self) {
        let newest = *self.leaders.last_key_value().expect("somebody leads").0;
        let parts: Vec<(Epoch, Part)> = self.committed.by_epoch.iter().map(|(of, part)| (*of, *part)).collect();
        for at in 0..self.nodes.len() {
            for &(of, part) in &parts {
                let upto = self.committed.owed(of, part, newest);
                self.check_agrees(at, Part { upto, ..part }, "has not all that was committed");
            }
            self.compare_state(at);
            self.nodes[at].copy.check_feed();
        }
        self.check_kept();
        let keys = |at: usize| {
            let keys = self.nodes[at].copy.state.keys.iter();
            keys.map(|(key, stored)| (key.clone(), stored.value.clone())).collect::<Vec<_>>()
        };
        for at in 1..self.nodes.len() {
            assert!(keys(at) == keys(0), "replicas 0 and {at} hold different keys");
        }
    }

    pub(super) fn summary(&self) -> String {
        let lines = self.nodes.iter().enumerate().map(|(at, node)| {
            let Some(protocol) = &node.protocol else { return format!("{:?} is down", id(at)) };
            let partition = node.partition();
            format!(
                "{:?} {:?} epoch {} leader {:?} position {} appended {} durable {} committed {} peers {:?}",
                id(at),
                protocol.role(),
                protocol.current_epoch(),
                protocol.leader(),
                protocol.position(),
                partition.appended(),
                partition.durable(),
                partition.committed(),
                protocol.peers().collect::<Vec<_>>()
            )
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}
