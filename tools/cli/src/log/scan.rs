//! Following the records of one segment, also past damage.
//!
//! Recovery stops at the first bad record, because what follows cannot be believed. A person who looks at a damaged
//! log wants to know what is left behind the damage too: so this goes on at the next whole record, and says so.

use windrow_core::codec::{
    Chain, HeaderError, OpKind, Record, RecordError, RecordHeader, RecordKind, SegmentFooter, SegmentHeader,
    SegmentHeaderError, read_record,
};
use windrow_core::log::Unverified;
use windrow_core::types::limits::{RECORD_ALIGN, RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};
use windrow_core::types::{Epoch, LogKey, Lsn, PartitionId, UnixMillis};

/// Where the log stands: what the next record must continue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Position {
    /// The chain value of the last record; `None` where it is not known, and the next record is taken at its word.
    pub(super) chain: Option<Chain>,
    pub(super) epoch: Epoch,
    pub(super) time: UnixMillis,
}

/// What the log is known to be, for a segment whose header cannot be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub(super) partition: Option<PartitionId>,
    /// Keys the checksums of its records.
    pub(super) key: Option<LogKey>,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where.
    pub(super) lsn: Lsn,
    /// Where in the segment.
    pub(super) offset: u64,
    /// What.
    pub(super) what: String,
    /// Where whole records begin again, if they do.
    pub(super) resumes: Option<Lsn>,
}

/// What one segment holds.
#[derive(Clone, Debug)]
pub(super) struct Scanned {
    pub(super) header: Result<SegmentHeader, SegmentHeaderError>,
    pub(super) footer: Result<SegmentFooter, SegmentHeaderError>,
    pub(super) counts: Counts,
    /// Where the unbroken chain ends, if it reaches into this segment.
    pub(super) end: Lsn,
    /// The position at the end.
    pub(super) position: Position,
    /// The highest durable watermark of this copy that a whole record or the header names.
    pub(super) durable: Lsn,
    pub(super) first_time: Option<UnixMillis>,
    pub(super) last_time: Option<UnixMillis>,
    pub(super) epochs: Option<(Epoch, Epoch)>,
    pub(super) problems: Vec<Problem>,
    /// Bytes behind the end, up to the last that is not zero.
    pub(super) remains: u64,
    /// Whole, sealed and unbroken: the log goes on in the next segment.
    pub(super) is_complete: bool,
}

/// Where the records of a segment stand, and what they must say of themselves.
#[derive(Clone, Copy)]
struct Place {
    base: Lsn,
    partition: PartitionId,
    key: LogKey,
    limit: usize,
}

/// What the records of a segment are, those behind a gap included.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) pads: u64,
    pub(super) epochs: u64,
    pub(super) puts: u64,
    pub(super) deletes: u64,
    pub(super) clears: u64,
    pub(super) key_bytes: u64,
    pub(super) value_bytes: u64,
}

