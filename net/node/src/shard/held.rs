//! What a core lets clients do with its partitions, and what becomes of their replies when that changes.
//!
//! A partition's [role](crate::role::Role) is looked at before every data command; where it is alone, that is all. When
//! a leader is deposed, or a log is cut, replies that wait for records beyond the committed watermark must never go out:
//! those positions may be taken by other records. They are answered with an error instead.

use std::time::Instant;

use windrow_core::types::{Lsn, Slot};
use windrow_proto::resp::{ArgsBuf, Encoder, Protocol};

use super::client::{Client, Step};
#[cfg(feature = "shared-nothing")]
use super::clients::Clients;
use super::commands::{ReplicaWait, ServerCommands};
use super::counts::Counted;
use super::engine::Engine;
use super::hosted::Hosted;
use super::work::{Answer, Asker, Outcome};
use crate::metrics::CoreMetrics;
use crate::ring::ConnId;
#[cfg(feature = "shared-nothing")]
use crate::role::Role;
use crate::role::{Access, Address, Refusal, Verdict};

/// Somebody who waits until so many replicas have flushed what was appended.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) asker: Asker,
    /// The connection of the asking core.
    pub(super) conn: ConnId,
    pub(super) end: Lsn,
    pub(super) wait: ReplicaWait,
    pub(super) deadline: Instant,
}

/// What a command is told that is not run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    /// It is tried again when the role has changed.
    Hold,
    /// Where the leader is.
    Moved(Slot, Address),
    /// Why not.
    Refused(Refusal),
}

impl Told {
    /// Writes the error reply.
    pub(super) fn write(&self, encoder: &mut Encoder<'_>) {
        match self {
            Self::Moved(slot, Address { host, port }) => {
                encoder.error_fmt(format_args!("MOVED {} {host}:{port}", slot.get()));
            }
            Self::Refused(refusal) => encoder.error(&refusal.text()),
            Self::Hold => unreachable!("nobody is told to wait"),
        }
    }
}

impl Hosted {
    /// In how many logs everything below `end` is flushed.
    pub(super) fn counted(&self, end: Lsn) -> Counted {
        let replicas = self.replicas_flushed.iter().filter(|&&flushed| flushed >= end).count();
        Counted { local: self.partition.durable() >= end, replicas }
    }

    /// What each follower has flushed, while this process leads.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn set_replicas_flushed(&mut self, flushed: impl Iterator<Item = Lsn>) {
        self.replicas_flushed.clear();
        self.replicas_flushed.extend(flushed);
    }

    /// Waits until so many replicas have flushed what is appended now.
    pub(super) fn count(&mut self, asker: Asker, conn: ConnId, wait: ReplicaWait, deadline: Instant) {
        self.want_flush();
        let end = self.partition.appended();
        self.counting.push(Counting { asker, conn, end, wait, deadline });
        self.count_due = Some(self.count_due.map_or(deadline, |due| due.min(deadline)));
    }

    /// That connection is gone: what it waited for so, perhaps for ever, is over now.
    pub(super) fn stop_counting_for(&mut self, core: usize, conn: ConnId, now: Instant) {
        for one in self.counting.iter_mut().filter(|one| one.asker.core == core && one.conn == conn) {
            one.deadline = one.deadline.min(now);
            self.count_due = Some(self.count_due.map_or(one.deadline, |due| due.min(one.deadline)));
        }
    }

    /// How many wait so.
    pub(super) fn counting(&self) -> usize {
        self.counting.len()
    }

    /// Answers those who have waited long enough, or for what has come.
    pub(crate) fn settle_counts(&mut self, at: Instant, is_closing: bool, answered: &mut Vec<Answer>) {
        if self.counting.is_empty() {
            return;
        }
        let mut waiting = std::mem::take(&mut self.counting);
        waiting.retain(|one| {
            let counted = self.counted(one.end);
            let met = counted.replicas >= one.wait.replicas && (counted.local || one.wait.local != Some(true));
            let over = met || is_closing || at >= one.deadline || !self.role.is_leader();
            if over {
                let result = Outcome::Counted(counted);
                answered.push(Answer { asker: one.asker, result, spent: ArgsBuf::new() });
            }
            !over
        });
        self.count_due = waiting.iter().map(|one| one.deadline).min();
        self.counting = waiting;
    }
}

impl<S: ServerCommands> Engine<S> {
    /// Whether a command may run on a partition of this core now; if not, what its client is told.
    #[cold]
    pub(super) fn admit(
        &self,
        at: usize,
        writes: bool,
        access: Access,
        slot: Option<Slot>,
        arrived: Instant,
    ) -> Result<(), Told> {
        let hosted = &self.parts.hosted[at];
        // What names no key is about the node that is asked.
        let access = if slot.is_none() { Access { read_only: true, ..access } } else { access };
        match hosted.role.verdict(writes, access, arrived) {
            Verdict::Run => Ok(()),
            Verdict::Hold => Err(Told::Hold),
            Verdict::Refuse(refusal) => Err(Told::Refused(refusal)),
            Verdict::AskLeader => {
                let leader = self.parts.node.replication.partition(hosted.id).leader.clone();
                Err(match (slot, leader) {
                    (Some(slot), Some(leader)) if cfg!(feature = "shared-nothing") => Told::Moved(slot, leader),
                    (Some(_), None) if cfg!(feature = "shared-nothing") => Told::Refused(Refusal::NoLeader),
                    _ => Told::Refused(Refusal::ReadOnly),
                })
            }
        }
    }

