//! Replies of RESP2 and RESP3, read where they lie: no copy, no allocation. Bytes of a server never panic.

/// What a load generator wants to know of a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply<'a> {
    Error(&'a [u8]),
    Bulk(&'a [u8]),
    Nil,
    /// An announcement that answers nothing.
    Push,
    Number(i64),
    /// A status, an array: an answer whose content does not matter here.
    Other,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a reply starts with byte {first:#04x}, or its length is not a number")]
pub(crate) struct Malformed {
    pub(crate) first: u8,
}

/// The first reply and its length, or nothing if it is not whole yet.
pub(crate) fn parse(input: &[u8]) -> Result<Option<(Reply<'_>, usize)>, Malformed> {
    let Some(head) = header(input)? else { return Ok(None) };
    let reply = match head.kind {
        b'-' => Reply::Error(head.line),
        b'$' | b'*' if head.nil => Reply::Nil,
        b'_' => Reply::Nil,
        b':' => signed(head.line).map_or(Reply::Other, Reply::Number),
        b'$' | b'=' | b'!' => {
            let Some(body) = input.get(head.end..head.end + head.length) else { return Ok(None) };
            let end = head.end + head.length + 2;
            if input.len() < end {
                return Ok(None);
            }
            return Ok(Some((if head.kind == b'!' { Reply::Error(body) } else { Reply::Bulk(body) }, end)));
        }
        b'*' | b'~' | b'%' | b'>' | b'|' => {
            let push = head.kind == b'>';
            return Ok(skip(input)?.map(|end| (if push { Reply::Push } else { Reply::Other }, end)));
        }
        _ => Reply::Other,
    };
    Ok(Some((reply, head.end)))
}

struct Head<'a> {
    kind: u8,
    line: &'a [u8],
    length: usize,
    nil: bool,
    end: usize,
}

fn header(input: &[u8]) -> Result<Option<Head<'_>>, Malformed> {
    let Some(&kind) = input.first() else { return Ok(None) };
    if !b"+-:$*_,#!=(%~>|".contains(&kind) {
        return Err(Malformed { first: kind });
    }
    let Some(cr) = input.iter().position(|&byte| byte == b'\r') else { return Ok(None) };
    if input.len() < cr + 2 {
        return Ok(None);
    }
    let line = &input[1..cr];
    let mut head = Head { kind, line, length: 0, nil: false, end: cr + 2 };
    if b"$*!=%~>|".contains(&kind) {
        if line == b"-1" {
            head.nil = true;
        } else {
            head.length = number(line).ok_or(Malformed { first: kind })?;
        }
    }
    Ok(Some(head))
}

fn number(digits: &[u8]) -> Option<usize> {
    if digits.is_empty() || digits.len() > 12 {
        return None;
    }
    digits.iter().try_fold(0_usize, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + usize::from(digit - b'0')))
}

fn signed(digits: &[u8]) -> Option<i64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The end of the first value with everything in it, or nothing if it is not whole yet.
fn skip(input: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut at = 0;
    let mut wanted = 1_usize;
    while wanted > 0 {
        let Some(head) = header(input.get(at..).unwrap_or_default())? else { return Ok(None) };
        wanted -= 1;
        at += head.end;
        let inside = match head.kind {
            b'*' | b'~' | b'>' => head.length,
            b'%' => head.length * 2,
            // Attributes come before the value that they describe.
            b'|' => head.length * 2 + 1,
            b'$' | b'=' | b'!' if !head.nil => {
                at += head.length + 2;
                0
            }
            _ => 0,
        };
        wanted += inside;
    }
    Ok((input.len() >= at).then_some(at))
}

/// A reply as a tree, for the few that are looked into.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Tree {
    Text(Vec<u8>),
    Number(i64),
    Error(String),
    List(Vec<Tree>),
    Nil,
}

/// How deep a reply may nest: `CLUSTER SLOTS` has four levels.
const DEPTH_MAX: u8 = 8;

