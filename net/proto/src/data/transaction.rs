//! MULTI, EXEC and WATCH: several commands as one record.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};

use windrow_core::{
    log::{RoomError, SegmentMemory},
    partition::{AppendError, Change, Op, Partition},
    types::{KeyHash, Lsn, UnixMillis, limits::record_len_max},
};

use super::{
    Ctx, Outcome, dispatch,
    error::{DataError, Stop},
    keyspace::{Found, Key, Keyspace, LogRange},
    run::Run,
};
use crate::{
    command::{Command, Flags, Id},
    resp::{Args, Encoder},
};

/// What a key was when it was looked at: what WATCH remembers and EXEC compares.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// It was not there, or had expired.
    Absent,
    /// The record that held it.
    At(Lsn),
}

/// The version of `key` now, and the log position that must be committed before a client is told anything that
/// depends on it.
pub fn version<M: SegmentMemory>(partition: &Partition<M>, key: &[u8], now: UnixMillis) -> (Version, Lsn) {
    let (version, wait) = look(partition, key, now);
    // A client is not shown what was found: that a key has expired need not be settled for it.
    (version, wait.min(partition.appended()))
}

fn look<M: SegmentMemory>(partition: &Partition<M>, key: &[u8], now: UnixMillis) -> (Version, Lsn) {
    let lookup = partition.get(partition.hash(key), key, now);
    (lookup.entry.map_or(Version::Absent, |entry| Version::At(entry.lsn)), lookup.wait)
}

/// Whether `command` may be queued by MULTI. Commands on the whole node may not: a transaction is one record of one
/// partition.
#[must_use]
pub const fn is_allowed_in_transaction(command: &Command) -> bool {
    let is_whole = matches!(command.id, Id::Dbsize | Id::Flushall | Id::Flushdb | Id::Keys | Id::Randomkey | Id::Scan);
    !is_whole && !command.flags.has(Flags::NO_MULTI)
}

