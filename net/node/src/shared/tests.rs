//! Order, bounds and back-pressure between two cores.

use std::sync::Arc;
use std::thread;

use windrow_core::types::PartitionId;
use windrow_proto::resp::Protocol;

use super::peers::{Peers, connect};
use super::rings::{OUTBOX_LEN, RING_LEN};
use super::waker::Common;
use crate::ring::ConnId;
use crate::settings::Durability;
use crate::shard::{Asker, Errand, Message, Purpose, What};

fn errand(number: u16) -> Message {
    let purpose = Purpose::Part { gathering: 0, part: usize::from(number) };
    let asker = Asker { core: 0, purpose };
    let (conn, partition) = (ConnId::new(0, 0), PartitionId::new(number));
    Message::Errand(Errand {
        asker,
        conn,
        partition,
        protocol: Protocol::Resp2,
        durability: Durability::Commit,
        access: crate::role::Access::default(),
        what: What::Flush,
    })
}

fn number(message: &Message) -> u16 {
    let Message::Errand(errand) = message else { panic!("only errands were sent") };
    errand.partition.get()
}

fn pair() -> (Peers, Peers) {
    let common = Arc::new(Common::new(2).unwrap());
    let mut all = connect(&common).into_iter();
    (all.next().unwrap(), all.next().unwrap())
}

#[test]
fn a_full_ring_loses_nothing_and_stalls_who_sends_more() {
    let (mut a, mut b) = pair();
    let conn = ConnId::new(1, 1);
    let mut sent = 0;
    while !a.is_full(1, conn) {
        a.send(1, errand(sent));
        sent += 1;
    }
    assert_eq!(usize::from(sent), RING_LEN + OUTBOX_LEN);
    let (mut received, mut resumed) = (0, Vec::new());
    loop {
        let more = a.announce(|conn| resumed.push(conn));
        while let Some(message) = b.receive() {
            assert_eq!(number(&message), received, "messages keep their order");
            received += 1;
        }
        if resumed.is_empty() {
            // Each round moves a ring's length out of the outbox; half of it must be free.
            assert!(usize::from(received) <= RING_LEN + OUTBOX_LEN / 2 + RING_LEN);
        }
        if !more {
            break;
        }
    }
    assert_eq!(received, sent);
    assert_eq!(resumed, [conn], "who stalled goes on, once");
}

#[test]
fn the_receiver_is_told_once_there_is_something() {
    let common = Arc::new(Common::new(3).unwrap());
    let mut all = connect(&common);
    all[0].announce(|_| {});
    assert!(!common.waker(2).take(), "nothing was sent");
    all[0].send(2, errand(7));
    all[0].announce(|_| {});
    assert!(common.waker(2).take() && !common.waker(1).take());
    assert_eq!(all[2].receive().as_ref().map(number), Some(7));
    assert!(all[1].receive().is_none());
}

#[test]
fn two_threads_exchange_messages_in_order() {
    let (mut a, mut b) = pair();
    const COUNT: u16 = 20_000;
    let receiver = thread::spawn(move || {
        let mut expected = 0;
        while expected < COUNT {
            match b.receive() {
                Some(message) => {
                    assert_eq!(number(&message), expected);
                    expected += 1;
                }
                None => thread::yield_now(),
            }
        }
    });
    for sent in 0..COUNT {
        a.send(1, errand(sent));
        a.announce(|_| {});
    }
    while a.announce(|_| {}) {
        thread::yield_now();
    }
    receiver.join().unwrap();
}
