//! Power cuts on a real ext4: what was flushed is there afterwards, and what was not is there in order or not at all.
//!
//! A file system on a loop device is shut down without flushing its journal, which is what a power cut does to it, but
//! for one thing: before the cut, an arbitrary subset of the dirty pages is written, as a disk's cache or the kernel
//! might have done, so that logs come back with holes and whole records behind them.
//!
//! Needs root, `mkfs.ext4` and loop devices, and is skipped with a visible line where it cannot have them.
//! `WINDROW_POWERCUT_ROUNDS` and `WINDROW_POWERCUT_SEED` choose how often and with which cuts.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::Command;

use windrow_core::log::LogSegment;
use windrow_core::partition::{Action, Change, Op, Partition, ScanCursor};
use windrow_core::types::{Lsn, PartitionId, UnixMillis};
use windrow_store::{
    BuildMode, DataDir, FillMode, FlushTask, MappedSegment, NewDataDir, OpenConfig, OpenPartition, open_partition,
};

const NEW: NewDataDir = NewDataDir { cluster: None, replica: None, partitions: 1, mode: BuildMode::Embedded };
const CONFIG: OpenConfig = OpenConfig { segment_len: 32 << 10, segments_ahead: 1, fill: FillMode::Write4K };
const NOW: UnixMillis = UnixMillis::new(1_000_000).unwrap();
const PAGE: u64 = 4096;
const KEYS: u64 = 64;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % end
    }
}

/// A file system of its own on a loop device.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    _dir: tempfile::TempDir,
}

impl Disk {
    fn new() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let disk = Self { image: dir.path().join("image"), mount: dir.path().join("mount"), _dir: dir };
        File::create(&disk.image).unwrap().set_len(96 << 20).unwrap();
        std::fs::create_dir(&disk.mount).unwrap();
        let made = run(Command::new("mkfs.ext4").arg("-q").arg(&disk.image));
        if made && disk.mount() { Some(disk) } else { None }
    }

    fn mount(&self) -> bool {
        run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mount))
    }

    /// Nothing that has not reached the device by now ever does.
    fn cut_power(&self) {
        /// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
        const SHUTDOWN: libc::c_ulong = 0x8004_587d;
        // `EXT4_GOING_FLAGS_NOLOGFLUSH`.
        let flags: u32 = 2;
        let root = File::open(&self.mount).unwrap();
        // SAFETY: the request reads one u32, which the pointer is to.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const flags) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }

    fn restart(&self) {
        assert!(run(Command::new("umount").arg(&self.mount)));
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.mount));
    }
}

fn run(command: &mut Command) -> bool {
    command.status().is_ok_and(|status| status.success())
}

/// Everything that was ever appended to the log that counts, and how far it was confirmed.
#[derive(Default)]
struct History {
    writes: Vec<(Lsn, Vec<u8>, Option<Vec<u8>>)>,
    confirmed: Lsn,
    count: u64,
}

impl History {
    /// The log ends at `end`: what was appended behind it never happened.
    fn cut(&mut self, end: Lsn) {
        assert!(end >= self.confirmed, "the log ends at {end}, but {} was confirmed", self.confirmed);
        self.writes.retain(|(at, ..)| *at <= end);
    }

    fn state(&self) -> Map {
        let mut state = Map::new();
        for (_, key, value) in &self.writes {
            match value {
                Some(value) => drop(state.insert(key.clone(), value.clone())),
                None => drop(state.remove(key)),
            }
        }
        state
    }
}

fn contents(partition: &Partition<MappedSegment>) -> Map {
    let mut found = Map::new();
    let mut cursor = Some(ScanCursor::START);
    while let Some(from) = cursor {
        let step = partition.scan(from, 100, NOW, &mut |entry| {
            found.insert(entry.key.to_vec(), entry.value.to_vec());
        });
        cursor = step.next;
    }
    found
}

