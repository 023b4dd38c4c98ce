//! A partition over plain memory, commands as typed lines, replies as short texts.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use windrow_core::{
    log::{PrepareFailure, SegmentMemory, VecMemory},
    partition::{Action, Partition, PartitionConfig, RecoveredPartition},
    replication::ReplicaId,
    superblock::Superblock,
    types::{ClusterId, HashSeed, LogKey, Lsn, PartitionId, PartitionMap, UnixMillis},
};

use crate::{
    command::{Command, resolve},
    data::{Ctx, LogRange, Outcome, Version, execute, execute_transaction, version},
    limits::Limits,
    resp::{ArgsBuf, Parser, Progress},
};

/// Small enough for commands to be caught by the end of a segment all the time.
pub(super) const SEGMENT_LEN: u64 = 64 << 10;

pub(super) struct Bench {
    pub(super) partition: Partition<VecMemory>,
    pub(super) ctx: Ctx,
    /// Segments are refused: the disk is full.
    pub(super) full: bool,
    /// Or what else it is.
    pub(super) failure: PrepareFailure,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::of(0, 1, SEGMENT_LEN)
    }

    pub(super) fn of(number: u16, count: u16, segment_len: u64) -> Self {
        let superblock = Superblock::first(
            ClusterId([1; 16]),
            PartitionId::new(number),
            count,
            ReplicaId::new(1),
            HashSeed([2; 16]),
            LogKey::new([9; 8]),
        );
        let config = PartitionConfig { segment_len, segments_ahead: 1 };
        let recovered = RecoveredPartition::<VecMemory>::new(superblock, config, Vec::new()).unwrap();
        let superblock = recovered.next_superblock().unwrap();
        let mut ctx = Ctx::new(PartitionMap::new(count).unwrap());
        ctx.now = UnixMillis::new(1_000_000_000_000).unwrap();
        let mut bench =
            Self { partition: recovered.into_writable(superblock), ctx, full: false, failure: PrepareFailure::NoSpace };
        bench.act();
        bench.partition.start_epoch(bench.ctx.now).unwrap();
        bench.flush();
        bench
    }

    pub(super) fn act(&mut self) {
        self.partition.handle_tick(self.ctx.now);
        while let Some(action) = self.partition.poll_action() {
            match action {
                Action::Prepare { base, .. } if self.full => {
                    self.partition.handle_prepare_failed(base, self.failure);
                    return;
                }
                Action::Prepare { base, len } => {
                    self.partition.handle_prepared(base, VecMemory::zeroed(usize::try_from(len).unwrap()));
                }
                Action::WriteSuperblock(superblock) => {
                    self.partition.handle_superblock_written(superblock.generation);
                }
            }
        }
    }

    pub(super) fn flush(&mut self) {
        while let Some(request) = self.partition.poll_flush() {
            self.partition.handle_flushed(request.ticket);
        }
    }

    pub(super) fn advance(&mut self, millis: u64) {
        self.ctx.now = UnixMillis::new(self.ctx.now.get() + millis).unwrap();
    }

    /// Executes a line without preparing or flushing anything; the reply as bytes.
    pub(super) fn try_line(&mut self, text: &str) -> (Outcome, Vec<u8>) {
        let line = words(text);
        let command = match resolve(line.args()) {
            Ok(command) => command,
            Err(error) => panic!("{text:?} is no command: {error:?}"),
        };
        let mut out = b"before".to_vec();
        let outcome = execute(&mut self.ctx, &mut self.partition, command, line.args(), &mut out);
        assert_eq!(&out[..6], b"before");
        (outcome, out.split_off(6))
    }

    /// Executes a line as a node would, however often that takes; the reply as bytes.
    pub(super) fn line(&mut self, text: &str) -> Vec<u8> {
        for _ in 0..3 {
            let before = self.partition.appended();
            let (outcome, mut out) = self.try_line(text);
            match outcome {
                Outcome::Done { wait } => {
                    self.settle(wait);
                    return out;
                }
                Outcome::Large { wait, value } => {
                    self.settle(wait);
                    out.extend_from_slice(self.range(value));
                    out.extend_from_slice(b"\r\n");
                    return out;
                }
                Outcome::Retry => {
                    assert!(out.is_empty(), "nothing is written by what is to be run again");
                    assert_eq!(self.partition.appended(), before, "nothing is done by what is to be run again");
                    self.act();
                }
                Outcome::Damaged(damage) => panic!("{text:?} meets {damage}"),
                Outcome::NotData => panic!("{text:?} is not about data"),
            }
        }
        panic!("{text:?} never finds a segment");
    }

    fn settle(&mut self, wait: Lsn) {
        assert!(wait <= self.partition.appended(), "nothing waits for what was never written");
        self.flush();
        assert!(wait <= self.partition.committed());
    }

    pub(super) fn range(&self, range: LogRange) -> &[u8] {
        let (base, memory) = self.partition.segment_holding(range.start).unwrap();
        let start = usize::try_from(range.start.since(base)).unwrap();
        memory.published(start..start + range.len)
    }

    pub(super) fn reply(&mut self, text: &str) -> String {
        shown(&self.line(text))
    }

    pub(super) fn watch(&self, key: &str) -> (Vec<u8>, Version) {
        (key.as_bytes().to_vec(), version(&self.partition, key.as_bytes(), self.ctx.now).0)
    }

    /// Executes lines as one transaction; ping is the one command that is not about data.
    pub(super) fn try_transaction(&mut self, watched: &[(Vec<u8>, Version)], lines: &[&str]) -> (Outcome, Vec<u8>) {
        let lines: Vec<ArgsBuf> = lines.iter().map(|line| words(line)).collect();
        let commands: Vec<&'static Command> = lines.iter().map(|line| resolve(line.args()).unwrap()).collect();
        let mut out = b"before".to_vec();
        let outcome = execute_transaction(
            &mut self.ctx,
            &mut self.partition,
            watched.iter().map(|(key, version)| (&key[..], *version)),
            commands.iter().copied().zip(lines.iter().map(ArgsBuf::args)).collect::<Vec<_>>().into_iter(),
            &mut |command, _, encoder| {
                assert_eq!(command.name, "ping");
                encoder.simple("PONG");
            },
            &mut out,
        );
        assert_eq!(&out[..6], b"before");
        (outcome, out.split_off(6))
    }

    pub(super) fn transaction(&mut self, watched: &[(Vec<u8>, Version)], lines: &[&str]) -> String {
        for _ in 0..3 {
            match self.try_transaction(watched, lines) {
                (Outcome::Done { wait }, out) => {
                    self.settle(wait);
                    return shown(&out);
                }
                (Outcome::Retry, out) => {
                    assert!(out.is_empty());
                    self.act();
                }
                (outcome, _) => panic!("a transaction ends with {outcome:?}"),
            }
        }
        panic!("a transaction never finds a segment");
    }

    /// Runs a script: `command -> reply` in each line; `+ n` lets n milliseconds pass; `#` starts a comment.
    pub(super) fn script(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(millis) = line.strip_prefix("+ ") {
                self.advance(millis.parse().unwrap());
                continue;
            }
            let (command, expected) = line.split_once(" -> ").unwrap_or_else(|| panic!("no reply in {line:?}"));
            assert_eq!(self.reply(command), expected, "{command}");
        }
    }
}

