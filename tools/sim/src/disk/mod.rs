//! A partition's directory on a disk that fails.
//!
//! Owns what is on the disk and what the page cache holds. Fault model: a power cut keeps, of each page dirtied since
//! the last completed flush, the old or the new content or a mixture torn at 512 bytes, and write-back may have put any
//! earlier state of it on the disk before; names not synced yet may be missing or back; a superblock being written may
//! be old, new, torn or garbage; a flush may fail, and then its pages are clean and not on the disk; a write may be lost
//! or land elsewhere although the disk says it is done; bits flip.

mod file;
mod memory;

use std::collections::BTreeMap;

use windrow_core::superblock::{SUPERBLOCK_LEN, Superblock, SuperblockError};
use windrow_core::types::{Epoch, Lsn};

pub(crate) use file::{File, FlushedPage, PAGE};
pub(crate) use memory::SimMemory;

use crate::rng::Rng;

/// Everything in a partition's directory.
#[derive(Default)]
pub(crate) struct PartitionDisk {
    files: BTreeMap<Lsn, File>,
    /// Removed, but the directory has not been synced since.
    unlinked: Vec<File>,
    slots: [Slot; 2],
    writing: Option<Superblock>,
}

#[derive(Clone)]
struct Slot {
    durable: [u8; SUPERBLOCK_LEN],
    /// What the cache has, where that is not on the disk yet.
    cached: Option<[u8; SUPERBLOCK_LEN]>,
}

impl Default for Slot {
    fn default() -> Self {
        Self { durable: [0; SUPERBLOCK_LEN], cached: None }
    }
}

/// A slot of a superblock that was broken, and what stood there.
pub(crate) struct BrokenSlot {
    index: usize,
    before: [u8; SUPERBLOCK_LEN],
    pub(crate) was_newest: bool,
}

/// One flush on its way: the pages as they were when it began.
pub(crate) struct Flush {
    pub(crate) pages: Vec<(Lsn, FlushedPage)>,
}

