//! Clients: every kind of command on one partition, given to whoever says that it leads, and reads given to anybody.

use windrow_core::log::SegmentMemory;
use windrow_core::partition::Role;
use windrow_core::types::Lsn;
use windrow_proto::command::resolve;
use windrow_proto::data::{Outcome, Route, Unit, execute, route};

use super::node::Pending;
use super::{Event, World};
use crate::client::Request;
use crate::model::{Expected, Item, View, parse_reply};
use crate::mutation::Mutation;
use crate::truth::{RecordOp, offset};
use crate::world::buffered;

/// Clients of a leader that has more than this to commit wait, as a node makes them.
const BACKLOG_MAX: u64 = 256 << 10;

impl World {
    pub(super) fn client_turn(&mut self, client: usize) {
        let delay = self.around(self.swarm.think_us);
        self.schedule(delay, Event::Client { client });
        let now = 1_700_000_000_000 + self.now / 1_000;
        let request = self.generator.next(now, &mut self.rng);
        let args = buffered(&request);
        let Ok(command) = resolve(args.args()) else { return };
        let is_here = matches!(route(command, args.args(), self.map(), Unit::Partition), Route::One { .. });
        if request[0].eq_ignore_ascii_case(b"ping") || !is_here {
            return;
        }
        let is_get = request[0].eq_ignore_ascii_case(b"get") || request[0].eq_ignore_ascii_case(b"mget");
        let leaders: Vec<usize> = (0..self.nodes.len()).filter(|&at| self.may_execute(at, Role::Leader)).collect();
        if is_get && self.rng.percent(self.swarm.follower_read_percent) {
            let at = self.rng.index(self.nodes.len());
            if self.may_execute(at, Role::Follower) {
                self.execute_on(at, &request);
            }
        } else if !leaders.is_empty() {
            let at = *self.rng.pick(&leaders);
            let partition = self.nodes[at].partition();
            if partition.appended().since(partition.committed()) < BACKLOG_MAX {
                self.execute_on(at, &request);
            }
        }
    }

    fn may_execute(&self, at: usize, role: Role) -> bool {
        let node = &self.nodes[at];
        node.is_up() && node.paused_until <= self.now && node.partition().role() == role
    }

    /// Executes a command by the real code and holds the reply, and what was written, to the model.
    fn execute_on(&mut self, at: usize, request: &Request) {
        self.observe(at);
        let moment = self.nodes[at].moment(self.now);
        self.ctx.now = self.nodes[at].wall(self.now);
        self.ctx.draw = self.rng.next();
        let now = self.ctx.now;
        let leads = self.nodes[at].partition().role() == Role::Leader;
        let has_lease = self.nodes[at].protocol().may_serve_reads(moment);
        let copy = &mut self.nodes[at].copy;
        copy.state.observe(now.get());
        let engine = copy.engine();
        let _absent = engine.get(engine.hash(b""), b"", now);
        let args = buffered(request);
        let command = resolve(args.args()).expect("resolved before");
        *self.stats.commands.entry(command.name).or_insert(0) += 1;
        let before = engine.appended();
        let mut bytes = Vec::new();
        let wait = match execute(&mut self.ctx, engine, command, args.args(), &mut bytes) {
            Outcome::Done { wait } => wait,
            Outcome::Large { wait, value } => {
                let (base, memory) = engine.segment_holding(value.start).expect("a value in the log");
                let start = offset(value.start, base);
                bytes.extend_from_slice(memory.published(start..start + value.len));
                bytes.extend_from_slice(b"\r\n");
                wait
            }
            Outcome::Retry => {
                self.stats.fault("log-not-ready");
                return self.pump(at);
            }
            Outcome::Damaged(damage) => panic!("{request:?} meets {damage}, which no copy in memory has"),
            Outcome::NotData => panic!("{request:?} is no command on data"),
        };
        self.stats.operations += 1;
        self.trace.event("execute", &[at as u64, wait.get()]);
        self.trace.bytes(&bytes);
        let depends_on = self.hold_to_model(at, request, &bytes, before);
        self.check_wait(at, wait, depends_on);
        if leads && depends_on <= before && !has_lease && !self.is(Mutation::ServeWithoutLease) {
            // Nothing was written, so nothing will tell whether somebody else leads by now: no answer.
            self.stats.fault("read-without-lease");
        } else {
            if leads && depends_on <= before {
                self.check_recent(at);
            }
            self.nodes[at].pending.push_back(Pending { wait, depends_on });
        }
        if leads {
            self.appended(at);
        }
        self.pump(at);
    }

