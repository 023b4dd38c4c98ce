//! One partition, shared by many threads.
//!
//! Locks, in the order in which they are taken: the partition, then the helper threads' queue; the gate is taken
//! alone. No lock is held while anything is flushed or prepared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

use windrow_core::log::{Appended, RoomError};
use windrow_core::partition::{Action, AppendError, Change, Entry, Lookup, Op, Partition};
use windrow_core::types::{HashSeed, KeyHash, Lsn, UnixMillis};
use windrow_store::{
    Background, BackgroundClient, ControlWriter, Done, FillMode, FlushFailed, FlushTask, Job, MappedSegment,
    OpenPartition, PartitionDir, Progress, ReadOnlyPartition,
};

use crate::error::{Damaged, Failed, ReadError, RefreshError, WriteError};
use crate::gate::Gate;
use crate::options::FlushMode;

pub(crate) struct Shard {
    store: RwLock<Store>,
    gate: Gate,
    seed: HashSeed,
    mode: FlushMode,
    /// Held from a write's append to its flush where every write has a flush of its own.
    turn: Mutex<()>,
    writes: AtomicU64,
    flushes: AtomicU64,
    writer: Option<Writer>,
}

#[expect(clippy::large_enum_variant, reason = "one for each partition, and the larger one is the usual one")]
enum Store {
    Writable(Partition<MappedSegment>),
    ReadOnly(Box<ReadOnlyPartition>),
}

/// What only a shard that is written has.
struct Writer {
    dir: Arc<PartitionDir>,
    control: ControlWriter,
    fill: FillMode,
    background: Mutex<BackgroundClient>,
}

/// What is to become of a key, decided while nobody else can write.
pub(crate) enum Decision<'a> {
    Nothing,
    Put {
        value: &'a [u8],
        expires_at: Option<UnixMillis>,
    },
    /// The value that is there, with this expiry.
    Keep {
        expires_at: Option<UnixMillis>,
    },
    Delete,
}

/// What became of a key.
pub(crate) struct Modified {
    /// The record, if one was written.
    pub(crate) written: Option<Appended>,
    /// The version that was there before.
    pub(crate) found: Option<Lsn>,
}

/// The machine's clock.
pub(crate) fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).ok().and_then(UnixMillis::new).unwrap_or(UnixMillis::MAX)
}

/// Verifies the records of the keys with these hashes, as far as they are doubted.
fn verify(partition: &Partition<MappedSegment>, hashes: &[KeyHash]) -> Result<(), ReadError> {
    let verified = partition.verify_candidates(hashes);
    verified.map_err(|damage| ReadError::Damaged(Damaged::new(partition, &damage)))
}

impl Store {
    fn partition(&self) -> &Partition<MappedSegment> {
        match self {
            Self::Writable(partition) => partition,
            Self::ReadOnly(read_only) => read_only.partition(),
        }
    }
}

impl Shard {
    pub(crate) fn new_writable(
        opened: OpenPartition,
        fill: FillMode,
        mode: FlushMode,
        background: &Background,
    ) -> Arc<Self> {
        let OpenPartition { partition, dir, control, .. } = opened;
        let shard = Arc::new_cyclic(|this: &Weak<Self>| {
            let this = Weak::clone(this);
            let client = background.client(move || {
                if let Some(shard) = this.upgrade() {
                    shard.take_results();
                }
            });
            Self {
                gate: Gate::new(partition.committed()),
                seed: partition.superblock().hash_seed,
                store: RwLock::new(Store::Writable(partition)),
                mode,
                turn: Mutex::new(()),
                writes: AtomicU64::new(0),
                flushes: AtomicU64::new(0),
                writer: Some(Writer { dir, control, fill, background: Mutex::new(client) }),
            }
        });
        shard.with_partition(|partition, shard| shard.submit_actions(partition));
        shard
    }

