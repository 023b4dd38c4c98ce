//! One replica on its core, and what its driver has to remember about it.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use windrow_core::replication::{Promotion, Replica, ReplicaId, RoleKind, Verified};
use windrow_core::types::{Epoch, Lsn, PartitionId};

use super::freshness::Freshness;

/// Ends of the log that are remembered: a minute and a half of ticks with writes.
const ENDS_KEPT: usize = 1_024;

/// A range of the leader's log that is arriving.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Receiving {
    /// From whom.
    pub(crate) peer: ReplicaId,
    /// The first byte that is wanted.
    pub(crate) from: Lsn,
    /// The position behind the last byte.
    pub(crate) upto: Lsn,
}

/// A hand-over that an operator has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handover {
    /// To whom.
    pub(crate) to: ReplicaId,
    /// Until when.
    pub(crate) deadline: Instant,
    /// This replica has stopped leading and asks the other one to.
    pub(crate) asked: bool,
}

/// One replica on its core.
pub(crate) struct Part {
    pub(crate) replica: Replica,
    /// Who sent the message that is being handled.
    pub(crate) speaker: Option<ReplicaId>,
    pub(crate) receiving: Option<Receiving>,
    /// Whose ranges stopped for want of room: more than one where the leader changes meanwhile.
    pub(crate) stopped: Vec<ReplicaId>,
    /// What arrives is thrown away for want of room, and the leader sends no more.
    pub(crate) lacks_room: bool,
    /// Memory for what a range has completed.
    pub(crate) verified: Vec<Verified>,
    /// The epoch to lead in, as long as its first record could not be appended.
    pub(crate) leads: Option<Epoch>,
    /// That record is appended, so others may follow.
    pub(crate) may_append: bool,
    /// Since when it leads.
    pub(crate) leads_since: Option<Instant>,
    pub(crate) handover: Option<Handover>,
    /// When to ask to lead, because the configuration says so.
    pub(crate) promote_at: Option<Instant>,
    /// The configuration says so, and nobody has led yet.
    pub(crate) asks_by_itself: bool,
    pub(crate) freshness: Freshness,
    /// When the leader was last heard.
    pub(crate) heard: Option<Instant>,
    /// Where the log ended at the latest ticks, while it leads.
    pub(crate) ends: VecDeque<(Instant, Lsn)>,
    /// Followers that were told to resume, as last logged.
    pub(crate) streaming: Vec<ReplicaId>,
    /// Since when this leader commits nothing, for want of a majority or of room.
    pub(crate) stuck_since: Option<Instant>,
    /// A cut of committed records was refused, which has been said.
    pub(crate) told_loss: bool,
    /// Was to ask to lead while it was busy, and does at the next tick.
    pub(crate) asks_again: Option<Promotion>,
    /// Where this leader's own log was last found to be damaged, which has been said.
    pub(crate) damaged: Option<Lsn>,
}

impl Part {
    pub(crate) fn new(replica: Replica, promote_at: Option<Instant>) -> Self {
        Self {
            replica,
            speaker: None,
            receiving: None,
            stopped: Vec::new(),
            lacks_room: false,
            verified: Vec::new(),
            leads: None,
            may_append: false,
            leads_since: None,
            handover: None,
            asks_by_itself: promote_at.is_some(),
            promote_at,
            freshness: Freshness::default(),
            heard: None,
            ends: VecDeque::new(),
            streaming: Vec::new(),
            stuck_since: None,
            told_loss: false,
            asks_again: None,
            damaged: None,
        }
    }

    /// This replica leads once its first record is appended.
    pub(crate) fn begin_leading(&mut self, epoch: Epoch, now: Instant) {
        self.receiving = None;
        self.leads = Some(epoch);
        self.leads_since = Some(now);
        self.handover = None;
        self.told_loss = false;
        self.stop_asking();
    }

    /// It leads no longer.
    pub(crate) fn stop_leading(&mut self) {
        self.leads = None;
        self.leads_since = None;
        self.may_append = false;
        self.streaming.clear();
    }

