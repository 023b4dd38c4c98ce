//! `windrow log dump`: records as JSON lines.

use std::io::Write;
use std::path::Path;

use clap::ArgMatches;
use windrow_core::codec::RecordKind;
use windrow_core::types::Lsn;

use super::json;
use super::target::find;
use super::verdict::look;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;

/// Which records, and how much of them.
pub(super) struct Range {
    from: Lsn,
    to: Lsn,
    keys_only: bool,
}

impl From<&ArgMatches> for Range {
    fn from(matches: &ArgMatches) -> Self {
        let lsn = |name| matches.get_one::<u64>(name).copied().map(Lsn::new);
        Self {
            from: lsn("from").unwrap_or(Lsn::ZERO),
            to: lsn("to").unwrap_or(Lsn::new(u64::MAX)),
            keys_only: matches.get_flag("keys-only"),
        }
    }
}

/// Writes the whole records that start in the range, one line each, pads left out; also those behind damage.
pub(super) fn run(path: &Path, range: &Range) -> Result<Exit, Failure> {
    let mut out = output::buffered();
    let mut failed = None;
    let mut damaged = false;
    for mut target in find(path)? {
        target
            .segments
            .retain(|segment| segment.base < range.to && segment.base.get() + segment.len > range.from.get());
        let committed = target.committed();
        let found = look(&target, &mut |_| {}, &mut |record| {
            let lsn = record.header.lsn;
            let wanted = lsn >= range.from && lsn < range.to && record.header.kind != RecordKind::Pad;
            if wanted && failed.is_none() {
                failed = writeln!(out, "{}", json::record(record, !range.keys_only, committed)).err();
            }
        })?;
        for segment in &found.segments {
            for problem in &segment.scanned.problems {
                damaged = true;
                eprintln!("windrow: {}/{}: {problem}", target.dir.display(), segment.name);
            }
        }
    }
    match failed.or_else(|| out.flush().err()) {
        Some(error) => output::failed(&error),
        None if damaged => Ok(Exit::Found),
        None => Ok(Exit::Ok),
    }
}
