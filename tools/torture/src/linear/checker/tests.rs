//! Planted violations are caught, and the checker agrees with one that tries every order.

use super::super::model::Bytes;
use super::*;

fn bytes(text: &str) -> Bytes {
    text.as_bytes().into()
}

fn op(client: usize, input: Input, called: u64, returned: u64, output: Output) -> Operation {
    Operation { client, input, called, returned: Some((returned, output)) }
}

fn open(client: usize, input: Input, called: u64) -> Operation {
    Operation { client, input, called, returned: None }
}

fn set(text: &str) -> Input {
    Input::Set(bytes(text))
}

fn value(text: &str) -> Output {
    Output::Value(Some(bytes(text)))
}

/// Tries every order: a second opinion that shares nothing with the first but the model.
fn brute(ops: &[Operation]) -> Verdict {
    fn explains(ops: &[Operation], left: &[usize], state: &State) -> bool {
        if left.iter().all(|&index| ops[index].returned.is_none()) {
            return true;
        }
        let first_return = left.iter().filter_map(|&index| ops[index].returned.as_ref().map(|(at, _)| *at)).min();
        left.iter().any(|&index| {
            let op = &ops[index];
            if first_return.is_some_and(|first| first < op.called) {
                return false;
            }
            let (after, reply) = apply(state, &op.input);
            if op.returned.as_ref().is_some_and(|(_, seen)| *seen != reply) {
                return false;
            }
            let rest: Vec<usize> = left.iter().copied().filter(|&other| other != index).collect();
            explains(ops, &rest, &after)
        })
    }
    let all: Vec<usize> = (0..ops.len()).collect();
    if explains(ops, &all, &None) { Verdict::Linearizable } else { Verdict::Violation }
}

fn both(ops: &[Operation]) -> Verdict {
    let verdict = check(ops);
    assert_eq!(verdict, brute(ops), "{ops:?}");
    verdict
}

#[test]
fn a_stale_read_is_caught() {
    let writes = [op(0, set("a"), 0, 1, Output::Done), op(0, set("b"), 2, 5, Output::Done)];
    let read = |called, returned, text| op(1, Input::Get, called, returned, value(text));
    let history = |reads: &[Operation]| [&writes[..], reads].concat();
    assert_eq!(both(&history(&[read(6, 7, "a")])), Verdict::Violation, "after the write had returned");
    assert_eq!(both(&history(&[read(3, 7, "a")])), Verdict::Linearizable, "while it was open");
    assert_eq!(both(&history(&[read(3, 4, "b"), read(6, 7, "b")])), Verdict::Linearizable);
    assert_eq!(both(&history(&[read(2, 3, "b"), read(4, 5, "a")])), Verdict::Violation, "back in time");
}

#[test]
fn a_lost_write_is_caught() {
    let confirmed = [op(0, set("a"), 0, 1, Output::Done), op(1, Input::Get, 2, 3, Output::Value(None))];
    assert_eq!(both(&confirmed), Verdict::Violation);
    let unconfirmed = [open(0, set("a"), 0), op(1, Input::Get, 2, 3, Output::Value(None))];
    assert_eq!(both(&unconfirmed), Verdict::Linearizable);
    let shown_then_lost =
        [open(0, set("a"), 0), op(1, Input::Get, 2, 3, value("a")), op(1, Input::Get, 4, 5, Output::Value(None))];
    assert_eq!(both(&shown_then_lost), Verdict::Violation);
}

#[test]
fn a_lost_update_is_caught() {
    let incr = |client, number| op(client, Input::Incr, 0, 5, Output::Number(number));
    assert_eq!(both(&[incr(0, 1), incr(1, 2)]), Verdict::Linearizable);
    assert_eq!(both(&[incr(0, 1), incr(1, 1)]), Verdict::Violation);
    let nx = |client, output| op(client, Input::SetNx(bytes("x")), 0, 5, output);
    assert_eq!(both(&[nx(0, Output::Done), nx(1, Output::Value(None))]), Verdict::Linearizable);
    assert_eq!(both(&[nx(0, Output::Done), nx(1, Output::Done)]), Verdict::Violation, "both took the lock");
}

