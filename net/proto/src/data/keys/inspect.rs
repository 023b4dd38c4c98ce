//! TYPE, OBJECT and MEMORY USAGE.

use windrow_core::types::limits::{RECORD_ALIGN, RECORD_HEADER_LEN};

use crate::{
    data::{
        error::DataError,
        keyspace::Keyspace,
        run::{Flow, Run, read},
    },
    resp::parse_i64,
};

/// The longest string that Redis keeps in one piece with its header; only OBJECT ENCODING tells it.
const EMBEDDED_LEN_MAX: usize = 44;
/// What a key costs in the index, in bytes, with its share of free places.
const INDEX_ENTRY_LEN: usize = 16;

/// TYPE.
pub(in crate::data) fn type_of<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    let name = if run.exists(key) { "string" } else { "none" };
    run.reply.simple(name);
    Ok(())
}

/// OBJECT ENCODING: every value is kept as its bytes; the answer is what Redis would call them.
pub(in crate::data) fn object_encoding<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(2)?;
    match read(run.keys, &mut run.wait, key).map(|found| found.value) {
        None => run.reply.null(),
        Some(value) if parse_i64(value).is_some() => run.reply.bulk(b"int"),
        Some(value) if value.len() <= EMBEDDED_LEN_MAX => run.reply.bulk(b"embstr"),
        Some(_) => run.reply.bulk(b"raw"),
    }
    Ok(())
}

/// OBJECT FREQ: refused, as in Redis unless it counts uses.
pub(in crate::data) fn object_freq<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(2)?;
    if run.exists(key) {
        return Err(DataError::NoFrequency.into());
    }
    run.reply.null();
    Ok(())
}

/// OBJECT IDLETIME: always 0, because no key is ever evicted for having been idle and so nobody keeps the time.
pub(in crate::data) fn object_idle_time<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    reply_if_present(run, 0)
}

/// OBJECT REFCOUNT: always 1.
pub(in crate::data) fn object_ref_count<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    reply_if_present(run, 1)
}

fn reply_if_present<K: Keyspace>(run: &mut Run<'_, K>, number: i64) -> Flow {
    let key = run.key(2)?;
    if run.exists(key) {
        run.reply.integer(number);
    } else {
        run.reply.null();
    }
    Ok(())
}

/// MEMORY USAGE: the bytes of a record with this key and value alone, and of its place in the index.
pub(in crate::data) fn memory_usage<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    match run.args.len() {
        3 => {}
        5 if run.is(3, "samples") => {
            if run.integer(4)? < 0 {
                return Err(DataError::Syntax.into());
            }
        }
        _ => return Err(DataError::Syntax.into()),
    }
    let key = run.key(2)?;
    match read(run.keys, &mut run.wait, key) {
        None => run.reply.null(),
        Some(found) => {
            let body = (key.bytes.len() + found.value.len()).next_multiple_of(RECORD_ALIGN);
            run.reply.count(RECORD_HEADER_LEN + body + INDEX_ENTRY_LEN);
        }
    }
    Ok(())
}
