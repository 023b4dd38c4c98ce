//! Recovery: from the segments that are there to the log that is believed, or to the reason why none is.
//!
//! Owns the decision where a log ends. Unflushed pages reach the disk in any order and any subset, so above the last
//! flush a log may hold holes with whole records behind them: that is a *torn tail*, and it is cut. Below the highest
//! durable watermark that anything in the log or the superblock bears witness to, everything had been flushed: a bad
//! record there is *corruption*, and the log is refused, never cut. The cases, E being where the unbroken chain of
//! records ends and W the highest watermark found:
//!
//! | case | E and W | what stands at E and behind | outcome |
//! |---|---|---|---|
//! | clean | W <= E | nothing but zeros | [`Recovered`] without a cut |
//! | torn | W <= E | anything else | [`Recovered`] with a [`Cut`] |
//! | corrupt | W > E | a damaged record, header or footer | [`RecoveryError::Corrupt`] |
//! | missing | W > E | no segment file | [`RecoveryError::Missing`] |
//! | foreign | any | a whole header of another cluster, partition or place, or with another key | [`RecoveryError::Foreign`], [`RecoveryError::ForeignKey`] |
//!
//! Fault model: any byte of any segment may be wrong, and segments may be missing at the end. A whole record that
//! follows a hole does not extend the log, but the watermark that it names is evidence. Clients choose the bytes of
//! values, but not so that they are a whole record: its checksums are made under a key that clients never learn.

mod evidence;
mod follow;
mod scan;
mod take_over;

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use thiserror::Error;

use crate::codec::{Chain, Record, RecordError, SegmentHeader, SegmentHeaderError};
use crate::log::{LogSegment, LogStart, SegmentMemory};
use crate::replication::{History, LogState};
use crate::superblock::Superblock;
use crate::types::limits::SEGMENT_HEADER_LEN;
use crate::types::{ClusterId, Epoch, LogKey, Lsn, PartitionId, UnixMillis};

/// The tail that recovery does not believe, and that has to be made unreadable before the log is written again.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Cut {
    /// Where the log ends.
    pub end: Lsn,
    /// Bytes behind the end, up to the last one that is not zero.
    pub len: u64,
    /// Whole records among them that a hole separates from the log. None of them was ever confirmed.
    pub whole_records: u64,
    /// What stands at the end instead of the next record.
    pub cause: RecordError,
    /// The bases of the segments that lie behind the end altogether and hold something.
    pub segments: Vec<Lsn>,
}

/// Why a log is refused. Nothing was changed.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecoveryError {
    /// Something that had been flushed is damaged.
    #[error(
        "segment {base:020} is damaged at offset {offset} (LSN {lsn}): {cause}. Everything below LSN {durable} had \
         been made durable, so LSN {lsn} to {durable} is lost from this copy and the log is not opened"
    )]
    Corrupt {
        /// The segment's base.
        base: Lsn,
        /// Where in the segment.
        offset: u64,
        /// Where in the log.
        lsn: Lsn,
        /// Everything below had been flushed.
        durable: Lsn,
        /// What stands there instead of a record.
        cause: RecordError,
    },
    /// The header or footer of a segment that had been flushed is damaged.
    #[error(
        "the {part} of segment {base:020} is damaged: {cause}. Everything below LSN {durable} had been made durable, \
         so the log is not opened"
    )]
    CorruptSegment {
        /// The segment's base.
        base: Lsn,
        /// `header` or `footer`.
        part: &'static str,
        /// Everything below had been flushed.
        durable: Lsn,
        /// What is wrong with it.
        cause: SegmentHeaderError,
    },
    /// A segment that had been flushed is not there.
    #[error("the segment that holds LSN {lsn} is missing; everything below LSN {durable} had been made durable")]
    Missing {
        /// The first position that is missing.
        lsn: Lsn,
        /// Everything below had been flushed.
        durable: Lsn,
    },
    /// A segment is whole, but belongs elsewhere.
    #[error(
        "segment {base:020} belongs to partition {partition} of cluster {cluster} at LSN {found_base}: it was put \
         into the wrong directory"
    )]
    Foreign {
        /// The base by its name.
        base: Lsn,
        /// The cluster that it names.
        cluster: ClusterId,
        /// The partition that it names.
        partition: PartitionId,
        /// The base that it names.
        found_base: Lsn,
    },
    /// A segment has another key than the log, though it names its place in it.
    #[error(
        "segment {base:020} was written with another key than this log's: it was copied from another data directory of \
         the same cluster"
    )]
    ForeignKey {
        /// The base by its name.
        base: Lsn,
    },
    /// A segment was written by another version of the format.
    #[error("segment {base:020}: {cause}")]
    Version {
        /// The segment's base.
        base: Lsn,
        /// Which version it is.
        cause: SegmentHeaderError,
    },
}

