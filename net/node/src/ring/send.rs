//! A send in flight, and the memory that the kernel reads from meanwhile.

use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};

use super::token::{ConnId, Token};

/// The most parts of one send that are handed to the kernel at once.
const GATHER_MAX: usize = 16;
/// Don't raise SIGPIPE; and let the kernel itself go on where a send was partial.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// The parts of one `sendmsg`, at a fixed address.
struct Gather {
    parts: [libc::iovec; GATHER_MAX],
    header: libc::msghdr,
}

/// A send in flight.
///
/// Owner of the invariant that what the kernel reads stays where it is: the parts are `Vec`s whose heap memory is
/// neither grown nor freed until the final completion, and the gather list is boxed.
pub(super) struct SendOp {
    conn: ConnId,
    fd: RawFd,
    parts: Vec<Vec<u8>>,
    /// The first part that is not sent in full.
    part: usize,
    /// How much of it is sent.
    offset: usize,
    sent: usize,
    gather: Option<Box<Gather>>,
}

impl SendOp {
    pub(super) fn new(conn: ConnId, fd: RawFd, parts: Vec<Vec<u8>>) -> Self {
        let mut op = Self { conn, fd, parts, part: 0, offset: 0, sent: 0, gather: None };
        op.skip_empty();
        op
    }

    pub(super) fn conn(&self) -> ConnId {
        self.conn
    }

    /// Notes that `len` more bytes have been sent. Returns whether all have.
    pub(super) fn advance(&mut self, len: usize) -> bool {
        self.sent += len;
        self.offset += len;
        self.skip_empty();
        self.part == self.parts.len()
    }

    fn skip_empty(&mut self) {
        while let Some(part) = self.parts.get(self.part)
            && self.offset >= part.len()
        {
            self.offset -= part.len();
            self.part += 1;
        }
    }

    /// How many bytes have been sent, and the memory, which is free again.
    pub(super) fn finish(self) -> (usize, Vec<Vec<u8>>) {
        (self.sent, self.parts)
    }

    /// The operation that sends what is left. It stays valid as long as `self` does, also when `self` moves.
    pub(super) fn entry(&mut self, slot: u32) -> squeue::Entry {
        let token = Token::Send { slot }.pack();
        let left = &self.parts[self.part.min(self.parts.len())..];
        let first = left.first().map_or(&[][..], |part| &part[self.offset..]);
        if left.len() < 2 {
            // A part of 4 GiB or more goes out in several sends.
            let len = u32::try_from(first.len()).unwrap_or(u32::MAX);
            return opcode::Send::new(types::Fd(self.fd), first.as_ptr(), len).flags(FLAGS).build().user_data(token);
        }
        let gather = self.gather.get_or_insert_with(Gather::empty);
        let mut count = 0;
        for (at, part) in gather.parts.iter_mut().zip(left) {
            let bytes = if count == 0 { first } else { &part[..] };
            *at = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            count += 1;
        }
        gather.header.msg_iov = gather.parts.as_mut_ptr();
        gather.header.msg_iovlen = count;
        let flags = u32::try_from(FLAGS).expect("flags of sendmsg are positive");
        opcode::SendMsg::new(types::Fd(self.fd), &raw const gather.header).flags(flags).build().user_data(token)
    }
}

impl Gather {
    fn empty() -> Box<Self> {
        // SAFETY: iovec and msghdr are plain C structs for which all zeroes mean "empty".
        Box::new(unsafe { std::mem::zeroed() })
    }
}