fn append(open: &mut OpenPartition, history: &mut History, random: &mut Random) {
    history.count += 1;
    let key = format!("key{}", random.below(KEYS)).into_bytes();
    let value = (random.below(8) > 0).then(|| {
        let len = usize::try_from(random.below(3000)).unwrap();
        history.count.to_le_bytes().iter().copied().cycle().take(len).collect::<Vec<u8>>()
    });
    let partition = &mut open.partition;
    let change = value.as_deref().map_or(Change::Delete, |value| Change::Put { value, expires_at: None });
    let mut op = [Op { hash: partition.hash(&key), key: &key, change }];
    let appended = loop {
        match partition.append(NOW, &mut op) {
            Ok(appended) => break appended,
            Err(error) if error.is_not_ready() => act(partition, &open.dir),
            Err(error) => panic!("{error}"),
        }
    };
    history.writes.push((appended.end, key, value));
}

fn act(partition: &mut Partition<MappedSegment>, dir: &windrow_store::PartitionDir) {
    while let Some(action) = partition.poll_action() {
        match action {
            Action::Prepare { base, len } => {
                partition.handle_prepared(base, dir.prepare(base, len, CONFIG.fill).unwrap());
            }
            Action::WriteSuperblock(superblock) => {
                dir.write_superblock(&superblock).unwrap();
                partition.handle_superblock_written(superblock.generation);
            }
        }
    }
}

fn flush(open: &mut OpenPartition, history: &mut History) {
    if let Some(request) = open.partition.poll_flush() {
        let ticket = FlushTask::new(&open.partition, &request).run().unwrap();
        open.partition.handle_flushed(ticket);
    }
    history.confirmed = open.partition.committed();
}

/// Writes an arbitrary subset of the pages behind the last flush.
fn write_back_some(partition: &Partition<MappedSegment>, random: &mut Random) {
    for segment in partition.log().segments().map(LogSegment::memory) {
        let end = segment.base().plus(CONFIG.segment_len);
        if end <= partition.durable() {
            continue;
        }
        for page in 0..CONFIG.segment_len / PAGE {
            if random.below(2) == 0 {
                let offset = i64::try_from(page * PAGE).unwrap();
                let flags =
                    libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
                let fd = segment.as_fd().as_raw_fd();
                // SAFETY: the call takes no pointers; the descriptor is open.
                let done = unsafe { libc::sync_file_range(fd, offset, i64::try_from(PAGE).unwrap(), flags) };
                assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
            }
        }
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

#[test]
fn what_was_flushed_survives_every_power_cut() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: needs root, mkfs.ext4 and loop devices");
        return;
    };
    let (rounds, seed) = (variable("WINDROW_POWERCUT_ROUNDS", 25), variable("WINDROW_POWERCUT_SEED", 1));
    eprintln!("{rounds} rounds with seed {seed}");
    let mut random = Random(seed);
    let mut history = History::default();
    let (mut cuts, mut holes) = (0, 0);
    let path = disk.mount.join("data");
    for round in 0..rounds {
        let data_dir = DataDir::open_or_create(&path, &NEW).unwrap();
        let mut open = open_partition(&data_dir, PartitionId::new(0), &CONFIG, NOW)
            .unwrap_or_else(|error| panic!("round {round}: {error}"));
        if let Some(cut) = &open.report.cut {
            cuts += 1;
            holes += u64::from(cut.whole_records > 0);
        }
        history.cut(open.report.end);
        assert!(
            contents(&open.partition) == history.state(),
            "round {round}: the log is not a prefix of what was written"
        );
        // What was found is durable now, the epoch's first record included.
        history.confirmed = open.partition.committed();
        for _ in 0..random.below(30) {
            for _ in 0..random.below(6) {
                append(&mut open, &mut history, &mut random);
            }
            flush(&mut open, &mut history);
            if random.below(4) == 0 {
                act(&mut open.partition, &open.dir);
            }
        }
        for _ in 0..random.below(40) {
            append(&mut open, &mut history, &mut random);
        }
        write_back_some(&open.partition, &mut random);
        disk.cut_power();
        drop((open, data_dir));
        disk.restart();
    }
    eprintln!("{} writes, {cuts} tails cut, {holes} of them with whole records behind a hole", history.count);
    assert!(rounds < 25 || (cuts > 0 && holes > 0), "the cuts have not bitten");
}
