//! Processor time and memory of the server, and how busy our own threads are, from `/proc`.

use std::fs;

use crate::error::Error;

/// Processor time that all threads of a process have taken so far, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, Error> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).map_err(|source| Error::Process { pid, source })?;
    // The name, in parentheses, may hold anything; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    Ok((ticks(11) + ticks(12)) / rustix::param::clock_ticks_per_second() as f64)
}

/// Resident memory in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64, Error> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).map_err(|source| Error::Process { pid, source })?;
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0);
    Ok(pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(4096)))
}

/// What the calling thread has had of its core, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct ThreadTime {
    pub(crate) running: u64,
    /// Ready to run, while something else had the core.
    pub(crate) waiting: u64,
}

impl ThreadTime {
    /// Zero where the kernel does not say.
    pub(crate) fn now() -> Self {
        let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let mut fields = text.split_whitespace().map(|field| field.parse().unwrap_or(0));
        Self { running: fields.next().unwrap_or(0), waiting: fields.next().unwrap_or(0) }
    }

    pub(crate) const fn since(self, earlier: Self) -> Self {
        Self {
            running: self.running.saturating_sub(earlier.running),
            waiting: self.waiting.saturating_sub(earlier.waiting),
        }
    }
}
