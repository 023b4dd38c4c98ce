//! The superblock's file: two slots, written in turn, so that a torn write leaves the other.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use windrow_core::superblock::{SLOT_LEN, Superblock, SuperblockError};

use crate::files::{At, FileError, open};

/// An open superblock file.
#[derive(Debug)]
pub struct SuperblockFile {
    path: PathBuf,
    file: File,
}

/// Why no superblock could be read.
#[derive(Error, Debug)]
#[non_exhaustive]
pub enum SuperblockFileError {
    /// The slots give none.
    #[error("{}: {source}", path.display())]
    Slots {
        /// The file.
        path: PathBuf,
        /// What is wrong with the slots.
        #[source]
        source: SuperblockError,
    },
    /// A file operation failed.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The bytes of the file of a partition that is being made.
pub(crate) fn new_superblock_file(superblock: &Superblock) -> Vec<u8> {
    let mut bytes = vec![0; 2 * SLOT_LEN];
    let start = superblock.slot() * SLOT_LEN;
    let encoded = superblock.encode();
    bytes[start..start + encoded.len()].copy_from_slice(&encoded);
    bytes
}

impl SuperblockFile {
    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, FileError> {
        Ok(Self { path: path.to_path_buf(), file: open(path, writable)? })
    }

    pub(super) fn read(&self) -> Result<Superblock, SuperblockFileError> {
        let mut bytes = vec![0; 2 * SLOT_LEN];
        let mut filled = 0;
        // A file that is too short reads as zeros beyond its end: slots that were never written.
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], filled as u64).at("read", &self.path)? {
                0 => break,
                count => filled += count,
            }
        }
        let (first, second) = bytes.split_at(SLOT_LEN);
        Superblock::choose(first, second)
            .map_err(|source| SuperblockFileError::Slots { path: self.path.clone(), source })
    }

    pub(super) fn write(&self, superblock: &Superblock) -> Result<(), FileError> {
        let mut slot = [0; SLOT_LEN];
        let encoded = superblock.encode();
        slot[..encoded.len()].copy_from_slice(&encoded);
        self.file.write_all_at(&slot, (superblock.slot() * SLOT_LEN) as u64).at("write", &self.path)?;
        self.file.sync_data().at("flush", &self.path)
    }
}
