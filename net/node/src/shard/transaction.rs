//! `MULTI` and `WATCH` of one session.

use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::command::Command;
use windrow_proto::resp::ArgsBuf;

/// A command that waits for `EXEC`.
#[derive(Clone, Debug)]
pub struct Queued {
    /// What it calls.
    pub command: &'static Command,
    /// Its arguments, its name first.
    pub args: ArgsBuf,
}

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
    /// The queued commands.
    pub queued: Vec<Queued>,
    /// The partition that the queued commands touch, once one of them names a key.
    pub partition: Option<PartitionId>,
    /// The watched keys.
    pub watched: Vec<Watched>,
}
