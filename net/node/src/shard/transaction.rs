//! `MULTI` and `WATCH` of one session.

use windrow_core::types::PartitionId;
use windrow_proto::command::Command;
use windrow_proto::data::{Route, Version};
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
    /// What it was when it was watched.
    pub version: Version,
}

/// The transaction of a session: watched keys, and once it is open, the commands that wait for `EXEC`.
#[derive(Debug)]
pub struct Transaction {
    /// `MULTI` was given: commands are queued.
    pub open: bool,
    /// A command could not be queued: `EXEC` answers `EXECABORT`.
    pub broken: bool,
    /// The queued commands.
    pub queued: Vec<Queued>,
    /// Bytes of their arguments.
    pub bytes: usize,
    /// The partition that the queued commands and the watched keys belong to, once there is a key.
    pub route: Route,
    /// The watched keys.
    pub watched: Vec<Watched>,
}

impl Default for Transaction {
    fn default() -> Self {
        Self { open: false, broken: false, queued: Vec::new(), bytes: 0, route: Route::AnyNode, watched: Vec::new() }
    }
}
