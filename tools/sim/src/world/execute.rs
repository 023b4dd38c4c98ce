//! Commands: parsed, executed by the real code, and held to the model.

use windrow_core::types::Lsn;
use windrow_proto::command::resolve;
use windrow_proto::data::{CROSS_SLOT, Outcome, Route, Unit, execute, route};
use windrow_proto::limits::Limits;
use windrow_proto::resp::{Encoder, Progress, Protocol};

use super::World;
use super::connection::{Reply, buffered};
use crate::client::Request;
use crate::model::{Expected, Item, View, parse_reply};
use crate::mutation::Mutation;
use crate::truth::{RecordOp, offset};

/// Commands that one connection may have executed before another one's turn.
const TURN: usize = 8;

/// What a command came to on one replica.
pub(super) struct Executed {
    pub(super) bytes: Vec<u8>,
    pub(super) wait: Lsn,
    pub(super) depends_on: Lsn,
}

/// What has been written by a command.
pub(super) struct Written {
    pub(super) ops: Vec<RecordOp>,
    pub(super) end: Lsn,
}

impl World {
    pub(super) fn run_connection(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.awake = false;
        for _ in 0..TURN {
            if !self.connections.contains_key(&id) || !self.running {
                return;
            }
            let Some(request) = self.next_request(id) else {
                self.release();
                return;
            };
            if !self.perform(id, request) {
                let connection = self.connections.get_mut(&id).expect("checked above");
                connection.stalled = true;
                self.stats.fault("log-not-ready");
                self.release();
                (0..self.replicas.len()).for_each(|at| self.pump(at));
                return;
            }
        }
        self.release();
        self.wake(id);
    }

    fn next_request(&mut self, id: u64) -> Option<Request> {
        let connection = self.connections.get_mut(&id)?;
        if let Some(parts) = &connection.parts {
            return Some(parts.args.clone());
        }
        if let Some(again) = connection.again.take() {
            return Some(again);
        }
        match connection.parser.parse(&connection.input, &Limits::AUTHENTICATED) {
            Err(error) => panic!("what a client sends is refused: {error}"),
            Ok(Progress::Incomplete { need }) => {
                assert!(need > connection.input.len(), "more bytes are needed than there are");
                None
            }
            Ok(Progress::Complete { consumed }) => {
                let args = connection.parser.args(&connection.input);
                let request = args.from(0).map(<[u8]>::to_vec).collect();
                connection.input.drain(..consumed);
                Some(request)
            }
        }
    }

    /// Executes a command, or the next part of it. `false`: the log is not ready, try again later.
    fn perform(&mut self, id: u64, request: Request) -> bool {
        if self.connections[&id].parts.is_some() {
            return self.perform_part(id);
        }
        let name = request[0].to_ascii_lowercase();
        if let Some(done) = self.perform_transaction(id, &name, &request) {
            if !done {
                self.keep_for_later(id, request);
            }
            return done;
        }
        if name == b"ping" {
            self.answer(id, &request, reply_now(b"+PONG\r\n"));
            return true;
        }
        let args = buffered(&request);
        let Ok(command) = resolve(args.args()) else {
            self.answer(id, &request, refusal(&request));
            return true;
        };
        *self.stats.commands.entry(command.name).or_insert(0) += 1;
        match route(command, args.args(), self.map(), Unit::Partition) {
            Route::One { partition, .. } => {
                let at = usize::from(partition.get());
                let Some(done) = self.execute_on(at, &request) else {
                    self.keep_for_later(id, request);
                    return false;
                };
                let reply =
                    Reply { bytes: done.bytes, waits: vec![(at, done.wait)], depends_on: vec![(at, done.depends_on)] };
                self.answer(id, &request, reply);
                self.pump(at);
                true
            }
            Route::Split | Route::All => self.begin_parts(id, request),
            Route::Cross => {
                self.answer(id, &request, reply_now(format!("-{CROSS_SLOT}\r\n").as_bytes()));
                true
            }
            Route::AnyNode => panic!("{request:?} is no command on data"),
        }
    }

    pub(super) const fn map(&self) -> windrow_core::types::PartitionMap {
        match windrow_core::types::PartitionMap::new(self.swarm.partitions) {
            Some(map) => map,
            None => panic!("a few partitions"),
        }
    }

    fn keep_for_later(&mut self, id: u64, request: Request) {
        if self.is(Mutation::AnswerRetryTwice) {
            self.answer(id, &request, reply_now(b"+OK\r\n"));
        }
        self.connections.get_mut(&id).expect("it asked").again = Some(request);
    }