    /// Returns what the reply depends on.
    fn hold_to_model(&mut self, at: usize, request: &Request, bytes: &[u8], before: Lsn) -> Lsn {
        let copy = &mut self.nodes[at].copy;
        let new = {
            let state = std::mem::take(&mut copy.state);
            let now = self.ctx.now.get();
            let mut view = View::new(&state, now, self.swarm.commands.resp3);
            let expected = view.run(request);
            let known = copy.truth.pieces.len();
            let range = copy.observe(self.step, false, &mut self.rng);
            assert_eq!(range.start, known, "nothing else was written");
            let pieces = &copy.truth.pieces[range];
            self.stats.rolls += pieces.iter().filter(|piece| piece.is_segment_header).count() as u64;
            let mut batches = pieces.iter().filter(|piece| piece.is_batch);
            let written = batches.next().map(|piece| (piece.ops.clone(), piece.end));
            assert!(batches.next().is_none(), "a command writes one record: all or nothing");
            if bytes.starts_with(b"-ERR no space left") || bytes.starts_with(b"-ERR too large") {
                assert!(written.is_none(), "a write that is refused is written");
                copy.state = state;
                return Lsn::ZERO;
            }
            let check = |result: Result<(), String>| {
                result.unwrap_or_else(|problem| panic!("node {at}, {:?}: {problem}", crate::world::shown(request)));
            };
            check(expected.check(bytes));
            let ops = written.as_ref().map_or(&[][..], |(ops, _)| ops);
            if expected == Expected::Clear {
                assert!(ops == [RecordOp::Clear], "clearing writes {ops:?}");
            } else {
                check(view.agrees_with(ops));
            }
            let shown = match (&expected, parse_reply(bytes)) {
                (Expected::OneOf(_), Some((Item::Null, _))) => state.newest_change(),
                (Expected::OneOf(_), Some((Item::Text(key), _))) => state.depends_on(&key),
                _ => Lsn::ZERO,
            };
            let depends_on = view.depends_on.max(shown);
            copy.state = state;
            (written, depends_on)
        };
        let (written, depends_on) = new;
        let Some((ops, end)) = written else { return depends_on };
        assert!(end > before, "what is written lies behind what was there");
        copy.state.apply(&ops, end, self.step);
        depends_on.max(end)
    }

    fn check_wait(&self, at: usize, wait: Lsn, depends_on: Lsn) {
        let engine = self.nodes[at].partition();
        assert!(wait <= engine.appended(), "a reply waits for {wait}, which was never written");
        assert!(
            depends_on <= engine.committed() || wait >= depends_on,
            "node {at}: a reply waits for {wait}, but depends on {depends_on}; committed is {}",
            engine.committed()
        );
    }

    /// Lets every reply go that may.
    pub(super) fn release(&mut self, at: usize) {
        let early = self.is(Mutation::ReplyAtDurable);
        loop {
            let node = &self.nodes[at];
            let Some(partition) = &node.copy.partition else { return };
            let limit = if early { partition.durable() } else { partition.committed() };
            let Some(first) = node.pending.front().filter(|first| first.wait <= limit) else { return };
            let depends_on = first.depends_on;
            self.nodes[at].pending.pop_front();
            self.check_confirmed(at, depends_on);
            self.stats.replies += 1;
        }
    }
}
