//! `windrow log repair`: damaged segments are replaced by another replica's copies of them.
//!
//! Sealed segments hold the same bytes on all replicas. So a copy takes a damaged one's place if it is whole by itself and
//! fits in between: it starts from the chain value that the log has before it, and ends with the one that the log goes on
//! from. A chain value covers everything before it, so what fits is what was there. The segment in use is never replaced:
//! how far it reaches is each replica's own.

use std::fs;
use std::path::{Path, PathBuf};

use windrow_core::codec::{Chain, SegmentHeader};
use windrow_core::log::SegmentMemory;
use windrow_core::superblock::Superblock;
use windrow_core::types::{Epoch, Lsn, PartitionId, UnixMillis};
use windrow_store::{DataDir, PartitionDir};

use super::scan::Position;
use super::target::{SegmentFile, Target, find};
use super::verdict::{Found, Segment, is_whole, key, look};
use super::{read, scan};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::start::of_data_dir;

/// A segment that is damaged or missing, and what is known of its place.
struct Damage {
    base: Lsn,
    /// The chain value before it, where that is known.
    starts_from: Option<Chain>,
    /// The one that it ends with, where that is known.
    ends_with: Option<Chain>,
    /// Only the copy of the next segment says so, which has to fit, too.
    leans_on_next: bool,
}

/// Why a copy cannot take a segment's place.
type Misfit = String;

/// Repairs the logs of a data directory with the copies that `from` holds.
pub(super) fn run(path: &Path, from: &Path) -> Result<Exit, Failure> {
    let same = |one: &Path| fs::canonicalize(one).map_err(|error| Failure::io("look at", one, &error));
    if same(path)? == same(from)? {
        return Err(Failure::new(Exit::Usage, "a log cannot be repaired from itself"));
    }
    // Held until the end, so that no node starts meanwhile. The copies may be those of a node that runs: what is sealed
    // is never written again.
    let data_dir = DataDir::open(path).map_err(|error| Failure::new(of_data_dir(&error), error))?;
    let theirs = find(from)?;
    let mut good = true;
    for target in find(path)? {
        let copy = theirs.iter().find(|copy| copy.partition == target.partition);
        good &= repair(&data_dir, &target, copy)?;
    }
    Ok(if good { Exit::Ok } else { Exit::Found })
}

/// Repairs one partition. Returns whether a node would open it.
fn repair(data_dir: &DataDir, target: &Target, copy: Option<&Target>) -> Result<bool, Failure> {
    let name = target.dir.display();
    let found = look(target, &mut |_| {}, &mut |_| {})?;
    if found.verdict.is_good() {
        output::print(&format!("{name}: nothing to repair: {}\n", found.verdict))?;
        return Ok(true);
    }
    let Ok(superblock) = &target.superblock else {
        output::print(&format!("{name}: {}; it cannot be repaired\n", found.verdict))?;
        return Ok(false);
    };
    let Some(copy) = copy else {
        output::print(&format!("{name}: damaged, and there is no other copy of this partition\n"))?;
        return Ok(false);
    };
    let other = look(copy, &mut |_| {}, &mut |_| {})?;
    // From the last one on, because some can be believed only if what follows them can.
    let mut next_fits = false;
    for damage in damages(superblock, target, &found, &other).iter().rev() {
        let segment = copy.segments.iter().find(|segment| segment.base == damage.base);
        let fits = match damage.leans_on_next && !next_fits {
            true => Err("nothing here says with what it ended".to_owned()),
            false => fitting(superblock, target, damage, segment)?,
        };
        next_fits = fits.is_ok();
        let said = match fits {
            Ok(bytes) => match replace(data_dir, superblock, damage.base, &bytes)? {
                Some(kept) => format!("replaced by the other copy; the damaged one is kept in {}", kept.display()),
                None => "was missing; taken from the other copy".to_owned(),
            },
            Err(why) => format!("not replaced: {why}"),
        };
        output::print(&format!("{name}: segment {:020} {said}\n", damage.base.get()))?;
    }
    conclude(&target.dir)
}

/// Looks at a log once more, and says what has become of it.
fn conclude(dir: &Path) -> Result<bool, Failure> {
    let [target] = &find(dir)?[..] else { return Ok(false) };
    let found = look(target, &mut |_| {}, &mut |_| {})?;
    let good = found.verdict.is_good();
    let mut said = format!("{}: {}\n", dir.display(), found.verdict);
    if !good {
        said.push_str(
            "  what is left cannot be repaired: only sealed segments can. In a set of nodes, make the directory anew with \
             `windrow init --cluster`, and it is given everything; else restore it from a backup\n",
        );
    }
    output::print(&said)?;
    Ok(good)
}

