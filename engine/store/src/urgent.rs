//! The scheduling of threads that flush.

use std::io;

/// Makes the calling thread one that only flushes: it may run wherever the process's main thread may, and where the
/// system permits it (`CAP_SYS_NICE`, or an `RLIMIT_RTPRIO` of at least 1) it goes before ordinary threads.
///
/// A flush is a few microseconds of work between waits for the disk. Next to a busy shard an ordinary thread waits
/// for the processor after each of these waits until the shard sleeps or a tick is over: measured with a shard and its
/// flushes on one core, 200 to 300 µs each time, which is longer than the disk takes.
///
/// # Errors
/// What the system said to the priority. The thread then flushes as an ordinary one.
pub fn become_flush_thread() -> io::Result<()> {
    leave_the_core();
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure outlives the call, which only reads it; 0 names the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
}

/// Lets this thread run wherever the process's main thread may. Failing only costs speed.
pub(crate) fn leave_the_core() {
    let main = rustix::process::getpid();
    if let Ok(cores) = rustix::thread::sched_getaffinity(Some(main)) {
        let _refused = rustix::thread::sched_setaffinity(None, &cores);
    }
}
