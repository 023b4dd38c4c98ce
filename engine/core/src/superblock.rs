//! The superblock: what a partition is, and what it has promised.
//!
//! Owns the layout of one slot. A superblock is written to two slots in turn, the slot being its generation modulo
//! two, so that a torn write leaves the other. Fault model: either slot may be torn, stale or rotten; both at once is
//! corruption, never treated as absence.

use thiserror::Error;

use crate::codec::Chain;
use crate::replication::{Position, Promised, ReplicaId};
use crate::types::{ClusterId, Epoch, HashSeed, LogKey, Lsn, PartitionId};

/// Bytes of one slot; the file has two.
pub const SLOT_LEN: usize = 4096;
/// Bytes of a slot that mean something; the rest is zero.
pub const SUPERBLOCK_LEN: usize = 192;

const MAGIC: [u8; 8] = *b"WINDROWS";
/// The version of the superblock, segment and record formats, which change together.
pub const FORMAT_VERSION: u32 = 3;
/// What stands for no position where one may be missing: no log gets there.
const NOWHERE: u64 = u64::MAX;

/// What a partition is, and what it has promised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Superblock {
    /// Counts the writes of this superblock.
    pub generation: u64,
    /// The cluster that the partition belongs to.
    pub cluster: ClusterId,
    /// Which partition of the cluster it is.
    pub partition: PartitionId,
    /// How many partitions the cluster has.
    pub partition_count: u16,
    /// Names this copy of the partition for ever: drawn with its data directory, the same for all its partitions.
    pub replica: ReplicaId,
    /// The newest epoch that this replica has led or followed.
    pub epoch: Epoch,
    /// The newest epoch that this replica has promised: it refuses everything older.
    pub promised: Epoch,
    /// Records of this epoch and of later ones were written here, so the watermarks that they name are this replica's.
    /// [`OTHERS_ONLY`](Self::OTHERS_ONLY): none were; they came from a leader, and name the leader's watermarks.
    pub own_epoch: Epoch,
    /// This replica once vouched for records up to here and no longer holds them.
    pub floor: Option<Position>,
    /// Where the log starts: the base of its first segment.
    pub start: Lsn,
    /// The chain value that the log starts from.
    pub start_chain: Chain,
    /// The log is being cut here: whatever stands behind is no longer part of it, however whole it looks.
    pub cut: Option<Lsn>,
    /// Everything below was durable when this was written; a bad record below is corruption.
    pub durable: Lsn,
    /// Everything below was committed when this was written: never beyond `durable`, and often short of what is.
    pub committed: Lsn,
    /// This copy is one of several replicas: what is committed, and who leads, is not decided here alone.
    pub in_set: bool,
    /// How many keys there were when this was written. A hint that only the speed of a start depends on.
    pub keys: u64,
    /// Seeds the key hash of this replica's index.
    pub hash_seed: HashSeed,
    /// Keys the checksums of the log's records; the same on all replicas, once their logs hold anything.
    pub log_key: LogKey,
    /// Features that a reader must know to read this partition; none exist yet.
    pub features: u64,
}

/// Why a slot was not accepted.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SlotError {
    /// The slot holds only zeros: it was never written.
    #[error("never written")]
    Blank,
    /// The slot is shorter than a superblock.
    #[error("{len} bytes are too few for a superblock")]
    Short {
        /// Bytes found.
        len: usize,
    },
    /// The first bytes are not those of a superblock.
    #[error("no superblock starts here")]
    Magic,
    /// The checksum does not match.
    #[error("checksum {found:#010x} instead of {expected:#010x}")]
    Checksum {
        /// What the bytes add up to.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// Written by a newer Windrow.
    #[error("format version {found}, but this build reads version {supported}")]
    Version {
        /// What is written.
        found: u32,
        /// What this build reads.
        supported: u32,
    },
    /// Uses features that this build does not know.
    #[error("feature bits {found:#x} are unknown to this build")]
    Features {
        /// The bits set.
        found: u64,
    },
}

