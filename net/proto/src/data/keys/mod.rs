//! Commands on keys, whatever their values.

mod expire;
mod inspect;
mod remove;
mod rename;

pub(super) use expire::{expire, expire_at, expire_time, persist, pexpire, pexpire_at, pexpire_time, pttl, ttl};
pub(super) use inspect::{memory_usage, object_encoding, object_freq, object_idle_time, object_ref_count, type_of};
pub(super) use remove::{del, exists};
pub(super) use rename::{copy, rename, rename_nx};
