//! `MULTI`, `EXEC`, `DISCARD`, `WATCH`, `UNWATCH`.

use std::collections::BTreeSet;

use windrow_proto::command::{Command, Flags, Id};
use windrow_proto::data::{CROSS_SLOT, Outcome as DataOutcome, Route, is_allowed_in_transaction, route};
use windrow_proto::limits::BULK_LEN_MAX;
use windrow_proto::resp::{Args, ArgsBuf, Encoder, Span};

use super::UNIT;
use super::client::{Client, Step};
use super::commands::{Effect, ServerCommands};
use super::counts::Counts;
use super::engine::{Engine, Place};
use super::errands::execute_package;
use super::execute::{reply_with, wait_for};
use super::held::Told;
use super::transaction::{Queued, Transaction};
use super::work::{Package, What};

/// The most commands of one transaction.
const COMMANDS_MAX: usize = 65_536;
/// The most keys that one connection watches.
const WATCHED_MAX: usize = 65_536;

impl<S: ServerCommands> Engine<S> {
    pub(super) fn transaction_command(
        &mut self,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Step {
        let open = client.session.in_multi();
        match command.id {
            Id::Multi if open => client.reply(|encoder| encoder.error("ERR MULTI calls can not be nested")),
            Id::Multi => {
                client.session.transaction.get_or_insert_default().open = true;
                client.reply(|encoder| encoder.ok())
            }
            Id::Exec if !open => client.reply(|encoder| encoder.error("ERR EXEC without MULTI")),
            Id::Exec => self.exec(client),
            Id::Discard if !open => client.reply(|encoder| encoder.error("ERR DISCARD without MULTI")),
            Id::Watch if open => client.reply(|encoder| encoder.error("ERR WATCH inside MULTI is not allowed")),
            Id::Watch => self.watch(client, command, args),
            // DISCARD, UNWATCH.
            _ => {
                client.session.transaction = None;
                client.reply(|encoder| encoder.ok())
            }
        }
    }

    /// A command inside `MULTI`.
    pub(super) fn queue(&mut self, client: &mut Client<'_>, command: &'static Command, args: Args<'_>) -> Step {
        let command_route = route(command, args, self.parts.map, UNIT);
        let transaction = client.session.transaction.get_or_insert_default();
        let all = transaction.route.and(command_route, UNIT);
        let bytes = args.from(0).map(|arg| arg.len() + size_of::<Span>()).sum::<usize>();
        let full = transaction.queued.len() >= COMMANDS_MAX || transaction.bytes + bytes > BULK_LEN_MAX;
        let refusal = if !is_allowed_in_transaction(command) {
            Some("ERR Command not allowed inside a transaction")
        } else if full {
            Some("ERR the transaction is too large")
        } else if all == Route::Cross {
            Some(CROSS_SLOT)
        } else {
            None
        };
        if let Some(error) = refusal {
            transaction.broken = true;
            return client.reply(|encoder| encoder.error(error));
        }
        if let Some(step) = self.elsewhere(client, command_route) {
            return step;
        }
        if let Some(step) = self.refused_in_transaction(client, command, command_route) {
            return step;
        }
        let transaction = client.session.transaction.get_or_insert_default();
        transaction.route = all;
        transaction.bytes += bytes;
        if matches!(command.id, Id::Wait | Id::Waitaof) {
            transaction.counts = Counts::Wanted;
        }
        transaction.queued.push(Queued { command, args: ArgsBuf::copied(args) });
        client.reply(|encoder| encoder.simple("QUEUED"))
    }

    /// In shared-nothing mode, what a client is told whose keys are at another endpoint.
    #[cfg(feature = "shared-nothing")]
    fn elsewhere(&mut self, client: &mut Client<'_>, route: Route) -> Option<Step> {
        let Route::One { partition, slot: Some(slot) } = route else { return None };
        let Place::There(core) = self.place(partition) else { return None };
        if let Some(transaction) = client.session.transaction.as_deref_mut() {
            transaction.broken |= transaction.open;
        }
        Some(self.moved(core, slot, client))
    }

    /// What a client is told whose command could not be run here if EXEC came now. What is held now is queued: EXEC
    /// waits.
    fn refused_in_transaction(
        &mut self,
        client: &mut Client<'_>,
        command: &'static Command,
        route: Route,
    ) -> Option<Step> {
        let Route::One { partition, slot } = route else { return None };
        let Place::Here(at) = self.place(partition) else { return None };
        if self.parts.hosted[at].role.is_open() {
            return None;
        }
        let writes = command.flags.has(Flags::WRITE);
        let told = self.admit(at, writes, client.session.access, slot, self.arrived).err()?;
        if told == Told::Hold {
            return None;
        }
        if let Some(transaction) = client.session.transaction.as_deref_mut() {
            transaction.broken |= transaction.open;
        }
        told.count(self.parts.server.metrics());
        Some(client.reply(|encoder| told.write(encoder)))
    }

    /// Whether what was queued may run now: the part of this process may be another one than it was then, and a leader
    /// may have been paused since.
    fn admit_transaction(&mut self, at: usize, transaction: &Transaction, client: &mut Client<'_>) -> Result<(), Step> {
        let Route::One { slot, .. } = transaction.route else { return Ok(()) };
        if self.parts.hosted[at].role.is_open() {
            return Ok(());
        }
        self.admit_client(at, transaction.writes(), slot, client)
    }

    #[cfg(feature = "shared-memory")]
    #[expect(clippy::unused_self, reason = "the other mode needs it")]
    fn elsewhere(&mut self, _client: &mut Client<'_>, _route: Route) -> Option<Step> {
        None
    }

    fn watch(&mut self, client: &mut Client<'_>, command: &'static Command, args: Args<'_>) -> Step {
        let keys = route(command, args, self.parts.map, UNIT);
        let all = client.session.transaction.get_or_insert_default().route.and(keys, UNIT);
        let Route::One { partition, .. } = all else {
            return client.reply(|encoder| encoder.error(CROSS_SLOT));
        };
        if let Some(step) = self.elsewhere(client, keys) {
            return step;
        }
        if let Some(step) = self.refused_in_transaction(client, command, keys) {
            return step;
        }
        let transaction = client.session.transaction.get_or_insert_default();
        // What a key was when it was watched first is what EXEC compares.
        let fresh: BTreeSet<&[u8]> = args.from(1).filter(|key| !transaction.watched.contains_key(*key)).collect();
        let bytes = fresh.iter().map(|key| key.len()).sum::<usize>();
        if transaction.watched.len() + fresh.len() > WATCHED_MAX || transaction.watched_bytes + bytes > BULK_LEN_MAX {
            return client.reply(|encoder| encoder.error("ERR too many keys are watched: EXEC, DISCARD or UNWATCH"));
        }
        if !self.has_room(partition, client.id) {
            return Step::Again;
        }
        client.session.transaction.get_or_insert_default().route = all;
        self.ask_for_versions(client, partition, fresh.into_iter().map(Box::from).collect());
        Step::Wait
    }

    fn exec(&mut self, client: &mut Client<'_>) -> Step {
        let Some(mut transaction) = client.session.transaction.take() else { return Step::Next };
        if transaction.broken {
            return client
                .reply(|encoder| encoder.error("EXECABORT Transaction discarded because of previous errors."));
        }
        let place = match transaction.route {
            Route::One { partition, .. } => Some((partition, self.place(partition))),
            _ => None,
        };
        if let Some((_, Place::Here(at))) = place
            && let Err(step) = self.admit_transaction(at, &transaction, client)
        {
            if step == Step::Again {
                client.session.transaction = Some(transaction);
            }
            return step;
        }
        if let Some((_, Place::There(_))) = place
            && !client.output.has_room(transaction.width())
        {
            client.session.transaction = Some(transaction);
            return Step::Full;
        }
        if self.waits_for_counts(client, &mut transaction.counts) {
            client.session.transaction = Some(transaction);
            return Step::Again;
        }
        let can_start = match place {
            Some((_, Place::Here(at))) if self.must_wait(at, client.id) => false,
            Some((_, Place::Here(at))) if self.parts.hosted[at].partition.has_doubted() => {
                self.hash_transaction(at, &transaction);
                !self.fetch_for(at, client)
            }
            Some((partition, Place::There(_))) => self.has_room(partition, client.id),
            _ => true,
        };
        if !can_start {
            client.session.transaction = Some(transaction);
            return Step::Again;
        }
        // Its keys were noted just now, if any of it may have come from the disk.
        if let Some((_, Place::Here(at))) = place
            && let Some(damage) = self.damage(at)
        {
            return client.reply(|encoder| self.say_damage(at, &damage, encoder));
        }
        let replies = self.server_replies(client, &mut transaction);
        let Some((partition, place)) = place else {
            return client.reply(|encoder| {
                encoder.array(replies.len());
                replies.iter().flatten().for_each(|reply| encoder.buffer().extend_from_slice(reply));
            });
        };
        let Transaction { queued, watched, route, counts, .. } = *transaction;
        let package = Package { queued, replies, watched: watched.into_iter().collect() };
        match place {
            Place::Here(at) => self.exec_here(at, client, package, route, counts),
            Place::There(core) => {
                self.ask_core(core, partition, client, What::Transaction(Box::new(package)));
                Step::Next
            }
        }
    }

    /// Whether it is still to be found out what `WAIT` and `WAITAOF` in a transaction answer. As in Redis they don't wait
    /// there, and count what was written before EXEC; but what every partition has must be known, and some of them may be
    /// on other cores. That is asked once.
    fn waits_for_counts(&mut self, client: &mut Client<'_>, counts: &mut Counts) -> bool {
        if *counts == Counts::Wanted {
            self.ask_for_counts(client, counts);
        }
        matches!(counts, Counts::Wanted | Counts::Asked { .. })
    }

    fn exec_here(
        &mut self,
        at: usize,
        client: &mut Client<'_>,
        package: Package,
        route: Route,
        counts: Counts,
    ) -> Step {
        self.ctx.now = client.now.unix;
        self.ctx.protocol = client.session.protocol;
        let durability = self.durability(client.session);
        let hosted = &mut self.parts.hosted[at];
        let before = hosted.partition.appended();
        let (buffer, start) = client.begin();
        match execute_package(&mut self.ctx, hosted, &package, buffer) {
            DataOutcome::Done { wait } => {
                hosted.note_append(before);
                client.finish(start, wait_for(hosted, wait, durability));
                Step::Next
            }
            DataOutcome::Retry => {
                hosted.stall(client.id);
                client.session.transaction = Some(Box::new(unpack(package, route, counts)));
                Step::Again
            }
            DataOutcome::Damaged(_) | DataOutcome::NotData | DataOutcome::Large { .. } => {
                unreachable!(
                    "a transaction has named keys only, whose records were looked at before, and no value for itself"
                )
            }
        }
    }

    /// Executes what is queued and is not about data: its replies go in between.
    fn server_replies(&mut self, client: &mut Client<'_>, transaction: &mut Transaction) -> Vec<Option<Vec<u8>>> {
        let protocol = client.session.protocol;
        let mut replies = Vec::with_capacity(transaction.queued.len());
        for queued in &transaction.queued {
            let args = queued.args.args();
            let reply = match route(queued.command, args, self.parts.map, UNIT) {
                Route::AnyNode if queued.command.id == Id::Unwatch => {
                    Some(reply_with(protocol, Vec::new(), |encoder| encoder.ok()))
                }
                Route::AnyNode => {
                    let mut reply = Vec::new();
                    let effect =
                        self.parts.server.execute(client.now, client.session, queued.command, args, &mut reply);
                    let encoder = &mut Encoder::new(&mut reply, protocol);
                    match (effect, transaction.counts) {
                        (Effect::Reply, _) => {}
                        (Effect::WhenReplicated(wait), Counts::Known(counted)) => {
                            counted.write(wait.local.is_some(), encoder);
                        }
                        _ => {
                            encoder.buffer().clear();
                            encoder.error("ERR Command not allowed inside a transaction");
                        }
                    }
                    Some(reply)
                }
                _ => None,
            };
            replies.push(reply);
        }
        replies
    }
}

/// A package that could not be executed yet as the transaction that it was.
fn unpack(package: Package, route: Route, counts: Counts) -> Transaction {
    let Package { queued, watched, .. } = package;
    Transaction { open: true, queued, route, watched: watched.into_iter().collect(), counts, ..Transaction::default() }
}
