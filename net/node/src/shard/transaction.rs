//! `MULTI` and `WATCH` of one session.

use std::collections::BTreeMap;

use windrow_proto::command::{Command, Flags, Id};
use windrow_proto::data::{Route, Version};
use windrow_proto::resp::{Args, ArgsBuf};

use crate::net::Width;

use super::counts::Counts;

/// A command that waits for `EXEC`.
#[derive(Clone, Debug)]
pub struct Queued {
    /// What it calls.
    pub command: &'static Command,
    /// Its arguments, its name first.
    pub args: ArgsBuf,
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
    /// Bytes of their arguments, and of where those lie.
    pub bytes: usize,
    /// The partition that the queued commands and the watched keys belong to, once there is a key.
    pub route: Route,
    /// The keys that must not change before `EXEC`, and what each was when it was watched first.
    pub watched: BTreeMap<Box<[u8]>, Version>,
    /// Bytes of them.
    pub watched_bytes: usize,
    /// What `WAIT` and `WAITAOF` in it answer.
    pub(super) counts: Counts,
}

impl Transaction {
    /// Whether it may change data.
    pub(super) fn writes(&self) -> bool {
        may_write(&self.queued)
    }

    /// How long the reply to `EXEC` may become.
    pub(super) fn width(&self) -> Width {
        let reads =
            |queued: &Queued| queued.command.id == Id::Get || width(queued.command, queued.args.args()) == Width::Any;
        if self.queued.iter().any(reads) { Width::Any } else { Width::Narrow }
    }
}

/// How long the reply to a command may become that another core executes. A long one to GET is sent from the log.
pub(super) fn width(command: &Command, args: Args<'_>) -> Width {
    let reads = match command.id {
        Id::Getdel | Id::Getex | Id::Getrange | Id::Getset | Id::Substr | Id::Lcs => true,
        Id::Mget | Id::Keys | Id::Randomkey | Id::Scan => true,
        Id::Set => args.from(1).skip(2).any(|option| option.eq_ignore_ascii_case(b"GET")),
        _ => false,
    };
    if reads { Width::Any } else { Width::Narrow }
}

/// Whether any of these commands may change data.
pub(super) fn may_write(queued: &[Queued]) -> bool {
    queued.iter().any(|queued| queued.command.flags.has(Flags::WRITE))
}

impl Default for Transaction {
    fn default() -> Self {
        Self {
            open: false,
            broken: false,
            queued: Vec::new(),
            bytes: 0,
            route: Route::AnyNode,
            watched: BTreeMap::new(),
            watched_bytes: 0,
            counts: Counts::default(),
        }
    }
}
