//! A partition as one of several replicas: who may append to it, what it has promised, and what is committed.
//!
//! The protocol is [`crate::replication`]; here is what it asks of a partition. Invariants: only a leader appends, only a
//! follower receives; nothing that a leader sent is believed to have been flushed here because the leader says so, which
//! is why the superblock says whose watermarks the records name before the first of them arrives.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::surgery::Surgery;
use super::{AppendError, Partition};
use crate::codec::{Chain, RecordKind};
use crate::log::{Appended, SegmentMemory};
use crate::replication::Promised;
use crate::superblock::Superblock;
use crate::types::{Epoch, Lsn, UnixMillis};

/// A replica notes what is flushed after this many bytes at the latest, because the records that it is sent bear no
/// witness to that. What rots in between is taken for a torn tail after a crash.
const WITNESS_EVERY: u64 = 8 << 20;
/// So many keys more than twice of those that the superblock names are worth a superblock.
const KEYS_UNHINTED: u64 = 1 << 20;

/// Who may write a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// This process, at any time: there are no other replicas.
    Alone,
    /// The leader, which sends what it has written.
    Follower,
    /// This process, as the leader of the other replicas.
    Leader,
}

/// What a partition with replicas wants, and has done. Poll for it after every `handle_*`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplicaAction {
    /// The promise of this ticket is durable, in both slots of the superblock: tell
    /// [`Replica::handle_superblock_written`](crate::replication::Replica::handle_superblock_written).
    PromiseWritten {
        /// That of [`Partition::write_promised`].
        ticket: u64,
    },
    /// The log has been cut: tell [`Replica::handle_cut`](crate::replication::Replica::handle_cut).
    CutDone {
        /// Where it ends.
        to: Lsn,
        /// The chain value there.
        chain: Chain,
    },
    /// The log begins anew: tell [`Replica::handle_reset`](crate::replication::Replica::handle_reset).
    ResetDone {
        /// Where it starts and ends.
        start: Lsn,
    },
    /// Copy these bytes of the log, which lie in one segment, to a file beside it, durably. Comes back as
    /// [`Partition::handle_put_aside`].
    PutAside {
        /// The position of the first byte.
        from: Lsn,
        /// The position behind the last byte.
        upto: Lsn,
        /// Names this cut.
        label: u64,
    },
    /// Move the files of these segments aside, durably. Comes back as [`Partition::handle_moved_aside`]; a failure is
    /// fatal, as that of a flush.
    MoveAside {
        /// The segments.
        bases: Vec<Lsn>,
        /// Names this cut.
        label: u64,
    },
    /// Remove the files of these segments, which hold nothing, durably. Comes back as [`Partition::handle_removed`]; a
    /// failure is fatal, as that of a flush.
    Remove {
        /// The segments.
        bases: Vec<Lsn>,
    },
}

/// What only a partition with replicas has.
pub(super) struct Replication {
    is_leader: bool,
    /// What the protocol says is committed, flushed here or not.
    pub(super) committed_told: Lsn,
    /// Promises on their way, and from which generation of the superblock on each is in it.
    promises: VecDeque<(u64, u64)>,
    /// From which generation on the superblock says that nothing is written here any more.
    follows_from: Option<u64>,
    pub(super) surgery: Option<Surgery>,
}

impl<M: SegmentMemory> Partition<M> {
    /// Makes this a replica that follows, of whose log so much is known to be committed. The rest is for others to say.
    pub(super) fn become_replica(&mut self, committed: Lsn) {
        self.committed = committed;
        // Deletions that are in the log left nothing in the index: whoever finds nothing waits for all of them.
        self.cleared_end = self.log.appended();
        self.log.receive_only();
        let replication = Replication {
            is_leader: false,
            committed_told: committed,
            promises: VecDeque::new(),
            // The other slot may still say that the log is this replica's own.
            follows_from: Some(self.superblock.generation),
            surgery: None,
        };
        self.replication = Some(Box::new(replication));
        self.both_slots_from = self.superblock.generation;
    }

    /// Who may write this partition.
    #[must_use]
    pub fn role(&self) -> Role {
        match &self.replication {
            None => Role::Alone,
            Some(replication) if replication.is_leader => Role::Leader,
            Some(_) => Role::Follower,
        }
    }

    pub(super) fn replication(&mut self) -> &mut Replication {
        self.replication.as_mut().expect("only a replica is driven by the protocol")
    }

