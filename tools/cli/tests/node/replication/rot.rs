//! Bits that rot in sealed segments, on one node of a set: refused, not served, not spread, and mended from another node.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::set::{Set, check, fill, is_error, write};
use crate::support::{Reply, bulk, ok, until, windrow};

/// The segments of a data directory with one partition, in the log's order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir.join("partition-0000")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == "seg")).collect();
    paths.sort();
    paths
}

/// Flips a bit.
fn flip(path: &Path, offset: u64) {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
}

/// Where a segment starts.
fn base(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// The number of a segment that is sealed, and lies behind what a replica had when its log ended at `end`.
fn sealed_behind(dir: &Path, end: u64) -> usize {
    segments(dir).iter().position(|path| base(path) > end).unwrap() + 1
}

/// A node says which of its segments was found to be damaged, and that there is no other one.
fn says_damaged(set: &Set, number: usize, damaged: Option<&Path>) {
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let first = damaged.map_or(String::new(), |path| format!("partition=0,segment={}", name(path)));
    let lines =
        [format!("damaged_segments:{}\r\n", usize::from(damaged.is_some())), format!("damaged_first:{first}\r\n")];
    let mut client = set.connect(number);
    until(&format!("node {number} says {lines:?}"), || {
        let Ok(Reply::Bulk(Some(said))) = client.call(&["INFO", "persistence"]) else { return false };
        lines.iter().all(|line| said.contains(line))
    });
}

/// Mends a directory from another one.
fn repair(dir: &Path, from: &Path) {
    let output = windrow(&["log", "repair", dir.to_str().unwrap(), "--from", from.to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("replaced by the other copy") && said.contains("clean: "), "{said}");
}

/// A leader whose log rots while it runs, at this offset of a segment, does not spread it. It says what is damaged, is
/// replaced, is refused when it comes back, and mended.
fn rot_on_the_leader(offset: u64) {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    write(&mut leader, "a", 20);
    set.settle(0);
    let end = set.offset(2);
    set.kill(2);
    fill(&mut leader, "b", 1_000);
    set.settle(0);
    let number = sealed_behind(&set.members[0].dir, end);
    let damaged = segments(&set.members[0].dir)[number].clone();
    flip(&damaged, offset);
    set.start(2, &[]);
    let mut said = Vec::new();
    until("the leader says which of its segments is damaged", || {
        said.extend(set.server(0).said());
        let name = damaged.file_stem().unwrap().to_str().unwrap();
        said.iter().any(|line| line.contains("own log is damaged") && line.contains(&format!("segment {name} ")))
    });
    assert!(!said.iter().any(|line| line.contains("two replicas lead")), "{said:#?}");
    says_damaged(&set, 0, Some(&damaged));
    says_damaged(&set, 1, None);
    // Nothing behind it gets to the follower, however often that asks, and the others go on.
    write(&mut set.connect(0), "c", 20);
    let reach = set.info(2, "slave_read_repl_offset").unwrap().parse::<u64>().unwrap();
    assert!(reach <= base(&damaged) + offset, "{reach}");
    // Another node leads, and the follower gets everything from it.
    let port = set.members[1].client_port.to_string();
    assert_eq!(set.connect(0).call(&["FAILOVER", "TO", "127.0.0.1", &port]).unwrap(), ok());
    set.wait_for_leader(1);
    until("the follower has everything", || set.offset(2) == set.offset(1));
    check(&mut set.reader(2), "b", 1_000);
    check(&mut set.connect(1), "c", 20);
    mend(&mut set, 0, 1);
    set.end_with_the_same_logs(1);
}

/// A node whose log is damaged is stopped, refused when it comes back, and mended from another one, which runs.
fn mend(set: &mut Set, damaged: usize, other: usize) {
    if set.members[damaged].server.is_some() {
        set.kill(damaged);
    }
    let dir = set.members[damaged].dir.clone();
    let output = windrow(&["log", "verify", dir.to_str().unwrap()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (status, said) = set.refused(damaged);
    assert_eq!(status, Some(65), "{said}");
    assert!(said.contains(" is damaged") && said.contains("windrow log repair"), "{said}");
    repair(&dir, &set.members[other].dir);
    set.start(damaged, &[]);
}

#[test]
fn rot_in_a_record_of_the_leader_is_not_spread() {
    rot_on_the_leader(3_000);
}

#[test]
fn rot_in_the_header_of_a_leaders_segment_is_not_taken_for_two_leaders() {
    rot_on_the_leader(20);
}

#[test]
fn rot_on_a_follower_is_refused_and_mended_from_its_leader() {
    let mut set = Set::running(3);
    let mut leader = set.connect(0);
    fill(&mut leader, "a", 500);
    set.settle(0);
    // In order, so that it notes how far its log is flushed: one that is killed takes damage in what is new for a torn
    // tail, cuts it, and is given it again.
    set.stop(2);
    write(&mut leader, "b", 20);
    flip(&segments(&set.members[2].dir)[1], 3_000);
    mend(&mut set, 2, 0);
    set.settle(0);
    check(&mut set.reader(2), "a", 500);
    set.end_with_the_same_logs(0);
}

#[test]
fn rot_under_a_running_node_is_not_served() {
    let mut set = Set::new(3);
    set.extra.extend(["--hot-memory-percent".to_owned(), "0".to_owned()]);
    (0..3).for_each(|number| set.start(number, &[]));
    set.wait_for_leader(0);
    let mut leader = set.connect(0);
    let value = "the value that is to rot, and that nothing else holds";
    assert_eq!(leader.call(&["SET", "rotten", value]).unwrap(), ok());
    fill(&mut leader, "a", 200);
    set.settle(0);
    for number in [0, 1] {
        let path = &segments(&set.members[number].dir)[0];
        let bytes = std::fs::read(path).unwrap();
        let place = bytes.windows(value.len()).position(|window| window == value.as_bytes()).unwrap();
        flip(path, place as u64 + 7);
        let mut client = set.reader(number);
        let named = [&["GET", "rotten"][..], &["STRLEN", "rotten"], &["EXISTS", "rotten"]];
        let unnamed = [&["KEYS", "*"][..], &["SCAN", "0", "COUNT", "10000"]];
        for command in named.into_iter().chain(unnamed) {
            let reply = client.call(command);
            assert!(is_error(&reply, "DAMAGED "), "{number}: {reply:?}");
        }
        let drawn = (0..20_000).map(|_| client.call(&["RANDOMKEY"]));
        let first_error =
            drawn.into_iter().find(|drawn| !matches!(drawn, Ok(Reply::Bulk(Some(key))) if key != "rotten"));
        assert!(is_error(&first_error.expect("one in 201 draws"), "DAMAGED "), "it is drawn, and not shown");
        check(&mut client, "a", 200);
    }
    assert!(is_error(&leader.call(&["APPEND", "rotten", "x"]), "DAMAGED "), "nothing is built on it either");
    for number in [0, 1] {
        says_damaged(&set, number, Some(&segments(&set.members[number].dir)[0]));
    }
    says_damaged(&set, 2, None);
    // Node 2 has it whole.
    assert_eq!(set.reader(2).call(&["GET", "rotten"]).unwrap(), bulk(value));
}
