use alloc::{format, string::String, vec::Vec};

use super::*;
use crate::resp::{ArgsBuf, Encoder, Protocol};

fn line(text: &str) -> ArgsBuf {
    let mut args = ArgsBuf::new();
    text.split_whitespace().for_each(|word| args.push(word.as_bytes()));
    args
}

fn replied(protocol: Protocol, write: impl FnOnce(&mut Encoder<'_>)) -> String {
    let mut out = Vec::new();
    write(&mut Encoder::new(&mut out, protocol));
    String::from_utf8(out).unwrap()
}

fn names_of(reply: &str) -> Vec<&str> {
    reply.split("\r\n").skip(2).step_by(2).collect()
}

fn every_command() -> impl Iterator<Item = &'static Command> {
    TABLE.iter().flat_map(|command| core::iter::once(*command).chain(command.subcommands))
}

#[test]
fn every_command_is_found_in_any_case_and_nothing_else_is() {
    for command in TABLE {
        let found = |name: &str| lookup(name.as_bytes()).map(|found| found.id);
        assert_eq!(found(command.name), Some(command.id));
        assert_eq!(found(&command.name.to_ascii_uppercase()), Some(command.id));
        assert_eq!(found(&format!("{}\0", command.name)), None);
        assert_eq!(found(&format!("{} ", command.name)), None);
        assert_eq!(found(&command.name[1..]).filter(|&id| id == command.id), None);
    }
    for name in
        ["", "\0", "ge", "gett", "G\0T", "client|list", "pexpiretimepexpiretime", "sixteen_bytes_xx", "\x07\x05\x14"]
    {
        assert!(lookup(name.as_bytes()).is_none(), "{name:?}");
    }
}

#[test]
fn the_table_keeps_its_own_rules() {
    for command in every_command() {
        let name = command.name;
        assert!(command.arity != 0 && !command.summary.is_empty() && !command.since.is_empty(), "{name}");
        assert!(!(command.flags.has(Flags::WRITE) && command.flags.has(Flags::READONLY)), "{name}");
        assert!(command.summary.ends_with('.') && !command.complexity.is_empty(), "{name}");
        for spec in command.keys {
            assert!(spec.first > 0 && spec.step > 0 && !spec.flags.is_empty(), "{name}");
            // A command of the right arity has its first keys.
            assert!(usize::from(spec.first) < command.arity.unsigned_abs().into(), "{name}");
        }
        for subcommand in command.subcommands {
            assert_eq!(subcommand.name.split_once('|').map(|(container, _)| container), Some(name));
            assert!(subcommand.subcommands.is_empty());
        }
    }
}

