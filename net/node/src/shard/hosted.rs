//! A partition on the core that hosts it: its flushes, its helper's jobs, and who waits for what.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windrow_core::log::{LogSegment, PrepareFailure};
use windrow_core::partition::{Action, Partition};
use windrow_core::types::{Lsn, PartitionId};
use windrow_proto::data::LogRange;
use windrow_store::{
    BackgroundClient, ControlWriter, Done, FillMode, FlushFailed, Job, MappedSegment, OpenPartition, PartitionDir,
    Progress, SegmentView, TailMemory, fatal_flush,
};

use super::Now;
use super::clients::Clients;
use super::cold::Held;
use super::filling::{COLD_UNFLUSHED_MAX, Filling, WHOLE_WITHIN};
use super::flusher::Flushed;
#[cfg(feature = "shared-memory")]
use super::following::Following;
use super::handler::DiskSink;
use super::held::Counting;
use super::rot::Rot;
use super::work::{Answer, Errand};
use crate::metrics::{CoreMetrics, NodeMetrics};
use crate::ring::{ConnId, Mapped};
use crate::role::Role;
use crate::settings::Durability;

/// Keys that one tick deletes at most because they have expired.
const SWEEP_BUDGET: usize = 256;

/// While the core has input to execute, a flush of fewer bytes waits for more: each costs the processor some 100 µs,
/// and starts at once when the core has nothing else to do. Measured with 50 and 100 connections and a pipeline of 16: 5
/// to 9% more requests a second than with 64 KiB, at 5 to 7% less processor time for each; 128 KiB is no better.
const FLUSH_LEN_MIN: u64 = 96 << 10;
/// But it does not wait longer than this.
const FLUSH_WITHIN: Duration = Duration::from_micros(500);

/// When a core flushes, and when it confirms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlushPolicy {
    pub(crate) durability: Durability,
    /// With [`Durability::Memory`]: a confirmed write is flushed within this time.
    pub(crate) interval: Duration,
}

struct InFlight {
    ticket: u64,
    from: Lsn,
    upto: Lsn,
    records: u64,
    since: Instant,
}

/// What a partition needs that is written here.
pub(super) struct Writer {
    pub(super) dir: Arc<PartitionDir>,
    pub(super) control: ControlWriter,
}

/// A partition on the core that hosts it.
pub(crate) struct Hosted {
    pub(crate) id: PartitionId,
    pub(crate) partition: Partition<MappedSegment>,
    /// The part that this process has in it.
    pub(crate) role: Role,
    /// What each follower has flushed.
    pub(super) replicas_flushed: Vec<Lsn>,
    /// Who waits for that.
    pub(super) counting: Vec<Counting>,
    /// When the first of them has waited long enough.
    pub(super) count_due: Option<Instant>,
    /// What is needed to write; `None` while another process writes.
    pub(super) writer: Option<Writer>,
    /// What is needed to follow that process.
    #[cfg(feature = "shared-memory")]
    pub(super) following: Option<Following>,
    pub(crate) filling: Filling,
    in_flight: Option<InFlight>,
    /// A spare list for what a flush works on.
    spare_views: Vec<SegmentView>,
    /// Records appended that no flush covers yet.
    records: u64,
    /// When something was appended that no flush covers yet.
    unflushed_since: Option<Instant>,
    /// Something needs a flush, whatever the policy says.
    flush_wanted: bool,
    /// Something is confirmed before it is flushed, but not sent yet.
    write_out_wanted: bool,
    /// Connections of this core whose next reply waits for the committed watermark.
    waiting: Vec<(ConnId, Lsn)>,
    /// Answers that wait for it.
    answers: Vec<(Answer, Lsn)>,
    /// Connections of this core that wait until the log takes writes.
    stalled: Vec<ConnId>,
    /// Errands that wait until the log takes writes, and those behind them.
    pub(crate) parked: VecDeque<Errand>,
    /// Errands that wait for records on disk, and those behind them.
    pub(super) held: Vec<Held>,
    /// Connections of this core that wait until some of these errands are done.
    pub(super) behind: Vec<ConnId>,
    /// It has been reported that no segment can be made.
    refusing: bool,
    /// Bytes of what was cut from the log and is still kept.
    aside_bytes: u64,
    /// What the helper threads are to do once more of the log has been flushed.
    pub(super) deferred: Option<Action>,
    /// What of the log was found to be damaged.
    pub(super) rot: Rot,
    /// Something went past the page cache that is to be read into memory, unless it is too old by now.
    pub(super) is_to_warm: bool,
    /// Some segments are being read into memory.
    pub(super) is_warming: bool,
    /// What the newest segments are kept in while what they hold is overwritten soon.
    pub(crate) tail: Option<TailMemory>,
    /// The segment whose memory goes to the one that is being made.
    pub(super) leaving: Option<Lsn>,
    /// The end of the log when the node began to shut down has been asked to be witnessed.
    closing: bool,
}

