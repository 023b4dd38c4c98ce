//! Shared-memory mode: the cores of one box behind one endpoint. What a core does not host, another does for it.

use windrow_core::types::{PartitionId, Slot};
use windrow_proto::command::Command;
use windrow_proto::data::Unit;
use windrow_proto::resp::Args;

use super::Now;
use super::client::{Client, Step};
use super::clients::Clients;
use super::commands::ServerCommands;
use super::engine::{Engine, Place};
use super::transaction::width;
use super::work::{Answer, Asker, CoreTask, Errand, Message, What};

/// What the keys of one command must have in common.
pub(super) const UNIT: Unit = Unit::Partition;
/// Messages taken from other cores before this core looks at its own connections again.
const MESSAGES_MAX: usize = 1_024;

impl<S: ServerCommands> Engine<S> {
    /// A data command on a partition of another core.
    pub(super) fn run_there(
        &mut self,
        core: usize,
        partition: PartitionId,
        _slot: Option<Slot>,
        client: &mut Client<'_>,
        command: &'static Command,
        args: Args<'_>,
    ) -> Step {
        if !client.output.has_room(width(command, args)) {
            return Step::Full;
        }
        if self.parts.peers.is_full(core, client.id) {
            return Step::Again;
        }
        let mut copy = self.spare_args.pop().unwrap_or_default();
        args.from(0).for_each(|arg| copy.push(arg));
        let what = What::Command { command, args: copy, reply: client.pool.take() };
        self.parts.server.metrics().counters().commands_forwarded.increment();
        self.ask_core(core, partition, client, what);
        Step::Next
    }

    /// Whether an errand for this partition can be given now; if not, `conn` is resumed when it can.
    pub(super) fn has_room(&mut self, partition: PartitionId, conn: crate::ring::ConnId) -> bool {
        match self.place(partition) {
            Place::Here(_) => true,
            Place::There(core) => !self.parts.peers.is_full(core, conn),
        }
    }

    /// The partitions that this endpoint serves: all of the node.
    pub(super) fn served(&self) -> impl Iterator<Item = PartitionId> + use<S> {
        (0..self.parts.map.count()).map(PartitionId::new)
    }

    /// The cores that a task for all of them runs on.
    pub(super) fn reachable_cores(&self) -> Vec<usize> {
        (0..self.parts.common.cores()).collect()
    }

    pub(super) fn send_task(&mut self, core: usize, asker: Asker, task: CoreTask) {
        if core == self.parts.core {
            self.own_tasks.push((asker, task));
        } else {
            self.parts.peers.send(core, Message::Task { asker, task });
        }
    }

    pub(super) fn send_errand(&mut self, core: usize, errand: Errand) {
        self.parts.peers.send(core, Message::Errand(errand));
    }

    pub(super) fn send_answer(&mut self, answer: Answer) {
        self.parts.peers.send(answer.asker.core, Message::Answer(answer));
    }

    /// Takes what other cores have sent. Returns whether there was anything.
    pub(super) fn receive(&mut self, clients: &mut Clients, now: Now) -> bool {
        for taken in 0..MESSAGES_MAX {
            match self.parts.peers.receive() {
                None => return taken > 0,
                Some(Message::Answer(answer)) => self.take_answer(answer, clients, now),
                Some(Message::Task { asker, task }) => self.run_task(asker, &task, clients, now),
                Some(Message::Errand(errand)) => match self.place(errand.partition) {
                    Place::Here(at) => {
                        self.follow_one(at, now);
                        self.do_errand(at, errand, now);
                    }
                    Place::There(_) => unreachable!("the sender knows where partitions are hosted"),
                },
            }
        }
        true
    }

    /// Lets the other cores know what was sent to them. Returns whether more waits for room.
    pub(super) fn announce(&mut self, clients: &mut Clients) -> bool {
        self.parts.peers.announce(|conn| clients.resume(conn))
    }
}
