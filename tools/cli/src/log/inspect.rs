//! `windrow log inspect`: what is there.

use std::fmt::Write;
use std::path::Path;

use serde_json::json;
use windrow_core::superblock::Superblock;
use windrow_core::types::UnixMillis;

use super::json;
use super::target::{Target, find};
use super::verdict::{Found, Segment, look};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::text::{bytes, timestamp};

/// Shows every log that `path` names. Damage is shown, and is no failure of this command.
pub(super) fn run(path: &Path, as_json: bool) -> Result<Exit, Failure> {
    let mut logs = Vec::new();
    for target in find(path)? {
        let found = look(&target, &mut |_| {}, &mut |_| {})?;
        if as_json {
            logs.push(json::found(&target, &found));
        } else {
            output::print(&describe(&target, &found))?;
        }
    }
    if as_json {
        output::print(&format!("{:#}\n", json!({ "logs": logs })))?;
    }
    Ok(Exit::Ok)
}

fn describe(target: &Target, found: &Found) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _infallible = write_log(&mut text, target, found);
    text
}

fn write_log(out: &mut String, target: &Target, found: &Found) -> std::fmt::Result {
    writeln!(out, "{}", target.dir.display())?;
    match &target.superblock {
        Ok(superblock) => write_superblock(out, superblock)?,
        Err(error) => writeln!(out, "  superblock  {error}")?,
    }
    if let Some(progress) = &target.progress {
        writeln!(
            out,
            "  watermarks  appended {}, durable {}, committed {}, epoch {} ({})",
            progress.appended,
            progress.durable,
            progress.committed,
            progress.epoch,
            if target.writer { "a process is writing" } else { "as its last writer left them" }
        )?;
    }
    writeln!(out, "  end         {} (known to be flushed: {})", found.end, found.durable)?;
    writeln!(out, "  verdict     {}", found.verdict)?;
    for name in &target.unknown {
        writeln!(out, "  not ours    {name}")?;
    }
    for segment in &found.segments {
        write_segment(out, segment)?;
    }
    Ok(())
}

fn write_superblock(out: &mut String, superblock: &Superblock) -> std::fmt::Result {
    let Superblock { generation, cluster, partition, partition_count, epoch, promised, durable, .. } = superblock;
    writeln!(out, "  partition   {partition} of {partition_count} in cluster {cluster}")?;
    writeln!(out, "  superblock  generation {generation}, epoch {epoch}, promised {promised}, durable {durable}")?;
    writeln!(out, "  replica     {}, log from {}", superblock.replica, superblock.start)?;
    if superblock.is_in_set() {
        writeln!(out, "  in a set    committed at least up to {}", superblock.committed)?;
    }
    if let Some(floor) = superblock.floor {
        writeln!(out, "  floor       {floor}: vouched for once and no longer held")?;
    }
    if let Some(cut) = superblock.cut {
        writeln!(out, "  cut         at {cut}: what stands behind is no part of the log")?;
    }
    Ok(())
}

fn write_segment(out: &mut String, segment: &Segment) -> std::fmt::Result {
    let scanned = &segment.scanned;
    let counts = &scanned.counts;
    write!(out, "  {}  {}", segment.name, bytes(segment.len))?;
    if scanned.is_blank() {
        return writeln!(out, ", prepared, not in use yet");
    }
    writeln!(
        out,
        ", {}, {} records ({} puts, {} deletes, {} clears, {} epochs, {} pads)",
        if scanned.footer.is_ok() { "sealed" } else { "open" },
        counts.records,
        counts.puts,
        counts.deletes,
        counts.clears,
        counts.epochs,
        counts.pads
    )?;
    let chain = scanned.position.chain.map_or_else(|| "unknown".to_owned(), |chain| format!("{:08x}", chain.get()));
    write!(out, "      end {}, chain {chain}, keys {}", scanned.end, bytes(counts.key_bytes))?;
    writeln!(out, ", values {}", bytes(counts.value_bytes))?;
    if let (Some((first, last)), Some(from), Some(to)) = (scanned.epochs, scanned.first_time, scanned.last_time) {
        let shown = |time: UnixMillis| timestamp(time.get());
        writeln!(out, "      epochs {first} to {last}, written {} to {}", shown(from), shown(to))?;
    }
    if scanned.remains > 0 {
        writeln!(out, "      {} behind the end that are not zero", bytes(scanned.remains))?;
    }
    for problem in &scanned.problems {
        writeln!(out, "      ! {}", problem)?;
    }
    Ok(())
}
