//! SLOWLOG: commands that took long.

use std::collections::VecDeque;
use std::time::Duration;

use windrow_core::types::UnixMillis;
use windrow_proto::command::{Id, lookup};
use windrow_proto::resp::{Args, Encoder, parse_i64};

use super::node::Node;
use crate::shard::Session;

/// Arguments that an entry keeps, the note about the others included; as in Redis.
pub const ENTRY_ARGS_MAX: usize = 32;
/// Bytes that an entry keeps of an argument; as in Redis.
pub const ENTRY_ARG_LEN_MAX: usize = 128;
/// How many entries `SLOWLOG GET` returns unless told.
const GET_DEFAULT: usize = 10;
/// What stands for an argument that must not be kept.
const REDACTED: &[u8] = b"(redacted)";

/// One slow command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SlowEntry {
    /// Rises by one with every entry of the node.
    pub id: u64,
    /// When it was executed.
    pub at: UnixMillis,
    /// How long that took.
    pub took: Duration,
    /// Its arguments, trimmed.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub peer: String,
    /// The client's name.
    pub name: Box<[u8]>,
}

impl SlowEntry {
    /// The entry for a command that took `took`.
    #[must_use]
    pub fn new(id: u64, at: UnixMillis, took: Duration, session: &Session, args: Args<'_>) -> Self {
        Self { id, at, took, args: trimmed(args), peer: session.peer.to_string(), name: session.name.clone() }
    }

    fn write(&self, encoder: &mut Encoder<'_>) {
        encoder.array(6);
        encoder.integer(i64::try_from(self.id).unwrap_or(i64::MAX));
        encoder.integer(i64::try_from(self.at.get() / 1_000).unwrap_or(i64::MAX));
        encoder.integer(i64::try_from(self.took.as_micros()).unwrap_or(i64::MAX));
        encoder.array(self.args.len());
        self.args.iter().for_each(|arg| encoder.bulk(arg));
        encoder.bulk(self.peer.as_bytes());
        encoder.bulk(&self.name);
    }
}

/// The slow commands of one core, newest last.
#[derive(Debug, Default)]
pub struct SlowLog(VecDeque<SlowEntry>);

impl SlowLog {
    /// Adds an entry and drops the oldest beyond `max_len`.
    pub fn push(&mut self, entry: SlowEntry, max_len: usize) {
        self.0.push_back(entry);
        while self.0.len() > max_len {
            self.0.pop_front();
        }
    }
}

/// `SLOWLOG GET [count]`.
pub(super) fn get(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let count = match args.get(2) {
        None => GET_DEFAULT,
        Some(_) if args.len() > 3 => {
            return encoder.error("ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.");
        }
        Some(text) => match parse_i64(text) {
            Some(-1) => usize::MAX,
            Some(count @ 0..) => usize::try_from(count).unwrap_or(usize::MAX),
            _ => return encoder.error("ERR count should be greater than or equal to -1"),
        },
    };
    let mut entries: Vec<SlowEntry> =
        node.slow_logs().flat_map(|log| log.0.iter().cloned().collect::<Vec<_>>()).collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
    entries.truncate(count.min(node.live().settings.slowlog_max_len));
    encoder.array(entries.len());
    entries.iter().for_each(|entry| entry.write(encoder));
}

/// `SLOWLOG LEN`.
pub(super) fn len(node: &Node, encoder: &mut Encoder<'_>) {
    let len: usize = node.slow_logs().map(|log| log.0.len()).sum();
    encoder.count(len.min(node.live().settings.slowlog_max_len));
}

/// `SLOWLOG RESET`.
pub(super) fn reset(node: &Node, encoder: &mut Encoder<'_>) {
    node.slow_logs().for_each(|mut log| log.0.clear());
    encoder.ok();
}

/// The arguments as an entry keeps them: so many, so long, and no passwords.
fn trimmed(args: Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > ENTRY_ARGS_MAX { ENTRY_ARGS_MAX - 1 } else { args.len() };
    let secret = secrets(args);
    let mut trimmed: Vec<Vec<u8>> = args
        .from(0)
        .take(kept)
        .zip(0..)
        .map(|(arg, at)| if secret(at) { REDACTED.to_vec() } else { short(arg) })
        .collect();
    if kept < args.len() {
        trimmed.push(format!("... ({} more arguments)", args.len() - kept).into_bytes());
    }
    trimmed
}

