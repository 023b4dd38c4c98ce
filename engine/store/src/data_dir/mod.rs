//! A data directory: whose it is, who may write in it, and where its partitions are.
//!
//! ```text
//! identity             which cluster, how many partitions; written last when the directory is made
//! LOCK                 locked by the process that writes here; holds its process id and addresses
//! partition-0000/      one directory per partition, see `partition_dir`
//! ```
//!
//! Invariants: only the process that holds the lock changes anything here; a directory with an identity is complete.
//! A crash while it is being made leaves a directory without an identity and without a single segment, which the
//! next attempt completes. A directory that holds segments but no identity has lost it, and is refused.

mod create;
mod identity;
mod lock;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use thiserror::Error;
use windrow_core::replication::ReplicaId;
use windrow_core::types::{ClusterId, PartitionId};

pub use identity::{BuildMode, Identity, IdentityError};
pub(crate) use lock::Writer;
pub use lock::{DirLock, LockError};

use crate::files::FileError;
use crate::partition_dir::{PartitionDir, SuperblockFileError};

const IDENTITY_FILE: &str = "identity";

/// How to make a data directory.
#[derive(Clone, Copy, Debug)]
pub struct NewDataDir {
    /// The cluster that it belongs to; `None` draws a new one.
    pub cluster: Option<ClusterId>,
    /// Names this copy of the partitions for ever; `None` draws one.
    pub replica: Option<ReplicaId>,
    /// How many partitions: 1 to [`PARTITIONS_MAX`](windrow_core::types::limits::PARTITIONS_MAX).
    pub partitions: u16,
    /// Which kind of build makes it.
    pub mode: BuildMode,
}

/// Why a data directory cannot be used.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum DataDirError {
    /// There is no data directory here.
    #[error("{}: there is no data directory here", path.display())]
    Absent {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The identity file cannot be believed.
    #[error("{}: {source}; restore the file from a backup, the data beside it was not touched", path.display())]
    Identity {
        /// The identity file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: IdentityError,
    },
    /// There are segments but no identity file.
    #[error(
        "{}: holds segments but its file `identity` is missing; restore it from a backup, nothing was touched",
        path.display()
    )]
    IdentityLost {
        /// The directory.
        path: PathBuf,
    },
    /// A new data directory is wanted where there are other files.
    #[error("{}: holds {name:?}, so it is no place for a new data directory; choose an empty one", path.display())]
    NotEmpty {
        /// The directory.
        path: PathBuf,
        /// A file that is not ours.
        name: String,
    },
    /// A number of partitions that cannot be.
    #[error("{found} partitions: allowed are 1 to {max}")]
    Partitions {
        /// What was asked for.
        found: u16,
        /// The most there may be.
        max: u16,
    },
    /// Another directory lies where this one was.
    #[error(
        "{}: another data directory has been put in the place of the one that was opened; nothing was changed. Start \
         again to work with the new one",
        path.display()
    )]
    Replaced {
        /// Where.
        path: PathBuf,
    },
    /// Another process writes here.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// A data directory, open for writing (and locked) or for reading.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    identity: Identity,
    lock: Option<DirLock>,
}