/// A log as recovery found it. It cannot be written until [`Recovered::repair`] has dealt with its tail.
pub struct Recovered<M> {
    pub(crate) segments: VecDeque<LogSegment<M>>,
    behind: Vec<(Lsn, M)>,
    start: Lsn,
    start_chain: Chain,
    end: Lsn,
    /// Where the last record ends: before a footer and a header that may follow it.
    record_end: Lsn,
    history: History,
    /// The log was being cut when the process stopped.
    was_cut: bool,
    key: LogKey,
    chain: Chain,
    epoch: Epoch,
    time: UnixMillis,
    durable: Lsn,
    cut: Option<Cut>,
}

pub(crate) use follow::follow;
pub(crate) use take_over::take_over;

/// A segment given to recovery: the base that its name says, and its memory.
pub type SegmentInput<M> = (Lsn, M);

/// Finds out where the log ends. Calls `visit` with every record that is believed, in order, pads left out.
///
/// Reads only. The superblock says where the log starts, and where it ends at the latest if it was being cut.
///
/// # Errors
/// [`RecoveryError`] where the log cannot be believed; `visit` may have been called by then.
pub fn recover<M: SegmentMemory>(
    superblock: &Superblock,
    segments: Vec<SegmentInput<M>>,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Result<Recovered<M>, RecoveryError> {
    let found = scan::scan(superblock, &segments, visit)?;
    conclude(superblock, VecDeque::new(), segments, &found)
}

/// Decides where the log ends, after its chain has been followed through `segments`. Those before them are `known`.
fn conclude<M: SegmentMemory>(
    superblock: &Superblock,
    known: VecDeque<LogSegment<M>>,
    segments: Vec<SegmentInput<M>>,
    found: &scan::Found,
) -> Result<Recovered<M>, RecoveryError> {
    let durable = found.durable.max(superblock.durable);
    let evidence = evidence::behind(superblock, &segments, found);
    let durable = durable.max(evidence.durable).min(superblock.cut.unwrap_or(Lsn::new(u64::MAX)));
    if durable > found.end {
        let bases = known.iter().map(LogSegment::base).chain(segments.iter().map(|(base, _)| *base));
        return Err(refusal(bases, found, durable));
    }
    let cut = (evidence.len > 0 || !evidence.segments.is_empty()).then(|| Cut {
        end: found.end,
        len: evidence.len,
        whole_records: evidence.whole_records,
        cause: found.stop.record_error(),
        segments: evidence.segments,
    });
    let mut inputs = segments.into_iter();
    let mut used = known;
    for (info, (base, mut memory)) in found.segments.iter().zip(inputs.by_ref()) {
        memory.publish(info.end);
        used.push_back(LogSegment::recovered(base, memory, info.record_count, info.newest_time));
    }
    Ok(Recovered {
        segments: used,
        behind: inputs.collect(),
        start: superblock.start,
        start_chain: superblock.start_chain,
        end: found.end,
        record_end: found.record_end,
        history: found.history.clone(),
        was_cut: superblock.cut.is_some(),
        key: found.key,
        chain: found.chain,
        epoch: found.epoch,
        time: found.time,
        durable,
        cut,
    })
}

fn refusal(mut bases: impl DoubleEndedIterator<Item = Lsn>, found: &scan::Found, durable: Lsn) -> RecoveryError {
    match found.stop {
        scan::Stop::NoSegment | scan::Stop::Cut => RecoveryError::Missing { lsn: found.end, durable },
        scan::Stop::Header { base, cause } => RecoveryError::CorruptSegment { base, part: "header", durable, cause },
        scan::Stop::Footer { base, cause } => RecoveryError::CorruptSegment { base, part: "footer", durable, cause },
        scan::Stop::Record { cause } => {
            let base = bases.rfind(|base| *base <= found.end).unwrap_or(Lsn::ZERO);
            RecoveryError::Corrupt { base, offset: found.end.since(base), lsn: found.end, durable, cause }
        }
    }
}

impl<M: SegmentMemory> Recovered<M> {
    /// Where the log ends.
    #[must_use]
    pub const fn end(&self) -> Lsn {
        self.end
    }

    /// Keys the checksums of the log's records: what its first segment says, or the superblock where there is none.
    #[must_use]
    pub const fn log_key(&self) -> LogKey {
        self.key
    }

    /// The epoch of the newest record.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The clock of the newest record.
    #[must_use]
    pub const fn time(&self) -> UnixMillis {
        self.time
    }

    /// Everything below is known to have been flushed.
    #[must_use]
    pub const fn durable(&self) -> Lsn {
        self.durable
    }

    /// The tail that is not believed, if there is one.
    #[must_use]
    pub const fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// Makes the tail unreadable, in memory. Until the segments have been flushed, the log must not be written.
    ///
    /// Returns what the driver has left to do: flush the segments in `flush`, put those in `aside` aside, remove those
    /// in `remove` (and make that durable).
    pub fn repair(&mut self, segment_len: u64) -> Repair {
        let mut repair = Repair { flush: Vec::new(), aside: Vec::new(), remove: Vec::new() };
        if self.cut.is_some()
            && let Some(last) = self.segments.back_mut()
        {
            last.zero_tail();
            repair.flush.push(last.base());
        }
        let mut next = self.segments.back().map_or(self.start, |last| last.base().plus(last.segment_len()));
        let discarded = self.cut.take().map(|cut| cut.segments).unwrap_or_default();
        let mut kept = Vec::new();
        for (base, memory) in self.behind.drain(..) {
            // A segment that stands prepared is kept where it continues the log in the present size.
            let usable = base == next && memory.segment_len() == segment_len && !discarded.contains(&base);
            if usable {
                next = base.plus(segment_len);
                kept.push((base, memory));
            } else if self.was_cut && discarded.contains(&base) {
                repair.aside.push(base);
            } else {
                repair.remove.push(base);
            }
        }
        self.behind = kept;
        repair
    }

    /// The log, to go on with in `epoch`.
    ///
    /// # Panics
    /// If the tail has not been repaired, or the epoch is not newer than what the log holds: bugs of the driver.
    pub(crate) fn into_start(self, epoch: Epoch) -> (LogStart<M>, UnixMillis) {
        assert!(self.cut.is_none(), "a torn tail is repaired before the log is written");
        assert!(
            epoch > self.epoch || (epoch == self.epoch && self.segments.is_empty()),
            "every opening is a new epoch"
        );
        let start = LogStart {
            start: self.start,
            segments: self.segments,
            prepared: self.behind.into(),
            chain: self.chain,
            epoch,
            end: self.end,
            durable: self.durable.max(self.start).min(self.end),
        };
        (start, self.time)
    }

    /// The log, to be gone on with by whoever leads, and what the protocol has to know of it. Ends with its last record:
    /// the footer and the header behind it come again with the next one, and the next leader's header may be another.
    ///
    /// # Panics
    /// If the tail has not been repaired: that is a bug of the driver.
    pub(crate) fn into_replica(mut self) -> (LogStart<M>, UnixMillis, LogState) {
        assert!(self.cut.is_none(), "a torn tail is repaired before the log is written");
        if self.segments.back().is_some_and(|last| last.record_count() == 0)
            && let Some(last) = self.segments.pop_back()
        {
            let (base, mut memory) = (last.base(), last.into_memory());
            memory.retract(0);
            memory.write(0..SEGMENT_HEADER_LEN).fill(0);
            self.behind.insert(0, (base, memory));
        }
        if let Some(last) = self.segments.back_mut() {
            last.unseal();
        }
        // Nothing of the log lies before its start, so nothing there is left to be flushed.
        let durable = self.durable.max(self.start).min(self.record_end);
        let log = LogState {
            start: self.start,
            start_chain: self.start_chain,
            end: self.record_end,
            chain: self.chain,
            durable,
            committed: self.start,
            history: self.history,
        };
        let start = LogStart {
            start: self.start,
            segments: self.segments,
            prepared: self.behind.into(),
            chain: self.chain,
            epoch: self.epoch,
            end: self.record_end,
            durable,
        };
        (start, self.time, log)
    }

    /// The log, to be read only: segments behind the end are let go, and nothing is prepared.
    pub(crate) fn into_read_only(self) -> (LogStart<M>, UnixMillis) {
        let start = LogStart {
            start: self.start,
            segments: self.segments,
            prepared: VecDeque::new(),
            chain: self.chain,
            epoch: self.epoch,
            end: self.end,
            durable: self.end,
        };
        (start, self.time)
    }
}

/// What is left to do on disk after [`Recovered::repair`], in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Repair {
    /// Flush these segments.
    pub flush: Vec<Lsn>,
    /// Put these segments aside, durably: they were being cut, which keeps what it cuts.
    pub aside: Vec<Lsn>,
    /// Remove these segments, and sync the directory.
    pub remove: Vec<Lsn>,
}

pub(crate) fn header_is_foreign(header: &SegmentHeader, superblock: &Superblock, base: Lsn) -> bool {
    header.cluster != superblock.cluster || header.partition != superblock.partition || header.base != base
}

#[cfg(test)]
mod tests;