/// Why a pair of slots gives no superblock.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum SuperblockError {
    /// Neither slot was ever written: the partition was never made.
    #[error("both superblock slots are blank")]
    Absent,
    /// No slot can be believed.
    #[error("no superblock slot is readable: slot 0: {first}; slot 1: {second}")]
    Unreadable {
        /// What is wrong with slot 0.
        first: SlotError,
        /// What is wrong with slot 1.
        second: SlotError,
    },
}

impl Superblock {
    /// The `own_epoch` of a replica whose records come from a leader.
    pub const OTHERS_ONLY: Epoch = Epoch::new(u32::MAX);

    /// The first superblock of a partition that is being made; `replica`, `hash_seed` and `log_key`
    /// were drawn at random.
    #[must_use]
    pub fn first(
        cluster: ClusterId,
        partition: PartitionId,
        partition_count: u16,
        replica: ReplicaId,
        hash_seed: HashSeed,
        log_key: LogKey,
    ) -> Self {
        Self {
            generation: 1,
            cluster,
            partition,
            partition_count,
            replica,
            epoch: Epoch::ZERO,
            promised: Epoch::ZERO,
            own_epoch: Epoch::ZERO,
            floor: None,
            start: Lsn::ZERO,
            start_chain: Chain::origin(cluster, partition),
            cut: None,
            durable: Lsn::ZERO,
            committed: Lsn::ZERO,
            in_set: false,
            keys: 0,
            hash_seed,
            log_key,
            features: 0,
        }
    }

    /// What this replica has promised, as the protocol knows it.
    #[must_use]
    pub const fn promise(&self) -> Promised {
        Promised { promised: self.promised, epoch: self.epoch, floor: self.floor }
    }

    /// Puts in what the protocol wants to be durable.
    pub(crate) const fn set_promise(&mut self, promised: Promised) {
        self.promised = promised.promised;
        self.epoch = promised.epoch;
        self.floor = promised.floor;
    }

    /// Whether a watermark that a record or segment header of `epoch` names was this replica's own.
    #[must_use]
    pub fn is_own(&self, epoch: Epoch) -> bool {
        self.own_epoch != Self::OTHERS_ONLY && epoch >= self.own_epoch
    }

    /// Whether this copy is one of several replicas.
    #[must_use]
    pub fn is_in_set(&self) -> bool {
        self.in_set || self.own_epoch == Self::OTHERS_ONLY
    }

    /// The slot that this superblock belongs in: 0 or 1.
    #[must_use]
    pub const fn slot(&self) -> usize {
        if self.generation.is_multiple_of(2) { 0 } else { 1 }
    }

