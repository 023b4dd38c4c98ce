//! Commands whose reply is made of several answers.

use std::any::Any;

use windrow_core::types::PartitionId;
use windrow_proto::command::Command;
use windrow_proto::data::{Gather, split};
use windrow_proto::resp::{Args, ArgsBuf, Protocol};

use super::client::{Client, Step};
use super::clients::Clients;
use super::commands::{EveryCore, Finish, ReplicaWait, ServerCommands};
use super::counts::{Counted, Counts};
use super::engine::Engine;
use super::execute::reply_with;
use super::hosted::Hosted;
use super::work::{Answer, Asker, Errand, Outcome, Purpose, What};
use super::{Now, Session};
use crate::net::{Ticket, Wait};
use crate::ring::ConnId;
use crate::settings::Durability;

/// A reply that is made of several answers.
pub(super) struct Gathering {
    conn: ConnId,
    ticket: Ticket,
    silent: bool,
    protocol: Protocol,
    missing: usize,
    kind: Kind,
}

enum Kind {
    /// The parts of a data command; `positions` of the keys of each part.
    Command { gather: Box<Gather>, positions: Vec<Vec<usize>> },
    /// The results of a task, by core.
    EveryCore { finish: Box<Finish>, pieces: Vec<Option<Box<dyn Any + Send>>> },
    /// The versions of watched keys.
    Watch { error: Option<Vec<u8>> },
    /// Everything was flushed; the reply was there before.
    Flushes { reply: Vec<u8> },
    /// In how many replicas it is flushed, on the partition where it is in the fewest.
    Replicas { asks_local: bool, counted: Counted },
}

impl<S: ServerCommands> Engine<S> {
    /// A command on keys of several partitions that need not be atomic.
    pub(super) fn run_split(&mut self, client: &mut Client<'_>, command: &'static Command, args: Args<'_>) -> Step {
        let parts = split(args, self.parts.map);
        let parts = parts.into_iter().map(|part| (part.partition, part.args, part.positions)).collect();
        self.scatter(client, command, args, parts)
    }

    /// A command on every partition that this endpoint serves.
    pub(super) fn run_all(&mut self, client: &mut Client<'_>, command: &'static Command, args: Args<'_>) -> Step {
        let parts = self.served().map(|id| (id, ArgsBuf::copied(args), Vec::new())).collect();
        self.scatter(client, command, args, parts)
    }

    fn scatter(
        &mut self,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
        parts: Vec<(PartitionId, ArgsBuf, Vec<usize>)>,
    ) -> Step {
        if !parts.iter().all(|(partition, ..)| self.has_room(*partition, client.id)) {
            return Step::Again;
        }
        let protocol = client.session.protocol;
        let durability = self.durability(client.session);
        self.ctx.draw = self.draw();
        let Some(gather) = Gather::new(command, args, protocol, self.ctx.draw, self.ctx.reply_len_max) else {
            return self.run_server(client, command, args);
        };
        if parts.is_empty() {
            let (buffer, start) = client.begin();
            gather.finish(buffer);
            client.finish(start, Wait::Ready);
            return Step::Next;
        }
        let (ticket, silent) = client.expect();
        let positions = parts.iter().map(|(.., positions)| positions.clone()).collect();
        let kind = Kind::Command { gather: Box::new(gather), positions };
        let missing = parts.len();
        let gathering = self.gatherings.insert(Gathering { conn: client.id, ticket, silent, protocol, missing, kind });
        for (part, (partition, args, _)) in parts.into_iter().enumerate() {
            let asker = Asker { core: self.parts.core, purpose: Purpose::Part { gathering, part } };
            let what = What::Command { command, args, reply: client.pool.take() };
            let access = client.session.access;
            self.give(Errand { asker, conn: client.id, partition, protocol, durability, access, what }, client.now);
        }
        Step::Next
    }

    /// Runs a task on every core.
    pub(super) fn ask_every_core(&mut self, client: &mut Client<'_>, everywhere: EveryCore) {
        let cores = self.reachable_cores();
        let (ticket, silent) = client.expect();
        let pieces = cores.iter().map(|_| None).collect();
        let kind = Kind::EveryCore { finish: everywhere.finish, pieces };
        let protocol = client.session.protocol;
        let missing = cores.len();
        let gathering = self.gatherings.insert(Gathering { conn: client.id, ticket, silent, protocol, missing, kind });
        for (part, core) in cores.into_iter().enumerate() {
            let asker = Asker { core: self.parts.core, purpose: Purpose::Part { gathering, part } };
            self.send_task(core, asker, everywhere.task.clone());
        }
    }

    /// Has everything that was appended so far flushed, on all partitions, and then replies.
    pub(super) fn ask_for_flushes(&mut self, client: &mut Client<'_>, reply: Vec<u8>) {
        self.ask_everywhere(client, Kind::Flushes { reply }, || What::Flush, Outcome::Reply(Vec::new()));
    }

