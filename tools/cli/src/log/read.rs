//! Reading a segment into memory.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use windrow_core::log::{SegmentMemory, VecMemory};

use crate::failure::Failure;

/// How much is read at once: between two pieces, progress is shown.
const PIECE_LEN: usize = 1 << 20;

/// Reads a whole segment. `seen` is told of every piece.
pub(super) fn segment(path: &Path, len: u64, seen: &mut dyn FnMut(usize)) -> Result<VecMemory, Failure> {
    let failed = |error: std::io::Error| Failure::io("read", path, &error);
    let len = usize::try_from(len).map_err(|_| failed(ErrorKind::FileTooLarge.into()))?;
    let mut file = File::open(path).map_err(failed)?;
    let mut memory = VecMemory::zeroed(len);
    let mut at = 0;
    while at < len {
        let end = len.min(at + PIECE_LEN);
        match file.read(memory.write(at..end)) {
            // Shorter than it was a moment ago; what is missing stays zero.
            Ok(0) => break,
            Ok(count) => {
                at += count;
                seen(count);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(memory)
}
