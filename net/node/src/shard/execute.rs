//! From a connection's bytes to executed commands.

use std::time::{Duration, Instant};

use windrow_core::types::Slot;
use windrow_proto::command::{Command, Flags, Id, resolve};
use windrow_proto::data::{CROSS_SLOT, Outcome as DataOutcome, Route, execute, route};
use windrow_proto::resp::{Args, Encoder, ParseError, Parser, Progress as Parsed};

use super::ahead::{Ahead, Tail, fetch};
use super::client::{Client, Step};
use super::commands::{Effect, ServerCommands};
use super::engine::{Delayed, Engine, Place};
use super::handler::{Progress, Stop};
use super::hosted::Hosted;
use super::transaction::width;
use super::{Now, Session, UNIT};
use crate::metrics::{Outcome, Stage, index_of};
use crate::net::limits::PIPELINE_MAX;
use crate::net::{Connection, Pool, Stalled, Wait, Width};
use crate::settings::Durability;

/// Values of so many bytes or more are sent from the log instead of being copied into the reply first.
///
/// Measured on loopback, CPU time of the node for a GET: no difference up to 32 KiB, a fifth less at 64 KiB, half at
/// 256 KiB. From here on a value would have a chunk of the output for itself in any case.
pub(super) const LARGE_LEN_MIN: usize = 32 << 10;

/// A SET of so many bytes is timed by itself: from here on, reading the clock twice is lost in the copying.
const TIMED_VALUE_LEN: usize = 16 << 10;

/// After commands that took long together, each is timed by itself for so long: also those that hardly ever do.
const WATCHED_FOR: Duration = Duration::from_secs(1);

/// Whether a command hardly ever takes long by itself, so that it is not timed: two readings of the clock cost as much as it.
#[inline]
fn is_quick(command: &Command, args: Args<'_>) -> bool {
    match command.id {
        Id::Get => true,
        Id::Set => args.at(2).len() < TIMED_VALUE_LEN,
        _ => false,
    }
}

impl<S: ServerCommands> Engine<S> {
    /// Executes the commands at the start of `input`.
    pub(super) fn execute_input(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        pool: &mut Pool,
        now: Now,
    ) -> Progress {
        let started = Instant::now();
        self.arrived = started;
        self.times_all = self.watched_until.is_some_and(|until| started < until);
        let queued = started.saturating_duration_since(now.instant);
        let before = connection.session.traffic.commands;
        let progress = self.execute_all(connection, input, pool, now);
        let count = connection.session.traffic.commands - before;
        if count > 0 {
            let all_took = started.elapsed();
            if self.parts.server.slow_threshold().is_some_and(|threshold| all_took >= threshold) {
                self.watched_until = Some(started + WATCHED_FOR);
            }
            let took = all_took / u32::try_from(count).unwrap_or(u32::MAX);
            let metrics = self.parts.server.metrics();
            for (command, count) in self.counts.drain(..) {
                metrics.executed(command, Outcome::Done, took, count);
            }
            metrics.stage(Stage::Queued, queued, count);
            metrics.stage(Stage::Appended, took, count);
        }
        progress
    }

    fn execute_all(&mut self, connection: &mut Connection, input: &[u8], pool: &mut Pool, now: Now) -> Progress {
        let mut ahead = std::mem::take(&mut self.ahead);
        let mut consumed = 0;
        let stop = loop {
            // What comes after AUTH may be longer than what may come before it.
            let max = if connection.session.authenticated { usize::MAX } else { 1 };
            let limits = connection.command_limits();
            let tail = ahead.parse(&mut connection.parser, input, consumed, limits, max);
            self.fetch_ahead(&ahead, input);
            let mut stopped = None;
            for index in 0..ahead.len() {
                let Some((args, end)) = ahead.get(index, input) else { break };
                match self.one(connection, args, pool, now) {
                    Ok(()) => consumed = end,
                    Err((stop, done)) => {
                        consumed = if done { end } else { consumed };
                        stopped = Some(stop);
                        break;
                    }
                }
            }
            if let Some(stop) = stopped {
                // It may have seen more than was executed, and will see that again.
                connection.parser = Parser::new();
                break stop;
            }
            match tail {
                Tail::Partial { need } => break Stop::NeedsInput { at_least: need },
                Tail::Bad(error) => break self.bad_request(connection, error, pool, now),
                Tail::More if input.get(consumed).is_some_and(|&byte| byte != b'*') => {
                    match self.inline(connection, input, consumed, pool, now) {
                        Ok(end) => consumed = end,
                        Err((stop, end)) => {
                            consumed = end;
                            break stop;
                        }
                    }
                }
                Tail::More => {}
            }
        };
        self.ahead = ahead;
        Progress { consumed, stop }
    }

