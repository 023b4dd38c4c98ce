use std::fs;
use std::path::PathBuf;

use windrow_core::log::ReceiveError;
use windrow_core::partition::{Action, Change, Op, ReplicaAction, Role};
use windrow_core::replication::Verified;
use windrow_core::superblock::SLOT_LEN;
use windrow_core::types::{Epoch, Lsn, UnixMillis};

use super::*;
use crate::background::{Done, Job, perform};
use crate::data_dir::{BuildMode, NewDataDir};
use crate::files::names_in;
use crate::fill::FillMode;
use crate::{leave_set, open_partition, open_read_only, segment_file_name};

const ID: PartitionId = PartitionId::new(0);
const CONFIG: OpenConfig = OpenConfig { segment_len: 4096, segments_ahead: 1, fill: FillMode::Write4K };
const NOW: UnixMillis = UnixMillis::new(1_000_000).unwrap();

/// A replica on real files.
struct Node {
    _data_dir: DataDir,
    path: PathBuf,
    opened: OpenReplica,
    told: Vec<ReplicaAction>,
}

impl Node {
    fn open(path: &std::path::Path, number: u64) -> Self {
        let cluster = Some(windrow_core::types::ClusterId([7; 16]));
        let replica = Some(ReplicaId::new(number));
        let new = NewDataDir { cluster, replica, partitions: 1, mode: BuildMode::SharedNothing };
        let data_dir = DataDir::open_or_create(path, &new).unwrap();
        assert_eq!(data_dir.replica().unwrap(), ReplicaId::new(number));
        let opened = open_replica(&data_dir, ID, &CONFIG).unwrap();
        let path = data_dir.partition_path(ID);
        Self { _data_dir: data_dir, path, opened, told: Vec::new() }
    }

    fn partition(&mut self) -> &mut Partition<MappedSegment> {
        &mut self.opened.partition
    }

    /// Does one thing that the partition asks for.
    fn act_once(&mut self) -> bool {
        let dir = Arc::clone(&self.opened.dir);
        let partition = &mut self.opened.partition;
        if let Some(request) = partition.poll_flush() {
            let ticket = FlushTask::new(partition, &request).run().unwrap();
            partition.handle_flushed(ticket);
            return true;
        }
        let job = if let Some(action) = partition.poll_action() {
            match action {
                Action::Prepare { base, len } => Job::Prepare { dir, base, len, fill: CONFIG.fill },
                Action::WriteSuperblock(superblock) => Job::WriteSuperblock { dir, superblock },
            }
        } else {
            let Some(action) = partition.poll_replica() else { return false };
            let Some(job) = Job::for_replica(partition, &dir, &action) else {
                self.told.push(action);
                return true;
            };
            job
        };
        match perform(job) {
            Done::Prepared { base, segment, .. } => partition.handle_prepared(base, segment),
            Done::SuperblockWritten { generation, .. } => partition.handle_superblock_written(generation),
            Done::PutAside { result, .. } => partition.handle_put_aside(result.is_ok()),
            Done::MovedAside { .. } => partition.handle_moved_aside(),
            Done::Removed { .. } => partition.handle_removed(),
            other => panic!("{other:?}"),
        }
        true
    }

    fn act(&mut self) {
        while self.act_once() {}
    }

    fn promise(&mut self, epoch: u32) {
        let epoch = Epoch::new(epoch);
        self.partition().write_promised(9, Promised { promised: epoch, epoch, floor: None });
        self.act();
        assert_eq!(self.told.pop(), Some(ReplicaAction::PromiseWritten { ticket: 9 }));
    }

    fn lead(&mut self, epoch: u32) {
        self.promise(epoch);
        while self.partition().lead(Epoch::new(epoch), NOW).is_err() {
            self.act();
        }
    }

    fn put(&mut self, keys: std::ops::Range<u32>) {
        for key in keys {
            let key = format!("key {key}");
            let hash = self.partition().hash(key.as_bytes());
            let change = Change::Put { value: &[7; 500], expires_at: None };
            let mut ops = [Op { hash, key: key.as_bytes(), change }];
            while self.partition().append(NOW, &mut ops).is_err() {
                self.act();
            }
        }
        self.act();
    }

    fn has(&self, key: u32) -> bool {
        let (partition, key) = (&self.opened.partition, format!("key {key}"));
        partition.get(partition.hash(key.as_bytes()), key.as_bytes(), NOW).entry.is_some()
    }

