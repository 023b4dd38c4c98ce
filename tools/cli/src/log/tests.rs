//! Tests of the log tools on logs that the engine has made.

mod repair;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use windrow_core::codec::RecordKind;
use windrow_core::partition::{Action, Change, Op};
use windrow_core::types::limits::SEGMENT_LEN_MIN;
use windrow_core::types::{Lsn, PartitionId, UnixMillis};
use windrow_store::{
    BuildMode, DataDir, FillMode, FlushTask, NewDataDir, OpenConfig, OpenPartition, Progress, open_partition,
    open_replica,
};

use super::json;
use super::target::{Target, find};
use super::verdict::{Found, Verdict, look};

const CONFIG: OpenConfig = OpenConfig { segment_len: SEGMENT_LEN_MIN, segments_ahead: 1, fill: FillMode::Write4K };
const NOW: UnixMillis = UnixMillis::ZERO;

/// A data directory of one partition, with a log of several small segments.
struct Log {
    _parent: tempfile::TempDir,
    dir: PathBuf,
    data_dir: Option<DataDir>,
    open: Option<OpenPartition>,
}

impl Log {
    /// `count` puts of `k0`, `k1`, …, every one flushed.
    fn with_puts(count: usize) -> Self {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let new = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::Embedded };
        let data_dir = DataDir::open_or_create(&dir, &new).unwrap();
        let open = open_partition(&data_dir, PartitionId::new(0), &CONFIG, NOW).unwrap();
        let mut log = Self { _parent: parent, dir, data_dir: Some(data_dir), open: Some(open) };
        for number in 0..count {
            log.put(&format!("k{number}"), &[b'v'; 100]);
            log.flush();
        }
        log
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        let OpenPartition { partition, dir, .. } = self.open.as_mut().unwrap();
        let change = Change::Put { value, expires_at: None };
        let hash = partition.hash(key.as_bytes());
        while let Err(error) = partition.append(NOW, &mut [Op { hash, key: key.as_bytes(), change }]) {
            assert!(error.is_not_ready(), "{error}");
            let Some(Action::Prepare { base, len }) = partition.poll_action() else { panic!("nothing to prepare") };
            let memory = dir.prepare(base, len, CONFIG.fill).unwrap();
            partition.handle_prepared(base, memory);
        }
    }

    fn flush(&mut self) {
        let OpenPartition { partition, control, .. } = self.open.as_mut().unwrap();
        let request = partition.poll_flush().unwrap();
        let ticket = FlushTask::new(partition, &request).run().unwrap();
        partition.handle_flushed(ticket);
        control.publish(&Progress::of(partition));
    }

    /// Ends the writer as a kill would: nothing more is written.
    fn close(mut self) -> Self {
        (self.open, self.data_dir) = (None, None);
        self
    }

    fn partition_dir(&self) -> PathBuf {
        self.dir.join("partition-0000")
    }

    fn segments(&self) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(self.partition_dir()).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
        paths.sort();
        paths
    }

    /// Inverts one bit.
    fn damage(&self, segment: usize, offset: u64) {
        let file = fs::File::options().read(true).write(true).open(&self.segments()[segment]).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, offset).unwrap();
        file.write_all_at(&[byte[0] ^ 1], offset).unwrap();
    }
}

fn examine(path: &Path) -> (Target, Found) {
    let target = find(path).unwrap().remove(0);
    let found = look(&target, &mut |_| {}, &mut |_| {}).unwrap();
    (target, found)
}

fn verdict(path: &Path) -> Verdict {
    examine(path).1.verdict
}

fn puts(found: &Found) -> u64 {
    found.segments.iter().map(|segment| segment.scanned.counts.puts).sum()
}

#[test]
fn a_whole_log_is_clean_and_every_put_is_counted() {
    let log = Log::with_puts(50).close();
    let (target, found) = examine(&log.dir);
    assert_eq!((found.verdict, target.writer), (Verdict::Clean, false));
    assert_eq!(puts(&found), 50);
    assert!(found.segments.len() > 2, "the log has rolled");
    assert!(found.segments[0].scanned.is_complete && found.segments[0].scanned.footer.is_ok());
    assert!(found.segments.iter().all(|segment| segment.scanned.problems.is_empty()));
    assert_eq!(target.progress.unwrap().appended, found.end);
    let (_, alone) = examine(&log.partition_dir());
    assert_eq!((alone.verdict, alone.end), (Verdict::Clean, found.end));
}

#[test]
fn a_running_writer_is_no_damage() {
    let mut log = Log::with_puts(20);
    log.put("unflushed", b"x");
    let (target, found) = examine(&log.dir);
    assert!(target.writer);
    assert!(found.verdict.is_good(), "{:?}", found.verdict);
    assert!(found.end >= target.progress.unwrap().committed);
    for segment in log.segments() {
        assert!(verdict(&segment).is_good());
    }
}

#[test]
fn every_bit_of_what_was_flushed_counts() {
    let log = Log::with_puts(50).close();
    let (_, whole) = examine(&log.dir);
    let first = &whole.segments[0];
    for offset in (0..first.len).step_by(7) {
        log.damage(0, offset);
        let (_, found) = examine(&log.dir);
        assert_eq!(found.verdict, Verdict::Corrupt, "offset {offset}");
        assert_eq!(verdict(&log.segments()[0]), Verdict::Corrupt, "offset {offset}");
        log.damage(0, offset);
    }
    assert_eq!(verdict(&log.dir), Verdict::Clean);
}

