//! Whether a read of the log would wait for the disk.
//!
//! A shard must not block, and a page that is not in the page cache blocks whoever touches it. So before a command
//! reads a record that was written long ago, its driver asks here, and has the pages read through its ring first.

use std::ops::Range;

use windrow_core::log::SegmentMemory;
use windrow_core::partition::Partition;
use windrow_core::types::limits::RECORD_HEADER_LEN;
use windrow_core::types::{KeyHash, Lsn};

use super::MappedSegment;

/// Bytes of a page of the page cache.
const PAGE: usize = 4096;
/// Pages asked about at a time; longer ranges are asked about in parts.
const PAGES_AT_ONCE: usize = 256;

/// The first part of the log that a lookup of this key would have to wait for, if there is one: a segment's base and
/// a range in it. What is not [doubted](Partition::is_doubted) is taken to be in memory.
///
/// Once the range has been read, ask again: the record's header, which tells its length, may have been the first.
#[must_use]
pub fn cold_range(partition: &Partition<MappedSegment>, hash: KeyHash) -> Option<(Lsn, Range<usize>)> {
    let mut cold = None;
    partition.for_each_candidate(hash, |lsn| {
        if cold.is_none() && partition.is_doubted(lsn) {
            cold = cold_part(partition, lsn);
        }
    });
    cold
}

fn cold_part(partition: &Partition<MappedSegment>, lsn: Lsn) -> Option<(Lsn, Range<usize>)> {
    let (base, segment) = partition.segment_holding(lsn)?;
    let start = usize::try_from(lsn.since(base)).ok()?;
    let head = start..start + RECORD_HEADER_LEN;
    if !segment.is_resident(head.clone()) {
        return Some((base, whole_pages(head, segment)));
    }
    let header = segment.published(head);
    let body_len = u32::from_le_bytes([header[12], header[13], header[14], header[15]]);
    let end = (start + RECORD_HEADER_LEN + usize::try_from(body_len).ok()?).min(segment.published_end());
    (!segment.is_resident(start..end)).then(|| (base, whole_pages(start..end, segment)))
}

fn whole_pages(range: Range<usize>, segment: &MappedSegment) -> Range<usize> {
    let end = range.end.next_multiple_of(PAGE);
    range.start - range.start % PAGE..end.min(usize::try_from(segment.segment_len()).unwrap_or(end))
}

pub(super) fn is_resident(map: *const u8, map_len: usize, range: Range<usize>) -> bool {
    assert!(range.start <= range.end && range.end <= map_len, "range outside the segment");
    let mut start = range.start - range.start % PAGE;
    let mut pages = [0_u8; PAGES_AT_ONCE];
    while start < range.end {
        let len = (range.end - start).min(PAGES_AT_ONCE * PAGE);
        let count = len.div_ceil(PAGE);
        // SAFETY: the pages lie in a live mapping (checked above, and the caller holds it), and `pages` has a byte
        // for each of them. The call reads no memory but the page tables.
        let status = unsafe { libc::mincore(map.add(start).cast_mut().cast(), len, pages.as_mut_ptr()) };
        if status == 0 && pages[..count].iter().any(|page| page & 1 == 0) {
            return false;
        }
        start += len;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::fs::{Advice, fadvise};

    use super::*;
    use crate::{FillMode, create_segment};

    #[test]
    fn a_page_that_was_dropped_is_cold_until_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let len = 4 << 20;
        drop(create_segment(dir.path(), Lsn::ZERO, len, FillMode::Write64K).unwrap());
        let path = dir.path().join(crate::segment_file_name(Lsn::ZERO));
        let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
        fadvise(&file, 0, None, Advice::DontNeed).unwrap();
        let segment = MappedSegment::map_writable(file, path, Lsn::ZERO, usize::try_from(len).unwrap()).unwrap();
        if segment.is_resident(0..4096) {
            eprintln!("skipped: this file system keeps its pages in memory");
            return;
        }
        assert!(!segment.is_resident(1 << 20..3 << 20));
        let mut buffer = [0; PAGE];
        rustix::io::pread(segment.as_fd(), &mut buffer, 0).unwrap();
        assert!(segment.is_resident(0..4096));
        assert!(segment.is_resident(100..100), "nothing is always there");
    }
}
