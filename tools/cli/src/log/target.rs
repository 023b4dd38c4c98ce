//! What a path names: a data directory, a partition's directory, or one segment.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use windrow_core::superblock::Superblock;
use windrow_core::types::{Lsn, PartitionId};
use windrow_store::{ControlReader, DataDir, DataDirError, PartitionDir, Progress, parse_segment_file_name};

use crate::exit::Exit;
use crate::failure::Failure;

/// One partition's log, or a part of it.
pub(super) struct Target {
    /// The partition's directory, or that of the segment.
    pub(super) dir: PathBuf,
    /// The partition, by the superblock or the name of its directory.
    pub(super) partition: Option<PartitionId>,
    /// The superblock, or why there is none.
    pub(super) superblock: Result<Superblock, String>,
    /// How far the log is known to reach, by the page that its writer shares.
    pub(super) progress: Option<Progress>,
    /// The segments to look at, in the log's order.
    pub(super) segments: Vec<SegmentFile>,
    /// Files that are none of ours.
    pub(super) unknown: Vec<String>,
    /// Whether a process is writing.
    pub(super) writer: bool,
    /// Whether this is only a part of the log: one segment.
    pub(super) is_part: bool,
}

impl Target {
    /// How far a replica in a set is known to be committed; `None` where the log belongs to no set, so that everything
    /// that a start would believe is.
    pub(super) fn committed(&self) -> Option<Lsn> {
        let superblock = self.superblock.as_ref().ok().filter(|superblock| superblock.is_in_set())?;
        let told = self.progress.filter(|_| self.writer).map_or(Lsn::ZERO, |progress| progress.committed);
        Some(superblock.committed.max(told))
    }
}

pub(super) struct SegmentFile {
    pub(super) base: Lsn,
    pub(super) path: PathBuf,
    pub(super) len: u64,
}

/// The logs that `path` names.
pub(super) fn find(path: &Path) -> Result<Vec<Target>, Failure> {
    let metadata = fs::metadata(path).map_err(|error| Failure::io("look at", path, &error))?;
    if metadata.is_file() {
        return Ok(vec![one_segment(path, metadata.len())?]);
    }
    let names = names_in(path)?;
    if names.iter().any(|name| name == "identity" || name.starts_with("partition-")) {
        return data_dir(path, &names);
    }
    if names.iter().any(|name| name == "superblock" || parse_segment_file_name(name).is_some()) {
        return Ok(vec![partition(path)?]);
    }
    Err(Failure::new(Exit::NoInput, format_args!("{}: no data directory, partition or segment", path.display()))
        .remedy("name a data directory (with a file `identity`), a directory `partition-…`, or a file `….seg`"))
}

fn names_in(dir: &Path) -> Result<Vec<String>, Failure> {
    let list = || -> std::io::Result<Vec<String>> {
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    };
    let mut names = list().map_err(|error| Failure::io("list", dir, &error))?;
    names.sort_unstable();
    Ok(names)
}

fn data_dir(path: &Path, names: &[String]) -> Result<Vec<Target>, Failure> {
    match DataDir::open_read_only(path) {
        // A lost or damaged identity does not keep anybody from looking at the partitions.
        Ok(_) | Err(DataDirError::IdentityLost { .. } | DataDirError::Identity { .. }) => {}
        Err(error) => return Err(Failure::new(Exit::Data, error)),
    }
    let partitions = names.iter().filter(|name| name.starts_with("partition-"));
    partitions.map(|name| partition(&path.join(name))).collect()
}

fn partition(dir: &Path) -> Result<Target, Failure> {
    let mut target = bare(dir);
    for name in names_in(dir)? {
        let path = dir.join(&name);
        match parse_segment_file_name(&name) {
            Some(base) => {
                let metadata = fs::metadata(&path).map_err(|error| Failure::io("look at", &path, &error))?;
                target.segments.push(SegmentFile { base, path, len: metadata.len() });
            }
            None if !["superblock", "control"].contains(&&*name)
                && !name.ends_with(".tmp")
                && !name.starts_with("aside-") =>
            {
                target.unknown.push(name);
            }
            None => {}
        }
    }
    Ok(target)
}

fn one_segment(path: &Path, len: u64) -> Result<Target, Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(base) = parse_segment_file_name(&name) else {
        return Err(Failure::new(Exit::NoInput, format_args!("{}: not the name of a segment", path.display()))
            .remedy("a segment is called by its position: 20 digits and `.seg`"));
    };
    let mut target = bare(path.parent().unwrap_or(Path::new("")));
    target.segments.push(SegmentFile { base, path: path.to_path_buf(), len });
    target.is_part = true;
    Ok(target)
}

/// A target without segments. The progress is read first: all that it covers is in the segments read afterwards.
fn bare(dir: &Path) -> Target {
    let by_name = dir.file_name().and_then(|name| name.to_str()?.strip_prefix("partition-")?.parse().ok());
    let mut partition = by_name.map(PartitionId::new);
    let opened = PartitionDir::open(dir, partition.unwrap_or_default(), false);
    let superblock = opened
        .map_err(|error| error.to_string())
        .and_then(|opened| opened.read_superblock().map_err(|error| error.to_string()));
    if let Ok(superblock) = &superblock {
        partition = Some(superblock.partition);
    }
    let progress = partition.and_then(|partition| Some(ControlReader::open(dir, partition).ok()?.progress()));
    Target {
        dir: dir.to_path_buf(),
        partition,
        superblock,
        progress,
        segments: Vec::new(),
        unknown: Vec::new(),
        writer: has_writer(dir),
        is_part: false,
    }
}

/// Whether a process holds the lock of the data directory that this partition belongs to.
pub(crate) fn has_writer(partition_dir: &Path) -> bool {
    let parent = partition_dir.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let lock = File::open(parent.join("LOCK"));
    lock.is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}
