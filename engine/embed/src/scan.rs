//! Walking over all keys.

use std::collections::VecDeque;
use std::fmt;

use windrow_core::partition::{Entry, LogWalk, Partition, ScanCursor, Walked};
use windrow_core::types::Lsn;
use windrow_store::MappedSegment;

use crate::error::{Damaged, ReadError};
use crate::shard::now;
use crate::store::Windrow;
use crate::value::Item;

/// Keys looked at in one step, during which nobody can write to the partition.
const STEP: usize = 128;

/// Where a scan is in a partition.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// Before its beginning.
    Start,
    /// Visiting its keys in the order of the log.
    Log(LogWalk),
    /// Visiting its keys in the order of their hashes.
    Hashes(ScanCursor),
    /// All of its keys have been visited.
    End,
}

impl Place {
    /// Visits the next keys. Returns where to go on, and what has to be committed before they are shown.
    fn step(
        self,
        partition: &Partition<MappedSegment>,
        prefix: &[u8],
        found: &mut VecDeque<Result<Item, ReadError>>,
    ) -> (Self, Lsn) {
        let mut visit = |entry: Entry<'_>| {
            if entry.key.starts_with(prefix) {
                found.push_back(Ok(Item::new(partition, &entry)));
            }
        };
        match self {
            // The log, unless there is little in it that still counts: then it takes longer to read than the index.
            Self::Start if partition.is_mostly_live() => (Self::Log(LogWalk::default()), Lsn::ZERO),
            Self::Start => (Self::Hashes(ScanCursor::START), Lsn::ZERO),
            Self::Log(mut walk) => {
                let step = partition.walk(&mut walk, STEP, now(), &mut visit);
                let next = match step.walked {
                    Walked::More => Self::Log(walk),
                    Walked::All => Self::End,
                    // From the beginning: what was visited by now may be visited again, and nothing is left out but what
                    // is damaged, which this says.
                    Walked::Lost => Self::Hashes(ScanCursor::START),
                };
                (next, step.wait)
            }
            Self::Hashes(cursor) => {
                let step = partition.scan(cursor, STEP, now(), &mut visit);
                let damaged = step.damage.map(|damage| ReadError::Damaged(Damaged::new(partition, &damage)));
                found.extend(damaged.map(Err));
                (step.next.map_or(Self::End, Self::Hashes), step.wait)
            }
            Self::End => (Self::End, Lsn::ZERO),
        }
    }
}

/// A walk over all keys, or over those with a prefix. See [`Windrow::scan`].
pub struct Scan {
    store: Windrow,
    prefix: Vec<u8>,
    partition: usize,
    place: Place,
    found: VecDeque<Result<Item, ReadError>>,
    is_over: bool,
}

impl Windrow {
    /// Walks over all keys, partition after partition, in **no order** that can be relied on: within a partition in that
    /// of the log, or, where most of that has been overwritten, in that of the keys' hashes.
    ///
    /// A key that is there from the beginning of the walk to its end is visited. One that is written, deleted or
    /// expires meanwhile may be visited or not, and one that is written meanwhile may be visited more than once, each
    /// time as it was then. So this is no snapshot. What it shows is committed, as with every read.
    ///
    /// A key whose record is damaged is left out. The walk [says so](ReadError::Damaged), at least once where there are
    /// several, and goes on; then others of the partition may be visited twice. Every other error ends it.
    #[must_use]
    pub fn scan(&self) -> Scan {
        self.scan_prefix([])
    }

    /// Walks over the keys that begin with `prefix`, under the conditions of [`scan`](Self::scan).
    ///
    /// Every key is looked at, because neither the log nor the index is sorted by key: this takes as long as a scan.
    #[must_use]
    pub fn scan_prefix(&self, prefix: impl Into<Vec<u8>>) -> Scan {
        Scan {
            store: self.clone(),
            prefix: prefix.into(),
            partition: 0,
            place: Place::Start,
            found: VecDeque::new(),
            is_over: false,
        }
    }
}

impl Scan {
    /// Looks at the next keys.
    fn step(&mut self) -> Result<(), ReadError> {
        let Some(shard) = self.store.shards().get(self.partition) else {
            self.is_over = true;
            return Ok(());
        };
        let (place, prefix, found) = (self.place, &self.prefix, &mut self.found);
        let stepped = shard.read(|partition| place.step(partition, prefix, found));
        self.place = stepped.inspect_err(|_| self.found.clear())?;
        if matches!(self.place, Place::End) {
            self.partition += 1;
            self.place = Place::Start;
        }
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Some(found);
            }
            if self.is_over {
                return None;
            }
            if let Err(error) = self.step() {
                self.is_over = true;
                return Some(Err(error));
            }
        }
    }
}

impl fmt::Debug for Scan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scan").field("partition", &self.partition).field("place", &self.place).finish_non_exhaustive()
    }
}
