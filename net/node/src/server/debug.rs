//! DEBUG, ACL, MODULE and the MEMORY subcommands that are not about one key.

use std::time::Duration;

use windrow_proto::command::{Categories, TABLE};
use windrow_proto::resp::{Args, Encoder};

use super::info_sections::human;
use super::node::Node;
use crate::auth::DEFAULT_USER;
use crate::shard::Effect;

/// The longest `DEBUG SLEEP`.
pub const DEBUG_SLEEP_MAX: Duration = Duration::from_secs(60);

const DEBUG_DISABLED: &str = "ERR DEBUG command not allowed. Set enable-debug-command to yes in the settings file, \
                              the environment or on the command line, and then restart the server.";

/// `DEBUG subcommand …`, for operators who test their clients.
pub(super) fn debug(enabled: bool, args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let is = |name: &[u8]| args.at(1).eq_ignore_ascii_case(name);
    if !enabled {
        encoder.error(DEBUG_DISABLED);
    } else if is(b"sleep") && args.len() == 3 {
        return sleep(args.at(2), encoder);
    } else if is(b"help") && args.len() == 2 {
        let lines = [
            "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
            "SLEEP <seconds>",
            "    Answer after <seconds>, which may have a fraction. Other connections are not held up.",
            "HELP",
            "    Return this text.",
        ];
        encoder.array(lines.len());
        lines.iter().for_each(|line| encoder.simple(line));
    } else {
        encoder.error_with(|out| {
            out.extend_from_slice(b"ERR unknown subcommand or wrong number of arguments for '");
            out.extend_from_slice(args.at(1).get(..128).unwrap_or(args.at(1)));
            out.extend_from_slice(b"'. Try DEBUG HELP.");
        });
    }
    Effect::Reply
}

fn sleep(seconds: &[u8], encoder: &mut Encoder<'_>) -> Effect {
    let parsed = std::str::from_utf8(seconds).ok().and_then(|text| text.parse::<f64>().ok());
    let Some(time) = parsed.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) else {
        encoder.error("ERR value is not a valid float");
        return Effect::Reply;
    };
    if time > DEBUG_SLEEP_MAX {
        encoder.error_fmt(format_args!("ERR DEBUG SLEEP takes at most {} seconds", DEBUG_SLEEP_MAX.as_secs()));
        return Effect::Reply;
    }
    encoder.ok();
    Effect::After(time)
}

/// `ACL CAT [category]`.
pub(super) fn acl_cat(args: Args<'_>, encoder: &mut Encoder<'_>) {
    let Some(name) = args.get(2) else {
        encoder.array(Categories::names().len());
        return Categories::names().for_each(|name| encoder.bulk(name.as_bytes()));
    };
    if args.len() > 3 {
        return encoder.error("ERR wrong number of arguments for 'acl|cat' command");
    }
    let Some(category) = Categories::named(name) else {
        return encoder.error_with(|out| {
            out.extend_from_slice(b"ERR Unknown category '");
            out.extend_from_slice(name.get(..128).unwrap_or(name));
            out.push(b'\'');
        });
    };
    let all = TABLE.iter().flat_map(|command| std::iter::once(*command).chain(command.subcommands));
    let members: Vec<_> = all.filter(|command| command.all_categories().has(category)).collect();
    encoder.array(members.len());
    members.iter().for_each(|command| encoder.bulk(command.name.as_bytes()));
}

/// `ACL USERS`.
pub(super) fn acl_users(encoder: &mut Encoder<'_>) {
    encoder.array(1);
    encoder.bulk(DEFAULT_USER);
}

/// `ACL LIST`: the only user, who may do everything. The password's hash is not shown.
pub(super) fn acl_list(password_set: bool, encoder: &mut Encoder<'_>) {
    encoder.array(1);
    let password = if password_set { "" } else { "nopass " };
    encoder.bulk_fmt(format_args!("user default on {password}~* &* +@all"));
}

