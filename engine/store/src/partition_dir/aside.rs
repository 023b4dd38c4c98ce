//! What a replica cuts from its log is kept, in a directory of its own, until somebody removes it.
//!
//! ```text
//! aside-GENERATION/                one directory a cut, named by the superblock's generation when it began
//!     FROM-UPTO.part               bytes of the log from one LSN to another, cut from a segment that stays
//!     BASE.seg                     a segment that was cut as a whole
//!     BASE.damaged                 a segment that was damaged, and that another replica's copy took the place of
//! ```

use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;

use windrow_core::types::Lsn;

use super::PartitionDir;
use crate::files::{At, FileError, create_dir, create_new, names_in, remove_if_present, sync_dir, write_atomically};
use crate::segment::{SegmentView, segment_file_name};

const PREFIX: &str = "aside-";

/// Whether a name in a partition's directory is that of one of these directories.
pub(super) fn is_aside(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|digits| digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

impl PartitionDir {
    /// Where the cut that began at this generation of the superblock keeps what it cuts.
    #[must_use]
    pub fn aside_path(&self, label: u64) -> PathBuf {
        self.path().join(format!("{PREFIX}{label:020}"))
    }

    /// Bytes of everything that was cut and is still kept. What cannot be looked at counts for nothing.
    #[must_use]
    pub fn aside_bytes(&self) -> u64 {
        let names = names_in(self.path()).unwrap_or_default();
        let dirs = names.iter().filter(|name| is_aside(name)).map(|name| self.path().join(name));
        let files = dirs.flat_map(|dir| {
            let names = names_in(&dir).unwrap_or_default();
            names.into_iter().map(move |name| dir.join(name))
        });
        files.map(|file| std::fs::metadata(file).map_or(0, |metadata| metadata.len())).sum()
    }

    fn make_aside(&self, label: u64) -> Result<PathBuf, FileError> {
        assert!(self.writable, "partition opened read-only");
        let path = self.aside_path(label);
        if create_dir(&path)? {
            sync_dir(self.path())?;
        }
        Ok(path)
    }

    /// Copies a part of a segment aside, durably: the bytes of the log from `from` on.
    ///
    /// # Errors
    /// What the system says; where there is no room, nothing is left behind but an empty directory.
    pub fn put_aside(&self, label: u64, from: Lsn, view: &SegmentView, range: Range<usize>) -> Result<(), FileError> {
        let dir = self.make_aside(label)?;
        let bytes = view.bytes(range);
        let upto = from.get().saturating_add(bytes.len() as u64);
        let path = dir.join(format!("{:020}-{upto:020}.part", from.get()));
        remove_if_present(&path)?;
        let written = create_new(&path).and_then(|mut file| {
            file.write_all(bytes).at("write", &path)?;
            file.sync_all().at("sync", &path)
        });
        if let Err(error) = written {
            // The first error is the one that matters; the next attempt begins with removing what is there.
            let _ignored = remove_if_present(&path);
            return Err(error);
        }
        sync_dir(&dir)
    }

    /// Moves whole segments aside, durably.
    ///
    /// # Errors
    /// What the system says.
    pub fn move_aside(&self, label: u64, bases: &[Lsn]) -> Result<(), FileError> {
        let dir = self.make_aside(label)?;
        for base in bases {
            let name = segment_file_name(*base);
            let (from, to) = (self.path().join(&name), dir.join(&name));
            match std::fs::rename(&from, &to) {
                // An earlier attempt has moved it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && to.exists() => {}
                moved => moved.at("move aside", &from)?,
            }
        }
        sync_dir(&dir)?;
        sync_dir(self.path())
    }

    /// Puts a copy from another replica into the place of a segment that is damaged or missing, durably. Returns where the
    /// damaged one is kept, if there was one. A crash leaves one or the other in its place.
    ///
    /// # Errors
    /// What the system says; the segment may have been replaced by then, or not.
    pub fn replace_segment(&self, label: u64, base: Lsn, bytes: &[u8]) -> Result<Option<PathBuf>, FileError> {
        let name = segment_file_name(base);
        let place = self.path().join(&name);
        let mut kept = None;
        if place.try_exists().at("look at", &place)? {
            let dir = self.make_aside(label)?;
            let path = dir.join(format!("{:020}.damaged", base.get()));
            remove_if_present(&path)?;
            std::fs::hard_link(&place, &path).at("keep aside", &place)?;
            sync_dir(&dir)?;
            kept = Some(path);
        }
        write_atomically(self.path(), &name, bytes)?;
        Ok(kept)
    }

    /// Removes segments that hold nothing, durably.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_segments(&self, bases: &[Lsn]) -> Result<(), FileError> {
        self.remove(bases.iter().map(|base| segment_file_name(*base)))
    }
}