    pub(crate) fn new_read_only(partition: ReadOnlyPartition) -> Arc<Self> {
        Arc::new(Self {
            gate: Gate::new(partition.partition().committed()),
            seed: partition.partition().superblock().hash_seed,
            store: RwLock::new(Store::ReadOnly(Box::new(partition))),
            mode: FlushMode::GroupCommit,
            turn: Mutex::new(()),
            writes: AtomicU64::new(0),
            flushes: AtomicU64::new(0),
            writer: None,
        })
    }

    pub(crate) const fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Writes and flushes so far.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.writes.load(Ordering::Relaxed), self.flushes.load(Ordering::Relaxed))
    }

    fn read_lock(&self) -> RwLockReadGuard<'_, Store> {
        // The core checks its arguments before it changes anything, so a caller's panic leaves it whole.
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_lock(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `act` on the partition, if this shard is written.
    fn with_partition<T>(&self, act: impl FnOnce(&mut Partition<MappedSegment>, &Self) -> T) -> Option<T> {
        match &mut *self.write_lock() {
            Store::Writable(partition) => Some(act(partition, self)),
            Store::ReadOnly(_) => None,
        }
    }

    /// Shows the partition to `look`. What is returned beside the result has to be committed before anybody sees it.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&Partition<MappedSegment>) -> (T, Lsn)) -> Result<T, ReadError> {
        self.gate.check()?;
        let (found, wait, end) = {
            let store = self.read_lock();
            let (found, wait) = look(store.partition());
            (found, wait, store.partition().appended())
        };
        if self.mode != FlushMode::Explicit {
            let wait = if wait > end { self.settle(wait)? } else { wait };
            self.wait_committed(wait)?;
        }
        Ok(found)
    }

    /// Has a record written that a reader waits for: it has found a key expired. Returns what to wait for.
    fn settle(&self, wait: Lsn) -> Result<Lsn, ReadError> {
        match self.append(&[], |partition| Ok((partition.settle(now(), wait)?, Lsn::ZERO))) {
            Ok(wait) => Ok(wait),
            Err(WriteError::Closed) => Err(ReadError::Closed),
            Err(WriteError::Failed(failed) | WriteError::Unknown(failed)) => Err(ReadError::Failed(failed)),
            // There is no room: see `Partition::settle`.
            Err(_) => Ok(Lsn::ZERO),
        }
    }

    /// Looks a key up, and shows it to `show`.
    pub(crate) fn lookup<T>(
        &self,
        key: &[u8],
        show: impl FnOnce(&Partition<MappedSegment>, Entry<'_>) -> T,
    ) -> Result<Option<T>, ReadError> {
        let hash = self.seed.hash(key);
        self.read(|partition| {
            if let Err(damaged) = verify(partition, &[hash]) {
                return (Err(damaged), Lsn::ZERO);
            }
            let Lookup { entry, wait } = partition.get(hash, key, now());
            (Ok(entry.map(|entry| show(partition, entry))), wait)
        })?
    }

    /// Appends one record of several changes, sorted by key and each with a key of its own.
    pub(crate) fn write<'a>(
        &self,
        changes: impl Iterator<Item = (&'a [u8], Change<'a>)>,
    ) -> Result<Appended, WriteError> {
        let mut ops: Vec<Op<'a>> = changes.map(|(key, change)| Op { hash: self.seed.hash(key), key, change }).collect();
        let hashes: Vec<KeyHash> = ops.iter().map(|op| op.hash).collect();
        self.append(&hashes, |partition| partition.append(now(), &mut ops).map(|appended| (appended, appended.end)))
    }

    /// Sets one key, whatever it is now.
    pub(crate) fn put(&self, key: &[u8], value: &[u8], expires_at: Option<UnixMillis>) -> Result<Appended, WriteError> {
        let hash = self.seed.hash(key);
        let mut op = [Op { hash, key, change: Change::Put { value, expires_at } }];
        self.append(&[hash], |partition| partition.append(now(), &mut op).map(|appended| (appended, appended.end)))
    }

    /// Removes every key.
    pub(crate) fn clear(&self) -> Result<Appended, WriteError> {
        self.append(&[], |partition| partition.clear(now()).map(|appended| (appended, appended.end)))
    }

    /// Deletes expired keys. Returns how many.
    pub(crate) fn sweep(&self, budget: usize) -> Result<usize, WriteError> {
        self.append(&[], |partition| {
            let swept = partition.sweep_expired(now(), budget)?;
            Ok((swept, if swept == 0 { Lsn::ZERO } else { partition.appended() }))
        })
    }

    /// Changes one key according to what it is.
    pub(crate) fn modify<'v>(
        &self,
        key: &[u8],
        mut decide: impl FnMut(Option<Entry<'_>>) -> Decision<'v>,
    ) -> Result<Modified, WriteError> {
        let hash = self.seed.hash(key);
        self.append(&[hash], |partition| {
            let Lookup { entry, wait } = partition.get(hash, key, now());
            let found = entry.map(|entry| entry.lsn);
            let kept;
            let change = match decide(entry) {
                Decision::Nothing => return Ok((Modified { written: None, found }, partition.settle(now(), wait)?)),
                Decision::Put { value, expires_at } => Change::Put { value, expires_at },
                Decision::Delete => Change::Delete,
                Decision::Keep { expires_at } => {
                    kept = entry.map_or_else(Vec::new, |entry| entry.value.to_vec());
                    Change::Put { value: &kept, expires_at }
                }
            };
            let written = partition.append(now(), &mut [Op { hash, key, change }])?;
            Ok((Modified { written: Some(written), found }, written.end))
        })
    }

    /// Appends as soon as there is room, and waits for what the flush mode says. `attempt` returns what has to be
    /// committed before the write is confirmed; it is called again where nothing was written for want of a segment. The
    /// records of the keys with these `hashes` are verified before: what is written depends on them.
    fn append<T>(
        &self,
        hashes: &[KeyHash],
        mut attempt: impl FnMut(&mut Partition<MappedSegment>) -> Result<(T, Lsn), AppendError>,
    ) -> Result<T, WriteError> {
        let _turn =
            (self.mode == FlushMode::EachWrite).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        let mut retried = false;
        let (result, wait) = loop {
            let seen = self.gate.events();
            let attempted = self.with_partition(|partition, shard| {
                // Under the lock, so that nothing is written once the store is closed.
                shard.gate.check()?;
                verify(partition, hashes)?;
                let attempted = attempt(partition);
                if matches!(attempted, Err(AppendError::Room(RoomError::NoSpace | RoomError::Refused))) && !retried {
                    // Asks for the segment once more: there may be room by now.
                    partition.handle_tick(now());
                }
                shard.submit_actions(partition);
                Ok::<_, ReadError>(attempted)
            });
            match attempted.ok_or(WriteError::ReadOnly)?.map_err(WriteError::before)? {
                Ok(done) => break done,
                Err(error) if error.is_not_ready() => self.gate.wait_event(seen).map_err(WriteError::before)?,
                Err(AppendError::Room(RoomError::NoSpace | RoomError::Refused)) => match self.gate.refusal() {
                    Some(refusal) if retried => return Err(WriteError::no_segment(refusal)),
                    _ => {
                        retried = true;
                        self.gate.wait_event(seen).map_err(WriteError::before)?;
                    }
                },
                Err(error) => return Err(WriteError::Refused(error)),
            }
        };
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.mode != FlushMode::Explicit {
            self.wait_committed(wait).map_err(WriteError::after)?;
        }
        Ok(result)
    }

    /// Waits until the log is committed up to `target`, flushing if nobody else does.
    pub(crate) fn wait_committed(&self, target: Lsn) -> Result<(), ReadError> {
        self.gate.wait_committed(target, || self.flush())
    }

    /// Flushes what has been appended. Returns how far the log is committed then.
    fn flush(&self) -> Result<Lsn, Failed> {
        let task = self.with_partition(|partition, _| {
            let request = partition.poll_flush()?;
            Some(FlushTask::new(partition, &request))
        });
        let ticket = match task.flatten() {
            Some(task) => Some(task.run()?),
            None => None,
        };
        let committed = self.with_partition(|partition, shard| {
            if let (Some(ticket), Some(writer)) = (ticket, &shard.writer) {
                partition.handle_flushed(ticket);
                writer.control.publish(&Progress::of(partition));
                shard.flushes.fetch_add(1, Ordering::Relaxed);
            }
            partition.committed()
        });
        Ok(committed.unwrap_or_else(|| self.gate.committed()))
    }

    /// Gives the helper threads what the partition asks for.
    fn submit_actions(&self, partition: &mut Partition<MappedSegment>) {
        let Some(Writer { dir, fill, background, .. }) = &self.writer else { return };
        while let Some(action) = partition.poll_action() {
            let dir = Arc::clone(dir);
            let job = match action {
                Action::Prepare { base, len } => Job::Prepare { dir, base, len, fill: *fill },
                Action::WriteSuperblock(superblock) => Job::WriteSuperblock { dir, superblock },
            };
            background.lock().unwrap_or_else(PoisonError::into_inner).submit(job);
        }
    }

    /// Takes in what the helper threads have done. Called on those threads.
    fn take_results(&self) {
        let Some(Writer { background, .. }) = &self.writer else { return };
        let next = || background.lock().unwrap_or_else(PoisonError::into_inner).poll();
        while let Some(done) = next() {
            let refusal = self.with_partition(|partition, shard| {
                let refusal = match done {
                    Done::Prepared { base, segment, .. } => {
                        partition.handle_prepared(base, segment);
                        None
                    }
                    Done::PrepareFailed { base, error, .. } => {
                        partition.handle_prepare_failed(base, error.failure());
                        Some(error)
                    }
                    Done::SuperblockWritten { generation, .. } => {
                        partition.handle_superblock_written(generation);
                        None
                    }
                    Done::SuperblockFailed { error, .. } => {
                        shard.gate.finish(ReadError::Failed(FlushFailed::from(error).into()));
                        None
                    }
                    _ => None,
                };
                shard.submit_actions(partition);
                refusal
            });
            self.gate.event(refusal.flatten());
        }
    }

    /// Makes everything durable that was written before.
    pub(crate) fn sync(&self) -> Result<(), ReadError> {
        self.gate.check()?;
        let appended = self.read_lock().partition().appended();
        self.wait_committed(appended)
    }

    /// Makes everything durable and bears witness to it in the superblock; nothing is written afterwards.
    pub(crate) fn close(&self) -> Result<(), ReadError> {
        self.sync()?;
        loop {
            let seen = self.gate.events();
            let pending = self.with_partition(|partition, shard| {
                partition.want_superblock();
                shard.submit_actions(partition);
                // The last moment at which anything can have been written.
                let all_durable = partition.committed() == partition.appended();
                if all_durable && !partition.superblock_pending() {
                    shard.gate.finish(ReadError::Closed);
                    return None;
                }
                Some((partition.appended(), partition.superblock_pending()))
            });
            match pending.flatten() {
                None => break,
                Some((appended, superblock)) => {
                    self.wait_committed(appended)?;
                    if superblock {
                        self.gate.wait_event(seen)?;
                    }
                }
            }
        }
        self.gate.finish(ReadError::Closed);
        Ok(())
    }

    /// Follows the process that writes.
    pub(crate) fn refresh(&self) -> Result<Lsn, RefreshError> {
        self.gate.check()?;
        let end = match &mut *self.write_lock() {
            Store::Writable(_) => return Err(RefreshError::Writable),
            Store::ReadOnly(read_only) => read_only.refresh()?,
        };
        self.gate.advance(end);
        Ok(end)
    }
}
