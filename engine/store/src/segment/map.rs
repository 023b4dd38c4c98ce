//! A mapped segment, and the handles on it.

use std::fmt;
use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use memmap2::{Advice, MmapOptions, MmapRaw, UncheckedAdvice};
use rustix::fs::fadvise;
use windrow_core::log::{SegmentMemory, Unverified};
use windrow_core::types::Lsn;

use super::staging::Staging;
use super::tail::{Readying, TailMemory};
use crate::files::{At, FileError};
use crate::sigbus::Registration;

/// A flush of at least so many bytes takes their pages out of the page table first; see [`SegmentView::sync_data`].
const BULK_LEN_MIN: usize = 256 << 10;
const PAGE: usize = 4 << 10;
/// Bytes whose pages are mapped at once. The address space is locked meanwhile, and whichever thread has its memory grow
/// waits: with a whole segment, for up to 20 ms.
const POPULATE_LEN: usize = 2 << 20;

/// The mapping and its file, alive as long as any handle on it.
///
/// The descriptor stays open from before the first store until after the last flush: the kernel reports an error met
/// by background write-back once per open file, and to nobody who opens the file later.
pub(super) struct Mapping {
    // Dropped first: the registry may only name live mappings.
    _registration: Registration,
    map: MmapRaw,
    file: File,
    path: PathBuf,
    base: Lsn,
    /// Mirror of the owner's published end, for the views of other threads.
    published: AtomicUsize,
    /// Where the published prefix ended when it was flushed last: a guess that only speed depends on.
    flushed: AtomicUsize,
    /// Where the part that is appended to is no mapping of the file yet.
    staging: OnceLock<Staging>,
    /// There is a [`MappedSegment`] of it.
    is_owned: AtomicBool,
}

impl Mapping {
    /// Takes pages out of the page table of this process, all at once; they stay as they are in the page cache.
    fn unmap_pages(&self, range: Range<usize>) {
        let (start, end) = (range.start.next_multiple_of(PAGE), range.end - range.end % PAGE);
        if start < end {
            // SAFETY: the mapping is a shared one of a file, so nothing is lost: stores that were made are in the page
            // cache, and whoever reads or stores next gets the same pages mapped again.
            let _unsupported =
                unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, end - start) };
        }
    }

    /// Whether the log still has it, so that one of the handles is the log's.
    pub(super) fn is_owned(&self) -> bool {
        self.is_owned.load(Ordering::Acquire)
    }

    /// Gives up the memory that it was kept in; see [`Staging::leave_tail`].
    pub(super) fn leave_tail(&self, keep: bool) -> std::io::Result<bool> {
        let Some(staging) = self.staging.get() else { return Ok(true) };
        let left = staging.leave_tail(&self.map, &self.file, keep)?;
        if left && keep {
            self.populate(0..self.map.len(), Advice::PopulateRead);
        } else if left {
            // Whoever asks for one of the few records that are still current does not ask for its neighbours.
            let _unsupported = fadvise(&self.file, 0, None, rustix::fs::Advice::Random);
            let _unsupported = self.map.advise(Advice::Random);
        }
        Ok(left)
    }

    fn populate(&self, part: Range<usize>, advice: Advice) {
        for start in part.clone().step_by(POPULATE_LEN) {
            let _unsupported = self.map.advise_range(advice, start, POPULATE_LEN.min(part.end - start));
        }
    }

    /// Whether every page of a part is in the page cache, as far as it is mapped from there.
    fn is_resident(&self, range: Range<usize>) -> bool {
        let mapped = self.staging.get().map_or(range.end, |staging| staging.mapped().clamp(range.start, range.end));
        super::residency::is_resident(self.map.as_ptr(), self.map.len(), range.start..mapped)
    }

    /// Bytes that the caller knows not to change while the returned slice lives.
    ///
    /// # Safety
    /// Nobody writes `range` while the slice lives.
    unsafe fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.map.len(), "range outside the segment");
        // SAFETY: the range lies within the mapping, which lives as long as `self` and is never truncated (module
        // invariant); that nobody writes it meanwhile is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().add(range.start), range.len()) }
    }
}

/// A segment file in memory, with the right to append to it unless it was opened read-only.
///
/// One owner; [`share`](Self::share) gives handles that read what is published from any thread.
pub struct MappedSegment {
    mapping: Arc<Mapping>,
    published: usize,
    /// What may be looked at before it is published: all of it for the writer, what the writer has committed for a
    /// process that only reads.
    visible: usize,
    writable: bool,
    /// What was published has been taken back since something was published last.
    is_cut: bool,
}

