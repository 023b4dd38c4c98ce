//! The epoch history: where in the log each leadership starts.
//!
//! Two logs whose records of one epoch start at the same place agree up to where the shorter of them ends that
//! epoch, because one leader wrote all of it behind a prefix that it shared with whoever follows. So the last common
//! point is found from these lists alone (KIP-101, KIP-279). Invariant: epochs and starts both strictly increase.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::limits::{EPOCHS_IN_HELLO_MAX, EPOCHS_KEPT_MAX};
use super::message::Hello;
use super::types::EpochStart;
use crate::types::{Epoch, Lsn};

/// Where in the log each leadership starts, as far back as it is remembered.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct History {
    entries: VecDeque<EpochStart>,
    /// Older epochs were forgotten.
    forgotten: bool,
}

/// Where two logs part.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Common {
    /// They agree up to here.
    At(Lsn),
    /// Not in the part of the history that was shown: what was before this epoch?
    Before(Epoch),
    /// Nowhere that both still hold.
    Nowhere,
    /// Both hold records of this epoch, and they start at different places: it had two leaders.
    TwoLeaders(Epoch),
}

impl History {
    /// A history without an epoch.
    #[must_use]
    pub const fn new() -> Self {
        Self { entries: VecDeque::new(), forgotten: false }
    }

    /// Notes that the record behind `end`, the end of the log, is of `epoch`.
    ///
    /// # Panics
    /// If epochs decrease along the log: nobody verifies such a record, so that is a bug.
    pub fn note(&mut self, epoch: Epoch, end: Lsn) {
        if let Some(last) = self.entries.back() {
            assert!(last.epoch <= epoch && last.start <= end, "epochs do not decrease along a log");
            if last.epoch == epoch {
                return;
            }
        }
        if self.entries.len() == EPOCHS_KEPT_MAX {
            self.entries.pop_front();
            self.forgotten = true;
        }
        self.entries.push_back(EpochStart { epoch, start: end });
    }

    /// The epochs, oldest first.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = EpochStart> + ExactSizeIterator {
        self.entries.iter().copied()
    }

    /// The epoch of the record that ends at `end`: [`Epoch::ZERO`] where there is none.
    #[must_use]
    pub fn epoch_at(&self, end: Lsn) -> Epoch {
        self.entries.iter().rev().find(|entry| entry.start < end).map_or(Epoch::ZERO, |entry| entry.epoch)
    }

    /// Where `epoch` starts and ends in a log that ends at `log_end`.
    fn range(&self, epoch: Epoch, log_end: Lsn) -> Option<(Lsn, Lsn)> {
        let index = self.entries.binary_search_by_key(&epoch, |entry| entry.epoch).ok()?;
        let end = self.entries.get(index + 1).map_or(log_end, |next| next.start);
        Some((self.entries[index].start, end))
    }

    /// Forgets what starts at or behind `end`, where the log was cut.
    pub(super) fn cut(&mut self, end: Lsn) {
        while self.entries.back().is_some_and(|entry| entry.start >= end) {
            self.entries.pop_back();
        }
    }

    /// Forgets what ends at or before `start`, where the log starts now.
    pub(super) fn trim(&mut self, start: Lsn) {
        while self.entries.get(1).is_some_and(|next| next.start <= start) {
            self.entries.pop_front();
            self.forgotten = false;
        }
    }

    /// The newest epochs, or the newest before `before`: oldest first, where the last of them ends, and whether
    /// there are older ones.
    pub(super) fn tail(&self, before: Option<Epoch>, log_end: Lsn) -> (Vec<EpochStart>, Lsn, bool) {
        let upto = before.map_or(self.entries.len(), |before| self.entries.partition_point(|e| e.epoch < before));
        let from = upto.saturating_sub(EPOCHS_IN_HELLO_MAX);
        let end = self.entries.get(upto).map_or(log_end, |next| next.start);
        (self.entries.range(from..upto).copied().collect(), end, from > 0)
    }

    /// Where this log, from `start` to `end`, and the one of `hello` part.
    ///
    /// The newest epoch that both hold decides: the logs agree up to where the first of them ends it. Starts are
    /// compared no further back than both logs reach.
    pub(super) fn common(&self, start: Lsn, end: Lsn, hello: &Hello) -> Common {
        let both = start.max(hello.start);
        let mut their_end = hello.epochs_end;
        for theirs in hello.epochs.iter().rev() {
            if their_end <= both {
                break;
            }
            if let Some((our_start, our_end)) = self.range(theirs.epoch, end) {
                if our_start.max(both) != theirs.start.max(both) {
                    return Common::TwoLeaders(theirs.epoch);
                }
                return Common::At(our_end.min(their_end));
            }
            their_end = theirs.start;
        }
        match hello.epochs.first() {
            Some(oldest) if hello.has_older && their_end > both => Common::Before(oldest.epoch),
            _ if both == Lsn::ZERO && !self.forgotten => Common::At(Lsn::ZERO),
            _ if hello.end == start => Common::At(start),
            _ => Common::Nowhere,
        }
    }
}