/// `MEMORY STATS`: what takes memory, in bytes.
pub(super) fn memory_stats(node: &Node, encoder: &mut Encoder<'_>) {
    let (memory, peak) = node.memory();
    let metrics = &node.metrics;
    let keys = metrics.partition_sum(|partition| partition.keys.get());
    let index = metrics.partition_sum(|partition| partition.index_bytes.get());
    let buffers = metrics.sum(|core| core.buffer_bytes.get());
    let numbers = [
        ("peak.allocated", peak),
        ("total.allocated", memory.anonymous),
        ("clients.normal", buffers),
        ("overhead.hashtable.main", index),
        ("overhead.total", index.saturating_add(buffers)),
        ("keys.count", keys),
        ("keys.bytes-per-key", memory.anonymous.checked_div(keys).unwrap_or(0)),
        ("resident.bytes", memory.resident),
    ];
    encoder.map(numbers.len());
    for (name, value) in numbers {
        encoder.bulk(name.as_bytes());
        encoder.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }
}

/// `MEMORY DOCTOR`.
pub(super) fn memory_doctor(node: &Node, encoder: &mut Encoder<'_>) {
    let (memory, peak) = node.memory();
    let log = memory.resident.saturating_sub(memory.anonymous);
    let text = format!(
        "{} of memory beside the log, {} at most so far: indexes, connections, buffers. {} more of the log and the \
         program are resident; the system takes those back when it needs them, so they are no cause for concern.\n",
        human(memory.anonymous),
        human(peak),
        human(log),
    );
    encoder.verbatim(*b"txt", text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Request, node};
    use super::*;

    fn ask(enabled: bool, args: &[&[u8]]) -> (String, Effect) {
        let mut effect = Effect::Reply;
        let reply = Request::new(args).run(|args, encoder| effect = debug(enabled, args, encoder));
        (reply, effect)
    }

    #[test]
    fn debug_is_for_those_who_asked_for_it() {
        assert_eq!(ask(false, &[b"debug", b"sleep", b"0"]).0, format!("-{DEBUG_DISABLED}\r\n"));
        let half = Duration::from_millis(500);
        assert!(matches!(ask(true, &[b"debug", b"SLEEP", b"0.5"]), (_, Effect::After(time)) if time == half));
        for wrong in [&b"x"[..], b"-1", b"nan", b"1e400", b""] {
            assert_eq!(ask(true, &[b"debug", b"sleep", wrong]).0, "-ERR value is not a valid float\r\n");
        }
        assert_eq!(ask(true, &[b"debug", b"sleep", b"61"]).0, "-ERR DEBUG SLEEP takes at most 60 seconds\r\n");
        let error = "-ERR unknown subcommand or wrong number of arguments for 'jmap'. Try DEBUG HELP.\r\n";
        assert_eq!(ask(true, &[b"debug", b"jmap"]).0, error);
        assert!(ask(true, &[b"debug", b"help"]).0.starts_with("*5\r\n"));
    }

    #[test]
    fn there_is_one_user_with_every_right() {
        let list = |set| Request::new(&[]).run(|_, encoder| acl_list(set, encoder));
        assert_eq!(list(false), "*1\r\n$34\r\nuser default on nopass ~* &* +@all\r\n");
        assert_eq!(list(true), "*1\r\n$27\r\nuser default on ~* &* +@all\r\n");
        let cat = |args: &[&[u8]]| Request::new(args).run(acl_cat);
        assert!(cat(&[b"acl", b"cat"]).contains("$6\r\nstring\r\n"));
        assert!(cat(&[b"acl", b"cat", b"STRING"]).contains("$3\r\nget\r\n"));
        assert_eq!(cat(&[b"acl", b"cat", b"x"]), "-ERR Unknown category 'x'\r\n");
    }

    #[test]
    fn memory_is_told_in_bytes() {
        let node = node(1);
        node.metrics.partitions()[0].index_bytes.set(123);
        let stats = Request::new(&[]).run(|_, encoder| memory_stats(&node, encoder));
        assert!(stats.contains("$23\r\noverhead.hashtable.main\r\n:123\r\n"), "{stats}");
        let doctor = Request::new(&[]).run(|_, encoder| memory_doctor(&node, encoder));
        assert!(doctor.contains("beside the log"), "{doctor}");
    }
}
