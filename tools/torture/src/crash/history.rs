//! What one writer has asked for, and what the server may hold after a crash.
//!
//! A writer has one connection and keys of its own, all in one slot, hence in one partition: its writes happen in the
//! order in which it sent them. So after a crash there must be one place in that order such that everything before it
//! is there, on all its keys, and nothing after it; and no write that was confirmed, or shown to a reader, may be
//! behind that place. A write of several keys is one step: it cannot be there in part.

use std::collections::BTreeMap;
use std::ops::Range;

use super::chunk::Chunk;

/// What a key holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Stored {
    pub(super) chunks: Vec<Chunk>,
    /// Milliseconds since 1970.
    pub(super) expires_at: Option<u64>,
}

pub(super) type State = BTreeMap<u16, Stored>;

/// One change of one key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Set {
        key: u16,
        len: usize,
        expires_at: Option<u64>,
    },
    Append {
        key: u16,
        len: usize,
    },
    Delete {
        key: u16,
    },
    /// GETDEL.
    Take {
        key: u16,
    },
    Expire {
        key: u16,
        at: u64,
    },
    Persist {
        key: u16,
    },
}

impl Change {
    pub(super) fn key(&self) -> u16 {
        match *self {
            Self::Set { key, .. }
            | Self::Append { key, .. }
            | Self::Delete { key }
            | Self::Take { key }
            | Self::Expire { key, .. }
            | Self::Persist { key } => key,
        }
    }

    fn apply(&self, version: u64, state: &mut State) {
        match *self {
            Self::Set { key, len, expires_at } => {
                state.insert(key, Stored { chunks: vec![Chunk { version, len }], expires_at });
            }
            Self::Append { key, len } => {
                let stored = state.entry(key).or_insert(Stored { chunks: Vec::new(), expires_at: None });
                stored.chunks.push(Chunk { version, len });
            }
            Self::Delete { key } | Self::Take { key } => drop(state.remove(&key)),
            Self::Expire { key, at } => {
                if let Some(stored) = state.get_mut(&key) {
                    stored.expires_at = Some(at);
                }
            }
            Self::Persist { key } => {
                if let Some(stored) = state.get_mut(&key) {
                    stored.expires_at = None;
                }
            }
        }
    }
}

/// One write: a command, or several in a transaction. It happens as a whole or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Op {
    pub(super) changes: Vec<Change>,
    /// Whether several changes are one MSET rather than a transaction.
    pub(super) as_mset: bool,
}

impl Op {
    fn apply(&self, version: u64, state: &mut State) {
        self.changes.iter().for_each(|change| change.apply(version, state));
    }
}

/// What was found at one key, and when it was asked: milliseconds since 1970, before and after.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) stored: Option<Stored>,
    pub(super) asked: Range<u64>,
}

impl Found {
    fn agrees(&self, expected: Option<&Stored>) -> bool {
        let expired_by = |stored: &Stored, time: u64| stored.expires_at.is_some_and(|at| at <= time);
        match (&self.stored, expected) {
            (None, None) => true,
            (None, Some(expected)) => expired_by(expected, self.asked.end),
            (Some(found), Some(expected)) => found == expected && !expired_by(expected, self.asked.start),
            (Some(_), None) => false,
        }
    }
}

/// How much must be there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Promise {
    /// Everything confirmed and everything shown.
    Confirmed,
    /// Everything up to the last check: what `durability = memory` promises of a power cut.
    LastCheck,
}

/// The writes of one writer since the last check.
#[derive(Clone, Default, Debug)]
pub(super) struct History {
    /// What was found then.
    base: State,
    /// That, with every confirmed write.
    now: State,
    ops: Vec<Op>,
    /// The version of the first of `ops`.
    first_version: u64,
    /// So many of `ops` were confirmed.
    confirmed: usize,
    /// So many of them a reader was shown.
    shown: usize,
}

impl History {
    /// The version that the next write gets.
    pub(super) fn next_version(&self) -> u64 {
        self.first_version + u64::try_from(self.ops.len()).unwrap_or(0)
    }

