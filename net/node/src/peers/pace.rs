//! How much of the log is handed to a connection at a time, and how much may be on its way.
//!
//! Whatever is said behind it waits until that has been sent, heartbeats included, on which leases rest. So it is not
//! more than the connection takes within [`SLOW`]: two whole batches behind each other that were taken in less than
//! [`QUICK`] each double it, and one that took longer than [`SLOW`] halves it. The socket is told to hold as much that it
//! has not sent, so that its buffer, which can be megabytes, neither delays more than that nor makes a slow link look like
//! a quick one: an idle one takes one whole batch at once, but not two.
//!
//! What has been sent may wait on the way: TCP sends more and more until the queue in front of a slow link overflows, and
//! what is lost there holds up all that is behind it, too. So the socket may hold little at first, sent or not, and half
//! as much more each time that [`ROUNDS`] times that has got there and what is sent takes less than [`QUEUED`] longer
//! than at best, until the kernel alone decides. Where it comes to take [`QUEUED_LONG`] longer, the socket may hold
//! little again, or half as much. Batches grow only where the kernel alone decides.

use std::time::{Duration, Instant};

use super::limits::{BATCH_LEN_MAX, BATCH_LEN_MIN, HELD_LEN_MAX, HELD_LEN_MIN};
use crate::ring::descriptor::Path;

/// What was taken in less than this may become more.
const QUICK: Duration = Duration::from_millis(10);
/// What was not taken within this becomes less.
const SLOW: Duration = Duration::from_millis(40);
/// What waits so long on the way waits in a queue: an acknowledgement that is put off takes 40 ms. That others fill one as
/// long as this is no reason to send less.
const QUEUED: Duration = Duration::from_millis(75);
/// What waits so long on the way keeps heartbeats waiting.
const QUEUED_LONG: Duration = Duration::from_millis(200);
/// How often what a socket may hold has to get there before it may hold more.
const ROUNDS: u64 = 3;

/// How much of the log is handed to a connection at a time.
#[derive(Debug)]
pub(super) struct Pace {
    len: usize,
    /// The batch before was whole and taken quickly.
    was_quick: bool,
    /// How long the batch is that is being sent, and since when it is.
    sending: Option<(usize, Instant)>,
    /// How much the socket may hold, sent or not; `None`: what the kernel thinks right.
    held: Option<usize>,
    /// It may hold more when so many bytes have got there.
    more_at: u64,
    /// What the socket was told.
    told: Option<Bounds>,
}

/// What a socket is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Bounds {
    /// It takes no more while it holds this much that it has not sent.
    pub(super) unsent: usize,
    /// It takes no more while it holds this much that has not been acknowledged; `None`: what the kernel thinks right.
    pub(super) held: Option<usize>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { len: BATCH_LEN_MIN, was_quick: false, sending: None, held: Some(HELD_LEN_MIN), more_at: 0, told: None }
    }
}

impl Pace {
    /// The most bytes of the log that the next batch may have.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether the socket may hold less than the kernel thinks right.
    pub(super) const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// A batch of so many bytes begins to be sent.
    pub(super) const fn begin(&mut self, len: usize, now: Instant) {
        self.sending = Some((len, now));
    }

    /// There is nothing to send.
    pub(super) const fn idle(&mut self) {
        self.was_quick = false;
    }

    /// The batch that was begun last has been sent. `path` says what is known of the way to the peer; it is asked where
    /// that may matter. Returns what the socket is to be told, if that has changed.
    pub(super) fn end(&mut self, now: Instant, path: impl FnOnce() -> Option<Path>) -> Option<Bounds> {
        if let Some((sent, since)) = self.sending.take() {
            let took = now.saturating_duration_since(since);
            let is_quick = took < QUICK && sent >= self.len;
            if took >= SLOW {
                self.len = (self.len / 2).max(BATCH_LEN_MIN);
            } else if is_quick && self.was_quick && self.held.is_none() {
                self.len = (self.len * 2).min(BATCH_LEN_MAX);
            }
            self.was_quick = is_quick && !self.was_quick;
            // What is small says nothing about the path.
            let may_be_late = took >= QUICK || self.held.is_some() && sent >= self.len;
            if may_be_late && let Some(path) = path() {
                self.hold(path);
            }
        }
        let bounds = Bounds { unsent: self.len, held: self.held };
        (self.told.replace(bounds) != Some(bounds)).then_some(bounds)
    }

