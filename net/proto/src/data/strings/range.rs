//! Parts of values: APPEND, STRLEN, GETRANGE, SETRANGE.

use crate::{
    data::{
        error::{DataError, Stop},
        keyspace::Keyspace,
        run::{Flow, Run, read},
    },
    limits::BULK_LEN_MAX,
};

fn check_length(len: usize) -> Result<usize, Stop> {
    if len > BULK_LEN_MAX { Err(DataError::StringLength.into()) } else { Ok(len) }
}

/// APPEND.
pub(in crate::data) fn append<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    let expires_at = run.load(key).flatten();
    check_length(run.scratch.len() + run.args.at(2).len())?;
    run.scratch.extend_from_slice(run.args.at(2));
    run.put_scratch(key, expires_at)?;
    run.reply.count(run.scratch.len());
    Ok(())
}

/// STRLEN.
pub(in crate::data) fn str_len<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    let found = read(run.keys, &mut run.wait, key);
    run.reply.count(found.map_or(0, |found| found.value.len()));
    Ok(())
}

/// GETRANGE and SUBSTR.
pub(in crate::data) fn get_range<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let (start, end) = (run.integer(2)?, run.integer(3)?);
    let key = run.key(1)?;
    let found = read(run.keys, &mut run.wait, key);
    run.reply.bulk(slice(found.map_or(&[], |found| found.value), start, end));
    Ok(())
}

/// The bytes from `start` to `end`, both included, negative ones counted from the end.
///
/// As Redis does it, an end before the first byte means the first byte, unless both are counted from the end.
fn slice(value: &[u8], start: i64, end: i64) -> &[u8] {
    if start < 0 && end < 0 && start > end {
        return &[];
    }
    let len = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let from_start = |index: i64| if index < 0 { index.saturating_add(len).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end {
        return &[];
    }
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) => value.get(start..=end).unwrap_or_default(),
        _ => &[],
    }
}

/// SETRANGE.
pub(in crate::data) fn set_range<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let offset = run.integer(2)?;
    let offset = usize::try_from(offset).map_err(|_| DataError::Offset)?;
    let part = run.args.at(3);
    let key = run.key(1)?;
    let old = run.load(key);
    if part.is_empty() {
        run.reply.count(run.scratch.len());
        return Ok(());
    }
    let end = check_length(offset.saturating_add(part.len()))?;
    if run.scratch.len() < end {
        run.scratch.resize(end, 0);
    }
    run.scratch[offset..end].copy_from_slice(part);
    run.put_scratch(key, old.flatten())?;
    run.reply.count(run.scratch.len());
    Ok(())
}
