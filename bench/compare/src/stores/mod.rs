//! The stores, behind one interface.

mod fjall;
mod lmdb;
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
mod sled;
mod windrow;

use std::fmt;
use std::path::Path;

use crate::{KEY_LEN, VALUE_LEN};

/// A key and its value.
pub type Pair = ([u8; KEY_LEN], [u8; VALUE_LEN]);

/// When a write returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// When it would survive a power cut, as far as the store promises that.
    Durable,
    /// When it would survive the end of the process; [`Store::sync`] does the rest.
    Unsynced,
}

/// What every store is asked to do.
pub trait Store {
    /// Sets one key, as a commit of its own.
    fn put(&mut self, key: &[u8], value: &[u8]);
    /// Sets several keys in one commit.
    fn put_batch(&mut self, pairs: &[Pair]);
    /// Reads a key as it stands now; the value is shown to `visit` where it lies, if the store can do that.
    fn get(&self, key: &[u8], visit: &mut dyn FnMut(&[u8])) -> bool;
    /// Visits every key and value, in the store's own order.
    fn scan(&self, visit: &mut dyn FnMut(&[u8], &[u8]));
    /// Makes durable all that was written.
    fn sync(&mut self);
}

/// One of the stores that were built in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    Windrow,
    Redb,
    Fjall,
    #[cfg(feature = "rocksdb")]
    RocksDb,
    Lmdb,
    Sled,
}

impl Engine {
    /// All that were built in.
    pub const ALL: &'static [Self] = &[
        Self::Windrow,
        Self::Redb,
        Self::Fjall,
        #[cfg(feature = "rocksdb")]
        Self::RocksDb,
        Self::Lmdb,
        Self::Sled,
    ];

    /// The name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Windrow => "windrow",
            Self::Redb => "redb",
            Self::Fjall => "fjall",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => "rocksdb",
            Self::Lmdb => "lmdb",
            Self::Sled => "sled",
        }
    }

    /// The one with this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|engine| engine.name() == name)
    }

    /// The crate's version, as the lock file has it.
    #[must_use]
    pub fn version(self) -> &'static str {
        let name = match self {
            Self::Lmdb => "heed",
            // Its version names that of RocksDB, behind a plus.
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => "librocksdb-sys",
            _ => self.name(),
        };
        let mut lines = include_str!("../../Cargo.lock").lines();
        lines.find(|line| line.strip_prefix("name = ").is_some_and(|quoted| quoted.trim_matches('"') == name));
        lines.next().and_then(|line| line.strip_prefix("version = ")).map_or("?", |quoted| quoted.trim_matches('"'))
    }

    /// How a write is made durable, in the words of the store's own interface.
    #[must_use]
    pub const fn durable_setting(self) -> &'static str {
        match self {
            Self::Windrow => "`FlushMode::GroupCommit` (the default)",
            Self::Redb => "`Durability::Immediate` (the default)",
            Self::Fjall => "`Database::persist(SyncData)` after each commit",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => "`WriteOptions::set_sync(true)`",
            Self::Lmdb => "no flags (the default)",
            Self::Sled => "`Tree::flush` after each write",
        }
    }

    /// What a write that is not synced is.
    #[must_use]
    pub const fn unsynced_setting(self) -> &'static str {
        match self {
            Self::Windrow => "`FlushMode::Explicit`",
            Self::Redb => "`Durability::None`",
            Self::Fjall => "no `persist` (the default)",
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => "`set_sync(false)` (the default)",
            Self::Lmdb => "`MDB_NOSYNC`",
            Self::Sled => "no `flush` (the default: every 500 ms)",
        }
    }

    /// Opens the store in a directory, and makes it if it is not there.
    #[must_use]
    pub fn open(self, dir: &Path, durability: Durability) -> Box<dyn Store> {
        std::fs::create_dir_all(dir).expect("the directory can be made");
        match self {
            Self::Windrow => Box::new(windrow::WindrowStore::open(dir, durability)),
            Self::Redb => Box::new(redb::RedbStore::open(dir, durability)),
            Self::Fjall => Box::new(fjall::FjallStore::open(dir, durability)),
            #[cfg(feature = "rocksdb")]
            Self::RocksDb => Box::new(rocksdb::RocksStore::open(dir, durability)),
            Self::Lmdb => Box::new(lmdb::LmdbStore::open(dir, durability)),
            Self::Sled => Box::new(sled::SledStore::open(dir, durability)),
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
