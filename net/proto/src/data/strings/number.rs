//! Integers: INCR, DECR and what takes a number.

use crate::{
    data::{
        error::DataError,
        keyspace::Keyspace,
        run::{Flow, Run, read},
    },
    resp::parse_i64,
};

/// INCR.
pub(in crate::data) fn incr<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    add(run, 1)
}

/// DECR.
pub(in crate::data) fn decr<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    add(run, -1)
}

/// INCRBY.
pub(in crate::data) fn incr_by<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let number = run.integer(2)?;
    add(run, number)
}

/// DECRBY.
pub(in crate::data) fn decr_by<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let number = run.integer(2)?.checked_neg().ok_or(DataError::DecrementOverflow)?;
    add(run, number)
}

fn add<K: Keyspace>(run: &mut Run<'_, K>, number: i64) -> Flow {
    let key = run.key(1)?;
    let found = read(run.keys, &mut run.wait, key);
    let expires_at = found.and_then(|found| found.expires_at);
    let old = found.map_or(Some(0), |found| parse_i64(found.value)).ok_or(DataError::NotInteger)?;
    let sum = old.checked_add(number).ok_or(DataError::Overflow)?;
    let mut digits = itoa::Buffer::new();
    run.put(key, digits.format(sum).as_bytes(), expires_at)?;
    run.reply.integer(sum);
    Ok(())
}
