//! Replies as the model says them.

use super::View;

/// What a reply must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Expected {
    /// These bytes.
    Bytes(Vec<u8>),
    /// An array of these keys in some order, each once.
    Keys(Vec<Vec<u8>>),
    /// A cursor, and an array of some of these keys.
    ScanOf(Vec<Vec<u8>>),
    /// One of these keys, or nothing if there is none.
    OneOf(Vec<Vec<u8>>),
    /// A string of this length that is a subsequence of both.
    Subsequence { len: usize, left: Vec<u8>, right: Vec<u8> },
    /// Removes everything and says OK.
    Clear,
}

/// A reply taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Item {
    Text(Vec<u8>),
    Array(Vec<Item>),
    Null,
    Other,
}

pub(super) enum Reply {
    Ok,
    Simple(&'static str),
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    Array(Vec<Reply>),
    /// Something that depends on the engine's choice.
    Pending(Expected),
}

pub(super) type Answer = Result<Reply, String>;

impl Reply {
    pub(super) fn count(number: usize) -> Self {
        Self::Integer(i64::try_from(number).expect("counts are small"))
    }

    pub(super) fn value(value: Option<super::Value>) -> Self {
        value.map_or(Self::Null, |value| Self::Bulk(value.bytes))
    }

    pub(super) fn encode(&self, resp3: bool) -> Vec<u8> {
        match self {
            Self::Ok => b"+OK\r\n".to_vec(),
            Self::Simple(text) => format!("+{text}\r\n").into_bytes(),
            Self::Error(text) => format!("-{text}\r\n").into_bytes(),
            Self::Integer(number) => format!(":{number}\r\n").into_bytes(),
            Self::Bulk(bytes) => [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
            Self::Null => if resp3 { &b"_\r\n"[..] } else { b"$-1\r\n" }.to_vec(),
            Self::Array(items) => {
                let mut bytes = format!("*{}\r\n", items.len()).into_bytes();
                items.iter().for_each(|item| bytes.extend(item.encode(resp3)));
                bytes
            }
            Self::Pending(_) => unreachable!("what depends on the engine has no bytes of its own"),
        }
    }
}

/// Takes a whole reply apart. `None` where it is none.
pub(crate) fn parse_reply(bytes: &[u8]) -> Option<(Item, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let (line, rest) = (std::str::from_utf8(bytes.get(1..end)?).ok()?, &bytes[end + 2..]);
    Some(match bytes[0] {
        b'$' | b'*' if line == "-1" => (Item::Null, rest),
        b'_' => (Item::Null, rest),
        b'$' => {
            let len: usize = line.parse().ok()?;
            (Item::Text(rest.get(..len)?.to_vec()), rest.get(len..)?.strip_prefix(b"\r\n")?)
        }
        b'*' => {
            let mut items = Vec::new();
            let mut rest = rest;
            for _ in 0..line.parse::<usize>().ok()? {
                let (item, tail) = parse_reply(rest)?;
                items.push(item);
                rest = tail;
            }
            (Item::Array(items), rest)
        }
        b'+' | b'-' | b':' => (Item::Other, rest),
        _ => return None,
    })
}

impl Expected {
    /// Whether `reply` is what was expected.
    pub(crate) fn check(&self, reply: &[u8]) -> Result<(), String> {
        let wrong = || Err(format!("reply {}, expected {self:?}", reply.escape_ascii()));
        let item = match parse_reply(reply) {
            Some((item, [])) => item,
            _ => return Err(format!("{} is no reply", reply.escape_ascii())),
        };
        let right = match (self, item) {
            (Self::Bytes(bytes), _) => reply == bytes,
            (Self::Clear, _) => reply == b"+OK\r\n",
            (Self::Keys(keys), Item::Array(items)) => {
                let mut found = texts(&items);
                found.sort();
                found == *keys
            }
            (Self::ScanOf(keys), Item::Array(items)) => match items.as_slice() {
                [Item::Text(_), Item::Array(found)] => texts(found).iter().all(|key| keys.contains(key)),
                _ => false,
            },
            (Self::OneOf(keys), Item::Null) => keys.is_empty(),
            (Self::OneOf(keys), Item::Text(key)) => keys.contains(&key),
            (Self::Subsequence { len, left, right }, Item::Text(text)) => {
                text.len() == *len && is_subsequence(&text, left) && is_subsequence(&text, right)
            }
            _ => false,
        };
        if right { Ok(()) } else { wrong() }
    }
}

fn texts(items: &[Item]) -> Vec<Vec<u8>> {
    let texts = items.iter().map(|item| if let Item::Text(text) = item { text.clone() } else { Vec::new() });
    texts.collect()
}

fn is_subsequence(part: &[u8], whole: &[u8]) -> bool {
    let mut bytes = whole.iter();
    part.iter().all(|byte| bytes.any(|other| other == byte))
}

impl View<'_> {
    /// The bytes of the reply to a whole transaction.
    pub(crate) fn array(items: &[Vec<u8>]) -> Vec<u8> {
        [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
    }

    /// The reply to a transaction whose watched keys have changed.
    pub(crate) fn null_array(resp3: bool) -> Vec<u8> {
        if resp3 { b"_\r\n".to_vec() } else { b"*-1\r\n".to_vec() }
    }
}