    /// Takes what a leader has up to `upto`.
    fn take(&mut self, leader: &Self, upto: Lsn) -> Vec<Verified> {
        let from = self.opened.partition.appended();
        let parts = leader.opened.partition.bytes(from, upto).unwrap();
        let bytes: Vec<u8> = parts.flat_map(|part| part.bytes.to_vec()).collect();
        let (mut verified, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let lsn = from.plus(at as u64);
            let placed = self.partition().receive_into(lsn, upto).map(|place| {
                place.copy_from_slice(&bytes[at..at + place.len()]);
                place.len()
            });
            match placed {
                Ok(len) => at += len,
                Err(ReceiveError::NotReady) => assert!(self.act_once()),
                Err(error) => panic!("{error}"),
            }
            let upto = from.plus(at as u64);
            self.partition().handle_received(upto, &mut verified).unwrap();
        }
        verified
    }

    /// The process is killed: nothing more is written.
    fn reopen(self, number: u64) -> Self {
        let root = self.path.parent().unwrap().to_path_buf();
        drop(self);
        Self::open(&root, number)
    }

    fn asides(&self) -> Vec<PathBuf> {
        names_in(&self.path)
            .unwrap()
            .into_iter()
            .filter(|name| name.starts_with("aside-"))
            .map(|name| self.path.join(name))
            .collect()
    }
}

fn places() -> (tempfile::TempDir, Node, Node) {
    let place = tempfile::tempdir().unwrap();
    let (mut leader, mut follower) = (Node::open(&place.path().join("1"), 1), Node::open(&place.path().join("2"), 2));
    leader.lead(1);
    follower.promise(1);
    (place, leader, follower)
}

#[test]
fn a_followers_sealed_segments_are_the_leaders_and_it_opens_where_it_was() {
    let (_place, mut leader, mut follower) = places();
    leader.put(0..30);
    let end = leader.partition().appended();
    let verified = follower.take(&leader, end);
    follower.act();
    assert_eq!(verified.last().map(|run| run.end), Some(end));
    let follower = follower.reopen(2);
    let log = &follower.opened.log;
    assert_eq!((log.start, log.end, log.durable), (Lsn::ZERO, end, end));
    assert_eq!(log.chain, leader.opened.partition.log().chain());
    assert_eq!(
        log.history.entries().map(|entry| (entry.epoch, entry.start)).collect::<Vec<_>>(),
        [(Epoch::new(1), Lsn::ZERO)]
    );
    assert_eq!(follower.opened.promised.promised, Epoch::new(1));
    assert_eq!((follower.opened.partition.role(), follower.opened.replica), (Role::Follower, ReplicaId::new(2)));
    assert!((0..30).all(|key| follower.has(key)));
    for segment in leader.opened.partition.log().segments().filter(|segment| segment.is_sealed()) {
        let name = segment_file_name(segment.base());
        assert_eq!(fs::read(leader.path.join(&name)).unwrap(), fs::read(follower.path.join(&name)).unwrap());
    }
}

#[test]
fn what_is_cut_is_kept_aside_and_never_comes_back() {
    let (_place, mut leader, mut follower) = places();
    leader.put(0..10);
    let common = leader.partition().appended();
    follower.take(&leader, common);
    leader.put(10..30);
    let (end, chain) = (leader.partition().appended(), leader.opened.partition.chain_at(common).unwrap());
    let cut: Vec<u8> =
        leader.opened.partition.bytes(common, end).unwrap().flat_map(|part| part.bytes.to_vec()).collect();
    follower.act();
    follower.lead(2);
    follower.put(40..45);
    leader.partition().step_down();
    leader.promise(2);
    leader.partition().begin_cut(common).unwrap();
    leader.act();
    assert_eq!(leader.told.pop(), Some(ReplicaAction::CutDone { to: common, chain }));
    assert!(leader.has(9) && !leader.has(10));
    let [aside] = leader.asides().try_into().unwrap();
    let names = names_in(&aside).unwrap();
    let part = names.iter().find(|name| name.ends_with(".part")).unwrap();
    assert!(part.starts_with(&format!("{:020}-", common.get())), "{part}");
    let kept = fs::read(aside.join(part)).unwrap();
    assert_eq!(kept, cut[..kept.len()]);
    assert!(names.iter().filter(|name| name.ends_with(".seg")).count() > 1, "{names:?}");
    let mut leader = leader.reopen(1);
    assert_eq!((leader.opened.log.end, leader.opened.report.cut.as_ref()), (common, None));
    let end = follower.partition().appended();
    leader.take(&follower, end);
    leader.act();
    assert!(leader.has(44) && !leader.has(10) && leader.opened.partition.durable() == end);
}

