//! The handle on a store.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use windrow_core::partition::Change;
use windrow_core::types::{PartitionMap, Slot, UnixMillis};
use windrow_store::{
    Background, DataDir, FlushedBy, OpenReport, install_signal_handlers, open_partition, open_read_only,
};

use crate::batch::{Batch, OwnedChange};
use crate::condition::{Condition, PutOutcome};
use crate::error::{OpenError, ReadError, RefreshError, WriteError};
use crate::options::Options;
use crate::shard::{Decision, Shard, now};
use crate::stats::Stats;
use crate::value::{Item, Value, Version};

/// A store in a directory. Clones are handles on the same store; all of it may be used from any thread.
///
/// The directory belongs to this process until the last handle is gone, and what scans and change feeds hold counts
/// as one. Nothing durable happens when handles are dropped: what was confirmed is durable already, and in
/// [`FlushMode::Explicit`](crate::FlushMode::Explicit) the rest is not. [`close`](Self::close) leaves nothing behind.
#[derive(Clone)]
pub struct Windrow {
    inner: Arc<Inner>,
}

// Dropped in this order: the lock of the directory goes last, when nothing can touch the files any more.
struct Inner {
    shards: Vec<Arc<Shard>>,
    map: PartitionMap,
    reports: Vec<OpenReport>,
    _background: Option<Background>,
    data_dir: DataDir,
}

impl fmt::Debug for Windrow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Windrow")
            .field("path", &self.inner.data_dir.path())
            .field("partitions", &self.inner.shards.len())
            .finish_non_exhaustive()
    }
}

