//! One file: 4 KiB pages, each with what the cache holds and what is on the disk.

use std::ops::Range;

use windrow_core::types::Lsn;

use crate::rng::Rng;

/// Bytes of a page.
pub(crate) const PAGE: usize = 4096;
/// Bytes that a disk writes whole.
const SECTOR: usize = 512;
/// Processors write memory in pieces of this many bytes, in any order as far as write-back can tell.
const CHUNK: usize = 16;

/// One segment's file.
pub(crate) struct File {
    pub(crate) base: Lsn,
    cache: Vec<u8>,
    durable: Vec<u8>,
    pages: Vec<Page>,
    pub(crate) name_durable: bool,
}

/// A page is dirty while the disk does not have its newest version, as far as the kernel knows.
#[derive(Clone, Copy, Default)]
struct Page {
    version: u64,
    durable: u64,
}

/// A page as it was when a flush began.
#[derive(Clone)]
pub(crate) struct FlushedPage {
    pub(crate) index: usize,
    version: u64,
    pub(super) bytes: Vec<u8>,
}

const fn span(page: usize) -> Range<usize> {
    page * PAGE..(page + 1) * PAGE
}

impl File {
    pub(super) fn zeroed(base: Lsn, len: usize) -> Self {
        let pages = vec![Page::default(); len / PAGE];
        Self { base, cache: vec![0; len], durable: vec![0; len], pages, name_durable: false }
    }

    /// What a process reads.
    pub(crate) fn cache(&self) -> &[u8] {
        &self.cache
    }

    /// What a power cut leaves of pages that are clean.
    pub(crate) fn durable(&self) -> &[u8] {
        &self.durable
    }

    /// A process has stored `bytes` at `start`.
    pub(crate) fn store(&mut self, start: usize, bytes: &[u8]) {
        self.cache[start..start + bytes.len()].copy_from_slice(bytes);
        for page in start / PAGE..(start + bytes.len()).div_ceil(PAGE) {
            self.pages[page].version += 1;
        }
    }

    /// Write-back that came while a process was storing `range`: some pieces of it were still as before.
    pub(crate) fn write_back_amid(&mut self, range: Range<usize>, before: &[u8], rng: &mut Rng) {
        let page = range.start / PAGE;
        let end = range.end.min((page + 1) * PAGE);
        let mut bytes = self.cache[span(page)].to_vec();
        for start in (range.start..end).step_by(CHUNK) {
            if rng.percent(40) {
                let stop = (start + CHUNK).min(end);
                let from = start - range.start;
                bytes[start % PAGE..start % PAGE + stop - start].copy_from_slice(&before[from..from + stop - start]);
            }
        }
        self.durable[span(page)].copy_from_slice(&bytes);
    }

    pub(super) fn dirty_pages(&self) -> Vec<FlushedPage> {
        let dirty = self.pages.iter().enumerate().filter(|(_, page)| page.version != page.durable);
        dirty
            .map(|(index, page)| FlushedPage { index, version: page.version, bytes: self.cache[span(index)].to_vec() })
            .collect()
    }

    pub(super) fn complete(&mut self, flushed: &FlushedPage) {
        let page = &mut self.pages[flushed.index];
        // Write-back may have put something newer there meanwhile.
        if page.durable < flushed.version {
            page.durable = flushed.version;
            self.durable[span(flushed.index)].copy_from_slice(&flushed.bytes);
        }
    }

    /// The page counts as written, and is not.
    pub(super) fn drop_page(&mut self, flushed: &FlushedPage) {
        let page = &mut self.pages[flushed.index];
        page.durable = page.durable.max(flushed.version);
    }

    /// The kernel writes some dirty pages back, of its own accord.
    pub(crate) fn write_back(&mut self, rng: &mut Rng) {
        for index in 0..self.pages.len() {
            let page = &mut self.pages[index];
            if page.version != page.durable && rng.percent(50) {
                page.durable = page.version;
                self.durable[span(index)].copy_from_slice(&self.cache[span(index)]);
            }
        }
    }

    /// Of each dirty page the old content, the new one, or a mixture of sectors is left. Whether there was one.
    pub(super) fn power_cut(&mut self, rng: &mut Rng) -> bool {
        let mut any = false;
        for (index, page) in self.pages.iter_mut().enumerate() {
            if page.version != page.durable {
                any = true;
                match rng.within(0..4) {
                    0 => {}
                    1 => self.durable[span(index)].copy_from_slice(&self.cache[span(index)]),
                    _ => {
                        for start in span(index).step_by(SECTOR).filter(|_| rng.percent(50)) {
                            let sector = start..start + SECTOR;
                            self.durable[sector.clone()].copy_from_slice(&self.cache[sector]);
                        }
                    }
                }
            }
            *page = Page::default();
        }
        self.cache.copy_from_slice(&self.durable);
        any
    }

    /// Clean pages are read from the disk again.
    pub(super) fn drop_cache(&mut self) {
        for (index, page) in self.pages.iter().enumerate() {
            if page.version == page.durable {
                self.cache[span(index)].copy_from_slice(&self.durable[span(index)]);
            }
        }
    }

    /// The content of a page on the disk changes behind everybody's back.
    pub(crate) fn damage(&mut self, start: usize, bytes: &[u8]) {
        self.durable[start..start + bytes.len()].copy_from_slice(bytes);
    }

    /// Somebody puts back what should stand there, on the disk and in the cache.
    pub(crate) fn restore(&mut self, start: usize, bytes: &[u8]) {
        self.durable[start..start + bytes.len()].copy_from_slice(bytes);
        self.cache[start..start + bytes.len()].copy_from_slice(bytes);
    }
}
