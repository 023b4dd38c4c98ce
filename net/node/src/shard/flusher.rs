//! The thread that runs the flushes of one core.
//!
//! Not the ring's workers, although the ring could flush as well: they have the priority of the core, and on a core
//! that is busy each of a flush's waits for the disk is followed by a wait for the processor that is longer (see
//! [`become_flush_thread`]). Flushes go in and results come out through a ring each; one flush of each partition is
//! under way at a time, so neither can be full.

use std::fs::File;
use std::io;
use std::thread::JoinHandle;

use rtrb::{Consumer, Producer, RingBuffer};
use windrow_core::types::limits::PARTITIONS_MAX;
use windrow_store::{FlushFailed, SegmentView, become_flush_thread};

/// More than the partitions that one core can host.
const UNDER_WAY_MAX: usize = PARTITIONS_MAX as usize;

/// Something that can be flushed.
pub(crate) trait Flush: Send + 'static {
    /// Brings its data to the disk. Blocks.
    fn flush(&self) -> Result<(), FlushFailed>;
}

impl Flush for SegmentView {
    fn flush(&self) -> Result<(), FlushFailed> {
        Ok(self.sync_data()?)
    }
}

impl Flush for File {
    fn flush(&self) -> Result<(), FlushFailed> {
        self.sync_data().map_err(|source| FlushFailed { path: std::path::PathBuf::new(), source })
    }
}

/// A flush that is done, or has failed, which is fatal.
#[derive(Debug)]
pub(crate) struct Flushed<F> {
    /// The number given to [`Flusher::submit`].
    pub(crate) ticket: u64,
    /// What it worked on.
    pub(crate) files: Vec<F>,
    /// The first error of any of them.
    pub(crate) result: Result<(), FlushFailed>,
}

/// The thread. Dropping this waits until it has done what was submitted.
pub(crate) struct Flusher<F> {
    orders: Option<Producer<(u64, Vec<F>)>>,
    done: Consumer<Flushed<F>>,
    thread: Option<JoinHandle<()>>,
}

impl<F: Flush> Flusher<F> {
    /// Starts the thread, on one of these `cores` if there are any. It calls `wake` after each flush.
    pub(crate) fn start(name: &str, cores: Vec<usize>, wake: impl Fn() + Send + 'static) -> io::Result<Self> {
        let (orders, incoming) = RingBuffer::new(UNDER_WAY_MAX);
        let (outgoing, done) = RingBuffer::new(UNDER_WAY_MAX);
        let run = move || {
            if let Err(error) = become_flush_thread(&cores) {
                tracing::debug!(%error, "flushes run at the priority of ordinary threads");
            }
            run(incoming, outgoing, &wake);
        };
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { orders: Some(orders), done, thread: Some(thread) })
    }

    /// Flushes all of `files`, and reports it under `ticket`. Never blocks.
    pub(crate) fn submit(&mut self, ticket: u64, files: Vec<F>) {
        let orders = self.orders.as_mut().expect("taken only when dropped");
        assert!(orders.push((ticket, files)).is_ok(), "one flush of each partition at a time");
        if let Some(thread) = &self.thread {
            thread.thread().unpark();
        }
    }

    /// The next flush that is done.
    pub(crate) fn poll(&mut self) -> Option<Flushed<F>> {
        self.done.pop().ok()
    }
}

fn run<F: Flush>(mut orders: Consumer<(u64, Vec<F>)>, mut done: Producer<Flushed<F>>, wake: &impl Fn()) {
    loop {
        // Asked before the look into the ring: what was put in before the other end went is still done.
        let ended = orders.is_abandoned();
        match orders.pop() {
            Ok((ticket, files)) => {
                let result = files.iter().try_for_each(Flush::flush);
                assert!(done.push(Flushed { ticket, files, result }).is_ok(), "as many as were submitted");
                wake();
            }
            Err(_) if ended => return,
            Err(_) => std::thread::park(),
        }
    }
}

impl<F> Drop for Flusher<F> {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic there has been reported by itself.
            let _panicked = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    struct Probe {
        fails: bool,
        flushed: Arc<AtomicBool>,
    }

    impl Flush for Probe {
        fn flush(&self) -> Result<(), FlushFailed> {
            self.flushed.store(true, Ordering::SeqCst);
            let source = io::Error::from_raw_os_error(5);
            if self.fails { Err(FlushFailed { path: "probe".into(), source }) } else { Ok(()) }
        }
    }

    #[test]
    fn flushes_are_reported_in_order_with_the_first_error() {
        let (woken, wakes) = channel();
        let mut flusher = Flusher::start("test-flush", Vec::new(), move || woken.send(()).unwrap()).unwrap();
        let flushed: Vec<_> = (0..4).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let probe = |at: usize, fails| Probe { fails, flushed: Arc::clone(&flushed[at]) };
        flusher.submit(7, vec![probe(0, false)]);
        flusher.submit(8, vec![probe(1, false), probe(2, true), probe(3, false)]);
        wakes.recv().unwrap();
        wakes.recv().unwrap();
        let first = flusher.poll().unwrap();
        assert!(first.ticket == 7 && first.result.is_ok() && first.files.len() == 1);
        let second = flusher.poll().unwrap();
        assert!(second.ticket == 8 && second.result.is_err());
        assert!(flusher.poll().is_none());
        let done: Vec<_> = flushed.iter().map(|flag| flag.load(Ordering::SeqCst)).collect();
        assert_eq!(done, [true, true, true, false], "nothing is flushed after a failure");
    }

    #[test]
    fn what_was_submitted_is_done_before_the_thread_ends() {
        let flushed = Arc::new(AtomicBool::new(false));
        let mut flusher = Flusher::start("test-flush", Vec::new(), || {}).unwrap();
        flusher.submit(1, vec![Probe { fails: false, flushed: Arc::clone(&flushed) }]);
        drop(flusher);
        assert!(flushed.load(Ordering::SeqCst));
    }
}
