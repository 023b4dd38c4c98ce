//! How far a log is committed.

use alloc::vec::Vec;

use super::types::CommitRule;
use crate::types::Lsn;

/// The greatest position that `rule` calls committed, given how far each voter has flushed.
pub(super) fn flushed_as_asked(rule: CommitRule, own: Lsn, others: impl Iterator<Item = Lsn>) -> Lsn {
    match rule {
        CommitRule::Leader => own,
        CommitRule::All => others.fold(own, Lsn::min),
        CommitRule::Quorum => {
            let mut all: Vec<Lsn> = others.chain([own]).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all[all.len() / 2]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_met_by_as_many_as_it_says() {
        let at = |rule, own, others: &[u64]| {
            flushed_as_asked(rule, Lsn::new(own), others.iter().map(|&lsn| Lsn::new(lsn))).get()
        };
        assert_eq!(at(CommitRule::Leader, 5, &[1, 9]), 5);
        assert_eq!(at(CommitRule::Quorum, 5, &[]), 5);
        assert_eq!(at(CommitRule::Quorum, 5, &[3]), 3, "both of two");
        assert_eq!(at(CommitRule::Quorum, 5, &[3, 1]), 3, "two of three");
        assert_eq!(at(CommitRule::Quorum, 1, &[9, 4]), 4, "the leader may be the slow one");
        assert_eq!(at(CommitRule::Quorum, 9, &[7, 5, 3]), 5, "three of four");
        assert_eq!(at(CommitRule::Quorum, 9, &[7, 5, 3, 1]), 5, "three of five");
        assert_eq!(at(CommitRule::All, 9, &[7, 5, 3, 1]), 1);
    }
}
