//! A send in flight, and the memory that the kernel reads from meanwhile.

use std::fmt;
use std::ops::Range;
use std::os::fd::RawFd;

use io_uring::{opcode, squeue, types};
use windrow_store::SegmentView;

use super::token::{ConnId, Token};

/// The most parts of one send that are handed to the kernel at once.
const GATHER_MAX: usize = 16;
/// A descriptor that is none.
const NO_SOCKET: RawFd = -1;
/// Don't raise SIGPIPE; and let the kernel itself go on where a send was partial.
const FLAGS: i32 = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;

/// Bytes of the log, sent from where they lie. Keeps the mapping and its file alive.
pub struct Mapped {
    segment: SegmentView,
    range: Range<usize>,
}

impl Mapped {
    /// A range of what is published of `segment`.
    #[must_use]
    pub fn new(segment: SegmentView, range: Range<usize>) -> Self {
        Self { segment, range }
    }

    /// The bytes.
    ///
    /// # Panics
    /// If they are not [there](Self::is_there) any more.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        self.segment.bytes(self.range.clone())
    }

    /// Whether the log still has them: a replica's log may be cut. What was cut away must not be sent.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.range.end <= self.segment.published_end()
    }

    /// The segment that they lie in.
    #[must_use]
    pub fn segment(&self) -> &SegmentView {
        &self.segment
    }

    /// Where they lie in the segment, and in its file.
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }
}

impl fmt::Debug for Mapped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapped").field("segment", &self.segment.base()).field("range", &self.range).finish()
    }
}

/// Part of what is sent.
#[derive(Debug)]
pub enum Part {
    /// A buffer.
    Bytes(Vec<u8>),
    /// Bytes of the log.
    Mapped(Mapped),
}

impl Part {
    /// The bytes. Their address does not change when the part is moved.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Mapped(mapped) => mapped.bytes(),
        }
    }

    /// How many bytes it has, also where they are not there any more.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Mapped(mapped) => mapped.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether its bytes are still there, see [`Mapped::is_there`].
    #[must_use]
    pub fn is_there(&self) -> bool {
        match self {
            Self::Bytes(_) => true,
            Self::Mapped(mapped) => mapped.is_there(),
        }
    }
}

/// The parts of one `sendmsg`, at a fixed address.
struct Gather {
    parts: [libc::iovec; GATHER_MAX],
    header: libc::msghdr,
}

/// A send in flight.
///
/// Owner of the invariant that what the kernel reads stays where it is: the parts are `Vec`s whose heap memory is
/// neither grown nor freed until the final completion, or published bytes of mappings that live as long as the part,
/// and the gather list is boxed. Should the disk fail under a mapping, the send ends with `EFAULT`.
pub(super) struct SendOp {
    conn: ConnId,
    fd: RawFd,
    parts: Vec<Part>,
    /// The first part that is not sent in full.
    part: usize,
    /// How much of it is sent.
    offset: usize,
    sent: usize,
    gather: Option<Box<Gather>>,
}

impl SendOp {
    pub(super) fn new(conn: ConnId, fd: RawFd, parts: Vec<Part>) -> Self {
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
    pub(super) fn finish(self) -> (usize, Vec<Part>) {
        (self.sent, self.parts)
    }

    /// The operation that sends what is left. It stays valid as long as `self` does, also when `self` moves.
    ///
    /// Where some of it is not there any more, that is an operation which fails, and so ends the connection.
    pub(super) fn entry(&mut self, slot: u32) -> squeue::Entry {
        let token = Token::Send { slot }.pack();
        let left = &self.parts[self.part.min(self.parts.len())..];
        if !left.iter().all(Part::is_there) {
            return opcode::Send::new(types::Fd(NO_SOCKET), std::ptr::null(), 0).build().user_data(token);
        }
        let first = left.first().map_or(&[][..], |part| &part.bytes()[self.offset..]);
        if left.len() < 2 {
            // A part of 4 GiB or more goes out in several sends.
            let len = u32::try_from(first.len()).unwrap_or(u32::MAX);
            return opcode::Send::new(types::Fd(self.fd), first.as_ptr(), len).flags(FLAGS).build().user_data(token);
        }
        let gather = self.gather.get_or_insert_with(Gather::empty);
        let mut count = 0;
        for (at, part) in gather.parts.iter_mut().zip(left) {
            let bytes = if count == 0 { first } else { part.bytes() };
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
