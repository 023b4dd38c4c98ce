//! The command table: what there is, how it is called, where its keys are.
//!
//! [`lookup`] is on the path of every request: it takes a few nanoseconds and allocates nothing. The facts (arity,
//! flags, key positions, categories, versions) are those of Redis 7.2, for the commands that Windrow has.

mod describe;
mod keys;
mod list;
mod lookup;
mod resolve;
mod table;
#[cfg(test)]
mod tests;

pub use describe::{write_docs, write_help, write_info};
pub use keys::{KeyArg, KeyError, Keys, keys_of, write_keys, write_keys_and_flags};
pub use list::{ListFilter, write_list};
pub use lookup::lookup;
pub use resolve::{ResolveError, is_http, resolve, write_arity_error};
pub use table::{Id, TABLE};

/// One command, or one subcommand.
#[derive(Debug)]
pub struct Command {
    /// Which one it is.
    pub id: Id,
    /// Its name in lower case; a subcommand's is `command|subcommand`.
    pub name: &'static str,
    /// The number of arguments, its name included; negative for "at least".
    pub arity: i8,
    /// What it does and when it may run.
    pub flags: Flags,
    /// Where its keys are.
    pub keys: &'static [KeySpec],
    /// The access categories that do not follow from the flags.
    pub categories: Categories,
    /// What kind of command it is, for the documentation.
    pub group: Group,
    /// The version of Redis that had it first.
    pub since: &'static str,
    /// How its cost grows.
    pub complexity: &'static str,
    /// What it does, in a sentence.
    pub summary: &'static str,
    /// Hints to clients about how to send it and what to make of the replies.
    pub tips: &'static [&'static str],
    /// Its subcommands, if it is only a container of them.
    pub subcommands: &'static [Command],
}

/// What a command does and when it may run, as a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u16);

/// Every flag with its name, in the order in which COMMAND INFO lists them.
const FLAG_NAMES: [(Flags, &str); 12] = [
    (Flags::WRITE, "write"),
    (Flags::READONLY, "readonly"),
    (Flags::DENYOOM, "denyoom"),
    (Flags::ADMIN, "admin"),
    (Flags::NOSCRIPT, "noscript"),
    (Flags::BLOCKING, "blocking"),
    (Flags::LOADING, "loading"),
    (Flags::STALE, "stale"),
    (Flags::FAST, "fast"),
    (Flags::NO_AUTH, "no_auth"),
    (Flags::NO_MULTI, "no_multi"),
    (Flags::ALLOW_BUSY, "allow_busy"),
];

impl Flags {
    /// None.
    pub const NONE: Self = Self(0);
    /// May change data.
    pub const WRITE: Self = Self(1);
    /// Reads data and changes none.
    pub const READONLY: Self = Self(1 << 1);
    /// Needs room: refused when there is none.
    pub const DENYOOM: Self = Self(1 << 2);
    /// For administrators.
    pub const ADMIN: Self = Self(1 << 3);
    /// Not for scripts.
    pub const NOSCRIPT: Self = Self(1 << 4);
    /// May wait for something.
    pub const BLOCKING: Self = Self(1 << 5);
    /// May run before all data is there.
    pub const LOADING: Self = Self(1 << 6);
    /// May run on a replica that has lost its leader.
    pub const STALE: Self = Self(1 << 7);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 8);
    /// Needs no authentication.
    pub const NO_AUTH: Self = Self(1 << 9);
    /// Not inside MULTI.
    pub const NO_MULTI: Self = Self(1 << 10);
    /// May run while a script holds the server up.
    pub const ALLOW_BUSY: Self = Self(1 << 11);

    /// These and `more`.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether all of `some` are among these.
    #[must_use]
    pub const fn has(self, some: Self) -> bool {
        self.0 & some.0 == some.0
    }
}

/// Access categories, as a set of bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Categories(u16);

