//! The EXPIRE and TTL families.
//!
//! Every expiry is written down as a moment, by whoever leads the partition; a replica never computes one.

use crate::data::{
    error::DataError,
    expiry::{ConditionError, Conditions, Form, future},
    keyspace::Keyspace,
    run::{Flow, Run, read},
};

/// EXPIRE.
pub(in crate::data) fn expire<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    change(run, Form { seconds: true, absolute: false })
}

/// PEXPIRE.
pub(in crate::data) fn pexpire<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    change(run, Form { seconds: false, absolute: false })
}

/// EXPIREAT.
pub(in crate::data) fn expire_at<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    change(run, Form { seconds: true, absolute: true })
}

/// PEXPIREAT.
pub(in crate::data) fn pexpire_at<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    change(run, Form { seconds: false, absolute: true })
}

/// A moment that has passed deletes the key.
fn change<K: Keyspace>(run: &mut Run<'_, K>, form: Form) -> Flow {
    let conditions = match Conditions::parse(run.args, 3) {
        Ok(conditions) => conditions,
        Err(ConditionError::Error(error)) => return Err(error.into()),
        Err(ConditionError::Unknown(option)) => {
            run.reply.error_with(|out| {
                out.extend_from_slice(b"ERR Unsupported option ");
                out.extend_from_slice(option);
            });
            return Ok(());
        }
    };
    let number = run.integer(2)?;
    let millis = form.millis(number, run.now).ok_or(DataError::Expiry { command: run.command.name })?;
    let key = run.key(1)?;
    let changed = match run.load(key) {
        Some(current) if conditions.allow(current, millis) => {
            match future(millis, run.now) {
                Some(at) => run.put_scratch(key, Some(at))?,
                None => run.delete(key)?,
            }
            true
        }
        _ => false,
    };
    run.reply.integer(changed.into());
    Ok(())
}

/// PERSIST.
pub(in crate::data) fn persist<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    let volatile = run.load(key).flatten().is_some();
    if volatile {
        run.put_scratch(key, None)?;
    }
    run.reply.integer(volatile.into());
    Ok(())
}

/// TTL, rounded to the nearest second.
pub(in crate::data) fn ttl<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    reply_expiry(run, |at, now| (at.saturating_sub(now) + 500) / 1000)
}

/// PTTL.
pub(in crate::data) fn pttl<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    reply_expiry(run, |at, now| at.saturating_sub(now))
}

/// EXPIRETIME, rounded to the nearest second.
pub(in crate::data) fn expire_time<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    reply_expiry(run, |at, _| (at + 500) / 1000)
}

/// PEXPIRETIME.
pub(in crate::data) fn pexpire_time<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    reply_expiry(run, |at, _| at)
}

fn reply_expiry<K: Keyspace>(run: &mut Run<'_, K>, number: impl Fn(u64, u64) -> u64) -> Flow {
    let key = run.key(1)?;
    let reply = match read(run.keys, &mut run.wait, key) {
        None => -2,
        Some(found) => match found.expires_at {
            None => -1,
            Some(at) => i64::try_from(number(at.get(), run.now.get())).unwrap_or(i64::MAX),
        },
    };
    run.reply.integer(reply);
    Ok(())
}
