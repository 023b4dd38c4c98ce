//! Whether reading commands found their keys, told from their replies.

use windrow_proto::command::Id;
use windrow_proto::resp::parse_i64;

/// How many keys a command with `keys` keys has found and missed, by its reply, in either protocol.
///
/// Known of the commands whose reply tells an absent key from an empty value: GET, GETEX, GETDEL, MGET, EXISTS,
/// TOUCH, TYPE, TTL and its kin. Errors count as neither.
#[inline]
pub(super) fn lookups(id: Id, keys: usize, reply: &[u8]) -> (u64, u64) {
    let one = |hit: bool| if hit { (1, 0) } else { (0, 1) };
    if reply.first() == Some(&b'-') {
        return (0, 0);
    }
    match id {
        Id::Get | Id::Getex | Id::Getdel => one(!is_null(reply)),
        Id::Mget => values(keys, reply),
        Id::Exists | Id::Touch => {
            let all = u64::try_from(keys).unwrap_or(u64::MAX);
            let found = integer(reply).and_then(|count| u64::try_from(count).ok()).unwrap_or(0).min(all);
            (found, all - found)
        }
        Id::Type => one(reply != b"+none\r\n"),
        Id::Ttl | Id::Pttl | Id::Expiretime | Id::Pexpiretime => one(integer(reply) != Some(-2)),
        _ => (0, 0),
    }
}

fn is_null(reply: &[u8]) -> bool {
    reply.starts_with(b"$-1") || reply.starts_with(b"_")
}

fn integer(reply: &[u8]) -> Option<i64> {
    parse_i64(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The values and nulls of an array of `keys` of them.
fn values(keys: usize, reply: &[u8]) -> (u64, u64) {
    let mut rest = after_line(reply);
    let (mut hits, mut misses) = (0, 0);
    for _ in 0..keys {
        let Some(value) = rest else { break };
        rest = after_line(value);
        if is_null(value) {
            misses += 1;
            continue;
        }
        hits += 1;
        let line = value.len() - rest.map_or(0, <[u8]>::len);
        let digits = value.get(1..line.saturating_sub(2)).unwrap_or_default();
        let len = parse_i64(digits).and_then(|len| usize::try_from(len).ok()).unwrap_or(usize::MAX);
        rest = rest.and_then(|bytes| bytes.get(len.checked_add(2)?..));
    }
    (hits, misses)
}

fn after_line(bytes: &[u8]) -> Option<&[u8]> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    bytes.get(end + 1..).filter(|rest| !rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_and_misses_are_told_from_replies() {
        for (id, keys, reply, expected) in [
            (Id::Get, 1, "$1\r\na\r\n", (1, 0)),
            (Id::Get, 1, "$0\r\n\r\n", (1, 0)),
            (Id::Get, 1, "$-1\r\n", (0, 1)),
            (Id::Get, 1, "_\r\n", (0, 1)),
            (Id::Get, 1, "-WRONGTYPE x\r\n", (0, 0)),
            (Id::Mget, 4, "*4\r\n$5\r\n$-1\r\n\r\n$-1\r\n_\r\n$0\r\n\r\n", (2, 2)),
            (Id::Mget, 2, "*2\r\n$99\r\n", (1, 0)),
            (Id::Exists, 3, ":2\r\n", (2, 1)),
            (Id::Touch, 1, ":9\r\n", (1, 0)),
            (Id::Type, 1, "+none\r\n", (0, 1)),
            (Id::Type, 1, "+string\r\n", (1, 0)),
            (Id::Ttl, 1, ":-2\r\n", (0, 1)),
            (Id::Pttl, 1, ":-1\r\n", (1, 0)),
            (Id::Set, 1, "+OK\r\n", (0, 0)),
            (Id::Mget, 2, "", (0, 0)),
        ] {
            assert_eq!(lookups(id, keys, reply.as_bytes()), expected, "{reply:?}");
        }
    }
}
