//! A follower's side of the control page.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use memmap2::MmapOptions;
use rustix::io::Errno;
use rustix::thread::futex;
use windrow_core::types::{Lsn, PartitionId};

use super::{
    CONTROL_FILE, CONTROL_LEN, ControlError, FOLLOWERS_MAX, LIFE_WRITTEN, Mapped, Progress, byte_lock, load,
    monotonic_ns, sleep,
};
use crate::files::{At, FileError};

/// A follower's side. It stores in the page that it sleeps, and in its own place how far it has come.
pub struct ControlFollower {
    pub(super) mapped: Arc<Mapped>,
    path: PathBuf,
    partition: PartitionId,
}

/// A place among the followers, held as long as this lives.
#[derive(Debug)]
pub struct PlaceLock {
    place: usize,
    /// The lock belongs to this description of the file and goes with it.
    _file: File,
}

impl PlaceLock {
    /// Which one.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place
    }
}

/// The word that a follower sleeps on. Keeps the page mapped.
#[derive(Clone)]
pub struct FutexWord(Arc<Mapped>);

impl FutexWord {
    /// Where it is, for the kernel.
    #[must_use]
    pub fn as_ptr(&self) -> *const u32 {
        self.0.page().sequence.as_ptr()
    }
}

impl std::fmt::Debug for FutexWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FutexWord").field(&self.as_ptr()).finish()
    }
}

impl ControlFollower {
    /// Maps the control page in `dir`, which a writer has made.
    ///
    /// # Errors
    /// [`ControlError`] where there is none, or one that this build cannot use; otherwise what the system says.
    pub fn open(dir: &Path, partition: PartitionId) -> Result<Self, ControlError> {
        let path = dir.join(CONTROL_FILE);
        let file = writable(&path)?;
        let len = file.metadata().at("look at", &path)?.len();
        if len < CONTROL_LEN as u64 {
            return Err(ControlError::Foreign { path, partition });
        }
        let mapped = Mapped(MmapOptions::new().len(CONTROL_LEN).map_raw(&file).at("map", &path)?);
        mapped.check(&path, partition)?;
        Ok(Self { mapped: Arc::new(mapped), path, partition })
    }

    /// Takes a free place among the followers; `None` where all are taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn take_place(&self) -> Result<Option<PlaceLock>, FileError> {
        let file = writable(&self.path)?;
        for place in 0..FOLLOWERS_MAX {
            let mut lock = byte_lock(libc::F_WRLCK, place);
            // SAFETY: the descriptor is open, and the pointer is to a `flock` that lives through the call.
            if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut lock) } == 0 {
                return Ok(Some(PlaceLock { place, _file: file }));
            }
            let error = io::Error::last_os_error();
            if !matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) {
                return Err(error).at("lock a place in", &self.path);
            }
        }
        Ok(None)
    }

    /// Tells the writer who has a place, and where it serves clients. The caller holds the place.
    pub fn attach(&self, place: usize, port: u16, position: Lsn) {
        let entry = &self.mapped.page().places[place];
        entry.port.store(port.into(), Ordering::Relaxed);
        self.report(place, position);
        entry.pid.store(std::process::id(), Ordering::Release);
    }

    /// Tells the writer how far this follower has come. The caller holds the place.
    pub fn report(&self, place: usize, position: Lsn) {
        self.mapped.page().places[place].position.store(position.get(), Ordering::Relaxed);
    }

    /// Whether the page is still what it was.
    ///
    /// # Errors
    /// [`ControlError`] if it is not.
    pub fn check(&self) -> Result<(), ControlError> {
        self.mapped.check(&self.path, self.partition)
    }

    /// Everything below may be read.
    #[inline]
    #[must_use]
    pub fn committed(&self) -> Lsn {
        Lsn::new(self.mapped.page().committed.load(Ordering::Acquire))
    }

    /// How far the log has grown.
    #[must_use]
    pub fn progress(&self) -> Progress {
        load(self.mapped.page())
    }

    /// The moment of the newest commit, to be asked for before [`committed`](Self::committed): it is then never later
    /// than that of the watermark seen.
    #[must_use]
    pub fn newest_commit(&self) -> Moment {
        Moment(self.mapped.page().committed_at.load(Ordering::Acquire))
    }

    /// The process id of the writer that took the page over last.
    #[must_use]
    pub fn writer_pid(&self) -> u32 {
        self.mapped.page().writer_pid.load(Ordering::Relaxed)
    }

    /// Whether the last writer did not end in order, or has not ended.
    #[must_use]
    pub fn is_written(&self) -> bool {
        self.mapped.page().life.load(Ordering::Acquire) == LIFE_WRITTEN
    }

    /// The follower has come to `end` and wants to sleep. Returns the value of the futex that it may sleep on, or
    /// `None` where more has been committed.
    #[must_use]
    pub fn prepare_sleep(&self, end: Lsn) -> Option<u32> {
        let page = self.mapped.page();
        sleep::prepare(&page.committed, &page.waiting, &page.sequence, end.get())
    }

    /// What to sleep on.
    #[must_use]
    pub fn futex(&self) -> FutexWord {
        FutexWord(Arc::clone(&self.mapped))
    }

    /// Sleeps until a writer has taken the page, if the last one ended in order.
    pub fn wait_for_writer(&self) {
        let page = self.mapped.page();
        loop {
            let sequence = page.sequence.load(Ordering::Acquire);
            if self.is_written() {
                return;
            }
            // A writer stores its life before it counts up, so the value is old only where that is seen.
            match futex::wait(&page.sequence, futex::Flags::empty(), sequence, None) {
                Ok(()) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// A moment of the monotonic clock, which all processes of a machine share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Moment(u64);

impl Moment {
    /// The time since then.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.0))
    }
}

fn writable(path: &Path) -> Result<File, FileError> {
    OpenOptions::new().read(true).write(true).open(path).at("open", path)
}

impl std::fmt::Debug for ControlFollower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ControlFollower").field(&self.progress()).finish()
    }
}
