//! `MULTI` and `WATCH` of one session.

use windrow_core::types::{Lsn, PartitionId};

/// A key that must not change before `EXEC`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watched {
    /// The key.
    pub key: Box<[u8]>,
    /// The partition that owns it.
    pub partition: PartitionId,
    /// The record that held it when it was watched, or `None` where there was no such key.
    pub version: Option<Lsn>,
}

/// The transaction of a session: watched keys, and once it is open, the commands that wait for `EXEC`.
#[derive(Default, Debug)]
pub struct Transaction {
    /// `MULTI` was given: commands are queued.
    pub open: bool,
    /// A command could not be queued: `EXEC` answers `EXECABORT`.
    pub broken: bool,
    /// The queued commands as RESP arrays of bulk strings, one after the other.
    pub queued: Vec<u8>,
    /// How many commands are queued.
    pub commands: usize,
    /// The partition that the queued commands touch, once one of them names a key.
    pub partition: Option<PartitionId>,
    /// The watched keys.
    pub watched: Vec<Watched>,
}