    /// Replies how many replicas have flushed what was appended so far, once it is enough.
    pub(super) fn ask_for_replicas(&mut self, client: &mut Client<'_>, wait: ReplicaWait) {
        let kind = Kind::Replicas { asks_local: wait.local.is_some(), counted: Counted::MOST };
        let deadline = client.now.instant + wait.timeout;
        self.ask_everywhere(client, kind, || What::Count { wait, deadline }, Outcome::Counted(Counted::NONE));
    }

    /// A connection is gone that may have waited for replicas: it does so no more. Sent behind what it has asked for.
    pub(super) fn stop_counting(&mut self, session: &Session, conn: ConnId) {
        let partitions: Vec<_> = self.served().collect();
        for partition in partitions {
            let asker = Asker { core: self.parts.core, purpose: Purpose::Nothing };
            let (protocol, access, durability) = (session.protocol, session.access, Durability::Commit);
            let what = What::StopCounting;
            self.give(Errand { asker, conn, partition, protocol, durability, access, what }, Now::read());
        }
    }

    /// Asks how many replicas have flushed what is appended now, for the transaction of this client, unless that cannot be
    /// asked yet. The connection is resumed when it is known, or can be asked.
    pub(super) fn ask_for_counts(&mut self, client: &mut Client<'_>, counts: &mut Counts) {
        let partitions: Vec<_> = self.served().collect();
        if partitions.iter().all(|partition| self.has_room(*partition, client.id)) {
            self.question += 1;
            let (question, missing) = (self.question, partitions.len().max(1));
            *counts = Counts::Asked { question, missing, counted: Counted::MOST };
            let purpose = Purpose::Transaction { conn: client.id, question };
            self.give_to_all(client, partitions, |_| purpose, || What::CountNow, Outcome::Counted(Counted::NONE));
        }
    }

    /// Has a reply made of the answers of all partitions that this endpoint serves; `nobodys` is the answer where there are
    /// none.
    fn ask_everywhere(&mut self, client: &mut Client<'_>, kind: Kind, what: impl Fn() -> What, nobodys: Outcome) {
        let partitions: Vec<_> = self.served().collect();
        let (ticket, silent) = client.expect();
        let protocol = client.session.protocol;
        let missing = partitions.len().max(1);
        let gathering = self.gatherings.insert(Gathering { conn: client.id, ticket, silent, protocol, missing, kind });
        self.give_to_all(client, partitions, |part| Purpose::Part { gathering, part }, what, nobodys);
    }

    /// Gives an errand to each of these partitions. With more cores than partitions an endpoint of its own has none: then
    /// one answer comes from here.
    fn give_to_all(
        &mut self,
        client: &Client<'_>,
        partitions: Vec<PartitionId>,
        purpose: impl Fn(usize) -> Purpose,
        what: impl Fn() -> What,
        nobodys: Outcome,
    ) {
        if partitions.is_empty() {
            let asker = Asker { core: self.parts.core, purpose: purpose(0) };
            self.answered.push(Answer { asker, result: nobodys, spent: ArgsBuf::new() });
        }
        let (protocol, access, durability) = (client.session.protocol, client.session.access, Durability::Commit);
        for (part, partition) in partitions.into_iter().enumerate() {
            let asker = Asker { core: self.parts.core, purpose: purpose(part) };
            let what = what();
            self.give(Errand { asker, conn: client.id, partition, protocol, durability, access, what }, client.now);
        }
    }

    /// Asks for the versions of keys, which then are watched.
    pub(super) fn ask_for_versions(&mut self, client: &mut Client<'_>, partition: PartitionId, keys: Vec<Box<[u8]>>) {
        let (ticket, silent) = client.expect();
        let protocol = client.session.protocol;
        let durability = self.durability(client.session);
        let kind = Kind::Watch { error: None };
        let access = client.session.access;
        let gathering =
            self.gatherings.insert(Gathering { conn: client.id, ticket, silent, protocol, missing: 1, kind });
        let asker = Asker { core: self.parts.core, purpose: Purpose::Part { gathering, part: 0 } };
        self.give(
            Errand { asker, conn: client.id, partition, protocol, durability, access, what: What::Watch(keys) },
            client.now,
        );
    }

    /// Hands answers to who asked, on this core or another.
    pub(super) fn deliver(&mut self, clients: &mut Clients, now: Now) {
        let mut answered = std::mem::take(&mut self.answered);
        if !answered.is_empty() {
            self.parts.hosted.iter_mut().for_each(Hosted::write_out);
        }
        for answer in answered.drain(..) {
            if answer.asker.core == self.parts.core {
                self.take_answer(answer, clients, now);
            } else {
                self.send_answer(answer);
            }
        }
        if self.answered.is_empty() {
            self.answered = answered;
        }
    }