/// The first value as a tree, and its length, or nothing if it is not whole yet.
pub(crate) fn tree(input: &[u8]) -> Result<Option<(Tree, usize)>, Malformed> {
    let Some(end) = skip(input)? else { return Ok(None) };
    let mut at = 0;
    let value = branch(input, &mut at, DEPTH_MAX)?;
    Ok(Some((value, end)))
}

fn branch(input: &[u8], at: &mut usize, depth: u8) -> Result<Tree, Malformed> {
    let rest = input.get(*at..).unwrap_or_default();
    let first = rest.first().copied().unwrap_or(0);
    let Some(head) = header(rest)? else { return Err(Malformed { first }) };
    *at += head.end;
    Ok(match head.kind {
        _ if head.nil => Tree::Nil,
        b'_' => Tree::Nil,
        b'-' => Tree::Error(String::from_utf8_lossy(head.line).into_owned()),
        b':' => Tree::Number(
            std::str::from_utf8(head.line).ok().and_then(|text| text.parse().ok()).ok_or(Malformed { first })?,
        ),
        b'$' | b'=' | b'!' => {
            let body = rest.get(head.end..head.end + head.length).ok_or(Malformed { first })?;
            *at += head.length + 2;
            Tree::Text(body.to_vec())
        }
        b'*' | b'~' | b'>' | b'%' | b'|' if depth > 0 => {
            let items = if matches!(head.kind, b'%' | b'|') { head.length * 2 } else { head.length };
            Tree::List((0..items).map(|_| branch(input, at, depth - 1)).collect::<Result<_, _>>()?)
        }
        b'*' | b'~' | b'>' | b'%' | b'|' => return Err(Malformed { first }),
        _ => Tree::Text(head.line.to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::{Malformed, Reply, Tree, parse, tree};

    #[test]
    fn every_kind_of_reply_is_read_and_its_end_is_found() {
        for (input, reply) in [
            (&b"+OK\r\n"[..], Reply::Other),
            (b"-ERR no\r\n", Reply::Error(b"ERR no")),
            (b":12\r\n", Reply::Number(12)),
            (b"$3\r\nabc\r\n", Reply::Bulk(b"abc")),
            (b"$0\r\n\r\n", Reply::Bulk(b"")),
            (b"$-1\r\n", Reply::Nil),
            (b"*-1\r\n", Reply::Nil),
            (b"_\r\n", Reply::Nil),
            (b"!5\r\nERR x\r\n", Reply::Error(b"ERR x")),
            (b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", Reply::Other),
            (b"%1\r\n+a\r\n$-1\r\n", Reply::Other),
            (b">1\r\n+invalidate\r\n", Reply::Push),
            (b"|1\r\n+ttl\r\n:3\r\n+OK\r\n", Reply::Other),
        ] {
            let mut followed = input.to_vec();
            followed.extend_from_slice(b"+next\r\n");
            assert_eq!(parse(&followed), Ok(Some((reply, input.len()))), "{}", input.escape_ascii());
            for cut in 0..input.len() {
                assert_eq!(parse(&input[..cut]), Ok(None), "{} cut at {cut}", input.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_not_resp_is_refused() {
        assert_eq!(parse(b"HTTP/1.1 400\r\n"), Err(Malformed { first: b'H' }));
        assert_eq!(parse(b"$abc\r\n"), Err(Malformed { first: b'$' }));
        assert_eq!(parse(b"$99999999999999999999\r\n"), Err(Malformed { first: b'$' }));
        assert!(tree(&b"*1\r\n".repeat(20)).is_ok_and(|tree| tree.is_none()));
        let mut deep = b"*1\r\n".repeat(20);
        deep.extend_from_slice(b":1\r\n");
        assert_eq!(tree(&deep), Err(Malformed { first: b'*' }));
    }

    #[test]
    fn trees_keep_what_is_in_them() {
        let (tree, end) = tree(b"*2\r\n:5\r\n*2\r\n$1\r\na\r\n_\r\n+x").expect("well-formed").expect("whole");
        assert_eq!(end, 22);
        assert_eq!(tree, Tree::List(vec![Tree::Number(5), Tree::List(vec![Tree::Text(b"a".to_vec()), Tree::Nil])]));
    }
}