impl Hosted {
    /// `hot_len` bytes at the end of its log are taken to be in memory.
    pub(crate) fn new(open: OpenPartition, fill: FillMode, hot_len: u64) -> Self {
        let mut hosted = Self::of(open.partition, fill, hot_len);
        hosted.aside_bytes = open.dir.aside_bytes();
        hosted.writer = Some(Writer { dir: open.dir, control: open.control });
        hosted
    }

    /// A partition that has other replicas; what this one is among them is still to be found out.
    #[cfg(feature = "shared-nothing")]
    pub(crate) fn replica(
        partition: Partition<MappedSegment>,
        dir: Arc<PartitionDir>,
        control: ControlWriter,
        fill: FillMode,
        hot_len: u64,
    ) -> Self {
        let mut hosted = Self::of(partition, fill, hot_len);
        hosted.aside_bytes = dir.aside_bytes();
        hosted.writer = Some(Writer { dir, control });
        hosted.role = Role::Leaderless { fresh_at: None };
        hosted
    }

    /// A partition that is not written here yet.
    pub(super) fn of(mut partition: Partition<MappedSegment>, fill: FillMode, hot_len: u64) -> Self {
        partition.doubt_beyond(hot_len);
        Self {
            id: partition.id(),
            partition,
            role: Role::Alone,
            replicas_flushed: Vec::new(),
            counting: Vec::new(),
            count_due: None,
            writer: None,
            #[cfg(feature = "shared-memory")]
            following: None,
            filling: Filling::new(fill),
            in_flight: None,
            spare_views: Vec::new(),
            records: 0,
            unflushed_since: None,
            flush_wanted: false,
            write_out_wanted: false,
            waiting: Vec::new(),
            answers: Vec::new(),
            stalled: Vec::new(),
            parked: VecDeque::new(),
            held: Vec::new(),
            behind: Vec::new(),
            refusing: false,
            aside_bytes: 0,
            deferred: None,
            rot: Rot::default(),
            is_to_warm: false,
            is_warming: false,
            tail: None,
            leaving: None,
            closing: false,
        }
    }

    /// The log ended at `before` when something began that has appended one record, if any.
    #[inline]
    pub(crate) fn note_append(&mut self, before: Lsn) {
        self.records += u64::from(self.partition.appended() > before);
    }

    /// Whether the last attempts to make a segment have failed.
    #[cfg(feature = "shared-nothing")]
    pub(super) const fn is_refusing(&self) -> bool {
        self.refusing
    }

    /// A value in the log, which stays where it is until the last handle on it is dropped.
    ///
    /// # Panics
    /// If the log does not hold it: it was found there just now.
    pub(crate) fn pin(&self, value: LogRange) -> Mapped {
        let (base, segment) = self.partition.segment_holding(value.start).expect("a value lies in the log");
        let start = usize::try_from(value.start.since(base)).expect("a segment is mapped as a whole");
        Mapped::new(segment.share(), start..start + value.len)
    }

    /// Where its files are, if it is written here.
    #[cfg(feature = "shared-nothing")]
    pub(super) fn dir(&self) -> Option<&Arc<PartitionDir>> {
        self.writer.as_ref().map(|writer| &writer.dir)
    }

    /// Wakes `conn` when the committed watermark has reached `end`.
    pub(crate) fn wait(&mut self, conn: ConnId, end: Lsn) {
        self.waiting.push((conn, end));
    }

    /// Keeps `answer` until the committed watermark has reached `end`.
    pub(crate) fn hold(&mut self, answer: Answer, end: Lsn) {
        self.answers.push((answer, end));
    }

    /// Has everything appended so far flushed soon, also where writes are confirmed before.
    pub(crate) fn want_flush(&mut self) {
        self.flush_wanted = true;
    }

    /// Something is about to be confirmed before it is flushed.
    pub(crate) const fn want_written_out(&mut self) {
        self.write_out_wanted = true;
    }

    /// Hands everything appended so far to the kernel, if something of it is about to be confirmed before it is flushed: it
    /// outlives the process. Ends the process where that fails. Comes before anything that was executed is sent.
    pub(crate) fn write_out(&mut self) {
        if !std::mem::take(&mut self.write_out_wanted) {
            return;
        }
        let durable = self.partition.durable();
        for segment in self.partition.log().segments().rev() {
            if let Err(error) = segment.memory().write_out() {
                fatal_flush(&error.into());
            }
            if segment.base() <= durable {
                break;
            }
        }
    }

