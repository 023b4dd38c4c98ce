use memmap2::MmapOptions;

use super::*;

/// Pages of the file's start that are in the page cache and not on their way to the disk; `None` where the kernel does not
/// tell.
fn dirty_pages(file: &File, len: usize) -> Option<u64> {
    // `cachestat(2)`, the same number on every architecture. Off and length; then what is there, dirty, under way, and evicted.
    const CACHESTAT: libc::c_long = 451;
    let (range, mut found) = ([0, len as u64], [0_u64; 5]);
    // SAFETY: both arrays are laid out as the structures that the kernel reads and fills, and outlive the call.
    let result = unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), found.as_mut_ptr(), 0) };
    (result == 0).then_some(found[1])
}

/// A flush waits for what it writes itself: it must not leave out what has become the file's own since it began.
#[test]
fn what_is_written_out_while_a_flush_begins_is_durable_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = File::options().read(true).write(true).create_new(true).open(dir.path().join("segment")).unwrap();
    let len = PARTS_MIN * (64 << 10);
    file.set_len(len as u64).unwrap();
    let map = MmapOptions::new().len(len).map_raw(&file).unwrap();
    let staging = Staging::begin(&map, 0, None).unwrap().unwrap();
    let (published, end) = (AtomicUsize::new(0), 3 * staging.part_len + 100);
    // SAFETY: it lies within the mapping, which nobody else has a reference into.
    unsafe { map.as_mut_ptr().write_bytes(7, end) };
    published.store(end, Ordering::Release);

    let due = staging.due(&published);
    staging.write_out(&map, &file, &published).unwrap();
    assert_eq!(staging.mapped(), 3 * staging.part_len, "memory is given back at once");
    if dirty_pages(&file, end).is_none_or(|dirty| dirty == 0) {
        eprintln!("skipped: this system does not tell what is not on the disk yet");
        return;
    }
    staging.carry_out(due, &map, &file).unwrap();
    assert_eq!(dirty_pages(&file, end), Some(0));
    assert_eq!(staging.state().synced, end);
}
