//! The bytes of one connection, in and out, without ever waiting.
//!
//! This is where TLS has its place: a session that `read` decrypts with and `write` encrypts with, in front of the
//! handshake of the nodes, which goes on above it unchanged. With the kernel's TLS, `send_file` goes on as it is;
//! without it, a connection with TLS sends everything by `write`.
//!
//! Every call ends at once: it has done something, or says that the socket is not ready, and then the ring waits for
//! it. So the kernel never holds memory of the log that it could write to after the call.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl, sendfile};
use rustix::io::{Errno, readv, retry_on_intr};
use rustix::net::{
    self, AddressFamily, SendAncillaryBuffer, SendFlags, Shutdown, SocketFlags, SocketType, sendmsg, shutdown, sockopt,
};

use super::pace::Bounds;
use crate::net::prepare;
use crate::ring::descriptor::{Path, limit_unsent, path_of, unlock_buffers};
use crate::ring::{Mapped, Part};

/// How a call ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Done {
    /// So many bytes went through.
    Some(usize),
    /// The socket is not ready.
    NotReady,
    /// The peer will send no more.
    Ended,
}

/// The bytes of one connection.
#[derive(Debug)]
pub(super) struct Stream {
    socket: OwnedFd,
}

fn done(result: Result<usize, Errno>) -> io::Result<Done> {
    match result {
        Ok(len) => Ok(Done::Some(len)),
        Err(Errno::AGAIN) => Ok(Done::NotReady),
        Err(error) => Err(error.into()),
    }
}

impl Stream {
    /// Begins to connect. Once the socket can be written, [`connected`](Self::connected) says how that ended.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        match net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(Self { socket }),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the connection is there.
    pub(super) fn connected(&self) -> io::Result<()> {
        sockopt::socket_error(&self.socket)??;
        let ends = prepare(&self.socket, None)?;
        self.within_machine(ends);
        Ok(())
    }

    /// Does without pacing where both ends are on one machine. BBR, which may be the system's choice for the network, sends
    /// by timers, for twice the processor time; between the ends of one machine nothing is congested. Reno is always
    /// there and allowed.
    fn within_machine(&self, (peer, local): (SocketAddr, SocketAddr)) {
        if peer.ip() != local.ip() && !peer.ip().is_loopback() {
            return;
        }
        if let Err(error) = sockopt::set_tcp_congestion(&self.socket, "reno") {
            tracing::debug!(%error, "a connection within this machine is paced as the system says");
        }
    }

    /// A connection that was accepted, and from where.
    pub(super) fn accepted(socket: OwnedFd) -> io::Result<(Self, SocketAddr)> {
        let flags = fcntl_getfl(&socket)?;
        fcntl_setfl(&socket, flags | OFlags::NONBLOCK)?;
        let ends = prepare(&socket, None)?;
        let stream = Self { socket };
        stream.within_machine(ends);
        Ok((stream, ends.0))
    }

    /// Fills first `first`, then `second`.
    pub(super) fn read(&self, first: &mut [u8], second: &mut [u8]) -> io::Result<Done> {
        let mut slices = [IoSliceMut::new(first), IoSliceMut::new(second)];
        match done(retry_on_intr(|| readv(&self.socket, &mut slices)))? {
            Done::Some(0) => Ok(Done::Ended),
            done => Ok(done),
        }
    }

    /// Copies what fits of these slices, in order, into the socket. `more` follows at once. What comes behind what stands
    /// `apart` is not joined to it: the kernel adds to what it has not sent up to 64 KiB, whatever the socket may hold.
    pub(super) fn write(&self, slices: &[IoSlice<'_>], more: bool, apart: bool) -> io::Result<Done> {
        let mut flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if more {
            flags |= SendFlags::MORE;
        }
        if apart {
            flags |= SendFlags::EOR;
        }
        done(retry_on_intr(|| sendmsg(&self.socket, slices, &mut SendAncillaryBuffer::default(), flags)))
    }

    /// Has the kernel send the pages of the file themselves, from `skip` bytes into `piece` on, at most `len` bytes.
    pub(super) fn send_file(&self, piece: &Mapped, skip: usize, len: usize) -> io::Result<Done> {
        let range = piece.range();
        let mut offset = (range.start + skip) as u64;
        let len = (range.len() - skip).min(len);
        done(retry_on_intr(|| sendfile(&self.socket, piece.segment(), Some(&mut offset), len)))
    }

    /// How much the socket holds at most.
    pub(super) fn bound(&self, bounds: Bounds) {
        let held = match bounds.held {
            Some(len) => sockopt::set_socket_send_buffer_size(&self.socket, len).map_err(io::Error::from),
            None => unlock_buffers(&self.socket),
        };
        // Without it, what is said is later, and nothing else is wrong.
        if let Err(error) = limit_unsent(&self.socket, bounds.unsent).and(held) {
            tracing::debug!(%error, ?bounds, "the bounds of a socket cannot be set");
        }
    }

    /// What is known of the way to the peer.
    pub(super) fn path(&self) -> io::Result<Path> {
        path_of(&self.socket)
    }

    /// Ends the connection in both directions, whatever is still on its way.
    pub(super) fn shut(&self) {
        // That it may already be so is no matter.
        let _ = shutdown(&self.socket, Shutdown::Both);
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The slices of `parts`, the first `skip` bytes left out, up to the first part for which `until` holds.
pub(super) fn slices<'a>(
    parts: impl Iterator<Item = &'a Part>,
    skip: usize,
    until: impl Fn(&Part) -> bool,
    into: &mut Vec<IoSlice<'a>>,
) {
    for (number, part) in parts.take_while(|part| !until(part)).enumerate() {
        let bytes = part.bytes();
        into.push(IoSlice::new(if number == 0 { &bytes[skip..] } else { bytes }));
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    #[test]
    fn connections_within_a_machine_are_not_paced() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dialled = Stream::connect(listener.local_addr().unwrap()).unwrap();
        poll(&mut [PollFd::new(&dialled, PollFlags::OUT)], None).unwrap();
        dialled.connected().unwrap();
        let (accepted, _) = Stream::accepted(listener.accept().unwrap().0.into()).unwrap();
        for stream in [&dialled, &accepted] {
            assert_eq!(sockopt::tcp_congestion(stream).unwrap(), "reno");
        }
    }
}
