//! A disk whose faults are commanded while a file system is mounted on it.
//!
//! [`Disk`] owns the bytes twice: what a reader is shown, and what would be there after a power cut. A write goes into
//! a cache and reaches the second copy with the next flush; a power cut keeps an arbitrary part of the cache, page by
//! page, and now and then only some 512-byte sectors of a page. [`fuse`] serves a disk as one file, [`FileSystem`]
//! puts a loop device and a real file system above it. Faults injected here reach every path into the kernel, mapped
//! memory and io_uring included, which faults in the C library or in system calls do not.

mod disk;
pub mod fuse;
mod mount;
#[cfg(test)]
mod tests;

pub use disk::{Counts, Disk, Kept, WriteFault};
pub use mount::{FileSystem, FileSystemKind, missing};
pub(crate) use mount::{is_installed, run};
