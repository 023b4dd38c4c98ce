//! What is done on a partition for somebody who waits elsewhere: another core, or a gathering.

use std::time::Instant;

use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::command::Flags;
use windrow_proto::data::{Outcome as DataOutcome, execute, execute_transaction, version};
use windrow_proto::resp::{ArgsBuf, Encoder};

use super::Now;
use super::client::Client;
use super::commands::ServerCommands;
use super::engine::{Engine, Place};
use super::execute::{LARGE_LEN_MIN, wait_for};
use super::held::Told;
use super::hosted::Hosted;
use super::work::{Answer, Asker, Errand, Outcome, Package, Purpose, What};
use crate::net::Wait;
use crate::settings::Durability;

/// How an errand ended.
enum Done {
    /// The answer may be given once the committed watermark has reached this.
    Answered { result: Outcome, spent: ArgsBuf, end: Lsn },
    /// The log takes no writes: again later.
    Again(What),
}

impl<S: ServerCommands> Engine<S> {
    /// Does an errand on a partition of this core.
    pub(super) fn do_errand(&mut self, at: usize, errand: Errand, now: Now) {
        self.do_errand_again(at, errand, 0, now);
    }

    /// As [`do_errand`](Self::do_errand) of one that has waited for the disk so often.
    pub(super) fn do_errand_again(&mut self, at: usize, errand: Errand, rounds: usize, now: Now) {
        if self.parts.hosted[at].parked.is_empty() || self.is_behind(at, &errand) {
            self.try_errand(at, errand, rounds, now);
        } else {
            self.parts.hosted[at].parked.push_back(errand);
        }
    }

    /// Goes on with errands that had to wait for the log.
    pub(super) fn unpark(&mut self, at: usize) {
        let now = Now::read();
        let waiting = self.parts.hosted[at].parked.len();
        for _ in 0..waiting {
            let Some(errand) = self.parts.hosted[at].parked.pop_front() else { return };
            if !self.try_errand(at, errand, 0, now) {
                return;
            }
        }
    }

    /// Returns whether the log took it or it is held; otherwise it is the first of those that wait.
    fn try_errand(&mut self, at: usize, errand: Errand, rounds: usize, now: Now) -> bool {
        let Some(errand) = self.hold_errand(at, errand, rounds) else { return true };
        if matches!(errand.what, What::Command { .. } | What::Transaction(_))
            && let Some(damage) = self.damage(at)
        {
            let mut reply = Vec::new();
            self.say_damage(at, &damage, &mut Encoder::new(&mut reply, errand.protocol));
            let result = Outcome::Reply(reply);
            self.answered.push(Answer { asker: errand.asker, result, spent: ArgsBuf::new() });
            return true;
        }
        let errand = match self.admit_errand(at, errand) {
            Ok(errand) => errand,
            Err(done) => return done,
        };
        let Errand { asker, conn, partition, protocol, durability, access, what } = errand;
        self.ctx.now = now.unix;
        self.ctx.protocol = protocol;
        self.ctx.draw = self.draw();
        // What goes into a larger reply is copied, however large.
        let is_whole = matches!(asker.purpose, Purpose::Reply { .. });
        self.ctx.large_len_min = if is_whole { LARGE_LEN_MIN } else { usize::MAX };
        // Whoever asks for a flush waits for it, whatever others wait for.
        let waits_for = if matches!(what, What::Flush) { Durability::Commit } else { durability };
        let hosted = &mut self.parts.hosted[at];
        let before = hosted.partition.appended();
        let done = match what {
            What::Command { command, args, mut reply } => {
                match execute(&mut self.ctx, &mut hosted.partition, command, args.args(), &mut reply) {
                    DataOutcome::Done { wait } => {
                        self.parts.server.metrics().reply(command, args.args().len(), &reply);
                        Done::Answered { result: Outcome::Reply(reply), spent: args, end: wait }
                    }
                    DataOutcome::Damaged(damage) => {
                        hosted.rot.note(&damage);
                        self.parts.server.metrics().reply(command, args.args().len(), &reply);
                        Done::Answered { result: Outcome::Reply(reply), spent: args, end: Lsn::ZERO }
                    }
                    DataOutcome::Retry => Done::Again(What::Command { command, args, reply }),
                    DataOutcome::Large { wait, value } => {
                        self.parts.server.metrics().reply(command, args.args().len(), &reply);
                        let result = Outcome::Large { reply, value: hosted.pin(value) };
                        Done::Answered { result, spent: args, end: wait }
                    }
                    DataOutcome::NotData => unreachable!("only data commands go to partitions"),
                }
            }
            What::Transaction(package) => self.run_package(at, package),
            What::Watch(keys) => {
                let mut end = Lsn::ZERO;
                let versions = keys.into_iter().map(|key| {
                    let (version, wait) = version(&hosted.partition, &key, now.unix);
                    end = end.max(wait);
                    (key, version)
                });
                let result = Outcome::Versions(versions.collect());
                Done::Answered { result, spent: ArgsBuf::new(), end }
            }
            What::Flush => {
                hosted.want_flush();
                let end = hosted.partition.appended();
                Done::Answered { result: Outcome::Reply(Vec::new()), spent: ArgsBuf::new(), end }
            }
            What::Count { wait, deadline } => {
                hosted.count(asker, conn, wait, deadline);
                hosted.settle_counts(now.instant, false, &mut self.answered);
                return true;
            }
            What::CountNow => {
                let result = Outcome::Counted(hosted.counted(hosted.partition.appended()));
                Done::Answered { result, spent: ArgsBuf::new(), end: Lsn::ZERO }
            }
            What::StopCounting => {
                hosted.stop_counting_for(asker.core, conn, now.instant);
                hosted.settle_counts(now.instant, false, &mut self.answered);
                return true;
            }
        };
        self.parts.hosted[at].note_append(before);
        match done {
            Done::Answered { result, spent, end } => {
                let answer = Answer { asker, result, spent };
                let hosted = &mut self.parts.hosted[at];
                match wait_for(hosted, end, waits_for) {
                    Wait::Commit { end, .. } => hosted.hold(answer, end),
                    Wait::Ready | Wait::Elsewhere => self.answered.push(answer),
                }
                true
            }
            Done::Again(what) => {
                let errand = Errand { asker, conn, partition, protocol, durability, access, what };
                self.parts.hosted[at].parked.push_front(errand);
                false
            }
        }
    }

