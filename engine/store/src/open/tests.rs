use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use windrow_core::log::RoomError;
use windrow_core::partition::{AppendError, Change, Op};
use windrow_core::recovery::RecoveryError;

use super::*;
use crate::data_dir::{BuildMode, NewDataDir};

mod followers;

const NEW: NewDataDir = NewDataDir { cluster: None, replica: None, partitions: 2, mode: BuildMode::Embedded };
const CONFIG: OpenConfig = OpenConfig { segment_len: 4096, segments_ahead: 1, fill: FillMode::Write4K };
const ID: PartitionId = PartitionId::new(1);
const NOW: UnixMillis = UnixMillis::new(1_000_000).unwrap();

struct Place {
    _parent: tempfile::TempDir,
    path: PathBuf,
}

impl Place {
    fn new() -> Self {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("data");
        Self { _parent: parent, path }
    }

    fn open(&self) -> Result<Open, OpenError> {
        self.open_with(&CONFIG)
    }

    fn open_with(&self, config: &OpenConfig) -> Result<Open, OpenError> {
        let data_dir = DataDir::open_or_create(&self.path, &NEW).unwrap();
        open_partition(&data_dir, ID, config, NOW).map(|opened| Open { _data_dir: data_dir, opened, fill: config.fill })
    }

    fn read(&self) -> Result<ReadOnlyPartition, OpenError> {
        open_read_only(&DataDir::open_read_only(&self.path).unwrap(), ID, &CONFIG)
    }

    fn partition(&self) -> PathBuf {
        self.path.join(crate::partition_dir_name(ID))
    }

    fn segment(&self, base: u64) -> PathBuf {
        self.partition().join(segment_file_name(Lsn::new(base)))
    }

    fn segments(&self) -> Vec<String> {
        let names = crate::files::names_in(&self.partition()).unwrap();
        names.into_iter().filter(|name| name.ends_with(".seg")).collect()
    }

    /// The directory as it would be found had the process been killed now: the page cache survives a kill.
    fn killed_copy(&self) -> Self {
        let copy = Self::new();
        copy_tree(&self.path, &copy.path);
        copy
    }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[derive(Debug)]
struct Open {
    _data_dir: DataDir,
    opened: OpenPartition,
    fill: FillMode,
}

impl Open {
    fn put(&mut self, key: &str, value: &[u8]) -> Result<(), AppendError> {
        let partition = &mut self.opened.partition;
        let op = Op {
            hash: partition.hash(key.as_bytes()),
            key: key.as_bytes(),
            change: Change::Put { value, expires_at: None },
        };
        partition.append(NOW, &mut [op]).map(|_| ())
    }

    /// Puts, and does what the partition asks for on the way.
    fn put_all(&mut self, keys: std::ops::Range<u32>) {
        for number in keys {
            while let Err(error) = self.put(&format!("key{number}"), &[number.to_le_bytes()[0]; 200]) {
                assert!(error.is_not_ready(), "{error}");
                self.act().unwrap();
            }
        }
    }

