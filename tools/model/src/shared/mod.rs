//! Waking a core, and messages between two: the files are those of the node.
//!
//! A sequentially consistent store or exchange is modelled as one followed by a full fence, a load as one behind a
//! full fence, which is what processors do. Against C++ that is a little too strong: an access that is relaxed on
//! purpose is ordered by the fence of a neighbour. So a bug that only a compiler could make of such a pair would not be
//! found.

mod atomic;
#[path = "../../../../net/node/src/shared/peers.rs"]
#[expect(dead_code, reason = "the node uses all of it")]
mod peers;
mod rings;
#[path = "../../../../net/node/src/shared/signal.rs"]
mod signal;
mod waker;

use std::sync::Arc;

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use peers::{Peers, connect};
use signal::Signal;
use waker::{Common, Sleeper, Waker};

/// Several threads leave something for a core and tell it; it must see all of it, however it falls asleep meanwhile.
pub fn nothing_left_for_a_core_is_overlooked(threads: usize) {
    tell::<Signal>(threads);
}

/// The same with a signal that looks before it says that it sleeps: the mistake that loom must find.
pub fn a_core_that_looks_before_it_sleeps(threads: usize) {
    tell::<LooksFirst>(threads);
}

fn tell<S: Sleeper + 'static>(threads: usize) {
    let waker = Arc::new(Waker::<S>::new());
    let left = Arc::new(AtomicUsize::new(0));
    let givers: Vec<_> = (0..threads)
        .map(|_| {
            let (waker, left) = (Arc::clone(&waker), Arc::clone(&left));
            thread::spawn(move || {
                // As a push into a ring: a release, seen by an acquire.
                left.fetch_add(1, Ordering::AcqRel);
                waker.wake();
            })
        })
        .collect();
    // What the driver of a core does each turn.
    loop {
        waker.signal().take();
        if left.load(Ordering::Acquire) == threads {
            break;
        }
        if waker.signal().fall_asleep() {
            waker.eventfd().read();
        }
        waker.signal().woken();
    }
    givers.into_iter().for_each(|giver| giver.join().unwrap());
}

/// One core sends `count` messages to another through rings and outboxes of one message each; the other sleeps
/// whenever it finds nothing. All arrive, in order.
pub fn messages_arrive_in_order(count: u32) {
    let common = Arc::new(Common::new(2));
    let mut all = connect(&common).into_iter();
    let (mut from, mut to) = (all.next().unwrap(), all.next().unwrap());
    let sender = thread::spawn(move || {
        for number in 0..count {
            from.send(1, number);
        }
        // A core with something left in an outbox does not sleep.
        while from.announce(|_| {}) {
            thread::yield_now();
        }
    });
    receive(&mut to, common.waker(1), count);
    sender.join().unwrap();
}

fn receive(peers: &mut Peers, waker: &Waker<Signal>, count: u32) {
    let mut expected = 0;
    loop {
        waker.signal().take();
        while let Some(number) = peers.receive() {
            assert_eq!(number, expected, "messages keep their order");
            expected += 1;
        }
        if expected == count {
            return;
        }
        if waker.signal().fall_asleep() {
            waker.eventfd().read();
        }
        waker.signal().woken();
    }
}

/// Looks whether there is something, and only then says that it sleeps.
struct LooksFirst {
    notified: atomic::AtomicBool,
    asleep: atomic::AtomicBool,
}

impl Sleeper for LooksFirst {
    fn new() -> Self {
        Self { notified: atomic::AtomicBool::new(false), asleep: atomic::AtomicBool::new(false) }
    }

    fn notify(&self) -> bool {
        !self.notified.swap(true, Ordering::SeqCst) && self.asleep.load(Ordering::SeqCst)
    }

    fn take(&self) -> bool {
        self.notified.swap(false, Ordering::SeqCst)
    }

    fn fall_asleep(&self) -> bool {
        let may = !self.notified.load(Ordering::SeqCst);
        self.asleep.store(may, Ordering::SeqCst);
        may
    }

    fn woken(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }
}
