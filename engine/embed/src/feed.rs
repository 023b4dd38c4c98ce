//! The change feed: the log itself, record by record.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use windrow_core::codec::{OpKind, OpView, Record as LogRecord, RecordError};
use windrow_core::log::{Damaged as LogDamaged, ReadError as LogReadError};
use windrow_core::partition::Partition;
use windrow_core::types::{Lsn, UnixMillis};
use windrow_store::MappedSegment;

use crate::error::{Damaged, FeedError};
use crate::store::Windrow;
use crate::value::Value;

/// Records taken from the log at a time.
const STEP: usize = 64;

/// One record: changes that happened at once.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// Its position in the log, which is the version of the keys that it set.
    pub lsn: Lsn,
    /// The position to go on from after this record.
    pub next: Lsn,
    /// When it was written, by the clock of the process that wrote it; never decreases along a log.
    pub time: UnixMillis,
    /// What changed, in the order of the keys.
    pub changes: Vec<Change>,
}

/// One change, in the log itself: nothing was copied.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A key was set.
    Put {
        /// The key.
        key: Value,
        /// Its value.
        value: Value,
        /// When it ceases to exist. That it then does is no change of its own until it is swept.
        expires_at: Option<UnixMillis>,
    },
    /// A key was deleted, by a caller or because it had expired.
    Delete {
        /// The key.
        key: Value,
    },
    /// Every key of the partition was removed.
    Clear,
}

/// The committed changes of one partition in the order in which they happened. See [`Windrow::subscribe`].
pub struct Feed {
    store: Windrow,
    partition: usize,
    position: Lsn,
    records: VecDeque<Record>,
    read_to: Lsn,
    /// Nobody but the caller says that a record starts at `read_to`: nothing has been read from there yet.
    is_given: bool,
}

impl Windrow {
    /// The changes of a partition from a position in its log on, then those to come.
    ///
    /// [`Lsn::ZERO`] is the start of the log. Any other position is one that [`Feed::position`] or [`Record::next`]
    /// gave, in this process or an earlier one: a subscriber that keeps it beside what it made of the changes resumes
    /// exactly there. Only what is committed is shown, in every flush mode. A feed does not hold writers up, and is
    /// not held up by them; it may fall behind as far as the log reaches.
    ///
    /// Where the store is [opened read-only](crate::Options::read_only), changes come with
    /// [`refresh`](Windrow::refresh).
    ///
    /// # Errors
    /// [`FeedError::NoSuchPartition`].
    pub fn subscribe(&self, partition: u16, from: Lsn) -> Result<Feed, FeedError> {
        if partition >= self.partitions() {
            return Err(FeedError::NoSuchPartition { partition, count: self.partitions() });
        }
        Ok(Feed {
            store: self.clone(),
            partition: usize::from(partition),
            position: from,
            records: VecDeque::new(),
            read_to: from,
            is_given: from != Lsn::ZERO,
        })
    }
}

impl Feed {
    /// The position behind the last record that was returned: where to resume.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.position
    }

    /// The next record, if one is committed by now. Each is verified as it is read from the log.
    ///
    /// # Errors
    /// [`FeedError::Damaged`] where the next record is damaged; all before it are returned first, and the feed stays
    /// there. [`FeedError::Log`] where the position that the feed began at is no longer in the log, or no record can be told to
    /// start there; [`FeedError::Read`].
    pub fn try_next(&mut self) -> Result<Option<Record>, FeedError> {
        if self.records.is_empty() {
            self.fill()?;
        }
        let record = self.records.pop_front();
        // Once all that was read is returned, records that change nothing lie behind it too.
        self.position = match &record {
            Some(record) if !self.records.is_empty() => record.next,
            _ => self.read_to,
        };
        Ok(record)
    }

    /// The next record; waits for one to be committed, `timeout` at most.
    ///
    /// # Errors
    /// As [`try_next`](Self::try_next).
    pub fn next_within(&mut self, timeout: Duration) -> Result<Option<Record>, FeedError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(record) = self.try_next()? {
                return Ok(Some(record));
            }
            let gate = self.store.shards()[self.partition].gate();
            gate.wait_growth(self.position, deadline)?;
            if Instant::now() >= deadline {
                return self.try_next();
            }
        }
    }

    /// Reads the next records from the log.
    fn fill(&mut self) -> Result<(), FeedError> {
        let (from, is_given) = (self.read_to, self.is_given);
        let shard = &self.store.shards()[self.partition];
        let (found, position) = shard.read(|partition| (read_records(partition, from, is_given), Lsn::ZERO))??;
        self.records = found;
        self.read_to = position;
        self.is_given &= position == from;
        Ok(())
    }
}

/// The next records from `from` on, and where to go on behind them.
fn read_records(
    partition: &Partition<MappedSegment>,
    from: Lsn,
    is_given: bool,
) -> Result<(VecDeque<Record>, Lsn), FeedError> {
    let mut records = partition.records(from).map_err(FeedError::Log)?;
    let mut found = VecDeque::new();
    while found.len() < STEP
        && let Some(record) = records.next()
    {
        let record = match record {
            Ok(record) => record,
            // Said by the next call, once these have been returned.
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(why_not_read(partition, error, is_given && records.position() == from)),
        };
        // A record without a batch, such as the start of an epoch, changes nothing.
        if let Some(batch) = record.batch {
            let changes = batch.iter().map(|op| change(partition, &record, &op)).collect();
            let (lsn, time) = (record.header.lsn, record.header.time);
            found.push_back(Record { lsn, next: record.end(), time, changes });
        }
    }
    Ok((found, records.position().max(from)))
}

/// What it means that no record could be read; `is_given` where nobody but the caller says that one starts there.
fn why_not_read(partition: &Partition<MappedSegment>, error: LogReadError, is_given: bool) -> FeedError {
    let LogReadError::Record { lsn, cause } = error else { return FeedError::Log(error) };
    // The middle of a record looks like a record whose header is damaged, and like nothing else.
    let may_be_none = matches!(cause, RecordError::NoRoom | RecordError::Header(_) | RecordError::Misplaced { .. });
    match partition.segment_holding(lsn) {
        Some((base, _)) if !(is_given && may_be_none) => {
            let damage = LogDamaged { base, offset: lsn.since(base), cause: cause.into() };
            FeedError::Damaged(Damaged::new(partition, &damage))
        }
        _ => FeedError::Log(error),
    }
}

fn change(partition: &Partition<MappedSegment>, record: &LogRecord<'_>, op: &OpView<'_>) -> Change {
    let part = |bytes| Value::new(partition, record.header.lsn, bytes);
    match op.kind {
        OpKind::Put => Change::Put { key: part(op.key), value: part(op.value), expires_at: op.expires_at },
        OpKind::Delete => Change::Delete { key: part(op.key) },
        OpKind::Clear => Change::Clear,
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("partition", &self.partition)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
