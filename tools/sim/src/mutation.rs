//! Known bugs, put back on purpose: each must be found, or the simulator does not check what it claims to.
//!
//! These are bugs of a driver, and the driver here is the simulator's. Bugs inside the engine are patches in
//! `mutations/`, applied to a copy of the tree.

/// A bug of the driver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// Replies go out once their record has been handed to a flush.
    ReleaseAtSubmitted,
    /// Replies go out at once.
    ReleaseAtOnce,
    /// A reply that shows a key to be absent does not wait.
    AbsenceDoesNotWait,
    /// Of the segments of one flush only the last is flushed.
    FlushLastSegmentOnly,
    /// Of the segments of one flush only the first is flushed.
    FlushFirstSegmentOnly,
    /// A flush is reported as done when it has been started.
    FlushReportedEarly,
    /// After a failed flush the process flushes once more and believes it.
    RetryFailedFlush,
    /// A restart after a failed flush believes the page cache.
    TrustCache,
    /// The directory is not synced after a segment has been made.
    SkipDirectorySync,
    /// A new epoch's superblock is not written.
    SkipEpochSuperblock,
    /// The superblock is written to the same slot each time.
    OneSuperblockSlot,
    /// Opening leaves what lies behind the end as it is on the disk.
    SkipRepair,
    /// What opening found is served before it has been flushed.
    ServeBeforeFlush,
    /// Replies of one connection go out as soon as each may, whatever is before it.
    ReleaseOutOfOrder,
    /// A command that has to be run again is answered twice.
    AnswerRetryTwice,
    /// The parts of a transaction are written one by one.
    SplitTransactions,
    /// A follower acknowledges what it has before it is flushed.
    AckBeforeFlush,
    /// A leader answers from its memory without asking whether it still leads.
    ServeWithoutLease,
    /// A leader answers when its own disk has the record.
    ReplyAtDurable,
    /// A leader that is told that it leads no longer goes on.
    KeepLeading,
    /// A promise is given before it is durable.
    PromiseBeforeDurable,
    /// Segments that were to be moved aside stay where they are.
    SkipMoveAside,
}

impl Mutation {
    /// Whether it is a bug of driving several replicas.
    #[must_use]
    pub const fn is_of_cluster(self) -> bool {
        matches!(
            self,
            Self::AckBeforeFlush
                | Self::ServeWithoutLease
                | Self::ReplyAtDurable
                | Self::KeepLeading
                | Self::PromiseBeforeDurable
                | Self::SkipMoveAside
        )
    }
}

impl Mutation {
    /// All of them, with their names on the command line.
    pub const ALL: [(&'static str, Self); 22] = [
        ("release-at-submitted", Self::ReleaseAtSubmitted),
        ("release-at-once", Self::ReleaseAtOnce),
        ("absence-does-not-wait", Self::AbsenceDoesNotWait),
        ("flush-last-segment-only", Self::FlushLastSegmentOnly),
        ("flush-first-segment-only", Self::FlushFirstSegmentOnly),
        ("flush-reported-early", Self::FlushReportedEarly),
        ("retry-failed-flush", Self::RetryFailedFlush),
        ("trust-cache", Self::TrustCache),
        ("skip-directory-sync", Self::SkipDirectorySync),
        ("skip-epoch-superblock", Self::SkipEpochSuperblock),
        ("one-superblock-slot", Self::OneSuperblockSlot),
        ("skip-repair", Self::SkipRepair),
        ("serve-before-flush", Self::ServeBeforeFlush),
        ("release-out-of-order", Self::ReleaseOutOfOrder),
        ("answer-retry-twice", Self::AnswerRetryTwice),
        ("split-transactions", Self::SplitTransactions),
        ("ack-before-flush", Self::AckBeforeFlush),
        ("serve-without-lease", Self::ServeWithoutLease),
        ("reply-at-durable", Self::ReplyAtDurable),
        ("keep-leading", Self::KeepLeading),
        ("promise-before-durable", Self::PromiseBeforeDurable),
        ("skip-move-aside", Self::SkipMoveAside),
    ];

    /// The mutation of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, mutation)| *mutation)
    }
}