#[test]
fn a_write_that_happened_twice_is_caught() {
    let counted = |number| {
        [op(0, Input::Incr, 0, 1, Output::Number(1)), open(1, Input::Incr, 2), op(0, Input::Get, 8, 9, value(number))]
    };
    assert_eq!(both(&counted("1")), Verdict::Linearizable, "the open one has not happened yet");
    assert_eq!(both(&counted("2")), Verdict::Linearizable);
    assert_eq!(both(&counted("3")), Verdict::Violation);
    let appended = |text| [open(0, Input::Append(bytes("x")), 0), op(1, Input::Get, 2, 3, value(text))];
    assert_eq!(both(&appended("x")), Verdict::Linearizable);
    assert_eq!(both(&appended("xx")), Verdict::Violation);
}

#[test]
fn a_deleted_key_that_returns_is_caught() {
    let mut history = vec![
        op(0, set("a"), 0, 1, Output::Done),
        op(1, Input::GetDel, 2, 3, value("a")),
        op(2, Input::Get, 4, 5, Output::Value(None)),
    ];
    assert_eq!(both(&history), Verdict::Linearizable);
    history.push(op(2, Input::Get, 6, 7, value("a")));
    assert_eq!(both(&history), Verdict::Violation);
    history.push(op(1, Input::Del, 8, 9, Output::Number(1)));
    assert_eq!(both(&history), Verdict::Violation);
}

/// A history of a true register: each operation happens at some time between its call and its return.
fn true_history(random: &mut fastrand::Rng, count: usize) -> Vec<Operation> {
    let mut moments: Vec<u64> = (0..u64::try_from(count).unwrap()).map(|index| index * 10).collect();
    let mut state = None;
    let mut history: Vec<Operation> = Vec::new();
    for (client, moment) in moments.drain(..).enumerate() {
        let text = bytes(&random.u32(1..4).to_string());
        let input = match random.u32(..10) {
            0 | 1 => Input::Get,
            2 => Input::Set(text),
            3 => Input::SetNx(text),
            4 => Input::SetXx(text),
            5 => Input::GetSet(text),
            6 => Input::GetDel,
            7 => Input::Incr,
            8 => Input::Append(text),
            _ => Input::Del,
        };
        let (after, reply) = apply(&state, &input);
        let called = moment.saturating_sub(random.u64(..40));
        let returned = random.u32(..6).ne(&0).then(|| (moment + random.u64(1..40), reply));
        // Without a reply it may also not have happened.
        if returned.is_some() || random.bool() {
            state = after;
        }
        history.push(Operation { client, input, called, returned });
    }
    random.shuffle(&mut history);
    history
}

#[test]
fn it_agrees_with_one_that_tries_every_order() {
    let mut random = fastrand::Rng::with_seed(11);
    let (mut good, mut bad) = (0, 0);
    for _ in 0..6_000 {
        let count = random.usize(1..8);
        let mut history = true_history(&mut random, count);
        assert_eq!(both(&history), Verdict::Linearizable);
        // Two replies exchanged, or one made up.
        let (first, second) = (random.usize(..count), random.usize(..count));
        if let (Some(one), Some(two)) = (history[first].returned.clone(), history[second].returned.clone()) {
            let invented = Output::Number(random.i64(0..3));
            history[first].returned = Some((one.0, if random.bool() { two.1 } else { invented }));
            history[second].returned = Some((two.0, one.1));
        }
        match both(&history) {
            Verdict::Linearizable => good += 1,
            _ => bad += 1,
        }
    }
    assert!(good > 500 && bad > 500, "{good} good, {bad} bad");
}

#[test]
fn it_gives_up_rather_than_take_for_ever() {
    let mut random = fastrand::Rng::with_seed(3);
    let history = true_history(&mut random, 200);
    assert_eq!(check_within(&history, 3), Verdict::Undecided);
    assert_eq!(check(&history), Verdict::Linearizable);
}
