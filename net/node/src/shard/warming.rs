//! What came past the page cache, and how it comes into memory.
//!
//! A follower that is far behind writes what it gets [past the page cache](super::filling). Whoever asks for it meanwhile
//! waits until it has been [read](super::cold), as for everything that is old. Once the follower has caught up, a helper
//! thread reads it, newest first, and as much of it as is taken to be in memory in the end: the follower may be the next
//! leader, which looks at every record that it overwrites.

use windrow_core::log::{LogSegment, SegmentMemory};
use windrow_core::types::Lsn;
use windrow_store::{BackgroundClient, Job, MappedSegment, SegmentView};

use super::filling::COLD_FLUSH_LEN;
use super::hosted::Hosted;

/// Bytes of segments that are read into memory at a time, but one at least.
const AT_ONCE: u64 = 64 << 20;

impl Hosted {
    /// Whether enough has come since `from` to be flushed, where the segment in use is written past the page cache.
    pub(super) fn is_due_by_part(&self, from: Lsn) -> bool {
        let last = self.partition.log().segments().next_back();
        self.partition.appended().since(from) >= COLD_FLUSH_LEN
            && last.is_some_and(|last| last.memory().share().cold_end().is_some())
    }

    /// These segments have been flushed.
    pub(super) fn note_cold(&mut self, flushed: &[SegmentView]) {
        let ends = flushed.iter().filter_map(|view| Some(view.base().plus(view.cold_end()? as u64)));
        if let Some(end) = ends.max().filter(|end| *end > self.partition.cold_end()) {
            self.partition.doubt_below(end);
        }
    }

    /// Has the helper thread read some more, if something is cold. Only once all has come, unless keys expire: then it is read
    /// already, here and there. Called every 100 ms, which leaves the thread time for its other jobs.
    pub(super) fn warm_up(&mut self, background: &BackgroundClient) {
        let cold_end = self.partition.cold_end();
        self.partition.doubt_below(Lsn::ZERO);
        if self.partition.hot_from().is_some_and(|hot_from| hot_from >= cold_end) {
            // It is old by now, and not taken to be in memory in any case.
            return;
        }
        self.partition.doubt_below(cold_end);
        let comes = self.rest_of_segment_comes() && !self.partition.has_expiries();
        if cold_end == Lsn::ZERO || self.warming.is_some() || comes {
            return;
        }
        let mut len = 0;
        let newest_first = self.partition.log().segments().rev().map(LogSegment::memory);
        let segments: Vec<SegmentView> = newest_first
            .filter(|segment| segment.base() < cold_end)
            .take_while(|segment| {
                let is_first = len == 0;
                len += segment.segment_len();
                is_first || len <= AT_ONCE
            })
            .map(MappedSegment::share)
            .collect();
        let Some(oldest) = segments.last() else {
            // It was cut off.
            return self.partition.doubt_below(Lsn::ZERO);
        };
        self.warming = Some((oldest.base(), cold_end));
        background.submit(Job::Warm { partition: self.id, segments });
    }

