//! Memory that records are collected in before they are written to their segment's file.
//!
//! A store through a mapping of a file is cheap to write down and dear for the kernel: the page must be in the page cache
//! before, the first store to it after each flush traps, and each flush takes every page that it writes out of the page
//! table again. So the part of a segment that is appended to is memory of the process alone, at the place where the rest of
//! the segment is mapped; a flush writes it to the file, and now and then what has been written is put in its place: the
//! file's own pages, with the same bytes. Whoever reads sees no difference, and addresses stay as they are.
//!
//! A segment that is filled at once with what nobody is about to read is written past the page cache: the kernel copies
//! nothing and finds no pages for it, and the memory of the process is used again and again. But for the last block of each
//! flush, which may still be appended to: the disk must not take it from memory that changes meanwhile.
//!
//! So is a segment of a log whose keys are overwritten soon: all of it is kept in a block of memory that another segment gets
//! [later](super::tail), and the last block of each flush is written from a copy, for each flush is one write.
//!
//! Owns which part of a segment is mapped how. Invariants:
//! - `mapped <= written`: below `mapped` the mapping is the file's, shared; behind it, it is private memory;
//! - below `written`, the file's pages hold what the mapping does;
//! - only what is published, and so never changes, is put in its place. What a cut takes back is no longer `written`, unless
//!   it is `mapped`, before anything of it is changed, and under the lock under which the file's pages take their place.
//!
//! What is cut below `mapped` is changed in the file's own pages, and flushed with them.
//!
//! Fault model: a write that fails is a flush that fails, which ends the process.

use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use memmap2::{Advice, MmapMut, MmapRaw};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous};

use super::create::{WRITE_OUT_LEN, is_refused_past_cache, write_out};
use super::tail::{LARGE_PAGE, TailMemory};

/// A file is written in whole blocks, so that none has to be read first.
pub(super) const BLOCK: usize = 4 << 10;
/// What has been written is replaced by the file's pages in parts of this size: one large page, where the system has them.
const PART_LEN_MAX: usize = LARGE_PAGE;
/// At most so much of a segment is private memory, counted in parts of it.
const PARTS_MIN: usize = 8;
/// So many parts are made ready ahead of the end of a segment that is filled at once: as many as are written at a time.
const READY_AT_ONCE: usize = 4;
/// Bytes of a file that are read into the page cache at a time.
const READ_LEN: usize = 1 << 20;

/// How far a segment has come that is written to its file by flushes.
pub(super) struct Staging {
    /// Changed under the lock only.
    mapped: AtomicUsize,
    /// Changed under the lock only.
    written: AtomicUsize,
    /// Private memory is there up to here: the first store to each page of it would wait until the system has found one.
    /// Changed by flushes, of which one runs at a time.
    ready: AtomicUsize,
    part_len: usize,
    /// The file, opened such that writes go past the page cache; `None` where they do not. Less than a part goes through the
    /// cache all the same, which takes one system call, but for a segment of the tail.
    direct: Option<File>,
    /// What went past the page cache ends here, since the segment was read into it last.
    cold: AtomicUsize,
    /// The whole segment is kept in such memory, and leaves it as a whole.
    tail: Option<Tail>,
    state: Mutex<State>,
}

struct Tail {
    memory: TailMemory,
    /// The last block of a flush, which may still be appended to: a copy of its own, so that the disk does not take it from
    /// memory that changes meanwhile, and that ends in zeros. Used by flushes, of which one runs at a time.
    last_block: Mutex<MmapMut>,
}

/// What a flush is to make durable, as it was when it began: more is written out and mapped meanwhile.
struct Due {
    /// Below, all is durable.
    from: usize,
    /// What is published ends here.
    end: usize,
    /// Nothing has changed behind.
    upto: usize,
    cuts: u64,
    /// Read under the lock with the rest: where it is not behind `from`, nothing behind `from` is mapped either.
    written: usize,
}

struct State {
    /// Everything published below is durable.
    synced: usize,
    /// How often the log was cut in this segment.
    cuts: u64,
    /// What lies below, up to a block's end, may have changed since the last flush, though it is behind the published end.
    changed: usize,
    /// What was cut is no longer being changed.
    settled: bool,
}

