//! The lock that keeps two processes from writing in one data directory.
//!
//! `flock` on the file `LOCK`: exclusive for the writer as long as it lives, shared for a reader only while it opens
//! a directory that nobody writes in. The lock goes away with its process, however that ends.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use thiserror::Error;

use crate::files::{At, FileError};

pub(super) const LOCK_FILE: &str = "LOCK";
/// How long a writer waits for readers that are still opening.
const READERS_WAIT: Duration = Duration::from_secs(60);
const READERS_POLL: Duration = Duration::from_millis(5);

/// Why a data directory could not be locked.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum LockError {
    /// Another process, or another handle of this process, writes here.
    #[error("{}: in use by process {}; stop that process first, or choose another directory", path.display(), Pid(*pid))]
    Held {
        /// The directory.
        path: PathBuf,
        /// The holder, where it could be read.
        pid: Option<u32>,
    },
    /// A process has been opening the directory for reading for longer than a writer waits.
    #[error("{}: still being opened for reading by another process; try again", path.display())]
    Readers {
        /// The directory.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

struct Pid(Option<u32>);

impl std::fmt::Display for Pid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(pid) => write!(f, "{pid}"),
            None => f.write_str("(unknown id)"),
        }
    }
}

/// The writer's hold on a data directory, given up when dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// Whether anybody writes in a directory that a reader opens.
#[derive(Debug)]
pub(crate) enum Writer {
    /// A live process holds the lock.
    Alive,
    /// Nobody does, and nobody will while this is held. `None`: there is no lock file at all.
    None { _held: Option<File> },
}

impl DirLock {
    pub(super) fn acquire(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.at("open", &path)?;
        let deadline = Instant::now() + READERS_WAIT;
        while !try_lock(&file, FlockOperation::NonBlockingLockExclusive, &path)? {
            // Readers leave soon; a writer stays. A shared lock is to be had beside the former only.
            if !try_lock(&file, FlockOperation::NonBlockingLockShared, &path)? {
                return Err(LockError::Held { path: dir.to_path_buf(), pid: holder(&file) });
            }
            if Instant::now() >= deadline {
                return Err(LockError::Readers { path: dir.to_path_buf() });
            }
            std::thread::sleep(READERS_POLL);
        }
        // For whoever meets the lock; nothing depends on it.
        file.set_len(0).at("write", &path)?;
        file.write_all_at(format!("{}\n", std::process::id()).as_bytes(), 0).at("write", &path)?;
        Ok(Self { _file: file })
    }
}

impl Writer {
    /// Looks whether anybody writes in `dir`, and keeps writers out if not.
    pub(crate) fn look(dir: &Path) -> Result<Self, FileError> {
        let path = dir.join(LOCK_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::None { _held: None }),
            Err(error) => return Err(error).at("open", &path),
        };
        let free = try_lock(&file, FlockOperation::NonBlockingLockShared, &path)?;
        Ok(if free { Self::None { _held: Some(file) } } else { Self::Alive })
    }
}

fn try_lock(file: &File, operation: FlockOperation, path: &Path) -> Result<bool, FileError> {
    match flock(file, operation) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno).at("lock", path),
    }
}

fn holder(file: &File) -> Option<u32> {
    let mut bytes = [0; 16];
    let count = file.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes[..count]).ok()?.trim().parse().ok()
}