/// A typed line as arguments.
pub(super) fn words(text: &str) -> ArgsBuf {
    let line = format!("{text}\r\n");
    let mut parser = Parser::new();
    let parsed = parser.parse(line.as_bytes(), &Limits::AUTHENTICATED);
    assert!(matches!(parsed, Ok(Progress::Complete { .. })), "{text:?}");
    ArgsBuf::copied(parser.args(line.as_bytes()))
}

/// A reply, and nothing else, in short: `OK`, `:1`, `"bulk"`, `nil`, `[…]`, `-ERR …`.
pub(super) fn shown(reply: &[u8]) -> String {
    let (text, rest) = one(reply);
    assert!(rest.is_empty(), "{text} is followed by {:?}", rest.escape_ascii().to_string());
    text
}

fn one(reply: &[u8]) -> (String, &[u8]) {
    let end = reply.windows(2).position(|pair| pair == b"\r\n").expect("a line ends");
    let (line, mut rest) = (core::str::from_utf8(&reply[1..end]).expect("a line is text"), &reply[end + 2..]);
    let count = || line.parse::<usize>().expect("a length");
    let text = match reply[0] {
        b'+' => line.to_string(),
        b'-' => format!("-{line}"),
        b':' => format!(":{line}"),
        b'_' => "nil".to_string(),
        b'$' | b'*' if line == "-1" => "nil".to_string(),
        b'$' => {
            let (bulk, tail) = rest.split_at(count());
            rest = tail.strip_prefix(b"\r\n").expect("a bulk string ends");
            format!("\"{}\"", bulk.escape_ascii())
        }
        kind @ (b'*' | b'%') => {
            let mut items = Vec::new();
            for _ in 0..count() * if kind == b'%' { 2 } else { 1 } {
                let (item, tail) = one(rest);
                items.push(item);
                rest = tail;
            }
            format!("[{}]", items.join(", "))
        }
        other => panic!("what is {:?}", char::from(other)),
    };
    (text, rest)
}
