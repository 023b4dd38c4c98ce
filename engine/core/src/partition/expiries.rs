//! Which keys expire, and when.

use alloc::collections::BTreeSet;

use crate::types::{KeyHash, UnixMillis};

/// The hashes of the keys that expire, in the order in which they do.
///
/// Two keys whose hash and expiry are the same share one place.
#[derive(Default, PartialEq, Eq, Debug)]
pub(super) struct Expiries {
    set: BTreeSet<(UnixMillis, KeyHash)>,
    /// Of all the moments in it.
    sum: u128,
}

impl Expiries {
    pub(super) fn insert(&mut self, at: UnixMillis, hash: KeyHash) {
        if self.set.insert((at, hash)) {
            self.sum += u128::from(at.get());
        }
    }

    pub(super) fn remove(&mut self, at: UnixMillis, hash: KeyHash) {
        if self.set.remove(&(at, hash)) {
            self.sum -= u128::from(at.get());
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(super) fn first(&self) -> Option<(UnixMillis, KeyHash)> {
        self.set.first().copied()
    }

    /// The first that is later than `now`.
    pub(super) fn first_after(&self, now: UnixMillis) -> Option<(UnixMillis, KeyHash)> {
        self.set.range((now, KeyHash(u64::MAX))..).find(|(at, _)| *at > now).copied()
    }

    /// The mean of all moments; `None` where there is none.
    pub(super) fn mean(&self) -> Option<UnixMillis> {
        let mean = self.sum.checked_div(self.set.len() as u128)?;
        u64::try_from(mean).ok().and_then(UnixMillis::new)
    }

    pub(super) fn len(&self) -> usize {
        self.set.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.set.is_empty()
    }
}
