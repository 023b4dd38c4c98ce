//! What came past the page cache, and how it comes into memory.
//!
//! A follower that is far behind writes what it gets [past the page cache](super::filling). Whoever asks for it meanwhile
//! waits until it has been [read](super::cold), as for everything that is old. Once the follower has caught up, a helper
//! thread reads it, newest first, and as much of it as is taken to be in memory in the end: the follower may be the next
//! leader, which looks at every record that it overwrites.

use std::ops::Range;

use windrow_core::log::LogSegment;
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
            && last.is_some_and(|last| last.memory().share().is_written_past_cache())
    }

    /// These segments have been flushed.
    pub(super) fn note_cold(&mut self, flushed: &[SegmentView]) {
        for view in flushed {
            if let Some(end) = cold_end_of(view) {
                self.doubt_also(view.base()..end);
                self.is_to_warm = true;
            }
        }
    }

    /// Takes this to be on disk only, too, and what is between it and the rest of that.
    pub(super) fn doubt_also(&mut self, part: Range<Lsn>) {
        let cold = self.partition.cold();
        let all = if cold.is_empty() { part } else { cold.start.min(part.start)..cold.end.max(part.end) };
        self.partition.doubt_in(all);
    }

    /// Takes what went past the page cache, or is about to leave memory, to be on disk only, and no more. Looks at every segment:
    /// not for what comes with each of them.
    pub(super) fn doubt_cold(&mut self) {
        let (old_end, leaving) = (self.partition.old_end(), self.leaving);
        let mut cold = Lsn::ZERO..Lsn::ZERO;
        // What is older is not taken to be in memory whether it is or not.
        for view in self.newest_first().take_while(|view| view.base().plus(view.segment_len()) > old_end) {
            let is_leaving = leaving == Some(view.base());
            let end = if is_leaving { Some(view.base().plus(view.segment_len())) } else { cold_end_of(&view) };
            if let Some(end) = end {
                cold = view.base()..cold.end.max(end);
            }
        }
        self.partition.doubt_in(cold);
    }

    /// Has the helper thread read some more, if something is cold. Only once all has come, unless keys expire: then it is read
    /// already, here and there. Called every 100 ms, which leaves the thread time for its other jobs.
    pub(super) fn warm_up(&mut self, background: &BackgroundClient) {
        let comes = self.rest_of_segment_comes() && !self.partition.has_expiries();
        if !self.is_to_warm || self.is_warming || comes {
            return;
        }
        let old_end = self.partition.old_end();
        let mut len = 0;
        let segments: Vec<SegmentView> = self
            .newest_first()
            // What is older is not taken to be in memory whether it is or not.
            .take_while(|view| view.base().plus(view.segment_len()) > old_end)
            // Nor is hardly anything of what was kept in memory until it was overwritten.
            .filter(|view| view.cold_end().is_some() && !view.is_of_tail())
            .take_while(|view| {
                let is_first = len == 0;
                len += view.segment_len();
                is_first || len <= AT_ONCE
            })
            .collect();
        if segments.is_empty() {
            self.is_to_warm = false;
            self.doubt_cold();
        } else {
            self.is_warming = true;
            background.submit(Job::Warm { partition: self.id, segments });
        }
    }

    /// What was to be read into memory has been.
    pub(super) fn warmed(&mut self) {
        self.is_warming = false;
        self.doubt_cold();
    }

    fn newest_first(&self) -> impl Iterator<Item = SegmentView> {
        self.partition.log().segments().rev().map(LogSegment::memory).map(MappedSegment::share)
    }
}

