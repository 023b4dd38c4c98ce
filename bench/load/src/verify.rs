//! What may be read: every key's versions, as far as this run has written them.
//!
//! At most one write of a key is under way at a time (a second one is turned into another key's), so versions follow
//! each other in the order of the server as well. A read that was sent after version *v* was confirmed must not see
//! less than *v*; no read may see what was never sent. A write whose answer never came may take effect at any later
//! time, so from then on nothing of that key counts as old; its values are still checked byte by byte.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use crate::values::{self, Damage};

/// What a read showed that it must not show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// Its length is not the one it was written with.
    Length,
    /// Bytes that no write ever had.
    Wrong,
    /// Another key's value.
    OtherKey,
    /// Parts of different writes.
    Torn,
    /// Older than what was confirmed before the read was sent.
    Stale,
    /// Newer than anything that was sent.
    NeverWritten,
    /// Nothing, where a value was confirmed or was to be expected.
    Missing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rules {
    /// How old a value may be, for replicas that lag: versions replaced less than this before the read are allowed.
    pub(crate) stale_ns: u64,
    /// Whether each key is to have a value from the start.
    pub(crate) present: bool,
    /// Versions of this run are above this, those of earlier runs at or below.
    pub(crate) base: u64,
}

#[derive(Default)]
struct Entry {
    issued: AtomicU64,
    confirmed: AtomicU64,
    confirmed_at: AtomicU64,
    state: AtomicU64,
}

const WRITING: u64 = 1;
const UNCERTAIN: u64 = 2;

const CHUNK: usize = 1 << 14;
/// Four thousand million keys.
const CHUNKS: usize = 1 << 18;

/// The versions of every key, shared by the threads.
pub(crate) struct Table {
    rules: Rules,
    chunks: Box<[OnceLock<Box<[Entry]>>]>,
}

/// What a read must at least show; taken when it is sent.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Floor(pub(crate) u64);

impl Table {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect() }
    }

    fn entry(&self, key: u64) -> &Entry {
        let key = usize::try_from(key).unwrap_or(usize::MAX);
        let chunk = &self.chunks[key / CHUNK % CHUNKS];
        &chunk.get_or_init(|| (0..CHUNK).map(|_| Entry::default()).collect())[key % CHUNK]
    }

    /// The version to write, unless another write of the key is under way.
    pub(crate) fn begin_write(&self, key: u64) -> Option<u64> {
        let entry = self.entry(key);
        if entry.state.fetch_or(WRITING, Ordering::AcqRel) & WRITING != 0 {
            return None;
        }
        let version = entry.issued.load(Ordering::Acquire).max(self.rules.base) + 1;
        entry.issued.store(version, Ordering::Release);
        Some(version)
    }

    /// The write was confirmed.
    pub(crate) fn confirm_write(&self, key: u64, version: u64, now: u64) {
        let entry = self.entry(key);
        if entry.state.load(Ordering::Acquire) & UNCERTAIN == 0 {
            entry.confirmed_at.store(now, Ordering::Release);
            entry.confirmed.store(version, Ordering::Release);
        }
        entry.state.fetch_and(!WRITING, Ordering::AcqRel);
    }

    /// Nobody knows whether the write took or will take effect.
    pub(crate) fn lose_write(&self, key: u64) {
        let entry = self.entry(key);
        entry.state.fetch_or(UNCERTAIN, Ordering::AcqRel);
        entry.state.fetch_and(!WRITING, Ordering::AcqRel);
    }

    /// The write was never sent.
    pub(crate) fn cancel_write(&self, key: u64) {
        self.entry(key).state.fetch_and(!WRITING, Ordering::AcqRel);
    }

    /// What a read that is sent now must see.
    pub(crate) fn floor(&self, key: u64, now: u64) -> Floor {
        let entry = self.entry(key);
        let confirmed = entry.confirmed.load(Ordering::Acquire);
        let age = now.saturating_sub(entry.confirmed_at.load(Ordering::Acquire));
        let bound = self.rules.stale_ns;
        Floor(if bound > 0 && age < bound { 0 } else { confirmed })
    }

    /// Judges what a read has shown.
    pub(crate) fn check(&self, key: u64, floor: Floor, value: Option<&[u8]>) -> Result<(), Fault> {
        let Some(value) = value else {
            let expected = floor.0 > 0 || self.rules.present;
            return if expected { Err(Fault::Missing) } else { Ok(()) };
        };
        let version = values::check(key, value).map_err(|damage| match damage {
            Damage::Length => Fault::Length,
            Damage::Head => Fault::Wrong,
            Damage::OtherKey => Fault::OtherKey,
            Damage::Torn => Fault::Torn,
        })?;
        if version < floor.0 {
            return Err(Fault::Stale);
        }
        let newest = self.entry(key).issued.load(Ordering::Acquire);
        if version > self.rules.base && version > newest { Err(Fault::NeverWritten) } else { Ok(()) }
    }
}

/// What checking has found, for the result.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Findings {
    /// Values and absences that were checked.
    pub(crate) checked: u64,
    pub(crate) faults: BTreeMap<Fault, u64>,
    /// The first few, in words.
    pub(crate) examples: Vec<String>,
}

/// Faults that are described in full.
const EXAMPLES_MAX: usize = 10;

impl Findings {
    pub(crate) fn note(&mut self, key: u64, floor: Floor, value: Option<&[u8]>, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
        if self.examples.len() < EXAMPLES_MAX {
            let shown = value.map_or_else(|| "no value".to_owned(), describe);
            self.examples.push(format!("key {key}: {fault:?}, at least version {} was due, found {shown}", floor.0));
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.checked += other.checked;
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES_MAX);
    }
}

fn describe(value: &[u8]) -> String {
    let word = |at: usize| value.get(at..at + 8).and_then(|word| word.try_into().ok()).map_or(0, u64::from_le_bytes);
    format!("{} bytes that say key {}, version {}", value.len(), word(0), word(8))
}
