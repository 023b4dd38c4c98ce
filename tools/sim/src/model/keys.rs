//! Commands on keys whatever their values, and on whole partitions.

use windrow_core::types::limits::{RECORD_ALIGN, RECORD_HEADER_LEN};

use super::View;
use super::expiry::{expire, integer, remaining};
use super::reply::{Answer, Expected, Reply};

pub(super) fn run(view: &mut View<'_>, name: &[u8], args: &[Vec<u8>]) -> Option<Answer> {
    Some(match name {
        b"del" | b"unlink" => {
            let mut keys = args[1..].to_vec();
            keys.sort();
            keys.dedup();
            keys.retain(|key| view.has(key));
            keys.iter().for_each(|key| view.delete(key));
            Ok(Reply::count(keys.len()))
        }
        b"exists" | b"touch" => Ok(Reply::count(args[1..].iter().filter(|key| view.has(key)).count())),
        b"expire" => expire(view, b"ex", "expire", args),
        b"pexpire" => expire(view, b"px", "pexpire", args),
        b"expireat" => expire(view, b"exat", "expireat", args),
        b"pexpireat" => expire(view, b"pxat", "pexpireat", args),
        b"ttl" => remaining(view, args, true, false),
        b"pttl" => remaining(view, args, false, false),
        b"expiretime" => remaining(view, args, true, true),
        b"pexpiretime" => remaining(view, args, false, true),
        b"persist" => {
            let old = view.get(&args[1]).filter(|old| old.expires_at.is_some());
            let done = old.is_some();
            if let Some(old) = old {
                view.put(&args[1], old.bytes, None);
            }
            Ok(Reply::Integer(done.into()))
        }
        b"type" => Ok(Reply::Simple(if view.has(&args[1]) { "string" } else { "none" })),
        b"rename" | b"renamenx" => rename(view, args, name == b"renamenx"),
        b"copy" => copy(view, args),
        b"object" => object(view, args),
        b"memory" => Ok(view.get(&args[2]).map_or(Reply::Null, |value| {
            let body = (args[2].len() + value.bytes.len()).next_multiple_of(RECORD_ALIGN);
            Reply::count(RECORD_HEADER_LEN + body + 16)
        })),
        _ => return None,
    })
}

fn rename(view: &mut View<'_>, args: &[Vec<u8>], only_absent: bool) -> Answer {
    let old = view.get(&args[1]).ok_or("ERR no such key")?;
    if only_absent {
        let free = !view.has(&args[2]);
        if free {
            view.delete(&args[1]);
            view.put(&args[2], old.bytes, old.expires_at);
        }
        return Ok(Reply::Integer(free.into()));
    }
    if args[1] != args[2] {
        view.delete(&args[1]);
        view.put(&args[2], old.bytes, old.expires_at);
    }
    Ok(Reply::Ok)
}

fn copy(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    if args[1] == args[2] {
        return Err("ERR source and destination objects are the same".into());
    }
    let replace = args.len() > 3;
    let Some(old) = view.get(&args[1]) else { return Ok(Reply::Integer(0)) };
    let done = replace || !view.has(&args[2]);
    if done {
        view.put(&args[2], old.bytes, old.expires_at);
    }
    Ok(Reply::Integer(done.into()))
}

fn object(view: &mut View<'_>, args: &[Vec<u8>]) -> Answer {
    let Some(value) = view.get(&args[2]) else { return Ok(Reply::Null) };
    match args[1].to_ascii_lowercase().as_slice() {
        b"encoding" => {
            let short = value.bytes.len() <= 44;
            let name: &[u8] = match integer(&value.bytes) {
                Ok(_) => b"int",
                Err(_) if short => b"embstr",
                Err(_) => b"raw",
            };
            Ok(Reply::Bulk(name.to_vec()))
        }
        b"freq" => Err("ERR An LFU maxmemory policy is not selected, access frequency not tracked.".into()),
        b"idletime" => Ok(Reply::Integer(0)),
        _ => Ok(Reply::Integer(1)),
    }
}

/// Commands that need no key, as one partition answers them.
pub(super) fn run_whole(view: &mut View<'_>, name: &[u8], args: &[Vec<u8>]) -> Option<Answer> {
    let pattern = match name {
        b"keys" => args[1].clone(),
        b"scan" => {
            let at = args.iter().position(|word| word.eq_ignore_ascii_case(b"match"));
            at.map_or(b"*".to_vec(), |at| args[at + 1].clone())
        }
        _ => b"*".to_vec(),
    };
    // The patterns that are generated end in a star.
    let prefix = pattern.strip_suffix(b"*").expect("generated with a star");
    let live = view.state.live_keys().map(|(key, _)| key).filter(|key| key.starts_with(prefix));
    let live: Vec<Vec<u8>> = live.cloned().collect();
    if name != b"scan" && name != b"randomkey" {
        view.depends_on = view.depends_on.max(view.state.newest_change());
    }
    Some(Ok(match name {
        b"dbsize" => Reply::count(view.state.keys.len()),
        b"keys" => Reply::Pending(Expected::Keys(live)),
        b"scan" => Reply::Pending(Expected::ScanOf(live)),
        b"randomkey" => Reply::Pending(Expected::OneOf(live)),
        b"flushall" | b"flushdb" => Reply::Pending(Expected::Clear),
        _ => return None,
    }))
}
