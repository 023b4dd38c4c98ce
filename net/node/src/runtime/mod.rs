//! Executors pinned to cores. Nothing outside this module knows which runtime it is.
//!
//! One core is one thread with one executor, which runs the shard's main future and, at a tenth of its shares,
//! background tasks. Nothing here is shared between cores. A panic on a core ends the process (see
//! `panic = "abort"` of the release profile); in other builds it comes back from [`CoreThread::join`].

mod cores;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use glommio::io::BufferedFile;
use glommio::{ExecutorJoinHandle, Latency, LocalExecutorBuilder, Placement, Shares, TaskQueueHandle};
use thiserror::Error;

use crate::ring::descriptor::adopt;

pub use cores::{CoreChoice, CoreChoiceError, available};

/// Memory for file I/O of one executor. Sockets and flushes do not go through it.
const IO_MEMORY_LEN: usize = 1 << 20;
/// Places in the executor's own rings.
const RING_DEPTH: usize = 64;
/// Of a thousand, what background tasks get while the shard has work.
const BACKGROUND_SHARES: usize = 100;

/// Why a core's executor could not start, or how it ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CoreError {
    /// It could not be started.
    #[error(
        "cannot start the executor of cpu {cpu}: {reason}. Remedy: check that this cpu is online and allowed \
         (`taskset -p PID`), and raise the locked-memory limit (`ulimit -l`)"
    )]
    Start {
        /// The cpu it was to be pinned to.
        cpu: usize,
        /// What the runtime said.
        reason: String,
    },
    /// Its thread panicked.
    #[error("the executor of cpu {cpu} died: {reason}")]
    Died {
        /// The cpu it was pinned to.
        cpu: usize,
        /// What the runtime said.
        reason: String,
    },
}

/// A running core. See [`start`].
#[derive(Debug)]
pub struct CoreThread<T: Send + 'static> {
    cpu: usize,
    handle: ExecutorJoinHandle<T>,
}

/// Starts a thread pinned to `cpu` whose executor runs the future that `main` makes there.
///
/// # Errors
/// The executor can't be made.
pub fn start<F, T>(
    name: &str,
    cpu: usize,
    main: impl FnOnce() -> F + Send + 'static,
) -> Result<CoreThread<T>, CoreError>
where
    F: Future<Output = T> + 'static,
    T: Send + 'static,
{
    let handle = LocalExecutorBuilder::new(Placement::Fixed(cpu))
        .name(name)
        .io_memory(IO_MEMORY_LEN)
        .ring_depth(RING_DEPTH)
        .spawn(move || {
            if let Err(error) = windrow_store::take_short_turns() {
                tracing::debug!(%error, "the core waits for others' turns on its processor to end");
            }
            main()
        })
        .map_err(|error| CoreError::Start { cpu, reason: error.to_string() })?;
    Ok(CoreThread { cpu, handle })
}

impl<T: Send + 'static> CoreThread<T> {
    /// Waits for the main future to end.
    ///
    /// # Errors
    /// The core panicked, or its executor could not start after all.
    pub fn join(self) -> Result<T, CoreError> {
        self.handle.join().map_err(|error| CoreError::Died { cpu: self.cpu, reason: error.to_string() })
    }
}

/// Lets other tasks of this core run if they are due. Costs next to nothing when none is.
pub async fn yield_if_needed() {
    glommio::executor().yield_if_needed().await;
}

/// Waits on this core.
pub async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}

thread_local! {
    /// Tasks of this core beside its main future.
    static BACKGROUND_TASKS: Cell<usize> = const { Cell::new(0) };
}

/// Where this core's background tasks run: they get a tenth of the shares while the shard has work.
#[derive(Clone, Copy, Debug)]
pub struct Background(TaskQueueHandle);

impl Background {
    /// Makes the queue. Once per core.
    #[must_use]
    pub fn new() -> Self {
        Self(glommio::executor().create_task_queue(
            Shares::Static(BACKGROUND_SHARES),
            Latency::NotImportant,
            "background",
        ))
    }

    /// Runs `task` beside the shard, until it ends or the executor does.
    ///
    /// # Panics
    /// If called on another core than [`new`](Self::new).
    pub fn spawn(self, task: impl Future<Output = ()> + 'static) {
        BACKGROUND_TASKS.set(BACKGROUND_TASKS.get() + 1);
        let task = async {
            task.await;
            BACKGROUND_TASKS.set(BACKGROUND_TASKS.get() - 1);
        };
        glommio::spawn_local_into(task, self.0).expect("the queue was made on this core").detach();
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

/// Lets a core's main future wait for an eventfd.
#[derive(Debug)]
pub struct EventWaiter {
    eventfd: OwnedFd,
    file: BufferedFile,
}

impl EventWaiter {
    /// Waits on a duplicate of `eventfd`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(eventfd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { eventfd: eventfd.try_clone_to_owned()?, file: adopt(eventfd.try_clone_to_owned()?) })
    }

    /// Waits until somebody has written to the eventfd since the last wait.
    ///
    /// While the core has no background tasks the thread itself waits, in one system call: going to sleep through the
    /// executor takes several, and six allocations.
    ///
    /// # Errors
    /// The read failed, which an eventfd never does.
    pub async fn wait(&self) -> io::Result<()> {
        if BACKGROUND_TASKS.get() == 0 {
            return Ok(rustix::io::retry_on_intr(|| rustix::io::read(&self.eventfd, &mut [0; 8])).map(drop)?);
        }
        self.file.read_at(0, 8).await.map(drop).map_err(io::Error::from)
    }
}
