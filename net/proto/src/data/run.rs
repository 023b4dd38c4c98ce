//! One command on its way.

use alloc::vec::Vec;

use windrow_core::{
    partition::Op,
    types::{Lsn, UnixMillis, limits::KEY_LEN_MAX},
};

use super::{
    LogRange,
    error::{DataError, Stop},
    keyspace::{Found, Key, Keyspace, delete, put},
};
use crate::{
    command::Command,
    resp::{Args, Encoder, parse_i64},
};

pub(super) type Flow = Result<(), Stop>;

/// What a command's code works with. Its fields are borrowed one by one, so that a value can be read from the log
/// while the reply is being written.
pub(super) struct Run<'a, K> {
    pub(super) keys: &'a mut K,
    pub(super) command: &'static Command,
    pub(super) args: Args<'a>,
    pub(super) reply: Encoder<'a>,
    /// Room for a value that is put together from another one.
    pub(super) scratch: &'a mut Vec<u8>,
    pub(super) now: UnixMillis,
    /// The greatest log position that the reply must wait for, so far.
    pub(super) wait: Lsn,
    /// Values from this length on are left in the log for the caller to send.
    pub(super) large_len_min: usize,
    pub(super) large: Option<LogRange>,
    /// Where the reply starts in its buffer.
    pub(super) reply_start: usize,
    /// A longer reply is not put together.
    pub(super) reply_len_max: usize,
}

impl<'a, K: Keyspace> Run<'a, K> {
    /// Argument number `index` as a key.
    #[inline]
    pub(super) fn key(&self, index: usize) -> Result<Key<'a>, Stop> {
        self.key_of(self.args.at(index))
    }

    #[inline]
    pub(super) fn key_of(&self, bytes: &'a [u8]) -> Result<Key<'a>, Stop> {
        if bytes.len() > KEY_LEN_MAX {
            return Err(DataError::KeyLength.into());
        }
        Ok(Key { bytes, hash: self.keys.hash(bytes) })
    }

    /// Every argument from number `first` on, `step` apart, as a key.
    pub(super) fn keys_from(&self, first: usize, step: usize) -> Result<Vec<Key<'a>>, Stop> {
        self.args.from(first).step_by(step).map(|bytes| self.key_of(bytes)).collect()
    }

    /// Argument number `index` as an integer.
    pub(super) fn integer(&self, index: usize) -> Result<i64, Stop> {
        parse_i64(self.args.at(index)).ok_or(DataError::NotInteger.into())
    }

    /// Whether argument number `index` is `word`, in any case.
    pub(super) fn is(&self, index: usize, word: &str) -> bool {
        self.args.at(index).eq_ignore_ascii_case(word.as_bytes())
    }

    pub(super) fn exists(&mut self, key: Key<'_>) -> bool {
        read(self.keys, &mut self.wait, key).is_some()
    }

    /// Puts a value that is an argument.
    #[inline]
    pub(super) fn put(&mut self, key: Key<'_>, value: &[u8], expires_at: Option<UnixMillis>) -> Flow {
        self.apply(&mut [put(key, value, expires_at)])
    }

    /// Puts what stands in `scratch`.
    pub(super) fn put_scratch(&mut self, key: Key<'_>, expires_at: Option<UnixMillis>) -> Flow {
        let end = self.keys.apply(&mut [put(key, self.scratch, expires_at)])?;
        self.wait = self.wait.max(end);
        Ok(())
    }

    pub(super) fn delete(&mut self, key: Key<'_>) -> Flow {
        self.apply(&mut [delete(key)])
    }

    #[inline]
    pub(super) fn apply(&mut self, ops: &mut [Op<'_>]) -> Flow {
        let end = self.keys.apply(ops)?;
        self.wait = self.wait.max(end);
        Ok(())
    }

    /// Copies the value of `key` to `scratch`; returns its expiry, or `None` where there is no such key.
    pub(super) fn load(&mut self, key: Key<'_>) -> Option<Option<UnixMillis>> {
        self.scratch.clear();
        let found = read(self.keys, &mut self.wait, key)?;
        self.scratch.extend_from_slice(found.value);
        Some(found.expires_at)
    }

    /// Refuses a reply that has become too long.
    pub(super) fn check_reply(&mut self) -> Flow {
        let (len, max) = (self.reply.buffer().len() - self.reply_start, self.reply_len_max);
        if len > max { Err(DataError::ReplyLength { max }.into()) } else { Ok(()) }
    }

    /// Replies with the value of `key`, or with nothing; says whether there is one, and its expiry.
    #[inline]
    pub(super) fn reply_value(&mut self, key: Key<'_>) -> Option<Option<UnixMillis>> {
        let found = read(self.keys, &mut self.wait, key);
        match found {
            Some(found) => self.reply.bulk(found.value),
            None => self.reply.null(),
        }
        found.map(|found| found.expires_at)
    }
}

/// What `key` has; whoever shows it waits for `wait`.
#[inline]
pub(super) fn read<'k, K: Keyspace>(keys: &'k K, wait: &mut Lsn, key: Key<'_>) -> Option<Found<'k>> {
    let (found, position) = keys.get(key);
    *wait = (*wait).max(position);
    found
}
