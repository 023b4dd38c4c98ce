//! `windrow log verify --against`: whether two copies of a log hold the same bytes.
//!
//! A segment that is sealed on both sides is compared as a whole; otherwise what both hold of it, as far as the
//! unbroken chain of records reaches.

use std::path::Path;

use windrow_core::log::SegmentMemory;
use windrow_core::types::Lsn;

use super::target::{Target, find};
use super::verdict::look;
use super::{read, verdict};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// What comparing two copies of one partition's log has shown.
struct Compared {
    sealed: usize,
    bytes: u64,
    differs: Option<Lsn>,
}

/// Compares the logs that `path` and `other` name.
pub(super) fn run(path: &Path, other: &Path) -> Result<Exit, Failure> {
    let (ours, theirs) = (find(path)?, find(other)?);
    let mut same = true;
    let mut any = false;
    for target in &ours {
        let Some(peer) = theirs.iter().find(|peer| peer.partition == target.partition) else { continue };
        any = true;
        let compared = compare(target, peer)?;
        let Compared { sealed, bytes, differs } = compared;
        let name = format!("{} and {}", target.dir.display(), peer.dir.display());
        let verdict = match differs {
            None => format!("the same: {bytes} bytes compared, {sealed} sealed segments among them"),
            Some(lsn) => format!("DIFFERENT from LSN {lsn} on"),
        };
        same &= differs.is_none();
        output::print(&format!("{name}: {verdict}\n"))?;
    }
    if !any {
        return Err(Failure::new(Exit::NoInput, "there is no partition that both have")
            .remedy("name two data directories of one cluster"));
    }
    Ok(if same { Exit::Ok } else { Exit::Found })
}

fn compare(ours: &Target, theirs: &Target) -> Result<Compared, Failure> {
    let (left, right) = (look(ours, &mut |_| {}, &mut |_| {})?, look(theirs, &mut |_| {}, &mut |_| {})?);
    let end = left.end.min(right.end);
    let mut compared = Compared { sealed: 0, bytes: 0, differs: None };
    for one in &ours.segments {
        let Some(other) = theirs.segments.iter().find(|segment| segment.base == one.base) else { continue };
        let is_sealed = |found: &verdict::Found| {
            found.segments.iter().any(|segment| segment.base == one.base && segment.scanned.is_complete)
        };
        let sealed = is_sealed(&left) && is_sealed(&right);
        let upto = if sealed { one.len.min(other.len) } else { end.get().saturating_sub(one.base.get()).min(one.len) };
        let upto = usize::try_from(upto.min(other.len)).unwrap_or(usize::MAX);
        if sealed && one.len != other.len {
            compared.differs.get_or_insert(one.base);
        }
        let (a, b) =
            (read::segment(&one.path, one.len, &mut |_| {})?, read::segment(&other.path, other.len, &mut |_| {})?);
        let (a, b) = (&a.unverified().0[..upto], &b.unverified().0[..upto]);
        if let Some(at) = a.iter().zip(b).position(|(a, b)| a != b) {
            compared.differs.get_or_insert(one.base.plus(at as u64));
        }
        compared.sealed += usize::from(sealed);
        compared.bytes += upto as u64;
    }
    Ok(compared)
}