    fn act(&mut self) -> Result<(), PrepareError> {
        while let Some(action) = self.opened.partition.poll_action() {
            match action {
                Action::Prepare { base, len } => match self.opened.dir.prepare(base, len, self.fill) {
                    Ok(memory) => self.opened.partition.handle_prepared(base, memory),
                    Err(error) => {
                        self.opened.partition.handle_prepare_failed(base, error.failure());
                        return Err(error);
                    }
                },
                Action::WriteSuperblock(superblock) => {
                    self.opened.dir.write_superblock(&superblock).unwrap();
                    self.opened.partition.handle_superblock_written(superblock.generation);
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) {
        while let Some(request) = self.opened.partition.poll_flush() {
            let ticket = FlushTask::new(&self.opened.partition, &request).run().unwrap();
            self.opened.partition.handle_flushed(ticket);
        }
        self.opened.control.publish(&Progress::of(&self.opened.partition));
    }
}

fn keys(partition: &Partition<MappedSegment>) -> Vec<String> {
    let mut found = Vec::new();
    let mut cursor = Some(windrow_core::partition::ScanCursor::START);
    while let Some(from) = cursor {
        let mut visit = |entry: windrow_core::partition::Entry<'_>| {
            found.push(String::from_utf8(entry.key.to_vec()).unwrap());
        };
        cursor = partition.scan(from, 10, NOW, &mut visit).next;
    }
    found.sort_unstable();
    found
}

fn expected(keys: std::ops::Range<u32>) -> Vec<String> {
    let mut names: Vec<_> = keys.map(|number| format!("key{number}")).collect();
    names.sort_unstable();
    names
}

#[test]
fn what_was_appended_is_there_after_any_number_of_openings() {
    let place = Place::new();
    for round in 0..10 {
        let mut open = place.open().unwrap();
        assert_eq!(keys(&open.opened.partition), expected(0..round * 30));
        assert_eq!(open.opened.report.epoch.get(), round + 1);
        assert_eq!(open.opened.report.cut, None);
        assert_eq!(open.opened.partition.committed(), open.opened.partition.appended(), "all of it is durable");
        open.put_all(round * 30..(round + 1) * 30);
        if round % 2 == 0 {
            open.flush();
        }
    }
    assert!(place.segments().len() > 10, "the log has rolled");
}

#[test]
fn what_was_flushed_is_there_after_any_number_of_openings_and_the_rest_was_memory() {
    let place = Place::new();
    let config = OpenConfig { segment_len: 64 << 10, segments_ahead: 2, fill: FillMode::Direct };
    for round in 0..10 {
        let mut open = place.open_with(&config).unwrap();
        assert_eq!(keys(&open.opened.partition), expected(0..round * 60));
        assert_eq!(open.opened.report.cut, None);
        // Flushed before a segment is full, when it is, and in the middle of a block of the file.
        for start in (round * 60..(round + 1) * 60).step_by(20) {
            open.put_all(start..start + 20);
            open.flush();
        }
        // As the process were killed: most of this is nowhere else.
        open.put_all(900..903);
    }
    assert!(place.segments().len() > 2, "the log has rolled");
    let killed = place.killed_copy();
    assert_eq!(keys(&killed.open().unwrap().opened.partition), expected(0..600), "other settings find the same");
}

#[test]
fn temporary_files_are_removed_and_foreign_ones_reported() {
    let place = Place::new();
    drop(place.open().unwrap());
    for name in ["00000000000000999424.seg.tmp", "superblock.tmp", "core.1234"] {
        fs::write(place.partition().join(name), "x").unwrap();
    }
    let open = place.open().unwrap();
    assert_eq!(open.opened.report.temporary, ["00000000000000999424.seg.tmp", "superblock.tmp"]);
    assert_eq!(open.opened.report.unknown, ["core.1234"]);
    assert!(place.partition().join("core.1234").exists());
    assert!(!place.partition().join("superblock.tmp").exists());
}

/// Zeroes or damages the page at `offset` of a segment.
fn damage(path: &Path, offset: u64, bytes: &[u8]) {
    let file = File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

#[test]
fn a_torn_tail_is_cut_and_stays_cut() {
    let place = Place::new();
    let mut open = place.open().unwrap();
    open.put_all(0..5);
    open.flush();
    let durable = open.opened.partition.appended();
    open.put_all(5..40);
    drop(open);
    // The first record that was not flushed is lost, those behind it are there: a hole.
    damage(&place.segment(0), durable.get(), &[0; 48]);
    let open = place.open().unwrap();
    let cut = open.opened.report.cut.clone().unwrap();
    assert_eq!(cut.end, durable);
    assert!(cut.whole_records > 0 && !cut.segments.is_empty());
    assert_eq!(open.opened.report.end, durable);
    assert_eq!(keys(&open.opened.partition), expected(0..5));
    let rest = fs::read(place.segment(0)).unwrap();
    let end = usize::try_from(open.opened.partition.appended().get()).unwrap();
    assert!(rest[end..].iter().all(|&byte| byte == 0), "what was cut is not readable any more");
    drop(open);
    let mut open = place.open().unwrap();
    assert_eq!(open.opened.report.cut, None);
    open.put_all(5..40);
    open.flush();
    drop(open);
    assert_eq!(keys(&place.open().unwrap().opened.partition), expected(0..40));
}

#[test]
fn damage_below_the_watermark_is_refused_and_nothing_changes() {
    let place = Place::new();
    let mut open = place.open().unwrap();
    open.put_all(0..40);
    open.flush();
    open.put_all(40..60);
    open.flush();
    drop(open);
    let before: Vec<_> = place.segments().iter().map(|name| fs::read(place.partition().join(name)).unwrap()).collect();
    for (segment, offset) in [(0, 20), (0, 300), (4096, 0), (4096, 4096 - 30), (4096, 2000)] {
        let place = place.killed_copy();
        damage(&place.segment(segment), offset, &[0xa5; 8]);
        match place.open() {
            Err(OpenError::Recovery { source, .. }) => assert!(
                matches!(source, RecoveryError::Corrupt { .. } | RecoveryError::CorruptSegment { .. }),
                "{source}"
            ),
            other => panic!("segment {segment} offset {offset}: {:?}", other.map(|open| open.opened.report)),
        }
        assert!(place.read().is_err(), "nor is it shown to readers");
        damage(
            &place.segment(segment),
            offset,
            &before[usize::try_from(segment / 4096).unwrap()][usize::try_from(offset).unwrap()..][..8],
        );
        let after: Vec<_> =
            place.segments().iter().map(|name| fs::read(place.partition().join(name)).unwrap()).collect();
        assert_eq!(before, after);
    }
}

#[test]
fn missing_truncated_and_misplaced_segments_are_refused() {
    let place = Place::new();
    let mut open = place.open().unwrap();
    open.put_all(0..60);
    open.flush();
    open.put_all(60..70);
    open.flush();
    drop(open);
    type Harm = fn(&Place);
    let harms: [(&str, Harm); 6] = [
        ("first missing", |place| fs::remove_file(place.segment(0)).unwrap()),
        ("middle missing", |place| fs::remove_file(place.segment(4096)).unwrap()),
        ("truncated to nothing", |place| drop(File::create(place.segment(8192)).unwrap())),
        ("truncated", |place| File::options().write(true).open(place.segment(8192)).unwrap().set_len(1000).unwrap()),
        ("zeroed", |place| fs::write(place.segment(8192), [0; 4096]).unwrap()),
        ("misplaced", |place| assert!(fs::copy(place.segment(0), place.segment(4096)).is_ok())),
    ];
    for (name, harm) in harms {
        let place = place.killed_copy();
        harm(&place);
        let found = place.open();
        assert!(
            matches!(found, Err(OpenError::Recovery { .. } | OpenError::StartMissing { .. })),
            "{name}: {:?}",
            found.map(|open| open.opened.report)
        );
    }
    assert_eq!(keys(&place.open().unwrap().opened.partition), expected(0..70));
}

#[test]
fn superblocks_that_are_missing_unreadable_or_foreign_are_refused() {
    let place = Place::new();
    drop(place.open().unwrap());
    let superblock = place.partition().join("superblock");
    let good = fs::read(&superblock).unwrap();
    fs::remove_file(&superblock).unwrap();
    assert!(matches!(place.open(), Err(OpenError::File(_))));
    fs::write(&superblock, vec![0; good.len()]).unwrap();
    assert!(matches!(place.open(), Err(OpenError::Superblock(_))));
    fs::copy(place.path.join("partition-0000/superblock"), &superblock).unwrap();
    assert!(matches!(place.open(), Err(OpenError::Foreign { .. })));
    fs::write(&superblock, &good).unwrap();
    place.open().unwrap();
    fs::remove_dir_all(place.partition()).unwrap();
    assert!(matches!(place.open(), Err(OpenError::PartitionMissing { .. })));
    let data_dir = DataDir::open(&place.path).unwrap();
    let third = open_partition(&data_dir, PartitionId::new(2), &CONFIG, NOW);
    assert!(matches!(third, Err(OpenError::NoSuchPartition { count: 2, .. })));
}

#[test]
fn impossible_settings_are_refused() {
    let place = Place::new();
    let data_dir = DataDir::open_or_create(&place.path, &NEW).unwrap();
    for segment_len in [0, 4095, 5000, 2 << 30] {
        let config = OpenConfig { segment_len, ..CONFIG };
        assert!(matches!(open_partition(&data_dir, ID, &config, NOW), Err(OpenError::SegmentLen { .. })));
    }
    let config = OpenConfig { segments_ahead: 0, ..CONFIG };
    assert!(matches!(open_partition(&data_dir, ID, &config, NOW), Err(OpenError::SegmentsAhead)));
}

#[test]
fn another_segment_size_may_be_chosen_at_any_opening() {
    let place = Place::new();
    let mut count = 0;
    for segment_len in [8192, 4096, 65536, 4096, 16384] {
        let data_dir = DataDir::open_or_create(&place.path, &NEW).unwrap();
        let config = OpenConfig { segment_len, ..CONFIG };
        let opened = open_partition(&data_dir, ID, &config, NOW).unwrap();
        let mut open = Open { _data_dir: data_dir, opened, fill: CONFIG.fill };
        assert_eq!(keys(&open.opened.partition), expected(0..count));
        open.put_all(count..count + 50);
        open.flush();
        count += 50;
    }
    assert_eq!(keys(place.read().unwrap().partition()), expected(0..count));
}

#[test]
fn a_reader_follows_a_writer_and_never_sees_what_is_not_committed() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    let mut reader = place.read().unwrap();
    assert_eq!(keys(reader.partition()), expected(0..0));
    for round in 0..12 {
        writer.put_all(round * 17..(round + 1) * 17);
        assert_eq!(reader.refresh().unwrap(), reader.partition().appended());
        assert_eq!(keys(reader.partition()), expected(0..round * 17), "round {round}: not yet committed");
        let fresh = place.read().unwrap();
        assert_eq!(keys(fresh.partition()), expected(0..round * 17));
        writer.flush();
        assert_eq!(reader.refresh().unwrap(), writer.opened.partition.committed());
        assert_eq!(keys(reader.partition()), expected(0..(round + 1) * 17));
        if round % 3 == 2 {
            drop(writer);
            let alone = place.read().unwrap();
            assert_eq!(keys(alone.partition()), expected(0..(round + 1) * 17), "no writer: all of it");
            writer = place.open().unwrap();
        }
    }
}

#[test]
fn a_reader_writes_nothing() {
    fn image(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        for name in crate::files::names_in(dir).unwrap() {
            let path = dir.join(name);
            if path.is_dir() {
                files.extend(image(&path));
            } else {
                files.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
        files
    }
    let place = Place::new();
    let mut open = place.open().unwrap();
    open.put_all(0..20);
    drop(open);
    damage(&place.segment(4096), 2500, &[9; 1500]);
    fs::write(place.partition().join("stray.tmp"), "x").unwrap();
    let before = image(&place.path);
    let mut reader = place.read().unwrap();
    assert!(reader.report().cut.is_some());
    reader.refresh().unwrap();
    drop(reader);
    assert!(before == image(&place.path));
}

#[test]
fn a_full_disk_stops_writes_but_neither_opening_nor_reading_and_room_mends_it() {
    let Some(mount) = SmallDisk::mount("size=256k") else { return };
    let place = Place { _parent: tempfile::tempdir().unwrap(), path: mount.0.path().join("data") };
    let mut open = place.open().unwrap();
    let mut written = 0;
    let refused = loop {
        match open.put(&format!("key{written}"), &[1; 200]) {
            Ok(()) => written += 1,
            Err(error) if error.is_not_ready() => {
                if let Err(failed) = open.act() {
                    assert!(matches!(failed, PrepareError::NoSpace { .. }), "{failed}");
                }
            }
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::Room(RoomError::NoSpace));
    open.flush();
    assert_eq!(keys(&open.opened.partition), expected(0..written));
    assert!(crate::files::names_in(&place.partition()).unwrap().iter().all(|name| !name.ends_with(".tmp")));
    drop(open);
    fs::write(mount.0.path().join("ballast"), []).unwrap();
    let mut open = place.open().unwrap();
    assert_eq!(keys(&open.opened.partition), expected(0..written));
    mount.grow("size=1m");
    open.opened.partition.handle_tick(NOW);
    open.put_all(written..written + 100);
    open.flush();
    assert_eq!(keys(&open.opened.partition), expected(0..written + 100));
}

/// A small file system of its own, unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(options: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "windrow"])
            .arg(dir.path())
            .status();
        if done.is_ok_and(|status| status.success()) {
            return Some(Self(dir));
        }
        eprintln!("skipped: mounting a tmpfs needs root");
        None
    }

    fn grow(&self, options: &str) {
        let options = format!("remount,{options}");
        let done = std::process::Command::new("mount").args(["-o", &options]).arg(self.0.path()).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_reader_that_meets_damage_keeps_what_it_has_and_goes_on_when_it_is_mended() {
    let place = Place::new();
    let mut writer = place.open().unwrap();
    writer.put_all(0..5);
    writer.flush();
    let mut reader = place.read().unwrap();
    let end = writer.opened.partition.appended();
    writer.put_all(5..10);
    writer.flush();
    let at = usize::try_from(end.get()).unwrap() + 100;
    let good = fs::read(place.segment(0)).unwrap()[at];
    damage(&place.segment(0), at as u64, &[!good]);
    let refused = reader.refresh();
    assert!(
        matches!(refused, Err(RefreshError::Diverged(RecoveryError::Corrupt { lsn, .. })) if lsn == end),
        "{refused:?}"
    );
    assert_eq!(keys(reader.partition()), expected(0..5));
    damage(&place.segment(0), at as u64, &[good]);
    reader.refresh().unwrap();
    assert_eq!(keys(reader.partition()), expected(0..10));
}