    /// A write has been sent.
    pub(super) fn sent(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// The oldest write without a reply, its version, and what the keys held before it.
    pub(super) fn oldest_open(&self) -> Option<(&Op, u64, &State)> {
        let op = self.ops.get(self.confirmed)?;
        Some((op, self.first_version + u64::try_from(self.confirmed).unwrap_or(0), &self.now))
    }

    /// The oldest write without a reply was confirmed.
    pub(super) fn confirmed(&mut self) {
        let version = self.first_version + u64::try_from(self.confirmed).unwrap_or(0);
        self.ops[self.confirmed].apply(version, &mut self.now);
        self.confirmed += 1;
    }

    /// The oldest write without a reply was refused: it has not happened and never will.
    pub(super) fn refused(&mut self) {
        // Its number stays taken.
        self.ops[self.confirmed].changes.clear();
        self.confirmed += 1;
    }

    /// Writes without a reply.
    pub(super) fn open(&self) -> usize {
        self.ops.len() - self.confirmed
    }

    /// A reader was shown version `version`.
    pub(super) fn shown(&mut self, version: u64) {
        let index = version.checked_sub(self.first_version).and_then(|index| usize::try_from(index).ok());
        // Older ones were there at the last check.
        if let Some(index) = index {
            self.shown = self.shown.max(index + 1);
        }
    }

    /// Looks for the place in the order of writes up to which all is there, and takes that as the new base. Returns
    /// how many writes were lost. The error says what contradicts.
    pub(super) fn check(&mut self, found: &BTreeMap<u16, Found>, promise: Promise) -> Result<u64, String> {
        let promised = match promise {
            Promise::Confirmed => self.confirmed.max(self.shown),
            Promise::LastCheck => 0,
        };
        if promised > self.ops.len() {
            return Err(format!("a reader was shown version {} before it was sent", self.shown));
        }
        let mut state = self.base.clone();
        let mut wrong = wrong_keys(found, &state);
        let mut least: Option<(usize, BTreeMap<u16, Option<Stored>>)> = None;
        for (version, place) in (self.first_version..).zip(0..=self.ops.len()) {
            if place >= promised {
                if wrong.is_empty() {
                    let lost = self.ops.len() - place;
                    self.settle(state);
                    return Ok(u64::try_from(lost).unwrap_or(0));
                }
                if least.as_ref().is_none_or(|(_, keys)| keys.len() > wrong.len()) {
                    least = Some((place, wrong.clone()));
                }
            }
            let Some(op) = self.ops.get(place) else { break };
            op.apply(version, &mut state);
            for key in op.changes.iter().map(Change::key) {
                update(&mut wrong, key, found, &state);
            }
        }
        Err(self.contradiction(least, found, promised))
    }

    fn settle(&mut self, state: State) {
        self.first_version = self.next_version();
        self.now.clone_from(&state);
        self.base = state;
        self.ops.clear();
        (self.confirmed, self.shown) = (0, 0);
    }

    fn contradiction(
        &self,
        least: Option<(usize, BTreeMap<u16, Option<Stored>>)>,
        found: &BTreeMap<u16, Found>,
        promised: usize,
    ) -> String {
        let (place, wrong) = least.unwrap_or_default();
        let mut text = format!(
            "no place in the order of {} writes ({} confirmed, {} shown) explains what is there; the nearest is after \
             {place} (versions {} and on, promised {promised}), where {} keys are wrong:",
            self.ops.len(),
            self.confirmed,
            self.shown,
            self.first_version,
            wrong.len()
        );
        for (key, expected) in wrong.iter().take(4) {
            text.push_str(&format!("\n  key {key}: expected {expected:?}\n    found {:?}", found.get(key)));
        }
        text
    }

    /// Values of confirmed writes that are still current, as key and chunk.
    pub(super) fn current(&self) -> Vec<(u16, Chunk)> {
        let chunks = |(key, stored): (&u16, &Stored)| stored.chunks.first().map(|chunk| (*key, *chunk));
        self.base.iter().filter_map(chunks).collect()
    }
}

fn update(wrong: &mut BTreeMap<u16, Option<Stored>>, key: u16, found: &BTreeMap<u16, Found>, state: &State) {
    match found.get(&key) {
        Some(found) if !found.agrees(state.get(&key)) => drop(wrong.insert(key, state.get(&key).cloned())),
        _ => drop(wrong.remove(&key)),
    }
}

fn wrong_keys(found: &BTreeMap<u16, Found>, state: &State) -> BTreeMap<u16, Option<Stored>> {
    let mut wrong = BTreeMap::new();
    found.keys().for_each(|&key| update(&mut wrong, key, found, state));
    wrong
}

#[cfg(test)]
mod tests;
