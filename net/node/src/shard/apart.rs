//! Shared-nothing mode: every core an endpoint of its own. Clients are sent to the right one.

use windrow_core::types::{PartitionId, Slot};
use windrow_proto::command::{Command, Id};
use windrow_proto::data::Unit;
use windrow_proto::resp::{Args, ArgsBuf};

use super::Now;
use super::client::{Client, Step};
use super::clients::Clients;
use super::commands::ServerCommands;
use super::engine::Engine;
use super::work::{Answer, Asker, CoreTask, Errand};

/// What the keys of one command must have in common.
pub(super) const UNIT: Unit = Unit::Slot;

impl<S: ServerCommands> Engine<S> {
    /// A data command on a partition of another endpoint.
    pub(super) fn run_there(
        &mut self,
        core: usize,
        partition: PartitionId,
        slot: Option<Slot>,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Step {
        match slot {
            Some(slot) => self.moved(core, slot, client),
            None if command.id == Id::Scan => self.scan_on(partition, client, command, args),
            None => self.run_server(client, command, args),
        }
    }

    /// Sends the client where the slot is.
    pub(super) fn moved(&mut self, core: usize, slot: Slot, client: &mut Client<'_>) -> Step {
        self.parts.server.metrics().error_reply(b"MOVED");
        let port = self.parts.node.identity.endpoints.get(core).map(|endpoint| endpoint.address.port());
        // All cores listen on the same addresses: the one that the client has reached this core by is right.
        let ip = client.session.local.ip().to_canonical();
        client.reply(|encoder| match port {
            Some(port) => encoder.error_fmt(format_args!("MOVED {} {ip}:{port}", slot.get())),
            None => encoder.error("CLUSTERDOWN Hash slot not served"),
        })
    }

    /// A scan goes on in the next partition of this endpoint, or is at its end.
    fn scan_on(
        &mut self,
        after: PartitionId,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Step {
        let next = self.parts.hosted.iter().map(|hosted| hosted.id).filter(|&id| id > after).min();
        let Some(next) = next else {
            return client.reply(|encoder| {
                encoder.array(2);
                encoder.bulk(b"0");
                encoder.array(0);
            });
        };
        let mut moved = ArgsBuf::new();
        moved.push(args.at(0));
        moved.push(windrow_proto::data::scan_start(next).to_string().as_bytes());
        args.from(2).for_each(|arg| moved.push(arg));
        self.data_or_server(client, command, moved.args())
    }

    /// Whether an errand for this partition can be given now: always, as it is hosted here.
    pub(super) fn has_room(&mut self, _partition: PartitionId, _conn: crate::ring::ConnId) -> bool {
        true
    }

    /// The partitions that this endpoint serves: its own.
    pub(super) fn served(&self) -> impl Iterator<Item = PartitionId> + use<S> {
        self.parts.hosted.iter().map(|hosted| hosted.id).collect::<Vec<_>>().into_iter()
    }

    /// The cores that a task for all of them runs on: each is a node of its own.
    pub(super) fn reachable_cores(&self) -> Vec<usize> {
        vec![self.parts.core]
    }

    pub(super) fn send_task(&mut self, _core: usize, asker: Asker, task: CoreTask) {
        self.own_tasks.push((asker, task));
    }

    pub(super) fn send_errand(&mut self, _core: usize, errand: Errand) {
        unreachable!("clients are sent to the endpoint of {}", errand.partition)
    }

    pub(super) fn send_answer(&mut self, answer: Answer) {
        unreachable!("no other core has asked: {answer:?}")
    }

    pub(super) fn receive(&mut self, _clients: &mut Clients, _now: Now) -> bool {
        false
    }

    pub(super) fn announce(&mut self, _clients: &mut Clients) -> bool {
        false
    }
}