impl Staging {
    /// Puts private memory, all zeros, in the place of the pages of `map` that lie behind what is `published`; `None` where there
    /// are none. What is in the file there, zeros or what was cut, is not looked at any more, and written over as a whole. Where
    /// there is a file that was opened for that, writes go past the page cache.
    ///
    /// Nobody has a reference to any of it.
    pub(super) fn begin(map: &MmapRaw, published: usize, direct: Option<File>) -> io::Result<Option<Self>> {
        assert!(map.len().is_multiple_of(BLOCK), "segments end at a block's end");
        // Pages are replaced as a whole, and some processors have larger ones than others.
        let page = rustix::param::page_size().max(BLOCK);
        let start = published.next_multiple_of(page);
        if start >= map.len() {
            return Ok(None);
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::FIXED | MapFlags::NORESERVE;
        // SAFETY: the addresses are a part of `map`, which nobody has a reference into, as the caller promises; its owner
        // unmaps these addresses, whatever is mapped there, when it is dropped.
        unsafe { mmap_anonymous(map.as_mut_ptr().add(start).cast(), map.len() - start, access, flags)? };
        // A twelfth less processor time for a SET than with small pages, which do as well where there are no others.
        let _unsupported = map.advise_range(Advice::HugePage, start, map.len() - start);
        let part_len = (map.len() / PARTS_MIN).clamp(1, PART_LEN_MAX).next_multiple_of(page);
        let [mapped, written, ready, cold] = [start, start, start, 0].map(AtomicUsize::new);
        let state = Mutex::new(State { synced: 0, cuts: 0, changed: 0, settled: true });
        let staging = Self { mapped, written, ready, part_len, direct, cold, tail: None, state };
        staging.make_ready(map, start, start + part_len);
        Ok(Some(staging))
    }

    /// For a segment of `len` bytes, of which nothing is published, that is kept in a block of `memory`, mapped in the place
    /// of all of its pages, all zeros. Writes go past the page cache, to `direct`.
    pub(super) fn in_tail(len: usize, memory: TailMemory, direct: File) -> io::Result<Self> {
        let tail = Some(Tail { memory, last_block: Mutex::new(MmapMut::map_anon(BLOCK)?) });
        let [mapped, written, cold] = [0, 0, 0].map(AtomicUsize::new);
        let state = Mutex::new(State { synced: 0, cuts: 0, changed: 0, settled: true });
        let ready = AtomicUsize::new(len);
        Ok(Self { mapped, written, ready, part_len: len, direct: Some(direct), cold, tail, state })
    }

    /// Puts the file's pages in the place of the memory that the whole segment was kept in; `false` where that cannot be,
    /// because not all of it is durable. With `keep`, they are in the page cache before.
    pub(super) fn leave_tail(&self, map: &MmapRaw, file: &File, keep: bool) -> io::Result<bool> {
        let is_done = |state: &State| state.synced == map.len() && self.written() == map.len();
        if !is_done(&self.state()) {
            return Ok(false);
        }
        if keep {
            let mut read = vec![0; READ_LEN];
            for start in (0..map.len()).step_by(READ_LEN) {
                file.read_exact_at(&mut read[..READ_LEN.min(map.len() - start)], start as u64)?;
            }
        }
        let state = self.state();
        if !is_done(&state) {
            return Ok(false);
        }
        if !keep {
            self.cold.store(map.len(), Ordering::Release);
        }
        self.map_file(map, file, map.len())?;
        Ok(true)
    }

    /// Whether the segment is kept in memory that is used again, or was.
    pub(super) const fn is_of_tail(&self) -> bool {
        self.tail.is_some()
    }

    /// Below, the mapping is the file's own.
    pub(super) fn mapped(&self) -> usize {
        self.mapped.load(Ordering::Acquire)
    }

    /// Whether so much at once is written past the page cache where nobody is about to read it.
    const fn is_large(&self, len: usize) -> bool {
        self.tail.is_none() && len >= self.part_len
    }

    /// Whether what is written goes past the page cache, where it is much at once.
    pub(super) const fn is_past_cache(&self) -> bool {
        self.direct.is_some()
    }

    /// Below, what the mapping shows is the file's, and went past the page cache.
    pub(super) fn cold_end(&self) -> usize {
        self.cold.load(Ordering::Acquire).min(self.mapped())
    }

    /// Has what is the file's read into the page cache by `read`, which is told where it ends.
    pub(super) fn warm(&self, read: impl FnOnce(usize)) {
        let (cold, mapped) = (self.cold.load(Ordering::Acquire), self.mapped());
        read(mapped);
        if cold <= mapped {
            // More may have gone past it meanwhile.
            let _still_cold = self.cold.compare_exchange(cold, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Below, reading the file is as good as reading the mapping.
    pub(super) fn in_file(&self) -> usize {
        if self.tail.is_some() { self.mapped() } else { self.written() }
    }

    /// Below, the file's pages hold what the mapping does.
    pub(super) fn written(&self) -> usize {
        self.written.load(Ordering::Acquire)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics under the lock and leaves it half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets what is `published` end at `end`: what lies behind is about to change, until the owner [says](Self::settle) that it
    /// is done with that.
    pub(super) fn cut(&self, published: &AtomicUsize, end: usize) {
        let mut state = self.state();
        let before = published.swap(end, Ordering::AcqRel);
        state.cuts += 1;
        state.changed = state.changed.max(before.next_multiple_of(BLOCK));
        state.settled = false;
        state.synced = state.synced.min(end);
        self.written.store(self.written().min(end).max(self.mapped()), Ordering::Release);
    }

    /// What was cut has been changed as it is to be: it is flushed once more, and then no longer.
    pub(super) fn settle(&self) {
        self.state().settled = true;
    }

    /// Writes what is `published` into the page cache, where it outlives the process.
    pub(super) fn write_out(&self, map: &MmapRaw, file: &File, published: &AtomicUsize) -> io::Result<()> {
        let (from, end, cuts) = {
            let state = self.state();
            (self.written(), published.load(Ordering::Acquire), state.cuts)
        };
        if from < end {
            self.write(map, file, from..end, 0)?;
            let state = self.state();
            if state.cuts == cuts {
                self.written.fetch_max(end, Ordering::AcqRel);
                // Not left to the next flush: memory that is given back at once is there for the next part. But a flush that
                // is under way past the page cache must not find pages of that cache where it writes from.
                if self.direct.is_none() {
                    self.map_parts(map, file, end)?;
                }
            }
        }
        Ok(())
    }

    /// Makes durable what is `published`, and lets the file's pages take its place.
    pub(super) fn flush(&self, map: &MmapRaw, file: &File, published: &AtomicUsize) -> io::Result<()> {
        self.carry_out(self.due(published), map, file)
    }

    /// What a flush that begins now has to make durable.
    fn due(&self, published: &AtomicUsize) -> Due {
        let mut state = self.state();
        let end = published.load(Ordering::Acquire);
        let upto = state.changed.max(end);
        if state.settled {
            state.changed = 0;
        }
        Due { from: state.synced, end, upto, cuts: state.cuts, written: self.written() }
    }

    fn carry_out(&self, due: Due, map: &MmapRaw, file: &File) -> io::Result<()> {
        let Due { from, end, upto, cuts, written } = due;
        let tail = self.tail.as_ref().filter(|tail| !tail.memory.is_shared());
        if from < written || from >= upto || cuts > 0 {
            // Some has been written out before, or stored to the file's own pages: where a segment was gone on with, or what
            // was cut.
            self.write(map, file, written.min(upto)..upto, 0)?;
            // Little by little, where it is much: a shard on the same core waits while this thread hands it to the disk.
            for start in (from..upto.saturating_sub(WRITE_OUT_LEN)).step_by(WRITE_OUT_LEN) {
                write_out(file, &(start..start + WRITE_OUT_LEN))?;
            }
            file.sync_data()?;
        } else if let (Some(tail), Some(direct)) = (tail, &self.direct) {
            self.write_tail(tail, map, file, direct, from..upto)?;
        } else if let Some(direct) = self.direct.as_ref().filter(|_| self.is_large(upto - from)) {
            let whole = (upto - upto % BLOCK).max(from);
            self.write_past_cache(map, file, direct, from..whole)?;
            self.cold.fetch_max(whole, Ordering::AcqRel);
            self.write(map, file, whole..upto, 0)?;
            file.sync_data()?;
        } else {
            self.write(map, file, from..upto, libc::RWF_DSYNC)?;
        }
        let mut state = self.state();
        if state.cuts == cuts {
            state.synced = state.synced.max(end);
            self.written.fetch_max(end, Ordering::AcqRel);
            self.map_parts(map, file, end)?;
        }
        drop(state);
        let next = end.next_multiple_of(self.part_len);
        let parts = if self.direct.is_some() { READY_AT_ONCE } else { 1 };
        self.make_ready(map, next, next + parts * self.part_len);
        Ok(())
    }

    /// Has the system find private memory from `start`, or from where it is there already, to `end`.
    fn make_ready(&self, map: &MmapRaw, start: usize, end: usize) {
        let (start, end) = (start.max(self.ready.load(Ordering::Relaxed)), end.min(map.len()));
        if start < end {
            // Where this is not supported, or memory is short, the stores find it.
            let _only_slower = map.advise_range(Advice::PopulateWrite, start, end - start);
            self.ready.store(end, Ordering::Relaxed);
        }
    }

    /// Puts the file's pages in the place of the whole parts of what has been written up to `end`, unless the segment leaves
    /// its memory as a whole. The caller holds the lock.
    fn map_parts(&self, map: &MmapRaw, file: &File, end: usize) -> io::Result<()> {
        if self.tail.is_some() {
            return Ok(());
        }
        self.map_file(map, file, if end == map.len() { end } else { end - end % self.part_len })
    }

    /// Puts the file's pages in the place of what has been written up to `end`. The caller holds the lock.
    fn map_file(&self, map: &MmapRaw, file: &File, end: usize) -> io::Result<()> {
        let start = self.mapped();
        if start >= end {
            return Ok(());
        }
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the addresses are a part of `map`, which lives as long as the segment. What others read there is
        // published and does not change: the caller has seen under the lock that nothing of it was cut since it was written to
        // the file, so the file's pages have the same bytes. The kernel replaces a mapping in one step for all threads. That
        // nobody writes there meanwhile: only what is not published is written.
        unsafe {
            let address = map.as_mut_ptr().add(start).cast();
            mmap(address, end - start, access, MapFlags::SHARED | MapFlags::FIXED, file, start as u64)?;
        }
        self.mapped.store(end, Ordering::Release);
        Ok(())
    }

    /// Makes `part` durable, up to what is published, without a page of it in the page cache. The log is not cut meanwhile.
    fn write_tail(&self, tail: &Tail, map: &MmapRaw, file: &File, direct: &File, part: Range<usize>) -> io::Result<()> {
        let mut last = tail.last_block.lock().unwrap_or_else(PoisonError::into_inner);
        let start = part.start - part.start % BLOCK;
        let whole = (part.end - part.end % BLOCK).max(start);
        let rest = part.end - whole;
        // SAFETY: the range lies within the mapping and is published, so that nobody writes it, unless the log is cut, which it
        // is not while one of its flushes is under way.
        let bytes = unsafe { std::slice::from_raw_parts(map.as_ptr().add(start), part.end - start) };
        last[..rest].copy_from_slice(&bytes[whole - start..]);
        last[rest..].fill(0);
        let blocks = if rest == 0 { &[][..] } else { &last[..] };
        let written = write_durably(direct, [&bytes[..whole - start], blocks], start);
        match written {
            // The disk wants larger blocks than these.
            Err(error) if is_refused_past_cache(&error) => self.write(map, file, part, libc::RWF_DSYNC),
            written => written,
        }
    }

    /// As [`write`](Self::write), without a page of it in the page cache. Nobody changes any of the blocks meanwhile, unless
    /// they are cut.
    fn write_past_cache(&self, map: &MmapRaw, file: &File, direct: &File, part: Range<usize>) -> io::Result<()> {
        match self.write(map, direct, part.clone(), 0) {
            // The disk wants larger blocks than these.
            Err(error) if is_refused_past_cache(&error) => self.write(map, file, part, 0),
            written => written,
        }
    }

    /// Writes the blocks that hold `part` to the file: all of them, for a flush waits for what it writes and for no more. Where
    /// the file's pages have taken their place meanwhile, they are written to themselves.
    fn write(&self, map: &MmapRaw, file: &File, part: Range<usize>, flags: libc::c_int) -> io::Result<()> {
        if part.is_empty() {
            return Ok(());
        }
        let mut start = part.start - part.start % BLOCK;
        let end = part.end.next_multiple_of(BLOCK);
        assert!(end <= map.len(), "a segment ends at a block's end");
        while start < end {
            let offset = libc::off_t::try_from(start).map_err(io::Error::other)?;
            // SAFETY: the range lies within the mapping, which outlives the call. The kernel reads it; behind the published end
            // the owner may write at the same time, and whatever of that is read is not part of the log yet and is written
            // again by the next flush.
            let done = unsafe {
                let base = map.as_mut_ptr().add(start).cast();
                let slice = libc::iovec { iov_base: base, iov_len: end - start };
                libc::pwritev2(file.as_raw_fd(), &raw const slice, 1, offset, flags)
            };
            match usize::try_from(done) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(done) => start += done,
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes both parts, one after the other, to the file at `start`, and has the disk make them durable.
fn write_durably(file: &File, parts: [&[u8]; 2], start: usize) -> io::Result<()> {
    let mut slices = parts.map(IoSlice::new);
    let mut slices = &mut slices[..];
    let mut offset = start;
    // Empty ones go first.
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        let at = libc::off_t::try_from(offset).map_err(io::Error::other)?;
        let count = libc::c_int::try_from(slices.len()).map_err(io::Error::other)?;
        // SAFETY: an `IoSlice` is laid out as an `iovec`, and borrows its bytes for the call, which only reads them.
        let done = unsafe { libc::pwritev2(file.as_raw_fd(), slices.as_ptr().cast(), count, at, libc::RWF_DSYNC) };
        match usize::try_from(done) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(done) => {
                IoSlice::advance_slices(&mut slices, done);
                offset += done;
            }
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