impl MappedSegment {
    /// Maps `len` bytes of `file` for reading and writing. The caller is the only writer (module invariant).
    pub(crate) fn map_writable(file: File, path: PathBuf, base: Lsn, len: usize) -> Result<Self, FileError> {
        let map = MmapOptions::new().len(len).map_raw(&file).at("map", &path)?;
        Ok(Self::new(map, file, path, base, len, true))
    }

    /// Maps `len` bytes of `file` for reading; only the first `visible` bytes may be looked at.
    pub(crate) fn map_read_only(
        file: File,
        path: PathBuf,
        base: Lsn,
        len: usize,
        visible: usize,
    ) -> Result<Self, FileError> {
        let map = MmapOptions::new().len(len).map_raw_read_only(&file).at("map", &path)?;
        Ok(Self::new(map, file, path, base, visible.min(len), false))
    }

    fn new(map: MmapRaw, file: File, path: PathBuf, base: Lsn, visible: usize, writable: bool) -> Self {
        let registration = Registration::new(map.as_ptr(), map.len(), &path);
        let (published, flushed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mapping = Mapping {
            _registration: registration,
            map,
            file,
            path,
            base,
            published,
            flushed,
            staging: OnceLock::new(),
            is_owned: AtomicBool::new(true),
        };
        let mapping = Arc::new(mapping);
        Self { mapping, published: 0, visible, writable, is_cut: false }
    }

    /// Maps every page now; see [`populate`](Self::populate).
    pub(crate) fn populate_all(&self) {
        self.populate(0..self.mapping.map.len(), false);
    }

    /// Maps the pages of a part now, so that no store waits for it; as `dirty` pages, so that none even traps. Only a hint:
    /// failing changes nothing but the speed.
    pub(super) fn populate(&self, part: Range<usize>, dirty: bool) {
        // Reading is enough to fill the page table: the first store to a clean page traps in any case, because that
        // is how the kernel learns that the page is dirty. Where a whole segment is stored to at once, these traps cost
        // more than the copying.
        let advice = if dirty { Advice::PopulateWrite } else { Advice::PopulateRead };
        self.mapping.populate(part, advice);
    }

    /// Puts memory that the whole segment, which holds nothing, can be kept in, in the place of its file; see the module
    /// `tail`. `None` where there is none to be had. It is then got [ready](Self::ready_in_tail), and the segment
    /// [staged](Self::stage_whole) in either case. Nobody looks at it meanwhile.
    pub(super) fn begin_in_tail(&self, memory: &TailMemory, keep: bool) -> Option<Readying> {
        let tail = memory.begin(keep)?;
        tail.map_at(&self.mapping.map).ok()?;
        Some(tail)
    }

    /// Has all zeros in the next part of that memory. `false` where the system has none.
    pub(super) fn ready_in_tail(&mut self, tail: &mut Readying, part: Range<usize>) -> bool {
        let is_found = tail.find(&self.mapping.map, &part).is_ok();
        if is_found && tail.is_used() {
            self.write(part).fill(0);
        }
        is_found
    }

    /// Lets the whole segment be kept in that memory, all of which is ready, and its flushes be written to `direct`, past the
    /// page cache. Without either, it is memory of its own that is appended to, as for [`SegmentView::stage_rest`].
    pub(super) fn stage_whole(&self, tail: Option<Readying>, direct: Option<File>) -> Result<(), FileError> {
        let mapping = &self.mapping;
        let (Some(tail), Some(direct)) = (tail, direct) else { return self.share().stage_rest(None) };
        let (memory, block) = tail.into_parts();
        let staging =
            Staging::in_tail(mapping.map.len(), memory.clone(), direct).at("map memory for", &mapping.path)?;
        // Whoever makes a segment does so alone.
        let _first = mapping.staging.set(staging);
        memory.put(mapping.base, mapping, block);
        Ok(())
    }

    /// The file.
    pub(super) fn file(&self) -> &File {
        &self.mapping.file
    }

    /// Tells the kernel that the mapping is about to be read from start to end.
    pub(crate) fn will_scan(&self) {
        // Not `WillNeed`: a log may be larger than memory, and all of it at once would push out what comes first.
        let _unsupported = self.mapping.map.advise(Advice::Sequential);
    }

    /// Writes what is published to the file, without waiting for the disk: from then on it outlives this process.
    ///
    /// # Errors
    /// What the system says, which is as fatal as a failed flush; see [`FlushFailed`](crate::FlushFailed).
    pub fn write_out(&self) -> Result<(), FileError> {
        let Some(staging) = self.mapping.staging.get() else { return Ok(()) };
        let written = staging.write_out(&self.mapping.map, &self.mapping.file, &self.mapping.published);
        written.at("write", &self.mapping.path)
    }

    /// Lets more of a read-only segment be looked at.
    ///
    /// # Panics
    /// If the segment is writable, or if less than before is to be visible: both are bugs.
    pub(crate) fn set_visible(&mut self, visible: usize) {
        assert!(!self.writable && visible >= self.visible && visible <= self.mapping.map.len(), "visible end");
        self.visible = visible;
    }

    /// A handle for reading what is published, from any thread, without a copy.
    #[must_use]
    pub fn share(&self) -> SegmentView {
        SegmentView { mapping: Arc::clone(&self.mapping) }
    }

    /// Whether every page of a part of the segment is in the page cache now, so that reading it does not wait for
    /// the disk. A system call; when it fails the answer is yes, because reading is correct in either case.
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        self.mapping.is_resident(range)
    }

