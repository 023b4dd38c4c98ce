//! Commands on strings.

use windrow_proto::limits::LCS_CELLS_MAX;

use super::View;
use super::expiry::{integer, moment, positive};
use super::reply::{Answer, Expected, Reply};

pub(super) fn run(view: &mut View<'_>, name: &[u8], args: &[Vec<u8>]) -> Option<Answer> {
    Some(match name {
        b"get" => Ok(Reply::value(view.get(&args[1]))),
        b"set" => set(view, args),
        b"setex" => set_expiring(view, b"ex", "setex", args),
        b"psetex" => set_expiring(view, b"px", "psetex", args),
        b"setnx" => Ok(Reply::Integer(set_if_absent(view, args))),
        b"mset" => {
            args[1..].chunks(2).for_each(|pair| view.put(&pair[0], pair[1].clone(), None));
            Ok(Reply::Ok)
        }
        b"msetnx" => Ok(Reply::Integer(set_if_absent(view, args))),
        b"mget" => Ok(Reply::Array(args[1..].iter().map(|key| Reply::value(view.get(key))).collect())),
        b"getset" => {
            let old = view.get(&args[1]);
            view.put(&args[1], args[2].clone(), None);
            Ok(Reply::value(old))
        }
        b"getdel" => {
            let old = view.get(&args[1]);
            if old.is_some() {
                view.delete(&args[1]);
            }
            Ok(Reply::value(old))
        }
        b"getex" => get_and_expire(view, args),
        b"append" => {
            let mut value = view.get(&args[1]).unwrap_or(super::Value { bytes: Vec::new(), expires_at: None });
            value.bytes.extend_from_slice(&args[2]);
            let len = value.bytes.len();
            view.put(&args[1], value.bytes, value.expires_at);
            Ok(Reply::count(len))
        }
        b"strlen" => Ok(Reply::count(view.get(&args[1]).map_or(0, |value| value.bytes.len()))),
        b"getrange" | b"substr" => get_range(view, args),
        b"setrange" => set_range(view, args),
        b"incr" => add(view, args, Ok(1)),
        b"decr" => add(view, args, Ok(-1)),
        b"incrby" => add(view, args, integer(&args[2])),
        b"decrby" => add(view, args, integer(&args[2]).map(|number| -number)),
        b"incrbyfloat" => add_float(view, args),
        b"lcs" => lcs(view, args),
        _ => return None,
    })
}

fn set(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let (mut only_absent, mut only_present, mut get, mut keep) = (false, false, false, false);
    let mut expiry = None;
    let mut words = args[3..].iter();
    while let Some(word) = words.next() {
        match word.to_ascii_lowercase().as_slice() {
            b"nx" => only_absent = true,
            b"xx" => only_present = true,
            b"get" => get = true,
            b"keepttl" => keep = true,
            _ => expiry = Some(positive(word, words.next().expect("generated with a number"), view.now, "set")?),
        }
    }
    // A plain SET reads nothing.
    let reads = get || only_absent || only_present || keep || expiry == Some(None);
    let old = if reads { view.get(&args[1]) } else { None };
    let done = !(only_absent && old.is_some() || only_present && old.is_none());
    if done {
        match expiry {
            Some(None) if old.is_some() => view.delete(&args[1]),
            Some(None) => {}
            Some(at) => view.put(&args[1], args[2].clone(), at),
            None => {
                let kept = old.as_ref().filter(|_| keep).and_then(|old| old.expires_at);
                view.put(&args[1], args[2].clone(), kept);
            }
        }
    }
    Ok(match (get, done) {
        (true, _) => Reply::value(old),
        (false, true) => Reply::Ok,
        (false, false) => Reply::Null,
    })
}

fn set_expiring(view: &mut View<'_>, word: &[u8], command: &str, args: &[Vec<u8>]) -> Answer {
    let at = positive(word, &args[2], view.now, command)?;
    view.put(&args[1], args[3].clone(), at);
    Ok(Reply::Ok)
}

fn set_if_absent(view: &mut View<'_>, args: &[Vec<u8>]) -> i64 {
    let pairs: Vec<&[Vec<u8>]> = args[1..].chunks(2).collect();
    let present = pairs.iter().filter(|pair| view.has(&pair[0])).count();
    if present == 0 {
        pairs.iter().for_each(|pair| view.put(&pair[0], pair[1].clone(), None));
    }
    i64::from(present == 0)
}

