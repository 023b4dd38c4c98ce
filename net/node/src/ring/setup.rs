//! Making the ring and telling it whom to wake.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use io_uring::IoUring;
use rustix::thread::{CpuSet as RustixCpuSet, sched_getaffinity};

use super::error::SetupError;

/// Places in the submission queue; what doesn't fit waits its turn.
pub(super) const ENTRIES: u32 = 1_024;
/// Places in the completion queue; what doesn't fit is kept by the kernel.
const COMPLETIONS: u32 = 8_192;
/// How often, and for how long, a closing ring asks for its operations to end.
pub(super) const DRAIN_ROUNDS: usize = 20;
/// See [`DRAIN_ROUNDS`].
pub(super) const DRAIN_ROUND: Duration = Duration::from_millis(100);
/// How often a ring is asked for that the kernel has no memory for.
const TRIES: usize = 20;
/// The time between two tries.
const AGAIN: Duration = Duration::from_millis(20);

/// A set of cpus.
#[derive(Clone)]
pub struct CpuSet(RustixCpuSet);

impl CpuSet {
    /// The cpus that the calling thread may run on. Ask before pinning anything.
    ///
    /// # Errors
    /// The kernel has more cpus than a fixed-size set can hold (1 024).
    pub fn of_this_thread() -> io::Result<Self> {
        Ok(Self(sched_getaffinity(None)?))
    }

    /// The numbers of the cpus.
    pub fn numbers(&self) -> impl Iterator<Item = usize> + '_ {
        (0..RustixCpuSet::MAX_CPU).filter(|&cpu| self.0.is_set(cpu))
    }

    /// The numbers of those that are not among `others`.
    pub fn without(&self, others: &[usize]) -> Vec<usize> {
        self.numbers().filter(|cpu| !others.contains(cpu)).collect()
    }

    fn to_libc(&self) -> libc::cpu_set_t {
        // SAFETY: a cpu_set_t is an array of integers, for which zero is a value.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        for cpu in self.numbers() {
            // SAFETY: `numbers` stays below MAX_CPU, which is CPU_SETSIZE.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        set
    }
}

impl std::fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.numbers()).finish()
    }
}

/// A ring for the calling thread alone, which runs completions when it asks for them.
pub(super) fn build(entries: u32) -> Result<IoUring, SetupError> {
    let make = || {
        IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS.max(entries))
            .dontfork()
            .build(entries)
    };
    let io = patiently(make).map_err(SetupError::from_setup)?;
    if !io.params().is_feature_nodrop() {
        return Err(SetupError::KernelTooOld { release: super::error::release(), what: "IORING_FEAT_NODROP" });
    }
    Ok(io)
}

/// Calls `make` again where there is no memory: nearly all of it may be a cache that the kernel gives back in a moment,
/// and it does not wait for that itself.
fn patiently<T>(mut make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..TRIES {
        match make() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => thread::sleep(AGAIN),
            other => return other,
        }
    }
    make()
}

/// Registers what wakes the core, and where workers may run.
pub(super) fn register(io: &IoUring, eventfd: &OwnedFd, workers: &CpuSet) -> Result<(), SetupError> {
    io.submitter()
        .register_eventfd(eventfd.as_raw_fd())
        .map_err(|source| SetupError::from_register("an eventfd of the ring", source))?;
    io.submitter()
        .register_iowq_aff(&workers.to_libc())
        .map_err(|source| SetupError::from_register("the cpus of the ring's workers", source))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it is asked, and what comes of it, where the answers begin with so many errors of this kind.
    fn asked(errors: usize, errno: i32) -> (usize, Result<(), Option<i32>>) {
        let mut count = 0;
        let made = patiently(|| {
            count += 1;
            if count <= errors { Err(io::Error::from_raw_os_error(errno)) } else { Ok(()) }
        });
        (count, made.map_err(|error| error.raw_os_error()))
    }

    #[test]
    fn spare_cpus_are_those_that_nobody_is_pinned_to() {
        let mut set = RustixCpuSet::new();
        [0, 2, 3].into_iter().for_each(|cpu| set.set(cpu));
        let all = CpuSet(set);
        assert_eq!(all.without(&[0, 3, 9]), [2]);
        assert!(all.without(&[0, 2, 3]).is_empty());
    }

    #[test]
    fn memory_that_is_given_back_in_a_moment_is_waited_for() {
        assert_eq!(asked(2, libc::ENOMEM), (3, Ok(())));
        assert_eq!(asked(usize::MAX, libc::ENOMEM), (TRIES, Err(Some(libc::ENOMEM))));
        assert_eq!(asked(1, libc::EPERM), (1, Err(Some(libc::EPERM))), "time does not mend this");
    }
}