#[test]
fn lines_are_resolved_or_refused_as_redis_does() {
    let refused = |text: &str| {
        let line = line(text);
        match resolve(line.args()) {
            Ok(command) => String::from(command.name),
            Err(error) => replied(Protocol::Resp2, |encoder| error.write(line.args(), encoder)),
        }
    };
    #[rustfmt::skip]
    let cases = [
        ("get a", "get"), ("GeT a", "get"), ("client LIST", "client|list"), ("command", "command"),
        ("command count", "command|count"), ("set a b px 1", "set"),
        ("get", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("get a b", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("client", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("client id x", "-ERR wrong number of arguments for 'client|id' command\r\n"),
        ("client nosuch x", "-ERR unknown subcommand 'nosuch'. Try CLIENT HELP.\r\n"),
        ("nosuch a b", "-ERR unknown command 'nosuch', with args beginning with: 'a' 'b' \r\n"),
    ];
    for (text, expected) in cases {
        assert_eq!(refused(text), expected);
    }
    let long = refused(&format!("{} {} x y z", "n".repeat(200), "a".repeat(200)));
    let expected =
        format!("-ERR unknown command '{}', with args beginning with: '{}' \r\n", "n".repeat(128), "a".repeat(128));
    assert_eq!(long, expected);
}

#[test]
fn an_http_request_is_told_from_a_command() {
    for (text, expected) in [("POST / HTTP/1.1", true), ("host: localhost", true), ("GET / HTTP/1.1", false)] {
        assert_eq!(is_http(line(text).args()), expected, "{text}");
    }
}

#[test]
fn keys_are_found_where_they_are() {
    let keys = |text: &str| replied(Protocol::Resp2, |encoder| write_keys(line(text).args(), encoder));
    assert_eq!(names_of(&keys("get a")), ["a"]);
    assert_eq!(names_of(&keys("set a get px 5")), ["a"]);
    assert_eq!(names_of(&keys("mget a b c")), ["a", "b", "c"]);
    assert_eq!(names_of(&keys("mset a 1 b 2 c 3")), ["a", "b", "c"]);
    assert_eq!(names_of(&keys("mset a 1 b")), ["a", "b"]);
    assert_eq!(names_of(&keys("rename a b")), ["a", "b"]);
    assert_eq!(names_of(&keys("lcs a b len")), ["a", "b"]);
    assert_eq!(names_of(&keys("copy a b db 0")), ["a", "b"]);
    assert_eq!(names_of(&keys("object encoding a")), ["a"]);
    assert_eq!(names_of(&keys("memory usage a samples 5")), ["a"]);
    assert_eq!(keys("nosuch a"), "-ERR Invalid command specified\r\n");
    assert_eq!(keys("ping a"), "-ERR The command has no key arguments\r\n");
    assert_eq!(keys("get a b"), "-ERR Invalid number of arguments specified for command\r\n");
    assert_eq!(
        replied(Protocol::Resp3, |encoder| write_keys_and_flags(line("setrange a 1 b").args(), encoder)),
        "*1\r\n*2\r\n$1\r\na\r\n~2\r\n+RW\r\n+update\r\n"
    );
}

#[test]
fn info_says_what_redis_says() {
    let get = "*10\r\n$3\r\nget\r\n:2\r\n~2\r\n+readonly\r\n+fast\r\n:1\r\n:1\r\n:1\r\n\
        ~3\r\n+@read\r\n+@string\r\n+@fast\r\n~0\r\n\
        ~1\r\n%3\r\n$5\r\nflags\r\n~2\r\n+RO\r\n+access\r\n\
        $12\r\nbegin_search\r\n%2\r\n$4\r\ntype\r\n$5\r\nindex\r\n$4\r\nspec\r\n%1\r\n$5\r\nindex\r\n:1\r\n\
        $9\r\nfind_keys\r\n%2\r\n$4\r\ntype\r\n$5\r\nrange\r\n$4\r\nspec\r\n\
        %3\r\n$7\r\nlastkey\r\n:0\r\n$7\r\nkeystep\r\n:1\r\n$5\r\nlimit\r\n:0\r\n*0\r\n";
    let reply = replied(Protocol::Resp3, |encoder| write_info([&b"GET"[..], b"nosuch"].into_iter(), encoder));
    assert_eq!(reply, format!("*2\r\n{get}_\r\n"));
    let all = replied(Protocol::Resp2, |encoder| write_info([].into_iter(), encoder));
    assert!(all.starts_with(&format!("*{}\r\n", TABLE.len())));
    let one = replied(Protocol::Resp2, |encoder| write_info([&b"Client|Kill"[..]].into_iter(), encoder));
    assert!(one.starts_with("*1\r\n*10\r\n$11\r\nclient|kill\r\n:-3\r\n*4\r\n+admin\r\n"), "{one}");
    assert!(one.contains("*4\r\n+@admin\r\n+@slow\r\n+@dangerous\r\n+@connection\r\n"), "{one}");
    assert_eq!(lookup(b"copy").map(Command::key_range), Some((1, 2, 1)));
    assert_eq!(lookup(b"mset").map(Command::key_range), Some((1, -1, 2)));
    assert_eq!(lookup(b"dbsize").map(Command::key_range), Some((0, 0, 0)));
}

#[test]
fn docs_and_help_list_subcommands() {
    let docs = replied(Protocol::Resp3, |e| write_docs([&b"config"[..], b"nosuch", b"get"].into_iter(), e));
    assert!(docs.starts_with("%2\r\n$6\r\nconfig\r\n%5\r\n$7\r\nsummary\r\n"), "{docs}");
    assert!(docs.contains("$11\r\nsubcommands\r\n%5\r\n$10\r\nconfig|get\r\n%4\r\n"), "{docs}");
    let help = replied(Protocol::Resp2, |encoder| write_help(lookup(b"object").unwrap(), encoder));
    assert!(
        help.starts_with("*11\r\n+OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n+ENCODING\r\n"),
        "{help}"
    );
}

#[test]
fn lists_are_filtered() {
    let list = |text: &str| {
        let line = line(text);
        ListFilter::parse(line.args()).map(|filter| replied(Protocol::Resp2, |encoder| write_list(filter, encoder)))
    };
    assert_eq!(names_of(&list("command list").unwrap()).len(), TABLE.len());
    let transactions = list("command list filterby aclcat Transaction").unwrap();
    assert_eq!(names_of(&transactions), ["discard", "exec", "multi", "unwatch", "watch"]);
    let slow = list("command list filterby pattern SLOWLOG|*").unwrap();
    assert_eq!(names_of(&slow), ["slowlog|get", "slowlog|help", "slowlog|len", "slowlog|reset"]);
    assert_eq!(list("command list filterby module x").as_deref(), Some("*0\r\n"));
    assert_eq!(list("command list filterby aclcat nosuch").as_deref(), Some("*0\r\n"));
    assert_eq!(list("command list filterby x y"), None);
    assert_eq!(list("command list filterby aclcat"), None);
    assert_eq!(list("command list pattern x y"), None);
}
