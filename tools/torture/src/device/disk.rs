//! The state of a disk and the faults that it obeys.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a power cut keeps or loses as a whole, mostly.
const PAGE: usize = 4096;
/// What a torn page is made of.
const SECTOR: usize = 512;

/// What happens to writes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum WriteFault {
    /// Nothing.
    #[default]
    None,
    /// All of them fail.
    Fail,
    /// Those fail that hold the text `chunk:`, which stands in every value of the load: data fails, metadata does not.
    FailData,
}

/// What the disk has been asked, and what it has done to its users.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    /// Requests to read.
    pub reads: u64,
    /// Requests to write.
    pub writes: u64,
    /// Requests to flush that were answered with success.
    pub flushes: u64,
    /// Requests that failed because that was commanded.
    pub failed: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Answers that the kernel did not take: whoever asked has gone, or waits for ever.
    pub untaken: u64,
}

/// What became of the cache in a power cut, in pages.
#[derive(Clone, Copy, Default, Debug)]
pub struct Kept {
    /// Pages that had not been flushed.
    pub cached: u64,
    /// Those of them that are there afterwards, torn ones included.
    pub kept: u64,
    /// Those of which some sectors are new and others old.
    pub torn: u64,
}

/// The answer of a disk that fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failed;

struct State {
    /// What a reader is shown.
    shown: Vec<u8>,
    /// What is there after a power cut that keeps nothing of the cache.
    durable: Vec<u8>,
    /// Where `shown` was written since the last flush, oldest first, with the bytes.
    cache: Vec<(usize, Vec<u8>)>,
    /// Whether writes wait for a flush.
    caches: bool,
    write_fault: WriteFault,
    flush_fails: bool,
    frozen: bool,
    /// The power is off.
    dead: bool,
    /// The power goes off when so many more requests to write or flush have come.
    cut_after: Option<u64>,
    counts: Counts,
    /// When it was last asked for anything.
    asked: Instant,
    kept: Kept,
    random: fastrand::Rng,
}

/// A disk; clones are the same one.
#[derive(Clone)]
pub struct Disk {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Disk {
    /// A disk of `len` zeros without faults. `seed` decides what power cuts keep.
    #[must_use]
    pub fn new(len: usize, seed: u64) -> Self {
        let state = State {
            shown: vec![0; len],
            durable: vec![0; len],
            cache: Vec::new(),
            caches: false,
            write_fault: WriteFault::None,
            flush_fails: false,
            frozen: false,
            dead: false,
            cut_after: None,
            counts: Counts::default(),
            asked: Instant::now(),
            kept: Kept::default(),
            random: fastrand::Rng::with_seed(seed),
        };
        Self { shared: Arc::new((Mutex::new(state), Condvar::new())) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, once the disk is not frozen.
    fn thawed(&self) -> MutexGuard<'_, State> {
        let frozen = |state: &mut State| state.frozen;
        self.shared.1.wait_while(self.state(), frozen).unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.shared.1.notify_all();
        changed
    }

    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state().shown.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads `range`, cut off at the end of the disk.
    ///
    /// # Errors
    /// The power is off.
    pub fn read(&self, range: Range<usize>) -> Result<Vec<u8>, Failed> {
        let mut state = self.thawed();
        (state.counts.reads, state.asked) = (state.counts.reads + 1, Instant::now());
        if state.dead {
            return Err(Failed);
        }
        let end = range.end.min(state.shown.len());
        Ok(state.shown.get(range.start.min(end)..end).unwrap_or_default().to_vec())
    }

    /// Writes `data`. Returns how much of it fits.
    ///
    /// # Errors
    /// The power is off, or writes fail by command.
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<usize, Failed> {
        let mut state = self.thawed();
        (state.counts.writes, state.asked) = (state.counts.writes + 1, Instant::now());
        let done = state.write(offset, data);
        self.shared.1.notify_all();
        done
    }

    /// Makes everything durable that was written so far.
    ///
    /// # Errors
    /// The power is off, or flushes fail by command.
    pub fn flush(&self) -> Result<(), Failed> {
        let mut state = self.thawed();
        state.asked = Instant::now();
        let done = state.flush();
        self.shared.1.notify_all();
        done
    }

    /// From now on writes wait in a cache for a flush; what was written before is durable.
    pub fn cache_writes(&self) {
        self.change(|state| {
            state.settle();
            state.caches = true;
        });
    }

    /// What happens to writes from now on.
    pub fn set_write_fault(&self, fault: WriteFault) {
        self.change(|state| state.write_fault = fault);
    }

    /// Whether flushes fail from now on. A failed flush makes nothing durable.
    pub fn set_flush_fails(&self, fails: bool) {
        self.change(|state| state.flush_fails = fails);
    }

    /// Answers nothing until it is thawed.
    pub fn freeze(&self) {
        self.change(|state| state.frozen = true);
    }

    /// Answers again.
    pub fn thaw(&self) {
        self.change(|state| state.frozen = false);
    }

    /// Switches the power off now.
    pub fn cut(&self) {
        self.change(State::cut);
    }

    /// Switches the power off at the request to write or flush that comes after `requests` others.
    pub fn cut_after(&self, requests: u64) {
        self.change(|state| state.cut_after = Some(requests));
    }

    /// Waits until the power is off; `false` where that takes longer than `patience`.
    #[must_use]
    pub fn await_cut(&self, patience: Duration) -> bool {
        let alive = |state: &mut State| !state.dead;
        let waited = self.shared.1.wait_timeout_while(self.state(), patience, alive);
        waited.unwrap_or_else(PoisonError::into_inner).0.dead
    }

    /// Whether the power is off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.state().dead
    }

