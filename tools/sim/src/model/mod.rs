//! What a partition should hold and what its commands should answer: a second opinion, written from the commands'
//! documentation over a sorted map.
//!
//! The model is told what time it is and is asked command by command, in the order of the log. It also says what a
//! reply depends on, so that a reply which is shown too early is noticed whatever the engine says of it.

mod expiry;
mod keys;
mod reply;
mod strings;

use std::collections::BTreeMap;

use windrow_core::codec::OP_LEN;
use windrow_core::types::Lsn;

use reply::Reply;
pub(crate) use reply::{Expected, Item, parse_reply};

use crate::truth::RecordOp;

/// A value and until when it is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Value {
    pub(crate) bytes: Vec<u8>,
    pub(crate) expires_at: Option<u64>,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) value: Value,
    /// The end of the record that put it: its version.
    pub(crate) end: Lsn,
    /// Since which step it has been there without a gap.
    pub(crate) since: u64,
}

/// The keys of one partition, those included that have expired and have not been swept.
#[derive(Clone, Default, Debug)]
pub(crate) struct State {
    pub(crate) keys: BTreeMap<Vec<u8>, Stored>,
    /// The record that changed a key last, also where it is gone.
    changed: BTreeMap<Vec<u8>, Lsn>,
    cleared: Lsn,
    /// Never goes back.
    pub(crate) clock: u64,
}

impl State {
    pub(crate) fn observe(&mut self, now: u64) {
        self.clock = self.clock.max(now);
    }

    pub(crate) fn live(&self, key: &[u8]) -> Option<&Stored> {
        self.keys.get(key).filter(|stored| stored.value.expires_at.is_none_or(|at| at > self.clock))
    }

    pub(crate) fn live_keys(&self) -> impl Iterator<Item = (&Vec<u8>, &Stored)> {
        self.keys.iter().filter(|(_, stored)| stored.value.expires_at.is_none_or(|at| at > self.clock))
    }

    /// Which record must be committed before anybody is told what `key` is.
    pub(crate) fn depends_on(&self, key: &[u8]) -> Lsn {
        self.changed.get(key).copied().unwrap_or(Lsn::ZERO).max(self.cleared)
    }

    /// The newest change of all.
    pub(crate) fn newest_change(&self) -> Lsn {
        self.changed.values().copied().max().unwrap_or(Lsn::ZERO).max(self.cleared)
    }

    /// The version of a key, as WATCH sees it.
    pub(crate) fn version(&self, key: &[u8]) -> Option<Lsn> {
        self.live(key).map(|stored| stored.end)
    }

    /// Applies what a record does. `step` numbers the steps of the run.
    pub(crate) fn apply(&mut self, ops: &[RecordOp], end: Lsn, step: u64) {
        for op in ops {
            match op {
                RecordOp::Put { key, value, expires_at } => {
                    let since = self.live(key).map_or(step, |stored| stored.since);
                    let value = Value { bytes: value.clone(), expires_at: *expires_at };
                    self.keys.insert(key.clone(), Stored { value, end, since });
                    self.changed.insert(key.clone(), end);
                }
                RecordOp::Delete { key } => {
                    let was_live = self.live(key).is_some();
                    let removed = self.keys.remove(key);
                    assert!(removed.is_some(), "a key is deleted that was not there");
                    if was_live {
                        self.changed.insert(key.clone(), end);
                    }
                }
                RecordOp::Clear => {
                    self.keys.clear();
                    self.cleared = end;
                }
            }
        }
    }

    /// Everything so far is committed: nothing has to wait for it any more.
    pub(crate) fn settle(&mut self) {
        self.changed.clear();
        self.cleared = Lsn::ZERO;
    }

    /// How many keys have changed since everything was settled, those that are gone included.
    pub(crate) fn changed_count(&self) -> u64 {
        self.changed.len() as u64
    }

    /// Bytes of keys, values and operation headers that are current.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.keys.iter().map(|(key, stored)| (key.len() + stored.value.bytes.len() + OP_LEN) as u64).sum()
    }
}

/// The state below the changes of one command, or of one transaction.
pub(crate) struct View<'a> {
    state: &'a State,
    pub(crate) changes: BTreeMap<Vec<u8>, Option<Value>>,
    /// The partition's clock.
    now: u64,
    resp3: bool,
    /// What the reply depends on.
    pub(crate) depends_on: Lsn,
    /// When the last of those keys expired that were found to have; 0 where none was.
    pub(crate) expired_at: u64,
}

impl<'a> View<'a> {
    pub(crate) const fn new(state: &'a State, now: u64, resp3: bool) -> Self {
        let now = if now > state.clock { now } else { state.clock };
        Self { state, changes: BTreeMap::new(), now, resp3, depends_on: Lsn::ZERO, expired_at: 0 }
    }

    fn get(&mut self, key: &[u8]) -> Option<Value> {
        if let Some(change) = self.changes.get(key) {
            return change.clone();
        }
        self.depends_on = self.depends_on.max(self.state.depends_on(key));
        let stored = self.state.keys.get(key).and_then(|stored| stored.value.expires_at);
        self.expired_at = stored.filter(|at| *at <= self.state.clock).unwrap_or(0).max(self.expired_at);
        self.state.live(key).map(|stored| stored.value.clone())
    }

    fn has(&mut self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    fn put(&mut self, key: &[u8], bytes: Vec<u8>, expires_at: Option<u64>) {
        self.changes.insert(key.to_vec(), Some(Value { bytes, expires_at }));
    }

    fn delete(&mut self, key: &[u8]) {
        self.changes.insert(key.to_vec(), None);
    }

    /// What the command answers; what it changes is in `changes` afterwards.
    pub(crate) fn run(&mut self, args: &[Vec<u8>]) -> Expected {
        let name = args[0].to_ascii_lowercase();
        let before = self.changes.clone();
        let answer = strings::run(self, &name, args)
            .or_else(|| keys::run(self, &name, args))
            .or_else(|| keys::run_whole(self, &name, args))
            .unwrap_or_else(|| panic!("the model does not know {}", name.escape_ascii()));
        match answer {
            Ok(Reply::Pending(expected)) => expected,
            Ok(reply) => Expected::Bytes(reply.encode(self.resp3)),
            Err(error) => {
                self.changes = before;
                Expected::Bytes(Reply::Error(error).encode(self.resp3))
            }
        }
    }

    /// Whether what a record does leaves everybody seeing what these changes say.
    pub(crate) fn agrees_with(&self, ops: &[RecordOp]) -> Result<(), String> {
        let clock = self.state.clock;
        let is_live = |value: &&Value| value.expires_at.is_none_or(|at| at > clock);
        let mut written: BTreeMap<&[u8], Option<Value>> = BTreeMap::new();
        for op in ops {
            match op {
                RecordOp::Put { key, value, expires_at } => {
                    written.insert(key, Some(Value { bytes: value.clone(), expires_at: *expires_at }));
                }
                RecordOp::Delete { key } => {
                    written.insert(key, None);
                }
                RecordOp::Clear => return Err("a clear among keys".into()),
            }
        }
        for key in self.changes.keys().map(Vec::as_slice).chain(written.keys().copied()) {
            let now = || self.state.live(key).map(|stored| &stored.value);
            let wanted = self.changes.get(key).map_or_else(now, Option::as_ref).filter(is_live);
            let found = written.get(key).map_or_else(now, Option::as_ref).filter(is_live);
            if wanted != found {
                return Err(format!("key {}: {found:?} in the log, {wanted:?} expected", key.escape_ascii()));
            }
        }
        Ok(())
    }
}
