//! How long commands take from their bytes to their replies, without sockets and disk:
//! `cargo run --release -p windrow-proto --example command_speed`.
#![expect(clippy::print_stdout, clippy::disallowed_types, reason = "measuring time and printing it is what it is for")]

use std::time::Instant;

use windrow_core::{
    log::VecMemory,
    partition::{Action, Partition, PartitionConfig, RecoveredPartition},
    replication::ReplicaId,
    superblock::Superblock,
    types::{ClusterId, HashSeed, LogKey, PartitionId, PartitionMap, UnixMillis, limits::SEGMENT_LEN_DEFAULT},
};
use windrow_proto::{
    command::resolve,
    data::{Ctx, Outcome, Route, Unit, execute, route},
    limits::Limits,
    resp::{Parser, Progress},
};

const COMMANDS: usize = 1_000_000;
const KEYS: usize = 100_000;

fn main() {
    let value = "v".repeat(100);
    let mut node = Node::new();
    node.measure("SET, 100-byte value", |key| format!("*3\r\n$3\r\nSET\r\n$10\r\n{key}\r\n$100\r\n{value}\r\n"));
    node.measure("GET", |key| format!("*2\r\n$3\r\nGET\r\n$10\r\n{key}\r\n"));
    node.measure("SET with EX", |key| {
        format!("*5\r\n$3\r\nSET\r\n$10\r\n{key}\r\n$100\r\n{value}\r\n$2\r\nEX\r\n$3\r\n100\r\n")
    });
    node.measure("DEL", |key| format!("*2\r\n$3\r\nDEL\r\n$10\r\n{key}\r\n"));
    node.measure("INCR", |key| format!("*2\r\n$4\r\nINCR\r\n$10\r\n{key}\r\n"));
}

struct Node {
    partition: Partition<VecMemory>,
    ctx: Ctx,
    map: PartitionMap,
}

impl Node {
    fn new() -> Self {
        let superblock = Superblock::first(
            ClusterId([1; 16]),
            PartitionId::new(0),
            1,
            ReplicaId::new(1),
            HashSeed([2; 16]),
            LogKey::new([9; 8]),
        );
        let config = PartitionConfig { segment_len: SEGMENT_LEN_DEFAULT, segments_ahead: 1 };
        let recovered = RecoveredPartition::new(superblock, config, Vec::new()).expect("nothing to recover");
        let superblock = recovered.next_superblock().expect("epochs are left");
        let map = PartitionMap::new(1).expect("one partition");
        let mut node = Self { partition: recovered.into_writable(superblock), ctx: Ctx::new(map), map };
        node.ctx.now = UnixMillis::new(1_000_000_000_000).expect("it is in range");
        node.act();
        node.partition.start_epoch(node.ctx.now).expect("a segment is ready");
        node
    }

    fn act(&mut self) {
        while let Some(action) = self.partition.poll_action() {
            if let Action::Prepare { base, len } = action {
                let len = usize::try_from(len).expect("a segment fits into memory");
                self.partition.handle_prepared(base, VecMemory::zeroed(len));
            }
        }
        while let Some(request) = self.partition.poll_flush() {
            self.partition.handle_flushed(request.ticket);
        }
    }

    /// What a shard does with a pipeline: parse, look up, route, execute, reply.
    fn measure(&mut self, name: &str, command: impl Fn(String) -> String) {
        let pipelines: Vec<Vec<u8>> = (0..COMMANDS / 16)
            .map(|batch| {
                let keys = (0..16).map(|index| format!("key:{:06}", (batch * 16 + index) * 7919 % KEYS));
                keys.map(&command).collect::<String>().into_bytes()
            })
            .collect();
        let (mut parser, mut out, mut replies) = (Parser::new(), Vec::with_capacity(64 << 10), 0);
        let mut spent = std::time::Duration::ZERO;
        for pipeline in &pipelines {
            out.clear();
            let start = Instant::now();
            let mut rest = &pipeline[..];
            while let Ok(Progress::Complete { consumed }) = parser.parse(rest, &Limits::AUTHENTICATED) {
                let args = parser.args(rest);
                let command = resolve(args).expect("it is one");
                let Route::One { .. } = route(command, args, self.map, Unit::Partition) else { unreachable!() };
                match execute(&mut self.ctx, &mut self.partition, command, args, &mut out) {
                    Outcome::Done { .. } => rest = &rest[consumed..],
                    Outcome::Retry => self.act(),
                    other => panic!("{other:?}"),
                }
            }
            spent += start.elapsed();
            replies += out.len();
            self.act();
        }
        let ns = spent.as_secs_f64() * 1e9 / COMMANDS as f64;
        println!("{name}: {ns:.0} ns a command ({} reply bytes each)", replies / COMMANDS);
    }
}
