//! What a partition's log should be: every byte that the engine published, kept apart from the disk.
//!
//! From this and from the bytes that a restart will read, and from nothing that the engine says, follows what recovery
//! must do: where the log ends, or that it has to be refused.

use std::collections::BTreeMap;

use windrow_core::codec::{OpKind, RecordHeader, RecordKind, SegmentHeader, read_record};
use windrow_core::log::Unverified;
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::{RECORD_HEADER_LEN, SEGMENT_FOOTER_LEN, SEGMENT_HEADER_LEN};
use windrow_core::types::{Epoch, Lsn, PartitionId};

use crate::disk::{PAGE, PartitionDisk, SimMemory};

/// What a record does to one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum RecordOp {
    Put { key: Vec<u8>, value: Vec<u8>, expires_at: Option<u64> },
    Delete { key: Vec<u8> },
    Clear,
}

/// A header, a record or a footer.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) start: Lsn,
    pub(crate) end: Lsn,
    /// The durable watermark that it bears witness to.
    witness: Lsn,
    pub(crate) time: u64,
    /// Zero for headers and footers of segments.
    pub(crate) epoch: Epoch,
    /// The step of the run that wrote it.
    pub(crate) step: u64,
    pub(crate) is_batch: bool,
    pub(crate) is_segment_header: bool,
    pub(crate) ops: Vec<RecordOp>,
}

/// What recovery must do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Open, the log ending here.
    Open { end: Lsn },
    /// Refuse: the log is broken at `end`, below `witness`.
    Refuse { end: Lsn, witness: Lsn },
    /// Refuse: the segment that should follow at `end` belongs elsewhere.
    Foreign { end: Lsn },
}

/// How far a log of one of several replicas was flushed, by what it says itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Witness {
    /// By what this replica has written itself.
    pub(crate) sure: Lsn,
    /// By anything that names a watermark, a leader's too.
    pub(crate) perhaps: Lsn,
}

/// The log as it was written, and how much of it the disk really has.
pub(crate) struct Truth {
    partition: PartitionId,
    segments: BTreeMap<Lsn, Vec<u8>>,
    pub(crate) pieces: Vec<Piece>,
    pub(crate) appended: Lsn,
    /// The furthest that the log ever reached.
    pub(crate) highest: Lsn,
    /// Everything below was on the disk byte by byte at some moment since it was written.
    pub(crate) persisted: Lsn,
    /// Pages that the disk claims to have and has not.
    lies: Vec<(Lsn, usize)>,
    pub(crate) newest_epoch: Epoch,
}

impl Truth {
    pub(crate) const fn new(partition: PartitionId) -> Self {
        Self {
            partition,
            segments: BTreeMap::new(),
            pieces: Vec::new(),
            appended: Lsn::ZERO,
            highest: Lsn::ZERO,
            persisted: Lsn::ZERO,
            lies: Vec::new(),
            newest_epoch: Epoch::ZERO,
        }
    }

    /// Takes in what has been published in the segment at `base`. Returns how many pieces that were.
    pub(crate) fn extend(&mut self, base: Lsn, memory: &SimMemory, published_end: usize, step: u64) -> usize {
        let len = memory.bytes().len();
        let bytes = self.segments.entry(base).or_insert_with(|| vec![0; len]);
        let known = if self.appended > base { offset(self.appended, base) } else { 0 };
        assert!(self.appended >= base, "a segment at {base} begins beyond the log's end {}", self.appended);
        if published_end <= known {
            return 0;
        }
        bytes[known..published_end].copy_from_slice(&memory.bytes()[known..published_end]);
        let mut at = known;
        let before = self.pieces.len();
        while at < published_end {
            let mut piece = piece_at(self.partition, base, bytes, at, &mut self.newest_epoch);
            piece.step = step;
            at = offset(piece.end, base);
            self.pieces.push(piece);
        }
        assert_eq!(at, published_end, "what is published ends with a record");
        self.appended = base.plus(published_end as u64);
        self.highest = self.highest.max(self.appended);
        self.pieces.len() - before
    }