/// The sealed segments that are damaged or missing, in the log's order.
fn damages(superblock: &Superblock, target: &Target, ours: &Found, theirs: &Found) -> Vec<Damage> {
    let mut damages = Vec::new();
    let used: Vec<&Segment> = ours.segments.iter().filter(|segment| !segment.scanned.is_blank()).collect();
    let last = used.last().map_or(Lsn::ZERO, |last| last.base);
    let own_at = |base: Lsn| used.iter().find(|segment| segment.base == base).copied();
    let copy_at = |base: Lsn| theirs.segments.iter().find(|copy| copy.base == base && copy.scanned.is_complete);
    let header_of = |segment: Option<&Segment>| segment.and_then(|segment| segment.scanned.header.ok());
    let footer_of = |segment: Option<&Segment>| segment.and_then(|segment| segment.scanned.footer.ok());
    let mut base = superblock.start;
    let mut chain = Some(superblock.start_chain);
    while base <= last {
        let own = own_at(base);
        // The one in use need not be complete, and what is wrong there is not to be found elsewhere.
        if base == last && footer_of(own).is_none() {
            break;
        }
        let continues = |header: SegmentHeader| chain.is_none_or(|chain| header.chain == chain);
        let good = own.filter(|own| is_whole(target, own) && header_of(Some(own)).is_some_and(continues));
        let Some(len) = good.or_else(|| copy_at(base)).map(|segment| segment.len) else {
            damages.push(Damage { base, starts_from: chain, ends_with: None, leans_on_next: false });
            break;
        };
        let next = base.plus(len);
        if good.is_some() {
            chain = footer_of(good).map(|footer| footer.chain);
        } else {
            let footer = footer_of(own).filter(|footer| footer.base == base).map(|footer| footer.chain);
            let here = header_of(own_at(next)).map(|header| header.chain).or(footer);
            let ends_with = here.or_else(|| header_of(copy_at(next)).map(|header| header.chain));
            damages.push(Damage { base, starts_from: chain, ends_with, leans_on_next: here.is_none() });
            chain = ends_with;
        }
        base = next;
    }
    damages
}

/// The bytes of a copy that fits, read and verified once more.
fn fitting(
    superblock: &Superblock,
    target: &Target,
    damage: &Damage,
    segment: Option<&SegmentFile>,
) -> Result<Result<Vec<u8>, Misfit>, Failure> {
    let Some(SegmentFile { base, path, len }) = segment else {
        return Ok(Err("the other copy does not have it".to_owned()));
    };
    let memory = read::segment(path, *len, &mut |_| {})?;
    let bytes = memory.unverified();
    let from = Position { chain: damage.starts_from, epoch: Epoch::ZERO, time: UnixMillis::ZERO };
    let known = scan::Known { partition: target.partition, key: key(target) };
    let scanned = scan::segment(bytes, *base, known, from, &|_| false, &mut |_| {});
    let problem = scanned.problems.first().map(ToString::to_string);
    let (true, Ok(header), Ok(footer)) = (scanned.is_complete, scanned.header, scanned.footer) else {
        return Ok(Err(format!(
            "the other copy is not whole and sealed, or does not fit{}",
            problem.map_or_else(String::new, |problem| format!(": {problem}"))
        )));
    };
    if !is_of(superblock, &header) {
        return Ok(Err("the other copy is of another cluster or partition".to_owned()));
    }
    match damage.ends_with {
        Some(chain) if chain == footer.chain => Ok(Ok(bytes.0.to_vec())),
        Some(_) => Ok(Err("the other copy does not fit: this log goes on otherwise behind it".to_owned())),
        None => Ok(Err("nothing here says with what it ended".to_owned())),
    }
}

fn is_of(superblock: &Superblock, header: &SegmentHeader) -> bool {
    header.cluster == superblock.cluster && header.partition == superblock.partition
}

/// Puts the copy into the segment's place. Returns where the damaged one is kept, if there was one.
fn replace(data_dir: &DataDir, superblock: &Superblock, base: Lsn, bytes: &[u8]) -> Result<Option<PathBuf>, Failure> {
    let partition: PartitionId = superblock.partition;
    let dir = PartitionDir::open(&data_dir.partition_path(partition), partition, true);
    dir.and_then(|dir| dir.replace_segment(superblock.generation, base, bytes))
        .map_err(|error| Failure::new(Exit::of_io(&error.source), &error))
}