#[test]
fn a_cut_that_was_interrupted_anywhere_is_done_at_the_next_opening_or_not_begun() {
    let (_place, mut leader, _) = places();
    leader.put(0..10);
    let common = leader.partition().appended();
    leader.put(10..30);
    let end = leader.partition().appended();
    leader.partition().step_down();
    leader.act();
    let mut ends = Vec::new();
    for steps in 0.. {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("data");
        copy_tree(leader.path.parent().unwrap(), &root);
        let mut node = Node::open(&root, 1);
        node.partition().begin_cut(common).unwrap();
        let is_over = (0..steps).any(|_| !node.act_once());
        let node = node.reopen(1);
        assert!(node.has(9) && node.has(10) == (node.opened.log.end == end));
        assert!(!names_in(&node.path).unwrap().iter().any(|name| name.ends_with(".tmp")));
        ends.push(node.opened.log.end);
        if is_over {
            break;
        }
    }
    assert!(ends.iter().all(|found| [common, end].contains(found)) && ends.is_sorted_by(|a, b| a >= b), "{ends:?}");
    assert_eq!((ends.first(), ends.last()), (Some(&end), Some(&common)));
}

/// A replica that has noted in one slot where it cuts its log, behind ten keys, and that place.
fn amid_a_cut() -> (tempfile::TempDir, Node, Lsn) {
    let (place, mut leader, _) = places();
    leader.put(0..10);
    let common = leader.partition().appended();
    leader.put(10..30);
    leader.partition().step_down();
    leader.act();
    leader.partition().begin_cut(common).unwrap();
    while leader.opened.dir.read_superblock().unwrap().cut.is_none() {
        assert!(leader.act_once(), "a cut is noted before it is over");
    }
    (place, leader, common)
}

/// Who leaves its set in the middle of a cut and goes on alone confirms what it writes behind the cut: neither the set nor
/// the cut comes back, whichever slot of the superblock is lost.
#[test]
fn a_cut_is_over_in_both_slots_before_a_partition_is_written_alone() {
    let (_place, leader, _) = amid_a_cut();
    let (root, path) = (leader.path.parent().unwrap().to_path_buf(), leader.path.join("superblock"));
    drop(leader);
    let data_dir = DataDir::open(&root).unwrap();
    leave_set(&data_dir).unwrap();
    let survivors = || {
        let whole = fs::read(&path).unwrap();
        let survivors = [0, 1].map(|lost| {
            let mut slots = whole.clone();
            slots[lost * SLOT_LEN..][..SLOT_LEN].fill(0xff);
            fs::write(&path, slots).unwrap();
            let (_, superblock) = super::super::open_dir(&data_dir, ID, true).unwrap();
            superblock
        });
        fs::write(&path, whole).unwrap();
        survivors
    };
    assert_eq!(survivors().map(|superblock| superblock.is_in_set()), [false; 2]);
    let alone = open_partition(&data_dir, ID, &CONFIG, NOW).unwrap();
    assert_eq!(survivors().map(|superblock| superblock.cut), [None; 2]);
    assert_eq!(survivors().map(|superblock| superblock.epoch), [alone.partition.superblock().epoch; 2]);
}

/// A process was killed while it noted where it cuts its log, and the next one stops in the middle of the cut. Whichever
/// slot of the superblock is lost after that, the other one says where the log ends.
#[test]
fn a_start_notes_a_cut_in_both_slots_before_it_carries_it_out() {
    let (_place, leader, common) = amid_a_cut();
    let label = leader.opened.dir.read_superblock().unwrap().generation;
    let (from, partition) = (leader.path.parent().unwrap().to_path_buf(), leader.path.file_name().unwrap().to_owned());
    drop(leader);
    for lost in [0, 1] {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("data");
        copy_tree(&from, &root);
        let path = root.join(&partition);
        // Segments cannot be moved to where a file stands: the start ends after it has begun to cut.
        let in_the_way = path.join(format!("aside-{label:020}"));
        fs::write(&in_the_way, b"").unwrap();
        let stopped = open_replica(&DataDir::open(&root).unwrap(), ID, &CONFIG);
        assert!(matches!(stopped, Err(OpenError::File(_))), "{stopped:?}");
        fs::remove_file(&in_the_way).unwrap();
        let mut slots = fs::read(path.join("superblock")).unwrap();
        slots[lost * SLOT_LEN..][..SLOT_LEN].fill(0xff);
        fs::write(path.join("superblock"), slots).unwrap();
        let node = Node::open(&root, 1);
        assert_eq!(node.opened.log.end, common, "without slot {lost}");
        assert!(node.has(9) && !node.has(10));
    }
}