    /// The protocol says that everything below `upto` is committed. What is not yet flushed here counts when it is.
    ///
    /// # Panics
    /// If the partition is no replica: that is a bug of the driver.
    pub fn handle_committed(&mut self, upto: Lsn) {
        let replication = self.replication();
        replication.committed_told = replication.committed_told.max(upto);
        self.advance_committed();
    }

    /// Has a promise made durable. It goes out with the next two superblocks, and comes back as
    /// [`ReplicaAction::PromiseWritten`].
    ///
    /// # Panics
    /// If the partition is no replica, or takes back what it promised: bugs of the driver.
    pub fn write_promised(&mut self, ticket: u64, promised: Promised) {
        assert!(promised.promised >= self.superblock.promised, "a promise is never taken back");
        self.superblock.set_promise(promised);
        let generation = self.want_both_slots();
        self.replication().promises.push_back((ticket, generation));
    }

    /// Has what the superblock says now written to both of its slots. A slot that rots takes nothing with it then that
    /// somebody was told of. Returns from which generation on it is said.
    pub(super) const fn want_both_slots(&mut self) -> u64 {
        // The one in flight was encoded before; whatever comes after it holds this.
        self.both_slots_from = self.superblock.generation + 1;
        self.both_slots_from
    }

    /// What this generation of the superblock says, the next one says as well, and both are durable.
    pub(super) fn settled_generation(&self) -> u64 {
        (self.superblock.generation - u64::from(self.superblock_in_flight.is_some())).saturating_sub(1)
    }

    /// What this partition wants as a replica, and has done. Ask again until there is nothing.
    pub fn poll_replica(&mut self) -> Option<ReplicaAction> {
        let settled = self.settled_generation();
        let replication = self.replication.as_mut()?;
        if let Some(&(ticket, generation)) = replication.promises.front()
            && generation <= settled
        {
            replication.promises.pop_front();
            return Some(ReplicaAction::PromiseWritten { ticket });
        }
        if let Some(bases) = self.log.poll_discarded() {
            return Some(ReplicaAction::Remove { bases });
        }
        self.poll_surgery()
    }

    /// Whether the superblock does not say yet that what is in the log from now on was written elsewhere.
    pub(super) fn awaits_following(&self) -> bool {
        let settled = self.settled_generation();
        self.replication.as_ref().is_some_and(|one| one.follows_from.is_some_and(|generation| generation > settled))
    }

    /// This replica leads: appends the record that starts `epoch`, alone and before any other.
    ///
    /// # Errors
    /// [`AppendError::Room`]: nothing was written and this replica still follows; call again once there is room.
    ///
    /// # Panics
    /// If the partition is no replica, or did not promise the epoch: bugs of the driver.
    pub fn lead(&mut self, epoch: Epoch, now: UnixMillis) -> Result<Appended, AppendError> {
        assert!(self.replication.is_some() && self.superblock.promised == epoch, "a leader has promised its epoch");
        assert!(!self.is_operated_on(), "a log that is being cut is nobody's to lead");
        self.log.begin_epoch(epoch)?;
        let time = self.observe(now);
        let appended = self.log.append(RecordKind::Epoch, time, 0, |_| {});
        self.replication().is_leader = true;
        // Until this is written, the watermarks of the records to come are not believed, which is harmless.
        self.superblock.own_epoch = epoch;
        self.superblock_wanted = true;
        Ok(appended)
    }

    /// This replica leads no longer: from now on nothing is appended here.
    pub fn step_down(&mut self) {
        let generation = self.superblock.generation + 1;
        let Some(replication) = &mut self.replication else { return };
        replication.is_leader = false;
        self.log.receive_only();
        if self.superblock.own_epoch != Superblock::OTHERS_ONLY {
            self.superblock.own_epoch = Superblock::OTHERS_ONLY;
            replication.follows_from = Some(generation);
            self.want_both_slots();
        }
    }

    /// Whether the superblock lags behind what is flushed, or behind what is known to be committed.
    pub(super) fn superblock_lags(&self) -> bool {
        self.superblock.durable < self.log.durable() || self.superblock.committed < self.committed
    }

    /// Whether there are far more keys than the superblock says, so that the next start would be slower than it could be.
    pub(super) fn has_outgrown_its_hint(&self) -> bool {
        self.index.len() as u64 >= self.superblock.keys * 2 + KEYS_UNHINTED
    }

    /// Whether so much has been flushed that no record bears witness to that the superblock has to.
    pub(super) fn owes_witness(&self) -> bool {
        self.replication.is_some()
            && self.log.durable().get().saturating_sub(self.superblock.durable.get()) >= WITNESS_EVERY
    }
}

#[cfg(test)]
mod tests;
