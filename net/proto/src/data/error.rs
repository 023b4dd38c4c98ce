//! What a data command can answer instead of doing what it was asked for.

use windrow_core::{
    log::{Damaged, RoomError},
    partition::AppendError,
    types::{PartitionId, limits::KEY_LEN_MAX},
};

/// Why a command did nothing. The text is the reply, that of Redis where Redis has one.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The options make no sense.
    #[error("ERR syntax error")]
    Syntax,
    /// A number is none.
    #[error("ERR value is not an integer or out of range")]
    NotInteger,
    /// A floating-point number is none.
    #[error("ERR value is not a valid float")]
    NotFloat,
    /// A sum leaves 64 bits.
    #[error("ERR increment or decrement would overflow")]
    Overflow,
    /// The decrement itself cannot be negated.
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    /// A floating-point sum is no number.
    #[error("ERR increment would produce NaN or Infinity")]
    FloatOverflow,
    /// An expiry is zero, negative where that makes no sense, or later than can be written down.
    #[error("ERR invalid expire time in '{command}' command")]
    Expiry {
        /// The command's name.
        command: &'static str,
    },
    /// Options of EXPIRE that exclude each other.
    #[error("ERR NX and XX, GT or LT options at the same time are not compatible")]
    ExpireOnlyIf,
    /// Options of EXPIRE that exclude each other.
    #[error("ERR GT and LT options at the same time are not compatible")]
    ExpireComparison,
    /// An offset is negative.
    #[error("ERR offset is out of range")]
    Offset,
    /// A value would become longer than a client may send or be sent.
    #[error("ERR string exceeds maximum allowed size (proto-max-bulk-len)")]
    StringLength,
    /// A reply would become longer than may wait for a client.
    #[error("ERR the reply is longer than the {max} bytes that may wait for a client: nothing was done; ask for less")]
    ReplyLength {
        /// Bytes that may wait.
        max: usize,
    },
    /// The command does not take so many arguments.
    #[error("ERR wrong number of arguments for '{command}' command")]
    Arity {
        /// The command's name.
        command: &'static str,
    },
    /// What is to be renamed does not exist.
    #[error("ERR no such key")]
    NoSuchKey,
    /// COPY onto itself.
    #[error("ERR source and destination objects are the same")]
    SameObject,
    /// There is only database 0.
    #[error("ERR DB index is out of range")]
    Database,
    /// LCS with LEN and IDX.
    #[error("ERR If you want both the length and indexes, please just use IDX.")]
    LcsOptions,
    /// LCS of values that are too long for it.
    #[error("ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len")]
    LcsLength,
    /// OBJECT FREQ, which nothing counts.
    #[error("ERR An LFU maxmemory policy is not selected, access frequency not tracked.")]
    NoFrequency,
    /// A cursor that SCAN never gave.
    #[error("ERR invalid cursor")]
    Cursor,
    /// A pattern that could hold others up for long.
    #[error("ERR the pattern is longer than {max} bytes")]
    PatternLength {
        /// The longest pattern.
        max: usize,
    },
    /// A key is too long.
    #[error("ERR the key is longer than {KEY_LEN_MAX} bytes")]
    KeyLength,
    /// There is no room for the write.
    #[error(
        "ERR no space left on the disk of the data directory: nothing was written; reads go on, and writes resume by \
         themselves when there is room"
    )]
    NoSpace,
    /// The log cannot go on, though there may be room.
    #[error(
        "ERR the disk of the data directory refuses a new log segment: nothing was written; reads go on, and writes \
         resume by themselves when it takes one; the node's log says what is wrong"
    )]
    NoSegment,
    /// The write does not fit into a segment of the log.
    #[error("ERR too large: a record of {len} bytes is longer than the {max} bytes that a log segment can hold")]
    TooLarge {
        /// Bytes of the record.
        len: u64,
        /// Bytes that a segment can hold.
        max: u64,
    },
    /// The log refused the write for another reason; nothing was written.
    #[error("ERR nothing was written: {0}")]
    Refused(AppendError),
    /// A record that the command needs has been damaged since it was written.
    #[error(
        "DAMAGED partition {partition}: {damage}. Mend this node's directory with `windrow log repair` from another \
         replica's, or restore a backup"
    )]
    Damaged {
        /// The partition.
        partition: PartitionId,
        /// What is wrong.
        damage: Damaged,
    },
    /// A command that works on a whole node stands in a transaction.
    #[error("ERR Command not allowed inside a transaction")]
    NotInTransaction,
}

/// Why a command stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stop {
    /// The log is not ready for a write: the whole command is to be run again later.
    Retry,
    /// The client is told why.
    Error(DataError),
}

impl From<DataError> for Stop {
    fn from(error: DataError) -> Self {
        Self::Error(error)
    }
}

impl From<AppendError> for Stop {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::Room(RoomError::NotReady) => Self::Retry,
            AppendError::Room(RoomError::NoSpace) => Self::Error(DataError::NoSpace),
            AppendError::Room(RoomError::Refused) => Self::Error(DataError::NoSegment),
            AppendError::Room(RoomError::TooLarge { len, max }) => Self::Error(DataError::TooLarge { len, max }),
            other => Self::Error(DataError::Refused(other)),
        }
    }
}
