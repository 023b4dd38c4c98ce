//! RENAME, RENAMENX and COPY.

use crate::{
    data::{
        error::{DataError, Stop},
        keyspace::{Key, Keyspace, delete, put},
        run::{Flow, Run},
    },
    resp::parse_i64,
};

/// RENAME.
pub(in crate::data) fn rename<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let (from, to) = (run.key(1)?, run.key(2)?);
    let expires_at = run.load(from).ok_or(DataError::NoSuchKey)?;
    if from.bytes != to.bytes {
        move_loaded(run, from, to, expires_at)?;
    }
    run.reply.ok();
    Ok(())
}

/// RENAMENX.
pub(in crate::data) fn rename_nx<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let (from, to) = (run.key(1)?, run.key(2)?);
    let expires_at = run.load(from).ok_or(DataError::NoSuchKey)?;
    let free = !run.exists(to);
    if free {
        move_loaded(run, from, to, expires_at)?;
    }
    run.reply.integer(free.into());
    Ok(())
}

fn move_loaded<K: Keyspace>(
    run: &mut Run<'_, K>,
    from: Key<'_>,
    to: Key<'_>,
    expires_at: Option<windrow_core::types::UnixMillis>,
) -> Flow {
    let end = run.keys.apply(&mut [delete(from), put(to, run.scratch, expires_at)])?;
    run.wait = run.wait.max(end);
    Ok(())
}

/// COPY.
pub(in crate::data) fn copy<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let replace = parse_copy(run)?;
    let (from, to) = (run.key(1)?, run.key(2)?);
    if from.bytes == to.bytes {
        return Err(DataError::SameObject.into());
    }
    let copied = match run.load(from) {
        Some(expires_at) if replace || !run.exists(to) => {
            run.put_scratch(to, expires_at)?;
            true
        }
        _ => false,
    };
    run.reply.integer(copied.into());
    Ok(())
}

/// Reads `[DB n] [REPLACE]`; says whether to replace.
fn parse_copy<K: Keyspace>(run: &Run<'_, K>) -> Result<bool, Stop> {
    let mut replace = false;
    let mut index = 3;
    while index < run.args.len() {
        if run.is(index, "replace") {
            replace = true;
        } else if run.is(index, "db") && index + 1 < run.args.len() {
            index += 1;
            let number = parse_i64(run.args.at(index)).ok_or(DataError::NotInteger)?;
            if number != 0 {
                return Err(DataError::Database.into());
            }
        } else {
            return Err(DataError::Syntax.into());
        }
        index += 1;
    }
    Ok(replace)
}