fn short(arg: &[u8]) -> Vec<u8> {
    let mut short = arg.get(..ENTRY_ARG_LEN_MAX).unwrap_or(arg).to_vec();
    if short.len() < arg.len() {
        short.extend_from_slice(format!("... ({} more bytes)", arg.len() - short.len()).as_bytes());
    }
    short
}

/// Which arguments of a command are secret.
fn secrets(args: Args<'_>) -> impl Fn(usize) -> bool {
    let command = lookup(args.at(0)).map(|command| command.id);
    let sets_password = args.at(1).eq_ignore_ascii_case(b"set");
    move |at| match command {
        Some(Id::Auth) => at > 0,
        Some(Id::Hello) => at > 1,
        Some(Id::Config) => sets_password && at > 2 && at % 2 == 1 && args_is(args, at - 1, b"requirepass"),
        _ => false,
    }
}

fn args_is(args: Args<'_>, at: usize, name: &[u8]) -> bool {
    args.at(at).eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Request, node, session};
    use super::*;

    fn trim(args: &[&[u8]]) -> Vec<Vec<u8>> {
        trimmed(Request::new(args).args())
    }

    #[test]
    fn arguments_are_trimmed_as_in_redis() {
        let long = [b'x'; 200];
        let kept = trim(&[b"set", b"k", &long]);
        assert_eq!(kept[2], [&[b'x'; 128][..], b"... (72 more bytes)"].concat());
        let exact = [b'x'; 128];
        assert_eq!(trim(&[b"set", b"k", &exact])[2], exact);
        let many: Vec<&[u8]> = vec![b"a"; 40];
        let kept = trim(&many);
        assert_eq!((kept.len(), kept[31].as_slice()), (32, &b"... (9 more arguments)"[..]));
        assert_eq!(trim(&many[..32]).len(), 32);
    }

    #[test]
    fn passwords_are_not_kept() {
        assert_eq!(trim(&[b"AUTH", b"secret"]), [&b"AUTH"[..], REDACTED]);
        let hello = trim(&[b"hello", b"3", b"auth", b"default", b"secret"]);
        assert_eq!(hello[..2], [&b"hello"[..], b"3"]);
        assert!(hello[2..].iter().all(|arg| arg == REDACTED));
        let config = trim(&[b"config", b"set", b"timeout", b"1", b"RequirePass", b"secret"]);
        assert_eq!(config[3], b"1");
        assert_eq!(config[5], REDACTED);
        assert_eq!(trim(&[b"config", b"get", b"requirepass", b"x"])[3], b"x");
    }

    #[test]
    fn the_newest_of_all_cores_come_first() {
        let node = node(2);
        let session = session();
        for id in 0..20 {
            let request = Request::new(&[b"get", b"k"]);
            let at = UnixMillis::new(5_000).unwrap();
            let entry = SlowEntry::new(id, at, Duration::from_micros(12), &session, request.args());
            node.slow_logs().nth(usize::try_from(id % 2).unwrap()).unwrap().push(entry, 7);
        }
        let reply = Request::new(&[b"slowlog", b"get", b"2"]).run(|args, encoder| get(&node, args, encoder));
        let entry = |id| {
            format!("*6\r\n:{id}\r\n:5\r\n:12\r\n*2\r\n$3\r\nget\r\n$1\r\nk\r\n$15\r\n127.0.0.1:50000\r\n$0\r\n\r\n")
        };
        assert_eq!(reply, format!("*2\r\n{}{}", entry(19), entry(18)));
        let all = Request::new(&[b"slowlog", b"get", b"-1"]).run(|args, encoder| get(&node, args, encoder));
        assert!(all.starts_with("*14\r\n"), "{all}");
        assert!(
            Request::new(&[b"slowlog", b"get"]).run(|args, encoder| get(&node, args, encoder)).starts_with("*10\r\n")
        );
        let wrong = Request::new(&[b"slowlog", b"get", b"-2"]).run(|args, encoder| get(&node, args, encoder));
        assert_eq!(wrong, "-ERR count should be greater than or equal to -1\r\n");
        assert_eq!(Request::new(&[]).run(|_, encoder| len(&node, encoder)), ":14\r\n");
        assert_eq!(Request::new(&[]).run(|_, encoder| reset(&node, encoder)), "+OK\r\n");
        assert_eq!(Request::new(&[]).run(|_, encoder| len(&node, encoder)), ":0\r\n");
    }
}
