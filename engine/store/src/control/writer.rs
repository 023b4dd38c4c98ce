//! The writer's side of the control page.

use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use memmap2::MmapOptions;
use rustix::thread::futex;
use windrow_core::types::{Lsn, PartitionId};

use super::{
    CONTROL_FILE, CONTROL_LEN, CONTROL_VERSION, LIFE_ENDED, LIFE_WRITTEN, MAGIC, Mapped, Page, Progress, allocate,
    byte_lock, load, monotonic_ns, sleep,
};
use crate::files::{At, FileError};

/// The writer's side.
pub struct ControlWriter {
    mapped: Mapped,
    file: File,
}

/// A follower as the writer sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Its place.
    pub place: usize,
    /// Its process id.
    pub pid: u32,
    /// Where it serves clients, on this machine.
    pub port: u16,
    /// How far it has come in this log.
    pub position: Lsn,
}

impl ControlWriter {
    /// Maps the control page in `dir` and takes it over.
    ///
    /// The file is used as it is, in place: readers that mapped it under an earlier writer go on seeing the log grow.
    pub(crate) fn open(dir: &Path, partition: PartitionId) -> Result<Self, FileError> {
        let path = dir.join(CONTROL_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = file.at("open", &path)?;
        allocate(&file).at("allocate", &path)?;
        let mapped = Mapped(MmapOptions::new().len(CONTROL_LEN).map_raw(&file).at("map", &path)?);
        let writer = Self { mapped, file };
        let page = writer.mapped.page();
        if writer.mapped.check(&path, partition).is_err() {
            for counter in [&page.appended, &page.durable, &page.committed, &page.epoch, &page.committed_at] {
                counter.store(0, Ordering::Relaxed);
            }
            page.places.iter().for_each(|place| place.pid.store(0, Ordering::Relaxed));
            page.version.store(CONTROL_VERSION, Ordering::Relaxed);
            page.partition.store(u32::from(partition.get()), Ordering::Relaxed);
            page.magic.store(MAGIC, Ordering::Release);
        }
        page.writer_pid.store(std::process::id(), Ordering::Relaxed);
        page.life.store(LIFE_WRITTEN, Ordering::Release);
        // Also those who wait for a writer.
        page.waiting.store(0, Ordering::Relaxed);
        wake(page);
        Ok(writer)
    }

    /// Tells readers how far the log has grown. Call it when a flush has completed.
    ///
    /// Costs a few stores and a fence, and a system call only where a follower sleeps.
    ///
    /// # Panics
    /// If the watermarks are out of order: that is a bug.
    pub fn publish(&self, progress: &Progress) {
        assert!(progress.committed <= progress.durable && progress.durable <= progress.appended, "watermarks");
        let page = self.mapped.page();
        page.epoch.store(u64::from(progress.epoch.get()), Ordering::Relaxed);
        page.appended.store(progress.appended.get(), Ordering::Relaxed);
        page.durable.store(progress.durable.get(), Ordering::Relaxed);
        if page.committed.load(Ordering::Relaxed) == progress.committed.get() {
            return;
        }
        page.committed_at.store(monotonic_ns(), Ordering::Relaxed);
        if sleep::publish(&page.committed, &page.waiting, progress.committed.get()) {
            wake(page);
        }
    }

    /// Notes that the writer ends in order. Nothing is published afterwards.
    pub fn end_in_order(&self) {
        self.mapped.page().life.store(LIFE_ENDED, Ordering::Release);
    }

    /// The followers that live. Makes a system call for each that has ever been there.
    #[must_use]
    pub fn attached(&self) -> Vec<Attached> {
        let places = self.mapped.page().places.iter().enumerate();
        let known = places.filter_map(|(number, place)| {
            let pid = place.pid.load(Ordering::Acquire);
            let position = Lsn::new(place.position.load(Ordering::Relaxed));
            let port = u16::try_from(place.port.load(Ordering::Relaxed)).unwrap_or(0);
            (pid != 0).then_some(Attached { place: number, pid, port, position })
        });
        known.filter(|attached| self.is_held(attached.place)).collect()
    }

    /// Whether a process holds the lock on a place.
    fn is_held(&self, place: usize) -> bool {
        let mut lock = byte_lock(libc::F_WRLCK, place);
        // SAFETY: the descriptor is open, and the pointer is to a `flock` that lives through the call.
        let asked = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        asked == 0 && i32::from(lock.l_type) != libc::F_UNLCK
    }
}

/// Counts up and wakes everybody who sleeps on the old count.
fn wake(page: &Page) {
    sleep::count_up(&page.sequence);
    // Not private: the sleepers are other processes. It fails on addresses that are none.
    let _woken = futex::wake(&page.sequence, futex::Flags::empty(), u32::MAX >> 1);
}

impl std::fmt::Debug for ControlWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlWriter").field(&load(self.mapped.page())).finish()
    }
}