fn get_and_expire(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let Some(old) = view.get(&args[1]) else { return Ok(Reply::Null) };
    match args.get(2).map(|word| word.to_ascii_lowercase()).as_deref() {
        None => {}
        Some(b"persist") if old.expires_at.is_none() => {}
        Some(b"persist") => view.put(&args[1], old.bytes.clone(), None),
        Some(word) => {
            debug_assert!(moment(word, 1, 0).is_some(), "generated with an option");
            match positive(word, &args[3], view.now, "getex")? {
                Some(at) => view.put(&args[1], old.bytes.clone(), Some(at)),
                None => view.delete(&args[1]),
            }
        }
    }
    Ok(Reply::Bulk(old.bytes))
}

fn get_range(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let (start, end) = (integer(&args[2])?, integer(&args[3])?);
    let value = view.get(&args[1]).map_or(Vec::new(), |value| value.bytes);
    let len = i64::try_from(value.len()).expect("small");
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Bulk(Vec::new()));
    }
    let from_start = |index: i64| if index < 0 { (index + len).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    let part = if start > end { Vec::new() } else { value[to_index(start)..=to_index(end)].to_vec() };
    Ok(Reply::Bulk(part))
}

fn to_index(number: i64) -> usize {
    usize::try_from(number).expect("not negative")
}

fn set_range(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let offset = integer(&args[2])?;
    let offset = usize::try_from(offset).map_err(|_| "ERR offset is out of range".to_string())?;
    let old = view.get(&args[1]);
    let (mut bytes, expires_at) = old.map_or((Vec::new(), None), |old| (old.bytes, old.expires_at));
    if !args[3].is_empty() {
        let end = offset + args[3].len();
        bytes.resize(bytes.len().max(end), 0);
        bytes[offset..end].copy_from_slice(&args[3]);
        view.put(&args[1], bytes.clone(), expires_at);
    }
    Ok(Reply::count(bytes.len()))
}

fn add(view: &mut View<'_>, args: &[Vec<u8>], number: Result<i64, String>) -> Answer {
    let number = number?;
    let old = view.get(&args[1]);
    let value = old.as_ref().map_or(Ok(0), |old| integer(&old.bytes))?;
    let sum = value.checked_add(number).ok_or("ERR increment or decrement would overflow")?;
    view.put(&args[1], sum.to_string().into_bytes(), old.and_then(|old| old.expires_at));
    Ok(Reply::Integer(sum))
}

/// INCRBYFLOAT: exact where both numbers have few enough digits, else as doubles.
fn add_float(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let old = view.get(&args[1]);
    let left = old.as_ref().map_or(&b"0"[..], |old| &old.bytes);
    let number = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() < 256);
        let number = text.and_then(|text| text.parse::<f64>().ok()).filter(|number| !number.is_nan());
        number.ok_or_else(|| "ERR value is not a valid float".to_string())
    };
    let sum = number(left)? + number(&args[2])?;
    let text = match (decimal(left), decimal(&args[2])) {
        (Some(left), Some(right)) => {
            let sum = left + right;
            let digits = format!("{:018}", sum.unsigned_abs());
            let (whole, parts) = digits.split_at(digits.len() - 17);
            let text = format!("{}{whole}.{parts}", if sum < 0 { "-" } else { "" });
            text.trim_end_matches('0').trim_end_matches('.').to_string()
        }
        _ if sum.is_finite() => format!("{}", if sum == 0.0 { 0.0 } else { sum }),
        _ => return Err("ERR increment would produce NaN or Infinity".into()),
    };
    let text = text.into_bytes();
    view.put(&args[1], text.clone(), old.and_then(|old| old.expires_at));
    Ok(Reply::Bulk(text))
}

/// A number below 10^20 with at most 17 decimals, in units of the last of them.
fn decimal(text: &[u8]) -> Option<i128> {
    let text = std::str::from_utf8(text).ok()?;
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (whole, parts) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = [whole, parts].concat();
    let known = all_digits.bytes().all(|byte| byte.is_ascii_digit()) && parts.len() <= 17;
    let number: i128 = format!("0{whole}{parts:0<17}").parse().ok().filter(|_| known)?;
    (number < 10_i128.pow(37)).then_some(sign * number)
}

fn lcs(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let left = view.get(&args[1]).map_or(Vec::new(), |value| value.bytes);
    let right = view.get(&args[2]).map_or(Vec::new(), |value| value.bytes);
    if (left.len() + 1) * (right.len() + 1) > LCS_CELLS_MAX {
        return Err("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len".into());
    }
    let mut row = vec![0_usize; right.len() + 1];
    for a in &left {
        let mut diagonal = 0;
        for (index, b) in right.iter().enumerate() {
            let above = row[index + 1];
            row[index + 1] = if a == b { diagonal + 1 } else { above.max(row[index]) };
            diagonal = above;
        }
    }
    let len = row[right.len()];
    Ok(if args.len() > 3 { Reply::count(len) } else { Reply::Pending(Expected::Subsequence { len, left, right }) })
}
