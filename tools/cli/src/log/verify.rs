//! `windrow log verify`: every checksum, and a verdict.

use std::path::Path;

use serde_json::json;

use super::json;
use super::target::find;
use super::verdict::{Found, look};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::progress::Bar;
use crate::text::bytes;

/// Verifies every log that `path` names. Ends with [`Exit::Found`] where a node would refuse one.
pub(super) fn run(path: &Path, as_json: bool) -> Result<Exit, Failure> {
    let targets = find(path)?;
    let total = targets.iter().flat_map(|target| &target.segments).map(|segment| segment.len).sum();
    let mut bar = Bar::new("verifying", total);
    let mut logs = Vec::new();
    let mut good = true;
    for target in &targets {
        let found = look(target, &mut |count| bar.add(count), &mut |_| {})?;
        good &= found.verdict.is_good();
        if as_json {
            logs.push(json::found(target, &found));
        } else {
            bar.clear();
            output::print(&describe(&target.dir.display().to_string(), &found))?;
        }
    }
    bar.clear();
    if as_json {
        output::print(&format!("{:#}\n", json!({ "ok": good, "logs": logs })))?;
    } else if targets.is_empty() {
        output::print("there are no partitions here\n")?;
    }
    Ok(if good { Exit::Ok } else { Exit::Found })
}

fn describe(name: &str, found: &Found) -> String {
    let used: Vec<_> = found.segments.iter().filter(|segment| !segment.scanned.is_blank()).collect();
    let records: u64 = used.iter().map(|segment| segment.scanned.counts.records).sum();
    let len: u64 = used.iter().map(|segment| segment.len).sum();
    let mut text = format!(
        "{name}: {}\n  {records} records in {} segments ({}), end {}, known to be flushed {}\n",
        found.verdict,
        used.len(),
        bytes(len),
        found.end,
        found.durable
    );
    for segment in used {
        for problem in &segment.scanned.problems {
            text.push_str(&format!("  ! {}: {problem}\n", segment.name));
        }
    }
    text
}
