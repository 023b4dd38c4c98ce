//! Hash slots, exactly as in Redis Cluster, and how slots are dealt to partitions.

use super::PartitionId;

/// How many hash slots there are.
pub const SLOT_COUNT: u16 = 16_384;

/// One of the [`SLOT_COUNT`] hash slots of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// The slot of `key`: CRC16 (XMODEM) of its hash tag, or of the whole key where it has none.
    ///
    /// The hash tag is what stands between the first `{` and the next `}`, if that is not empty. Source: the Redis
    /// Cluster specification.
    #[must_use]
    pub fn of(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) % SLOT_COUNT)
    }

    /// The slot number `number`, or `None` from [`SLOT_COUNT`] on.
    #[must_use]
    pub const fn new(number: u16) -> Option<Self> {
        if number < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The number of this slot.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let rest = &key[open + 1..];
    match rest.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &rest[..close],
    }
}

/// `CRC16_TABLES[k][byte]` is the checksum of `byte` followed by `k` zero bytes.
const CRC16_TABLES: [[u16; 256]; 4] = {
    let mut tables = [[0_u16; 256]; 4];
    let mut index = 0;
    while index < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "the loop ends at 256")]
        let mut crc = (index as u16) << 8;
        let mut shift = 0;
        while shift < 32 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            shift += 1;
            if shift % 8 == 0 {
                tables[shift / 8 - 1][index] = crc;
            }
        }
        index += 1;
    }
    tables
};

/// Four bytes a step: every command on a key pays for this. Source: Kounavis and Berry, *A Systematic Approach to
/// Building High Performance Software-based CRC Generators*, 2005.
fn crc16(bytes: &[u8]) -> u16 {
    let [t0, t1, t2, t3] = &CRC16_TABLES;
    let (chunks, rest) = bytes.as_chunks::<4>();
    let crc = chunks.iter().fold(0_u16, |crc, &[a, b, c, d]| {
        let [high, low] = crc.to_be_bytes();
        t3[usize::from(a ^ high)] ^ t2[usize::from(b ^ low)] ^ t1[usize::from(c)] ^ t0[usize::from(d)]
    });
    rest.iter().fold(crc, |crc, &byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ t0[usize::from(high ^ byte)]
    })
}

/// Deals the slots to partitions: partition `i` of `n` owns the slots from `i * 16384 / n` up to the next one's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionMap {
    count: u16,
}

impl PartitionMap {
    /// Deals the slots to `count` partitions, or `None` where that is zero or more than there are slots.
    #[must_use]
    pub const fn new(count: u16) -> Option<Self> {
        if count == 0 || count > SLOT_COUNT { None } else { Some(Self { count }) }
    }

    /// How many partitions there are.
    #[must_use]
    pub const fn count(self) -> u16 {
        self.count
    }

    /// Which partition owns `slot`.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the quotient is below `count`")]
    pub const fn partition_of(self, slot: Slot) -> PartitionId {
        // The greatest i with i * SLOT_COUNT / count <= slot (integer division).
        let numerator = (slot.0 as u32 + 1) * self.count as u32 - 1;
        PartitionId::new((numerator / SLOT_COUNT as u32) as u16)
    }

    /// The first slot of `partition` and the first slot past it.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the quotient is at most `SLOT_COUNT`")]
    pub const fn slots_of(self, partition: PartitionId) -> (u16, u16) {
        let first = partition.get() as u32 * SLOT_COUNT as u32 / self.count as u32;
        let next = (partition.get() as u32 + 1) * SLOT_COUNT as u32 / self.count as u32;
        (first as u16, next as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis_cluster() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
        let bytewise = |bytes: &[u8]| {
            bytes.iter().fold(0_u16, |crc, &byte| {
                (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
                    if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
                })
            })
        };
        let text = b"The quick brown fox jumps over the lazy dog \x00\xff\x80";
        (0..text.len()).for_each(|len| assert_eq!(crc16(&text[..len]), bytewise(&text[..len])));
        assert_eq!(Slot::of(b"foo").get(), 12_182);
        assert_eq!(Slot::of(b"{user1000}.following"), Slot::of(b"user1000"));
        assert_eq!(Slot::of(b"foo{}{bar}").get(), crc16(b"foo{}{bar}") % SLOT_COUNT);
        assert_eq!(Slot::of(b"foo{{bar}}zap"), Slot::of(b"{bar"));
    }

    #[test]
    fn every_slot_has_the_partition_whose_range_holds_it() {
        for count in [1, 2, 3, 5, 7, 16, 100, 16_383, 16_384] {
            let map = PartitionMap::new(count).unwrap();
            let mut next_first = 0;
            for number in 0..count {
                let (first, next) = map.slots_of(PartitionId::new(number));
                assert_eq!(first, next_first);
                assert!(next > first);
                next_first = next;
                for slot in [first, next - 1] {
                    assert_eq!(map.partition_of(Slot(slot)), PartitionId::new(number), "slot {slot} of {count}");
                }
            }
            assert_eq!(next_first, SLOT_COUNT);
        }
    }
}