    /// Brings the memory that some commands will need nearer, all at the same time.
    fn fetch_ahead(&mut self, ahead: &Ahead, input: &[u8]) {
        if ahead.len() < 2 {
            return;
        }
        for (at, hosted) in self.parts.hosted.iter().enumerate() {
            self.hashes.clear();
            for index in 0..ahead.len() {
                let Some((args, _)) = ahead.get(index, input) else { break };
                let keyed = matches!(args.at(0), [b'g' | b'G', b'e' | b'E', _] | [b's' | b'S', b'e' | b'E', _]);
                if keyed && self.parts.places.len() == 1 {
                    self.hashes.push(hosted.partition.hash(args.at(1)));
                } else if keyed {
                    let partition = self.parts.map.partition_of(Slot::of(args.at(1)));
                    if self.place(partition) == Place::Here(at) {
                        self.hashes.push(hosted.partition.hash(args.at(1)));
                    }
                }
            }
            fetch(&hosted.partition, &self.hashes, &mut self.records);
        }
    }

    /// One command. An error says why to stop, and whether the command is done with.
    #[inline]
    fn one(
        &mut self,
        connection: &mut Connection,
        args: Args<'_>,
        pool: &mut Pool,
        now: Now,
    ) -> Result<(), (Stop, bool)> {
        let full = connection.output.replies() >= PIPELINE_MAX
            || !connection.output.has_room(Width::Narrow)
            || connection.output_len() >= self.output_len_full;
        if full {
            connection.stalled = Some(Stalled::Replies);
            return Err((Stop::Stalled, false));
        }
        if args.is_empty() {
            return Ok(());
        }
        let Connection { id, session, output, stalled, .. } = connection;
        let mode = session.reply_mode;
        let mut client = Client { id: *id, session, output, pool, now, mode };
        match self.command(&mut client, args) {
            Step::Next => Ok(()),
            Step::Close => Err((Stop::Close, true)),
            step @ (Step::Wait | Step::Again | Step::Full) => {
                *stalled = Some(if step == Step::Full { Stalled::Replies } else { Stalled::Command });
                Err((Stop::Stalled, step == Step::Wait))
            }
        }
    }

    /// A command without array framing, at `start` of `input`. Returns where it ends.
    fn inline(
        &mut self,
        connection: &mut Connection,
        input: &[u8],
        start: usize,
        pool: &mut Pool,
        now: Now,
    ) -> Result<usize, (Stop, usize)> {
        let rest = &input[start..];
        let limits = connection.command_limits();
        // Taken out, because the arguments of such a command lie in the parser.
        let mut parser = std::mem::take(&mut connection.parser);
        let result = match parser.parse(rest, limits) {
            Ok(Parsed::Complete { consumed }) => {
                let result = self.one(connection, parser.args(rest), pool, now);
                result
                    .map(|()| start + consumed)
                    .map_err(|(stop, done)| (stop, start + if done { consumed } else { 0 }))
            }
            Ok(Parsed::Incomplete { need }) => Err((Stop::NeedsInput { at_least: need }, start)),
            Err(error) => Err((self.bad_request(connection, error, pool, now), start)),
        };
        connection.parser = parser;
        result
    }

    fn bad_request(&mut self, connection: &mut Connection, error: ParseError, pool: &mut Pool, now: Now) -> Stop {
        self.parts.server.metrics().counters().protocol_errors.increment();
        let Connection { id, session, output, .. } = connection;
        let mode = session.reply_mode;
        let mut client = Client { id: *id, session, output, pool, now, mode };
        client.reply(|encoder| encoder.error_fmt(format_args!("ERR {error}")));
        Stop::Close
    }

