//! Reading a log from a position on: the change feed.

use thiserror::Error;

use super::{Log, LogConfig, SegmentMemory, Unverified};
use crate::codec::{Record, RecordError, RecordKind, read_record};
use crate::types::Lsn;
use crate::types::limits::SEGMENT_HEADER_LEN;

/// Why the log cannot be read from a position.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The position is no longer in the log.
    #[error("LSN {lsn} is gone: the log starts at {start}")]
    Gone {
        /// The position asked for.
        lsn: Lsn,
        /// Where the log starts.
        start: Lsn,
    },
    /// No record starts at the position, or it is damaged.
    #[error("no record at LSN {lsn}: {cause}")]
    Record {
        /// The position.
        lsn: Lsn,
        /// What is wrong.
        cause: RecordError,
    },
}

/// Records of a log in order, each verified as it is read. Ends at the limit given; stops at the first error.
pub struct Records<'a, M> {
    log: &'a Log<M>,
    next: Lsn,
    limit: Lsn,
}

impl<M: SegmentMemory> Log<M> {
    /// The records from `from` to below `limit`, pads left out. [`Lsn::ZERO`] stands for the start of the log.
    ///
    /// # Errors
    /// [`ReadError::Gone`] where `from` lies before the log's first segment.
    pub fn records(&self, from: Lsn, limit: Lsn) -> Result<Records<'_, M>, ReadError> {
        let start = self.start;
        if from < start && from != Lsn::ZERO {
            return Err(ReadError::Gone { lsn: from, start });
        }
        Ok(Records { log: self, next: from.max(start), limit: limit.min(self.appended) })
    }
}

impl<'a, M: SegmentMemory> Records<'a, M> {
    /// Where reading goes on: give this to the next call.
    #[must_use]
    pub const fn position(&self) -> Lsn {
        self.next
    }

    fn read(&mut self) -> Option<Result<Record<'a>, ReadError>> {
        loop {
            let segment = self.log.segment_of(self.next)?;
            let offset = self.next.since(segment.base()).max(SEGMENT_HEADER_LEN as u64);
            self.next = segment.base().plus(offset);
            if self.next >= self.limit {
                return None;
            }
            if offset == segment.records_limit() {
                self.next = segment.base().plus(segment.segment_len());
                continue;
            }
            let end = segment.memory().published_end();
            let published = Unverified(segment.memory().published(0..end));
            let record_at = usize::try_from(offset).expect("a segment fits the address space");
            let limit = usize::try_from(segment.records_limit()).expect("a segment fits the address space").min(end);
            let LogConfig { partition, key, .. } = self.log.config;
            match read_record(published, segment.base(), partition, key, record_at, limit) {
                Ok(record) => {
                    self.next = record.end();
                    if record.header.kind != RecordKind::Pad {
                        return Some(Ok(record));
                    }
                }
                Err(cause) => return Some(Err(ReadError::Record { lsn: self.next, cause })),
            }
        }
    }
}

impl<'a, M: SegmentMemory> Iterator for Records<'a, M> {
    type Item = Result<Record<'a>, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.read();
        if matches!(item, Some(Err(_))) {
            self.limit = Lsn::ZERO;
        }
        item
    }
}
