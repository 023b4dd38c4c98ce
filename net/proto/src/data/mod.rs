//! What each data command does to a partition.
//!
//! Pure: the time and a draw of chance are parameters, a partition is all that is touched. A command either does what
//! it says and writes its reply, or does nothing at all. Each command is written once against a small view of keys
//! ([`keyspace`](self)), which is either the partition itself or, in a transaction, the partition below the changes
//! made so far.
//!
//! Nobody is shown anything that could still be lost: every [`Outcome`] names the log position that must be committed
//! before its reply may go out, whether the reply confirms a write or only shows one.
//!
//! Replies are those of Redis 7.2. GET and SET without options allocate nothing and copy a value once, between the
//! log and the connection's buffer; commands that put a value together from an old one copy it through a buffer that
//! is kept; commands on several keys allocate a list of them.

mod error;
mod expiry;
mod gather;
mod keys;
mod keyspace;
mod route;
mod run;
mod strings;
mod transaction;
mod whole;

#[cfg(test)]
mod tests;

use alloc::vec::Vec;

use windrow_core::{
    log::{Damaged, SegmentMemory},
    partition::Partition,
    types::{Lsn, PartitionMap, UnixMillis},
};

pub use error::DataError;
pub use gather::{Gather, Part, split};
pub use keyspace::LogRange;
pub use route::{CROSS_SLOT, Route, Unit, route};
pub use transaction::{Version, execute_transaction, is_allowed_in_transaction, version};
pub use whole::scan_start;

use crate::{
    command::{Command, Id},
    limits::{LARGE_VALUE_LEN_DEFAULT, VALUE_SCRATCH_KEPT},
    resp::{Args, Encoder, Protocol},
};
use error::Stop;
use keyspace::{Direct, Keyspace};
use run::{Flow, Run};

/// What commands need beside a partition. One per core: set what differs from command to command before each.
#[derive(Debug)]
pub struct Ctx {
    /// The time. Whether a key has expired, and when it will, is decided by the partition's clock, which never goes back
    /// behind what it has seen of this.
    pub now: UnixMillis,
    /// A random number, for RANDOMKEY.
    pub draw: u64,
    /// The version of RESP that the connection speaks.
    pub protocol: Protocol,
    /// GET leaves a value of so many bytes or more in the log, for the caller to send from there.
    pub large_len_min: usize,
    /// A reply of more bytes is not put together: nobody would get it.
    pub reply_len_max: usize,
    map: PartitionMap,
    scratch: Vec<u8>,
}

impl Ctx {
    /// For a node whose slots are dealt by `map`.
    #[must_use]
    pub const fn new(map: PartitionMap) -> Self {
        Self {
            now: UnixMillis::ZERO,
            draw: 0,
            protocol: Protocol::Resp2,
            large_len_min: LARGE_VALUE_LEN_DEFAULT,
            reply_len_max: usize::MAX,
            map,
            scratch: Vec::new(),
        }
    }
}

/// What came of a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "a reply must not go out before what it waits for is committed"]
pub enum Outcome {
    /// The reply, which may be an error, has been written.
    Done {
        /// The reply may go out once this is committed; [`Lsn::ZERO`]: at once.
        wait: Lsn,
    },
    /// The reply has been written up to a value; the value itself, to be sent from the log, and CR LF must follow.
    Large {
        /// The reply may go out once this is committed.
        wait: Lsn,
        /// The value. [`Partition::segment_holding`] its start has all of it.
        value: LogRange,
    },
    /// A record has been damaged since it was written: nothing was done, and the reply, an error that says so, has been
    /// written and may go out at once. To be told to operators, too.
    Damaged(Damaged),
    /// The log cannot take a write yet: nothing was done and nothing was written. Run the command again once a
    /// segment has been prepared.
    Retry,
    /// The command is none that a partition executes: nothing was done and nothing was written.
    NotData,
}

