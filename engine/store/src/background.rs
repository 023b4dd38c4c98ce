//! The helper threads that do what takes long: making segments and writing superblocks.
//!
//! One pair of threads for all partitions of a process: one writes superblocks, the other does everything else, because
//! what waits for a superblock, such as a vote, must not wait for the filling of a whole segment first. Whoever owns
//! partitions has a [`BackgroundClient`]: jobs go in, results come back through the client's own queue, and a callback
//! wakes the owner. Each thread does its jobs in the order given. Nothing relies on an order between the two: whoever
//! wants one waits for the result of the first.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use windrow_core::partition::{Partition, ReplicaAction};
use windrow_core::superblock::Superblock;
use windrow_core::types::{Lsn, PartitionId};

use crate::files::FileError;
use crate::fill::FillMode;
use crate::partition_dir::PartitionDir;
use crate::segment::{MappedSegment, PrepareError, SegmentView, TailMemory};
use crate::urgent::{move_to, write_before_others};

/// Something to be done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Job {
    /// Make a segment.
    Prepare {
        /// Where.
        dir: Arc<PartitionDir>,
        /// The position of its first byte in the log.
        base: Lsn,
        /// Its size in bytes.
        len: u64,
        /// How to fill it.
        fill: FillMode,
    },
    /// Make a segment in memory that is used again.
    PrepareInTail {
        /// Where.
        dir: Arc<PartitionDir>,
        /// The position of its first byte in the log.
        base: Lsn,
        /// The memory.
        memory: TailMemory,
        /// The oldest segment in there is to be read into the page cache before it gives up its memory.
        keep: bool,
    },
    /// Write a superblock.
    WriteSuperblock {
        /// Where.
        dir: Arc<PartitionDir>,
        /// What.
        superblock: Superblock,
    },
    /// Copy a part of a segment that is being cut.
    PutAside {
        /// Where.
        dir: Arc<PartitionDir>,
        /// Names the cut.
        label: u64,
        /// The position of the first byte.
        from: Lsn,
        /// The segment.
        segment: SegmentView,
        /// Which part of it.
        range: Range<usize>,
    },
    /// Move segments aside.
    MoveAside {
        /// Where.
        dir: Arc<PartitionDir>,
        /// Names the cut.
        label: u64,
        /// Which.
        bases: Vec<Lsn>,
    },
    /// Remove segments that hold nothing.
    Remove {
        /// Where.
        dir: Arc<PartitionDir>,
        /// Which.
        bases: Vec<Lsn>,
    },
    /// Read segments into memory.
    Warm {
        /// The partition that they are of.
        partition: PartitionId,
        /// Which, in this order.
        segments: Vec<SegmentView>,
    },
}

impl Job {
    /// The job that a replica asks for; `None` where it asks for none, but has something to tell.
    #[must_use]
    pub fn for_replica(
        partition: &Partition<MappedSegment>,
        dir: &Arc<PartitionDir>,
        action: &ReplicaAction,
    ) -> Option<Self> {
        let dir = Arc::clone(dir);
        match action {
            ReplicaAction::PutAside { from, upto, label } => {
                let part = partition.bytes(*from, *upto).ok()?.next()?;
                Some(Self::PutAside {
                    dir,
                    label: *label,
                    from: *from,
                    segment: part.memory.share(),
                    range: part.range,
                })
            }
            ReplicaAction::MoveAside { bases, label } => {
                Some(Self::MoveAside { dir, label: *label, bases: bases.clone() })
            }
            ReplicaAction::Remove { bases } => Some(Self::Remove { dir, bases: bases.clone() }),
            ReplicaAction::PromiseWritten { .. } | ReplicaAction::CutDone { .. } | ReplicaAction::ResetDone { .. } => {
                None
            }
        }
    }
}

