//! What must hold whatever happens, by the simulator's own account of logs and disks.

use windrow_core::types::{Epoch, Lsn};

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
        let earlier = self.committed_in.range(..epoch).map(|(_, upto)| *upto).max().unwrap_or(Lsn::ZERO);
        self.check_agrees(at, earlier, "leads without a committed record");
    }

    /// The log of a replica is that of all, up to here.
    fn check_agrees(&mut self, at: usize, upto: Lsn, otherwise: &str) {
        let node = &mut self.nodes[at];
        if node.agreed >= upto {
            return;
        }
        let end = node.copy.truth.appended;
        assert!(end >= upto, "node {at} {otherwise}: its log ends at {end}, committed is {upto}");
        let from = node.agreed;
        let range = index(from)..index(upto);
        assert!(
            node.copy.truth.bytes(from, upto) == self.committed[range],
            "node {at} {otherwise}: its bytes differ between {from} and {upto}"
        );
        node.agreed = upto;
    }

    /// A replica says that everything below `upto` is committed.
    pub(super) fn check_committed(&mut self, at: usize, upto: Lsn) {
        let known = Lsn::new(self.committed.len() as u64);
        self.trace.event("committed", &[at as u64, upto.get()]);
        if upto <= known {
            return self.check_agrees(at, upto, "calls committed what others do not have");
        }
        assert!(
            self.nodes[at].is_leader(),
            "node {at} follows and knows that {upto} is committed before its leader does"
        );
        self.check_agrees(at, known, "commits on another log");
        let node = &self.nodes[at];
        assert!(node.copy.truth.appended >= upto, "node {at} commits what it has not written");
        let new = node.copy.truth.bytes(known, upto);
        self.committed.extend(new);
        self.nodes[at].agreed = upto;
        let epoch = self.nodes[at].protocol().current_epoch();
        self.committed_in.insert(epoch, upto);
        self.check_copies(upto);
    }

    /// As many voters as the rule asks for have everything below `upto` on their disks, byte by byte.
    fn check_copies(&mut self, upto: Lsn) {
        let mut copies = 0;
        for at in 0..self.swarm.voters {
            let node = &mut self.nodes[at];
            node.copy.truth.advance_persisted(&node.copy.disk);
            let has = node.copy.truth.persisted >= upto && node.copy.truth.appended >= upto;
            let from = node.agreed.min(upto);
            if has && node.copy.truth.bytes(from, upto) == self.committed[index(from)..index(upto)] {
                node.agreed = node.agreed.max(upto);
                copies += 1;
            }
        }
        let wanted = self.swarm.copies();
        assert!(copies >= wanted, "{upto} counts as committed, and {copies} disks have it instead of {wanted}");
    }

    /// A reply goes out.
    pub(super) fn check_confirmed(&mut self, at: usize, depends_on: Lsn) {
        let known = Lsn::new(self.committed.len() as u64);
        assert!(depends_on <= known, "node {at} shows {depends_on}, committed is {known}");
        self.check_agrees(at, depends_on, "shows what is not committed");
    }

    /// A leader reads from its memory: nobody has been told of anything newer.
    pub(super) fn check_recent(&mut self, at: usize) {
        let appended = self.nodes[at].partition().appended();
        let confirmed = self.confirmed;
        assert!(appended >= confirmed, "node {at} serves reads at {appended}, others were shown {confirmed}");
        self.check_agrees(at, confirmed, "serves reads from another log");
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
        let all = Lsn::new(self.committed.len() as u64);
        assert!(self.confirmed <= all, "what was confirmed is committed");
        for at in 0..self.nodes.len() {
            self.check_agrees(at, all, "has not all that was committed");
            self.compare_state(at);
            self.nodes[at].copy.check_feed();
        }
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