/// Where what went past the page cache ends, if anything did.
fn cold_end_of(view: &SegmentView) -> Option<Lsn> {
    Some(view.base().plus(view.cold_end()? as u64))
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
    #[cfg(feature = "shared-nothing")]
    use super::super::filling;
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
        assert_eq!(hosted.partition.cold(), &(base_of(&hosted, 1)..base_of(&hosted, 5)));
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        let (woken, wake) = channel();
        let jobs = background.client(move || woken.send(()).unwrap());
        #[cfg(feature = "shared-nothing")]
        {
            hosted.filling.leader_has(Lsn::new(u64::MAX));
            hosted.warm_up(&jobs);
            assert!(!hosted.is_warming, "more comes");
            hosted.filling.forget_leader();
        }
        let cold = |hosted: &Hosted| -> Vec<SegmentView> {
            hosted.newest_first().filter(|view| view.cold_end().is_some()).collect()
        };
        assert_eq!(cold(&hosted).len(), 4);
        hosted.warm_up(&jobs);
        hosted.warm_up(&jobs);
        wake.recv().unwrap();
        assert!(matches!(jobs.poll(), Some(Done::Warmed { .. })));
        hosted.warmed();
        assert_eq!((hosted.partition.has_doubted(), cold(&hosted).len()), (false, 0), "it is in memory now");
        // One of them is flushed once more.
        let views: Vec<SegmentView> = hosted.newest_first().collect();
        hosted.note_cold(&views);
        hosted.warm_up(&jobs);
        assert!(!hosted.partition.has_doubted() && !hosted.is_warming && jobs.poll().is_none());
    }

    #[test]
    fn no_more_is_read_into_memory_than_is_taken_to_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let mut hosted = partly_cold(folder.path());
        let (base, cold_end) = (base_of(&hosted, 4), hosted.partition.cold().end);
        hosted.partition.doubt_beyond(hosted.partition.appended().since(base));
        assert!(hosted.partition.is_doubted(base) && !hosted.partition.is_doubted(cold_end));
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        let (woken, wake) = channel();
        let jobs = background.client(move || woken.send(()).unwrap());
        hosted.warm_up(&jobs);
        wake.recv().unwrap();
        hosted.warmed();
        assert!(jobs.poll().is_some());
        assert!(hosted.partition.cold().is_empty() && !hosted.partition.is_doubted(base), "the newest is enough");
        hosted.warm_up(&jobs);
        assert!(!hosted.is_warming && hosted.partition.old_end() == base, "the rest is too old");
    }

    /// The network may be faster than the disk.
    #[cfg(feature = "shared-nothing")]
    #[test]
    fn no_segment_is_made_for_more_while_much_of_what_came_is_not_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::SharedNothing };
        let dir = DataDir::open_or_create(folder.path(), &new).unwrap();
        let config = OpenConfig { segment_len: 8 << 20, segments_ahead: 1, fill: FillMode::Allocate };
        let open = open_partition(&dir, PartitionId::new(0), &config, Now::read().unix).unwrap();
        let mut hosted = Hosted::new(open, FillMode::Allocate, u64::MAX);
        hosted.filling.leader_has(Lsn::new(u64::MAX));
        let background = Background::start(&[], FlushedBy::Callers).unwrap();
        let (woken, wake) = channel();
        let jobs = background.client(move || woken.send(()).unwrap());
        let value = vec![7; 1 << 20];
        let unflushed = |hosted: &Hosted| hosted.partition.appended().since(hosted.partition.durable());
        for number in 0_u32.. {
            let key = number.to_le_bytes();
            let (hash, change) = (hosted.partition.hash(&key), Change::Put { value: &value, expires_at: None });
            while hosted.partition.append(Now::read().unix, &mut [Op { hash, key: &key, change }]).is_err() {
                hosted.submit_jobs(&jobs);
                if hosted.deferred.is_some() {
                    break;
                }
                wake.recv().unwrap();
                match jobs.poll() {
                    Some(Done::Prepared { base, segment, .. }) => hosted.partition.handle_prepared(base, segment),
                    Some(Done::SuperblockWritten { generation, .. }) => {
                        hosted.partition.handle_superblock_written(generation);
                    }
                    other => panic!("{other:?}"),
                }
            }
            if hosted.deferred.is_some() {
                break;
            }
        }
        assert!((filling::COLD_UNFLUSHED_MAX..filling::COLD_UNFLUSHED_MAX + (16 << 20)).contains(&unflushed(&hosted)));
        hosted.submit_jobs(&jobs);
        assert!(hosted.deferred.is_some(), "it is asked again and again");
        let flush = hosted.partition.poll_flush().unwrap();
        hosted.partition.handle_flushed(flush.ticket);
        hosted.submit_jobs(&jobs);
        assert!(hosted.deferred.is_none(), "and made once there is less");
    }
}
