//! Believing the disk and not the page cache, after a process has ended without saying that its last flush worked.
//!
//! When the kernel cannot write a page back it marks the page clean and keeps it: until the page is evicted, a reader
//! sees bytes that are not on the disk, and another flush reports success. A process that restarts after a failed
//! flush would so recover, and confirm, what a power cut then takes away. So the part of the log that is not known to
//! have been flushed is compared with what a read past the cache (`O_DIRECT`) gives; where the two differ, the cache
//! is dropped and the disk's version is what recovery sees.
//!
//! Source: Rebello et al., *Can Applications Recover from fsync Failures?*, USENIX ATC 2020.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Advice, OFlags, fadvise};
use rustix::io::Errno;

use crate::files::{At, FileError};

/// Bytes compared at a time.
const CHUNK: usize = 1 << 20;
/// Direct reads start and end at multiples of this, and so does their buffer: a size that every disk accepts.
const ALIGN: usize = 4096;

/// What the comparison found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CacheState {
    /// Cache and disk agree.
    Agrees,
    /// They differed, and the cache was dropped.
    Dropped,
    /// They differ still: somebody else has the file mapped, so the cache could not be dropped.
    Stuck {
        /// The first byte that differs.
        offset: u64,
    },
    /// This file system does not read past its cache.
    Unknown,
}

/// Flushes `file`, compares it from `from` on with the disk, and drops the cache where they differ.
pub(crate) fn distrust(file: &File, path: &Path, from: u64) -> Result<CacheState, FileError> {
    // What is still dirty gets its chance; a failure that nobody has seen yet is reported here.
    file.sync_all().at("flush", path)?;
    let flags = OFlags::DIRECT.bits().cast_signed();
    let direct = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(direct) => direct,
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => return Ok(CacheState::Unknown),
        Err(error) => return Err(error).at("open past the cache", path),
    };
    let from = from - from % ALIGN as u64;
    let differs = || first_difference(file, &direct, from).at("read", path);
    if differs()?.is_none() {
        return Ok(CacheState::Agrees);
    }
    fadvise(file, 0, None, Advice::DontNeed).at("drop the cache of", path)?;
    Ok(match differs()? {
        None => CacheState::Dropped,
        Some(offset) => CacheState::Stuck { offset },
    })
}

/// The first byte from `from` on in which two files differ. Ends early at a chunk that is zero in both: a log has no
/// holes in memory, so nothing that could be missing on the disk follows.
fn first_difference(cached: &File, direct: &File, from: u64) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (Chunk::new(), Chunk::new());
    let mut offset = from;
    loop {
        let (a, b) = (left.read(cached, offset)?, right.read(direct, offset)?);
        if a != b {
            let same = a.iter().zip(b).take_while(|(x, y)| x == y).count();
            return Ok(Some(offset + same as u64));
        }
        if a.len() < CHUNK || is_zero(a) {
            return Ok(None);
        }
        offset += CHUNK as u64;
    }
}

/// Compares the bytes with themselves, one further on: that runs at the speed of memory, as a loop over bytes does not.
fn is_zero(bytes: &[u8]) -> bool {
    match bytes {
        [] => true,
        [first, rest @ ..] => *first == 0 && bytes[..rest.len()] == *rest,
    }
}

/// A buffer that a direct read accepts.
struct Chunk(Vec<u8>);

impl Chunk {
    fn new() -> Self {
        Self(vec![0; CHUNK + ALIGN])
    }

    /// Reads a whole chunk, or less at the end of the file.
    fn read(&mut self, file: &File, offset: u64) -> io::Result<&[u8]> {
        let start = self.0.as_ptr().align_offset(ALIGN);
        let buffer = &mut self.0[start..start + CHUNK];
        let mut filled = 0;
        while filled < CHUNK {
            match file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                // A direct read ends short only where the file ends.
                Ok(count) if count % ALIGN != 0 => {
                    filled += count;
                    break;
                }
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&self.0[start..start + filled])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, File) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let opened = File::open(file.path()).unwrap();
        (file, opened)
    }

    #[test]
    fn the_first_difference_is_found_wherever_it_is() {
        let len = 2 * CHUNK + 5000;
        let good = vec![7_u8; len];
        let (_good, good_file) = file(&good);
        assert_eq!(first_difference(&good_file, &good_file, 0).unwrap(), None);
        for at in [0, 4095, 4096, CHUNK - 1, CHUNK, 2 * CHUNK, len - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let (_bad, bad_file) = file(&bad);
            assert_eq!(first_difference(&good_file, &bad_file, 0).unwrap(), Some(at as u64));
            assert_eq!(first_difference(&good_file, &bad_file, 4096).unwrap().is_some(), at >= 4096);
        }
        let (_short, short_file) = file(&good[..CHUNK + 100]);
        assert_eq!(first_difference(&good_file, &short_file, 0).unwrap(), Some(CHUNK as u64 + 100));
    }

    #[test]
    fn zeros_are_told_from_anything_else() {
        let mut bytes = vec![0; 100];
        assert!(is_zero(&bytes) && is_zero(&[]) && is_zero(&[0]) && !is_zero(&[1]));
        for at in 0..bytes.len() {
            bytes[at] = 1;
            assert!(!is_zero(&bytes), "{at}");
            bytes[at] = 0;
        }
    }

    #[test]
    fn a_healthy_disk_agrees_with_its_cache() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("segment");
        for len in [0, 4096, 3 * CHUNK + 8192] {
            let bytes: Vec<u8> = (0..len).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
            std::fs::write(&path, &bytes).unwrap();
            let file = File::open(&path).unwrap();
            let state = distrust(&file, &path, 5000).unwrap();
            assert!(matches!(state, CacheState::Agrees | CacheState::Unknown), "{state:?}");
        }
    }
}