    /// Resumes `conn` when the log takes writes again.
    pub(crate) fn stall(&mut self, conn: ConnId) {
        self.stalled.push(conn);
    }

    /// Takes back the answers that wait for what is not committed, and wakes nobody. Who waits for what is committed
    /// by now is still to be [released](Self::release).
    #[cfg(feature = "shared-nothing")]
    pub(super) fn take_held(&mut self) -> Vec<Answer> {
        let committed = self.partition.committed();
        self.waiting.retain(|&(_, end)| end <= committed);
        self.answers.extract_if(.., |(_, end)| *end > committed).map(|(answer, _)| answer).collect()
    }

    /// Lets those try again who waited until the log takes writes.
    pub(super) fn resume_stalled(&mut self, clients: &mut Clients) {
        for conn in self.stalled.drain(..) {
            clients.resume(conn);
        }
    }

    /// Starts a flush if one is due.
    pub(crate) fn start_flush(
        &mut self,
        local: u64,
        policy: FlushPolicy,
        sink: &mut impl DiskSink<SegmentView>,
        now: Now,
        busy: bool,
    ) {
        // Where there are other replicas, a log that has just been cut is flushed though nothing was appended.
        let is_new = self.partition.appended() > self.partition.submitted() || self.partition.owes_flush();
        if self.in_flight.is_some() {
            return;
        }
        if !is_new {
            // Whoever wanted a flush has it: it is not for what comes later.
            self.flush_wanted = false;
            return;
        }
        let since = *self.unflushed_since.get_or_insert(now.instant);
        let small = self.partition.appended().since(self.partition.submitted()) < FLUSH_LEN_MIN;
        if busy && small && now.instant.duration_since(since) < FLUSH_WITHIN {
            return;
        }
        let due = match policy.durability {
            Durability::Commit => true,
            // Half the interval is left for the flush itself.
            Durability::Memory => now.instant.duration_since(since) >= policy.interval / 2,
        };
        if !due && !self.flush_wanted && !self.closing {
            return;
        }
        let from = self.partition.submitted();
        let by_segment = self.rest_of_segment_comes()
            && !self.closing
            && !self.partition.owes_flush()
            && now.instant.duration_since(since) < WHOLE_WITHIN;
        let waits = by_segment && !self.is_due_by_part(from);
        let request = if waits { self.partition.poll_flush_full() } else { self.partition.poll_flush() };
        if by_segment && request.is_none() {
            return;
        }
        self.unflushed_since = by_segment.then_some(now.instant);
        let Some(request) = request else { return };
        self.flush_wanted = by_segment;
        let segments = self.partition.log().segments().rev().map(LogSegment::memory);
        let mut views = std::mem::take(&mut self.spare_views);
        views.extend(
            segments
                .skip_while(|segment| segment.base() > request.last_base)
                .take_while(|segment| segment.base() >= request.first_base)
                .map(MappedSegment::share),
        );
        self.in_flight = Some(InFlight {
            ticket: request.ticket,
            from,
            upto: request.upto,
            records: std::mem::take(&mut self.records),
            since: now.instant,
        });
        sink.flush(local, views);
    }

    /// How many connections and answers wait while a flush is under way.
    pub(super) const fn waiting_for_flush(&self) -> usize {
        if self.in_flight.is_some() { self.waiting.len() + self.answers.len() } else { 0 }
    }

    /// Whether the segment in use will be full soon, because the leader has the rest of it.
    pub(super) fn rest_of_segment_comes(&self) -> bool {
        let last = self.partition.log().segments().next_back();
        last.is_some_and(|last| self.filling.comes(last.base().plus(last.segment_len())))
    }

    /// The flush is done: tells the core, and wakes who waited. A failed flush ends the process.
    pub(crate) fn flushed(
        &mut self,
        mut flushed: Flushed<SegmentView>,
        clients: &mut Clients,
        answered: &mut Vec<Answer>,
        metrics: &mut CoreMetrics,
        now: Now,
    ) {
        if let Err(failed) = flushed.result {
            fatal_flush(&failed);
        }
        self.note_cold(&flushed.files);
        flushed.files.clear();
        self.spare_views = flushed.files;
        let done = self.in_flight.take().expect("one flush is in flight when one is done");
        self.partition.handle_flushed(done.ticket);
        metrics.flush_time(now.instant.saturating_duration_since(done.since));
        metrics.flush_size(done.upto.since(done.from), done.records);
        self.release(clients, answered);
        self.settle_counts(now.instant, false, answered);
        self.publish();
    }

