//! The hash of a key, as the index uses it.

use core::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Seeds the key hash of one partition.
///
/// Drawn at random when the partition is made and kept in its superblock: a client that chooses keys cannot make
/// them collide, and a scan's cursor still means the same after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct HashSeed(pub [u8; 16]);

impl core::fmt::Debug for HashSeed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashSeed(..)")
    }
}

impl HashSeed {
    /// The hash of `key`: SipHash-1-3 under this seed.
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> KeyHash {
        let mut hasher = SipHasher13::new_with_key(&self.0);
        hasher.write(key);
        KeyHash(hasher.finish())
    }
}

/// The 64-bit hash of a key under its partition's [`HashSeed`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct KeyHash(pub u64);
