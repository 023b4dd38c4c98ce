//! The seam between the shard and the commands that are not about data.
//!
//! The shard parses, routes, executes data commands, and knows `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH`.
//! Everything else goes to a [`ServerCommands`], of which every core owns one. It runs to completion, never blocks,
//! and says by its [`Effect`] what must still happen before the reply may go out.

use std::any::Any;
use std::time::{Duration, Instant};

use windrow_core::partition::PartitionStats;
use windrow_core::types::{Lsn, PartitionId, UnixMillis};
use windrow_proto::command::Command;
use windrow_proto::resp::Args;

use super::Session;
use super::work::CoreTask;
use crate::metrics::CoreMetrics;
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
    /// Everything below is committed.
    pub committed: Lsn,
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

/// Makes one reply of what the cores have answered.
pub(crate) type Finish = dyn FnOnce(&mut Session, Vec<Box<dyn Any + Send>>, &mut Vec<u8>);

/// Work for every core, and what makes one reply of the results. See [`Effect::every_core`].
pub struct EveryCore {
    /// Runs once on every core, also on the asking one.
    pub(crate) task: CoreTask,
    /// Runs on the asking core when all have answered; the results are in the order of the cores.
    pub(crate) finish: Box<Finish>,
}

impl std::fmt::Debug for EveryCore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EveryCore(..)")
    }
}

/// What `WAIT` and `WAITAOF` wait for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaWait {
    /// `WAITAOF`: whether the flush here is waited for. `None` for `WAIT`.
    pub local: Option<bool>,
    /// How many replicas are waited for.
    pub replicas: usize,
    /// For how long.
    pub timeout: Duration,
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
    /// The reply is complete and goes out after this time (a wrong password).
    After(Duration),
    /// There is no reply yet: it says how many replicas have flushed what was appended so far (`WAIT`, `WAITAOF`).
    WhenReplicated(ReplicaWait),
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

/// The commands that are not about data, and the counters of one core.
///
/// One value per core, called only by that core's shard. It must not block and must not panic on any input.
pub trait ServerCommands: 'static {
    /// The limits that hold now. The shard asks at every timer tick (100 ms).
    fn limits(&self) -> Limits;

    /// What this core counts. The shard writes connections, bytes, commands, stages and flushes; connection and
    /// server commands that the shard has handed over are counted by the shard, too.
    fn metrics(&mut self) -> &mut CoreMetrics;

    /// A client has connected: sets [`Session::authenticated`] where no password is needed. An `Err` holds the
    /// error reply (a whole RESP error) to send before the connection is closed (protected mode).
    ///
    /// # Errors
    /// The client is refused.
    fn connected(&mut self, session: &mut Session) -> Result<(), &'static [u8]>;

    /// A client is gone.
    fn disconnected(&mut self, session: &Session);

    /// Executes a connection or server command, its number of arguments checked and its subcommand found, and
    /// appends its reply to `reply`.
    ///
    /// Authentication has been checked by the command's flags; a command without `NO_AUTH` gets here only from a
    /// session that is authenticated. `RESET` finds the session's transaction dropped.
    fn execute(
        &mut self,
        now: Now,
        session: &mut Session,
        command: &'static Command,
        args: Args<'_>,
        reply: &mut Vec<u8>,
    ) -> Effect;

    /// How long a command may take before [`slow`](Self::slow) is told; `None` where there is no slow log.
    fn slow_threshold(&self) -> Option<Duration>;

    /// A command took longer than that.
    fn slow(&mut self, now: Now, session: &Session, args: Args<'_>, took: Duration);

    /// Called every 100 ms, with what this core has.
    fn tick(&mut self, now: Now, core: &mut dyn CoreView);
}
