//! SET and its relatives.

use alloc::vec::Vec;

use windrow_core::types::UnixMillis;

use crate::data::{
    error::{DataError, Stop},
    expiry::{Form, positive},
    keyspace::{Key, Keyspace, put},
    run::{Flow, Run, read},
};

/// SET with no options, which is most of them, reads nothing.
#[inline]
pub(in crate::data) fn set<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    if run.args.len() > 3 {
        return set_with_options(run);
    }
    let key = run.key(1)?;
    run.put(key, run.args.at(2), None)?;
    run.reply.ok();
    Ok(())
}

#[derive(Clone, Copy, Default)]
struct Options<'a> {
    if_absent: bool,
    if_present: bool,
    get: bool,
    keep_ttl: bool,
    expiry: Option<(Form, &'a [u8])>,
}

fn parse<'a, K>(run: &Run<'a, K>) -> Result<Options<'a>, Stop> {
    let mut options = Options::default();
    let mut words = run.args.from(3);
    while let Some(word) = words.next() {
        let named = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match () {
            () if named(b"nx") && !options.if_present => options.if_absent = true,
            () if named(b"xx") && !options.if_absent => options.if_present = true,
            () if named(b"get") => options.get = true,
            () if named(b"keepttl") && options.expiry.is_none() => options.keep_ttl = true,
            () => match (Form::of_option(word), words.next()) {
                // The same once more takes the place of the first, as in Redis.
                (Some(form), Some(number))
                    if !options.keep_ttl && options.expiry.is_none_or(|(first, _)| first == form) =>
                {
                    options.expiry = Some((form, number));
                }
                _ => return Err(DataError::Syntax.into()),
            },
        }
    }
    Ok(options)
}

fn set_with_options<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let options = parse(run)?;
    let expiry = match options.expiry {
        Some((form, text)) => Some(positive(form, text, run.now, run.command.name)?),
        None => None,
    };
    let key = run.key(1)?;
    let old = if options.get {
        run.reply_value(key)
    } else if options.if_absent || options.if_present || options.keep_ttl || expiry == Some(None) {
        read(run.keys, &mut run.wait, key).map(|found| found.expires_at)
    } else {
        None
    };
    if options.if_absent && old.is_some() || options.if_present && old.is_none() {
        if !options.get {
            run.reply.null();
        }
        return Ok(());
    }
    match expiry {
        // It has expired before it is there.
        Some(None) => old.map_or(Ok(()), |_| run.delete(key))?,
        Some(at) => run.put(key, run.args.at(2), at)?,
        None => run.put(key, run.args.at(2), if options.keep_ttl { old.flatten() } else { None })?,
    }
    if !options.get {
        run.reply.ok();
    }
    Ok(())
}

/// SETNX.
pub(in crate::data) fn set_nx<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    let absent = !run.exists(key);
    if absent {
        run.put(key, run.args.at(2), None)?;
    }
    run.reply.integer(absent.into());
    Ok(())
}

/// SETEX.
pub(in crate::data) fn set_ex<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    set_with_expiry(run, Form { seconds: true, absolute: false })
}

/// PSETEX.
pub(in crate::data) fn pset_ex<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    set_with_expiry(run, Form { seconds: false, absolute: false })
}

fn set_with_expiry<K: Keyspace>(run: &mut Run<'_, K>, form: Form) -> Flow {
    let at: Option<UnixMillis> = positive(form, run.args.at(2), run.now, run.command.name)?;
    let key = run.key(1)?;
    // A positive number from now on is always in the future.
    run.put(key, run.args.at(3), at)?;
    run.reply.ok();
    Ok(())
}

/// MSET: one record, so all or nothing.
pub(in crate::data) fn mset<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let pairs = pairs(run)?;
    put_all(run, pairs)?;
    run.reply.ok();
    Ok(())
}

/// MSETNX.
pub(in crate::data) fn mset_nx<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let pairs = pairs(run)?;
    // Every key is looked at, so that how long the reply waits does not depend on their order.
    let present = pairs.iter().filter(|(key, _)| run.exists(*key)).count();
    if present == 0 {
        put_all(run, pairs)?;
    }
    run.reply.integer((present == 0).into());
    Ok(())
}

fn pairs<'a, K: Keyspace>(run: &Run<'a, K>) -> Result<Vec<(Key<'a>, &'a [u8])>, Stop> {
    if run.args.len().is_multiple_of(2) {
        return Err(DataError::Arity { command: run.command.name }.into());
    }
    let values = run.args.from(2).step_by(2);
    Ok(run.keys_from(1, 2)?.into_iter().zip(values).collect())
}

fn put_all<K: Keyspace>(run: &mut Run<'_, K>, mut pairs: Vec<(Key<'_>, &[u8])>) -> Flow {
    // Of a key that comes twice the last value stays: the sort is stable, and later ones are met first from the back.
    pairs.reverse();
    pairs.sort_by_key(|(key, _)| key.bytes);
    pairs.dedup_by_key(|(key, _)| key.bytes);
    let mut ops: Vec<_> = pairs.into_iter().map(|(key, value)| put(key, value, None)).collect();
    run.apply(&mut ops)
}