    /// Takes an answer to something that this core asked.
    pub(super) fn take_answer(&mut self, answer: Answer, clients: &mut Clients, now: Now) {
        let Answer { asker, result, mut spent } = answer;
        if self.spare_args.len() < SPARE_ARGS_KEPT && spent.memory() <= SPARE_ARGS_LEN {
            spent.clear();
            self.spare_args.push(spent);
        }
        match asker.purpose {
            Purpose::Reply { conn, ticket, silent } => {
                let (mut bytes, mut value) = match result {
                    Outcome::Reply(bytes) => (bytes, None),
                    Outcome::Large { reply, value } => (reply, Some(value)),
                    _ => unreachable!("a command is answered by a reply"),
                };
                if silent {
                    bytes.clear();
                    value = None;
                }
                clients.fulfil(conn, ticket, bytes, value);
            }
            Purpose::Part { gathering, part } => self.add_part(gathering, part, result, clients, now),
            Purpose::Transaction { conn, question } => add_count(conn, question, result, clients),
            Purpose::Nothing => {}
        }
    }

    fn add_part(&mut self, at: u32, part: usize, result: Outcome, clients: &mut Clients, now: Now) {
        let gathering = self.gatherings.get_mut(at);
        match (&mut gathering.kind, result) {
            (Kind::Command { gather, positions }, Outcome::Reply(bytes)) => {
                gather.add(&positions[part], &bytes);
                clients.pool.give_back(bytes);
            }
            (Kind::EveryCore { pieces, .. }, Outcome::Piece(piece)) => pieces[part] = Some(piece),
            (Kind::Watch { .. }, Outcome::Versions(versions)) => {
                if let Some(connection) = clients.slab.get_mut(gathering.conn) {
                    let transaction = connection.session.transaction.get_or_insert_default();
                    transaction.watched_bytes += versions.iter().map(|(key, _)| key.len()).sum::<usize>();
                    transaction.watched.extend(versions);
                }
            }
            (Kind::Watch { error, .. }, Outcome::Reply(refusal)) => *error = Some(refusal),
            // Empty, unless it could not be committed.
            (Kind::Flushes { .. }, Outcome::Reply(empty)) if empty.is_empty() => {}
            (Kind::Flushes { reply }, Outcome::Reply(error)) => *reply = error,
            (Kind::Replicas { counted, .. }, Outcome::Counted(answer)) => *counted = counted.and(answer),
            _ => unreachable!("an answer is of the kind of its question"),
        }
        gathering.missing -= 1;
        if gathering.missing == 0 {
            let whole = self.gatherings.remove(at);
            finish(whole, clients, now);
        }
    }
}

/// Memory for arguments that is kept for the next errand.
const SPARE_ARGS_KEPT: usize = 1_024;
/// Bytes that such memory may have.
const SPARE_ARGS_LEN: usize = 16 << 10;

/// Adds the answer of one partition to what the transaction of a connection waits for.
fn add_count(conn: ConnId, question: u64, result: Outcome, clients: &mut Clients) {
    let Outcome::Counted(answer) = result else { unreachable!("a count is answered by a count") };
    let Some(connection) = clients.slab.get_mut(conn) else { return };
    let transaction = connection.session.transaction.as_deref_mut();
    if transaction.is_some_and(|transaction| transaction.counts.add(question, answer)) {
        clients.resume(conn);
    }
}

fn finish(whole: Gathering, clients: &mut Clients, _now: Now) {
    let Gathering { conn, ticket, silent, protocol, kind, .. } = whole;
    let buffer = clients.pool.take();
    let Some(connection) = clients.slab.get_mut(conn) else {
        clients.pool.give_back(buffer);
        return;
    };
    let resumes = matches!(kind, Kind::EveryCore { .. } | Kind::Watch { .. } | Kind::Replicas { .. });
    let mut reply = match kind {
        Kind::Command { gather, .. } => {
            let mut buffer = buffer;
            gather.finish(&mut buffer);
            buffer
        }
        Kind::EveryCore { finish, pieces } => {
            let mut buffer = buffer;
            finish(&mut connection.session, pieces.into_iter().flatten().collect(), &mut buffer);
            buffer
        }
        Kind::Watch { error: Some(error), .. } => error,
        Kind::Watch { .. } => reply_with(protocol, buffer, |encoder| encoder.ok()),
        Kind::Replicas { asks_local, counted } => {
            reply_with(protocol, buffer, |encoder| counted.write(asks_local, encoder))
        }
        Kind::Flushes { reply } => reply,
    };
    if silent {
        reply.clear();
    }
    clients.fulfil(conn, ticket, reply, None);
    if resumes {
        clients.resume(conn);
    }
}
