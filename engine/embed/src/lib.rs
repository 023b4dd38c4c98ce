//! Windrow as a library: a durable, partitioned key-value store that an application embeds.
//!
//! The log is the database: a write is one record appended to a memory-mapped log segment, a read is a reference into
//! it. The promise: **no call ever shows or confirms a write that a crash could still take back**, neither of the
//! process nor of the machine, unless [`FlushMode::Explicit`] asks for less.
//!
//! ```
//! use windrow::{Batch, Condition, Lsn, Windrow};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let path = dir.path().join("data");
//! let db = Windrow::open(&path)?;
//! db.put("greeting", "hello")?; // on the disk when this returns
//! assert_eq!(db.get("greeting")?.unwrap(), "hello"); // in the log itself, not copied
//!
//! // All or nothing, also after a crash.
//! let mut batch = Batch::new();
//! batch.put("{order7}:total", "12.50").put("{order7}:items", "3").delete("{order7}:draft");
//! db.write(&batch)?;
//!
//! // Only if nobody else was first.
//! let first = db.put_if("lock", "me", Condition::Absent)?;
//! assert!(first.is_written());
//! assert!(!db.put_if("lock", "you", Condition::Absent)?.is_written());
//!
//! // Everything that ever happened, in order; resumes at any position.
//! let mut feed = db.subscribe(0, Lsn::ZERO)?;
//! let first = feed.try_next()?.unwrap();
//! assert_eq!(first.changes.len(), 1);
//!
//! db.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - A [`Windrow`] is a handle: clone it, send it to any thread. Reads of one partition run side by side; its writes
//!   one after another, but they share flushes (see [`FlushMode`]).
//! - One process writes to a directory at a time; others may open it [read-only](Options::read_only) meanwhile.
//! - A [`Value`] refers to the log and keeps its segment mapped: copy out what is to be kept for long.
//! - Scans go in hash order; see [`Windrow::scan`].
//! - Nothing frees log segments yet: disk use grows with what is written, not with what is live, and
//!   [`Stats::log_bytes`] tells it.
//! - What is read is verified each time, because it may come from the disk again: a damaged record is
//!   [an error](Damaged) and never shown. [`Options::unverified_len`] has what that costs. A value is verified when it
//!   is taken, not each time that it is looked at.
//! - After a failed flush the handle is dead, see [`Failed`]; a mapping that the disk no longer serves ends the
//!   process with SIGBUS, see [`Options::signal_handlers`].
#![forbid(unsafe_code)]

mod batch;
mod condition;
mod error;
mod feed;
mod gate;
mod options;
mod scan;
mod shard;
mod stats;
mod store;
mod value;

pub use batch::Batch;
pub use condition::{Condition, PutOutcome};
pub use error::{Damaged, Failed, FeedError, OpenError, ReadError, RefreshError, WriteError};
pub use feed::{Change, Feed, Record};
pub use options::{FlushMode, Options};
pub use scan::Scan;
pub use stats::{ShardStats, Stats};
pub use store::Windrow;
pub use value::{Item, Value, Version};
pub use windrow_core::log::BadBytes;
pub use windrow_core::partition::PartitionStats;
pub use windrow_core::types::{Lsn, UnixMillis};
pub use windrow_store::{FillMode, OpenReport};
