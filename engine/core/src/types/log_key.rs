//! What keys the checksums of a log's records.

/// Keys the checksums of one log's records: a secret of the partition, the same on all its replicas.
///
/// Values are bytes of clients, and they lie in the log. Behind a torn header, recovery looks for whole records at every
/// place, and cannot tell what lies in a value from what was appended. So what is whole is decided by a sum that only
/// somebody who knows this key can make: for each guess, the chance is one in 2^64. Drawn at random when a partition is
/// made; a replica whose log is empty takes over that of its leader. Never shown to clients. It does not protect against
/// whoever can read the log.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct LogKey {
    header: u32,
    body: u32,
}

impl core::fmt::Debug for LogKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("LogKey(..)")
    }
}

impl LogKey {
    /// The key that is written down as these bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 8]) -> Self {
        let [h0, h1, h2, h3, b0, b1, b2, b3] = bytes;
        Self { header: u32::from_le_bytes([h0, h1, h2, h3]), body: u32::from_le_bytes([b0, b1, b2, b3]) }
    }

    /// The bytes that stand for this key.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 8] {
        let ([h0, h1, h2, h3], [b0, b1, b2, b3]) = (self.header.to_le_bytes(), self.body.to_le_bytes());
        [h0, h1, h2, h3, b0, b1, b2, b3]
    }

    /// The checksum of a record's header: of everything behind the checksum itself.
    #[inline]
    #[must_use]
    pub fn header_sum(self, bytes: &[u8]) -> u32 {
        sum(self.header, bytes)
    }

    /// The checksum of a record's body. That of a record without one tells the key, too.
    #[inline]
    #[must_use]
    pub fn body_sum(self, bytes: &[u8]) -> u32 {
        sum(self.body, bytes)
    }
}

/// CRC-32 that goes on from `key`: as fast as without one.
#[inline]
fn sum(key: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(key);
    hasher.update(bytes);
    hasher.finalize()
}
