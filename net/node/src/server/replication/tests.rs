use std::sync::Arc;

use windrow_core::types::PartitionId;

use super::super::testing::{Request, node, now, session};
use super::*;
use crate::role::{Address, Follower, FollowerState, Link, Part};

fn address(port: u16) -> Address {
    Address { host: "10.0.0.1".to_owned(), port }
}

fn ask(args: &[&[u8]], run: impl FnOnce(Args<'_>, &mut Encoder<'_>) -> Effect) -> (String, Effect) {
    let mut effect = Effect::Reply;
    let reply = Request::new(args).run(|args, encoder| effect = run(args, encoder));
    (reply, effect)
}

fn follow(node: &Node) {
    for number in 0..2 {
        let mut status = node.replication.partition(PartitionId::new(number));
        status.part = Part::Follower;
        status.epoch = 3;
        status.leader = Some(address(7_000));
        status.link = Link { is_up: true, heard: Some(Instant::now()), is_streaming: number == 0 };
    }
}

fn lead(node: &Node) {
    let mut status = node.replication.partition(PartitionId::new(0));
    status.part = Part::Leader;
    status.epoch = 4;
    status.followers.push(Follower {
        name: "00000000000000ab".to_owned(),
        address: address(7_001),
        is_voter: true,
        state: FollowerState::Online,
        flushed: 90,
        lag: 10,
        behind_since: None,
        heard: Some(Instant::now()),
    });
}

fn section(node: &Arc<Node>) -> String {
    let live = node.live();
    let facts = Facts::new(node, &live, now());
    let mut report = Report::default();
    info(&facts, &mut report);
    report.text().to_owned()
}

#[test]
fn role_names_followers_or_the_leader() {
    let node = node(1);
    node.metrics.partitions()[0].committed_lsn.set(100);
    node.metrics.partitions()[1].committed_lsn.set(28);
    let ask = || Request::new(&[]).run(|_, encoder| role(&node, encoder));
    assert_eq!(ask(), "*3\r\n$6\r\nmaster\r\n:128\r\n*0\r\n");
    lead(&node);
    assert_eq!(ask(), "*3\r\n$6\r\nmaster\r\n:128\r\n*1\r\n*3\r\n$8\r\n10.0.0.1\r\n$4\r\n7001\r\n$2\r\n90\r\n");
    follow(&node);
    assert_eq!(ask(), "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:7000\r\n$4\r\nsync\r\n:128\r\n");
    node.replication.partition(PartitionId::new(1)).leader = None;
    assert_eq!(ask(), "*5\r\n$5\r\nslave\r\n$0\r\n\r\n:0\r\n$7\r\nconnect\r\n:128\r\n");
}

#[test]
fn info_tells_how_far_followers_are() {
    let node = node(1);
    assert!(section(&node).contains("role:master\r\nconnected_slaves:0\r\n"));
    lead(&node);
    let text = section(&node);
    assert!(text.contains("role:master\r\nconnected_slaves:1\r\n"), "{text}");
    let follower = "slave0:ip=10.0.0.1,port=7001,state=online,offset=90,lag=0,lag_bytes=10,lag_ms=0,heard_ms=";
    assert!(text.contains(follower) && text.contains(",voter=1,id=00000000000000ab\r\n"), "{text}");
    assert!(text.contains("replication_epoch:4\r\n"), "{text}");
    follow(&node);
    let text = section(&node);
    assert!(
        text.contains("role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:7000\r\nmaster_link_status:up\r\n"),
        "{text}"
    );
    assert!(text.contains("master_sync_in_progress:1\r\n") && text.contains("replication_part:follower\r\n"), "{text}");
    node.replication.partition(PartitionId::new(1)).link.is_up = false;
    assert!(section(&node).contains("master_link_status:down\r\n"));
}

#[test]
fn info_tells_what_a_promotion_by_force_has_kept_while_it_leads() {
    let node = node(1);
    lead(&node);
    let forced = Forced { epoch: 4, kept: 640, committed: 600, leader_committed: 704 };
    node.replication.partition(PartitionId::new(0)).forced = Some(forced);
    let text = section(&node);
    assert!(text.contains("replication_forced0:epoch=4,kept=640,committed=600,leader_committed=704\r\n"), "{text}");
    node.replication.partition(PartitionId::new(0)).epoch = 5;
    assert!(!section(&node).contains("replication_forced"), "somebody else has led since");
}

