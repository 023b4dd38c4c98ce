//! Commands about the server and its cluster.

use super::{Id, command};
use crate::command::{Categories, Command, Flags, Group, KeySpec};

const WRITE: Flags = Flags::WRITE;
const READONLY: Flags = Flags::READONLY;
const ADMIN: Flags = Flags::ADMIN;
const NOSCRIPT: Flags = Flags::NOSCRIPT;
const BLOCKING: Flags = Flags::BLOCKING;
const LOADING: Flags = Flags::LOADING;
const STALE: Flags = Flags::STALE;
const FAST: Flags = Flags::FAST;
const NO_MULTI: Flags = Flags::NO_MULTI;
const ALLOW_BUSY: Flags = Flags::ALLOW_BUSY;

pub(super) static COMMANDS: &[Command] = &[
    command(Id::Acl, "acl", -2, Flags::NONE)
        .in_group(Group::Server, Categories::NONE)
        .documented("6.0.0", "Depends on the subcommand.", "Looks at who may do what; there is only one user.")
        .subcommands(ACL),
    command(Id::Bgsave, "bgsave", -1, ADMIN.and(NOSCRIPT)).in_group(Group::Server, Categories::NONE).documented(
        "1.0.0",
        "O(1)",
        "Answers that everything confirmed is on disk already.",
    ),
    command(Id::Cluster, "cluster", -2, Flags::NONE)
        .in_group(Group::Cluster, Categories::NONE)
        .documented("3.0.0", "Depends on the subcommand.", "Looks at the cluster.")
        .subcommands(CLUSTER),
    command(Id::Command, "command", -1, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("2.8.13", "O(N) where N is the number of commands", "Describes all commands for clients.")
        .tips(&["nondeterministic_output_order"])
        .subcommands(COMMAND),
    command(Id::Config, "config", -2, Flags::NONE)
        .in_group(Group::Server, Categories::NONE)
        .documented("2.0.0", "Depends on the subcommand.", "Looks at settings and changes them.")
        .subcommands(CONFIG),
    command(Id::Dbsize, "dbsize", 1, READONLY.and(FAST))
        .in_group(Group::Server, Categories::KEYSPACE)
        .documented("1.0.0", "O(1)", "Counts the keys of the node.")
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]),
    command(Id::Debug, "debug", -2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("1.0.0", "Depends on the subcommand.", "Helps to test the server; off unless it is enabled."),
    command(Id::Failover, "failover", -1, ADMIN.and(NOSCRIPT).and(STALE).and(NO_MULTI))
        .in_group(Group::Server, Categories::NONE)
        .documented("6.2.0", "O(1)", "Hands leadership over to a follower that has everything."),
    command(Id::Flushall, "flushall", -1, WRITE)
        .in_group(Group::Server, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .documented("1.0.0", "O(1)", "Deletes every key of the node.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command(Id::Flushdb, "flushdb", -1, WRITE)
        .in_group(Group::Server, Categories::KEYSPACE.and(Categories::DANGEROUS))
        .documented("1.0.0", "O(1)", "Deletes every key of the database, which is the only one.")
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"]),
    command(Id::Info, "info", -1, LOADING.and(STALE))
        .in_group(Group::Server, Categories::DANGEROUS)
        .documented("1.0.0", "O(1)", "Describes the state of the server.")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
    command(Id::Lastsave, "lastsave", 1, LOADING.and(STALE).and(FAST))
        .in_group(Group::Server, Categories::ADMIN.and(Categories::DANGEROUS))
        .documented("1.0.0", "O(1)", "Returns when data last reached the disk, as a Unix time in seconds.")
        .tips(&["nondeterministic_output"]),
    command(Id::Latency, "latency", -2, Flags::NONE)
        .in_group(Group::Server, Categories::NONE)
        .documented("2.8.13", "Depends on the subcommand.", "Looks at what was slow.")
        .subcommands(LATENCY),
    command(Id::Memory, "memory", -2, Flags::NONE)
        .in_group(Group::Server, Categories::NONE)
        .documented("4.0.0", "Depends on the subcommand.", "Looks at what takes room.")
        .subcommands(MEMORY),
    command(Id::Module, "module", -2, Flags::NONE)
        .in_group(Group::Server, Categories::NONE)
        .documented("4.0.0", "Depends on the subcommand.", "Looks at modules; there are none.")
        .subcommands(MODULE),
    command(Id::Readonly, "readonly", 1, LOADING.and(STALE).and(FAST))
        .in_group(Group::Cluster, Categories::CONNECTION)
        .documented("3.0.0", "O(1)", "Allows this connection to read from a follower."),
    command(Id::Readwrite, "readwrite", 1, LOADING.and(STALE).and(FAST))
        .in_group(Group::Cluster, Categories::CONNECTION)
        .documented("3.0.0", "O(1)", "Takes back READONLY."),
    command(Id::Replicaof, "replicaof", -3, ADMIN.and(NOSCRIPT).and(STALE).and(NO_MULTI))
        .in_group(Group::Server, Categories::NONE)
        .documented("5.0.0", "O(1)", "Asks for this node to lead, or to hand over to another one."),
    command(Id::Role, "role", 1, NOSCRIPT.and(LOADING).and(STALE).and(FAST))
        .in_group(Group::Server, Categories::ADMIN.and(Categories::DANGEROUS))
        .documented("2.8.12", "O(1)", "Returns the part that this node has in replication."),
    command(Id::Save, "save", 1, ADMIN.and(NOSCRIPT).and(NO_MULTI))
        .in_group(Group::Server, Categories::NONE)
        .documented("1.0.0", "O(1)", "Answers that everything confirmed is on disk already."),
    command(Id::Shutdown, "shutdown", -1, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE).and(NO_MULTI).and(ALLOW_BUSY))
        .in_group(Group::Server, Categories::NONE)
        .documented("1.0.0", "O(1)", "Finishes what is in flight and ends the server."),
    command(Id::Slaveof, "slaveof", -3, ADMIN.and(NOSCRIPT).and(STALE).and(NO_MULTI))
        .in_group(Group::Server, Categories::NONE)
        .documented("1.0.0", "O(1)", "The old name of REPLICAOF."),
    command(Id::Slowlog, "slowlog", -2, Flags::NONE)
        .in_group(Group::Server, Categories::NONE)
        .documented("2.2.12", "Depends on the subcommand.", "Looks at commands that took long.")
        .subcommands(SLOWLOG),
    command(Id::Time, "time", 1, LOADING.and(STALE).and(FAST))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.6.0", "O(1)", "Returns the time: seconds since 1970, and microseconds.")
        .tips(&["nondeterministic_output"]),
    command(Id::Wait, "wait", 3, NOSCRIPT.and(BLOCKING))
        .in_group(Group::Generic, Categories::CONNECTION)
        .documented("3.0.0", "O(1)", "Waits until so many followers have the writes of this connection.")
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
    command(Id::Waitaof, "waitaof", 4, NOSCRIPT.and(BLOCKING))
        .in_group(Group::Generic, Categories::CONNECTION)
        .documented(
            "7.2.0",
            "O(1)",
            "Waits until the writes of this connection are on disk, here and on so many followers.",
        )
        .tips(&["request_policy:all_shards", "response_policy:agg_min"]),
];

static ACL: &[Command] = &[
    command(Id::AclCat, "acl|cat", -2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented(
            "6.0.0",
            "O(N) where N is the number of commands",
            "Returns the categories, or the commands of one.",
        ),
    command(Id::AclHelp, "acl|help", 2, LOADING.and(STALE)).in_group(Group::Server, Categories::NONE).documented(
        "6.0.0",
        "O(1)",
        "Returns this text.",
    ),
    command(Id::AclList, "acl|list", 2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("6.0.0", "O(1)", "Returns the rules of the only user."),
    command(Id::AclUsers, "acl|users", 2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("6.0.0", "O(1)", "Returns the name of the only user."),
    command(Id::AclWhoami, "acl|whoami", 2, NOSCRIPT.and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("6.0.0", "O(1)", "Returns the user of this connection."),
];

static CLUSTER: &[Command] = &[
    command(Id::ClusterHelp, "cluster|help", 2, LOADING.and(STALE))
        .in_group(Group::Cluster, Categories::NONE)
        .documented("5.0.0", "O(1)", "Returns this text."),
    command(Id::ClusterInfo, "cluster|info", 2, STALE)
        .in_group(Group::Cluster, Categories::NONE)
        .documented("3.0.0", "O(1)", "Describes the state of the cluster.")
        .tips(&["nondeterministic_output"]),
    command(Id::ClusterKeyslot, "cluster|keyslot", 3, STALE).in_group(Group::Cluster, Categories::NONE).documented(
        "3.0.0",
        "O(N) where N is the length of the key",
        "Returns the hash slot of a key.",
    ),
    command(Id::ClusterMyid, "cluster|myid", 2, STALE).in_group(Group::Cluster, Categories::NONE).documented(
        "3.0.0",
        "O(1)",
        "Returns the identifier of this node.",
    ),
    command(Id::ClusterNodes, "cluster|nodes", 2, STALE)
        .in_group(Group::Cluster, Categories::NONE)
        .documented("3.0.0", "O(N) where N is the number of nodes", "Describes the nodes, one in a line.")
        .tips(&["nondeterministic_output"]),
    command(Id::ClusterShards, "cluster|shards", 2, STALE)
        .in_group(Group::Cluster, Categories::NONE)
        .documented("7.0.0", "O(N) where N is the number of nodes", "Returns the nodes and which slots they have.")
        .tips(&["nondeterministic_output"]),
    command(Id::ClusterSlots, "cluster|slots", 2, STALE)
        .in_group(Group::Cluster, Categories::NONE)
        .documented("3.0.0", "O(N) where N is the number of nodes", "Returns the slots and which nodes have them.")
        .tips(&["nondeterministic_output"]),
];

static COMMAND: &[Command] = &[
    command(Id::CommandCount, "command|count", 2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("2.8.13", "O(1)", "Returns the number of commands."),
    command(Id::CommandDocs, "command|docs", -2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("7.0.0", "O(N) where N is the number of commands asked for", "Describes commands for people.")
        .tips(&["nondeterministic_output_order"]),
    command(Id::CommandGetkeys, "command|getkeys", -3, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("2.8.13", "O(N) where N is the number of arguments", "Returns the keys of a whole command."),
    command(Id::CommandGetkeysandflags, "command|getkeysandflags", -3, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented(
            "7.0.0",
            "O(N) where N is the number of arguments",
            "Returns the keys of a whole command and what happens to them.",
        ),
    command(Id::CommandHelp, "command|help", 2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("5.0.0", "O(1)", "Returns this text."),
    command(Id::CommandInfo, "command|info", -2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("2.8.13", "O(N) where N is the number of commands asked for", "Describes commands for clients.")
        .tips(&["nondeterministic_output_order"]),
    command(Id::CommandList, "command|list", -2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::CONNECTION)
        .documented("7.0.0", "O(N) where N is the number of commands", "Returns the names of commands.")
        .tips(&["nondeterministic_output_order"]),
];

static CONFIG: &[Command] =
    &[
        command(Id::ConfigGet, "config|get", -3, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("2.0.0", "O(N) where N is the number of settings", "Returns the settings that match patterns."),
        command(Id::ConfigHelp, "config|help", 2, LOADING.and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("5.0.0", "O(1)", "Returns this text."),
        command(Id::ConfigResetstat, "config|resetstat", 2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("2.0.0", "O(1)", "Sets the counters of INFO to zero.")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        command(Id::ConfigRewrite, "config|rewrite", 2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("2.8.0", "O(1)", "Writes the settings to the settings file.")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
        command(Id::ConfigSet, "config|set", -4, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("2.0.0", "O(N) where N is the number of settings", "Changes settings.")
            .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
    ];

static LATENCY: &[Command] = &[
    command(Id::LatencyDoctor, "latency|doctor", 2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.8.13", "O(1)", "Returns the slow events as a text for people.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    command(Id::LatencyHelp, "latency|help", 2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.8.13", "O(1)", "Returns this text."),
    command(Id::LatencyHistogram, "latency|histogram", -2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented(
            "7.0.0",
            "O(N) where N is the number of commands with a histogram",
            "Returns how long commands took, as histograms.",
        )
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    command(Id::LatencyHistory, "latency|history", 3, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.8.13", "O(1)", "Returns the latest slow events of one kind.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    command(Id::LatencyLatest, "latency|latest", 2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.8.13", "O(1)", "Returns the latest slow event of each kind.")
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]),
    command(Id::LatencyReset, "latency|reset", -2, ADMIN.and(NOSCRIPT).and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.8.13", "O(1)", "Forgets slow events.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

static MEMORY: &[Command] =
    &[
        command(Id::MemoryDoctor, "memory|doctor", 2, Flags::NONE)
            .in_group(Group::Server, Categories::NONE)
            .documented("4.0.0", "O(1)", "Returns what takes room as a text for people.")
            .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
        command(Id::MemoryHelp, "memory|help", 2, LOADING.and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("4.0.0", "O(1)", "Returns this text."),
        command(Id::MemoryStats, "memory|stats", 2, Flags::NONE)
            .in_group(Group::Server, Categories::NONE)
            .documented("4.0.0", "O(1)", "Returns what takes room as numbers.")
            .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]),
        command(Id::MemoryUsage, "memory|usage", -3, READONLY)
            .keys(&[KeySpec { first: 2, last: 0, step: 1, flags: &["RO"] }])
            .in_group(Group::Server, Categories::NONE)
            .documented("4.0.0", "O(1)", "Returns how many bytes a key takes in the log and the index."),
    ];

static SLOWLOG: &[Command] = &[
    command(Id::SlowlogGet, "slowlog|get", -2, ADMIN.and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.2.12", "O(N) where N is the number of entries returned", "Returns the latest slow commands.")
        .tips(&["request_policy:all_nodes", "nondeterministic_output"]),
    command(Id::SlowlogHelp, "slowlog|help", 2, LOADING.and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("6.2.0", "O(1)", "Returns this text."),
    command(Id::SlowlogLen, "slowlog|len", 2, ADMIN.and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.2.12", "O(1)", "Counts the entries of the slow log.")
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]),
    command(Id::SlowlogReset, "slowlog|reset", 2, ADMIN.and(LOADING).and(STALE))
        .in_group(Group::Server, Categories::NONE)
        .documented("2.2.12", "O(N) where N is the number of entries", "Empties the slow log.")
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]),
];

static MODULE: &[Command] =
    &[
        command(Id::ModuleHelp, "module|help", 2, LOADING.and(STALE))
            .in_group(Group::Server, Categories::NONE)
            .documented("5.0.0", "O(1)", "Returns this text."),
        command(Id::ModuleList, "module|list", 2, ADMIN.and(NOSCRIPT))
            .in_group(Group::Server, Categories::NONE)
            .documented("4.0.0", "O(1)", "Returns the modules that are loaded: none.")
            .tips(&["nondeterministic_output_order"]),
    ];
