//! GET and its relatives.

use crate::data::{
    error::{DataError, Stop},
    expiry::{Form, positive},
    keyspace::Keyspace,
    run::{Flow, Run, read},
};

/// GET: the value goes from the log into the reply, or stays in the log for the caller to send if it is large.
#[inline]
pub(in crate::data) fn get<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    match read(run.keys, &mut run.wait, key) {
        None => run.reply.null(),
        Some(found) if found.value.len() < run.large_len_min => run.reply.bulk(found.value),
        Some(found) => match run.keys.locate(found) {
            Some(range) => {
                run.reply.bulk_header(range.len);
                run.large = Some(range);
            }
            None => run.reply.bulk(found.value),
        },
    }
    Ok(())
}

/// MGET.
pub(in crate::data) fn mget<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    run.reply.array(run.args.len() - 1);
    for bytes in run.args.from(1) {
        let key = run.key_of(bytes)?;
        run.reply_value(key);
        run.check_reply()?;
    }
    Ok(())
}

/// GETSET.
pub(in crate::data) fn get_set<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    run.reply_value(key);
    run.put(key, run.args.at(2), None)
}

/// GETDEL.
pub(in crate::data) fn get_del<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    match run.reply_value(key) {
        Some(_) => run.delete(key),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Change<'a> {
    None,
    Persist,
    Expire(Form, &'a [u8]),
}

fn parse<'a, K>(run: &Run<'a, K>) -> Result<Change<'a>, Stop> {
    let mut change = Change::None;
    let mut words = run.args.from(2);
    while let Some(word) = words.next() {
        // The same once more takes the place of the first, as in Redis.
        change = match change {
            Change::None | Change::Persist if word.eq_ignore_ascii_case(b"persist") => Change::Persist,
            Change::Persist => return Err(DataError::Syntax.into()),
            Change::None | Change::Expire(..) => match (change, Form::of_option(word), words.next()) {
                (Change::Expire(first, _), Some(form), _) if first != form => return Err(DataError::Syntax.into()),
                (_, Some(form), Some(number)) => Change::Expire(form, number),
                _ => return Err(DataError::Syntax.into()),
            },
        };
    }
    Ok(change)
}

/// GETEX.
pub(in crate::data) fn get_ex<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let change = parse(run)?;
    let key = run.key(1)?;
    let Some(old) = run.load(key) else {
        run.reply.null();
        return Ok(());
    };
    run.reply.bulk(run.scratch);
    match change {
        Change::Expire(form, text) => match positive(form, text, run.now, run.command.name)? {
            Some(at) => run.put_scratch(key, Some(at)),
            None => run.delete(key),
        },
        Change::Persist if old.is_some() => run.put_scratch(key, None),
        Change::Persist | Change::None => Ok(()),
    }
}