    pub(super) fn answer(&mut self, id: u64, request: &Request, mut reply: Reply) {
        self.stats.operations += 1;
        self.trace.event("answer", &[id, reply.waits.iter().map(|(_, lsn)| lsn.get()).max().unwrap_or(0)]);
        self.trace.bytes(&reply.bytes);
        self.trace.note(|| format!("{:?} -> {}", shown(request), reply.bytes.escape_ascii()));
        if self.is(Mutation::AbsenceDoesNotWait) && [&b"$-1\r\n"[..], b"_\r\n", b":0\r\n"].contains(&&reply.bytes[..]) {
            reply.waits.clear();
        }
        let connection = self.connections.get_mut(&id).expect("it asked");
        self.clients[connection.client].executed(request, &reply.bytes);
        connection.output.push_back(reply);
    }

    /// Executes a command on one replica and holds the reply, and what was written, to the model.
    pub(super) fn execute_on(&mut self, at: usize, request: &Request) -> Option<Executed> {
        self.begin_command(at);
        let args = buffered(request);
        let command = resolve(args.args()).expect("resolved before");
        let mut out = b"before".to_vec();
        let outcome = execute(&mut self.ctx, self.replicas[at].engine(), command, args.args(), &mut out);
        let mut bytes = out.split_off(6);
        assert_eq!(out, b"before", "replies are added to what is there");
        let wait = match outcome {
            Outcome::Done { wait } => wait,
            Outcome::Large { wait, value } => {
                let (base, memory) =
                    self.replicas[at].engine().segment_holding(value.start).expect("a value in the log");
                let start = offset(value.start, base);
                bytes.extend_from_slice(windrow_core::log::SegmentMemory::published(memory, start..start + value.len));
                bytes.extend_from_slice(b"\r\n");
                wait
            }
            Outcome::Retry => {
                assert!(bytes.is_empty(), "what is to be run again writes nothing");
                assert!(self.end_command(at).is_none(), "what is to be run again does nothing");
                return None;
            }
            Outcome::Damaged(damage) => panic!("{request:?} meets {damage}, which no copy in memory has"),
            Outcome::NotData => panic!("{request:?} is no command on data"),
        };
        let written = self.end_command(at);
        let resp3 = self.swarm.resp3;
        let replica = &self.replicas[at];
        let mut view = View::new(&replica.state, self.ctx.now.get(), resp3);
        let expected = view.run(request);
        let is_right = |check: Result<(), String>| {
            check.unwrap_or_else(|problem| panic!("{:?}: {problem}", shown(request)));
        };
        if self.refused(at, &bytes, &written, &view) {
            return Some(Executed { bytes, wait, depends_on: Lsn::ZERO });
        }
        is_right(expected.check(&bytes));
        let ops = written.as_ref().map_or(&[][..], |written| &written.ops);
        if expected == Expected::Clear {
            assert!(ops == [RecordOp::Clear], "clearing writes {ops:?}");
        } else {
            is_right(view.agrees_with(ops));
        }
        let depends_on = view.depends_on.max(self.shown_by(at, &expected, &bytes));
        self.check_settled(at, wait, view.expired_at);
        let depends_on = self.apply(at, written, depends_on);
        self.check_wait(at, wait, depends_on, request);
        Some(Executed { bytes, wait, depends_on })
    }

    /// Whatever happens next is one step, at one moment.
    pub(super) fn begin_command(&mut self, at: usize) {
        self.step += 1;
        self.ctx.now = self.now();
        self.ctx.draw = self.rng.next();
        let replica = &mut self.replicas[at];
        replica.state.observe(self.ctx.now.get());
        // A command that is refused does not tell the engine what time it is.
        let engine = replica.engine();
        let _absent = engine.get(engine.hash(b""), b"", self.ctx.now);
    }

    /// Takes in what the command has written: one record at most.
    pub(super) fn end_command(&mut self, at: usize) -> Option<Written> {
        let amid = self.swarm.write_back_us.is_some() && self.rng.percent(5);
        let replica = &mut self.replicas[at];
        let new = replica.observe(self.step, amid, &mut self.rng);
        let pieces = &replica.truth.pieces[new];
        self.stats.rolls += pieces.iter().filter(|piece| piece.is_segment_header).count() as u64;
        let mut batches = pieces.iter().filter(|piece| piece.is_batch);
        let written = batches.next().map(|piece| Written { ops: piece.ops.clone(), end: piece.end });
        assert!(batches.next().is_none(), "a command writes one record: all or nothing");
        written
    }