#[test]
fn wait_says_whom_and_how_long() {
    let node = node(1);
    let wait = |args: &[&[u8]]| ask(args, |args, encoder| wait(&node.replication, args, encoder));
    let expected = ReplicaWait { local: None, replicas: 1, timeout: Duration::from_millis(250) };
    let (reply, effect) = wait(&[b"wait", b"1", b"250"]);
    assert!(reply.is_empty() && matches!(effect, Effect::WhenReplicated(found) if found == expected));
    let forever = |args| matches!(wait(args).1, Effect::WhenReplicated(found) if found.timeout == FOREVER);
    assert!(forever(&[b"wait", b"2", b"0"]) && forever(&[b"wait", b"2", b"9223372036854775807"]));
    assert_eq!(wait(&[b"wait", b"x", b"0"]).0, "-ERR value is not an integer or out of range\r\n");
    assert_eq!(wait(&[b"wait", b"1", b"-1"]).0, "-ERR timeout is negative\r\n");
    assert_eq!(wait(&[b"wait", b"1", b"x"]).0, "-ERR timeout is not an integer or out of range\r\n");
    follow(&node);
    assert!(wait(&[b"wait", b"1", b"250"]).0.starts_with("-ERR WAIT cannot be used with replica instances."));
}

#[test]
fn waitaof_counts_the_local_log_where_asked() {
    let node = node(1);
    let waitaof = |args: &[&[u8]]| ask(args, |args, encoder| waitaof(&node.replication, args, encoder));
    let local = |args| match waitaof(args).1 {
        Effect::WhenReplicated(wait) => wait.local,
        effect => panic!("{effect:?}"),
    };
    assert_eq!(local(&[b"waitaof", b"1", b"0", b"0"]), Some(true));
    assert_eq!(local(&[b"waitaof", b"0", b"1", b"50"]), Some(false));
    let range = "-ERR value is out of range, value must between 0 and 1\r\n";
    assert_eq!(waitaof(&[b"waitaof", b"2", b"0", b"0"]).0, range);
    assert_eq!(waitaof(&[b"waitaof", b"1", b"-1", b"0"]).0, "-ERR value is out of range, must be positive\r\n");
    assert_eq!(waitaof(&[b"waitaof", b"1", b"0", b"-1"]).0, "-ERR timeout is negative\r\n");
}

#[test]
fn a_connection_says_how_stale_it_may_be() {
    let session = &mut session();
    let mut ask = |args: &[&[u8]]| Request::new(args).run(|args, encoder| staleness(session, args, encoder));
    assert_eq!(ask(&[b"client", b"staleness"]), "$-1\r\n");
    assert_eq!(ask(&[b"client", b"staleness", b"250"]), "+OK\r\n");
    assert_eq!(ask(&[b"client", b"staleness"]), ":250\r\n");
    for bad in [&b"-1"[..], b"x", b"86400001"] {
        assert!(ask(&[b"client", b"staleness", bad]).starts_with("-ERR CLIENT STALENESS takes"));
    }
    assert_eq!(ask(&[b"client", b"staleness", b"OFF"]), "+OK\r\n");
    assert_eq!(ask(&[b"client", b"staleness", b"1", b"2"]), "-ERR syntax error\r\n");
    assert_eq!(session.access, Access::default());
}

#[test]
fn reading_from_followers_is_switched_in_a_cluster_only() {
    let mut access = Access::default();
    let reply = Request::new(&[]).run(|_, encoder| read_mode(true, &mut access, encoder));
    if Identity::IS_CLUSTER {
        assert!(reply == "+OK\r\n" && access.read_only);
        Request::new(&[]).run(|_, encoder| read_mode(false, &mut access, encoder));
    } else {
        assert_eq!(reply, "-ERR This instance has cluster support disabled\r\n");
    }
    assert!(!access.read_only);
}
