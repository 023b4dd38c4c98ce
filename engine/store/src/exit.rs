//! The exit statuses of a process that must not go on.

/// The disk failed under data that the process holds: a flush failed, or a mapping could not be read or written.
///
/// `EX_IOERR` of `sysexits.h`.
pub const EXIT_IO_ERROR: i32 = 74;