    /// Tells other processes how far the log has grown.
    fn publish(&self) {
        if let Some(writer) = &self.writer {
            writer.control.publish(&Progress::of(&self.partition));
        }
    }

    /// From now on it is written here.
    #[cfg(feature = "shared-memory")]
    pub(super) fn becomes_writer(&mut self, writer: Writer) {
        self.following = None;
        self.writer = Some(writer);
    }

    /// Where other processes learn how far the log has grown, while it is written here.
    #[cfg(feature = "shared-memory")]
    pub(super) fn control(&self) -> Option<&ControlWriter> {
        self.writer.as_ref().map(|writer| &writer.control)
    }

    /// Wakes whoever waited for the committed watermark to be where it is now.
    pub(crate) fn release(&mut self, clients: &mut Clients, answered: &mut Vec<Answer>) {
        let committed = self.partition.committed();
        self.waiting.retain(|&(conn, end)| {
            let keep = end > committed;
            if !keep {
                clients.wake(conn);
            }
            keep
        });
        let ready = self.answers.extract_if(.., |(_, end)| *end <= committed).map(|(answer, _)| answer);
        answered.extend(ready);
    }

    /// Hands the helper threads what the partition asks for.
    pub(crate) fn submit_jobs(&mut self, background: &BackgroundClient) {
        let Some(dir) = self.writer.as_ref().map(|writer| Arc::clone(&writer.dir)) else { return };
        let mut deferred = self.deferred.take();
        while let Some(action) = deferred.take().or_else(|| self.partition.poll_action()) {
            let dir = Arc::clone(&dir);
            background.submit(match action {
                Action::Prepare { base, len } => {
                    let fill = self.filling.of(base, len, self.partition.has_expiries());
                    let unflushed = self.partition.appended().since(self.partition.durable());
                    if fill == FillMode::Cold && unflushed >= COLD_UNFLUSHED_MAX {
                        self.deferred = Some(action);
                        continue;
                    }
                    match self.tail_for(len, fill) {
                        Some((memory, keep)) => Job::PrepareInTail { dir, base, memory, keep },
                        None => Job::Prepare { dir, base, len, fill },
                    }
                }
                Action::WriteSuperblock(superblock) => Job::WriteSuperblock { dir, superblock },
            });
        }
    }

    /// Takes what the helper threads have done, and resumes who waited for it.
    pub(crate) fn job_done(&mut self, done: Done, clients: &mut Clients, metrics: &NodeMetrics) {
        match done {
            Done::Prepared { base, segment, .. } => {
                if std::mem::take(&mut self.refusing) {
                    tracing::info!(partition = %self.id, "a new log segment could be made: writes are taken again");
                }
                self.has_left();
                self.partition.handle_prepared(base, segment);
            }
            Done::PrepareFailed { base, error, .. } => {
                if let Some(gauges) = metrics.partitions().get(usize::from(self.id.get())) {
                    gauges.prepare_failures.increment();
                }
                self.has_left();
                // Tried again at every tick, and said once.
                if !self.filling.failed(&error) && !std::mem::replace(&mut self.refusing, true) {
                    match error.failure() {
                        PrepareFailure::NoSpace => tracing::error!(
                            partition = %self.id,
                            %error,
                            "no new log segment can be made: writes will be refused until there is room"
                        ),
                        PrepareFailure::Refused => tracing::error!(
                            partition = %self.id,
                            %error,
                            "no new log segment can be made: writes will be refused until the disk takes one; look at \
                             the kernel's log (dmesg), and check the disk"
                        ),
                    }
                }
                self.partition.handle_prepare_failed(base, error.failure());
            }
            Done::SuperblockWritten { generation, .. } => self.partition.handle_superblock_written(generation),
            Done::SuperblockFailed { error, .. } => fatal_flush(&error.into()),
            Done::PutAside { result, aside_bytes, .. } => {
                self.aside_bytes = aside_bytes;
                if let Err(error) = &result {
                    tracing::error!(partition = %self.id, %error, "cannot keep what is to be cut; trying again");
                }
                self.partition.handle_put_aside(result.is_ok());
            }
            Done::MovedAside { aside_bytes, .. } => {
                self.aside_bytes = aside_bytes;
                self.partition.handle_moved_aside();
            }
            Done::Removed { .. } => self.partition.handle_removed(),
            Done::Warmed { .. } => self.warmed(),
            Done::ClearingFailed { error, .. } => fatal_flush(&FlushFailed { path: error.path, source: error.source }),
            _ => {}
        }
        self.resume_stalled(clients);
    }

