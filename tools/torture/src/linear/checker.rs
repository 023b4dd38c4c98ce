//! Whether a history of one key is linearizable.
//!
//! The algorithm of Wing and Gong, *Testing and Verifying Concurrent Objects* (1993), with Lowe's memoisation,
//! *Testing for linearizability* (2017): try to put the operations into an order that respects what had returned
//! before what was called, going back where a reply contradicts the model, and never entering the same pair of
//! operations done and state twice. An operation without a reply may have happened at any time after its call, or not
//! at all, which is the same as at the end.

use std::collections::HashSet;

use super::model::{Input, Output, State, apply};

/// One operation of a history.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Who asked; for people.
    pub client: usize,
    /// What was asked.
    pub input: Input,
    /// When it was asked, in nanoseconds.
    pub called: u64,
    /// The reply and when it came; none where it never did.
    pub returned: Option<(u64, Output)>,
}

/// What a check came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// There is an order that explains every reply.
    Linearizable,
    /// There is none.
    Violation,
    /// Too many orders to try them all.
    Undecided,
}

/// The steps that one check may take.
pub const STEPS_MAX: u64 = 20_000_000;

const END: usize = usize::MAX;

/// Calls and returns in the order of time, as a list from which operations are taken and put back.
struct Events {
    /// The operation of each event.
    op: Vec<usize>,
    is_call: Vec<bool>,
    /// Of a call, the place of its return; `END` where there is none.
    partner: Vec<usize>,
    next: Vec<usize>,
    prev: Vec<usize>,
    first: usize,
}

impl Events {
    fn new(ops: &[Operation]) -> Self {
        // At the same time, a call comes before a return: that allows more orders, never fewer.
        let mut times: Vec<(u64, bool, usize)> = Vec::with_capacity(2 * ops.len());
        for (index, op) in ops.iter().enumerate() {
            times.push((op.called, false, index));
            if let Some((returned, _)) = &op.returned {
                times.push((*returned, true, index));
            }
        }
        times.sort_unstable();
        let count = times.len();
        let mut returns = vec![END; ops.len()];
        for (place, (_, is_return, op)) in times.iter().enumerate() {
            if *is_return {
                returns[*op] = place;
            }
        }
        Self {
            op: times.iter().map(|(.., op)| *op).collect(),
            is_call: times.iter().map(|(_, is_return, _)| !is_return).collect(),
            partner: times.iter().map(|(_, is_return, op)| if *is_return { END } else { returns[*op] }).collect(),
            next: (0..count).map(|place| if place + 1 < count { place + 1 } else { END }).collect(),
            prev: (0..count).map(|place| place.checked_sub(1).unwrap_or(END)).collect(),
            first: if count == 0 { END } else { 0 },
        }
    }

    fn unlink(&mut self, place: usize) {
        let (prev, next) = (self.prev[place], self.next[place]);
        if prev == END {
            self.first = next
        } else {
            self.next[prev] = next
        }
        if next != END {
            self.prev[next] = prev;
        }
    }

    fn relink(&mut self, place: usize) {
        let (prev, next) = (self.prev[place], self.next[place]);
        if prev == END {
            self.first = place
        } else {
            self.next[prev] = place
        }
        if next != END {
            self.prev[next] = place;
        }
    }

    /// Takes a call and its return out.
    fn lift(&mut self, call: usize) {
        self.unlink(call);
        if self.partner[call] != END {
            self.unlink(self.partner[call]);
        }
    }

    /// Puts them back; only in the reverse order of `lift`.
    fn unlift(&mut self, call: usize) {
        if self.partner[call] != END {
            self.relink(self.partner[call]);
        }
        self.relink(call);
    }
}

/// Checks a history whose key held nothing before it.
#[must_use]
pub fn check(ops: &[Operation]) -> Verdict {
    check_within(ops, STEPS_MAX)
}

/// Checks a history in at most `steps_max` steps.
#[must_use]
pub fn check_within(ops: &[Operation], steps_max: u64) -> Verdict {
    let mut events = Events::new(ops);
    let mut open = ops.iter().filter(|op| op.returned.is_some()).count();
    let mut done = vec![0_u64; ops.len().div_ceil(64)];
    let mut state: State = None;
    let mut visited: HashSet<(Box<[u64]>, State)> = HashSet::new();
    // What was put in order so far: the place of its call, and the state before it.
    let mut order: Vec<(usize, State)> = Vec::new();
    let mut at = events.first;
    let mut steps = 0;
    while open > 0 {
        steps += 1;
        if steps > steps_max {
            return Verdict::Undecided;
        }
        if at != END && events.is_call[at] {
            let index = events.op[at];
            let op = &ops[index];
            let (after, reply) = apply(&state, &op.input);
            let explains = op.returned.as_ref().is_none_or(|(_, seen)| *seen == reply);
            if explains {
                done[index / 64] |= 1 << (index % 64);
                if visited.insert((done.clone().into_boxed_slice(), after.clone())) {
                    order.push((at, std::mem::replace(&mut state, after)));
                    open -= usize::from(op.returned.is_some());
                    events.lift(at);
                    at = events.first;
                    continue;
                }
                done[index / 64] &= !(1 << (index % 64));
            }
            at = events.next[at];
            continue;
        }
        // A return whose call is not in the order yet: something before it was put in the wrong place.
        let Some((call, before)) = order.pop() else { return Verdict::Violation };
        state = before;
        let index = events.op[call];
        done[index / 64] &= !(1 << (index % 64));
        open += usize::from(ops[index].returned.is_some());
        events.unlift(call);
        at = events.next[call];
    }
    Verdict::Linearizable
}

#[cfg(test)]
mod tests;
