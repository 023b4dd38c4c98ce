//! How the next segment of a partition is filled before it is used, and when it is flushed.
//!
//! What is written little by little wants a segment that has been written before: the setting says how. A follower that
//! is far behind gets whole segments, and would write each of them twice: so these are allocated only, and they are
//! flushed in large parts, past the page cache, since hardly anybody reads them before the rest has come. They are read
//! into memory [later](super::warming). Where keys expire, much of what is overwritten is read: there, and where it is
//! not known yet that so much comes, the pages of a segment are made ready at once instead, and it is flushed when it
//! is full. A follower that has nothing takes it that this is so before it has heard of a leader, but for its first
//! segment: how much there is, only the leader knows. Where a part of a segment comes at once, or may, its pages are
//! made ready too, but such that what comes later is flushed as usual; the first flush writes all of it. The space is
//! there in any case, and reads as zeros until it is written.

use std::time::Duration;

use windrow_core::types::Lsn;
use windrow_store::{FillMode, PrepareError};

/// What comes as a whole segment is flushed when it has become so much, where it goes past the page cache.
pub(super) const COLD_FLUSH_LEN: u64 = 8 << 20;
/// While so much of it is not flushed, and so is memory of the process, no further segment is made for more: the network may
/// be faster than the disk.
pub(super) const COLD_UNFLUSHED_MAX: u64 = 64 << 20;
/// What comes as a whole segment is flushed after this time though it is not full: the leader may be counting on it.
pub(super) const WHOLE_WITHIN: Duration = Duration::from_millis(500);

/// How the next segment of a partition is filled before it is used.
#[derive(Debug)]
pub(crate) struct Filling {
    usual: FillMode,
    /// What comes from a leader goes on at least up to here.
    leader_has: Lsn,
    /// Somebody waits for the next segment with what a leader has sent.
    awaited: bool,
    /// Nothing is here yet, and everything is to come from a leader.
    empty: bool,
    /// The file system allocates nothing that is not written.
    only_usual: bool,
}

impl Filling {
    pub(super) const fn new(usual: FillMode) -> Self {
        Self { usual, leader_has: Lsn::ZERO, awaited: false, empty: false, only_usual: false }
    }

    /// Nothing is here yet, and everything is to come from a leader: how much, it has not said.
    #[cfg(feature = "shared-nothing")]
    pub(crate) const fn everything_comes(&mut self) {
        self.empty = true;
    }

    /// A leader's log goes on at least up to `upto`.
    #[cfg(feature = "shared-nothing")]
    pub(super) fn leader_has(&mut self, upto: Lsn) {
        self.leader_has = self.leader_has.max(upto);
        self.empty = false;
    }

    /// What comes from a leader waits for the next segment, or is about to.
    #[cfg(feature = "shared-nothing")]
    pub(crate) const fn awaited(&mut self) {
        self.awaited = true;
    }

    /// Nobody is followed any more, and what was heard may never come.
    #[cfg(feature = "shared-nothing")]
    pub(super) const fn forget_leader(&mut self) {
        self.leader_has = Lsn::ZERO;
        self.awaited = false;
        self.empty = false;
    }

    /// Whether everything below `upto` is on its way from a leader.
    pub(super) fn comes(&self, upto: Lsn) -> bool {
        self.leader_has >= upto
    }

    /// How to fill the segment of `len` bytes at `base` of a log in which keys expire or not.
    pub(super) fn of(&mut self, base: Lsn, len: u64, expires: bool) -> FillMode {
        let awaited = std::mem::take(&mut self.awaited);
        if self.only_usual {
            self.usual
        } else if self.comes(base.plus(len)) && !expires {
            FillMode::Cold
        } else if self.comes(base.plus(len)) || (self.empty && base > Lsn::ZERO) {
            FillMode::Whole
        } else if awaited || self.empty || self.leader_has > base {
            FillMode::Part
        } else {
            self.usual
        }
    }

    /// A segment could not be made. Whether that is because it was not filled as usual: then it is, from now on.
    pub(super) const fn failed(&mut self, error: &PrepareError) -> bool {
        let refused = matches!(error, PrepareError::CannotAllocate { .. }) && self.usual.writes_all();
        self.only_usual |= refused;
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: u64 = 1 << 20;

    #[test]
    fn a_segment_is_written_before_unless_it_comes_from_a_leader_at_once() {
        let mut filling = Filling::new(FillMode::Write16K);
        let base = Lsn::new(LEN);
        assert_eq!(filling.of(base, LEN, false), FillMode::Write16K);
        #[cfg(feature = "shared-nothing")]
        {
            filling.leader_has(base);
            assert_eq!(filling.of(base, LEN, false), FillMode::Write16K);
            filling.leader_has(Lsn::new(2 * LEN - 1));
            assert_eq!(filling.of(base, LEN, false), FillMode::Part, "a part of it");
            assert!(!filling.comes(Lsn::new(2 * LEN)));
            filling.leader_has(Lsn::new(2 * LEN));
            filling.leader_has(base);
            assert_eq!(filling.of(base, LEN, false), FillMode::Cold);
            assert_eq!(filling.of(base, LEN, true), FillMode::Whole, "what is overwritten is read");
            assert!(filling.comes(Lsn::new(2 * LEN)));
            filling.forget_leader();
            assert_eq!(filling.of(base, LEN, false), FillMode::Write16K);
            filling.awaited();
            assert_eq!(filling.of(base, LEN, false), FillMode::Part, "it comes faster than segments are made");
            assert_eq!(filling.of(base, LEN, false), FillMode::Write16K, "once");
            filling.everything_comes();
            assert_eq!(filling.of(Lsn::ZERO, LEN, false), FillMode::Part, "little may come at first");
            assert_eq!(filling.of(base, LEN, false), FillMode::Whole, "until the leader has said how much");
            filling.leader_has(base);
            assert_eq!(filling.of(base, LEN, false), FillMode::Write16K);
        }
    }

    #[test]
    fn where_space_cannot_be_allocated_alone_it_is_written() {
        let error = PrepareError::CannotAllocate { path: "segment".into() };
        let mut filling = Filling::new(FillMode::Write16K);
        filling.awaited = true;
        assert_eq!(filling.of(Lsn::ZERO, LEN, false), FillMode::Part);
        assert!(filling.failed(&error));
        filling.awaited = true;
        assert_eq!(filling.of(Lsn::ZERO, LEN, false), FillMode::Write16K);
        assert!(!Filling::new(FillMode::Allocate).failed(&error), "nothing else is asked for");
        assert!(!filling.failed(&PrepareError::TooLarge { len: LEN }));
    }
}
