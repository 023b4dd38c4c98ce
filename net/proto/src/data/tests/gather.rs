use alloc::{collections::BTreeSet, format, string::String, vec::Vec};

use windrow_core::types::{PartitionMap, Slot};

use super::harness::{Bench, shown, words};
use crate::{
    command::resolve,
    data::{Gather, Route, Unit, route, split},
    resp::{Args, Protocol},
};

const PARTITIONS: u16 = 3;

struct Node {
    benches: Vec<Bench>,
    map: PartitionMap,
    draw: u64,
    len_max: usize,
}

impl Node {
    fn new() -> Self {
        let benches = (0..PARTITIONS).map(|number| Bench::of(number, PARTITIONS, 4 << 10)).collect();
        Self { benches, map: PartitionMap::new(PARTITIONS).unwrap(), draw: 0, len_max: usize::MAX }
    }

    fn bench_of(&mut self, key: &str) -> &mut Bench {
        &mut self.benches[usize::from(self.map.partition_of(Slot::of(key.as_bytes())).get())]
    }

    /// What a node does with a command that needs several partitions.
    fn reply(&mut self, line: &str, protocol: Protocol) -> String {
        let args = words(line);
        let command = resolve(args.args()).unwrap();
        let mut gather = Gather::new(command, args.args(), protocol, self.draw, self.len_max).expect("it is one");
        self.benches.iter_mut().for_each(|bench| bench.ctx.protocol = protocol);
        match route(command, args.args(), self.map, Unit::Partition) {
            Route::Split => {
                for part in split(args.args(), self.map) {
                    let reply = self.benches[usize::from(part.partition.get())].line(&text(part.args.args()));
                    gather.add(&part.positions, &reply);
                }
            }
            Route::All => {
                for bench in &mut self.benches {
                    gather.add(&[], &bench.line(line));
                }
            }
            other => panic!("{line} goes to {other:?}"),
        }
        let mut out = Vec::new();
        gather.finish(&mut out);
        shown(&out)
    }
}

fn text(args: Args<'_>) -> String {
    let words: Vec<String> = args.from(0).map(|word| format!("\"{}\"", word.escape_ascii())).collect();
    words.join(" ")
}

#[test]
fn replies_of_parts_make_the_reply_of_the_whole() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let mut node = Node::new();
        assert_eq!(node.reply("RANDOMKEY", protocol), "nil");
        assert_eq!(node.reply("KEYS *", protocol), "[]");
        let keys = ["a", "b", "c", "d", "e"];
        for key in keys {
            node.bench_of(key).line(&format!("SET {key} value-of-{key}"));
        }
        assert_eq!(node.reply("DBSIZE", protocol), ":5");
        assert_eq!(
            node.reply("MGET e x a b y c a", protocol),
            "[\"value-of-e\", nil, \"value-of-a\", \"value-of-b\", nil, \"value-of-c\", \"value-of-a\"]"
        );
        assert_eq!(node.reply("EXISTS a b c x a", protocol), ":4");
        assert_eq!(node.reply("TOUCH a b c x", protocol), ":3");
        let listed = node.reply("KEYS *", protocol);
        let found: BTreeSet<&str> = listed.trim_matches(['[', ']']).split(", ").collect();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), keys.map(|key| format!("\"{key}\"")));
        let drawn: BTreeSet<String> = (0..64_u64)
            .map(|draw| {
                node.draw = draw.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                node.reply("RANDOMKEY", protocol)
            })
            .collect();
        assert!(drawn.len() >= 3, "{drawn:?}: some key of each partition");
        assert_eq!(node.reply("DEL a b x", protocol), ":2");
        assert_eq!(node.reply("UNLINK c x a", protocol), ":1");
        assert_eq!(node.reply("FLUSHALL", protocol), "OK");
        assert_eq!(node.reply("DBSIZE", protocol), ":0");
    }
}

#[test]
fn an_error_of_a_part_is_the_reply() {
    let mut node = Node::new();
    assert_eq!(node.reply("FLUSHALL nosuch", Protocol::Resp2), "-ERR syntax error");
    let line = format!("KEYS {}", "a".repeat(2000));
    assert_eq!(node.reply(&line, Protocol::Resp2), "-ERR the pattern is longer than 1024 bytes");
}

#[test]
fn parts_that_are_too_long_together_are_not_put_together() {
    let mut node = Node::new();
    node.len_max = 4_500;
    for key in ["a", "b", "c"] {
        node.bench_of(key).line(&format!("SET {key} {}", "v".repeat(1_450)));
    }
    assert!(node.reply("MGET a b c", Protocol::Resp2).starts_with('['));
    node.bench_of("d").line(&format!("SET d {}", "v".repeat(200)));
    let refusal =
        "-ERR the reply is longer than the 4500 bytes that may wait for a client: nothing was done; ask for less";
    assert_eq!(node.reply("MGET a b c d", Protocol::Resp2), refusal);
    assert!(node.reply("MGET b c d", Protocol::Resp2).starts_with('['));
}

#[test]
fn of_long_keys_one_is_drawn() {
    let mut node = Node::new();
    node.len_max = 1_100;
    for name in ["a", "b", "c", "d", "e"] {
        node.bench_of(&name.repeat(1_000)).line(&format!("SET {} v", name.repeat(1_000)));
    }
    for _ in 0..9 {
        assert_eq!(node.reply("RANDOMKEY", Protocol::Resp2).len(), 1_000 + "\"\"".len());
        node.draw += 1;
    }
}

#[test]
fn other_commands_are_not_gathered() {
    for line in ["GET a", "MSET a 1 b 2", "SCAN 0", "PING"] {
        let args = words(line);
        let command = resolve(args.args()).unwrap();
        assert!(Gather::new(command, args.args(), Protocol::Resp2, 0, usize::MAX).is_none(), "{line}");
    }
}