#[test]
fn a_log_that_begins_anew_starts_with_the_leaders_segment() {
    let (_place, mut leader, mut follower) = places();
    leader.put(0..30);
    let middle = Lsn::new(6_000);
    follower.take(&leader, middle);
    follower.act();
    let segment = leader.opened.partition.log().segments().nth(2).unwrap();
    let header = windrow_core::codec::SegmentHeader::decode(segment.memory().share().bytes(0..128)).unwrap();
    follower.partition().begin_reset(header.base, header.chain).unwrap();
    follower.act();
    assert_eq!(follower.told.pop(), Some(ReplicaAction::ResetDone { start: header.base }));
    let [aside] = follower.asides().try_into().unwrap();
    assert_eq!(names_in(&aside).unwrap(), [0, 4096].map(|base| segment_file_name(Lsn::new(base))));
    let end = leader.partition().appended();
    follower.take(&leader, end);
    follower.act();
    let follower = follower.reopen(2);
    assert_eq!((follower.opened.log.start, follower.opened.log.end), (header.base, end));
    assert_eq!(follower.opened.log.start_chain, header.chain);
    assert!(follower.has(29) && !follower.has(0));
    // Alone, it opens only once it has left its set, and then with what it has.
    let root = follower.path.parent().unwrap().to_path_buf();
    drop(follower);
    let data_dir = DataDir::open(&root).unwrap();
    let refused = open_partition(&data_dir, ID, &CONFIG, NOW);
    assert!(matches!(refused, Err(OpenError::InASet { .. })), "{refused:?}");
    let old = data_dir.replica().unwrap();
    assert!(leave_set(&data_dir).unwrap() != old && data_dir.replica().unwrap() != old);
    assert!(matches!(leave_set(&data_dir), Err(OpenError::NotInASet { .. })));
    let alone = open_partition(&data_dir, ID, &CONFIG, NOW).unwrap();
    assert_eq!((alone.partition.role(), alone.partition.log().start()), (Role::Alone, header.base));
    assert_eq!(alone.partition.superblock().own_epoch, alone.partition.superblock().epoch);
}

/// The tail of a replica's log may never come to be committed: a reader does not see it, whether the node runs or not.
#[test]
fn a_reader_sees_only_what_is_known_to_be_committed() {
    let (_place, mut leader, mut follower) = places();
    leader.put(0..10);
    let committed = leader.partition().appended();
    leader.put(10..30);
    let end = leader.partition().appended();
    follower.take(&leader, end);
    follower.act();
    assert_eq!(follower.opened.partition.durable(), end);
    let keys = |node: &Node| {
        let data_dir = DataDir::open_read_only(node.path.parent().unwrap()).unwrap();
        let read = open_read_only(&data_dir, ID, &CONFIG).unwrap();
        let seen = |key: &u32| {
            let key = format!("key {key}");
            read.partition().get(read.partition().hash(key.as_bytes()), key.as_bytes(), NOW).entry.is_some()
        };
        (0..30).filter(seen).collect::<Vec<_>>()
    };
    assert!(keys(&follower).is_empty(), "nobody has said yet that anything is committed");
    for node in [&mut leader, &mut follower] {
        node.partition().handle_committed(committed);
        node.opened.control.publish(&Progress::of(&node.opened.partition));
        assert_eq!(keys(node), (0..10).collect::<Vec<_>>());
        node.partition().want_superblock();
        node.act();
    }
    // Killed, and nobody writes there any more.
    for (number, node) in [(1, leader), (2, follower)] {
        let root = node.path.parent().unwrap().to_path_buf();
        drop(node);
        let data_dir = DataDir::open_read_only(&root).unwrap();
        let read = open_read_only(&data_dir, ID, &CONFIG).unwrap();
        assert_eq!(read.partition().committed(), committed);
        drop(read);
        let node = Node::open(&root, number);
        assert_eq!((node.opened.log.committed, node.opened.log.end), (committed, end));
        assert_eq!(node.opened.partition.committed(), committed);
    }
}

fn copy_tree(from: &std::path::Path, to: &std::path::Path) {
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
