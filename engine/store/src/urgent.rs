//! The scheduling of threads that somebody waits for.

use std::io;
use std::mem::size_of;

use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The shortest turn that Linux grants, in nanoseconds.
const SHORTEST_TURN: u64 = 100_000;

/// Makes the calling thread one that only flushes: it may run on these `cores`, or wherever the process's main thread
/// may if there are none, and where the system permits it (`CAP_SYS_NICE`, or an `RLIMIT_RTPRIO` of at least 1) it goes
/// before ordinary threads.
///
/// A thread of that priority stays on the core that it ran on last, whoever runs there. So where there are cores without
/// shards, name them.
///
/// A flush is a few microseconds of work between waits for the disk. Next to a busy shard an ordinary thread waits
/// for the processor after each of these waits until the shard sleeps or a tick is over: measured with a shard and its
/// flushes on one core, 200 to 300 µs each time, which is longer than the disk takes.
///
/// # Errors
/// What the system said to the priority. The thread then flushes as an ordinary one, with [short turns](take_short_turns).
pub fn become_flush_thread(cores: &[usize]) -> io::Result<()> {
    move_to(cores);
    write_before_others();
    let lowest = libc::sched_param { sched_priority: 1 };
    // SAFETY: the structure outlives the call, which only reads it; 0 names the calling thread.
    if unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const lowest) } == 0 {
        return Ok(());
    }
    let refused = io::Error::last_os_error();
    // Needs no permission. Where the kernel has none, the flushes are as they were.
    let _older_kernel = take_short_turns();
    Err(refused)
}

/// Lets what the calling thread reads and writes go before what other processes do, where the system permits it
/// (`CAP_SYS_NICE`), and makes it ordinary where it does not.
///
/// All threads that write to the log's files have to call this, or none: `mq-deadline` holds back whatever else is written
/// for as long as a write of this priority is under way, and looks again only 3 ms later, and writes wait for each other
/// where they change the same block, of inodes say. Unless told otherwise, Linux gives a thread of real-time priority, and
/// so those that flush, such a priority for their writes as well, and nobody else. Measured: two or three flushes of 5
/// to 12 ms for each segment that is made meanwhile.
pub(crate) fn write_before_others() {
    const REAL_TIME: libc::c_int = 1;
    const BEST_EFFORT: libc::c_int = 2;
    // Fails also where a filter of system calls refuses it; what is written is then as it would be without.
    let _refused = write_as(REAL_TIME).or_else(|_refused| write_as(BEST_EFFORT));
}

/// Whose priority is meant: that of one thread.
const WHO_PROCESS: libc::c_int = 1;

/// Gives what the calling thread reads and writes the middle priority of a class.
fn write_as(class: libc::c_int) -> io::Result<()> {
    const MIDDLE_LEVEL: libc::c_int = 4;
    // SAFETY: the call takes three numbers and no memory; 0 names the calling thread, the only one that it changes.
    if unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_PROCESS, 0, class << 13 | MIDDLE_LEVEL) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets the calling thread run in turns of 0.1 ms, and so before threads with longer turns when it wakes up.
///
/// Linux lets a thread that runs finish its turn, 2.8 ms, and looks for its end only at a tick, before it gives the
/// processor to one that has woken up, unless that one asks for shorter turns. Measured with one
/// client beside a thread that computes without a break: 2.8 times the GETs a second, since none waits for a tick any
/// more. The thread's share of the processor stays the same. Linux 6.12 and later know this; it needs no permission. A thread with a policy of its own,
/// such as real-time priority given by `chrt`, is left alone.
///
/// # Errors
/// What the system said. The thread then runs as before.
pub fn take_short_turns() -> io::Result<()> {
    let mut attributes = scheduling()?;
    if !matches!(libc::c_int::try_from(attributes.sched_policy), Ok(libc::SCHED_OTHER | libc::SCHED_BATCH)) {
        return Ok(());
    }
    attributes.sched_runtime = SHORTEST_TURN;
    // SAFETY: the structure, whose `size` the kernel has filled in, outlives the call, which only reads it.
    if unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// How the calling thread is scheduled.
fn scheduling() -> io::Result<libc::sched_attr> {
    // SAFETY: all fields are plain numbers, for which zeros are a value.
    let mut attributes: libc::sched_attr = unsafe { std::mem::zeroed() };
    let len = size_of::<libc::sched_attr>();
    // SAFETY: the structure is writable for `len` bytes and outlives the call; 0 names the calling thread.
    if unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, len, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(attributes)
}

/// Lets this thread run on these `cores`, or wherever the process's main thread may if there are none. Failing only costs
/// speed.
pub(crate) fn move_to(cores: &[usize]) {
    let mut set = CpuSet::new();
    cores.iter().filter(|&&core| core < CpuSet::MAX_CPU).for_each(|&core| set.set(core));
    let wanted = if set.count() == 0 { sched_getaffinity(Some(getpid())) } else { Ok(set) };
    if let Ok(wanted) = wanted {
        let _refused = sched_setaffinity(None, &wanted);
    }
}

/// The priority of what the calling thread writes.
#[cfg(test)]
pub(crate) fn writes_with() -> libc::c_long {
    // SAFETY: the call takes two numbers and no memory; 0 names the calling thread.
    unsafe { libc::syscall(libc::SYS_ioprio_get, WHO_PROCESS, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_short_and_nothing_else_changes() {
        std::thread::spawn(|| {
            let before = scheduling().unwrap();
            take_short_turns().unwrap();
            let after = scheduling().unwrap();
            // Before Linux 6.12 there are no turns to ask for.
            assert!([SHORTEST_TURN, 0].contains(&after.sched_runtime), "{}", after.sched_runtime);
            let rest = |found: &libc::sched_attr| (found.sched_policy, found.sched_nice, found.sched_flags);
            assert_eq!(rest(&after), rest(&before));
        })
        .join()
        .unwrap();
    }
}
