//! Commands that need no key: each does its part on one partition.

use windrow_core::{
    log::{Damaged, SegmentMemory},
    partition::{Partition, ScanCursor},
    types::{PartitionId, PartitionMap, limits::PARTITIONS_MAX},
};

use super::{
    error::{DataError, Stop},
    keyspace::Direct,
    run::{Flow, Run},
};
use crate::{
    command::Id,
    glob,
    limits::{PATTERN_LEN_MAX, SCAN_COUNT_DEFAULT, SCAN_COUNT_MAX},
    resp::{Args, Encoder, parse_i64},
};

/// Runs a command on a whole partition; `None` where it is none.
pub(super) fn dispatch<M: SegmentMemory>(
    run: &mut Run<'_, Direct<'_, M>>,
    map: PartitionMap,
    draw: u64,
) -> Option<Flow> {
    Some(match run.command.id {
        Id::Dbsize => db_size(run),
        Id::Flushall | Id::Flushdb => flush(run),
        Id::Keys => keys(run),
        Id::Randomkey => random_key(run, draw),
        Id::Scan => scan(run, map),
        _ => return None,
    })
}

/// DBSIZE: shows every write so far, so it waits for them all.
fn db_size<M: SegmentMemory>(run: &mut Run<'_, Direct<'_, M>>) -> Flow {
    let partition = &*run.keys.partition;
    run.wait = partition.appended();
    run.reply.integer(i64::try_from(partition.len()).unwrap_or(i64::MAX));
    Ok(())
}

/// FLUSHALL and FLUSHDB.
fn flush<M: SegmentMemory>(run: &mut Run<'_, Direct<'_, M>>) -> Flow {
    let is_known = run.args.len() == 1 || run.args.len() == 2 && (run.is(1, "async") || run.is(1, "sync"));
    if !is_known {
        return Err(DataError::Syntax.into());
    }
    run.wait = run.keys.partition.clear(run.keys.now)?.end;
    run.reply.ok();
    Ok(())
}

fn random_key<M: SegmentMemory>(run: &mut Run<'_, Direct<'_, M>>, draw: u64) -> Flow {
    let partition = &*run.keys.partition;
    let lookup = partition.random(draw, run.keys.now).map_err(|damage| damaged(partition, damage))?;
    run.wait = lookup.wait;
    match lookup.entry {
        Some(entry) => run.reply.bulk(entry.key),
        None => run.reply.null(),
    }
    Ok(())
}

/// KEYS: every key of this partition that matches, in one go.
fn keys<M: SegmentMemory>(run: &mut Run<'_, Direct<'_, M>>) -> Flow {
    let pattern = pattern(run.args.at(1))?;
    let mut found = Found::new(run.scratch, run.reply.protocol());
    let (partition, now, max) = (&*run.keys.partition, run.keys.now, run.reply_len_max);
    let walked = partition.for_each(now, &mut |entry| {
        if found.bulks.buffer().len() <= max {
            found.add(pattern, entry.key);
        }
    });
    run.wait = walked.map_err(|damage| damaged(partition, damage))?;
    if found.bulks.buffer().len() > max {
        return Err(DataError::ReplyLength { max }.into());
    }
    found.write(&mut run.reply);
    Ok(())
}

/// What a client is told whose command met a damaged record.
fn damaged<M: SegmentMemory>(partition: &Partition<M>, damage: Damaged) -> Stop {
    DataError::Damaged { partition: partition.id(), damage }.into()
}

/// Keys that match, as they will stand in the reply.
struct Found<'a> {
    bulks: Encoder<'a>,
    count: usize,
}

impl<'a> Found<'a> {
    fn new(scratch: &'a mut alloc::vec::Vec<u8>, protocol: crate::resp::Protocol) -> Self {
        scratch.clear();
        Self { bulks: Encoder::new(scratch, protocol), count: 0 }
    }

    fn add(&mut self, pattern: Option<&[u8]>, key: &[u8]) {
        if pattern.is_none_or(|pattern| glob::matches(pattern, key)) {
            self.bulks.bulk(key);
            self.count += 1;
        }
    }

    fn write(mut self, reply: &mut Encoder<'_>) {
        reply.array(self.count);
        reply.buffer().extend_from_slice(self.bulks.buffer());
    }
}

/// A pattern that can be matched in a bounded time; `None` for one that everything matches.
fn pattern(pattern: &[u8]) -> Result<Option<&[u8]>, Stop> {
    if pattern.len() > PATTERN_LEN_MAX {
        return Err(DataError::PatternLength { max: PATTERN_LEN_MAX }.into());
    }
    Ok((pattern != b"*").then_some(pattern))
}

/// Bits of a scan's cursor that say where in a partition it is; the partition stands above them.
const CURSOR_BITS: u32 = 40;
const _: () = assert!(CURSOR_BITS + PARTITIONS_MAX.ilog2() < 63, "a cursor fits a signed number too");

/// The partition that a SCAN goes on in, by its cursor, and where in it.
pub(super) fn scan_position(cursor: &[u8], map: PartitionMap) -> Option<(PartitionId, ScanCursor)> {
    let cursor = u64::try_from(parse_i64(cursor)?).ok()?;
    let partition = u16::try_from(cursor >> CURSOR_BITS).ok().filter(|&number| number < map.count())?;
    Some((PartitionId::new(partition), ScanCursor::new(cursor & ((1 << CURSOR_BITS) - 1))))
}

/// The cursor of a SCAN that starts in `partition`, and goes on from there.
#[must_use]
pub const fn scan_start(partition: PartitionId) -> u64 {
    (partition.get() as u64) << CURSOR_BITS
}

struct ScanOptions<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    is_known_type: bool,
}

fn scan_options(args: Args<'_>) -> Result<ScanOptions<'_>, Stop> {
    let mut options = ScanOptions { pattern: None, count: SCAN_COUNT_DEFAULT, is_known_type: true };
    let mut words = args.from(2);
    while let Some(word) = words.next() {
        let named = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let value = words.next().ok_or(DataError::Syntax)?;
        match () {
            () if named(b"match") => options.pattern = pattern(value)?,
            () if named(b"count") => {
                let count = parse_i64(value).ok_or(DataError::NotInteger)?;
                let count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(DataError::Syntax)?;
                options.count = count.min(SCAN_COUNT_MAX);
            }
            // Every value is a string.
            () if named(b"type") => options.is_known_type = value.eq_ignore_ascii_case(b"string"),
            () => return Err(DataError::Syntax.into()),
        }
    }
    Ok(options)
}

/// SCAN: one step in the partition that the cursor names, which must be this one.
fn scan<M: SegmentMemory>(run: &mut Run<'_, Direct<'_, M>>, map: PartitionMap) -> Flow {
    let (partition, from) = scan_position(run.args.at(1), map).ok_or(DataError::Cursor)?;
    let options = scan_options(run.args)?;
    let mut found = Found::new(run.scratch, run.reply.protocol());
    let step = run.keys.partition.scan(from, options.count, run.keys.now, &mut |entry| {
        if options.is_known_type {
            found.add(options.pattern, entry.key);
        }
    });
    if let Some(damage) = step.damage {
        return Err(damaged(run.keys.partition, damage));
    }
    run.wait = step.wait;
    let number = u64::from(partition.get());
    let next = match step.next {
        Some(next) => number << CURSOR_BITS | next.get(),
        None if partition.get() + 1 < map.count() => (number + 1) << CURSOR_BITS,
        None => 0,
    };
    run.reply.array(2);
    run.reply.bulk_fmt(format_args!("{next}"));
    found.write(&mut run.reply);
    Ok(())
}