    /// Has a part of what is published brought into the processor's cache, as far as it reaches.
    ///
    /// # Panics
    /// If the part begins behind what is published: that is a bug of the caller.
    #[inline]
    pub fn prefetch(&self, part: Range<usize>) {
        super::prefetch::prefetch(self.published(part.start..part.end.min(self.published)));
    }

    /// The position of the segment's first byte in its log.
    #[must_use]
    pub fn base(&self) -> Lsn {
        self.mapping.base
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mapping.path
    }
}

impl Drop for MappedSegment {
    fn drop(&mut self) {
        self.mapping.is_owned.store(false, Ordering::Release);
    }
}

impl AsFd for MappedSegment {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mapping.file.as_fd()
    }
}

impl fmt::Debug for MappedSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MappedSegment")
            .field("path", &self.mapping.path)
            .field("published", &self.published)
            .field("writable", &self.writable)
            .finish_non_exhaustive()
    }
}

impl SegmentMemory for MappedSegment {
    fn segment_len(&self) -> u64 {
        self.mapping.map.len() as u64
    }

    fn unverified(&self) -> Unverified<'_> {
        // SAFETY: in the writing process, only `&mut self` writes, and `self` is borrowed. In a process that only
        // reads, `visible` ends where the writer has committed, and what is committed never changes.
        Unverified(unsafe { self.mapping.bytes(0..self.visible) })
    }

    fn published(&self, range: Range<usize>) -> &[u8] {
        assert!(range.end <= self.published, "read past the published end");
        // SAFETY: published bytes never change (module invariant; `write` refuses them).
        unsafe { self.mapping.bytes(range) }
    }

    fn published_end(&self) -> usize {
        self.published
    }

    fn publish(&mut self, end: usize) {
        assert!(end >= self.published && end <= self.visible, "published end out of order");
        if self.is_cut {
            self.is_cut = false;
            // Whoever cut the log has changed what was behind its end before it goes on.
            if let Some(staging) = self.mapping.staging.get() {
                staging.settle();
            }
        }
        self.published = end;
        // Release: a view that sees the new end sees the bytes below it.
        self.mapping.published.store(end, Ordering::Release);
    }

    fn retract(&mut self, end: usize) {
        assert!(self.writable, "take back a part of a segment opened read-only");
        assert!(end <= self.published, "only what was published is taken back");
        self.published = end;
        self.is_cut = true;
        match self.mapping.staging.get() {
            Some(staging) => staging.cut(&self.mapping.published, end),
            None => self.mapping.published.store(end, Ordering::Release),
        }
    }

    fn write(&mut self, range: Range<usize>) -> &mut [u8] {
        assert!(self.writable, "write to a segment opened read-only");
        assert!(range.start >= self.published, "write below the published end");
        assert!(range.start <= range.end && range.end <= self.mapping.map.len(), "write outside the segment");
        // SAFETY: the range lies within the mapping and above the published end, where no view reads; `&mut self`
        // excludes every other access of this process and the one-writer invariant those of others.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.map.as_mut_ptr().add(range.start), range.len()) }
    }
}

/// A handle on a segment for reading what is published. Cheap to clone; keeps the mapping and its file alive.
#[derive(Clone)]
pub struct SegmentView {
    mapping: Arc<Mapping>,
}

