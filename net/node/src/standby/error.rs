//! Why a standby cannot go on.

use thiserror::Error;
use windrow_core::types::PartitionId;
use windrow_store::{OpenError, RefreshError};

/// Why a standby does not start, or ends.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StandbyError {
    /// The kernel lacks what a standby sleeps in.
    #[error(
        "this kernel has no {what}, in which a standby waits for its leader. Remedy: Linux 6.7 or later, or run \
         without a standby"
    )]
    Kernel {
        /// What is missing.
        what: &'static str,
    },
    /// What the leader has committed cannot be believed.
    #[error("partition {partition} cannot be followed any further: {source}")]
    Follow {
        /// Which one.
        partition: PartitionId,
        /// Why.
        source: Box<RefreshError>,
    },
    /// The leader is gone, and its log cannot be gone on with.
    #[error("partition {partition} cannot be taken over: {source}")]
    TakeOver {
        /// Which one.
        partition: PartitionId,
        /// Why.
        source: Box<OpenError>,
    },
}
