//! Commands on string values.

use super::{Id, command};
use crate::command::{Categories, Command, Flags, Group, KeySpec};

const WRITE: Flags = Flags::WRITE;
const READONLY: Flags = Flags::READONLY;
const DENYOOM: Flags = Flags::DENYOOM;
const FAST: Flags = Flags::FAST;

pub(super) static COMMANDS: &[Command] = &[
    command(Id::Append, "append", 3, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "insert"] }])
        .in_group(Group::String, Categories::STRING)
        .documented(
            "2.0.0",
            "O(N) where N is the length of the whole value",
            "Appends to a value; makes it if there is none.",
        ),
    command(Id::Decr, "decr", 2, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Takes one from an integer; a missing key counts as 0."),
    command(Id::Decrby, "decrby", 3, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Takes a number from an integer; a missing key counts as 0."),
    command(Id::Get, "get", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Returns the value of a key."),
    command(Id::Getdel, "getdel", 2, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "delete"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("6.2.0", "O(1)", "Returns the value of a key and deletes the key."),
    command(Id::Getex, "getex", -2, WRITE.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("6.2.0", "O(1)", "Returns the value of a key and sets or removes its expiry."),
    command(Id::Getrange, "getrange", 4, READONLY)
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("2.4.0", "O(N) where N is the length of the returned part", "Returns a part of a value."),
    command(Id::Getset, "getset", 3, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Sets a key and returns its old value. SET with GET does the same."),
    command(Id::Incr, "incr", 2, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Adds one to an integer; a missing key counts as 0."),
    command(Id::Incrby, "incrby", 3, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Adds a number to an integer; a missing key counts as 0."),
    command(Id::Incrbyfloat, "incrbyfloat", 3, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("2.6.0", "O(1)", "Adds a number to a floating-point number; a missing key counts as 0."),
    command(Id::Lcs, "lcs", -3, READONLY)
        .keys(&[KeySpec { first: 1, last: 1, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::String, Categories::STRING)
        .documented(
            "7.0.0",
            "O(N*M) where N and M are the lengths of the two values",
            "Finds the longest common subsequence of two values.",
        ),
    command(Id::Mget, "mget", -2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: -1, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(N) where N is the number of keys", "Returns the values of any number of keys.")
        .tips(&["request_policy:multi_shard"]),
    command(Id::Mset, "mset", -3, WRITE.and(DENYOOM))
        .keys(&[KeySpec { first: 1, last: -1, step: 2, flags: &["OW", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented(
            "1.0.1",
            "O(N) where N is the number of keys",
            "Sets any number of keys of one partition, all or none.",
        )
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"]),
    command(Id::Msetnx, "msetnx", -3, WRITE.and(DENYOOM))
        .keys(&[KeySpec { first: 1, last: -1, step: 2, flags: &["OW", "insert"] }])
        .in_group(Group::String, Categories::STRING)
        .documented(
            "1.0.1",
            "O(N) where N is the number of keys",
            "Sets any number of keys of one partition if none of them exists.",
        )
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"]),
    command(Id::Psetex, "psetex", 4, WRITE.and(DENYOOM))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["OW", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("2.6.0", "O(1)", "Sets a key that expires after so many milliseconds."),
    command(Id::Set, "set", -3, WRITE.and(DENYOOM))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "access", "update", "variable_flags"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Sets a key, with conditions and an expiry if wanted."),
    command(Id::Setex, "setex", 4, WRITE.and(DENYOOM))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["OW", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("2.0.0", "O(1)", "Sets a key that expires after so many seconds."),
    command(Id::Setnx, "setnx", 3, WRITE.and(DENYOOM).and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["OW", "insert"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("1.0.0", "O(1)", "Sets a key if it does not exist."),
    command(Id::Setrange, "setrange", 4, WRITE.and(DENYOOM))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RW", "update"] }])
        .in_group(Group::String, Categories::STRING)
        .documented(
            "2.2.0",
            "O(N) where N is the length of the whole value",
            "Overwrites a part of a value, filled up with zero bytes where it is too short.",
        ),
    command(Id::Strlen, "strlen", 2, READONLY.and(FAST))
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO"] }])
        .in_group(Group::String, Categories::STRING)
        .documented("2.2.0", "O(1)", "Returns the length of a value in bytes."),
    command(Id::Substr, "substr", 4, READONLY)
        .keys(&[KeySpec { first: 1, last: 0, step: 1, flags: &["RO", "access"] }])
        .in_group(Group::String, Categories::STRING)
        .documented(
            "1.0.0",
            "O(N) where N is the length of the returned part",
            "Returns a part of a value: the old name of GETRANGE.",
        ),
];
