//! Waiting in the ring for another process: a futex.

use io_uring::{opcode, squeue};
use windrow_store::FutexWord;

use super::token::Token;

/// The word has 32 bits, and is shared with other processes.
const FUTEX2_SIZE_U32: u32 = 0x02;
/// Whoever is woken, this one is.
const FUTEX_BITSET_MATCH_ANY: u64 = 0xffff_ffff;

/// A wait in flight.
pub(super) struct WatchOp {
    pub(super) ticket: u64,
    /// Keeps the page mapped that the kernel looks at when the wait begins.
    pub(super) word: FutexWord,
}

impl WatchOp {
    /// The operation that waits while the word has this value.
    pub(super) fn entry(&self, slot: u32, value: u32) -> squeue::Entry {
        opcode::FutexWait::new(self.word.as_ptr(), value.into(), FUTEX_BITSET_MATCH_ANY, FUTEX2_SIZE_U32)
            .build()
            .user_data(Token::Watch { slot }.pack())
    }
}
