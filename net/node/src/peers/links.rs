//! The other nodes: who connects to whom, and when again.
//!
//! The replica with the lower number connects, the other one accepts; so there is one connection between two nodes
//! for each core, and no race about which one stays. If one end has lost it and the other has not noticed yet, the new
//! one takes the place of the old.

use std::time::{Duration, Instant};

use windrow_core::replication::ReplicaId;

use super::config::{PeerAddress, Times};
use super::place::Place;
use crate::ring::ConnId;

/// The most doublings of a delay.
const DOUBLINGS_MAX: u32 = 16;

/// How it stands with the connection to another node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkState {
    /// There is none.
    Down,
    /// It is being made.
    Connecting,
    /// It is there.
    Up,
}

/// How it stands with the connection to another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LinkStatus {
    /// Which replica it is.
    pub replica: ReplicaId,
    /// Where it is connected to.
    pub place: String,
    /// Whether this node is the one that connects.
    pub dials: bool,
    /// The state.
    pub state: LinkState,
    /// Since when; `None` before the first attempt.
    pub since: Option<Instant>,
    /// Bytes of messages that wait to be sent, or thereabouts.
    pub queued: usize,
    /// Why there is no connection, or why the last one ended.
    pub trouble: Option<String>,
}

/// Another node.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) replica: ReplicaId,
    pub(super) place: Place,
    /// This node is the one that connects.
    pub(super) dials: bool,
    pub(super) state: LinkState,
    pub(super) conn: Option<ConnId>,
    pub(super) since: Option<Instant>,
    pub(super) trouble: Option<String>,
    /// Attempts that have not led to a connection that lasted.
    attempts: u32,
    /// Attempts at the end of these that the host refused.
    refusals: u32,
    /// How often the name had come to lead elsewhere at the last attempt.
    moves: u64,
    /// Not before this.
    next: Option<Instant>,
}

impl Link {
    pub(super) fn new(own: ReplicaId, peer: PeerAddress) -> Self {
        Self {
            replica: peer.replica,
            place: peer.place,
            dials: own < peer.replica,
            state: LinkState::Down,
            conn: None,
            since: None,
            trouble: None,
            attempts: 0,
            refusals: 0,
            moves: 0,
            next: None,
        }
    }

    /// Whether it is time to connect. What has failed elsewhere says nothing about where the name leads now.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        if !self.dials || self.state != LinkState::Down {
            return false;
        }
        let moves = self.place.moves();
        if std::mem::replace(&mut self.moves, moves) != moves {
            (self.attempts, self.refusals, self.next) = (0, 0, None);
        }
        self.next.is_none_or(|next| now >= next)
    }

    pub(super) fn enter(&mut self, state: LinkState, conn: Option<ConnId>, now: Instant) {
        self.state = state;
        self.conn = conn;
        self.since = Some(now);
    }

    /// There is no connection any more, or none was made because the host `refused` it. `draw` decides within the upper
    /// half of the delay when to try again.
    pub(super) fn lost(&mut self, times: &Times, refused: bool, draw: u64, now: Instant) {
        let lasted = self.state == LinkState::Up
            && self.since.is_some_and(|since| now.saturating_duration_since(since) >= times.redial_max);
        self.refusals = if refused { self.refusals.saturating_add(1) } else { 0 };
        // A refusal says nothing of the network: what comes after it is a first attempt again. The node there is being
        // started, and if it still is not after a while, there is no hurry.
        self.attempts = match self.refusals.checked_sub(times.redials_quick) {
            None if lasted || refused => u32::from(refused),
            None => (self.attempts + 1).min(DOUBLINGS_MAX),
            Some(later) => (1 + later).min(DOUBLINGS_MAX),
        };
        self.enter(LinkState::Down, None, now);
        if self.dials {
            // It may have moved.
            self.place.look_again(now);
        }
        let longest = if refused { times.redial_refused_max } else { times.redial_max };
        self.next = Some(now + delay(self.attempts, times.redial_min, longest, draw));
    }
}

