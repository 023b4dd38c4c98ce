//! Facts about the place that a node is to run in, for `windrow doctor` and for messages.
//!
//! Only facts: what follows from them is the caller's business. io_uring is checked where it is used.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use memmap2::MmapOptions;
use rustix::fs::{FallocateFlags, fallocate, statfs};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::files::{At, FileError};

/// What was found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Preflight {
    /// The file system that the data is on.
    pub file_system: FileSystem,
    /// What the process may use.
    pub limits: Limits,
    /// The kernel's release, such as `6.1.0-18-amd64`.
    pub kernel_release: String,
    /// Major and minor version of the kernel, where they could be read from the release.
    pub kernel_version: Option<(u32, u32)>,
}

/// What was found about a file system.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileSystem {
    /// Its type, such as `ext4`; for an unknown one its magic number.
    pub kind: String,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes that this user may still use.
    pub available_bytes: u64,
    /// Whether a file can be made here, and why not.
    pub create: Result<(), String>,
    /// Whether space can be allocated ahead, and why not.
    pub allocate: Result<(), String>,
    /// Whether files can be mapped shared and writable, and why not.
    pub map: Result<(), String>,
}

/// Limits of the process; `None` is unlimited.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// `RLIMIT_MEMLOCK`, bytes: what io_uring may lock on older kernels.
    pub locked_memory_bytes: Option<u64>,
    /// `RLIMIT_NOFILE`: open files, connections and segments together.
    pub open_files: Option<u64>,
    /// `RLIMIT_FSIZE`, bytes: the largest file, so the largest segment.
    pub file_bytes: Option<u64>,
}

/// Looks at `dir`, which must exist, and at the process. A probe file without a name is made there and vanishes.
///
/// # Errors
/// If the directory is not there or its file system cannot be asked.
pub fn preflight(dir: &Path) -> Result<Preflight, FileError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease");
    let kernel_release = release.map(|text| text.trim().to_owned()).unwrap_or_default();
    let kernel_version = parse_version(&kernel_release);
    Ok(Preflight { file_system: look_at(dir)?, limits: limits(), kernel_release, kernel_version })
}

fn look_at(dir: &Path) -> Result<FileSystem, FileError> {
    let facts = statfs(dir).at("look at the file system of", dir)?;
    let space = rustix::fs::statvfs(dir).at("look at the file system of", dir)?;
    let mut found = FileSystem {
        kind: kind_name(facts.f_type),
        total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        available_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        create: Ok(()),
        allocate: Err("no file could be made".to_owned()),
        map: Err("no file could be made".to_owned()),
    };
    match probe_file(dir) {
        Err(error) => found.create = Err(error.to_string()),
        Ok(file) => {
            found.allocate = fallocate(&file, FallocateFlags::empty(), 0, 4096).map_err(|error| error.to_string());
            found.map = try_mapping(&file).map_err(|error| error.to_string());
        }
    }
    Ok(found)
}

/// A file without a name.
fn probe_file(dir: &Path) -> std::io::Result<File> {
    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    File::options().read(true).write(true).mode(0o600).custom_flags(flags).open(dir)
}

fn try_mapping(file: &File) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, &[1; 4096], 0)?;
    MmapOptions::new().len(4096).map_raw(file)?.flush()
}

fn limits() -> Limits {
    Limits {
        locked_memory_bytes: getrlimit(Resource::Memlock).current,
        open_files: getrlimit(Resource::Nofile).current,
        file_bytes: getrlimit(Resource::Fsize).current,
    }
}

/// Lets this process open as many files as it is allowed to: every segment holds one open, and the limit that
/// processes start with is often 1024, which is 64 GiB of log. Returns the limit now; `None` is unlimited.
///
/// For the start of a process: the limit is that of all its threads.
///
/// # Errors
/// What the system says; the limit is then as it was.
pub fn raise_open_file_limit() -> std::io::Result<Option<u64>> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(limit.maximum)
}

fn parse_version(release: &str) -> Option<(u32, u32)> {
    let mut parts = release.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Names by the magic numbers of the kernel's `magic.h` and of OpenZFS.
fn kind_name(magic: impl Into<i128>) -> String {
    let magic = magic.into() & 0xffff_ffff;
    let name = match magic {
        0xef53 => "ext4",
        0x5846_5342 => "xfs",
        0x9123_683e => "btrfs",
        0x2fc1_2fc1 => "zfs",
        0xf2f5_2010 => "f2fs",
        0x0102_1994 => "tmpfs",
        0x794c_7630 => "overlay",
        0x6969 => "nfs",
        0x6573_5546 => "fuse",
        0x0102_1997 => "9p",
        other => return format!("unknown ({other:#x})"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usable_directory_is_found_usable() {
        let dir = tempfile::tempdir().unwrap();
        let found = preflight(dir.path()).unwrap();
        assert_eq!(found.file_system.create, Ok(()));
        assert_eq!(found.file_system.map, Ok(()));
        assert!(found.file_system.available_bytes <= found.file_system.total_bytes);
        assert!(found.kernel_version.is_some_and(|version| version >= (2, 6)));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "the probe leaves nothing");
    }

    #[test]
    fn a_missing_directory_is_an_error_and_a_special_one_is_a_finding() {
        assert!(preflight(Path::new("/nonexistent/windrow")).is_err());
        let found = preflight(Path::new("/proc")).unwrap();
        assert!(found.file_system.create.is_err() && found.file_system.map.is_err());
    }

    #[test]
    fn the_open_file_limit_is_raised_to_what_is_allowed() {
        assert_eq!(raise_open_file_limit().unwrap(), getrlimit(Resource::Nofile).maximum);
        assert_eq!(limits().open_files, getrlimit(Resource::Nofile).maximum);
    }

    #[test]
    fn kernel_releases_are_read() {
        assert_eq!(parse_version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(parse_version("6.18.44-fc"), Some((6, 18)));
        assert_eq!(parse_version("weird"), None);
    }
}
