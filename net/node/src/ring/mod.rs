//! A core's own io_uring: sockets and flushes.
