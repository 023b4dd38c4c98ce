//! Keeping the newest segments in memory that is used again, while what they hold is overwritten soon.
//!
//! Such a segment is not in the page cache: when its memory goes to the next one, it is on disk only. That is cheap where
//! nobody reads it any more ([`TailMemory`]), and dear where all do. So it is done while hardly anything lives as long: what
//! the newest segments will be like is judged by those that were written so long before. Where that turns out wrong, for the
//! keys are others now, what is still current is read into the page cache first.

use windrow_core::log::LogSegment;
use windrow_store::{FillMode, TailMemory};

use super::hosted::Hosted;

impl Hosted {
    /// The memory that the next segment, of `len` bytes and filled like this, is to be kept in, if it is, and whether the
    /// segment that gives its own up for that is to be read into the page cache.
    pub(super) fn tail_for(&mut self, len: u64, fill: FillMode) -> Option<(TailMemory, bool)> {
        let tail = self.tail.as_ref()?;
        let is_usual = fill == FillMode::Direct && len == tail.segment_len();
        if !is_usual || tail.is_shared() || !self.partition.is_overwritten_within(tail.window()) {
            return None;
        }
        let out = tail.next_out().and_then(|base| self.partition.log().segment(base));
        let keep = out.is_some_and(|segment| !segment.is_mostly_dead());
        let (tail, leaving) = (tail.clone(), out.filter(|_| !keep).map(LogSegment::base));
        if let Some(base) = leaving {
            self.leaving = leaving;
            self.doubt_also(base..base.plus(len));
        }
        Some((tail, keep))
    }

    /// A segment has been made, or could not be: what gave its memory up for it is on disk now, or stays as it was.
    pub(super) fn has_left(&mut self) {
        if let Some(base) = self.leaving.take()
            && self.partition.segment(base).is_some_and(|segment| segment.share().cold_end().is_none())
        {
            self.doubt_cold();
        }
    }

