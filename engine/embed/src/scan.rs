//! Walking over all keys.

use std::collections::VecDeque;
use std::fmt;

use windrow_core::partition::ScanCursor;

use crate::error::ReadError;
use crate::shard::now;
use crate::store::Windrow;
use crate::value::Item;

/// Keys looked at in one step.
const STEP: usize = 128;

/// A walk over all keys, or over those with a prefix. See [`Windrow::scan`].
pub struct Scan {
    store: Windrow,
    prefix: Vec<u8>,
    partition: usize,
    cursor: ScanCursor,
    found: VecDeque<Item>,
    is_over: bool,
}

impl Windrow {
    /// Walks over all keys, partition after partition, each in the order of its keys' **hashes**: not in the order of
    /// the keys, and not in that of their writing.
    ///
    /// A key that is there from the beginning of the walk to its end is visited. One that is written, deleted or
    /// expires meanwhile may be visited or not, and one that is written meanwhile may be visited more than once, each
    /// time as it was then. So this is no snapshot. What it shows is committed, as with every read.
    #[must_use]
    pub fn scan(&self) -> Scan {
        self.scan_prefix([])
    }

    /// Walks over the keys that begin with `prefix`, under the conditions of [`scan`](Self::scan).
    ///
    /// Every key is looked at, because hashes know nothing of prefixes: this takes as long as a scan.
    #[must_use]
    pub fn scan_prefix(&self, prefix: impl Into<Vec<u8>>) -> Scan {
        Scan {
            store: self.clone(),
            prefix: prefix.into(),
            partition: 0,
            cursor: ScanCursor::START,
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
        let (cursor, prefix) = (self.cursor, &self.prefix);
        let (found, next) = shard.read(|partition| {
            let mut found = VecDeque::new();
            let step = partition.scan(cursor, STEP, now(), &mut |entry| {
                if entry.key.starts_with(prefix) {
                    found.push_back(Item::new(partition, &entry));
                }
            });
            ((found, step.next), step.wait)
        })?;
        self.found = found;
        match next {
            Some(next) => self.cursor = next,
            None => {
                self.partition += 1;
                self.cursor = ScanCursor::START;
            }
        }
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<Item, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.found.pop_front() {
                return Some(Ok(item));
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
        f.debug_struct("Scan").field("partition", &self.partition).field("cursor", &self.cursor).finish_non_exhaustive()
    }
}