/// Executes `command`, which `args` call and whose number of arguments has been checked, and writes its reply to the
/// end of `out`. All its keys must belong to `partition`.
///
/// A command on the whole node (see [`Route::All`]) does its part on this partition; [`Gather`] puts the parts
/// together.
#[inline]
pub fn execute<M: SegmentMemory>(
    ctx: &mut Ctx,
    partition: &mut Partition<M>,
    command: &'static Command,
    args: Args<'_>,
    out: &mut Vec<u8>,
) -> Outcome {
    let start = out.len();
    let clock = partition.clock(ctx.now);
    let mut run = Run {
        keys: &mut Direct { partition: &mut *partition, now: ctx.now },
        command,
        args,
        reply: Encoder::new(out, ctx.protocol),
        scratch: &mut ctx.scratch,
        now: clock,
        wait: Lsn::ZERO,
        large_len_min: ctx.large_len_min,
        large: None,
        reply_start: start,
        reply_len_max: ctx.reply_len_max,
    };
    let Some(flow) = dispatch(&mut run).or_else(|| whole::dispatch(&mut run, ctx.map, ctx.draw)) else {
        return Outcome::NotData;
    };
    let (wait, large) = (run.wait, run.large);
    ctx.scratch.clear();
    ctx.scratch.shrink_to(VALUE_SCRATCH_KEPT);
    // A command that has written something is never run again: its record is all that there is to wait for.
    let settled = if flow == Err(Stop::Retry) { None } else { partition.settle(ctx.now, wait).ok() };
    let Some(wait) = settled else {
        out.truncate(start);
        return Outcome::Retry;
    };
    match flow {
        Ok(()) => match large {
            None => Outcome::Done { wait },
            Some(value) => Outcome::Large { wait, value },
        },
        Err(Stop::Retry) => Outcome::Retry,
        Err(Stop::Error(error)) => {
            out.truncate(start);
            Encoder::new(out, ctx.protocol).error_fmt(format_args!("{error}"));
            match error {
                DataError::Damaged { damage, .. } => Outcome::Damaged(damage),
                // What was read may have decided that this is an error.
                _ => Outcome::Done { wait },
            }
        }
    }
}

/// Runs a command on keys; `None` where it is none.
#[inline]
fn dispatch<K: Keyspace>(run: &mut Run<'_, K>) -> Option<Flow> {
    Some(match run.command.id {
        Id::Get => strings::get(run),
        Id::Set => strings::set(run),
        id => return dispatch_other(id, run),
    })
}

fn dispatch_other<K: Keyspace>(id: Id, run: &mut Run<'_, K>) -> Option<Flow> {
    Some(match id {
        Id::Append => strings::append(run),
        Id::Decr => strings::decr(run),
        Id::Decrby => strings::decr_by(run),
        Id::Getdel => strings::get_del(run),
        Id::Getex => strings::get_ex(run),
        Id::Getrange | Id::Substr => strings::get_range(run),
        Id::Getset => strings::get_set(run),
        Id::Incr => strings::incr(run),
        Id::Incrby => strings::incr_by(run),
        Id::Incrbyfloat => strings::incr_by_float(run),
        Id::Lcs => strings::lcs(run),
        Id::Mget => strings::mget(run),
        Id::Mset => strings::mset(run),
        Id::Msetnx => strings::mset_nx(run),
        Id::Psetex => strings::pset_ex(run),
        Id::Setex => strings::set_ex(run),
        Id::Setnx => strings::set_nx(run),
        Id::Setrange => strings::set_range(run),
        Id::Strlen => strings::str_len(run),
        Id::Copy => keys::copy(run),
        Id::Del | Id::Unlink => keys::del(run),
        Id::Exists | Id::Touch => keys::exists(run),
        Id::Expire => keys::expire(run),
        Id::Expireat => keys::expire_at(run),
        Id::Expiretime => keys::expire_time(run),
        Id::MemoryUsage => keys::memory_usage(run),
        Id::ObjectEncoding => keys::object_encoding(run),
        Id::ObjectFreq => keys::object_freq(run),
        Id::ObjectIdletime => keys::object_idle_time(run),
        Id::ObjectRefcount => keys::object_ref_count(run),
        Id::Persist => keys::persist(run),
        Id::Pexpire => keys::pexpire(run),
        Id::Pexpireat => keys::pexpire_at(run),
        Id::Pexpiretime => keys::pexpire_time(run),
        Id::Pttl => keys::pttl(run),
        Id::Rename => keys::rename(run),
        Id::Renamenx => keys::rename_nx(run),
        Id::Ttl => keys::ttl(run),
        Id::Type => keys::type_of(run),
        _ => return None,
    })
}
