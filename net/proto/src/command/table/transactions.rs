//! Commands about transactions.

use super::{Id, command};
use crate::command::{Categories, Command, Flags, Group, KeySpec};

const NOSCRIPT: Flags = Flags::NOSCRIPT;
const LOADING: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;
const FAST: Flags = Flags::FAST;
const ALLOW_BUSY: Flags = Flags::ALLOW_BUSY;

pub(super) static COMMANDS: &[Command] = &[
    command(Id::Discard, "discard", 1, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(ALLOW_BUSY))
        .in_group(Group::Transactions, Categories::TRANSACTION)
        .documented("2.0.0", "O(N) where N is the number of queued commands", "Forgets the queued commands."),
    command(Id::Exec, "exec", 1, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Transactions, Categories::TRANSACTION)
        .documented("1.2.0", "Depends on the queued commands", "Runs the queued commands as one, all or none."),
    command(Id::Multi, "multi", 1, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(ALLOW_BUSY))
        .in_group(Group::Transactions, Categories::TRANSACTION)
        .documented("1.2.0", "O(1)", "Starts queueing commands."),
    command(Id::Unwatch, "unwatch", 1, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(ALLOW_BUSY))
        .in_group(Group::Transactions, Categories::TRANSACTION)
        .documented("2.2.0", "O(1)", "Forgets all watched keys."),
    command(Id::Watch, "watch", -2, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(ALLOW_BUSY))
        .keys(&[KeySpec { first: 1, last: -1, step: 1, flags: &["RO"] }])
        .in_group(Group::Transactions, Categories::TRANSACTION)
        .documented(
            "2.2.0",
            "O(N) where N is the number of keys",
            "Makes EXEC do nothing if one of the keys changes before it.",
        ),
];
