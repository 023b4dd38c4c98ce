//! Commands on keys, whatever their values.

use super::{Id, command};
use crate::command::{Categories, Command, Flags, Group, KeySpec};

const WRITE: Flags = Flags::WRITE;
const READONLY: Flags = Flags::READONLY;
const DENYOOM: Flags = Flags::DENYOOM;
const LOADING: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;
const FAST: Flags = Flags::FAST;

pub(super) static COMMANDS: &[Command] = &[
    command(Id::Copy, "copy", -3, WRITE.and(DENYOOM))
        .keys(&[
            KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] },
            KeySpec { first: 2, last: 0, step: 1, flags: &["OW", "update"] },
        ])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented(
            "6.2.0",
            "O(N) where N is the length of the value",
            "Copies a value and its expiry to another key of the same partition.",
        ),
    command(Id::Del, "del", -2, WRITE)
        .keys(&[KeySpec { first: 1, last: -1, step: 1, flags: &["RM", "delete"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("1.0.0", "O(N) where N is the number of keys", "Deletes any number of keys.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    command(Id::Exists, "exists", -2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: -1, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented(
            "1.0.0",
            "O(N) where N is the number of keys",
            "Counts how many of the keys exist; a key that is named twice counts twice.",
        )
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    command(Id::Expire, "expire", -3, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "update"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("1.0.0", "O(1)", "Sets when a key expires, in seconds from now."),
    command(Id::Expireat, "expireat", -3, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "update"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("1.2.0", "O(1)", "Sets when a key expires, as a Unix time in seconds."),
    command(Id::Expiretime, "expiretime", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("7.0.0", "O(1)", "Returns when a key expires, as a Unix time in seconds."),
    command(Id::Keys, "keys", 2, READONLY)
        .in_group(Group::Generic, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .documented(
            "1.0.0",
            "O(N) where N is the number of keys of the node",
            "Returns every key that matches a pattern. SCAN does it without holding others up.",
        )
        .tips(&["request_policy:all_shards", "nondeterministic_output_order"]),
    command(Id::Object, "object", -2, Flags::NONE)
        .in_group(Group::Generic, Categories::NONE)
        .documented("2.2.3", "Depends on the subcommand.", "Looks at how values are kept.")
        .subcommands(OBJECT),
    command(Id::Persist, "persist", 2, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "update"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.2.0", "O(1)", "Removes the expiry of a key."),
    command(Id::Pexpire, "pexpire", -3, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "update"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.6.0", "O(1)", "Sets when a key expires, in milliseconds from now."),
    command(Id::Pexpireat, "pexpireat", -3, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "update"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.6.0", "O(1)", "Sets when a key expires, as a Unix time in milliseconds."),
    command(Id::Pexpiretime, "pexpiretime", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("7.0.0", "O(1)", "Returns when a key expires, as a Unix time in milliseconds."),
    command(Id::Pttl, "pttl", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.6.0", "O(1)", "Returns how many milliseconds a key has left.")
        .tips(&["nondeterministic_output"]),
    command(Id::Randomkey, "randomkey", 1, READONLY)
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("1.0.0", "O(1)", "Returns any key.")
        .tips(&["request_policy:all_shards", "nondeterministic_output"]),
    command(Id::Rename, "rename", 3, WRITE)
        .keys(&[
            KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "delete"] },
            KeySpec { first: 2, last: 0, step: 1, flags: &["OW", "update"] },
        ])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented(
            "1.0.0",
            "O(N) where N is the length of the value",
            "Gives a key another name in the same partition, in place of what has it.",
        ),
    command(Id::Renamenx, "renamenx", 3, WRITE.and(FAST))
        .keys(&[
            KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "delete"] },
            KeySpec { first: 2, last: 0, step: 1, flags: &["OW", "insert"] },
        ])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented(
            "1.0.0",
            "O(N) where N is the length of the value",
            "Gives a key another name in the same partition, if nothing has it.",
        ),
    command(Id::Scan, "scan", -2, READONLY)
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented(
            "2.8.0",
            "O(1) for every call, O(N) for all of them, where N is the number of keys",
            "Returns the keys of the node bit by bit.",
        )
        .tips(&["nondeterministic_output", "request_policy:special"]),
    command(Id::Touch, "touch", -2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: -1, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("3.2.1", "O(N) where N is the number of keys", "Counts how many of the keys exist.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
    command(Id::Ttl, "ttl", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("1.0.0", "O(1)", "Returns how many seconds a key has left.")
        .tips(&["nondeterministic_output"]),
    command(Id::Type, "type", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("1.0.0", "O(1)", "Returns the type of a value."),
    command(Id::Unlink, "unlink", -2, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: -1, step: 1, flags: &["RM", "delete"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("4.0.0", "O(N) where N is the number of keys", "Deletes any number of keys, as DEL does.")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"]),
];

static OBJECT: &[Command] = &[
    command(Id::ObjectEncoding, "object|encoding", 3, READONLY)
        .keys(&[KeySpec { first: 2, last: 0, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.2.3", "O(1)", "Returns how a value is encoded.")
        .tips(&["nondeterministic_output"]),
    command(Id::ObjectFreq, "object|freq", 3, READONLY)
        .keys(&[KeySpec { first: 2, last: 0, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("4.0.0", "O(1)", "Returns how often a key is used, where that is counted.")
        .tips(&["nondeterministic_output"]),
    command(Id::ObjectHelp, "object|help", 2, LOADING.and(STALE))
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("6.2.0", "O(1)", "Returns this text."),
    command(Id::ObjectIdletime, "object|idletime", 3, READONLY)
        .keys(&[KeySpec { first: 2, last: 0, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.2.3", "O(1)", "Returns the seconds since a key was last used, where that is kept.")
        .tips(&["nondeterministic_output"]),
    command(Id::ObjectRefcount, "object|refcount", 3, READONLY)
        .keys(&[KeySpec { first: 2, last: 0, step: 1, flags: &["RO"] }])
        .in_group(Group::Generic, Categories::KEYSPACE)
        .documented("2.2.3", "O(1)", "Returns the number of references to a value, which is always 1.")
        .tips(&["nondeterministic_output"]),
];
