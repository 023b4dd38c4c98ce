//! Violations that are planted are found.

use super::*;

fn op(changes: &[Change]) -> Op {
    Op { changes: changes.to_vec(), as_mset: false }
}

fn set(key: u16) -> Change {
    Change::Set { key, len: 40, expires_at: None }
}

/// Versions 0..: key 1, key 2, both, key 1 deleted, key 2 appended to; the first three confirmed.
fn history() -> History {
    let mut history = History::default();
    for changes in [&[set(1)][..], &[set(2)], &[set(1), set(2)], &[Change::Delete { key: 1 }]] {
        history.sent(op(changes));
    }
    history.sent(op(&[Change::Append { key: 2, len: 50 }]));
    (0..3).for_each(|_| history.confirmed());
    history
}

fn found(keys: [&[u64]; 2]) -> BTreeMap<u16, Found> {
    let chunk = |&version: &u64| Chunk { version, len: if version == 4 { 50 } else { 40 } };
    let stored = |versions: &[u64]| {
        let chunks: Vec<Chunk> = versions.iter().map(chunk).collect();
        (!chunks.is_empty()).then_some(Stored { chunks, expires_at: None })
    };
    let all = [1, 2].into_iter().zip(keys);
    all.map(|(key, versions)| (key, Found { stored: stored(versions), asked: 10..11 })).collect()
}

#[test]
fn every_place_from_the_last_confirmed_write_on_is_allowed() {
    for (keys, lost) in [([&[2][..], &[2][..]], 2), ([&[], &[2]], 1), ([&[], &[2, 4]], 0)] {
        let mut history = history();
        assert_eq!(history.check(&found(keys), Promise::Confirmed), Ok(lost));
        assert_eq!(history.next_version(), 5);
        assert_eq!(history.check(&found(keys), Promise::Confirmed), Ok(0), "what was found is the new base");
    }
}

#[test]
fn a_lost_write_half_a_transaction_and_a_hole_are_found() {
    for (keys, what) in [
        ([&[0][..], &[1][..]], "a confirmed write is lost"),
        ([&[2], &[1]], "half a transaction"),
        ([&[2], &[2, 4]], "a hole: a later write is there and an earlier one is not"),
        ([&[], &[]], "a key is gone"),
        ([&[2], &[4]], "the first half of a value is gone"),
    ] {
        assert!(history().check(&found(keys), Promise::Confirmed).is_err(), "{what}");
    }
    assert_eq!(history().check(&found([&[0], &[1]]), Promise::LastCheck), Ok(3));
    assert!(history().check(&found([&[2], &[1]]), Promise::LastCheck).is_err(), "half a transaction");
}

#[test]
fn what_a_reader_was_shown_is_promised() {
    let mut history = history();
    history.shown(4);
    assert!(history.clone().check(&found([&[], &[2]]), Promise::Confirmed).is_err());
    assert_eq!(history.check(&found([&[], &[2, 4]]), Promise::Confirmed), Ok(0));
    // Older than the last check.
    history.shown(2);
    assert_eq!(history.check(&found([&[], &[2, 4]]), Promise::Confirmed), Ok(0));
}

#[test]
fn refused_writes_have_not_happened() {
    let mut history = history();
    history.refused();
    history.confirmed();
    assert_eq!(history.check(&found([&[2], &[2, 4]]), Promise::Confirmed), Ok(0));
}

#[test]
fn expiry_is_judged_by_the_clock() {
    let expiring = |at| {
        let mut history = History::default();
        history.sent(op(&[Change::Set { key: 1, len: 40, expires_at: Some(at) }]));
        history.confirmed();
        history
    };
    let gone: BTreeMap<u16, Found> = [(1, Found { stored: None, asked: 100..200 })].into();
    let stored = |at| Some(Stored { chunks: vec![Chunk { version: 0, len: 40 }], expires_at: Some(at) });
    let there = |at| [(1, Found { stored: stored(at), asked: 100..200 })].into();
    assert!(expiring(150).check(&gone, Promise::Confirmed).is_ok());
    assert!(expiring(150).check(&there(150), Promise::Confirmed).is_ok());
    assert!(expiring(201).check(&gone, Promise::Confirmed).is_err(), "gone too early");
    assert!(expiring(99).check(&there(99), Promise::Confirmed).is_err(), "shown too late");
    assert!(expiring(300).check(&there(301), Promise::Confirmed).is_err(), "another time");
}
