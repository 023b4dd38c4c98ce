//! A send that the kernel makes from the log's own memory.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};

use super::send::Mapped;
use super::token::{ConnId, Token};

/// Have the notification say whether the bytes were copied.
const REPORT_USAGE: u16 = 1 << 3;
/// The notification's answer: they were.
const USAGE_COPIED: u32 = 1 << 31;

/// A send in flight.
///
/// Owner of the invariant that what the kernel reads stays where it is and does not change: published bytes of a
/// mapping that lives as long as `piece`, which is dropped only after the last completion. That one is the notification
/// that the kernel has let go of the pages, where the send itself was successful. Its own handle on the socket keeps the
/// descriptor from naming another connection before the kernel has seen the operation.
pub(super) struct ZeroCopyOp {
    conn: ConnId,
    socket: OwnedFd,
    piece: Mapped,
    result: io::Result<usize>,
    copied: bool,
}

impl ZeroCopyOp {
    pub(super) fn new(conn: ConnId, socket: OwnedFd, piece: Mapped) -> Self {
        Self { conn, socket, piece, result: Ok(0), copied: false }
    }

    /// The operation. It stays valid as long as `self` does.
    pub(super) fn entry(&self, slot: u32) -> squeue::Entry {
        let bytes = self.piece.bytes();
        // A piece of 4 GiB or more is sent in part.
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        opcode::SendZc::new(types::Fd(self.socket.as_raw_fd()), bytes.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .zc_flags(REPORT_USAGE)
            .build()
            .user_data(Token::ZeroCopy { slot }.pack())
    }

    /// The send itself is over.
    pub(super) fn note_sent(&mut self, result: io::Result<u32>) {
        self.result = result.map(|len| len as usize);
    }

    /// The kernel has let go of the pages.
    pub(super) const fn note_released(&mut self, usage: i32) {
        self.copied = usage.cast_unsigned() & USAGE_COPIED != 0;
    }

    /// How it ended.
    pub(super) fn finish(self) -> (ConnId, io::Result<usize>, bool) {
        (self.conn, self.result, self.copied)
    }
}