    /// What was to be read into memory has been.
    pub(super) fn warmed(&mut self) {
        let Some((oldest, end)) = self.warming.take() else { return };
        if end < self.partition.cold_end() {
            // More has come meanwhile, and that is next.
            return;
        }
        self.partition.doubt_below(Lsn::ZERO);
        // What is old enough is not taken to be in memory whether it is or not.
        let hot_from = self.partition.hot_from().unwrap_or(self.partition.log().start());
        if hot_from < oldest {
            self.partition.doubt_below(oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;

    use windrow_core::partition::{Action, Change, Op};
    use windrow_core::types::PartitionId;
    use windrow_store::{
        Background, BuildMode, DataDir, Done, FillMode, FlushedBy, NewDataDir, OpenConfig, open_partition,
    };

    use super::super::Now;
    use super::*;

    /// A log of which segments 2 to 5 went past the page cache, as it is flushed.
    fn partly_cold(folder: &std::path::Path) -> Hosted {
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::SharedNothing };
        let dir = DataDir::open_or_create(folder, &new).unwrap();
        let config = OpenConfig { segment_len: 64 << 10, segments_ahead: 1, fill: FillMode::Direct };
        let open = open_partition(&dir, PartitionId::new(0), &config, Now::read().unix).unwrap();
        let files = Arc::clone(&open.dir);
        let mut hosted = Hosted::new(open, FillMode::Direct, u64::MAX);
        let mut prepared = 0;
        for number in 0_u32.. {
            let key = number.to_le_bytes();
            let (hash, change) = (hosted.partition.hash(&key), Change::Put { value: &[7; 500], expires_at: None });
            while hosted.partition.append(Now::read().unix, &mut [Op { hash, key: &key, change }]).is_err() {
                while let Some(action) = hosted.partition.poll_action() {
                    let Action::Prepare { base, len } = action else { continue };
                    let fill = if prepared < 4 { FillMode::Cold } else { FillMode::Direct };
                    hosted.partition.handle_prepared(base, files.prepare(base, len, fill).unwrap());
                    prepared += 1;
                }
            }
            if prepared == 6 {
                break;
            }
        }
        let views: Vec<SegmentView> =
            hosted.partition.log().segments().map(LogSegment::memory).map(MappedSegment::share).collect();
        views.iter().for_each(|view| view.sync_data().unwrap());
        let flush = hosted.partition.poll_flush().unwrap();
        hosted.partition.handle_flushed(flush.ticket);
        hosted.note_cold(&views);
        hosted
    }

    fn base_of(hosted: &Hosted, at: usize) -> Lsn {
        hosted.partition.log().segments().nth(at).unwrap().base()
    }

    #[test]
    fn what_came_past_the_page_cache_is_read_from_its_end_on_once_all_has_come() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = partly_cold(folder.path());
        let cold_end = base_of(&hosted, 5);
        assert_eq!((hosted.partition.cold_end(), hosted.hot_from()), (cold_end, Some(cold_end)));
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        let (woken, wake) = channel();
        let jobs = background.client(move || woken.send(()).unwrap());
        #[cfg(feature = "shared-nothing")]
        {
            hosted.filling.leader_has(Lsn::new(u64::MAX));
            hosted.warm_up(&jobs);
            assert_eq!(hosted.warming, None, "more comes");
            hosted.filling.forget_leader();
        }
        hosted.warm_up(&jobs);
        assert_eq!(hosted.warming, Some((base_of(&hosted, 0), cold_end)), "all of it is not much");
        hosted.warm_up(&jobs);
        wake.recv().unwrap();
        assert!(matches!(jobs.poll(), Some(Done::Warmed { .. })));
        hosted.warmed();
        assert_eq!((hosted.hot_from(), hosted.partition.cold_end()), (None, Lsn::ZERO), "it is in memory now");
        hosted.warm_up(&jobs);
        assert!(hosted.warming.is_none() && jobs.poll().is_none());
    }

    #[test]
    fn no_more_is_read_into_memory_than_is_taken_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = partly_cold(folder.path());
        let base = base_of(&hosted, 4);
        let hot_from = base.plus(1000);
        hosted.partition.doubt_beyond(hosted.partition.appended().since(hot_from));
        assert_eq!(hosted.hot_from(), Some(hosted.partition.cold_end()));
        hosted.warming = Some((base, hosted.partition.cold_end()));
        hosted.warmed();
        assert_eq!((hosted.hot_from(), hosted.partition.cold_end()), (Some(hot_from), Lsn::ZERO));
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        hosted.partition.doubt_below(base);
        hosted.warm_up(&background.client(|| ()));
        assert_eq!((hosted.warming, hosted.partition.cold_end()), (None, Lsn::ZERO), "all of it is too old");
    }

    #[test]
    fn what_has_been_read_is_taken_to_be_in_memory_and_what_is_older_or_newer_not() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = partly_cold(folder.path());
        let oldest = base_of(&hosted, 2);
        hosted.warming = Some((oldest, hosted.partition.cold_end()));
        hosted.warmed();
        assert_eq!(hosted.hot_from(), Some(oldest));
        // More has come meanwhile.
        let end = hosted.partition.appended();
        hosted.partition.doubt_below(end);
        hosted.warming = Some((base_of(&hosted, 0), oldest));
        hosted.warmed();
        assert_eq!(hosted.hot_from(), Some(end));
    }
}