    /// Other processes may read the log: those do from the page cache.
    pub(super) fn note_readers(&self) {
        if let (Some(tail), Some(writer)) = (&self.tail, &self.writer) {
            tail.set_shared(!writer.control.attached().is_empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::RangeFrom;

    use windrow_core::partition::{Action, Change, Op};
    use windrow_core::types::{Lsn, PartitionId};
    use windrow_store::{
        Background, BackgroundClient, BuildMode, DataDir, Done, FlushTask, FlushedBy, NewDataDir, OpenConfig,
        SegmentView, open_partition,
    };

    use super::super::Now;
    use super::super::clients::Clients;
    use super::*;
    use crate::metrics::NodeMetrics;

    const LEN: u64 = 64 << 10;

    fn flush(hosted: &mut Hosted) {
        while let Some(request) = hosted.partition.poll_flush() {
            let ticket = FlushTask::new(&hosted.partition, &request).run().unwrap();
            hosted.partition.handle_flushed(ticket);
        }
    }

    fn segments(hosted: &Hosted) -> Vec<SegmentView> {
        hosted.partition.log().segments().map(|segment| segment.memory().share()).collect()
    }

    fn take(hosted: &mut Hosted, done: Done) -> bool {
        let is_segment = matches!(done, Done::Prepared { .. });
        hosted.job_done(done, &mut Clients::default(), &NodeMetrics::new(&[], 1, 1));
        is_segment
    }

    /// Writes a few keys again and again, or one after the other, until the next segment is to be made.
    fn fill(hosted: &mut Hosted, jobs: &BackgroundClient, numbers: &mut RangeFrom<u32>, is_kept: bool) -> Action {
        loop {
            if let Some(action) = hosted.partition.poll_action() {
                return action;
            }
            let number = numbers.next().unwrap();
            let key = if is_kept { number } else { number % 4 }.to_le_bytes();
            let (hash, change) = (hosted.partition.hash(&key), Change::Put { value: &[7; 500], expires_at: None });
            while hosted.partition.append(Now::read().unix, &mut [Op { hash, key: &key, change }]).is_err() {
                take(hosted, jobs.wait().unwrap());
            }
            flush(hosted);
        }
    }

    /// Has that done.
    fn make(hosted: &mut Hosted, jobs: &BackgroundClient, action: Action) {
        hosted.deferred = Some(action);
        hosted.submit_jobs(jobs);
        while matches!(action, Action::Prepare { .. }) && !take(hosted, jobs.wait().unwrap()) {}
    }

    fn grow(hosted: &mut Hosted, jobs: &BackgroundClient, by: usize, numbers: &mut RangeFrom<u32>, is_kept: bool) {
        let before = segments(hosted).len();
        while segments(hosted).len() < before + by {
            let action = fill(hosted, jobs, numbers, is_kept);
            make(hosted, jobs, action);
        }
    }

    fn hosted(folder: &std::path::Path, blocks: u64) -> Hosted {
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::SharedNothing };
        let dir = DataDir::open_or_create(folder, &new).unwrap();
        let config = OpenConfig { segment_len: LEN, segments_ahead: 1, fill: FillMode::Direct };
        let open = open_partition(&dir, PartitionId::new(0), &config, Now::read().unix).unwrap();
        let mut hosted = Hosted::new(open, FillMode::Direct, u64::MAX);
        hosted.tail = TailMemory::new(blocks * LEN, LEN, 1);
        hosted
    }

    #[test]
    fn a_segment_that_gives_its_memory_up_is_doubted_before_it_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = hosted(folder.path(), 4);
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        let jobs = background.client(|| {});
        let mut numbers = 100..;
        assert!(hosted.tail_for(LEN, FillMode::Direct).is_none(), "nothing was written yet");
        grow(&mut hosted, &jobs, 8, &mut numbers, false);
        let left = |hosted: &Hosted| segments(hosted).iter().filter(|view| view.cold_end().is_some()).count();
        let before = left(&hosted);
        let action = fill(&mut hosted, &jobs, &mut numbers, false);
        let out = hosted.tail.as_ref().unwrap().next_out().expect("all of it is in use");
        assert!(
            before > 0 && hosted.partition.is_doubted(Lsn::new(out.get() - 1)) && !hosted.partition.is_doubted(out)
        );
        let (_, keep) = hosted.tail_for(LEN, FillMode::Direct).expect("hardly anything lives so long");
        assert!(
            !keep && hosted.partition.is_doubted(out) && hosted.partition.is_doubted(Lsn::new(out.get() + LEN - 1))
        );
        assert!(!hosted.partition.is_doubted(out.plus(LEN)));
        hosted.has_left();
        assert!(!hosted.partition.is_doubted(out), "the segment could not be made");
        assert!(hosted.tail_for(LEN, FillMode::Cold).is_none() && hosted.tail_for(2 * LEN, FillMode::Direct).is_none());
        hosted.tail.as_ref().unwrap().set_shared(true);
        assert!(hosted.tail_for(LEN, FillMode::Direct).is_none(), "others read the file");
        hosted.note_readers();
        make(&mut hosted, &jobs, action);
        assert_eq!(left(&hosted), before + 1, "nobody does");
        assert!(hosted.partition.is_doubted(out) && hosted.leaving.is_none());
        hosted.warm_up(&jobs);
        assert!(!hosted.is_warming && hosted.partition.is_doubted(out), "it is not read into memory");
    }

    #[test]
    fn what_is_current_all_the_same_is_kept_in_memory() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = hosted(folder.path(), 4);
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        let jobs = background.client(|| {});
        let mut numbers = 100..;
        grow(&mut hosted, &jobs, 8, &mut numbers, false);
        let cold = hosted.partition.cold().clone();
        grow(&mut hosted, &jobs, 6, &mut numbers, true);
        assert!(hosted.tail_for(LEN, FillMode::Direct).is_none(), "the keys are others now");
        let kept = |hosted: &Hosted| -> Vec<SegmentView> {
            let full = hosted.partition.log().segments().filter(|segment| segment.live_bytes() > LEN / 2);
            full.map(|segment| segment.memory().share()).filter(SegmentView::is_of_tail).collect()
        };
        let before = kept(&hosted);
        assert!(!before.is_empty() && before.iter().all(|view| !view.is_in_file(0..1)), "in memory");
        grow(&mut hosted, &jobs, 8, &mut numbers, false);
        assert_eq!(kept(&hosted).len(), before.len());
        assert!(before.iter().all(|view| view.is_in_file(0..1) && view.cold_end().is_none()), "in the page cache");
        assert!(hosted.partition.cold().start == cold.start && hosted.partition.cold().end > cold.end);
    }
}
