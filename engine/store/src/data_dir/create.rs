//! Making a data directory in steps, each of which a crash may follow.
//!
//! 1. the directory itself
//! 2. the lock
//! 3. each partition's directory with its superblock
//! 4. the identity
//!
//! Only step 4 makes it a data directory; before it, all there can be is what these steps leave, and they are
//! repeated.

use std::path::{Path, PathBuf};

use windrow_core::replication::ReplicaId;
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::PARTITIONS_MAX;
use windrow_core::types::{ClusterId, HashSeed, LogKey, PartitionId};

use super::lock::LOCK_FILE;
use super::{DataDirError, IDENTITY_FILE, Identity, NewDataDir, partition_dir_name};
use crate::files::{At, FileError, TEMPORARY_SUFFIX, create_dir, names_in, sync_dir, write_atomically};
use crate::partition_dir::{SUPERBLOCK_FILE, new_superblock_file};
use crate::segment::parse_segment_file_name;

/// What a file system itself puts into its root.
const LOST_AND_FOUND: &str = "lost+found";

/// Step 1.
pub(super) fn make_root(path: &Path, new: &NewDataDir) -> Result<(), DataDirError> {
    if new.partitions == 0 || new.partitions > PARTITIONS_MAX {
        return Err(DataDirError::Partitions { found: new.partitions, max: PARTITIONS_MAX });
    }
    create_dirs(path)?;
    Ok(())
}

fn create_dirs(path: &Path) -> Result<(), FileError> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent == Path::new("") => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    create_dirs(parent)?;
    create_dir(path)?;
    sync_dir(parent)
}

/// Steps 3 and 4. The caller holds the lock.
pub(super) fn complete(path: &Path, new: &NewDataDir) -> Result<Identity, DataDirError> {
    // Partitions of an attempt that wanted more of them.
    for stale in leftovers(path)? {
        std::fs::remove_dir_all(&stale).at("remove", &stale)?;
    }
    let cluster = match new.cluster {
        Some(cluster) => cluster,
        None => ClusterId(random_bytes(path)?),
    };
    let replica = match new.replica {
        Some(replica) => replica,
        None => draw_replica(path)?,
    };
    for number in 0..new.partitions {
        let partition = PartitionId::new(number);
        let dir = path.join(partition_dir_name(partition));
        create_dir(&dir)?;
        let seed = HashSeed(random_bytes(path)?);
        let log_key = LogKey::new(random_bytes(path)?);
        let superblock = Superblock::first(cluster, partition, new.partitions, replica, seed, log_key);
        write_atomically(&dir, SUPERBLOCK_FILE, &new_superblock_file(&superblock))?;
    }
    sync_dir(path)?;
    let identity = Identity { cluster, partitions: new.partitions, mode: new.mode };
    write_atomically(path, IDENTITY_FILE, identity.render().as_bytes())?;
    Ok(identity)
}

/// The partition directories that an interrupted attempt left in `path`, which has no identity.
///
/// Fails where anything is in the way that such an attempt cannot have left.
pub(super) fn leftovers(path: &Path) -> Result<Vec<PathBuf>, DataDirError> {
    let mut partitions = Vec::new();
    for name in existing_names(path)? {
        let child = path.join(&name);
        if name == LOCK_FILE || name == LOST_AND_FOUND || name.ends_with(TEMPORARY_SUFFIX) {
            continue;
        }
        if !name.starts_with("partition-") {
            return Err(DataDirError::NotEmpty { path: path.to_path_buf(), name });
        }
        for inner in existing_names(&child)? {
            if parse_segment_file_name(&inner).is_some() {
                return Err(DataDirError::IdentityLost { path: path.to_path_buf() });
            }
            if inner != SUPERBLOCK_FILE && !inner.ends_with(TEMPORARY_SUFFIX) {
                return Err(DataDirError::NotEmpty { path: child, name: inner });
            }
        }
        partitions.push(child);
    }
    Ok(partitions)
}

/// Why `path`, which has no identity, cannot be opened.
pub(super) fn why_absent(path: &Path) -> Result<DataDirError, DataDirError> {
    match leftovers(path) {
        Err(lost @ DataDirError::IdentityLost { .. }) => Ok(lost),
        Err(other @ DataDirError::File(_)) => Err(other),
        _ => Ok(DataDirError::Absent { path: path.to_path_buf() }),
    }
}

fn existing_names(path: &Path) -> Result<Vec<String>, FileError> {
    match names_in(path) {
        Err(error) if error.source.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names,
    }
}

pub(super) fn draw_replica(path: &Path) -> Result<ReplicaId, FileError> {
    Ok(ReplicaId::new(u64::from_le_bytes(random_bytes(path)?)))
}

fn random_bytes<const N: usize>(path: &Path) -> Result<[u8; N], FileError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
            .at("draw random bytes for", path)?;
    }
    Ok(bytes)
}