/// EXEC: runs `commands` in order, each seeing what those before it did, and then writes everything they changed as
/// one record. Nothing is applied if that fails, or if a watched key is not what it was; the reply is then an error
/// or a null array. An error of a single command is its reply, and the others take effect, as in Redis.
///
/// All keys, the watched ones included, must belong to `partition`. `other` replies to commands that are none of a
/// partition's; it is called again when the outcome was [`Outcome::Retry`].
pub fn execute_transaction<'a, 'w, M: SegmentMemory>(
    ctx: &mut Ctx,
    partition: &mut Partition<M>,
    watched: impl IntoIterator<Item = (&'w [u8], Version)>,
    commands: impl ExactSizeIterator<Item = (&'static Command, Args<'a>)>,
    other: &mut dyn FnMut(&'static Command, Args<'a>, &mut Encoder<'_>),
    out: &mut Vec<u8>,
) -> Outcome {
    let start = out.len();
    let mut wait = Lsn::ZERO;
    for (key, before) in watched {
        let (now, position) = look(partition, key, ctx.now);
        wait = wait.max(position);
        if now != before {
            let Ok(wait) = partition.settle(ctx.now, wait) else { return Outcome::Retry };
            Encoder::new(out, ctx.protocol).null_array();
            return Outcome::Done { wait };
        }
    }
    let mut staged = Staged::new(&mut *partition, ctx.now);
    Encoder::new(out, ctx.protocol).array(commands.len());
    for (command, args) in commands {
        wait = wait.max(run_staged(ctx, &mut staged, command, args, other, out));
        let max = ctx.reply_len_max;
        if out.len() - start > max {
            out.truncate(start);
            Encoder::new(out, ctx.protocol).error_fmt(format_args!("{}", DataError::ReplyLength { max }));
            return Outcome::Done { wait: wait.min(partition.appended()) };
        }
    }
    match staged.commit() {
        Ok(end) => match partition.settle(ctx.now, wait.max(end)) {
            Ok(wait) => Outcome::Done { wait },
            Err(_) => {
                out.truncate(start);
                Outcome::Retry
            }
        },
        Err(error) => {
            out.truncate(start);
            match Stop::from(error) {
                Stop::Retry => Outcome::Retry,
                Stop::Error(error) => {
                    Encoder::new(out, ctx.protocol).error_fmt(format_args!("{error}"));
                    // Nothing is shown but that nothing was done.
                    Outcome::Done { wait: wait.min(partition.appended()) }
                }
            }
        }
    }
}

/// Runs one command of a transaction; returns what its reply waits for.
fn run_staged<'a, M: SegmentMemory>(
    ctx: &mut Ctx,
    staged: &mut Staged<'_, M>,
    command: &'static Command,
    args: Args<'a>,
    other: &mut dyn FnMut(&'static Command, Args<'a>, &mut Encoder<'_>),
    out: &mut Vec<u8>,
) -> Lsn {
    let start = out.len();
    let clock = staged.partition.clock(ctx.now);
    let mut run = Run {
        keys: staged,
        command,
        args,
        reply: Encoder::new(out, ctx.protocol),
        scratch: &mut ctx.scratch,
        now: clock,
        wait: Lsn::ZERO,
        large_len_min: usize::MAX,
        large: None,
        reply_start: start,
        reply_len_max: ctx.reply_len_max,
    };
    let flow = if is_allowed_in_transaction(command) {
        dispatch(&mut run).unwrap_or_else(|| {
            other(command, args, &mut run.reply);
            Ok(())
        })
    } else {
        Err(DataError::NotInTransaction.into())
    };
    let wait = run.wait;
    if let Err(Stop::Error(error)) = flow {
        out.truncate(start);
        Encoder::new(out, ctx.protocol).error_fmt(format_args!("{error}"));
    }
    wait
}

/// A partition below changes that are not written yet.
///
/// Invariant: staging never fails, so a command in a transaction is never asked to run again by itself. What is more than
/// two records can hold is not kept, and then nothing is written in the end.
pub(super) struct Staged<'p, M> {
    partition: &'p mut Partition<M>,
    now: UnixMillis,
    changes: BTreeMap<Box<[u8]>, Staging>,
    /// Bytes of the keys and values of all changes; or of so many of them that they are too much.
    len: usize,
}

struct Staging {
    hash: KeyHash,
    /// `None` for a deletion.
    value: Option<Value>,
}

struct Value {
    bytes: Box<[u8]>,
    expires_at: Option<UnixMillis>,
}

impl Staging {
    fn value_len(&self) -> usize {
        self.value.as_ref().map_or(0, |value| value.bytes.len())
    }
}

impl<M: SegmentMemory> Keyspace for Staged<'_, M> {
    fn hash(&self, key: &[u8]) -> KeyHash {
        self.partition.hash(key)
    }

    fn get(&self, key: Key<'_>) -> (Option<Found<'_>>, Lsn) {
        match self.changes.get(key.bytes) {
            Some(change) => {
                let value = change.value.as_ref();
                let found = value.map(|value| Found { value: &value.bytes, expires_at: value.expires_at, lsn: None });
                (found, Lsn::ZERO)
            }
            None => {
                let lookup = self.partition.get(key.hash, key.bytes, self.now);
                let found = lookup.entry.map(|entry| Found {
                    value: entry.value,
                    expires_at: entry.expires_at,
                    lsn: Some(entry.lsn),
                });
                (found, lookup.wait)
            }
        }
    }

    fn apply(&mut self, ops: &mut [Op<'_>]) -> Result<Lsn, AppendError> {
        for op in ops {
            let replaced = self.changes.get(op.key).map_or(0, |before| op.key.len() + before.value_len());
            let value_len = if let Change::Put { value, .. } = op.change { value.len() } else { 0 };
            let len = self.len - replaced + op.key.len() + value_len;
            if self.is_too_much(self.len) || self.is_too_much(len) {
                self.len = self.len.max(len);
                continue;
            }
            self.len = len;
            let value = match op.change {
                Change::Put { value, expires_at } => Some(Value { bytes: value.into(), expires_at }),
                Change::Delete => None,
            };
            self.changes.insert(op.key.into(), Staging { hash: op.hash, value });
        }
        Ok(Lsn::ZERO)
    }

    fn locate(&self, _: Found<'_>) -> Option<LogRange> {
        None
    }
}

impl<'p, M: SegmentMemory> Staged<'p, M> {
    pub(super) const fn new(partition: &'p mut Partition<M>, now: UnixMillis) -> Self {
        Self { partition, now, changes: BTreeMap::new(), len: 0 }
    }

    /// Bytes of the values that it holds in memory.
    #[cfg(test)]
    pub(super) fn kept_len(&self) -> usize {
        self.changes.values().map(Staging::value_len).sum()
    }

    fn record_len_max(&self) -> u64 {
        record_len_max(self.partition.log().config().segment_len)
    }

    /// Whether changes of so many bytes are not kept: a record has room for half of them, and later ones may supersede as
    /// many again.
    fn is_too_much(&self, len: usize) -> bool {
        u64::try_from(len).unwrap_or(u64::MAX) > 2 * self.record_len_max()
    }

    /// Writes all changes as one record; returns its end, or zero where there is nothing to write.
    pub(super) fn commit(self) -> Result<Lsn, AppendError> {
        if self.is_too_much(self.len) {
            let len = u64::try_from(self.len).unwrap_or(u64::MAX);
            return Err(RoomError::TooLarge { len, max: self.record_len_max() }.into());
        }
        let Self { partition, now, changes, .. } = self;
        let mut ops: Vec<Op<'_>> = Vec::with_capacity(changes.len());
        for (key, staging) in &changes {
            let change = match &staging.value {
                Some(value) => Change::Put { value: &value.bytes, expires_at: value.expires_at },
                // What was made and deleted in the same transaction was never there.
                None if partition.get(staging.hash, key, now).entry.is_none() => continue,
                None => Change::Delete,
            };
            ops.push(Op { hash: staging.hash, key, change });
        }
        if ops.is_empty() {
            return Ok(Lsn::ZERO);
        }
        partition.append(now, &mut ops).map(|appended| appended.end)
    }
}