#[test]
fn damage_is_located_and_what_follows_is_still_read() {
    let log = Log::with_puts(50).close();
    let mut starts = Vec::new();
    let target = find(&log.dir).unwrap().remove(0);
    look(&target, &mut |_| {}, &mut |record| {
        starts.extend((record.header.kind == RecordKind::Batch).then_some((record.header.lsn, record.end())));
    })
    .unwrap();
    let (third, after) = starts[2];
    log.damage(0, third.get() + 60);
    let (_, found) = examine(&log.dir);
    let problem = &found.segments[0].scanned.problems[0];
    assert_eq!((problem.lsn, problem.offset, problem.resumes), (third, third.get(), Some(after)));
    assert!(problem.what.contains("body checksum"), "{}", problem.what);
    assert_eq!(found.end, third);
    assert_eq!(puts(&found), 49);
}

#[test]
fn a_torn_tail_is_no_corruption() {
    let mut log = Log::with_puts(3);
    let flushed = log.open.as_ref().unwrap().partition.appended();
    log.put("first", &[b'x'; 200]);
    let second = log.open.as_ref().unwrap().partition.appended();
    log.put("second", b"y");
    let log = log.close();
    log.damage(0, flushed.get() + 100);
    let (_, found) = examine(&log.dir);
    assert_eq!((found.verdict, found.end), (Verdict::Torn, flushed));
    assert_eq!(found.segments[0].scanned.problems[0].resumes, Some(second));
    assert_eq!(verdict(&log.segments()[0]), Verdict::Torn);
}

#[test]
fn a_missing_segment_is_corruption() {
    let log = Log::with_puts(50).close();
    fs::remove_file(&log.segments()[1]).unwrap();
    assert_eq!(verdict(&log.dir), Verdict::Corrupt);
}

#[test]
fn a_segment_of_another_log_is_corruption() {
    let (log, other) = (Log::with_puts(50).close(), Log::with_puts(50).close());
    fs::copy(&other.segments()[1], &log.segments()[1]).unwrap();
    assert_eq!(verdict(&log.dir), Verdict::Corrupt);
    assert_eq!(verdict(&log.segments()[1]), Verdict::Corrupt);
}

#[test]
fn without_a_superblock_records_are_still_read() {
    let log = Log::with_puts(50).close();
    fs::write(log.partition_dir().join("superblock"), [7; 8192]).unwrap();
    let (_, found) = examine(&log.dir);
    assert_eq!((found.verdict, puts(&found)), (Verdict::NoSuperblock, 50));
    fs::remove_file(log.dir.join("identity")).unwrap();
    assert_eq!(verdict(&log.dir), Verdict::NoSuperblock);
}

#[test]
fn what_is_no_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |path: &Path| find(path).err().map(|failure| failure.exit);
    assert_eq!(refused(dir.path()), Some(crate::exit::Exit::NoInput));
    assert_eq!(refused(&dir.path().join("none")), Some(crate::exit::Exit::NoInput));
    let file = dir.path().join("thesis.tex");
    fs::write(&file, "precious").unwrap();
    assert_eq!(refused(&file), Some(crate::exit::Exit::NoInput));
    let segment = dir.path().join("00000000000000000000.seg");
    fs::write(&segment, "short").unwrap();
    assert!(!verdict(&segment).is_good());
}

#[test]
fn records_and_findings_have_their_json() {
    let mut log = Log::with_puts(1);
    log.put("raw", &[0xff]);
    log.flush();
    let log = log.close();
    let target = find(&log.dir).unwrap().remove(0);
    let mut records = Vec::new();
    let found =
        look(&target, &mut |_| {}, &mut |record| records.push(json::record(record, true, target.committed()))).unwrap();
    assert_eq!(records[0]["kind"], "epoch");
    assert_eq!(records[1]["ops"][0]["key"], "k0");
    assert_eq!(records[1]["ops"][0]["value"], "v".repeat(100));
    assert_eq!(records[2]["ops"][0]["value_hex"], "ff");
    assert_eq!(records[2]["ops"][0]["value_len"], 1);
    assert_eq!(records[2]["prev"], records[1]["chain"]);
    let value = json::found(&target, &found);
    assert_eq!(value["verdict"], "clean");
    assert_eq!(value["segments"][0]["puts"], 2);
    assert_eq!(value["end"], records[2]["end"]);
    assert_eq!(Lsn::new(value["control"]["committed"].as_u64().unwrap()), found.end);
    assert_eq!((&records[2]["committed"], &value["superblock"]["in_set"]), (&Value::Null, &false.into()));
}

/// What a replica holds is not all committed, and only what is known to be is shown as such.
#[test]
fn records_of_a_replica_say_whether_they_are_known_to_be_committed() {
    let log = Log::with_puts(2).close();
    {
        let data_dir = DataDir::open(&log.dir).unwrap();
        drop(open_replica(&data_dir, PartitionId::new(0), &CONFIG).unwrap());
    }
    let mut target = find(&log.dir).unwrap().remove(0);
    let told = target.committed().unwrap();
    target.writer = false;
    let mut records = Vec::new();
    look(&target, &mut |_| {}, &mut |record| records.push(json::record(record, false, target.committed()))).unwrap();
    assert!(records.iter().all(|one| one["committed"] == (one["end"].as_u64().unwrap() <= told.get())), "{records:?}");
    assert!(records.iter().any(|one| one["committed"] == false), "nobody else has what was written last");
}