    #[inline]
    fn command(&mut self, client: &mut Client<'_>, args: Args<'_>) -> Step {
        let command = match resolve(args) {
            Ok(command) => command,
            Err(error) => {
                if let Some(transaction) = client.session.transaction.as_deref_mut() {
                    transaction.broken |= transaction.open;
                }
                self.parts.server.metrics().error_reply(b"ERR");
                return client.reply(|encoder| error.write(args, encoder));
            }
        };
        let step = if !client.session.authenticated && !command.flags.has(Flags::NO_AUTH) {
            self.parts.server.metrics().error_reply(b"NOAUTH");
            client.reply(|encoder| encoder.error("NOAUTH Authentication required."))
        } else if client.session.in_multi() && !ends_multi(command) {
            self.queue(client, command, args)
        } else if !self.times_all && is_quick(command, args) {
            self.data_or_server(client, command, args)
        } else {
            self.timed(client, command, args)
        };
        if step.is_done() {
            client.session.last_command = command.name;
            client.session.traffic.commands += 1;
            self.count(command);
        }
        step
    }

    /// A command that may take long, and so is timed by itself.
    fn timed(&mut self, client: &mut Client<'_>, command: &'static Command, args: Args<'_>) -> Step {
        let Some(threshold) = self.parts.server.slow_threshold() else {
            return self.data_or_server(client, command, args);
        };
        let started = Instant::now();
        let step = self.data_or_server(client, command, args);
        let took = started.elapsed();
        if took >= threshold && took > Duration::ZERO && step.is_done() {
            self.parts.server.slow(client.now, client.session, args, took);
        }
        step
    }

    fn count(&mut self, command: &'static Command) {
        let index = index_of(command);
        match self.counts.iter_mut().find(|(known, _)| *known == index) {
            Some((_, count)) => *count += 1,
            None => self.counts.push((index, 1)),
        }
    }