impl DataDir {
    /// Opens and locks a data directory.
    ///
    /// # Errors
    /// [`DataDirError::Absent`] where there is none, [`DataDirError::Lock`] where another process writes in it, and
    /// the others as they say.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        Self::open_writable(path, None)
    }

    /// Opens and locks a data directory, and makes it first if there is none.
    ///
    /// # Errors
    /// Those of [`open`](Self::open) but for `Absent`; [`DataDirError::NotEmpty`] where other files are in the way.
    pub fn open_or_create(path: &Path, new: &NewDataDir) -> Result<Self, DataDirError> {
        Self::open_writable(path, Some(new))
    }

    /// Opens a data directory for reading, also while another process writes in it. Changes nothing.
    ///
    /// # Errors
    /// As [`open`](Self::open), but for the lock.
    pub fn open_read_only(path: &Path) -> Result<Self, DataDirError> {
        match read_identity(path)? {
            Some(identity) => Ok(Self { path: path.to_path_buf(), identity, lock: None }),
            None => Err(create::why_absent(path)?),
        }
    }

    fn open_writable(path: &Path, new: Option<&NewDataDir>) -> Result<Self, DataDirError> {
        if read_identity(path)?.is_none() {
            // Looked at before anything is written, so that a wrong path stays as it was.
            match (new, create::leftovers(path)) {
                (Some(new), Ok(_)) => create::make_root(path, new)?,
                (Some(_), Err(error)) => return Err(error),
                (None, _) => return Err(create::why_absent(path)?),
            }
        }
        let lock = DirLock::acquire(path)?;
        // Once more under the lock: another process may have made it meanwhile.
        let identity = match (read_identity(path)?, new) {
            (Some(identity), _) => identity,
            (None, Some(new)) => create::complete(path, new)?,
            (None, None) => return Err(DataDirError::Absent { path: path.to_path_buf() }),
        };
        Ok(Self { path: path.to_path_buf(), identity, lock: Some(lock) })
    }

    /// Waits until nobody writes in this directory any more, and becomes the one who does. Of several who wait, one
    /// does; the others go on waiting. Blocks for as long as the writer lives: the lock is the proof that it is gone.
    ///
    /// # Errors
    /// [`DataDirError::Replaced`] where the directory is no longer the one that was opened; otherwise what the system
    /// says.
    pub fn wait_for_lock(&self) -> Result<Self, DataDirError> {
        let lock = DirLock::wait(&self.path)?;
        if !lock.is_in_place()? || read_identity(&self.path)? != Some(self.identity) {
            return Err(DataDirError::Replaced { path: self.path.clone() });
        }
        Ok(Self { path: self.path.clone(), identity: self.identity, lock: Some(lock) })
    }

    /// The addresses that the directory's writer, or the last one, serves clients at; none where it did not say.
    #[must_use]
    pub fn leader_addresses(&self) -> Vec<SocketAddr> {
        lock::addresses(&self.path)
    }

    /// Writes down in the lock that this process writes here, and where it serves clients.
    ///
    /// # Errors
    /// What the system says.
    ///
    /// # Panics
    /// If this process does not hold the lock: that is a bug.
    pub fn announce(&self, addresses: &[SocketAddr]) -> Result<(), FileError> {
        self.lock.as_ref().expect("announced by the writer").sign(addresses)
    }

    /// What the directory says that it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names this copy of the partitions for ever.
    ///
    /// # Errors
    /// If the first partition's superblock cannot be read.
    pub fn replica(&self) -> Result<ReplicaId, SuperblockFileError> {
        let first = PartitionId::new(0);
        let dir = PartitionDir::open(&self.partition_path(first), first, false)?;
        Ok(dir.read_superblock()?.replica)
    }

    /// Draws a number for a copy of the partitions that nobody has heard of.
    pub(crate) fn draw_replica(&self) -> Result<ReplicaId, FileError> {
        create::draw_replica(&self.path)
    }

    /// Whether this process holds the lock.
    #[must_use]
    pub const fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    /// Where `partition` keeps its files.
    #[must_use]
    pub fn partition_path(&self, partition: PartitionId) -> PathBuf {
        self.path.join(partition_dir_name(partition))
    }
}

/// The name of a partition's directory.
#[must_use]
pub fn partition_dir_name(partition: PartitionId) -> String {
    format!("partition-{:04}", partition.get())
}

fn read_identity(dir: &Path) -> Result<Option<Identity>, DataDirError> {
    let path = dir.join(IDENTITY_FILE);
    match std::fs::read(&path) {
        Ok(bytes) => match Identity::parse(&bytes) {
            Ok(identity) => Ok(Some(identity)),
            Err(source) => Err(DataDirError::Identity { path, source }),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DataDirError::File(FileError { action: "read", path, source })),
    }
}

#[cfg(test)]
mod tests;
