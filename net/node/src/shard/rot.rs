//! What of a log was found to be damaged while the node runs, for operators.

use std::collections::BTreeSet;

use windrow_core::log::Damaged;
use windrow_core::types::Lsn;

/// The segments of one log that were found to be damaged since the node has started. At most as many as the log has.
#[derive(Default, Debug)]
pub(crate) struct Rot(BTreeSet<Lsn>);

impl Rot {
    /// This was found.
    pub(super) fn note(&mut self, damage: &Damaged) {
        self.0.insert(damage.base);
    }

    /// Segments from `base` on are no longer in the log.
    #[cfg(feature = "shared-nothing")]
    pub(super) fn forget_from(&mut self, base: Lsn) {
        let _gone = self.0.split_off(&base);
    }

    /// How many segments are damaged.
    pub(super) fn count(&self) -> u64 {
        self.0.len() as u64
    }

    /// Where the first of them starts; zero where there is none.
    pub(super) fn first(&self) -> Lsn {
        self.0.first().copied().unwrap_or_default()
    }
}