    #[inline]
    pub(super) fn data_or_server(
        &mut self,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Step {
        match command.id {
            Id::Multi | Id::Exec | Id::Discard | Id::Watch | Id::Unwatch => {
                return self.transaction_command(client, command, args);
            }
            _ => {}
        }
        match route(command, args, self.parts.map, UNIT) {
            Route::One { partition, slot } => match self.parts.places[usize::from(partition.get())] {
                Place::Here(at) => self.run_here(at, slot, client, command, args),
                Place::There(core) => self.run_there(core, partition, slot, client, command, args),
            },
            Route::AnyNode => self.run_server(client, command, args),
            Route::Split | Route::All if !client.output.has_room(width(command, args)) => Step::Full,
            Route::Split => self.run_split(client, command, args),
            Route::All => self.run_all(client, command, args),
            Route::Cross => {
                self.parts.server.metrics().error_reply(b"CROSSSLOT");
                client.reply(|encoder| encoder.error(CROSS_SLOT))
            }
        }
    }

    /// A data command on a partition of this core. The hot path.
    #[inline]
    fn run_here(
        &mut self,
        at: usize,
        slot: Option<Slot>,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Step {
        if self.must_wait(at, client.id) {
            return Step::Again;
        }
        if !self.parts.hosted[at].role.is_open()
            && let Err(step) = self.admit_client(at, command.flags.has(Flags::WRITE), slot, client)
        {
            return step;
        }
        if self.parts.hosted[at].partition.has_doubted() {
            self.hash_keys(at, command, args);
            if self.leads_to_doubted(at) {
                if self.fetch_for(at, client) {
                    return Step::Again;
                }
                if let Some(damage) = self.damage(at) {
                    return client.reply(|encoder| self.say_damage(at, &damage, encoder));
                }
            }
        }
        let durability = self.durability(client.session);
        let hosted = &mut self.parts.hosted[at];
        self.ctx.now = client.now.unix;
        self.ctx.protocol = client.session.protocol;
        self.ctx.large_len_min = LARGE_LEN_MIN;
        let before = hosted.partition.appended();
        let (buffer, start) = client.begin();
        match execute(&mut self.ctx, &mut hosted.partition, command, args, buffer) {
            DataOutcome::Done { wait } => {
                hosted.note_append(before);
                self.parts.server.metrics().reply(command, args.len(), &buffer[start..]);
                client.finish(start, wait_for(hosted, wait, durability));
                Step::Next
            }
            DataOutcome::Damaged(damage) => {
                hosted.rot.note(&damage);
                self.parts.server.metrics().reply(command, args.len(), &buffer[start..]);
                client.finish(start, Wait::Ready);
                Step::Next
            }
            DataOutcome::Retry => {
                hosted.stall(client.id);
                Step::Again
            }
            DataOutcome::NotData => self.run_server(client, command, args),
            DataOutcome::Large { wait, value } => {
                self.parts.server.metrics().reply(command, args.len(), &buffer[start..]);
                let wait = wait_for(hosted, wait, durability);
                client.finish_with(start, hosted.pin(value), wait);
                Step::Next
            }
        }
    }

    /// When this client's replies may go out.
    pub(super) fn durability(&self, session: &Session) -> Durability {
        session.durability.unwrap_or(self.policy.durability)
    }

    /// A connection or server command.
    pub(super) fn run_server(&mut self, client: &mut Client<'_>, command: &'static Command, args: Args<'_>) -> Step {
        if command.id == Id::Reset {
            client.session.transaction = None;
        }
        let now = client.now;
        let buffer = client.output.begin(client.pool, now.instant);
        let start = buffer.len();
        let effect = self.parts.server.execute(now, client.session, command, args, buffer);
        match effect {
            Effect::Reply | Effect::Close | Effect::Shutdown => {
                self.parts.server.metrics().reply(command, args.len(), &buffer[start..]);
                client.finish(start, Wait::Ready);
                if matches!(effect, Effect::Shutdown) {
                    self.parts.common.stop();
                }
                if matches!(effect, Effect::Reply) { Step::Next } else { Step::Close }
            }
            Effect::EveryCore(everywhere) => {
                buffer.truncate(start);
                self.ask_every_core(client, everywhere);
                Step::Wait
            }
            Effect::WhenDurable => {
                let reply = buffer.split_off(start);
                self.ask_for_flushes(client, reply);
                Step::Next
            }
            Effect::WhenReplicated(wait) => {
                buffer.truncate(start);
                self.ask_for_replicas(client, wait);
                Step::Wait
            }
            Effect::After(delay) => {
                self.parts.server.metrics().reply(command, args.len(), &buffer[start..]);
                let reply = buffer.split_off(start);
                let (ticket, silent) = client.expect();
                let reply = if silent { Vec::new() } else { reply };
                let at = now.instant + delay;
                self.delayed.push(Delayed { at, conn: client.id, ticket, reply });
                self.delayed_due = Some(self.delayed_due.map_or(at, |due| due.min(at)));
                self.parts.server.metrics().counters().clients_blocked.set(self.delayed.len() as u64);
                // What follows waits, too: else wrong passwords could be sent all at once.
                Step::Wait
            }
        }
    }
}

/// Whether a command is executed inside `MULTI` instead of being queued.
fn ends_multi(command: &Command) -> bool {
    matches!(command.id, Id::Exec | Id::Discard | Id::Multi | Id::Watch | Id::Quit | Id::Reset)
}

/// What a reply waits for.
#[inline]
pub(super) fn wait_for(hosted: &mut Hosted, end: windrow_core::types::Lsn, durability: Durability) -> Wait {
    // A follower shows nothing that its leader might lose.
    let at_once = durability == Durability::Memory && hosted.role.is_leader();
    if end <= hosted.partition.committed() {
        return Wait::Ready;
    }
    if at_once {
        hosted.want_written_out();
        return Wait::Ready;
    }
    // Also where the node itself would let the flush wait.
    hosted.want_flush();
    Wait::Commit { partition: hosted.id, end, submitted: hosted.partition.submitted() }
}

/// Writes a reply into a buffer of its own.
pub(super) fn reply_with(
    protocol: windrow_proto::resp::Protocol,
    mut buffer: Vec<u8>,
    write: impl FnOnce(&mut Encoder<'_>),
) -> Vec<u8> {
    write(&mut Encoder::new(&mut buffer, protocol));
    buffer
}