    /// Whether a command was refused for want of room, which must then be so.
    pub(super) fn refused(&self, at: usize, reply: &[u8], written: &Option<Written>, view: &View<'_>) -> bool {
        let replica = &self.replicas[at];
        let engine = replica.partition.as_ref().expect("the process runs");
        if reply.starts_with(b"-ERR no space left") {
            assert!(engine.prepare_failure().is_some(), "a write is refused for want of room that there is");
        } else if reply.starts_with(b"-ERR too large") {
            let sizes = view.changes.iter().map(|(key, value)| {
                key.len() + value.as_ref().map_or(0, |value| value.bytes.len()) + 2 * windrow_core::codec::OP_LEN
            });
            let size = sizes.sum::<usize>() + 512;
            assert!(size as u64 > replica.config.segment_len, "a write of {size} bytes is too large");
        } else {
            return false;
        }
        assert!(written.is_none(), "a write that is refused is written");
        true
    }

    pub(super) fn apply(&mut self, at: usize, written: Option<Written>, depends_on: Lsn) -> Lsn {
        let Some(written) = written else { return depends_on };
        self.replicas[at].state.apply(&written.ops, written.end, self.step);
        depends_on.max(written.end)
    }

    /// What a reply depends on whose content the engine chose.
    fn shown_by(&self, at: usize, expected: &Expected, reply: &[u8]) -> Lsn {
        let state = &self.replicas[at].state;
        let keys = match (expected, parse_reply(reply)) {
            (Expected::OneOf(_), Some((Item::Null, _))) => return state.newest_change(),
            (Expected::OneOf(_), Some((Item::Text(key), _))) => vec![Item::Text(key)],
            (Expected::ScanOf(_), Some((Item::Array(items), _))) => match items.into_iter().nth(1) {
                Some(Item::Array(keys)) => keys,
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        let each = keys.iter().map(|key| if let Item::Text(key) = key { state.depends_on(key) } else { Lsn::ZERO });
        each.max().unwrap_or(Lsn::ZERO)
    }

    /// What a reply shows to have expired must have expired for every start to come: the log says so by what the reply waits
    /// for. Where there is no room, nothing can be logged.
    pub(super) fn check_settled(&self, at: usize, wait: Lsn, expired_at: u64) {
        let replica = &self.replicas[at];
        let engine = replica.partition.as_ref().expect("the process runs");
        if expired_at == 0 || engine.prepare_failure().is_some() {
            return;
        }
        let limit = wait.max(engine.committed());
        let logged = replica.truth.pieces.iter().rev().find(|piece| piece.end <= limit && piece.time > 0);
        let time = logged.map_or(0, |piece| piece.time);
        assert!(time >= expired_at, "a key is shown to have expired at {expired_at}, the log is at {time} by {limit}");
    }

    /// The engine's word on what a reply waits for must cover what it shows.
    pub(super) fn check_wait(&self, at: usize, wait: Lsn, depends_on: Lsn, request: &Request) {
        let engine = self.replicas[at].partition.as_ref().expect("the process runs");
        assert!(wait <= engine.appended(), "{:?} waits for {wait}, which was never written", shown(request));
        assert!(
            depends_on <= engine.committed() || wait >= depends_on,
            "{:?} waits for {wait}, but depends on {depends_on}; committed is {}",
            shown(request),
            engine.committed()
        );
    }
}

/// What is answered to a command that there is not, or that is not called like this.
pub(super) fn refusal(request: &Request) -> Reply {
    let args = buffered(request);
    let mut bytes = Vec::new();
    match resolve(args.args()) {
        Ok(command) => panic!("{} is refused", command.name),
        Err(error) => error.write(args.args(), &mut Encoder::new(&mut bytes, Protocol::Resp2)),
    }
    assert!(bytes.starts_with(b"-ERR ") && bytes.ends_with(b"\r\n"), "an error: {}", bytes.escape_ascii());
    reply_now(&bytes)
}

/// A reply that waits for nothing.
pub(super) fn reply_now(bytes: &[u8]) -> Reply {
    Reply { bytes: bytes.to_vec(), waits: Vec::new(), depends_on: Vec::new() }
}

pub(crate) fn shown(request: &Request) -> Vec<String> {
    request.iter().map(|arg| arg[..arg.len().min(40)].escape_ascii().to_string()).collect()
}

/// Replies to the one command in transactions that is not about data.
pub(super) fn pong(encoder: &mut Encoder<'_>) {
    encoder.simple("PONG");
}