    /// Looks how far the disk has the log, byte by byte. What a flush confirms must lie below.
    pub(crate) fn advance_persisted(&mut self, disk: &PartitionDisk) {
        while self.persisted < self.appended {
            let (&base, bytes) = self.segments.range(..=self.persisted).next_back().expect("the log has segments");
            let from = offset(self.persisted, base);
            let to = offset(self.appended.min(base.plus(bytes.len() as u64)), base);
            let end = ((from / PAGE + 1) * PAGE).min(to);
            if from == end {
                break;
            }
            let matches = disk.file(base).is_some_and(|file| file.durable()[from..end] == bytes[from..end]);
            if !matches && !self.lies.contains(&(base, from / PAGE)) {
                let same = disk.file(base).map_or(0, |file| {
                    let pairs = file.durable()[from..end].iter().zip(&bytes[from..end]);
                    pairs.take_while(|(disk, truth)| disk == truth).count()
                });
                self.persisted = self.persisted.plus(same as u64);
                break;
            }
            self.persisted = base.plus(end as u64);
        }
    }

    /// The disk will claim to have this page.
    pub(crate) fn add_lie(&mut self, base: Lsn, page: usize) {
        self.lies.push((base, page));
    }

    /// The segment that holds a position below the end.
    pub(crate) fn segment_of(&self, lsn: Lsn) -> Option<Lsn> {
        self.segments.range(..=lsn).next_back().map(|(base, _)| *base)
    }

    /// Puts everything back that was once on the disk and has been damaged.
    pub(crate) fn heal(&mut self, disk: &mut PartitionDisk) {
        self.lies.clear();
        let bases: Vec<Lsn> = disk.files().map(|file| file.base).collect();
        for base in bases {
            let file = disk.file_mut(base).expect("listed above");
            match self.segments.get(&base).filter(|_| base < self.persisted) {
                Some(bytes) => {
                    let end = offset(self.persisted.min(base.plus(bytes.len() as u64)), base);
                    file.restore(0, &bytes[..end]);
                }
                // Nothing of it was ever promised to anybody.
                None => file.restore(0, &vec![0; file.cache().len()]),
            }
        }
    }

    /// Where the log ends that a process reads from `disk` now: at the first piece that is not whole there.
    pub(crate) fn whole_end(&self, disk: &PartitionDisk) -> Lsn {
        let broken = self.pieces.iter().find(|piece| !self.is_intact(piece, disk));
        broken.map_or(self.appended, |piece| piece.start)
    }

    fn is_intact(&self, piece: &Piece, disk: &PartitionDisk) -> bool {
        let Some((&base, bytes)) = self.segments.range(..=piece.start).next_back() else { return false };
        let range = offset(piece.start, base)..offset(piece.end, base);
        disk.file(base).is_some_and(|file| file.cache()[range.clone()] == bytes[range])
    }

    /// The bytes of the log from `from` to `upto`, which is not beyond its end.
    pub(crate) fn bytes(&self, from: Lsn, upto: Lsn) -> Vec<u8> {
        let mut found = Vec::new();
        let mut at = from;
        while at < upto {
            let (&base, bytes) = self.segments.range(..=at).next_back().expect("the log has segments");
            let end = upto.min(base.plus(bytes.len() as u64));
            assert!(end > at, "a hole in the log at {at}");
            found.extend_from_slice(&bytes[offset(at, base)..offset(end, base)]);
            at = end;
        }
        found
    }

    /// What recovery must make of what a process reads from `disk` now.
    pub(crate) fn verdict(&self, disk: &PartitionDisk, superblock: &Superblock) -> Verdict {
        let intact = |piece: &Piece| self.is_intact(piece, disk);
        let broken = self.pieces.iter().position(|piece| !intact(piece)).unwrap_or(self.pieces.len());
        let end = self.pieces.get(broken).map_or(self.appended, |piece| piece.start);
        let next = disk.file(end).map(|file| SegmentHeader::decode(file.cache()));
        if let Some(Ok(header)) = next
            && header.base != end
        {
            return Verdict::Foreign { end };
        }
        let behind = self.pieces[broken..].iter().filter(|piece| intact(piece));
        let named = self.pieces[..broken].iter().chain(behind).map(|piece| piece.witness);
        let witness = named.max().unwrap_or(Lsn::ZERO).max(superblock.durable);
        if witness > end { Verdict::Refuse { end, witness } } else { Verdict::Open { end } }
    }

