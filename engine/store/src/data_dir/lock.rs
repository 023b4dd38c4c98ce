//! The lock that keeps two processes from writing in one data directory.
//!
//! `flock` on the file `LOCK`: exclusive for the writer as long as it lives, shared for a reader only while it opens
//! a directory that nobody writes in. The lock goes away with its process, however that ends.
//!
//! The file's first line is the writer's process id, its second one the addresses that the writer serves clients at,
//! if any. Nothing depends on either but messages, and which addresses a standby takes over.

use std::fs::{File, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
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
    #[error(
        "{}: in use by process {}; stop that process first, choose another directory, or start this one as its \
         standby (`windrow standby --of DIR`)",
        path.display(),
        Pid(*pid)
    )]
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
    file: File,
    path: PathBuf,
    /// The process whose lock this is.
    owner: u32,
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
        let file = open(&path)?;
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
        let lock = Self { file, path, owner: std::process::id() };
        lock.sign(&[])?;
        Ok(lock)
    }

    /// Waits until nobody writes here any more, however long that takes. The file is left as the last writer left it.
    pub(super) fn wait(dir: &Path) -> Result<Self, LockError> {
        let path = dir.join(LOCK_FILE);
        let file = open(&path)?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { file, path, owner: std::process::id() }),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno).at("lock", &path).map_err(LockError::File),
            }
        }
    }

    /// Writes down whose lock this is, and where that process serves clients.
    pub(super) fn sign(&self, addresses: &[SocketAddr]) -> Result<(), FileError> {
        let mut text = format!("{}\n", std::process::id());
        if !addresses.is_empty() {
            text.push_str(&addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
            text.push('\n');
        }
        self.file.set_len(0).at("write", &self.path)?;
        self.file.write_all_at(text.as_bytes(), 0).at("write", &self.path)
    }

    /// Whether the directory still has the file that is locked.
    pub(super) fn is_in_place(&self) -> Result<bool, FileError> {
        let own = self.file.metadata().at("look at", &self.path)?;
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).at("look at", &self.path),
        }
    }
}

/// Closing the file is not enough: a child that another thread is starting has all open files until it runs its program,
/// and with them the lock. A child that only goes on with a copy of this process's memory gives nothing up.
impl Drop for DirLock {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            // If it fails, the lock goes with the last of the descriptors.
            let _left_to_the_close = flock(&self.file, FlockOperation::Unlock);
        }
    }
}

/// The addresses that the present or the last writer of `dir` serves clients at; empty where it did not say.
pub(super) fn addresses(dir: &Path) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(dir.join(LOCK_FILE)).unwrap_or_default();
    let line = text.lines().nth(1).unwrap_or_default();
    line.split_whitespace().map(str::parse).collect::<Result<_, _>>().unwrap_or_default()
}

fn open(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).at("open", path)
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
    std::str::from_utf8(&bytes[..count]).ok()?.lines().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_was_given_up_is_free_though_a_child_still_has_the_file() {
        let place = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(place.path()).unwrap();
        // What a child has between its fork and its program.
        let inherited = lock.file.try_clone().unwrap();
        drop(lock);
        let again = DirLock::acquire(place.path()).unwrap();
        drop(inherited);
        assert!(matches!(DirLock::acquire(place.path()), Err(LockError::Held { .. })), "and held again");
        drop(again);
    }

    #[test]
    fn a_copy_of_another_process_gives_nothing_up() {
        let place = tempfile::tempdir().unwrap();
        let lock = DirLock::acquire(place.path()).unwrap();
        let copy = DirLock { file: lock.file.try_clone().unwrap(), path: lock.path.clone(), owner: lock.owner + 1 };
        drop(copy);
        assert!(matches!(DirLock::acquire(place.path()), Err(LockError::Held { .. })));
    }
}
