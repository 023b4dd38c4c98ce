//! The seam between the shard and the commands that are not about data.
//!
//! The shard parses, routes, executes data commands, and knows `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`.
//! Everything else goes to a [`ServerCommands`], of which every core owns one. It runs to completion, never blocks,
//! and says by its [`Effect`] what must still happen before the reply may go out.

use std::any::Any;
use std::time::{Duration, Instant};

use windrow_core::partition::PartitionStats;
use windrow_core::types::{PartitionId, UnixMillis};

use super::Session;
use crate::net::Limits;

/// The time of one tick: read once, the same for all that happens in it.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Wall clock.
    pub unix: UnixMillis,
    /// Monotonic clock.
    pub instant: Instant,
}

/// A partition hosted by this core.
#[derive(Clone, Debug)]
pub struct PartitionView {
    /// Which one.
    pub id: PartitionId,
    /// Its counters and watermarks.
    pub stats: PartitionStats,
}

/// What a core lets others see of it. Only that core calls this, within an [`EveryCore`] task.
pub trait CoreView {
    /// The number of this core, from zero.
    fn core(&self) -> usize;
    /// The time of this tick.
    fn now(&self) -> Now;
    /// Visits every session of this core. Setting [`Session::killed`] closes the connection.
    fn visit_sessions(&mut self, visit: &mut dyn FnMut(&mut Session));
    /// How many sessions this core has.
    fn session_count(&self) -> usize;
    /// Visits every partition of this core.
    fn visit_partitions(&self, visit: &mut dyn FnMut(PartitionView));
}

type Task = dyn Fn(&mut dyn CoreView) -> Box<dyn Any + Send> + Send + Sync;
type Finish = dyn FnOnce(&mut Session, Vec<Box<dyn Any + Send>>, &mut Vec<u8>);

/// Work for every core, and what makes one reply of the results. See [`Effect::every_core`].
pub struct EveryCore {
    /// Runs once on every core, also on the asking one.
    pub(crate) task: std::sync::Arc<Task>,
    /// Runs on the asking core when all have answered; the results are in the order of the cores.
    pub(crate) finish: Box<Finish>,
}

impl std::fmt::Debug for EveryCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EveryCore(..)")
    }
}

/// What has to happen after a command has written its reply.
#[derive(Debug)]
pub enum Effect {
    /// The reply is complete (or there is none, if nothing was written).
    Reply,
    /// The reply is complete; the connection closes after it is sent (`QUIT`).
    Close,
    /// There is no reply yet: run this on every core, then write it. The session executes nothing meanwhile.
    EveryCore(EveryCore),
    /// The reply is complete and goes out once everything appended so far, on every core, is on disk (`WAITAOF`).
    WhenDurable,
    /// The reply is complete and goes out after this time (`WAIT` for replicas that don't exist).
    After(Duration),
    /// The node shuts down in order: stop accepting, finish what is in flight, flush, exit 0 (`SHUTDOWN`).
    Shutdown,
}

impl Effect {
    /// Runs `task` on every core and hands the results, in the order of the cores, to `finish` on this one.
    ///
    /// `finish` writes the reply. The session has not been touched meanwhile, except that it may have been killed;
    /// if the connection is gone, `finish` is dropped without being called.
    pub fn every_core<T: Send + 'static>(
        task: impl Fn(&mut dyn CoreView) -> T + Send + Sync + 'static,
        finish: impl FnOnce(&mut Session, Vec<T>, &mut Vec<u8>) + 'static,
    ) -> Self {
        Self::EveryCore(EveryCore {
            task: std::sync::Arc::new(move |core| Box::new(task(core))),
            finish: Box::new(move |session, pieces, reply| {
                let typed = pieces
                    .into_iter()
                    .map(|piece| *piece.downcast::<T>().expect("every core ran the same task"))
                    .collect();
                finish(session, typed, reply);
            }),
        })
    }
}

/// The stages of a request and of a flush whose times are recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    /// From the arrival of the bytes to the start of the execution, where the command had to wait for something.
    Queued,
    /// Executing a batch of commands, per command.
    Executed,
    /// From appending to committed.
    Committed,
    /// One `fdatasync`, from submission to completion.
    Flushed,
    /// From the arrival of the bytes to handing the reply to the kernel.
    Replied,
}

/// A finished command, as the statistics see it.
#[derive(Clone, Copy, Debug)]
pub struct Executed<'a> {
    /// Its name in lower case, from the command table; `"unknown"` where there is no such command.
    pub name: &'static str,
    /// Its arguments, the name included.
    pub args: &'a [&'a [u8]],
    /// How long it took on the core that parsed it, without waiting for a flush or another core.
    pub took: Duration,
    /// The reply is an error.
    pub failed: bool,
    /// It was refused before it ran (arity, unknown, not authenticated).
    pub rejected: bool,
}

/// The commands that are not about data, and the counters of one core.
///
/// One value per core, called only by that core's shard. It must not block and must not panic on any input.
pub trait ServerCommands: 'static {
    /// The limits that hold now. The shard asks at every timer tick (100 ms) and at every accept.
    fn limits(&self) -> Limits;

    /// A client has connected: sets [`Session::authenticated`] where no password is needed. An `Err` holds the
    /// error reply (a whole RESP error) to send before the connection is closed (protected mode).
    ///
    /// # Errors
    /// The client is refused.
    fn connected(&mut self, session: &mut Session) -> Result<(), &'static [u8]>;

    /// A client is gone.
    fn disconnected(&mut self, session: &Session);

    /// A connection was refused because there are too many.
    fn refused(&mut self);

    /// Whether a command that is not about data exists under this name. Names come in lower case.
    fn knows(&self, name: &[u8]) -> bool;

    /// Executes a command for which [`knows`](Self::knows) is true, and appends its reply to `reply`.
    ///
    /// `args[0]` is the name as the client wrote it. Whether the session may run it (authentication, `MULTI`) is
    /// decided here for these commands; for data commands the shard answers `NOAUTH` by itself.
    fn execute(&mut self, now: Now, session: &mut Session, args: &[&[u8]], reply: &mut Vec<u8>) -> Effect;

    /// Whether [`executed`](Self::executed) wants the arguments of a command that took this long (slow log). Where
    /// it says no, `executed` gets the name alone, in batches.
    fn is_slow(&self, took: Duration) -> bool;

    /// A command is done.
    fn executed(&mut self, now: Now, session: &Session, command: Executed<'_>);

    /// `count` commands of one name are done, each of which took `took`. The hot path.
    fn executed_many(&mut self, name: &'static str, count: u64, took: Duration);

    /// `count` requests took `took` for this stage.
    fn observe(&mut self, stage: Stage, took: Duration, count: u64);

    /// A flush that covered this many bytes and records was done.
    fn flushed(&mut self, bytes: u64, records: u64);

    /// An error reply was written by the shard; `line` is what follows its `-`. For replies of
    /// [`execute`](Self::execute) it is not called.
    fn error_reply(&mut self, line: &[u8]);

    /// Reading data commands have looked up keys, of which they found `hits` and missed `misses`.
    fn looked_up(&mut self, hits: u64, misses: u64);

    /// Called every 100 ms, and with the partitions of this core.
    fn tick(&mut self, now: Now, core: &mut dyn CoreView);
}