    /// How far the log was flushed, by what can be read of it on `disk`.
    pub(crate) fn witness(&self, disk: &PartitionDisk, superblock: &Superblock) -> Witness {
        let limit = superblock.cut.unwrap_or(Lsn::new(u64::MAX));
        let mut witness = Witness { sure: superblock.durable, perhaps: superblock.durable };
        for piece in self.pieces.iter().filter(|piece| self.is_intact(piece, disk)) {
            witness.perhaps = witness.perhaps.max(piece.witness);
            if piece.epoch > Epoch::ZERO && superblock.is_own(piece.epoch) {
                witness.sure = witness.sure.max(piece.witness);
            }
        }
        Witness { sure: witness.sure.min(limit), perhaps: witness.perhaps.min(limit) }
    }

    /// The newest epoch that a record on the disk names.
    pub(crate) fn persisted_epoch(&self) -> Epoch {
        let persisted = self.pieces.iter().rev().filter(|piece| piece.end <= self.persisted);
        persisted.map(|piece| piece.epoch).find(|epoch| *epoch != Epoch::ZERO).unwrap_or(Epoch::ZERO)
    }

    /// The log ends here now: what was behind has been cut.
    pub(crate) fn cut(&mut self, end: Lsn) {
        self.pieces.retain(|piece| piece.end <= end);
        self.segments.retain(|base, _| *base < end);
        if let Some((&base, bytes)) = self.segments.iter_mut().next_back() {
            let from = offset(end, base).min(bytes.len());
            bytes[from..].fill(0);
        }
        self.appended = end;
        self.persisted = self.persisted.min(end);
        self.newest_epoch = self.pieces.iter().map(|piece| piece.epoch).max().unwrap_or(Epoch::ZERO);
        self.lies.clear();
    }
}

pub(crate) fn offset(lsn: Lsn, base: Lsn) -> usize {
    usize::try_from(lsn.since(base)).expect("a segment fits memory")
}

/// Reads the piece that stands at `at` of a segment, which the engine has just written.
fn piece_at(partition: PartitionId, base: Lsn, bytes: &[u8], at: usize, newest: &mut Epoch) -> Piece {
    let start = base.plus(at as u64);
    let limit = bytes.len() - SEGMENT_FOOTER_LEN;
    let plain = |len: usize, witness| Piece {
        start,
        end: start.plus(len as u64),
        witness,
        time: 0,
        epoch: Epoch::ZERO,
        step: 0,
        is_batch: false,
        is_segment_header: at == 0,
        ops: Vec::new(),
    };
    if at == 0 {
        let header = SegmentHeader::decode(bytes).expect("a segment begins with its header");
        return plain(SEGMENT_HEADER_LEN, header.durable);
    }
    if at == limit {
        return plain(SEGMENT_FOOTER_LEN, Lsn::ZERO);
    }
    let key = SegmentHeader::decode(bytes).expect("a segment begins with its header").log_key;
    let head = bytes[at..].first_chunk::<RECORD_HEADER_LEN>().expect("a record has a header");
    let (header, _) = RecordHeader::decode(head, key).expect("a record begins with its header");
    let record = read_record(Unverified(bytes), base, partition, key, at, limit).expect("what is published is whole");
    assert!(header.epoch >= *newest, "epochs never decrease along a log");
    assert!(header.durable <= start, "no record bears witness to what comes after it");
    *newest = header.epoch;
    let ops = record.batch.into_iter().flat_map(windrow_core::codec::Batch::iter).map(|op| match op.kind {
        OpKind::Put => RecordOp::Put {
            key: op.key.to_vec(),
            value: op.value.to_vec(),
            expires_at: op.expires_at.map(windrow_core::types::UnixMillis::get),
        },
        OpKind::Delete => RecordOp::Delete { key: op.key.to_vec() },
        OpKind::Clear => RecordOp::Clear,
    });
    Piece {
        start,
        end: record.end(),
        witness: header.durable,
        time: header.time.get(),
        epoch: header.epoch,
        step: 0,
        is_batch: header.kind == RecordKind::Batch,
        is_segment_header: false,
        ops: ops.collect(),
    }
}
