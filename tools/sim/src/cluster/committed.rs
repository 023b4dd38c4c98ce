//! What counts as committed, by the simulator's own account, and what promotions by force may take from it.
//!
//! A leader of epoch *g* must have what a leader of an earlier epoch *e* has committed, and nothing takes that away but a
//! promotion by force: one of an epoch above *e* and up to *g* whose log, as the promotion named it, ends before that or
//! parts from it. So much is lost, and no more. As long as nothing is lost there is one line of committed bytes.

use std::collections::BTreeMap;

use windrow_core::types::{Epoch, Lsn};

use super::index;

/// So much of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Part {
    pub(super) line: usize,
    pub(super) upto: Lsn,
}

/// Every byte that was ever committed, and by whom.
#[derive(Default)]
pub(super) struct Committed {
    pub(super) lines: Vec<Vec<u8>>,
    /// How far the leader of each epoch has committed.
    pub(super) by_epoch: BTreeMap<Epoch, Part>,
    /// What was shown to somebody, by the epoch that it was committed in.
    pub(super) shown: BTreeMap<Epoch, Part>,
    /// Promotions by force: the log that the new leader kept.
    pub(super) forced: BTreeMap<Epoch, Vec<u8>>,
}

impl Committed {
    /// How much of what a leader of `epoch` has committed, or was shown to have, whoever leads in `later` must have.
    pub(super) fn owed(&self, epoch: Epoch, part: Part, later: Epoch) -> Lsn {
        let bytes = &self.lines[part.line][..index(part.upto)];
        let kept = self.forced_between(epoch, later).map(|log| common(log, bytes)).min();
        kept.map_or(part.upto, |kept| part.upto.min(Lsn::new(kept as u64)))
    }

    /// The logs that promotions by force kept, of epochs above `epoch` and up to `later`.
    pub(super) fn forced_between(&self, epoch: Epoch, later: Epoch) -> impl Iterator<Item = &Vec<u8>> {
        let forced = self.forced.iter().filter(move |(forced, _)| **forced > epoch && **forced <= later);
        forced.map(|(_, log)| log)
    }

    /// How far whatever is committed reaches, by the newest epoch that has committed anything.
    pub(super) fn newest(&self) -> Option<Part> {
        self.by_epoch.last_key_value().map(|(_, part)| *part)
    }

    /// The oldest epoch in which everything below `part` was committed, and by which line.
    pub(super) fn first_epoch_of(&self, part: Part) -> Option<(Epoch, Part)> {
        let bytes = &self.lines[part.line][..index(part.upto)];
        let has = |other: &Part| {
            other.upto >= part.upto && (other.line == part.line || self.lines[other.line].starts_with(bytes))
        };
        let found = self.by_epoch.iter().find(|(_, other)| has(other));
        found.map(|(epoch, other)| (*epoch, Part { line: other.line, upto: part.upto }))
    }

    /// Two leaders may commit what contradicts the other only where a promotion by force has lost it.
    pub(super) fn check_contradictions(&self, epoch: Epoch, part: Part) {
        for (&other_epoch, &other) in &self.by_epoch {
            let ours = &self.lines[part.line][..index(part.upto)];
            let theirs = &self.lines[other.line][..index(other.upto)];
            let same = common(ours, theirs);
            if same == ours.len().min(theirs.len()) {
                continue;
            }
            let owed = if other_epoch < epoch {
                self.owed(other_epoch, other, epoch)
            } else {
                self.owed(epoch, part, other_epoch)
            };
            assert!(index(owed) <= same, "epochs {epoch} and {other_epoch} commit different records from {same} on");
        }
    }
}

/// How many first bytes are the same.
fn common(a: &[u8], b: &[u8]) -> usize {
    let differ = a.iter().zip(b).position(|(a, b)| a != b);
    differ.unwrap_or(a.len().min(b.len()))
}