    /// Called every 100 ms.
    pub(crate) fn tick(&mut self, core: usize, metrics: &NodeMetrics, counters: &mut CoreMetrics, now: Now) {
        // The tick has it tried again, which is no success yet.
        let failure = self.partition.prepare_failure();
        if self.writer.is_some() {
            self.partition.handle_tick(now.unix);
        }
        // Where there is no room the rest is deleted later; no reader sees it meanwhile.
        if self.role.appends(now.instant)
            && let Ok(swept @ 1..) = self.partition.sweep_expired(now.unix, SWEEP_BUDGET)
        {
            self.records += swept as u64;
            counters.counters().keys_expired.add(swept as u64);
        }
        self.publish();
        self.note_readers();
        let Some(gauges) = metrics.partitions().get(usize::from(self.id.get())) else { return };
        let stats = self.partition.stats();
        gauges.core.set(core as u64);
        gauges.keys.set(stats.keys);
        gauges.appended_lsn.set(stats.appended.get());
        gauges.submitted_lsn.set(stats.submitted.get());
        gauges.durable_lsn.set(stats.durable.get());
        gauges.committed_lsn.set(self.partition.committed().get());
        gauges.first_lsn.set(stats.start.get());
        gauges.epoch.set(stats.epoch.get().into());
        gauges.segments.set(stats.segments + stats.segments_prepared);
        gauges.segment_bytes.set(stats.log_bytes);
        gauges.index_bytes.set(stats.index_bytes);
        gauges.tail_memory_bytes.set(self.tail.as_ref().map_or(0, TailMemory::used_bytes));
        gauges.aside_bytes.set(self.aside_bytes);
        gauges.out_of_space.set((failure == Some(PrepareFailure::NoSpace)).into());
        gauges.damaged_segments.set(self.rot.count());
        gauges.first_damaged_segment.set(self.rot.first().get());
        gauges.segment_refused.set((failure == Some(PrepareFailure::Refused)).into());
    }

    /// Brings the log to rest: everything flushed, and a superblock that bears witness to it. Returns whether it is.
    pub(crate) fn close(&mut self) -> bool {
        let Some(writer) = &self.writer else { return true };
        let durable = self.partition.durable() == self.partition.appended();
        if durable && !self.closing {
            self.closing = true;
            self.partition.want_superblock();
        }
        self.flush_wanted |= !durable;
        let at_rest = durable && !self.partition.superblock_pending();
        if at_rest {
            writer.control.publish(&Progress::of(&self.partition));
            writer.control.end_in_order();
        }
        at_rest
    }
}

#[cfg(test)]
mod tests {
    use windrow_core::partition::{Change, Op};
    use windrow_store::{BuildMode, DataDir, NewDataDir, OpenConfig, open_partition};

    use super::super::Now;
    use super::*;

    /// The next segment may be filled in another way than the last, as what comes from a leader is.
    #[test]
    fn everything_appended_is_written_out_whatever_segment_it_is_in() {
        let folder = tempfile::tempdir().unwrap();
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::SharedNothing };
        let dir = DataDir::open_or_create(folder.path(), &new).unwrap();
        let config = OpenConfig { segment_len: 64 << 10, segments_ahead: 1, fill: FillMode::Direct };
        let open = open_partition(&dir, PartitionId::new(0), &config, Now::read().unix).unwrap();
        let files = Arc::clone(&open.dir);
        let mut hosted = Hosted::new(open, FillMode::Direct, u64::MAX);
        for number in 0..200_u32 {
            let key = number.to_le_bytes();
            let (hash, change) = (hosted.partition.hash(&key), Change::Put { value: &[7; 500], expires_at: None });
            while hosted.partition.append(Now::read().unix, &mut [Op { hash, key: &key, change }]).is_err() {
                while let Some(action) = hosted.partition.poll_action() {
                    let Action::Prepare { base, len } = action else { continue };
                    hosted.partition.handle_prepared(base, files.prepare(base, len, FillMode::Write4K).unwrap());
                }
            }
        }
        let left = |hosted: &Hosted| {
            let memories = hosted.partition.log().segments().map(LogSegment::memory);
            memories.filter(|memory| !memory.share().is_in_file(0..memory.share().published_end())).count()
        };
        assert!(hosted.partition.log().segments().count() > 1 && left(&hosted) == 1);
        hosted.write_out();
        assert_eq!(left(&hosted), 1, "nobody has asked for it");
        hosted.want_written_out();
        hosted.write_out();
        assert_eq!(left(&hosted), 0);
    }
}