impl Windrow {
    /// Opens the store in the directory `path` with the defaults of [`Options`], and makes it if it is not there.
    ///
    /// # Errors
    /// [`OpenError`]. Nothing that was ever confirmed is changed by an attempt that fails.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, OpenError> {
        Options::new().open(path)
    }

    pub(crate) fn open_with(path: &Path, options: &Options) -> Result<Self, OpenError> {
        if options.signal_handlers {
            install_signal_handlers();
        }
        let data_dir = match options {
            Options { read_only: true, .. } => DataDir::open_read_only(path)?,
            Options { create: true, .. } => DataDir::open_or_create(path, &options.new_data_dir())?,
            Options { .. } => DataDir::open(path)?,
        };
        let Some(map) = PartitionMap::new(data_dir.identity().partitions) else {
            unreachable!("an identity has one to 1024 partitions")
        };
        let background = if options.read_only {
            None
        } else {
            Some(Background::start(&[], FlushedBy::Callers).map_err(OpenError::Thread)?)
        };
        let config = options.config();
        let mut shards = Vec::new();
        let mut reports = Vec::new();
        for id in (0..map.count()).map(windrow_core::types::PartitionId::new) {
            let (shard, report) = match &background {
                Some(background) => {
                    let mut opened = open_partition(&data_dir, id, &config, now())?;
                    opened.partition.doubt_beyond(options.unverified_len);
                    let report = opened.report.clone();
                    (Shard::new_writable(opened, config.fill, options.flush, background), report)
                }
                None => {
                    let mut opened = open_read_only(&data_dir, id, &config)?;
                    opened.doubt_beyond(options.unverified_len);
                    let report = opened.report().clone();
                    (Shard::new_read_only(opened), report)
                }
            };
            shards.push(shard);
            reports.push(report);
        }
        Ok(Self { inner: Arc::new(Inner { shards, map, reports, _background: background, data_dir }) })
    }

    /// What opening found and did, by partition: torn tails that were cut, files that were removed or are unknown.
    #[must_use]
    pub fn open_reports(&self) -> &[OpenReport] {
        &self.inner.reports
    }

    /// How many partitions the store has.
    #[must_use]
    pub fn partitions(&self) -> u16 {
        self.inner.map.count()
    }

    /// The partition that a key belongs to, counted from 0: that of its hash slot, as in Redis Cluster.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> u16 {
        self.inner.map.partition_of(Slot::of(key)).get()
    }

    fn shard_of(&self, key: &[u8]) -> &Shard {
        &self.inner.shards[usize::from(self.partition_of(key))]
    }

    pub(crate) fn shards(&self) -> &[Arc<Shard>] {
        &self.inner.shards
    }

    /// The value of a key, in the log itself: nothing is copied.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>, ReadError> {
        let key = key.as_ref();
        self.shard_of(key).lookup(key, |partition, entry| Value::new(partition, entry.lsn, entry.value))
    }

    /// A key as it stands: value, expiry, version.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn get_item(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>, ReadError> {
        let key = key.as_ref();
        self.shard_of(key).lookup(key, |partition, entry| Item::new(partition, &entry))
    }

    /// Sets a key. An expiry that it had is gone.
    ///
    /// # Errors
    /// [`WriteError`], which tells what did not happen from what may have happened.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Version, WriteError> {
        let key = key.as_ref();
        self.shard_of(key).put(key, value.as_ref(), None).map(|written| Version(written.lsn))
    }

    /// Sets a key that ceases to exist at `expires_at`. A moment that has passed makes it absent at once.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_expiring(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expires_at: UnixMillis,
    ) -> Result<Version, WriteError> {
        let key = key.as_ref();
        self.shard_of(key).put(key, value.as_ref(), Some(expires_at)).map(|written| Version(written.lsn))
    }

    /// Deletes a key. Returns whether it was there.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        let key = key.as_ref();
        let modified = self
            .shard_of(key)
            .modify(key, |entry| if entry.is_some() { Decision::Delete } else { Decision::Nothing })?;
        Ok(modified.found.is_some())
    }

    /// Sets a key if `condition` holds of what is there. An expiry that it had is gone.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn put_if(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        condition: Condition<'_>,
    ) -> Result<PutOutcome, WriteError> {
        let (key, value) = (key.as_ref(), value.as_ref());
        let modified = self.shard_of(key).modify(key, |entry| {
            if condition.holds(entry) { Decision::Put { value, expires_at: None } } else { Decision::Nothing }
        })?;
        Ok(match modified.written {
            Some(written) => PutOutcome::Written(Version(written.lsn)),
            None => PutOutcome::Refused { found: modified.found.map(Version) },
        })
    }

    /// Lets a key cease to exist at `expires_at`. Returns whether it is there. Its value is written anew,
    /// which takes as long, and as much of the log, as putting it.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn expire(&self, key: impl AsRef<[u8]>, expires_at: UnixMillis) -> Result<bool, WriteError> {
        self.set_expiry(key.as_ref(), Some(expires_at))
    }

    /// Takes a key's expiry away. Returns whether it is there. Its value is written anew, if it had an expiry,
    /// as by [`expire`](Self::expire).
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn persist(&self, key: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        self.set_expiry(key.as_ref(), None)
    }

    fn set_expiry(&self, key: &[u8], expires_at: Option<UnixMillis>) -> Result<bool, WriteError> {
        let modified = self.shard_of(key).modify(key, |entry| match entry {
            Some(entry) if entry.expires_at != expires_at => Decision::Keep { expires_at },
            _ => Decision::Nothing,
        })?;
        Ok(modified.found.is_some())
    }

    /// Writes a batch: all of it or nothing. An empty batch is nothing.
    ///
    /// # Errors
    /// As [`put`](Self::put), and [`WriteError::CrossPartition`] where its keys belong to different partitions.
    pub fn write(&self, batch: &Batch) -> Result<(), WriteError> {
        let writes = batch.last_of_each_key();
        let Some(first) = writes.first() else { return Ok(()) };
        let partition = self.partition_of(&first.key);
        if let Some(other) = writes.iter().find(|write| self.partition_of(&write.key) != partition) {
            return Err(WriteError::CrossPartition { first: first.key.clone(), second: other.key.clone() });
        }
        let changes = writes.iter().map(|write| {
            let change = match &write.change {
                OwnedChange::Put { value, expires_at } => Change::Put { value, expires_at: *expires_at },
                OwnedChange::Delete => Change::Delete,
            };
            (write.key.as_slice(), change)
        });
        self.shard_of(&first.key).write(changes).map(|_| ())
    }

    /// Removes every key: atomically within each partition, one partition after the other.
    ///
    /// # Errors
    /// As [`put`](Self::put); partitions before the failing one are empty then.
    pub fn clear(&self) -> Result<(), WriteError> {
        self.inner.shards.iter().try_for_each(|shard| shard.clear().map(|_| ()))
    }

    /// How many keys there are, those included whose expiry has passed and that have not been
    /// [swept](Self::sweep_expired) yet.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn len(&self) -> Result<u64, ReadError> {
        self.inner.shards.iter().map(|shard| shard.read(|partition| (partition.len(), partition.appended()))).sum()
    }

    /// Whether there are no keys; see [`len`](Self::len).
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn is_empty(&self) -> Result<bool, ReadError> {
        self.len().map(|len| len == 0)
    }

    /// Deletes keys whose expiry has passed, about `budget` of them in each partition. Returns how many.
    ///
    /// An expired key is never shown, swept or not. Sweeping frees its place in the index; call it now and then.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn sweep_expired(&self, budget: usize) -> Result<usize, WriteError> {
        self.inner.shards.iter().map(|shard| shard.sweep(budget)).sum()
    }

    /// Makes everything durable that was written before this call, by any thread.
    ///
    /// # Errors
    /// [`ReadError::Failed`] where a flush failed: what was written since the last success may be lost.
    pub fn sync(&self) -> Result<(), ReadError> {
        self.inner.shards.iter().try_for_each(|shard| shard.sync())
    }

    /// Follows the process that writes, where this store was [opened read-only](Options::read_only): shows what it
    /// has committed by now. Costs next to nothing where nothing is new.
    ///
    /// # Errors
    /// [`RefreshError`].
    pub fn refresh(&self) -> Result<(), RefreshError> {
        self.inner.shards.iter().try_for_each(|shard| shard.refresh().map(|_| ()))
    }

    /// What the store holds and has done.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn stats(&self) -> Result<Stats, ReadError> {
        Stats::gather(&self.inner.shards)
    }

    /// Makes everything durable and ends the store for all its handles: their next calls return
    /// [`ReadError::Closed`] or [`WriteError::Closed`]. Values that were read stay readable.
    ///
    /// The directory is free for another process once every handle is dropped.
    ///
    /// # Errors
    /// [`ReadError::Failed`] where something could not be flushed.
    pub fn close(self) -> Result<(), ReadError> {
        self.inner.shards.iter().try_for_each(|shard| shard.close())
    }
}
