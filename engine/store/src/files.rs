//! Small file operations that survive a crash: create, write whole, rename, remove, and the directory sync after each.
//!
//! Owns the file modes (0600 for files, 0700 for directories) and the one error that says what failed on which file.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use thiserror::Error;

/// The end of the name of a file that is still being made. A crash may leave one; opening removes it.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// A file operation that failed, and on which file.
#[derive(Error, Debug)]
#[error("cannot {action} {}: {source}", path.display())]
#[non_exhaustive]
pub struct FileError {
    /// What was tried, as a verb: `open`, `sync`, …
    pub action: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// Whether there is no room: the disk, the quota or the largest file size allowed to this process is used up.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        is_no_space(&self.source)
    }
}

/// Names the action and the file that an error belongs to.
pub(crate) trait At<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.to_path_buf(), source: source.into() })
    }
}

fn is_no_space(error: &io::Error) -> bool {
    let full = [Errno::NOSPC, Errno::DQUOT, Errno::FBIG].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| full.contains(&code))
}

/// Makes the names in a directory durable: after a create, a rename or a removal in it.
pub(crate) fn sync_dir(path: &Path) -> Result<(), FileError> {
    let dir = File::open(path).at("open", path)?;
    dir.sync_all().at("sync", path)
}

/// Makes a directory that only this user may enter. One that is there already is left as it is.
///
/// Returns whether it was made; the caller syncs the parent.
pub(crate) fn create_dir(path: &Path) -> Result<bool, FileError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
        Err(error) => Err(error).at("create directory", path),
    }
}

/// Creates a file that must not exist yet, for this user alone.
pub(crate) fn create_new(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path).at("create", path)
}

/// Opens a file that must exist.
pub(crate) fn open(path: &Path, writable: bool) -> Result<File, FileError> {
    OpenOptions::new().read(true).write(writable).open(path).at("open", path)
}

/// Writes a whole file so that a crash leaves either the file as it was before or all of the new one.
pub(crate) fn write_atomically(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), FileError> {
    let temporary = dir.join(format!("{name}{TEMPORARY_SUFFIX}"));
    remove_if_present(&temporary)?;
    let mut file = create_new(&temporary)?;
    file.write_all(bytes).at("write", &temporary)?;
    file.sync_all().at("sync", &temporary)?;
    rename_durably(dir, &temporary, &dir.join(name))
}

/// Renames within a directory and makes the new name durable.
pub(crate) fn rename_durably(dir: &Path, from: &Path, to: &Path) -> Result<(), FileError> {
    std::fs::rename(from, to).at("rename to", to)?;
    sync_dir(dir)
}

/// Removes a file if it is there; the caller syncs the directory.
pub(crate) fn remove_if_present(path: &Path) -> Result<bool, FileError> {
    match std::fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("remove", path),
    }
}

/// The names in a directory, in order. A name that is not UTF-8 is nothing of ours and is returned lossily.
pub(crate) fn names_in(dir: &Path) -> Result<Vec<String>, FileError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).at("list", dir)? {
        names.push(entry.at("list", dir)?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    Ok(names)
}