/// What came of a job.
#[derive(Debug)]
#[non_exhaustive]
pub enum Done {
    /// A segment is ready.
    Prepared {
        /// The partition that asked for it.
        partition: PartitionId,
        /// The position of its first byte in the log.
        base: Lsn,
        /// The segment.
        segment: MappedSegment,
    },
    /// A segment could not be made.
    PrepareFailed {
        /// The partition that asked for it.
        partition: PartitionId,
        /// The position of its first byte in the log.
        base: Lsn,
        /// Why.
        error: PrepareError,
    },
    /// A superblock is durable.
    SuperblockWritten {
        /// The partition that it is of.
        partition: PartitionId,
        /// Its generation.
        generation: u64,
    },
    /// A part of a segment has been copied aside, or could not be: tell
    /// [`Partition::handle_put_aside`](windrow_core::partition::Partition::handle_put_aside).
    PutAside {
        /// The partition that it is of.
        partition: PartitionId,
        /// Why not.
        result: Result<(), FileError>,
        /// Bytes of all that is kept aside now.
        aside_bytes: u64,
    },
    /// Segments have been moved aside.
    MovedAside {
        /// The partition that they were of.
        partition: PartitionId,
        /// Bytes of all that is kept aside now.
        aside_bytes: u64,
    },
    /// Segments have been removed.
    Removed {
        /// The partition that they were of.
        partition: PartitionId,
    },
    /// Segments have been read into memory, as far as there was room.
    Warmed {
        /// The partition that they are of.
        partition: PartitionId,
    },
    /// Segments could not be moved aside or removed. As fatal as a failed flush: see
    /// [`fatal_flush`](crate::fatal_flush).
    ClearingFailed {
        /// The partition that they are of.
        partition: PartitionId,
        /// Why.
        error: FileError,
    },
    /// A superblock could not be written. As fatal as a failed flush: see [`fatal_flush`](crate::fatal_flush).
    SuperblockFailed {
        /// The partition that it is of.
        partition: PartitionId,
        /// Why.
        error: FileError,
    },
}

type Wake = dyn Fn() + Send + Sync;

struct Order {
    job: Job,
    results: Sender<Done>,
    wake: Arc<Wake>,
}

/// Where orders go in, one queue for each helper thread.
#[derive(Clone, Debug)]
struct Queues {
    superblocks: Sender<Order>,
    others: Sender<Order>,
}

/// The helper threads. They end when this and all clients are gone; dropping this waits for that.
#[derive(Debug)]
pub struct Background {
    queues: Option<Queues>,
    threads: Vec<JoinHandle<()>>,
}

/// Who flushes the logs whose segments the helper threads make. They write with the same priority, because each may have to
/// wait for what the other writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FlushedBy {
    /// Threads that [`become_flush_thread`](crate::become_flush_thread).
    FlushThreads,
    /// Ordinary threads.
    Callers,
}

impl Background {
    /// Starts the threads.
    ///
    /// They may run on these `cores`, or if there are none on every core that the process's main thread may run on,
    /// whichever core the caller is pinned to: a busy shard must not starve the making of its next segment, nor be
    /// interrupted by it where there are cores without shards.
    ///
    /// # Errors
    /// If the system refuses another thread.
    pub fn start(cores: &[usize], flushed_by: FlushedBy) -> std::io::Result<Self> {
        let (superblocks, of_superblocks) = channel();
        let (others, of_others) = channel();
        let mut background = Self { queues: Some(Queues { superblocks, others }), threads: Vec::new() };
        for (name, queue) in [("windrow-superblock", of_superblocks), ("windrow-background", of_others)] {
            let cores = cores.to_vec();
            let run = move || {
                move_to(&cores);
                if flushed_by == FlushedBy::FlushThreads {
                    write_before_others();
                }
                work(&queue);
            };
            background.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(run)?);
        }
        Ok(background)
    }

    /// A queue of jobs and results. `wake` is called from a helper thread after each result.
    ///
    /// # Panics
    /// Never: the threads run as long as this lives.
    pub fn client(&self, wake: impl Fn() + Send + Sync + 'static) -> BackgroundClient {
        let queues = self.queues.clone().unwrap_or_else(|| unreachable!("taken only when dropped"));
        let (results, done) = channel();
        BackgroundClient { queues, results, done, wake: Arc::new(wake) }
    }
}