impl SegmentView {
    /// A part of what is published.
    ///
    /// # Panics
    /// If the range reaches past the published end: that is a bug of the caller.
    #[must_use]
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.end <= self.published_end(), "read past the published end");
        // SAFETY: published bytes never change (module invariant); the acquiring load above makes them visible here.
        unsafe { self.mapping.bytes(range) }
    }

    /// Where the published prefix ends now; it only grows, unless the log is cut.
    #[must_use]
    pub fn published_end(&self) -> usize {
        self.mapping.published.load(Ordering::Acquire)
    }

    /// The position of the segment's first byte in its log.
    #[must_use]
    pub fn base(&self) -> Lsn {
        self.mapping.base
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mapping.path
    }

    /// Whether every page of a part of the segment is in the page cache now, as [`MappedSegment::is_resident`] says it.
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        self.mapping.is_resident(range)
    }

    /// Its size in bytes.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.mapping.map.len() as u64
    }

    /// Whether the segment is, or was, kept in memory that is used again.
    #[must_use]
    pub fn is_of_tail(&self) -> bool {
        self.mapping.staging.get().is_some_and(Staging::is_of_tail)
    }

    /// Whether the segment is written past the page cache, where it is much at once.
    #[must_use]
    pub fn is_written_past_cache(&self) -> bool {
        self.mapping.staging.get().is_some_and(Staging::is_past_cache)
    }

    /// Where what went past the page cache ends, and so is probably not in it; `None` where nothing did since the segment was
    /// read into it. What is memory of the process still does not count.
    #[must_use]
    pub fn cold_end(&self) -> Option<usize> {
        self.mapping.staging.get().map(Staging::cold_end).filter(|end| *end > 0)
    }

    /// Has a segment that went past the page cache read into it, and mapped. Waits for the disk: not for a thread that serves
    /// anybody. Only a hint: what fails here fails again for whoever reads.
    pub(crate) fn warm(&self) {
        let Some(staging) = self.mapping.staging.get() else { return };
        staging.warm(|mapped| {
            for start in (0..mapped).step_by(POPULATE_LEN) {
                let len = POPULATE_LEN.min(mapped - start);
                // The next part is on its way while this one is mapped.
                let ahead = NonZeroU64::new(2 * POPULATE_LEN as u64);
                let _unsupported = fadvise(&self.mapping.file, start as u64, ahead, rustix::fs::Advice::WillNeed);
                let _unsupported = self.mapping.map.advise_range(Advice::PopulateRead, start, len);
            }
        });
    }

    /// Where `part` lies in this segment, if it is a part of its mapping.
    #[must_use]
    pub fn range_of(&self, part: &[u8]) -> Option<Range<usize>> {
        let start = part.as_ptr().addr().checked_sub(self.mapping.map.as_ptr().addr())?;
        let end = start.checked_add(part.len())?;
        (end <= self.mapping.map.len()).then_some(start..end)
    }

    /// Whether a part is better read from the file: what was published last may be memory of this process only, until the
    /// next flush, or be kept there longer, and the file's pages not be in memory.
    #[must_use]
    pub fn is_in_file(&self, range: Range<usize>) -> bool {
        self.mapping.staging.get().is_none_or(|staging| range.end <= staging.in_file())
    }

    /// Lets what is stored behind the published end be memory of this process, all zeros now, until a flush writes it to the
    /// file, past the page cache if `direct` is the file so opened; see the module `staging`. For a segment that is about to
    /// be appended to; nobody looks at it or stores to it meanwhile.
    pub(crate) fn stage_rest(&self, direct: Option<File>) -> Result<(), FileError> {
        let mapping = &self.mapping;
        if mapping.staging.get().is_none()
            && let Some(staging) =
                Staging::begin(&mapping.map, self.published_end(), direct).at("map memory for", &mapping.path)?
        {
            // Whoever opens or makes a segment does so alone.
            let _first = mapping.staging.set(staging);
        }
        Ok(())
    }

    /// Tells the kernel that reads come in no order, which it is to expect unless told otherwise.
    pub(crate) fn scanned(&self) {
        let _unsupported = self.mapping.map.advise(Advice::Normal);
    }

    /// Flushes the file's data: `fdatasync`.
    ///
    /// Each mapped page that it writes is made read-only in the page table one by one, and each time every other core that
    /// runs a thread of this process is interrupted. Where much has been stored since the last flush, the pages are taken
    /// out of the page table before, which takes one interruption for all; the next access of each maps it again, with its
    /// neighbours. Measured with 64 MiB: half of the processor time of the flush.
    ///
    /// # Errors
    /// What the system says. The data may be lost then, and a second try would report success without having written
    /// it; see [`FlushFailed`](crate::FlushFailed).
    pub fn sync_data(&self) -> Result<(), FileError> {
        if let Some(staging) = self.mapping.staging.get() {
            let flushed = staging.flush(&self.mapping.map, &self.mapping.file, &self.mapping.published);
            return flushed.at("flush", &self.mapping.path);
        }
        let end = self.published_end();
        let before = self.mapping.flushed.swap(end, Ordering::Relaxed);
        if end.saturating_sub(before) >= BULK_LEN_MIN {
            self.mapping.unmap_pages(before..end);
        }
        self.mapping.file.sync_data().at("flush", &self.mapping.path)
    }
}

impl AsFd for SegmentView {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.mapping.file.as_fd()
    }
}

impl fmt::Debug for SegmentView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentView").field("path", &self.mapping.path).finish_non_exhaustive()
    }
}
