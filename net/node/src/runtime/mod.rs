//! Executors pinned to cores. Nothing outside this module knows which runtime it is.
//!
//! One core is one thread with one executor, which runs the shard's main future and, at a tenth of its shares,
//! background tasks. Nothing here is shared between cores.
//!
//! The executor has a flaw that this keeps away from: it sets a timer, which is to end a turn, before it looks for what
//! can run, and where the timer has run out by then, it takes that for nothing to run and sleeps. On a busy machine a
//! thread can be kept from the processor for so long between the two, and then the core would sleep until something
//! else happens on it, which may be never. So that timer is a long one, which matters once, when a core starts; and
//! from then on control is given to the executor only while there are background tasks, when something is sure to
//! happen soon, see [`Background::spawn`].
//!
//! A panic on a core ends the process (see
//! `panic = "abort"` of the release profile); in other builds it comes back from [`CoreThread::join`].

mod cores;

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
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
/// How long the shard's turn is while background tasks have work.
const TURN: Duration = Duration::from_millis(100);
/// How long it is while they have none. Nobody is kept from the processor for so long.
const LONG_TURN: Duration = Duration::from_secs(1);

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
        .preempt_timer(LONG_TURN)
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
    if BACKGROUND_TASKS.get() > 0 {
        glommio::executor().yield_if_needed().await;
    }
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
            Latency::Matters(TURN),
            "background",
        ))
    }

    /// Runs `task` beside the shard, until it ends or the executor does. As long as there is one, something happens on
    /// the core every now and then, so that it never sleeps for long with something to run.
    ///
    /// # Panics
    /// If called on another core than [`new`](Self::new).
    pub fn spawn(self, task: impl Future<Output = ()> + 'static) {
        let others = BACKGROUND_TASKS.replace(BACKGROUND_TASKS.get() + 1);
        if others == 0 {
            let beats = async {
                while BACKGROUND_TASKS.get() > 0 {
                    sleep(TURN).await;
                }
            };
            glommio::spawn_local_into(beats, self.0).expect("the queue was made on this core").detach();
        }
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

/// Whether the core has no background tasks now, so that its main future may let the thread itself wait: for whatever it
/// likes, in one system call. Going to sleep through the executor takes several, and six allocations.
#[must_use]
pub fn sleeps_by_itself() -> bool {
    BACKGROUND_TASKS.get() == 0
}

/// Lets a core's main future wait for an eventfd.
#[derive(Debug)]
pub struct EventWaiter {
    file: BufferedFile,
}

impl EventWaiter {
    /// Waits on a duplicate of `eventfd`.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(eventfd: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { file: adopt(eventfd.try_clone_to_owned()?) })
    }

    /// Waits until somebody has written to the eventfd since the last wait; background tasks run meanwhile.
    ///
    /// # Errors
    /// The read failed, which an eventfd never does.
    pub async fn wait(&self) -> io::Result<()> {
        self.file.read_at(0, 8).await.map(drop).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::rc::Rc;
    use std::time::Instant;

    use super::*;

    /// How often a future is polled that yields all the time for more than a turn, and whether something else ran
    /// meanwhile.
    fn run_for_more_than_a_turn(beside: bool) -> (usize, bool) {
        let main = move || async move {
            let ran = Rc::new(Cell::new(false));
            if beside {
                let ran = Rc::clone(&ran);
                Background::new().spawn(async move {
                    sleep(TURN).await;
                    ran.set(true);
                    sleep(4 * LONG_TURN).await;
                });
            }
            let mut busy = pin!(async {
                let begun = Instant::now();
                while begun.elapsed() < 2 * LONG_TURN || (beside && !ran.get()) {
                    yield_if_needed().await;
                }
            });
            let mut polls = 0;
            poll_fn(|context| {
                polls += 1;
                busy.as_mut().poll(context)
            })
            .await;
            (polls, ran.get())
        };
        start("test", available()[0], main).unwrap().join().unwrap()
    }

    /// The executor could take a main future that can run for one that cannot, and never run it again.
    #[test]
    fn a_core_without_background_tasks_does_not_give_control_away() {
        assert_eq!(run_for_more_than_a_turn(false), (1, false));
    }

    #[test]
    fn background_tasks_have_their_turns() {
        let (polls, ran) = run_for_more_than_a_turn(true);
        assert!(polls > 1 && ran, "{polls} polls");
    }
}