/// Every category with its name, in the order in which COMMAND INFO lists them.
const CATEGORY_NAMES: [(Categories, &str); 10] = [
    (Categories::KEYSPACE, "keyspace"),
    (Categories::READ, "read"),
    (Categories::WRITE, "write"),
    (Categories::STRING, "string"),
    (Categories::ADMIN, "admin"),
    (Categories::FAST, "fast"),
    (Categories::SLOW, "slow"),
    (Categories::DANGEROUS, "dangerous"),
    (Categories::CONNECTION, "connection"),
    (Categories::TRANSACTION, "transaction"),
];

impl Categories {
    /// None.
    pub const NONE: Self = Self(0);
    /// Keys, whatever their values.
    pub const KEYSPACE: Self = Self(1);
    /// Reads values.
    pub const READ: Self = Self(1 << 1);
    /// Writes values.
    pub const WRITE: Self = Self(1 << 2);
    /// Strings.
    pub const STRING: Self = Self(1 << 3);
    /// Administration.
    pub const ADMIN: Self = Self(1 << 4);
    /// Takes constant or logarithmic time.
    pub const FAST: Self = Self(1 << 5);
    /// Everything that is not fast.
    pub const SLOW: Self = Self(1 << 6);
    /// Can do harm in the wrong hands.
    pub const DANGEROUS: Self = Self(1 << 7);
    /// Connections.
    pub const CONNECTION: Self = Self(1 << 8);
    /// Transactions.
    pub const TRANSACTION: Self = Self(1 << 9);

    /// These and `more`.
    #[must_use]
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// Whether all of `some` are among these.
    #[must_use]
    pub const fn has(self, some: Self) -> bool {
        self.0 & some.0 == some.0
    }

    /// The names of all categories.
    pub fn names() -> impl ExactSizeIterator<Item = &'static str> {
        CATEGORY_NAMES.iter().map(|&(_, name)| name)
    }

    /// The category called `name`, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<Self> {
        let found = CATEGORY_NAMES.iter().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name))?;
        Some(found.0)
    }
}

/// What kind of command it is, for the documentation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// String values.
    String,
    /// Any keys.
    Generic,
    /// The connection.
    Connection,
    /// The server.
    Server,
    /// Transactions.
    Transactions,
    /// Clusters.
    Cluster,
}

impl Group {
    /// Its name as COMMAND DOCS gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Generic => "generic",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Transactions => "transactions",
            Self::Cluster => "cluster",
        }
    }
}

/// Where some of a command's keys are, and what happens to them.
#[derive(Debug)]
pub struct KeySpec {
    /// The argument that is the first key.
    pub first: u8,
    /// The last key: how many arguments after the first, or, negative, counted from the end (-1 is the last one).
    pub last: i8,
    /// The distance from one key to the next.
    pub step: u8,
    /// What happens to the keys and to what is in them, as COMMAND INFO names it.
    pub flags: &'static [&'static str],
}

impl Command {
    /// Whether `args` arguments, the name included, can be right.
    #[must_use]
    pub const fn takes(&self, args: usize) -> bool {
        let wanted = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { args >= wanted } else { args == wanted }
    }

    /// The subcommand called `name`, in any case.
    #[must_use]
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static Self> {
        self.subcommands.iter().find(|command| command.short_name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// Its name without that of its container.
    #[must_use]
    pub fn short_name(&self) -> &'static str {
        self.name.rsplit('|').next().unwrap_or(self.name)
    }

    /// All its access categories: those that follow from its flags, and the others.
    #[must_use]
    pub const fn all_categories(&self) -> Categories {
        let mut all = self.categories;
        if self.flags.has(Flags::WRITE) {
            all = all.and(Categories::WRITE);
        }
        if self.flags.has(Flags::READONLY) {
            all = all.and(Categories::READ);
        }
        if self.flags.has(Flags::ADMIN) {
            all = all.and(Categories::ADMIN).and(Categories::DANGEROUS);
        }
        all.and(if self.flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
    }

    /// First key, last key and step as COMMAND INFO gives them; zeros where there are no keys.
    #[must_use]
    pub fn key_range(&self) -> (i64, i64, i64) {
        let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) else { return (0, 0, 0) };
        let end = i64::from(last.last);
        (first.first.into(), if end < 0 { end } else { i64::from(last.first) + end }, first.step.into())
    }
}
