//! Handing descriptors to what takes only raw ones.

#[cfg(feature = "shared-nothing")]
use std::io;
#[cfg(feature = "shared-nothing")]
use std::os::fd::{AsFd, AsRawFd};
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

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
    let len = libc::c_int::try_from(len).unwrap_or(libc::c_int::MAX);
    let size = libc::socklen_t::try_from(size_of_val(&len)).map_err(io::Error::other)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is borrowed and open, and the kernel reads `size` bytes of `len` during the call only.
    let result =
        unsafe { libc::setsockopt(socket, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, (&raw const len).cast(), size) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
