//! What the segments of a log say together. The cases are those of recovery (`windrow_core::recovery`).

use std::fmt;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use windrow_core::codec::{Chain, SegmentHeader};
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::SEGMENT_HEADER_LEN;
use windrow_core::types::{Epoch, LogKey, Lsn, UnixMillis};

use super::scan::{Known, Position, Scanned};
use super::target::Target;
use super::{read, scan};
use crate::failure::Failure;

/// One segment, and what was found in it.
pub(super) struct Segment {
    pub(super) base: Lsn,
    pub(super) len: u64,
    pub(super) name: String,
    pub(super) scanned: Scanned,
}

/// Everything that was found in one log.
pub(super) struct Found {
    pub(super) segments: Vec<Segment>,
    /// Where the unbroken chain of records ends.
    pub(super) end: Lsn,
    /// Everything below is known to have been flushed.
    pub(super) durable: Lsn,
    pub(super) verdict: Verdict,
}

/// What is to be thought of a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Whole to its end.
    Clean,
    /// Behind its end lies what was never confirmed: the next start cuts it.
    Torn,
    /// A process is appending to it; what lies behind the end may be a record in the making.
    Growing,
    /// Something that had been flushed is damaged or missing: a node refuses to start.
    Corrupt,
    /// There is no superblock, so no node can open it.
    NoSuperblock,
}

impl Verdict {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Torn => "torn",
            Self::Growing => "growing",
            Self::Corrupt => "corrupt",
            Self::NoSuperblock => "no-superblock",
        }
    }

    /// Whether a node would open the log.
    pub(super) const fn is_good(self) -> bool {
        matches!(self, Self::Clean | Self::Torn | Self::Growing)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clean => "clean: whole to its end",
            Self::Torn => "torn: behind its end lies what was never confirmed; the next start cuts it",
            Self::Growing => "growing: a process is appending to it; what is flushed is whole",
            Self::Corrupt => "CORRUPT: something that had been flushed is damaged or missing; a node refuses to start",
            Self::NoSuperblock => "NO SUPERBLOCK: no node can open it",
        })
    }
}

/// Reads and follows every segment of `target`. `seen` is told of every piece that was read.
pub(super) fn look(
    target: &Target,
    seen: &mut dyn FnMut(usize),
    visit: &mut dyn FnMut(&windrow_core::codec::Record<'_>),
) -> Result<Found, Failure> {
    let mut position = Position { chain: origin(target), epoch: Epoch::ZERO, time: UnixMillis::ZERO };
    let first = target.segments.first().map_or(Lsn::ZERO, |segment| segment.base);
    let mut found = Found { segments: Vec::new(), end: first, durable: durable(target), verdict: Verdict::Clean };
    // Where there is no superblock, nobody says that a leader wrote them.
    let is_own = |epoch| target.superblock.as_ref().map_or(true, |superblock| superblock.is_own(epoch));
    let known = Known { partition: target.partition, key: key(target) };
    let mut unbroken = true;
    for file in &target.segments {
        let memory = read::segment(&file.path, file.len, seen)?;
        let bytes = windrow_core::log::SegmentMemory::unverified(&memory);
        let follows = unbroken && file.base == found.end;
        if !follows {
            position.chain = None;
        }
        let scanned = scan::segment(bytes, file.base, known, position, &is_own, visit);
        position = scanned.position;
        if !target.writer {
            // Records of a log that grows meanwhile know of flushes that came after an earlier segment was read.
            found.durable = found.durable.max(scanned.durable);
        }
        if follows && !scanned.is_blank() {
            found.end = scanned.end.max(found.end);
        }
        unbroken = follows && scanned.is_complete;
        let name = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        found.segments.push(Segment { base: file.base, len: file.len, name, scanned });
    }
    if let Some(cut) = target.superblock.as_ref().ok().and_then(|superblock| superblock.cut) {
        found.durable = found.durable.min(cut);
    }
    found.verdict = verdict(target, &found);
    Ok(found)
}

/// What keys the checksums of the log's records: by the first segment that says so, since a replica that had nothing goes
/// by its leader's segments, or else by the superblock.
pub(super) fn key(target: &Target) -> Option<LogKey> {
    let header = |path: &Path| {
        let mut head = [0; SEGMENT_HEADER_LEN];
        File::open(path).and_then(|file| file.read_exact_at(&mut head, 0)).ok()?;
        SegmentHeader::decode(&head).ok()
    };
    let by_segment = target.segments.iter().find_map(|segment| Some(header(&segment.path)?.log_key));
    by_segment.or_else(|| Some(target.superblock.as_ref().ok()?.log_key))
}

/// The chain value that the log starts from, where that is known.
fn origin(target: &Target) -> Option<Chain> {
    let superblock = target.superblock.as_ref().ok()?;
    let from_start = target.segments.first().is_some_and(|segment| segment.base == superblock.start);
    from_start.then_some(superblock.start_chain)
}

fn durable(target: &Target) -> Lsn {
    let superblock = target.superblock.as_ref().map_or(Lsn::ZERO, |superblock| superblock.durable);
    target.progress.map_or(superblock, |progress| superblock.max(progress.durable))
}

fn verdict(target: &Target, found: &Found) -> Verdict {
    if target.is_part {
        return verdict_on_part(target, found);
    }
    let Ok(superblock) = &target.superblock else { return Verdict::NoSuperblock };
    let foreign = found.segments.iter().any(|segment| is_foreign(target, segment));
    let is_anew = superblock.cut == Some(superblock.start);
    let start_missing = found.segments.first().is_some_and(|first| first.base != superblock.start) && !is_anew;
    if found.durable > found.end || foreign || start_missing {
        return Verdict::Corrupt;
    }
    let behind = found.segments.iter().any(|segment| {
        !segment.scanned.is_blank() && (segment.scanned.remains > 0 || !segment.scanned.problems.is_empty())
    });
    let behind = behind || superblock.cut.is_some_and(|cut| found.end > cut);
    match (behind, target.writer) {
        (false, _) => Verdict::Clean,
        (true, true) => Verdict::Growing,
        (true, false) => Verdict::Torn,
    }
}

/// One segment alone: it is damaged if its own end lies below what was flushed.
fn verdict_on_part(target: &Target, found: &Found) -> Verdict {
    let Some(segment) = found.segments.first() else { return Verdict::Clean };
    let scanned = &segment.scanned;
    let flushed = found.durable.min(segment.base.plus(segment.len));
    let sealed_but_broken = scanned.footer.is_ok() && !scanned.is_complete;
    let unreadable = !scanned.is_blank() && scanned.header.is_err();
    match () {
        () if is_foreign(target, segment) || sealed_but_broken || unreadable => Verdict::Corrupt,
        () if flushed > found.end.max(segment.base) => Verdict::Corrupt,
        () if scanned.remains == 0 || scanned.is_complete => Verdict::Clean,
        () if target.writer => Verdict::Growing,
        () => Verdict::Torn,
    }
}

/// Whether a segment is sealed, whole, and of this log by what its header says.
pub(super) fn is_whole(target: &Target, segment: &Segment) -> bool {
    segment.scanned.is_complete && !is_foreign(target, segment)
}

fn is_foreign(target: &Target, segment: &Segment) -> bool {
    let (Ok(superblock), Ok(header)) = (&target.superblock, &segment.scanned.header) else { return false };
    let is_keyed = header.log_key == superblock.log_key || superblock.own_epoch == Superblock::OTHERS_ONLY;
    !is_keyed
        || header.cluster != superblock.cluster
        || header.partition != superblock.partition
        || header.base != segment.base
}