    /// As [`admit`](Self::admit), for a command of a connection: replies where it is not run.
    #[cold]
    pub(super) fn admit_client(
        &mut self,
        at: usize,
        writes: bool,
        slot: Option<Slot>,
        client: &mut Client<'_>,
    ) -> Result<(), Step> {
        self.admit(at, writes, client.session.access, slot, self.arrived).map_err(|told| {
            if told == Told::Hold {
                self.parts.hosted[at].stall(client.id);
                return Step::Again;
            }
            told.count(self.parts.server.metrics());
            client.reply(|encoder| told.write(encoder))
        })
    }

    /// This process has another part in a partition now. What waited for that goes on. Where a leader is deposed,
    /// [`fail_held`](Self::fail_held) comes first.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn set_role(&mut self, at: usize, role: Role, clients: &mut Clients) {
        let hosted = &mut self.parts.hosted[at];
        let was_held = matches!(hosted.role, Role::HandingOver { .. });
        hosted.role = role;
        if was_held && !matches!(role, Role::HandingOver { .. }) {
            hosted.resume_stalled(clients);
            self.unpark(at);
        }
    }

    /// Answers with `error` everything that waits for records of this partition that are not committed.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn fail_held(&mut self, at: usize, error: &str, clients: &mut Clients) {
        let hosted = &mut self.parts.hosted[at];
        let (partition, committed) = (hosted.id, hosted.partition.committed());
        let mut line = Vec::with_capacity(error.len() + 3);
        Encoder::new(&mut line, Protocol::Resp2).error(error);
        for mut answer in hosted.take_held() {
            if matches!(answer.result, Outcome::Reply(_) | Outcome::Large { .. }) {
                answer.result = Outcome::Reply(line.clone());
            }
            self.answered.push(answer);
        }
        let mut failed = Vec::new();
        for connection in clients.slab.iter_mut() {
            if connection.output.fail(partition, committed, &line) {
                connection.waiting = false;
                failed.push(connection.id);
            }
        }
        failed.into_iter().for_each(|id| clients.touch(id));
    }
}

impl Told {
    pub(super) fn count(&self, metrics: &mut CoreMetrics) {
        let mut line = Vec::new();
        self.write(&mut Encoder::new(&mut line, Protocol::Resp2));
        metrics.error_reply(&line[1..]);
    }
}

#[cfg(all(test, feature = "shared-nothing"))]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::path::Path;

    use windrow_core::types::PartitionId;
    use windrow_store::{BuildMode, DataDir, FillMode, NewDataDir, OpenConfig, open_partition};

    use super::*;
    use crate::net::Connection;
    use crate::shard::{Now, Session};

    fn connected(clients: &mut Clients) -> ConnId {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 1);
        let session = Session::new(1, address, address, Instant::now());
        let socket = tempfile::tempfile().unwrap().into();
        let id = clients.slab.insert_with(|id| Connection::new(id, socket, session));
        clients.slab.get_mut(id).unwrap().waiting = true;
        id
    }

    fn hosted(folder: &Path) -> Hosted {
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::SharedNothing };
        let dir = DataDir::open_or_create(folder, &new).unwrap();
        let config = OpenConfig { segment_len: 64 << 10, segments_ahead: 1, fill: FillMode::Allocate };
        let open = open_partition(&dir, PartitionId::new(0), &config, Now::read().unix).unwrap();
        Hosted::new(open, FillMode::Allocate, u64::MAX)
    }

    #[test]
    fn who_has_flushed_what_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = hosted(folder.path());
        let durable = hosted.partition.durable();
        hosted.set_replicas_flushed([Lsn::ZERO, durable, durable.plus(8)].into_iter());
        assert_eq!(hosted.counted(durable), Counted { local: true, replicas: 2 });
        assert_eq!(hosted.counted(durable.plus(8)), Counted { local: false, replicas: 1 });
        assert_eq!(hosted.counted(durable.plus(16)), Counted { local: false, replicas: 0 });
    }

    /// A watermark that moves and a cut can come in one message: whoever waited for the one is not forgotten for the
    /// other.
    #[test]
    fn who_waits_for_what_is_committed_is_woken_though_the_rest_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = hosted(folder.path());
        let mut clients = Clients::default();
        let (early, late) = (connected(&mut clients), connected(&mut clients));
        let committed = hosted.partition.committed();
        hosted.wait(early, committed);
        hosted.wait(late, committed.plus(8));
        assert!(hosted.take_held().is_empty());
        hosted.release(&mut clients, &mut Vec::new());
        assert!(!clients.slab.get_mut(early).unwrap().waiting, "it was committed");
        assert!(clients.slab.get_mut(late).unwrap().waiting, "whoever takes back tells it");
    }
}
