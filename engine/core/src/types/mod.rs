//! Identifiers, units and limits: the words that every other module uses.

mod hash;
mod ids;
pub mod limits;
mod log_key;
mod slot;

pub use hash::{HashSeed, KeyHash};
pub use ids::{ClusterId, Epoch, Lsn, PartitionId, UnixMillis};
pub use log_key::LogKey;
pub use slot::{PartitionMap, SLOT_COUNT, Slot};