impl PartitionDisk {
    pub(crate) fn new(superblock: &Superblock) -> Self {
        let mut disk = Self::default();
        disk.slots[superblock.slot()].durable = superblock.encode();
        disk
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    pub(crate) fn file(&self, base: Lsn) -> Option<&File> {
        self.files.get(&base)
    }

    pub(crate) fn file_mut(&mut self, base: Lsn) -> Option<&mut File> {
        self.files.get_mut(&base)
    }

    /// Makes a zeroed, flushed file. Its name is durable only after [`sync_directory`](Self::sync_directory).
    pub(crate) fn create(&mut self, base: Lsn, len: usize) {
        let before = self.files.insert(base, File::zeroed(base, len));
        assert!(before.is_none(), "segment {base} is made although there is one");
    }

    pub(crate) fn remove(&mut self, base: Lsn) {
        self.unlinked.extend(self.files.remove(&base));
    }

    pub(crate) fn sync_directory(&mut self) {
        self.unlinked.clear();
        self.files.values_mut().for_each(|file| file.name_durable = true);
    }

    /// Starts a flush of the files named.
    pub(crate) fn begin_flush(&self, bases: &[Lsn]) -> Flush {
        let pages = bases
            .iter()
            .filter_map(|base| self.files.get(base))
            .flat_map(|file| file.dirty_pages().into_iter().map(|page| (file.base, page)));
        Flush { pages: pages.collect() }
    }

    /// A flush is done: its pages are on the disk.
    pub(crate) fn complete_flush(&mut self, flush: Flush) {
        for (base, page) in flush.pages {
            if let Some(file) = self.files.get_mut(&base) {
                file.complete(&page);
            }
        }
    }

    /// A flush has failed: some pages are on the disk, the others are clean all the same.
    pub(crate) fn fail_flush(&mut self, flush: Flush, rng: &mut Rng) {
        for (base, page) in flush.pages {
            let Some(file) = self.files.get_mut(&base) else { continue };
            if rng.percent(40) { file.complete(&page) } else { file.drop_page(&page) }
        }
    }

    /// A page of a flush counts as written, and is not. Returns what should have been written.
    pub(crate) fn drop_written(&mut self, base: Lsn, page: FlushedPage) -> Vec<u8> {
        if let Some(file) = self.files.get_mut(&base) {
            file.drop_page(&page);
        }
        page.bytes
    }

    /// Flushes now, completely.
    pub(crate) fn flush_now(&mut self, bases: &[Lsn]) {
        let flush = self.begin_flush(bases);
        self.complete_flush(flush);
    }

    pub(crate) fn begin_superblock(&mut self, superblock: Superblock) {
        self.writing = Some(superblock);
    }

    /// The superblock being written is durable, and so is whatever else of its file was in the cache.
    pub(crate) fn complete_superblock(&mut self, slot: Option<usize>) {
        let Some(superblock) = self.writing.take() else { return };
        self.slots[slot.unwrap_or(superblock.slot())].cached = Some(superblock.encode());
        for slot in &mut self.slots {
            if let Some(cached) = slot.cached.take() {
                slot.durable = cached;
            }
        }
    }

    /// The superblock as a process reads it.
    pub(crate) fn read_superblock(&self) -> Result<Superblock, SuperblockError> {
        let [first, second] = &self.slots;
        Superblock::choose(&first.cached.unwrap_or(first.durable), &second.cached.unwrap_or(second.durable))
    }

    /// The process is gone; the machine and its page cache are not.
    pub(crate) fn kill(&mut self, rng: &mut Rng) {
        if let Some(superblock) = self.writing.take()
            && rng.percent(50)
        {
            self.slots[superblock.slot()].cached = Some(superblock.encode());
        }
    }

    /// The power is gone. Returns whether anything that had not been flushed was there.
    pub(crate) fn power_cut(&mut self, same_slot: bool, rng: &mut Rng) -> bool {
        let mut bit = false;
        if let Some(superblock) = self.writing.take() {
            let slot = if same_slot { 0 } else { superblock.slot() };
            self.slots[slot].cached = Some(superblock.encode());
        }
        for index in 0..2 {
            let other_is_whole = Superblock::decode(&self.slots[1 - index].durable).is_ok();
            let slot = &mut self.slots[index];
            if let Some(cached) = slot.cached.take() {
                bit = true;
                if other_is_whole || same_slot {
                    tear_slot(&mut slot.durable, &cached, rng);
                } else if rng.percent(50) {
                    // Two slots survive one fault. Where the other one has rotted, this one is not torn as well.
                    slot.durable = cached;
                }
            }
        }
        for file in self.unlinked.drain(..) {
            // The removal may not have reached the disk.
            if rng.percent(50) {
                self.files.entry(file.base).or_insert(file);
            }
        }
        self.files.retain(|_, file| file.name_durable || rng.percent(50));
        for file in self.files.values_mut() {
            file.name_durable = true;
            bit |= file.power_cut(rng);
        }
        bit
    }

    /// Drops what the cache holds of clean pages, so that the disk's truth is read.
    pub(crate) fn drop_caches(&mut self) {
        self.files.values_mut().for_each(File::drop_cache);
    }

    /// Breaks the slot that holds the older superblock, or the newer one if its epoch is not lost with it: because the
    /// other slot names it too, or the log does, of which `in_log` is the newest epoch on the disk.
    pub(crate) fn rot_slot(&mut self, in_log: Epoch, rng: &mut Rng) -> bool {
        let decoded = [0, 1].map(|slot| Superblock::decode(&self.slots[slot].durable));
        let [Ok(first), Ok(second)] = decoded else { return false };
        let older = usize::from(first.generation >= second.generation);
        let is_kept = first.epoch == second.epoch || first.epoch.max(second.epoch) <= in_log;
        let victim = if is_kept && rng.percent(50) { 1 - older } else { older };
        // While the other slot is being written, both could be gone.
        if self.writing.is_some() || self.slots.iter().any(|slot| slot.cached.is_some()) {
            return false;
        }
        let at = rng.index(SUPERBLOCK_LEN);
        self.slots[victim].durable[at] ^= 1 << rng.index(8);
        true
    }

    /// Breaks a slot of the superblock, the newer one in half of the cases: a bit flips, the sector is lost, or something
    /// else stands there. Returns what to put back, unless the other slot cannot be read: then nothing has changed.
    pub(crate) fn break_slot(&mut self, rng: &mut Rng) -> Option<BrokenSlot> {
        if self.writing.is_some() || self.slots.iter().any(|slot| slot.cached.is_some()) || !self.slots_intact() {
            return None;
        }
        let index = rng.index(2);
        let before = self.slots[index].durable;
        let slot = &mut self.slots[index].durable;
        match rng.within(0..4) {
            0 => *slot = [0; SUPERBLOCK_LEN],
            1 => slot.iter_mut().for_each(|byte| *byte = rng.next().to_le_bytes()[0]),
            _ => slot[rng.index(SUPERBLOCK_LEN)] ^= 1 << rng.index(8),
        }
        let newest = self.newest_slot(&before, index);
        Some(BrokenSlot { index, before, was_newest: newest })
    }

    fn newest_slot(&self, before: &[u8; SUPERBLOCK_LEN], index: usize) -> bool {
        let generation = |bytes: &[u8]| Superblock::decode(bytes).map_or(0, |superblock| superblock.generation);
        generation(before) > generation(&self.slots[1 - index].durable)
    }

    /// Breaks the other slot, too.
    pub(crate) fn break_other_slot(&mut self, broken: &BrokenSlot, rng: &mut Rng) -> BrokenSlot {
        let index = 1 - broken.index;
        let before = self.slots[index].durable;
        self.slots[index].durable[rng.index(SUPERBLOCK_LEN)] ^= 1 << rng.index(8);
        BrokenSlot { index, before, was_newest: !broken.was_newest }
    }

    /// What the cache has of the superblock is written and flushed.
    pub(crate) fn flush_superblock(&mut self) {
        for slot in &mut self.slots {
            if let Some(cached) = slot.cached.take() {
                slot.durable = cached;
            }
        }
    }

    /// The epoch that is promised whichever slot of the superblock is lost.
    pub(crate) fn promised(&self) -> Epoch {
        let promised = |slot: &Slot| Superblock::decode(&slot.durable).map_or(Epoch::ZERO, |one| one.promised);
        let [first, second] = &self.slots;
        promised(first).min(promised(second))
    }

    /// Puts back what stood in a slot.
    pub(crate) fn mend_slot(&mut self, broken: &BrokenSlot) {
        self.slots[broken.index].durable = broken.before;
    }

    /// Whether both slots of the superblock can be read: only then one of them may be broken or in the making.
    pub(crate) fn slots_intact(&self) -> bool {
        self.slots.iter().all(|slot| Superblock::decode(&slot.durable).is_ok())
    }
}

fn tear_slot(durable: &mut [u8; SUPERBLOCK_LEN], new: &[u8; SUPERBLOCK_LEN], rng: &mut Rng) {
    match rng.within(0..4) {
        0 => {}
        1 => *durable = *new,
        2 => {
            let cut = rng.index(SUPERBLOCK_LEN);
            durable[..cut].copy_from_slice(&new[..cut]);
        }
        _ => durable.iter_mut().for_each(|byte| *byte = rng.next().to_le_bytes()[0]),
    }
}

#[cfg(test)]
mod tests;