    fn hold(&mut self, path: Path) {
        let queued = path.queued;
        let held = match self.held {
            None if queued >= QUEUED_LONG => Some(HELD_LEN_MIN),
            Some(len) if queued >= QUEUED_LONG => Some((len / 2).max(HELD_LEN_MIN)),
            Some(len) if queued < QUEUED && path.acked >= self.more_at && self.more_at > 0 => {
                Some(len + len / 2).filter(|&len| len <= HELD_LEN_MAX)
            }
            held => held,
        };
        if held != self.held || self.more_at == 0 {
            self.held = held;
            self.more_at = path.acked + ROUNDS * held.unwrap_or_default() as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends whole batches over a link of so many bytes a millisecond, which holds nothing up. Returns how long they are at
    /// last.
    fn after_batches(count: usize, bytes_per_ms: usize) -> usize {
        let (mut pace, mut now, mut acked) = (Pace::default(), Instant::now(), 1);
        for _ in 0..count {
            pace.begin(pace.len(), now);
            now += Duration::from_millis(u64::try_from(pace.len() / bytes_per_ms).unwrap());
            acked += pace.len() as u64;
            pace.end(now, || Some(Path { queued: Duration::ZERO, acked }));
        }
        pace.len()
    }

    #[test]
    fn a_batch_is_what_the_link_takes_in_a_moment() {
        assert_eq!(after_batches(120, 1 << 20), BATCH_LEN_MAX);
        assert_eq!(after_batches(120, 125), BATCH_LEN_MIN, "1 Mbit/s");
        let middling = after_batches(150, 12_500);
        assert!((64 << 10..=512 << 10).contains(&middling), "100 Mbit/s: {middling}");
    }

    /// As it is over a link that has held nothing up.
    fn proven() -> Pace {
        Pace { held: None, ..Pace::default() }
    }

    #[test]
    fn small_batches_and_single_ones_say_nothing_about_the_link() {
        let (mut pace, now) = (proven(), Instant::now());
        let unsent = |pace: &mut Pace, now| pace.end(now, || None).map(|bounds| bounds.unsent);
        assert_eq!(unsent(&mut pace, now), Some(BATCH_LEN_MIN), "the socket is told at the start");
        for _ in 0..10 {
            pace.begin(100, now);
            assert_eq!(unsent(&mut pace, now), None);
            pace.begin(pace.len(), now);
            assert_eq!(unsent(&mut pace, now), None);
            pace.idle();
        }
        for _ in 0..2 {
            pace.begin(pace.len(), now);
            pace.end(now, || None);
        }
        assert_eq!(pace.len(), 2 * BATCH_LEN_MIN);
        pace.begin(100, now);
        assert_eq!(unsent(&mut pace, now + SLOW), Some(BATCH_LEN_MIN), "unless they take long");
    }

    /// What a socket may hold after one more whole batch, which the path holds up for so long; `acked` bytes have got there.
    fn held_after(pace: &mut Pace, acked: u64, queued_ms: u64) -> Option<usize> {
        let now = Instant::now();
        pace.begin(pace.len(), now);
        pace.end(now + QUICK, || Some(Path { queued: Duration::from_millis(queued_ms), acked }));
        pace.told.and_then(|bounds| bounds.held)
    }

    #[test]
    fn a_path_is_given_more_by_and_by_while_it_holds_nothing_up() {
        let mut pace = Pace::default();
        let (one, two) = (Some(HELD_LEN_MIN), Some(HELD_LEN_MIN * 3 / 2));
        let after = |held: Option<usize>| ROUNDS * held.unwrap() as u64;
        let mut acked = 1;
        let mut held = |acked, queued_ms| held_after(&mut pace, acked, queued_ms);
        assert_eq!((held(acked, 0), held(acked + after(one) - 1, 0)), (one, one), "too little has got there");
        acked += after(one);
        assert_eq!((held(acked, 75), held(acked, 74)), (one, two));
        acked += after(two);
        assert_eq!((held(acked, 199), held(acked, 200), held(acked, 900)), (two, one, one), "not less than that");
        acked += after(one);
        while let Some(len) = held(acked, 0) {
            assert!(len <= HELD_LEN_MAX);
            acked += after(Some(len));
        }
        assert_eq!((held(acked, 199), held(acked, 200)), (None, one), "little again");
    }

    #[test]
    fn a_proven_path_is_asked_about_only_where_a_batch_took_its_time() {
        let (mut pace, now) = (proven(), Instant::now());
        for _ in 0..10 {
            pace.begin(pace.len(), now);
            pace.end(now, || panic!("it was taken at once"));
        }
    }
}
