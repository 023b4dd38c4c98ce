//! Handing descriptors to types that take only raw ones.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd};

/// Moves a descriptor into a type that owns descriptors.
pub(crate) fn adopt<T: FromRawFd>(descriptor: OwnedFd) -> T {
    // SAFETY: the descriptor is owned and open, and its ownership moves into the value.
    unsafe { T::from_raw_fd(descriptor.into_raw_fd()) }
}
