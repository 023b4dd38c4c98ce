//! Nodes of a set whose disk fails: a real file system on a disk whose faults are commanded.

use windrow_torture::device::{FileSystem, FileSystemKind, WriteFault, missing};

use super::leaders::appended;
use super::set::{Set, check, fill, init, is_error, write};
use crate::support::{Reply, ok, skipped, until};

/// Writes that hold this text are those that [`WriteFault::FailData`] lets fail.
const POISON: &str = "v chunk:";
/// What a failed flush ends a node with.
const STATUS_IO: i32 = 74;

/// A set of so many nodes, of which `number` has a disk of its own; the nodes are dropped before it is. The first one
/// leads. `None` where there can be none.
fn with_disk(count: usize, number: usize) -> Option<(FileSystem, Set)> {
    if let Some(why) = missing(FileSystemKind::Ext4) {
        skipped(&format!("no disk whose faults are commanded can be made here: {why}"));
        return None;
    }
    let fs = FileSystem::new(FileSystemKind::Ext4, 1).unwrap();
    let mut set = Set::new(count);
    let dir = fs.path().join("node");
    let cluster = set.members[(number + 1) % count].identity.cluster.clone();
    set.members[number].identity = init(&dir, Some(&cluster));
    set.members[number].dir = dir;
    set.extra = vec!["--leader".to_owned(), set.members[0].identity.replica.clone()];
    (0..count).for_each(|number| set.start(number, &[]));
    set.wait_for_leader(0);
    Some((fs, set))
}

/// The node ends by itself because its disk fails, which is mended then.
fn fails(set: &mut Set, number: usize, fs: &FileSystem) {
    let mut server = set.members[number].server.take().unwrap();
    until("a node that cannot flush ends", || server.has_ended());
    let (status, said) = server.wait();
    assert_eq!(status.code(), Some(STATUS_IO), "{said}");
    assert!(fs.disk.counts().failed > 0);
    fs.disk.reset();
}

#[test]
fn a_follower_whose_disk_fails_ends_and_does_not_believe_its_page_cache_afterwards() {
    let Some((mut fs, mut set)) = with_disk(3, 2) else { return };
    let mut leader = set.connect(0);
    fill(&mut leader, "a", 300);
    set.settle(0);
    fs.disk.set_write_fault(WriteFault::FailData);
    assert_eq!(leader.call(&["SET", "b0", POISON]).unwrap(), ok());
    fails(&mut set, 2, &fs);
    fill(&mut leader, "c", 300);
    // What its page cache shows, and the disk has never taken, must not count as flushed.
    set.start(2, &[]);
    set.settle(0);
    check(&mut set.reader(2), "b", 1);
    check(&mut set.reader(2), "c", 300);
    // Nor may what it acknowledges now be lost with the power.
    set.kill(2);
    fs.disk.cut();
    fs.restart().unwrap();
    set.start(2, &[]);
    set.settle(0);
    set.end_with_the_same_logs(0);
}

#[test]
fn a_leader_whose_disk_fails_ends_and_nothing_confirmed_is_lost() {
    let Some((fs, mut set)) = with_disk(3, 0) else { return };
    let mut leader = set.connect(0);
    fill(&mut leader, "a", 300);
    fs.disk.set_write_fault(WriteFault::FailData);
    let mut confirmed = Vec::new();
    // Some may be confirmed by the two others.
    while let Ok(reply) = leader.call(&["SET", &format!("b{}", confirmed.len()), POISON]) {
        confirmed.push(reply);
    }
    fails(&mut set, 0, &fs);
    // Whoever has less is refused, and says so.
    let new = if set.promote(1, &[]).is_ok() { 1 } else { 2 };
    if new == 2 {
        set.promote(2, &[]).unwrap();
    }
    let mut leader = set.connect(new);
    check(&mut leader, "a", 300);
    let ok = confirmed.iter().take_while(|reply| matches!(reply, Reply::Simple(_))).count();
    check(&mut leader, "b", ok);
    fill(&mut leader, "c", 100);
    set.start(0, &[]);
    set.settle(new);
    check(&mut set.reader(0), "c", 100);
    set.end_with_the_same_logs(new);
}

/// An old leader whose disk stands still while it cuts its log: nobody is shown anything, neither what is being cut nor
/// what remains.
#[test]
fn a_log_that_is_being_cut_is_not_read() {
    let Some((fs, mut set)) = with_disk(5, 0) else { return };
    let others = [1, 2, 3, 4];
    write(&mut set.connect(0), "a", 20);
    set.settle(0);
    others.iter().for_each(|&number| set.server(number).pause());
    let mut leader = set.connect(0);
    let before = appended(&set, 0);
    leader.send(&[&["SET", "lost", "never confirmed"]]).unwrap();
    until("the write is on the leader's disk", || appended(&set, 0) > before);
    (0..5).for_each(|number| set.kill(number));
    // Nobody leads by configuration from here on.
    set.extra.clear();
    (1..4).for_each(|number| set.start(number, &[]));
    set.promote(2, &[]).unwrap();
    write(&mut set.connect(2), "b", 20);
    (1..4).for_each(|number| set.kill(number));
    // The old leader promises the epoch that it will follow in, so that it has nothing to write before it is told to cut.
    set.start(0, &[]);
    set.start(2, &[]);
    let flushes = fs.disk.counts().flushes;
    assert_eq!(set.connect(2).call(&["REPLICAOF", "NO", "ONE"]).unwrap(), ok());
    let epoch = |set: &Set, number| set.info(number, "replication_epoch");
    until("it has promised", || {
        set.part(2) == "candidate" && epoch(&set, 0) == epoch(&set, 2) && fs.disk.counts().flushes > flushes
    });
    set.stop(0);
    set.start(0, &[]);
    fs.disk.freeze();
    set.start(1, &[]);
    set.start(3, &[]);
    set.wait_for_leader(2);
    let mut reader = set.reader(0);
    until("it is being cut", || is_error(&reader.call(&["GET", "a1"]), "LOADING "));
    for key in ["lost", "a0", "b0", "nothing"] {
        let reply = reader.call(&["GET", key]);
        assert!(is_error(&reply, "LOADING "), "{key}: {reply:?}");
    }
    // The others go on meanwhile.
    write(&mut set.connect(2), "c", 20);
    assert!(is_error(&reader.call(&["GET", "lost"]), "LOADING "));
    fs.disk.thaw();
    set.start(4, &[]);
    set.settle(2);
    assert_eq!(set.reader(0).call(&["GET", "lost"]).unwrap(), Reply::Bulk(None));
    check(&mut set.reader(0), "c", 20);
    set.end_with_the_same_logs(2);
}
