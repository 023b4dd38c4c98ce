//! Commands about the connection.

use super::{Id, command};
use crate::command::{Categories, Command, Flags, Group};

const ADMIN: Flags = Flags::ADMIN;
const NOSCRIPT: Flags = Flags::NOSCRIPT;
const LOADING: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;
const FAST: Flags = Flags::FAST;
const NO_AUTH: Flags = Flags::NO_AUTH;
const ALLOW_BUSY: Flags = Flags::ALLOW_BUSY;

pub(super) static COMMANDS: &[Command] = &[
    command(Id::Auth, "auth", -2, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(NO_AUTH).and(ALLOW_BUSY))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("1.0.0", "O(1)", "Says who the client is."),
    command(Id::Client, "client", -2, Flags::NONE)
        .in_group(Group::Connection, Categories::NONE)
        .documented("2.4.0", "Depends on the subcommand.", "Looks at connections and changes them.")
        .subcommands(CLIENT),
    command(Id::Echo, "echo", 2, LOADING.and(STALE).and(FAST))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("1.0.0", "O(1)", "Returns its argument."),
    command(Id::Hello, "hello", -1, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(NO_AUTH).and(ALLOW_BUSY))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("6.0.0", "O(1)", "Agrees on the version of the protocol, and says who the client is."),
    command(Id::Ping, "ping", -1, FAST)
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("1.0.0", "O(1)", "Returns PONG, or its argument.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command(Id::Quit, "quit", -1, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(NO_AUTH).and(ALLOW_BUSY))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("1.0.0", "O(1)", "Closes the connection."),
    command(Id::Reset, "reset", 1, NOSCRIPT.and(LOADING).and(STALE).and(FAST).and(NO_AUTH).and(ALLOW_BUSY))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("6.2.0", "O(1)", "Makes the connection as new."),
    command(Id::Select, "select", 2, LOADING.and(STALE).and(FAST))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("1.0.0", "O(1)", "Chooses a database; there is only number 0."),
];

static CLIENT: &[Command] = &[
    command(Id::ClientDurability, "client|durability", -2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("7.2.0", "O(1)", "Chooses when this connection is answered: once writes are on disk, or at once."),
    command(Id::ClientGetname, "client|getname", 2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("2.6.9", "O(1)", "Returns the name of this connection."),
    command(Id::ClientHelp, "client|help", 2, LOADING.and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("5.0.0", "O(1)", "Returns this text."),
    command(Id::ClientId, "client|id", 2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("5.0.0", "O(1)", "Returns the number of this connection."),
    command(Id::ClientInfo, "client|info", 2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("6.2.0", "O(1)", "Describes this connection.")
        .tips(&["nondeterministic_output"]),
    command(Id::ClientKill, "client|kill", -3, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("2.4.0", "O(N) where N is the number of connections", "Closes connections."),
    command(Id::ClientList, "client|list", -2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("2.4.0", "O(N) where N is the number of connections", "Describes all connections.")
        .tips(&["nondeterministic_output"]),
    command(Id::ClientNoEvict, "client|no-evict", 3, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("7.0.0", "O(1)", "Says whether this connection may be closed when memory is short."),
    command(Id::ClientNoTouch, "client|no-touch", 3, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("7.2.0", "O(1)", "Says whether the commands of this connection count as uses of keys."),
    command(Id::ClientReply, "client|reply", 3, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("3.2.0", "O(1)", "Turns the replies to this connection on or off."),
    command(Id::ClientSetinfo, "client|setinfo", 4, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("7.2.0", "O(1)", "Names the client library and its version.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    command(Id::ClientSetname, "client|setname", 3, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("2.6.9", "O(1)", "Names this connection."),
    command(Id::ClientStaleness, "client|staleness", -2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Connection, Categories::CONNECTION)
        .documented("7.2.0", "O(1)", "Chooses how old the data may be that a follower reads from for this connection."),
];
