//! What people and disks get wrong.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::set::{Set, check, fill, init, write};
use crate::support::{Reply, free_port, skipped, until, windrow};

#[test]
fn a_directory_that_was_lost_never_wins() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 20);
    set.settle(0);
    (0..3).for_each(|number| set.kill(number));
    std::fs::remove_dir_all(&set.members[0].dir).unwrap();
    let cluster = set.members[1].identity.cluster.clone();
    let identity = init(&set.members[0].dir, Some(&cluster));
    assert_ne!(identity.replica, set.members[0].identity.replica, "it is another replica");
    // The others do not know it under its new number.
    let old = std::mem::replace(&mut set.members[0].identity, identity);
    set.extra = vec!["--leader".to_owned(), set.members[0].identity.replica.clone()];
    // Now they do: the whole set is told that the empty one leads.
    (0..3).for_each(|number| set.start(number, &[]));
    until("the empty one is refused", || {
        set.info(0, "replication_refusal").is_some_and(|refusal| refusal.contains("empty"))
    });
    assert_ne!(old.replica, set.members[0].identity.replica);
    set.promote(1, &[]).unwrap();
    set.settle(1);
    check(&mut set.reader(0), "a", 20);
    set.end_with_the_same_logs(1);
}

#[test]
fn of_two_leaders_by_mistake_one_leads() {
    let mut set = Set::without_leader(3);
    for number in 0..3 {
        let own = set.members[number].identity.replica.clone();
        let leads = ["--leader", own.as_str()];
        set.start(number, if number < 2 { &leads } else { &[] });
    }
    let leads = |set: &Set| (0..3).filter(|number| set.part(*number) == "leader").collect::<Vec<_>>();
    until("one leads and two follow", || {
        leads(&set).len() == 1 && (0..3).filter(|number| set.part(*number) == "follower").count() == 2
    });
    let leader = leads(&set)[0];
    write(&mut set.connect(leader), "a", 20);
    set.end_with_the_same_logs(leader);
}

#[test]
fn another_clusters_data_is_kept_out() {
    let mut set = Set::new(3);
    let stranger = set.root.path().join("stranger");
    let identity = init(&stranger, None);
    assert_ne!(identity.cluster, set.members[0].identity.cluster);
    set.members[2].dir = stranger;
    set.members[2].identity = identity;
    (0..2).for_each(|number| set.start(number, &[]));
    set.start(2, &[]);
    until("somebody says that the clusters differ", || {
        (0..3).any(|number| set.server(number).said().iter().any(|line| line.contains("different clusters")))
    });
    let reply = set.connect(2).call(&["DBSIZE"]).unwrap();
    assert!(matches!(&reply, Reply::Error(error) if error.starts_with("LOADING ")), "it has got nothing: {reply:?}");
}

#[test]
fn a_node_that_is_not_named_or_has_no_directory_does_not_start() {
    let set = Set::without_leader(2);
    let strange = set.root.path().join("strange");
    init(&strange, Some(&set.members[0].identity.cluster));
    let peers = set.peers(0, &|other| set.members[other].peer_port);
    let port = free_port().to_string();
    let start = |dir: &Path| {
        let args = ["serve", "--cores", "1", "--admin-port", "0", "--port", &port, "--dir", dir.to_str().unwrap()];
        let secret = set.root.path().join("secret");
        let more = ["--peers", &peers, "--peer-secret-file", secret.to_str().unwrap()];
        let output = windrow(&[&args[..], &more].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(start(&strange).contains("which `peers` does not name"));
    let missing = set.root.path().join("missing");
    assert!(start(&missing).contains("windrow init") && !missing.exists());
}

/// Nobody waits for names, and nobody needs one before it connects.
#[test]
fn nodes_find_each_other_by_name_and_start_while_a_name_is_unknown() {
    let mut set = Set::new(2);
    // Its first address may be one of IPv6, where nobody listens: then it is the turn of the next.
    set.name = Some("localhost");
    (0..2).for_each(|number| set.start(number, &[]));
    set.wait_for_leader(0);
    write(&mut set.connect(0), "a", 10);
    set.stop(0);
    set.stop(1);
    set.name = Some("nowhere.invalid");
    (0..2).for_each(|number| set.start(number, &[]));
    until("whoever connects says that it knows no address", || {
        (0..2).any(|number| set.server(number).said().iter().any(|line| line.contains("no address of nowhere.invalid")))
    });
    set.name = Some("localhost");
    set.stop(0);
    set.stop(1);
    (0..2).for_each(|number| set.start(number, &[]));
    set.wait_for_leader(0);
    check(&mut set.connect(0), "a", 10);
    set.end_with_the_same_logs(0);
}

/// A file system of its own, or `None` where one cannot be mounted.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn new(path: &Path, len: &str) -> Option<Self> {
        std::fs::create_dir_all(path).ok()?;
        let size = format!("size={len}");
        let args = ["-t", "tmpfs", "-o", &size, "tmpfs", path.to_str()?];
        let status = Command::new("mount").args(args).status().ok()?;
        status.success().then(|| Self(path.to_path_buf()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _gone = Command::new("umount").args(["-l".as_ref(), self.0.as_os_str()]).status();
    }
}

#[test]
fn a_follower_whose_disk_is_full_holds_nobody_up_and_goes_on_when_there_is_room() {
    let mut set = Set::new(3);
    let path = set.root.path().join("small");
    let Some(small) = Mounted::new(&path, "1m") else {
        skipped("no file system of its own can be mounted here (needs root)");
        return;
    };
    let dir = path.join("node");
    set.members[2].identity = init(&dir, Some(&set.members[0].identity.cluster));
    set.members[2].dir = dir;
    (0..3).for_each(|number| set.start(number, &[]));
    set.wait_for_leader(0);
    let mut leader = set.connect(0);
    fill(&mut leader, "a", 2_000);
    until("the follower has no room", || {
        set.server(2).said().iter().any(|line| line.contains("no new log segment can be made"))
    });
    fill(&mut leader, "b", 100);
    // It votes all the same: with the other one gone, the leader commits nothing, and leads and serves reads.
    set.kill(1);
    until("the other one is gone", || {
        let lines = [set.info(0, "slave0"), set.info(0, "slave1")];
        lines.into_iter().flatten().any(|line| line.contains("state=offline"))
    });
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        assert_eq!(leader.call(&["EXISTS", "b1"]).unwrap(), Reply::Integer(1));
    }
    set.start(1, &[]);
    fill(&mut leader, "c", 100);
    let status = Command::new("mount").args(["-o", "remount,size=64m"]).arg(&small.0).status().unwrap();
    assert!(status.success());
    set.settle(0);
    check(&mut set.reader(2), "c", 100);
    set.end_with_the_same_logs(0);
}