fn delay(attempts: u32, shortest: Duration, longest: Duration, draw: u64) -> Duration {
    let doubled = shortest.saturating_mul(1 << attempts.saturating_sub(1).min(DOUBLINGS_MAX));
    let full = doubled.min(longest);
    let half = full / 2;
    half + Duration::from_nanos(draw % u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u64) -> PeerAddress {
        let address: std::net::SocketAddr = "127.0.0.1:1".parse().unwrap();
        PeerAddress { replica: ReplicaId::new(number), place: address.into() }
    }

    #[test]
    fn delays_double_up_to_a_limit_and_are_spread() {
        let times = Times::default();
        let (shortest, longest) = (times.redial_min, times.redial_max);
        let range = |attempts| [0, u64::MAX / 2].map(|draw| delay(attempts, shortest, longest, draw));
        for (attempts, full_ms) in [(1, 100), (2, 200), (5, 1_600), (7, 5_000), (16, 5_000)] {
            let [low, high] = range(attempts);
            assert_eq!(low, Duration::from_millis(full_ms / 2));
            assert!(low < high && high < Duration::from_millis(full_ms), "{attempts}: {high:?}");
        }
    }

    #[test]
    fn only_a_connection_that_lasted_is_followed_by_a_quick_attempt() {
        let (times, start) = (Times::default(), Instant::now());
        let mut link = Link::new(ReplicaId::new(1), peer(2));
        assert!(link.is_due(start));
        for _ in 0..3 {
            link.lost(&times, false, 0, start);
        }
        assert!(!link.is_due(start + Duration::from_millis(199)));
        assert!(link.is_due(start + Duration::from_millis(200)));
        link.enter(LinkState::Up, Some(ConnId::new(0, 0)), start);
        link.lost(&times, false, 0, start + Duration::from_secs(1));
        assert!(!link.is_due(start + Duration::from_millis(1_399)), "it was a short one");
        link.enter(LinkState::Up, Some(ConnId::new(0, 0)), start);
        let end = start + Duration::from_secs(9);
        link.lost(&times, false, 0, end);
        assert!(link.is_due(end + Duration::from_millis(50)));
    }

    #[test]
    fn a_host_where_nobody_listens_yet_is_asked_often() {
        let (times, start) = (Times::default(), Instant::now());
        let mut link = Link::new(ReplicaId::new(1), peer(2));
        for _ in 1..times.redials_quick {
            link.lost(&times, true, 0, start);
        }
        assert!(link.is_due(start + times.redial_min));
        // But not for ever: what is not there after a while is asked for once a second, or somewhat more.
        for _ in 0..10 {
            link.lost(&times, true, 1, start);
        }
        assert!(!link.is_due(start + times.redial_refused_max / 2));
        assert!(link.is_due(start + times.redial_refused_max));
        for _ in 0..3 {
            link.lost(&times, false, 0, start);
        }
        assert!(!link.is_due(start + times.redial_min), "it does not answer: it may be overloaded");
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_tried_at_once() {
        let (times, start) = (Times::default(), Instant::now());
        let (resolver, answer) = crate::peers::place::tests::scripted();
        let mut link = Link::new(ReplicaId::new(1), PeerAddress { place: resolver.place("node-2", 7), ..peer(2) });
        answer(&link.place, start, 1);
        assert!(link.is_due(start));
        for _ in 0..9 {
            link.lost(&times, false, 0, start);
        }
        // It was looked up again, and leads to where it did.
        answer(&link.place, start, 1);
        assert!(!link.is_due(start + times.redial_max / 3));
        answer(&link.place, start, 2);
        assert!(link.is_due(start));
        link.lost(&times, false, 0, start);
        assert!(!link.is_due(start) && link.is_due(start + times.redial_min), "a first attempt");
    }

    #[test]
    fn the_lower_replica_connects() {
        assert!(Link::new(ReplicaId::new(1), peer(2)).dials);
        assert!(!Link::new(ReplicaId::new(3), peer(2)).dials);
    }
}