    /// Switches the power on, and ends all faults.
    pub fn reset(&self) {
        self.change(|state| {
            state.write_fault = WriteFault::None;
            (state.flush_fails, state.frozen, state.dead, state.cut_after) = (false, false, false, None);
        });
    }

    /// What it has been asked so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// The kernel did not take an answer.
    pub(super) fn note_untaken(&self) {
        self.change(|state| state.counts.untaken += 1);
    }

    /// How it is, for people who look into a failure.
    #[must_use]
    pub fn describe(&self) -> String {
        let state = self.state();
        let power = if state.dead { "off" } else { "on" };
        let frozen = if state.frozen { ", frozen" } else { "" };
        let (asked, waiting) = (state.asked.elapsed(), state.cache.len());
        format!(
            "the disk: power {power}{frozen}, last asked {asked:.1?} ago, {waiting} writes not flushed, {:?}",
            state.counts
        )
    }

    /// What all power cuts together have kept.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.state().kept
    }

    /// Where `needle` is on the disk, in what would survive a power cut.
    #[must_use]
    pub fn find(&self, needle: &[u8]) -> Vec<usize> {
        let state = self.state();
        let Some(&first) = needle.first() else { return Vec::new() };
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = state.durable[from..].iter().position(|&byte| byte == first) {
            if state.durable[from + at..].starts_with(needle) {
                found.push(from + at);
            }
            from += at + 1;
        }
        found
    }

    /// Turns one bit over, as rot does: nobody is told.
    pub fn flip(&self, offset: usize, bit: u8) {
        self.change(|state| {
            state.durable[offset] ^= 1 << (bit % 8);
            state.shown[offset] ^= 1 << (bit % 8);
        });
    }
}

impl State {
    fn write(&mut self, offset: usize, data: &[u8]) -> Result<usize, Failed> {
        if self.cut_after == Some(0) && !self.dead {
            // In the middle of this write: some of it may be there.
            let fits = data.len().min(self.shown.len().saturating_sub(offset));
            self.cache.push((offset, data[..fits].to_vec()));
        }
        self.count_down();
        if self.dead {
            return Err(Failed);
        }
        let hit = match self.write_fault {
            WriteFault::None => false,
            WriteFault::Fail => true,
            WriteFault::FailData => data.windows(6).any(|window| window == b"chunk:"),
        };
        if hit {
            self.counts.failed += 1;
            return Err(Failed);
        }
        let fits = data.len().min(self.shown.len().saturating_sub(offset));
        let data = &data[..fits];
        self.shown[offset..offset + fits].copy_from_slice(data);
        if self.caches {
            self.cache.push((offset, data.to_vec()));
        } else {
            self.durable[offset..offset + fits].copy_from_slice(data);
        }
        Ok(fits)
    }

    fn flush(&mut self) -> Result<(), Failed> {
        self.count_down();
        if self.dead {
            return Err(Failed);
        }
        if self.flush_fails {
            self.counts.failed += 1;
            return Err(Failed);
        }
        self.counts.flushes += 1;
        self.settle();
        Ok(())
    }

    fn settle(&mut self) {
        for (offset, data) in self.cache.drain(..) {
            self.durable[offset..offset + data.len()].copy_from_slice(&data);
        }
    }

    fn count_down(&mut self) {
        match self.cut_after {
            Some(0) => self.cut(),
            Some(left) => self.cut_after = Some(left - 1),
            None => {}
        }
    }

    /// Keeps part of the cache: nothing, everything or a share of its pages. Which share is drawn for each cut.
    fn cut(&mut self) {
        if self.dead {
            return;
        }
        // What was waiting fails.
        (self.dead, self.frozen, self.cut_after) = (true, false, None);
        self.counts.cuts += 1;
        let share = [0.0, 0.1, 0.5, 0.9, 1.0][self.random.usize(..5)];
        let torn_share = [0.0, 0.0, 0.2][self.random.usize(..3)];
        for (offset, data) in std::mem::take(&mut self.cache) {
            for page in pages(offset, data.len()) {
                self.kept.cached += 1;
                if self.random.f64() < share {
                    self.kept.kept += 1;
                    let torn = self.random.f64() < torn_share;
                    self.kept.torn += u64::from(torn);
                    self.keep(page, offset, &data, torn);
                }
            }
            // Nobody sees what was lost.
            let range = offset..offset + data.len();
            self.shown[range.clone()].copy_from_slice(&self.durable[range]);
        }
    }

    fn keep(&mut self, page: Range<usize>, offset: usize, data: &[u8], torn: bool) {
        for start in page.clone().step_by(SECTOR) {
            if torn && self.random.bool() {
                continue;
            }
            let sector = start..(start + SECTOR).min(page.end);
            self.durable[sector.clone()].copy_from_slice(&data[sector.start - offset..sector.end - offset]);
        }
    }
}

/// The parts of a write that lie in one page each.
fn pages(offset: usize, len: usize) -> impl Iterator<Item = Range<usize>> {
    let end = offset + len;
    (offset / PAGE..end.div_ceil(PAGE)).map(move |page| (page * PAGE).max(offset)..((page + 1) * PAGE).min(end))
}