/// What a helper thread does until everybody who could order something is gone.
fn work(queue: &Receiver<Order>) {
    while let Ok(Order { job, results, wake }) = queue.recv() {
        // An owner that is gone does not want the result; a segment made for it is found at the next opening.
        let _gone = results.send(perform(job));
        wake();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.queues = None;
        for thread in self.threads.drain(..) {
            // It panics nowhere; and if it did, the panic has been reported by itself.
            let _panicked = thread.join();
        }
    }
}

/// One owner's side of the helper threads. Drop it before the [`Background`].
pub struct BackgroundClient {
    queues: Queues,
    results: Sender<Done>,
    done: Receiver<Done>,
    wake: Arc<Wake>,
}

impl BackgroundClient {
    /// Gives a helper thread a job; never blocks. Each partition has at most one job of each kind under way at a
    /// time, because the core asks for no more, so the queues are bounded by the partitions.
    pub fn submit(&self, job: Job) {
        let queue = match &job {
            Job::WriteSuperblock { .. } => &self.queues.superblocks,
            _ => &self.queues.others,
        };
        let order = Order { job, results: self.results.clone(), wake: Arc::clone(&self.wake) };
        // The threads run until every sender is gone, and this is one.
        let sent = queue.send(order);
        assert!(sent.is_ok(), "a helper thread ended early");
    }

    /// The next result, if there is one; never blocks.
    #[must_use]
    pub fn poll(&self) -> Option<Done> {
        self.done.try_recv().ok()
    }

    /// Waits for the next result. Only for a thread that may block, and only while a job is under way.
    #[must_use]
    pub fn wait(&self) -> Option<Done> {
        self.done.recv().ok()
    }
}

impl fmt::Debug for BackgroundClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BackgroundClient").finish_non_exhaustive()
    }
}

/// Does one job, now, on this thread.
pub(crate) fn perform(job: Job) -> Done {
    match job {
        Job::Prepare { dir, base, len, fill } => {
            let partition = dir.partition();
            prepared(partition, base, dir.prepare(base, len, fill))
        }
        Job::PrepareInTail { dir, base, memory, keep } => {
            prepared(dir.partition(), base, dir.prepare_in_tail(base, &memory, keep))
        }
        Job::WriteSuperblock { dir, superblock } => {
            let partition = dir.partition();
            match dir.write_superblock(&superblock) {
                Ok(()) => Done::SuperblockWritten { partition, generation: superblock.generation },
                Err(error) => Done::SuperblockFailed { partition, error },
            }
        }
        Job::PutAside { dir, label, from, segment, range } => {
            let result = dir.put_aside(label, from, &segment, range);
            Done::PutAside { partition: dir.partition(), result, aside_bytes: dir.aside_bytes() }
        }
        Job::MoveAside { dir, label, bases } => {
            let partition = dir.partition();
            match dir.move_aside(label, &bases) {
                Ok(()) => Done::MovedAside { partition, aside_bytes: dir.aside_bytes() },
                Err(error) => Done::ClearingFailed { partition, error },
            }
        }
        Job::Remove { dir, bases } => {
            let partition = dir.partition();
            match dir.remove_segments(&bases) {
                Ok(()) => Done::Removed { partition },
                Err(error) => Done::ClearingFailed { partition, error },
            }
        }
        Job::Warm { partition, segments } => {
            segments.iter().for_each(SegmentView::warm);
            Done::Warmed { partition }
        }
    }
}

fn prepared(partition: PartitionId, base: Lsn, made: Result<MappedSegment, PrepareError>) -> Done {
    match made {
        Ok(segment) => Done::Prepared { partition, base, segment },
        Err(error) => Done::PrepareFailed { partition, base, error },
    }
}

#[cfg(test)]
mod tests;
