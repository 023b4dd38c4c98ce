//! Handing descriptors to what takes only raw ones.

#[cfg(feature = "shared-nothing")]
use std::io;
#[cfg(feature = "shared-nothing")]
use std::os::fd::{AsFd, AsRawFd};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};
#[cfg(feature = "shared-nothing")]
use std::time::Duration;

/// Moves a descriptor into a type that owns descriptors.
pub(crate) fn adopt<T: FromRawFd>(descriptor: OwnedFd) -> T {
    // SAFETY: the descriptor is owned and open, and its ownership moves into the value.
    unsafe { T::from_raw_fd(descriptor.into_raw_fd()) }
}

/// Has a TCP socket take no more while it holds `len` bytes that it has not sent (`TCP_NOTSENT_LOWAT`).
///
/// # Errors
/// What the system says.
#[cfg(feature = "shared-nothing")]
pub(crate) fn limit_unsent(socket: impl AsFd, len: usize) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, libc::c_int::try_from(len).unwrap_or(libc::c_int::MAX))
}

/// Has the kernel choose again how much a socket holds, after it was told (`SO_BUF_LOCK`).
///
/// # Errors
/// What the system says.
#[cfg(feature = "shared-nothing")]
pub(crate) fn unlock_buffers(socket: impl AsFd) -> io::Result<()> {
    set(socket, libc::SOL_SOCKET, libc::SO_BUF_LOCK, 0)
}

#[cfg(feature = "shared-nothing")]
fn set(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let size = libc::socklen_t::try_from(size_of_val(&value)).map_err(io::Error::other)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and open, and the kernel reads `size` bytes of `value` during the call only.
    let result = unsafe { libc::setsockopt(socket, level, name, (&raw const value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a TCP socket knows of its path.
#[cfg(feature = "shared-nothing")]
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Path {
    /// How much longer what is sent takes there and back than at best: it waits on the way.
    pub(crate) queued: Duration,
    /// Bytes that have got there since the connection was made.
    pub(crate) acked: u64,
}

/// Asks a TCP socket for its path (`TCP_INFO`).
///
/// # Errors
/// What the system says.
#[cfg(feature = "shared-nothing")]
pub(crate) fn path_of(socket: impl AsFd) -> io::Result<Path> {
    /// Where `struct tcp_info` of the kernel has `tcpi_rtt` and `tcpi_min_rtt`, in microseconds.
    const RTT: usize = 68;
    const MIN_RTT: usize = 148;
    /// And `tcpi_bytes_acked`.
    const ACKED: usize = 120;
    let mut info = [0_u8; 152];
    let mut size = libc::socklen_t::try_from(info.len()).map_err(io::Error::other)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and open, and the kernel writes at most `size` bytes to `info`, all of which are
    // initialized, during the call only.
    let result =
        unsafe { libc::getsockopt(socket, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut size) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let micros = |at: usize| info[at..].first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes));
    Ok(Path {
        queued: Duration::from_micros(micros(RTT).saturating_sub(micros(MIN_RTT)).into()),
        acked: info[ACKED..].first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes)),
    })
}

#[cfg(all(test, feature = "shared-nothing"))]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_socket_knows_its_path_and_is_told_what_it_may_hold() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        for number in 1..=10 {
            one.write_all(&[0; 1_000]).unwrap();
            other.read_exact(&mut [0; 1_000]).unwrap();
            // The other end's answer acknowledges what it answers.
            other.write_all(b"x").unwrap();
            one.read_exact(&mut [0]).unwrap();
            // The connection itself counts as a byte.
            let path = path_of(&one).unwrap();
            assert!((number * 1_000..=number * 1_000 + 1).contains(&path.acked), "{number}: {path:?}");
            assert!(path.queued < Duration::from_secs(60), "what is read where it is not is absurd: {path:?}");
        }
        rustix::net::sockopt::set_socket_send_buffer_size(&one, 16 << 10).unwrap();
        unlock_buffers(&one).unwrap();
        limit_unsent(&one, 16 << 10).unwrap();
        one.write_all(&[0; 1 << 10]).unwrap();
        assert!(path_of(&listener).is_ok(), "and where there is no path");
    }
}