    /// The bytes of this superblock.
    #[must_use]
    pub fn encode(&self) -> [u8; SUPERBLOCK_LEN] {
        let mut bytes = [0; SUPERBLOCK_LEN];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[12..16].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.cluster.0);
        bytes[40..42].copy_from_slice(&self.partition.get().to_le_bytes());
        bytes[42..44].copy_from_slice(&self.partition_count.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.epoch.get().to_le_bytes());
        bytes[48..52].copy_from_slice(&self.promised.get().to_le_bytes());
        bytes[52..56].copy_from_slice(&self.own_epoch.get().to_le_bytes());
        bytes[56..64].copy_from_slice(&self.durable.get().to_le_bytes());
        bytes[64..80].copy_from_slice(&self.hash_seed.0);
        bytes[80..88].copy_from_slice(&self.features.to_le_bytes());
        bytes[88..96].copy_from_slice(&self.replica.get().to_le_bytes());
        bytes[96..104].copy_from_slice(&self.start.get().to_le_bytes());
        bytes[104..112].copy_from_slice(&self.cut.map_or(NOWHERE, Lsn::get).to_le_bytes());
        let floor = self.floor.unwrap_or_default();
        bytes[112..120].copy_from_slice(&floor.lsn.get().to_le_bytes());
        bytes[120..124].copy_from_slice(&floor.epoch.get().to_le_bytes());
        bytes[124..128].copy_from_slice(&self.start_chain.get().to_le_bytes());
        bytes[128..136].copy_from_slice(&self.log_key.to_bytes());
        bytes[136..144].copy_from_slice(&self.committed.get().to_le_bytes());
        bytes[144] = u8::from(self.in_set);
        bytes[152..160].copy_from_slice(&self.keys.to_le_bytes());
        let checksum = checksum(&bytes);
        bytes[8..12].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads one slot.
    ///
    /// # Errors
    /// Says in which way the slot cannot be believed.
    pub fn decode(slot: &[u8]) -> Result<Self, SlotError> {
        let Some(bytes) = slot.first_chunk::<SUPERBLOCK_LEN>() else {
            return Err(SlotError::Short { len: slot.len() });
        };
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(SlotError::Blank);
        }
        if bytes[0..8] != MAGIC {
            return Err(SlotError::Magic);
        }
        let expected = checksum(bytes);
        let found = u32::from_le_bytes(field(bytes, 8));
        if expected != found {
            return Err(SlotError::Checksum { expected, found });
        }
        let version = u32::from_le_bytes(field(bytes, 12));
        if version != FORMAT_VERSION {
            return Err(SlotError::Version { found: version, supported: FORMAT_VERSION });
        }
        let features = u64::from_le_bytes(field(bytes, 80));
        if features != 0 {
            return Err(SlotError::Features { found: features });
        }
        let floor = Position {
            epoch: Epoch::new(u32::from_le_bytes(field(bytes, 120))),
            lsn: Lsn::new(u64::from_le_bytes(field(bytes, 112))),
        };
        let cut = u64::from_le_bytes(field(bytes, 104));
        Ok(Self {
            generation: u64::from_le_bytes(field(bytes, 16)),
            cluster: ClusterId(field(bytes, 24)),
            partition: PartitionId::new(u16::from_le_bytes(field(bytes, 40))),
            partition_count: u16::from_le_bytes(field(bytes, 42)),
            epoch: Epoch::new(u32::from_le_bytes(field(bytes, 44))),
            promised: Epoch::new(u32::from_le_bytes(field(bytes, 48))),
            replica: ReplicaId::new(u64::from_le_bytes(field(bytes, 88))),
            own_epoch: Epoch::new(u32::from_le_bytes(field(bytes, 52))),
            floor: (floor.epoch > Epoch::ZERO).then_some(floor),
            start: Lsn::new(u64::from_le_bytes(field(bytes, 96))),
            start_chain: Chain::new(u32::from_le_bytes(field(bytes, 124))),
            cut: (cut != NOWHERE).then_some(Lsn::new(cut)),
            durable: Lsn::new(u64::from_le_bytes(field(bytes, 56))),
            committed: Lsn::new(u64::from_le_bytes(field(bytes, 136))),
            in_set: bytes[144] != 0,
            keys: u64::from_le_bytes(field(bytes, 152)),
            hash_seed: HashSeed(field(bytes, 64)),
            log_key: LogKey::new(field(bytes, 128)),
            features,
        })
    }

    /// The newer superblock of two slots.
    ///
    /// # Errors
    /// [`SuperblockError::Absent`] where neither was ever written; [`SuperblockError::Unreadable`] where none can be
    /// believed. A slot of a newer version makes the pair unreadable, even when the other slot is fine: the older one
    /// would take back what the newer build promised.
    pub fn choose(first: &[u8], second: &[u8]) -> Result<Self, SuperblockError> {
        match (Self::decode(first), Self::decode(second)) {
            (Ok(a), Ok(b)) => Ok(if a.generation >= b.generation { a } else { b }),
            (Err(SlotError::Blank), Err(SlotError::Blank)) => Err(SuperblockError::Absent),
            (Ok(block), Err(other)) | (Err(other), Ok(block))
                if !matches!(other, SlotError::Version { .. } | SlotError::Features { .. }) =>
            {
                Ok(block)
            }
            (a, b) => Err(SuperblockError::Unreadable {
                first: a.err().unwrap_or(SlotError::Blank),
                second: b.err().unwrap_or(SlotError::Blank),
            }),
        }
    }
}

fn checksum(bytes: &[u8; SUPERBLOCK_LEN]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[0..8]);
    hasher.update(&bytes[12..]);
    hasher.finalize()
}

fn field<const N: usize>(bytes: &[u8; SUPERBLOCK_LEN], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

#[cfg(test)]
mod tests;
