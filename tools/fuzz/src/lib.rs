//! Fuzz targets as functions: each takes any bytes and panics where something does not hold.
//!
//! `libfuzzer/` calls them with what libFuzzer makes up, on a nightly compiler; `tests/corpus.rs` calls them with every
//! input of `corpus/`, on the compiler of everything else.

mod commands;
mod handshake;
mod node;
mod receive;
mod record;
mod recovery;
mod replication;
mod resp;
mod settings;
mod superblock;

pub use commands::commands;
pub use handshake::handshake;
pub use receive::receive;
pub use record::record;
pub use recovery::recovery;
pub use replication::replication;
pub use resp::resp;
pub use settings::settings;
pub use superblock::superblock;

/// A target: it takes any bytes.
pub type Target = fn(&[u8]);

/// Every target and its name.
pub const TARGETS: [(&str, Target); 9] = [
    ("resp", resp),
    ("commands", commands),
    ("record", record),
    ("recovery", recovery),
    ("superblock", superblock),
    ("replication", replication),
    ("receive", receive),
    ("handshake", handshake),
    ("settings", settings),
];
