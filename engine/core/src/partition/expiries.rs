//! Which keys expire, and when.

use alloc::collections::BTreeSet;

use crate::types::{KeyHash, Lsn, UnixMillis};

/// The hashes of the keys that expire, in the order in which they do.
///
/// Two keys whose hash and expiry are the same share one place.
#[derive(Default, Debug)]
pub(super) struct Expiries {
    set: BTreeSet<(UnixMillis, KeyHash)>,
    /// Of all the moments in it.
    sum: u128,
    /// No record before this one gave a key an expiry that is in it.
    since: Lsn,
}

/// Whether the same keys expire at the same moments, whatever records said so.
impl PartialEq for Expiries {
    fn eq(&self, other: &Self) -> bool {
        self.set == other.set
    }
}

impl Eq for Expiries {}

impl Expiries {
    /// The record at `lsn` has given a key this expiry.
    pub(super) fn insert(&mut self, at: UnixMillis, hash: KeyHash, lsn: Lsn) {
        self.since = if self.set.is_empty() { lsn } else { self.since.min(lsn) };
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

    /// Whether the record at `lsn` may have given a key an expiry that is kept.
    pub(super) fn may_be_of(&self, lsn: Lsn) -> bool {
        !self.set.is_empty() && lsn >= self.since
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_to_have_given_no_expiry_where_all_that_are_kept_are_of_later_ones() {
        let at = |millis| UnixMillis::new(millis).unwrap();
        let [first, second, third] = [100, 200, 300].map(Lsn::new);
        let mut expiries = Expiries::default();
        assert!(!expiries.may_be_of(second), "none are kept");
        expiries.insert(at(9), KeyHash(1), second);
        assert_eq!([first, second, third].map(|lsn| expiries.may_be_of(lsn)), [false, true, true]);
        expiries.insert(at(9), KeyHash(2), third);
        assert!(expiries.may_be_of(second));
        expiries.insert(at(7), KeyHash(3), first);
        assert!(expiries.may_be_of(first), "the log was cut, and an older record holds the key again");
        [(9, 1), (9, 2), (7, 3)].into_iter().for_each(|(millis, key)| expiries.remove(at(millis), KeyHash(key)));
        assert!(!expiries.may_be_of(third));
        expiries.insert(at(8), KeyHash(4), third);
        assert_eq!([first, second, third].map(|lsn| expiries.may_be_of(lsn)), [false, false, true]);
    }
}
