//! The commands themselves, by kind.

mod connection;
mod keys;
mod server;
mod strings;
mod transactions;

use super::{Categories, Command, Flags, Group, KeySpec};

/// Names each command and subcommand, for dispatch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each is the command of that name; the table says what it does")]
pub enum Id {
    Append,
    Decr,
    Decrby,
    Get,
    Getdel,
    Getex,
    Getrange,
    Getset,
    Incr,
    Incrby,
    Incrbyfloat,
    Lcs,
    Mget,
    Mset,
    Msetnx,
    Psetex,
    Set,
    Setex,
    Setnx,
    Setrange,
    Strlen,
    Substr,
    Copy,
    Del,
    Exists,
    Expire,
    Expireat,
    Expiretime,
    Keys,
    Object,
    ObjectEncoding,
    ObjectFreq,
    ObjectHelp,
    ObjectIdletime,
    ObjectRefcount,
    Persist,
    Pexpire,
    Pexpireat,
    Pexpiretime,
    Pttl,
    Randomkey,
    Rename,
    Renamenx,
    Scan,
    Touch,
    Ttl,
    Type,
    Unlink,
    Auth,
    Client,
    ClientGetname,
    ClientHelp,
    ClientId,
    ClientInfo,
    ClientKill,
    ClientList,
    ClientNoEvict,
    ClientNoTouch,
    ClientDurability,
    ClientReply,
    ClientSetinfo,
    ClientSetname,
    ClientStaleness,
    Echo,
    Hello,
    Ping,
    Quit,
    Reset,
    Select,
    Discard,
    Exec,
    Multi,
    Unwatch,
    Watch,
    Acl,
    AclCat,
    AclHelp,
    AclList,
    AclUsers,
    AclWhoami,
    Bgsave,
    Cluster,
    ClusterHelp,
    ClusterInfo,
    ClusterKeyslot,
    ClusterMyid,
    ClusterNodes,
    ClusterShards,
    ClusterSlots,
    Command,
    CommandCount,
    CommandDocs,
    CommandGetkeys,
    CommandGetkeysandflags,
    CommandHelp,
    CommandInfo,
    CommandList,
    Config,
    ConfigGet,
    ConfigHelp,
    ConfigResetstat,
    ConfigRewrite,
    ConfigSet,
    Dbsize,
    Debug,
    Flushall,
    Flushdb,
    Info,
    Lastsave,
    Latency,
    LatencyDoctor,
    LatencyHelp,
    LatencyHistogram,
    LatencyHistory,
    LatencyLatest,
    LatencyReset,
    Memory,
    MemoryDoctor,
    MemoryHelp,
    MemoryStats,
    MemoryUsage,
    Module,
    ModuleHelp,
    ModuleList,
    Readonly,
    Readwrite,
    Failover,
    Replicaof,
    Slaveof,
    Role,
    Save,
    Shutdown,
    Slowlog,
    SlowlogGet,
    SlowlogHelp,
    SlowlogLen,
    SlowlogReset,
    Time,
    Wait,
    Waitaof,
}

const COUNT: usize = connection::COMMANDS.len()
    + keys::COMMANDS.len()
    + server::COMMANDS.len()
    + strings::COMMANDS.len()
    + transactions::COMMANDS.len();

/// Every command, without subcommands.
pub static TABLE: [&Command; COUNT] = {
    let kinds = [strings::COMMANDS, keys::COMMANDS, connection::COMMANDS, transactions::COMMANDS, server::COMMANDS];
    let mut table = [&strings::COMMANDS[0]; COUNT];
    let (mut kind, mut count) = (0, 0);
    while kind < kinds.len() {
        let mut index = 0;
        while index < kinds[kind].len() {
            table[count] = &kinds[kind][index];
            index += 1;
            count += 1;
        }
        kind += 1;
    }
    table
};

const fn command(id: Id, name: &'static str, arity: i8, flags: Flags) -> Command {
    Command {
        id,
        name,
        arity,
        flags,
        keys: &[],
        categories: Categories::NONE,
        group: Group::Server,
        since: "",
        complexity: "",
        summary: "",
        tips: &[],
        subcommands: &[],
    }
}

impl Command {
    const fn keys(self, keys: &'static [KeySpec]) -> Self {
        Self { keys, ..self }
    }

    const fn in_group(self, group: Group, categories: Categories) -> Self {
        Self { group, categories, ..self }
    }

    const fn documented(self, since: &'static str, complexity: &'static str, summary: &'static str) -> Self {
        Self { since, complexity, summary, ..self }
    }

    const fn tips(self, tips: &'static [&'static str]) -> Self {
        Self { tips, ..self }
    }

    const fn subcommands(self, subcommands: &'static [Self]) -> Self {
        Self { subcommands, ..self }
    }
}