    /// It follows somebody.
    pub(crate) fn follow(&mut self) {
        self.receiving = None;
        self.handover = None;
        // It has just been heard, before it could be followed.
        self.heard = Some(Instant::now());
        self.freshness.new_leader();
        self.stop_asking();
    }

    /// It asks to lead at this moment, unless somebody leads.
    pub(crate) fn ask_by_itself(&mut self, due: Instant) {
        self.promote_at = Some(due);
        self.asks_by_itself = true;
    }

    fn stop_asking(&mut self) {
        self.asks_again = None;
        self.promote_at = None;
        self.asks_by_itself = false;
    }

    /// Whether the leader that this replica follows was heard not long ago. If not, clients are not sent there.
    pub(crate) fn hears_leader(&self, lease: Duration) -> bool {
        self.heard.is_some_and(|heard| heard.elapsed() < lease * 2)
    }

    /// Notes where the log ends now.
    pub(crate) fn note_end(&mut self, now: Instant, end: Lsn) {
        if self.replica.role() != RoleKind::Leader {
            self.ends.clear();
        } else if self.ends.back().is_none_or(|(_, last)| *last < end) {
            if self.ends.len() == ENDS_KEPT {
                self.ends.pop_front();
            }
            self.ends.push_back((now, end));
        }
    }

    /// Since when at least one byte is in the log that a follower has not flushed, to a tick.
    pub(crate) fn behind_since(&self, flushed: Lsn) -> Option<Instant> {
        let first = self.ends.partition_point(|(_, end)| *end <= flushed);
        self.ends.get(first).map(|(at, _)| *at)
    }

    /// Whatever of a range has not arrived from `peer` does not come any more.
    pub(crate) fn end_range_of(&mut self, peer: ReplicaId) {
        self.receiving.take_if(|range| range.peer == peer);
        self.stopped.retain(|stopped| *stopped != peer);
    }

    /// Nothing more is received from `peer` before it is asked to go on.
    pub(crate) fn stop_range_of(&mut self, peer: ReplicaId) {
        if !self.stopped.contains(&peer) {
            self.stopped.push(peer);
        }
    }

    /// Says in the log which followers have begun or ceased to get what is appended.
    pub(crate) fn note_streaming(&mut self, partition: PartitionId) {
        let Self { replica, streaming, .. } = self;
        for peer in replica.peers() {
            let was = streaming.iter().position(|known| *known == peer.id);
            match (was, peer.is_streaming) {
                (None, true) => {
                    let (follower, at) = (peer.id, peer.flushed.get());
                    tracing::info!(%partition, %follower, at, "a follower gets what is appended");
                    streaming.push(follower);
                }
                (Some(place), false) => {
                    tracing::warn!(%partition, follower = %peer.id, "a follower no longer gets what is appended");
                    streaming.swap_remove(place);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use windrow_core::codec::Chain;
    use windrow_core::replication::{CommitRule, Config, LogState, Moment, Promised};
    use windrow_core::types::ClusterId;

    use super::*;

    fn part() -> Part {
        let ids = || (1..=3).map(ReplicaId::new);
        let config = Config {
            cluster: ClusterId([1; 16]),
            partition: PartitionId::new(0),
            id: ReplicaId::new(3),
            voters: ids().collect(),
            learners: Vec::new(),
            rule: CommitRule::Quorum,
            window_len: 16 << 20,
            heartbeat_ms: 100,
            lease_ms: 1_000,
            lease_margin_ms: 100,
            retry_ms: 300,
        };
        let log = LogState::empty(Chain::new(0));
        Part::new(Replica::new(config, log, Promised::default(), Moment::new(1)).unwrap(), None)
    }

    /// The range of the next leader can stop for want of room before the one before it has been asked to go on: were it
    /// forgotten, nothing would ever be received from there again.
    #[test]
    fn everybody_whose_range_stopped_is_asked_to_go_on() {
        let mut part = part();
        let [old, new] = [1, 2].map(ReplicaId::new);
        [old, new, old].into_iter().for_each(|peer| part.stop_range_of(peer));
        assert_eq!(part.stopped, [old, new]);
        part.end_range_of(old);
        assert_eq!(part.stopped, [new], "its connection is gone");
    }
}
