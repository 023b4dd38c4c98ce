//! A partition over plain memory.

use std::time::{Duration, Instant};

use windrow_core::log::{LogSegment, SegmentMemory, VecMemory};
use windrow_core::partition::{Action, Change, Op, Partition, PartitionConfig, RecoveredPartition};
use windrow_core::replication::Promised;
use windrow_core::replication::ReplicaId;
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::SEGMENT_LEN_DEFAULT;
use windrow_core::types::{ClusterId, Epoch, HashSeed, LogKey, Lsn, PartitionId, UnixMillis};

const CONFIG: PartitionConfig = PartitionConfig { segment_len: SEGMENT_LEN_DEFAULT, segments_ahead: 1 };

/// Keys the checksums of the log.
pub const KEY: LogKey = LogKey::new([9; 8]);

/// The key number `number`: 16 bytes.
#[must_use]
pub fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        rest /= 10;
    }
    key
}

/// The moment at which everything happens.
///
/// # Panics
/// Never: the constant is in range.
#[must_use]
pub fn now() -> UnixMillis {
    UnixMillis::new(1_000_000).expect("in range")
}

/// Drives a partition whose segments are plain memory and whose flushes succeed at once.
pub struct Driver {
    /// The partition.
    pub partition: Partition<VecMemory>,
}

impl Driver {
    /// A partition with an empty log.
    ///
    /// # Panics
    /// If a partition cannot be made in memory: that is a bug.
    #[must_use]
    pub fn empty() -> Self {
        let mut recovered = Self::recover(Vec::new());
        recovered.repair();
        let next = recovered.next_superblock().expect("few epochs");
        let mut driver = Self { partition: recovered.into_writable(next) };
        driver.act();
        driver.partition.start_epoch(now()).expect("the first segment is prepared");
        driver.flush();
        driver
    }

    /// A replica that follows, with an empty log, ready to receive from the leader that [`empty`](Self::empty) is.
    ///
    /// # Panics
    /// If a partition cannot be made in memory: that is a bug.
    #[must_use]
    pub fn follower() -> Self {
        let mut recovered = Self::recover(Vec::new());
        recovered.repair();
        let superblock = recovered.replica_superblock();
        let (partition, _) = recovered.into_replica(superblock);
        let mut driver = Self { partition };
        let first = Epoch::new(1);
        driver.partition.write_promised(0, Promised { promised: first, epoch: first, floor: None });
        driver.act();
        driver
    }

    /// Walks the log that these segments are and builds its index: what opening a partition costs without the disk.
    ///
    /// # Panics
    /// If the segments are not those of [`segments`](Self::segments): that is a bug.
    #[must_use]
    pub fn recover(segments: Vec<(Lsn, VecMemory)>) -> RecoveredPartition<VecMemory> {
        let superblock =
            Superblock::first(ClusterId([1; 16]), PartitionId::new(0), 1, ReplicaId::new(1), HashSeed([2; 16]), KEY);
        RecoveredPartition::new(superblock, CONFIG, segments).expect("the log was written by this process")
    }

    /// A copy of every segment of the log, as recovery would find it.
    #[must_use]
    pub fn segments(&self) -> Vec<(Lsn, VecMemory)> {
        let copy = |segment: &LogSegment<VecMemory>| (segment.base(), VecMemory::from_bytes(segment.memory().bytes()));
        self.partition.log().segments().map(copy).collect()
    }

    /// Does what the partition asks for.
    ///
    /// # Panics
    /// If a segment does not fit into this machine's memory.
    pub fn act(&mut self) {
        while let Some(action) = self.partition.poll_action() {
            self.handle(action);
        }
    }

    fn handle(&mut self, action: Action) {
        match action {
            Action::Prepare { base, len } => {
                let len = usize::try_from(len).expect("a segment fits in memory");
                let mut memory = VecMemory::zeroed(len);
                // Touch every page, as preparing a file does.
                memory.write(0..len).fill(0);
                self.partition.handle_prepared(base, memory);
            }
            Action::WriteSuperblock(superblock) => self.partition.handle_superblock_written(superblock.generation),
        }
    }

    /// Flushes all that was appended.
    pub fn flush(&mut self) {
        while let Some(request) = self.partition.poll_flush() {
            self.partition.handle_flushed(request.ticket);
        }
    }

    /// Writes one key as a record of its own, and makes room for the next.
    ///
    /// # Panics
    /// If the log takes no record: that is a bug.
    #[inline]
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        let hash = self.partition.hash(key);
        let op = Op { hash, key, change: Change::Put { value, expires_at: None } };
        self.partition.append(now(), &mut [op]).expect("there is room");
        self.act();
    }

    /// How long `count` calls of `append` take, without the time in which segments are prepared, or in which
    /// `make` replaces a log that has become longer than `log_len_max`.
    pub fn time_appends(
        &mut self,
        count: u64,
        log_len_max: u64,
        make: impl Fn() -> Self,
        mut append: impl FnMut(&mut Partition<VecMemory>),
    ) -> Duration {
        let mut total = Duration::ZERO;
        let mut start = Instant::now();
        for _ in 0..count {
            append(&mut self.partition);
            if let Some(action) = self.partition.poll_action() {
                total += start.elapsed();
                self.handle(action);
                self.act();
                if self.partition.appended().get() > log_len_max {
                    *self = make();
                }
                start = Instant::now();
            }
        }
        total + start.elapsed()
    }
}
