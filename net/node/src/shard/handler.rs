//! The seam between a core's connections and what executes their commands.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::Instant;

use windrow_core::types::{Lsn, PartitionId, UnixMillis};
#[cfg(feature = "shared-memory")]
use windrow_store::FutexWord;
use windrow_store::SegmentView;

use super::clients::Clients;
use super::flusher::{Flush, Flushed};
use super::{Now, Session};
use crate::metrics::CoreMetrics;
use crate::net::{Connection, Limits, Listener, Pool};
#[cfg(feature = "shared-nothing")]
use crate::peers::{Host, Outbox};
use crate::ring::ConnId;

/// How far the execution of a connection's input came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// Bytes of the input that are done with.
    pub(crate) consumed: usize,
    /// Why it stopped.
    pub(crate) stop: Stop,
}

/// Why the execution of a connection's input stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stop {
    /// The next command is not whole: it needs at least so many bytes.
    NeedsInput { at_least: usize },
    /// The next command must not be executed yet; [`Connection::stalled`] says why.
    Stalled,
    /// No further command will be executed; the connection closes once its replies are sent.
    Close,
}

/// What is to be done on disk.
pub(crate) trait DiskSink<F> {
    /// Flushes all of `files`, and reports it under `ticket`.
    fn flush(&mut self, ticket: u64, files: Vec<F>);

    /// Brings a range of a segment into memory, and reports it under `ticket`.
    fn read(&mut self, ticket: u64, segment: SegmentView, range: Range<usize>);

    /// Reports it under `ticket` when somebody wakes those who sleep on `word`, or if its value is not `value`.
    #[cfg(feature = "shared-memory")]
    fn watch(&mut self, ticket: u64, word: FutexWord, value: u32);
}

/// What executes the commands of one core's connections. Called by that core alone; must not block.
pub(crate) trait Handler {
    /// What it has flushed.
    type File: Flush;

    /// The limits that hold now.
    fn limits(&self) -> Limits;

    /// What this core counts.
    fn metrics(&mut self) -> &mut CoreMetrics;

    /// A session for a client that has connected, or the reply that refuses it.
    fn opened(&mut self, peer: SocketAddr, local: SocketAddr, now: Now) -> Result<Session, &'static [u8]>;

    /// A client is gone.
    fn closed(&mut self, connection: &mut Connection);

    /// Executes the commands at the start of `input`, which may be the connection's own or just received.
    fn execute(&mut self, connection: &mut Connection, input: &[u8], pool: &mut Pool, now: Now) -> Progress;

    /// The committed watermark of a partition.
    fn committed(&self, partition: PartitionId) -> Lsn;

    /// Wakes the connection when the next flush of `partition` that can bring its committed watermark to `end` is done.
    fn wait(&mut self, conn: ConnId, partition: PartitionId, end: Lsn);

    /// Does what has come from elsewhere: other cores, the helper threads. Returns whether there was anything.
    fn run(&mut self, clients: &mut Clients, now: Now) -> bool;

    /// Starts the flushes that are due, and hands to the kernel what is confirmed without one: nothing is sent between what is
    /// executed and this. A small flush may wait while the core is `busy` with input.
    fn start_flushes(&mut self, sink: &mut impl DiskSink<Self::File>, now: Now, busy: bool);

    /// A flush is done. A failed one must not return.
    fn flushed(&mut self, flushed: Flushed<Self::File>, clients: &mut Clients, now: Now);

    /// How many clients and other cores wait for a flush that is under way.
    fn waiting_for_flush(&self) -> usize;

    /// Starts the reads that are due.
    fn start_reads(&mut self, sink: &mut impl DiskSink<Self::File>);

    /// A read is done. After a failed one, whoever touches what could not be read finds out by himself.
    fn was_read(&mut self, ticket: u64, result: io::Result<()>, clients: &mut Clients, now: Now);

    /// When the earliest of those has to be answered who wait until a moment of their own.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Answers those whose moment has come.
    fn settle_due(&mut self, _clients: &mut Clients, _now: Now) {}

    /// Called every 100 ms.
    fn tick(&mut self, clients: &mut Clients, now: Now);

    /// The latest time that its partitions have seen.
    fn newest_time(&self) -> UnixMillis {
        UnixMillis::ZERO
    }

    /// There is nothing to do: has the ring told to watch for what other processes do. Returns whether there is
    /// something to do after all.
    fn watch(&mut self, _sink: &mut impl DiskSink<Self::File>) -> bool {
        false
    }

    /// What was watched for has happened, or it is not known.
    #[cfg(feature = "shared-memory")]
    fn watched(&mut self, _ticket: u64) {}

    /// Further addresses to serve clients at.
    fn take_listeners(&mut self) -> Vec<Listener> {
        Vec::new()
    }

    /// Tells the replicas of this core what has happened, and puts what is to be sent into `out`.
    #[cfg(feature = "shared-nothing")]
    fn replicate(&mut self, out: &mut Outbox, clients: &mut Clients, now: Now);

    /// What the connections with peers talk to.
    #[cfg(feature = "shared-nothing")]
    fn host<'a>(&'a mut self, clients: &'a mut Clients, now: Now) -> impl Host + 'a;

    /// The core goes to sleep. Returns `false` if something has come from elsewhere since [`run`](Self::run); once
    /// it has returned `true`, whoever has something for this core must write to its eventfd.
    fn fall_asleep(&mut self) -> bool;

    /// The core is awake.
    fn woken(&mut self);

    /// Whether the node is shutting down.
    fn is_closing(&self) -> bool;

    /// Goes on with the shutdown. Returns whether nothing is left to be done.
    fn close(&mut self, now: Now) -> bool;
}
