//! What the kernel says about this process.

use std::time::Duration;

/// The unit of times in `/proc`: `USER_HZ`, 100 on every architecture that Linux has had since 2.6.
const TICKS_PER_SECOND: u64 = 100;

/// Memory of this process and of the machine, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Memory {
    /// Resident, the mapped part of the log included.
    pub resident: u64,
    /// Resident and not backed by a file: buffers, indexes, stacks, and what the newest part of a log is kept in before it is
    /// on disk only. The rest of the log is not in it.
    pub anonymous: u64,
    /// The most that was ever resident.
    pub resident_peak: u64,
    /// Memory of the machine.
    pub machine: u64,
}

/// Reads the memory figures from `/proc`; zeros where they cannot be read. Takes some ten microseconds.
#[must_use]
pub fn memory() -> Memory {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    Memory {
        resident: kib_field(&status, "VmRSS:"),
        anonymous: kib_field(&status, "RssAnon:") + kib_field(&status, "RssShmem:"),
        resident_peak: kib_field(&status, "VmHWM:"),
        machine: kib_field(&machine, "MemTotal:"),
    }
}

/// Bytes of memory that this process can use now without anybody swapping, the page cache included: what the machine
/// has available, or less where its control group allows less. Zero where the kernel does not say.
#[must_use]
pub fn available_memory() -> u64 {
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    // The root of the namespace, which is what a container sees; `max` where there is no limit.
    let group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    kib_field(&machine, "MemAvailable:").min(group.trim().parse().unwrap_or(u64::MAX))
}

fn kib_field(text: &str, name: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    value
        .and_then(|value| value.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib.saturating_mul(1024))
}

/// CPU time of the calling thread: user and system. Zero where the kernel does not say.
#[must_use]
pub fn thread_cpu_time() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap_or_default();
    cpu_fields(&stat, TICKS_PER_SECOND).unwrap_or_default()
}

/// CPU time of the whole process: user and system.
#[must_use]
pub fn process_cpu_time() -> (Duration, Duration) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    cpu_fields(&stat, TICKS_PER_SECOND).unwrap_or_default()
}

/// The 14th and 15th field, counted from after the parenthesised name, which may hold blanks.
fn cpu_fields(stat: &str, ticks_per_second: u64) -> Option<(Duration, Duration)> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(11).map(str::parse::<u64>);
    let time = |ticks: u64| Duration::from_millis(ticks.saturating_mul(1_000) / ticks_per_second);
    Some((time(fields.next()?.ok()?), time(fields.next()?.ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_and_absent_ones_are_zero() {
        let status = "Name:\twindrow\nVmRSS:\t     204 kB\nRssAnon:\t  4 kB\n";
        assert_eq!(kib_field(status, "VmRSS:"), 204 * 1024);
        assert_eq!(kib_field(status, "VmHWM:"), 0);
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 125 0 0 20";
        let expected = (Duration::from_millis(2_500), Duration::from_millis(1_250));
        assert_eq!(cpu_fields(stat, 100), Some(expected));
        assert_eq!(cpu_fields("nonsense", 100), None);
    }

    #[test]
    fn this_process_has_memory() {
        let memory = memory();
        assert!(memory.resident > 0 && memory.machine > memory.resident, "{memory:?}");
    }
}
