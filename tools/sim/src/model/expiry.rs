//! When keys expire.

use windrow_core::types::UnixMillis;

use super::View;
use super::reply::{Answer, Reply};

/// A moment given by an option's word: `None` where the word is none of them.
pub(super) fn moment(word: &[u8], number: i64, now: u64) -> Option<Option<i64>> {
    let now = i64::try_from(now).expect("small");
    let seconds = |number: i64| number.checked_mul(1000);
    let millis = match word.to_ascii_lowercase().as_slice() {
        b"ex" => seconds(number).and_then(|millis| now.checked_add(millis)),
        b"px" => now.checked_add(number),
        b"exat" => seconds(number),
        b"pxat" => Some(number),
        _ => return None,
    };
    Some(millis.filter(|&millis| millis <= i64::try_from(UnixMillis::MAX.get()).expect("small")))
}

/// The expiry of SET, SETEX and GETEX: `Ok(None)` has passed already.
pub(super) fn positive(word: &[u8], text: &[u8], now: u64, command: &str) -> Result<Option<u64>, String> {
    let number = integer(text)?;
    let invalid = || format!("ERR invalid expire time in '{command}' command");
    let millis = moment(word, number, now).expect("an option").filter(|_| number > 0).ok_or_else(invalid)?;
    Ok(u64::try_from(millis).ok().filter(|&at| at > now))
}

pub(super) fn integer(text: &[u8]) -> Result<i64, String> {
    let shown = std::str::from_utf8(text).ok();
    let number: Option<i64> = shown.and_then(|text| text.parse().ok());
    // What counts as a number reads back as it was.
    number
        .filter(|number| number.to_string().as_bytes() == text)
        .ok_or_else(|| "ERR value is not an integer or out of range".into())
}

/// EXPIRE, PEXPIRE, EXPIREAT, PEXPIREAT.
pub(super) fn expire(view: &mut View<'_>, word: &[u8], command: &str, args: &[Vec<u8>]) -> Answer {
    let condition = args.get(3).map(|word| word.to_ascii_lowercase());
    let number = integer(&args[2])?;
    let millis = moment(word, number, view.now).expect("an option");
    let millis = millis.ok_or_else(|| format!("ERR invalid expire time in '{command}' command"))?;
    let Some(old) = view.get(&args[1]) else { return Ok(Reply::Integer(0)) };
    let current = old.expires_at.map(|at| i64::try_from(at).expect("small"));
    let allowed = match condition.as_deref() {
        Some(b"nx") => current.is_none(),
        Some(b"xx") => current.is_some(),
        Some(b"gt") => current.is_some_and(|at| millis > at),
        Some(b"lt") => current.is_none_or(|at| millis < at),
        _ => true,
    };
    if !allowed {
        return Ok(Reply::Integer(0));
    }
    match u64::try_from(millis).ok().filter(|&at| at > view.now) {
        Some(at) => view.put(&args[1], old.bytes, Some(at)),
        None => view.delete(&args[1]),
    }
    Ok(Reply::Integer(1))
}

/// TTL, PTTL, EXPIRETIME, PEXPIRETIME.
pub(super) fn remaining(view: &mut View<'_>, args: &[Vec<u8>], seconds: bool, absolute: bool) -> Answer {
    let number = match view.get(&args[1]).map(|value| value.expires_at) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let millis = if absolute { at } else { at.saturating_sub(view.now) };
            i64::try_from(if seconds { (millis + 500) / 1000 } else { millis }).expect("small")
        }
    };
    Ok(Reply::Integer(number))
}