/// Follows the records of the segment at `base`. `visit` sees every whole record, pads included. `is_own` tells of which
/// epochs the watermarks are those of this copy.
pub(super) fn segment(
    bytes: Unverified<'_>,
    base: Lsn,
    known: Known,
    from: Position,
    is_own: &dyn Fn(Epoch) -> bool,
    visit: &mut dyn FnMut(&Record<'_>),
) -> Scanned {
    let limit = bytes.0.len().saturating_sub(SEGMENT_FOOTER_LEN);
    let header = SegmentHeader::decode(bytes.0);
    let footer = SegmentFooter::decode(bytes.0.get(limit..).unwrap_or_default());
    let mut scan = Scanned {
        header,
        footer,
        counts: Counts::default(),
        end: base,
        position: from,
        durable: header.ok().filter(|header| is_own(header.epoch)).map_or(Lsn::ZERO, |header| header.durable),
        first_time: None,
        last_time: None,
        epochs: None,
        problems: Vec::new(),
        remains: 0,
        is_complete: false,
    };
    let key = header.ok().map(|header| header.log_key).or(known.key);
    scan.check_header(base, bytes.0.len() as u64, known.key);
    let key = key.unwrap_or_default();
    let partition = header.ok().map(|header| header.partition).or(known.partition).or_else(|| guess(bytes, base, key));
    if header.is_ok() && scan.problems.is_empty() {
        scan.end = base.plus(SEGMENT_HEADER_LEN as u64);
    }
    let place = Place { base, partition: partition.unwrap_or_default(), key, limit };
    scan.follow(bytes, place, is_own, visit);
    scan.finish(bytes, base, limit);
    scan
}

impl Scanned {
    fn problem(&mut self, base: Lsn, offset: usize, what: impl ToString) {
        let lsn = base.plus(offset as u64);
        self.problems.push(Problem { lsn, offset: offset as u64, what: what.to_string(), resumes: None });
    }

    /// Whether nothing was ever written to this segment.
    pub(super) fn is_blank(&self) -> bool {
        self.header == Err(SegmentHeaderError::Blank) && self.remains == 0 && self.counts == Counts::default()
    }

    fn check_header(&mut self, base: Lsn, len: u64, key: Option<LogKey>) {
        match self.header {
            Ok(header) => {
                if header.base != base {
                    self.problem(
                        base,
                        0,
                        format_args!("the header says that this is the segment at LSN {}", header.base),
                    );
                }
                if header.len != len {
                    self.problem(base, 0, format_args!("the header says {} bytes, the file has {len}", header.len));
                }
                if self.position.chain.is_some_and(|chain| chain != header.chain) {
                    self.problem(base, 0, "the header does not continue the segment before this one");
                }
                if key.is_some_and(|key| key != header.log_key) {
                    self.problem(base, 0, "the header has another key than the log's first segment");
                }
                self.position.chain = Some(header.chain);
            }
            Err(SegmentHeaderError::Blank) => {}
            Err(error) if key.is_none() => {
                self.problem(
                    base,
                    0,
                    format_args!("header: {error}; without the log's key, no record can be verified"),
                );
            }
            Err(error) => self.problem(base, 0, format_args!("header: {error}")),
        }
    }

    fn follow(
        &mut self,
        bytes: Unverified<'_>,
        place: Place,
        is_own: &dyn Fn(Epoch) -> bool,
        visit: &mut dyn FnMut(&Record<'_>),
    ) {
        let Place { base, limit, .. } = place;
        // A header that is not whole ends the chain before its first record.
        let mut unbroken = self.header.is_ok() && self.problems.is_empty();
        let mut offset = SEGMENT_HEADER_LEN;
        while offset < limit {
            let record = match place.record(bytes, offset) {
                Ok(record) => record,
                Err(error) => {
                    let next = place.next_record(bytes, offset);
                    // The end of what was written is no problem; that is for whoever knows the watermarks.
                    if next.is_some() || !matches!(error, RecordError::Header(HeaderError::Blank)) {
                        self.problem(base, offset, error);
                    }
                    let Some(next) = next else { break };
                    if let Some(problem) = self.problems.last_mut() {
                        problem.resumes = Some(base.plus(next as u64));
                    }
                    unbroken = false;
                    self.position.chain = None;
                    offset = next;
                    continue;
                }
            };
            if let Some(what) = breaks(&record, &self.position) {
                self.problem(base, offset, what);
                unbroken = false;
            }
            visit(&record);
            self.count(&record);
            if is_own(record.header.epoch) {
                self.durable = self.durable.max(record.header.durable.min(record.header.lsn));
            }
            offset = usize::try_from(record.end().since(base)).unwrap_or(limit);
            if unbroken {
                self.end = record.end();
            }
        }
        self.is_complete = unbroken && offset >= limit;
    }

    fn count(&mut self, record: &Record<'_>) {
        let header = &record.header;
        self.position = Position { chain: Some(record.chain), epoch: header.epoch, time: header.time };
        self.first_time.get_or_insert(header.time);
        self.last_time = Some(header.time);
        let (first, last) = self.epochs.unwrap_or((header.epoch, header.epoch));
        self.epochs = Some((first.min(header.epoch), last.max(header.epoch)));
        let counts = &mut self.counts;
        counts.records += 1;
        match header.kind {
            RecordKind::Pad => counts.pads += 1,
            RecordKind::Epoch => counts.epochs += 1,
            RecordKind::Batch => {}
        }
        for op in record.batch.iter().flat_map(|batch| batch.iter()) {
            match op.kind {
                OpKind::Put => counts.puts += 1,
                OpKind::Delete => counts.deletes += 1,
                OpKind::Clear => counts.clears += 1,
            }
            counts.key_bytes += op.key.len() as u64;
            counts.value_bytes += op.value.len() as u64;
        }
    }

    /// Looks at the footer and at what lies behind the last record.
    fn finish(&mut self, bytes: Unverified<'_>, base: Lsn, limit: usize) {
        if self.is_complete {
            self.is_complete = self.check_footer(base, limit);
            if self.is_complete {
                self.end = base.plus(bytes.0.len() as u64);
            }
            return;
        }
        let end = usize::try_from(self.end.since(base)).unwrap_or(limit);
        let rest = bytes.0.get(end..).unwrap_or_default();
        self.remains = rest.iter().rposition(|&byte| byte != 0).map_or(0, |last| last as u64 + 1);
    }

    fn check_footer(&mut self, base: Lsn, limit: usize) -> bool {
        let what = match self.footer {
            Ok(footer) => {
                let matches = footer.base == base
                    && self.position.chain == Some(footer.chain)
                    && footer.records_end == limit as u64
                    && footer.record_count == self.counts.records;
                if matches {
                    return true;
                }
                "the footer does not match the records".to_owned()
            }
            // Full, and the next segment was not begun.
            Err(SegmentHeaderError::Blank) => return false,
            Err(error) => format!("footer: {error}"),
        };
        self.problem(base, limit, what);
        false
    }
}

/// In which way `record` does not continue the log, if it does not.
fn breaks(record: &Record<'_>, position: &Position) -> Option<String> {
    let header = &record.header;
    if let Some(chain) = position.chain.filter(|chain| *chain != header.prev) {
        return Some(format!(
            "does not continue the log: names chain {:#010x}, the log has {:#010x}",
            header.prev.get(),
            chain.get()
        ));
    }
    if header.epoch < position.epoch {
        return Some(format!("epoch {} after epoch {}", header.epoch, position.epoch));
    }
    if header.time < position.time {
        return Some(format!("time {} after time {}", header.time.get(), position.time.get()));
    }
    (header.durable > header.lsn).then(|| format!("its durable watermark {} lies behind it", header.durable))
}

impl Place {
    fn record<'a>(&self, bytes: Unverified<'a>, offset: usize) -> Result<Record<'a>, RecordError> {
        read_record(bytes, self.base, self.partition, self.key, offset, self.limit)
    }

    /// The next offset behind `offset` where a whole record starts.
    fn next_record(&self, bytes: Unverified<'_>, offset: usize) -> Option<usize> {
        let mut candidates = (offset..self.limit).step_by(RECORD_ALIGN).skip(1);
        candidates.find(|&at| names_itself(bytes, self.base, at) && self.record(bytes, at).is_ok())
    }
}

/// Whether the position in a header at `offset` would be that of `offset`: cheap, and seldom true by chance.
fn names_itself(bytes: Unverified<'_>, base: Lsn, offset: usize) -> bool {
    let field = bytes.0.get(offset + 16..offset + 24);
    field.is_some_and(|field| field == base.get().wrapping_add(offset as u64).to_le_bytes())
}

/// The partition that the first whole record header names.
fn guess(bytes: Unverified<'_>, base: Lsn, key: LogKey) -> Option<PartitionId> {
    let offsets = (SEGMENT_HEADER_LEN..bytes.0.len()).step_by(RECORD_ALIGN);
    let heads = offsets.filter(|&at| names_itself(bytes, base, at)).filter_map(|at| bytes.0.get(at..));
    let mut heads = heads.filter_map(|rest| rest.first_chunk::<RECORD_HEADER_LEN>());
    heads.find_map(|head| Some(RecordHeader::decode(head, key).ok()?.0.partition))
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "offset {} (LSN {}): {}", self.offset, self.lsn, self.what)?;
        match self.resumes {
            Some(lsn) => write!(f, "; whole records again from LSN {lsn}"),
            None => Ok(()),
        }
    }
}
