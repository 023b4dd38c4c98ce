//! A read in flight that is made for the page cache alone.

use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::{opcode, squeue, types};
use windrow_store::SegmentView;

use super::token::Token;

/// The most bytes that one operation reads.
pub(super) const READ_LEN_MAX: usize = 1 << 20;

/// A read in flight. What it reads is then in the page cache, and with that in the mapping; the bytes themselves are
/// not looked at.
pub(super) struct ReadOp {
    pub(super) ticket: u64,
    /// Keeps the file open.
    segment: SegmentView,
    left: Range<usize>,
}

impl ReadOp {
    pub(super) fn new(ticket: u64, segment: SegmentView, range: Range<usize>) -> Self {
        Self { ticket, segment, left: range }
    }

    /// Notes that `len` more bytes have been read, none of them at the end of the file. Returns whether all have.
    pub(super) fn advance(&mut self, len: usize) -> bool {
        self.left.start += len;
        len == 0 || self.left.is_empty()
    }

    /// The operation that reads the next part into `scratch`, which has [`READ_LEN_MAX`] bytes.
    pub(super) fn entry(&self, slot: u32, scratch: *mut u8) -> squeue::Entry {
        let len = u32::try_from(self.left.len().min(READ_LEN_MAX)).expect("READ_LEN_MAX is small");
        opcode::Read::new(types::Fd(self.segment.as_fd().as_raw_fd()), scratch, len)
            .offset(self.left.start as u64)
            .build()
            .user_data(Token::Read { slot }.pack())
    }
}
