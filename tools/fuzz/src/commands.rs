//! A client that sends anything: no panic, exactly one well-formed reply for each command, nothing that waits for
//! what was never written, and a transaction of the same commands answers them, too.
use crate::node::{Node, now};
use redis_protocol::resp3::decode::complete::decode;
use windrow_core::{
    partition::PartitionConfig,
    types::{Lsn, PartitionMap},
};
use windrow_proto::{
    command::{Command, resolve},
    data::{Ctx, Outcome, Unit, execute, execute_transaction, route},
    limits::Limits,
    resp::{ArgsBuf, Parser, Progress, Protocol},
};

const CONFIG: PartitionConfig = PartitionConfig { segment_len: 64 << 10, segments_ahead: 1 };

/// Tries one input.
pub fn commands(data: &[u8]) {
    let map = PartitionMap::new(1).expect("one partition");
    let mut node = Node::new(CONFIG);
    let mut ctx = Ctx::new(map);
    ctx.now = now();
    ctx.protocol = Protocol::Resp3;
    let mut parser = Parser::new();
    let mut rest = data;
    let mut lines: Vec<(&'static Command, ArgsBuf)> = Vec::new();
    while let Ok(Progress::Complete { consumed }) = parser.parse(rest, &Limits::AUTHENTICATED) {
        let args = parser.args(rest);
        rest = &rest[consumed..];
        if let Ok(command) = resolve(args) {
            let _ = route(command, args, map, Unit::Slot);
            lines.push((command, ArgsBuf::copied(args)));
        }
    }
    for (command, args) in &lines {
        run(&mut node, |node, out| execute(&mut ctx, &mut node.partition, command, args.args(), out));
    }
    run(&mut node, |node, out| {
        let commands = lines.iter().map(|(command, args)| (*command, args.args()));
        let other = &mut |_, _, encoder: &mut windrow_proto::resp::Encoder<'_>| encoder.ok();
        execute_transaction(&mut ctx, &mut node.partition, [], commands, other, out)
    });
}

fn run(node: &mut Node, mut execute: impl FnMut(&mut Node, &mut Vec<u8>) -> Outcome) {
    let mut out = Vec::new();
    for _ in 0..3 {
        match execute(node, &mut out) {
            Outcome::Done { wait } => {
                check_reply(&out);
                return check_wait(node, wait);
            }
            Outcome::Large { wait, .. } => return check_wait(node, wait),
            Outcome::Damaged(damage) => panic!("nothing is ever damaged here: {damage}"),
            Outcome::NotData => return assert!(out.is_empty()),
            Outcome::Retry => {
                assert!(out.is_empty());
                node.act();
            }
        }
    }
    panic!("a command never finds a segment");
}

fn check_wait(node: &mut Node, wait: Lsn) {
    node.flush();
    assert!(wait <= node.partition.committed());
}

fn check_reply(out: &[u8]) {
    // An error may quote bytes of the client that are no text, which the decoder wants.
    if out.first() == Some(&b'-') {
        assert!(out.ends_with(b"\r\n") && !out[..out.len() - 2].contains(&b'\n'));
        return;
    }
    match decode(out) {
        Ok(Some((_, consumed))) => assert_eq!(consumed, out.len()),
        other => assert!(contains_error(out), "{other:?} in {}", out.escape_ascii()),
    }
}

fn contains_error(out: &[u8]) -> bool {
    out.windows(4).any(|bytes| bytes == b"-ERR")
}