    /// Lets an errand be done, unless this process must not: then it is answered or put back, which is the `Err`.
    fn admit_errand(&mut self, at: usize, errand: Errand) -> Result<Errand, bool> {
        if self.parts.hosted[at].role.is_open() {
            return Ok(errand);
        }
        let writes = match &errand.what {
            What::Command { command, .. } => command.flags.has(Flags::WRITE),
            What::Transaction(package) => package.writes(),
            What::Watch(_) => false,
            What::Flush | What::Count { .. } | What::CountNow | What::StopCounting => return Ok(errand),
        };
        match self.admit(at, writes, errand.access, None, Instant::now()) {
            Ok(()) => Ok(errand),
            Err(Told::Hold) => {
                self.parts.hosted[at].parked.push_front(errand);
                Err(false)
            }
            Err(told) => {
                let mut reply = Vec::new();
                told.write(&mut Encoder::new(&mut reply, errand.protocol));
                told.count(self.parts.server.metrics());
                self.answered.push(Answer {
                    asker: errand.asker,
                    result: Outcome::Reply(reply),
                    spent: ArgsBuf::new(),
                });
                Err(true)
            }
        }
    }

    fn run_package(&mut self, at: usize, package: Box<Package>) -> Done {
        let mut reply = Vec::new();
        let outcome = execute_package(&mut self.ctx, &mut self.parts.hosted[at], &package, &mut reply);
        match outcome {
            DataOutcome::Done { wait } => {
                Done::Answered { result: Outcome::Reply(reply), spent: ArgsBuf::new(), end: wait }
            }
            DataOutcome::Retry => Done::Again(What::Transaction(package)),
            DataOutcome::Damaged(_) | DataOutcome::NotData | DataOutcome::Large { .. } => {
                unreachable!(
                    "a transaction has named keys only, whose records were looked at before, and no value for itself"
                )
            }
        }
    }

    /// Has another core do `what` for a client, whose next reply is the answer.
    pub(super) fn ask_core(&mut self, core: usize, partition: PartitionId, client: &mut Client<'_>, what: What) {
        let (ticket, silent) = client.expect();
        let asker = Asker { core: self.parts.core, purpose: Purpose::Reply { conn: client.id, ticket, silent } };
        let (protocol, access) = (client.session.protocol, client.session.access);
        let durability = self.durability(client.session);
        self.send_errand(core, Errand { asker, conn: client.id, partition, protocol, durability, access, what });
    }

    /// Has an errand done wherever its partition is hosted.
    pub(super) fn give(&mut self, errand: Errand, now: Now) {
        match self.place(errand.partition) {
            Place::Here(at) => self.do_errand(at, errand, now),
            Place::There(core) => self.send_errand(core, errand),
        }
    }

    pub(super) fn place(&self, partition: PartitionId) -> Place {
        self.parts.places[usize::from(partition.get())]
    }
}

/// Executes a transaction on the partition that all its keys belong to.
pub(super) fn execute_package(
    ctx: &mut windrow_proto::data::Ctx,
    hosted: &mut Hosted,
    package: &Package,
    reply: &mut Vec<u8>,
) -> DataOutcome {
    let watched = package.watched.iter().map(|(key, version)| (&key[..], *version));
    let commands = package.queued.iter().map(|queued| (queued.command, queued.args.args()));
    let mut replies = package.replies.iter().flatten();
    let mut other = |_, _, encoder: &mut Encoder<'_>| {
        // In the order of the commands, one for each that is not about data.
        if let Some(bytes) = replies.next() {
            encoder.buffer().extend_from_slice(bytes);
        }
    };
    execute_transaction(ctx, &mut hosted.partition, watched, commands, &mut other, reply)
}
