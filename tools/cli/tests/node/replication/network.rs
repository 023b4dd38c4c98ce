//! What networks do to a set whose nodes are on hosts of their own: links that carry one direction only, slow ones, lossy
//! ones, and connections that are reset.

use super::hosts::Link;
use super::set::{Set, check, fill, is_error, write};
use crate::support::{Client, Reply, bulk, ok, until};

/// A client of a node that reads data of at most this age there.
fn strict_reader(set: &Set, number: usize, staleness_ms: &str) -> Client {
    let mut client = set.reader(number);
    assert_eq!(client.call(&["CLIENT", "STALENESS", staleness_ms]).unwrap(), ok());
    client
}

/// What the leader says in INFO of the follower with this number.
fn said_of(set: &Set, leader: usize, follower: usize) -> Option<String> {
    let id = format!(",id={}", set.members[follower].identity.replica);
    (0..2).filter_map(|place| set.info(leader, &format!("slave{place}"))).find(|line| line.ends_with(&id))
}

/// How a leader's links carry one direction only.
#[derive(Clone, Copy)]
enum Deaf {
    /// It is heard, and hears nobody.
    Leader,
    /// It hears everybody, and is not heard.
    Others,
}

/// The leader's links with both others carry one direction only: it is replaced by `next`, confirms nothing, and shows
/// nothing old.
fn cut_off_and_replace(set: &Set, leader: usize, next: usize, deaf: Deaf) {
    let others: Vec<usize> = (0..3).filter(|&other| other != leader).collect();
    let mut old = set.connect(leader);
    assert_eq!(old.call(&["SET", "key", "old"]).unwrap(), ok());
    set.settle(leader);
    let mut waiting = set.connect(leader);
    match deaf {
        Deaf::Leader => set.hosts().disturb(leader, &others, Link::Cut),
        Deaf::Others => others.iter().for_each(|&other| set.hosts().disturb(other, &[leader], Link::Cut)),
    }
    waiting.send(&[&["SET", "key", "in doubt"]]).unwrap();
    until("it knows that it is alone", || set.part(leader) == "leader-without-quorum");
    assert!(is_error(&old.call(&["GET", "key"]), "NOREPLICAS "));
    assert!(is_error(&old.call(&["SET", "a1", "x"]), "NOREPLICAS "));
    set.promote(next, &[]).unwrap();
    let mut new = set.connect(next);
    let found = new.call(&["GET", "key"]).unwrap();
    let survived = found == bulk("in doubt");
    assert!(survived || found == bulk("old"), "{found:?}");
    assert_eq!(new.call(&["SET", "key", "new"]).unwrap(), ok());
    assert!(is_error(&old.call(&["GET", "key"]), "NOREPLICAS "), "it does not know yet that it was replaced");
    (0..3).for_each(|host| set.hosts().heal(host));
    // Acknowledgements from before the promotion may have been on their way; then the new leader has it.
    let reply = waiting.receive();
    let confirmed = survived && matches!(reply, Ok(Reply::Simple(_)));
    assert!(confirmed || is_error(&reply, "UNCONFIRMED "), "nobody has it, or said so: {reply:?}");
    until("the old leader follows", || set.part(leader) == "follower");
    set.settle(next);
    assert_eq!(set.reader(leader).call(&["GET", "key"]).unwrap(), bulk("new"));
}

#[test]
fn a_leader_whose_links_carry_one_direction_only_is_replaced() {
    let Some(set) = Set::on_hosts(3) else { return };
    write(&mut set.connect(0), "a", 50);
    cut_off_and_replace(&set, 0, 1, Deaf::Leader);
    cut_off_and_replace(&set, 1, 2, Deaf::Others);
    check(&mut set.connect(2), "a", 50);
    set.end_with_the_same_logs(2);
}

/// The link between a follower and the leader carries one direction only: the follower holds nobody up, knows that it
/// hears too little, and catches up.
fn cut_off_and_heal(set: &Set, deaf: usize, other: usize, prefix: &str) {
    let mut leader = set.connect(0);
    let mut strict = strict_reader(set, 2, "700");
    set.hosts().disturb(deaf, &[other], Link::Cut);
    write(&mut leader, prefix, 50);
    until("the follower is too stale", || is_error(&strict.call(&["GET", "a1"]), "STALE "));
    until("the follower says so", || set.info(2, "master_link_status").as_deref() == Some("down"));
    until("the leader says so", || said_of(set, 0, 2).is_none_or(|line| !line.contains("state=online")));
    write(&mut leader, &format!("{prefix}again"), 50);
    set.hosts().heal(deaf);
    set.settle(0);
    until("the follower is fresh again", || !is_error(&strict.call(&["GET", "a1"]), "STALE "));
    check(&mut strict, &format!("{prefix}again"), 50);
}

#[test]
fn a_follower_whose_link_carries_one_direction_only_holds_nobody_up() {
    let Some(set) = Set::on_hosts(3) else { return };
    write(&mut set.connect(0), "a", 50);
    set.settle(0);
    cut_off_and_heal(&set, 2, 0, "deaf");
    cut_off_and_heal(&set, 0, 2, "not heard");
    set.end_with_the_same_logs(0);
}

#[test]
fn a_slow_link_holds_up_nobody_but_who_is_behind_it() {
    let Some(set) = Set::on_hosts(3) else { return };
    let mut leader = set.connect(0);
    set.settle(0);
    set.hosts().slow(2, "4mbit");
    fill(&mut leader, "a", 4_000);
    let lag = |line: &str| -> u64 {
        line.split(',').find_map(|field| field.strip_prefix("lag_bytes=")).unwrap().parse().unwrap()
    };
    // What the leader says is up to a tick old; 4 MB take 8 s on this link.
    until("the leader says that the follower is behind", || lag(&said_of(&set, 0, 2).unwrap()) > 500_000);
    // It goes on getting there.
    until("half a megabyte has got there", || set.offset(2) > 500_000);
    let line = said_of(&set, 0, 2).unwrap();
    assert!(line.contains("state=online") && lag(&line) > 0, "{line}");
    set.hosts().speed_up(2);
    set.settle(0);
    check(&mut set.reader(2), "a", 4_000);
    set.end_with_the_same_logs(0);
}

/// A number that the leader says of a follower.
fn figure(line: &str, name: &str) -> i64 {
    line.split(',').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).unwrap().parse().unwrap()
}

/// How often a leader may lose its lease because the machine stood still, and not because of its links: then it is tried
/// again. Where heartbeats wait behind ranges, it loses it every time.
const TRIES: usize = 3;

/// Both followers catch up with so many values of 40 KB over links of this rate, while the leader keeps its lease of 1 s.
/// Returns the age, in milliseconds, that the newest heartbeat which a majority has answered came to have.
fn catch_up_over_slow_links(rate: &str, count: usize) -> Option<i64> {
    let mut refusals = Vec::new();
    while refusals.len() < TRIES {
        match try_to_catch_up(rate, count)? {
            Ok(late) => return Some(late),
            Err(refusal) => refusals.push(refusal),
        }
    }
    panic!("the leader loses its lease: {refusals:?}");
}

/// As above; what a client was told instead where the leader has lost its lease.
fn try_to_catch_up(rate: &str, count: usize) -> Option<Result<i64, String>> {
    let set = Set::on_hosts(3)?;
    let mut leader = set.connect(0);
    write(&mut leader, "a", 1);
    set.settle(0);
    (1..3).for_each(|host| set.hosts().slow(host, rate));
    let value = "v".repeat(40_000);
    let keys: Vec<String> = (0..count).map(|number| format!("b{number}")).collect();
    let commands: Vec<[&str; 3]> = keys.iter().map(|key| ["SET", key.as_str(), value.as_str()]).collect();
    let commands: Vec<&[&str]> = commands.iter().map(<[&str; 3]>::as_slice).collect();
    let mut writer = set.connect(0);
    writer.send(&commands).unwrap();
    // It has its lease from a majority all the time, and so one of the followers has heard of it.
    let (mut reads, mut late) = (0, 0);
    let since = std::time::Instant::now();
    let end = u64::try_from(count * value.len()).unwrap();
    while set.offset(1).max(set.offset(2)) < end {
        let reply = leader.call(&["GET", "a0"]).unwrap();
        if !matches!(reply, Reply::Bulk(Some(_))) {
            return Some(Err(format!("after {reads} reads, {:?}: {reply:?}", since.elapsed())));
        }
        let heard = (1..3).filter_map(|host| Some(figure(&said_of(&set, 0, host)?, "heard_ms")));
        late = late.max(heard.min().unwrap());
        reads += 1;
    }
    assert!(reads > 100, "the links were slow: {reads} reads");
    for key in &keys {
        let reply = writer.receive().unwrap();
        if reply != ok() {
            return Some(Err(format!("{key}: {reply:?}")));
        }
    }
    (1..3).for_each(|host| assert_eq!(set.part(host), "follower"));
    (1..3).for_each(|host| set.hosts().speed_up(host));
    set.end_with_the_same_logs(0);
    eprintln!(
        "{rate}: {:?}, the newest heartbeat that a majority had answered was {late} ms old at most",
        since.elapsed()
    );
    Some(Ok(late))
}

#[test]
fn followers_that_catch_up_over_slow_links_keep_their_leader() {
    // Eight seconds for each of the links.
    let Some(late) = catch_up_over_slow_links("4mbit", 100) else { return };
    assert!(late > 0, "the age of heartbeats is known");
}

#[test]
fn followers_that_catch_up_over_very_slow_links_keep_their_leader() {
    catch_up_over_slow_links("1mbit", 25);
}

#[test]
fn everything_gets_there_over_lossy_links() {
    let Some(set) = Set::on_hosts(3) else { return };
    let mut leader = set.connect(0);
    for host in 0..3 {
        let others: Vec<usize> = (0..3).filter(|&other| other != host).collect();
        set.hosts().disturb(host, &others, Link::Loses(10));
    }
    let mut confirmed = Vec::new();
    let value = "v".repeat(1_000);
    for number in 0..300 {
        let key = format!("a{number}");
        match leader.call(&["SET", &key, &value]).unwrap() {
            Reply::Simple(_) => confirmed.push(key),
            // Whoever hears too little for a while may say so.
            Reply::Error(error) => assert!(error.starts_with("NOREPLICAS ") || error.starts_with("UNCONFIRMED ")),
            other => panic!("{other:?}"),
        }
    }
    let lost: u64 = (0..3).map(|host| set.hosts().disturbed(host)).sum();
    assert!(lost > 10 && confirmed.len() > 100, "{lost} packets lost, {} writes confirmed", confirmed.len());
    (0..3).for_each(|host| set.hosts().heal(host));
    set.settle(0);
    for number in 0..3 {
        let mut reader = set.reader(number);
        for key in &confirmed {
            assert_eq!(reader.call(&["GET", key]).unwrap(), Reply::Bulk(Some(value.clone())), "{key}");
        }
    }
    set.end_with_the_same_logs(0);
}

#[test]
fn a_connection_that_is_reset_within_a_range_goes_on_where_it_was() {
    let Some(mut set) = Set::on_hosts(3) else { return };
    let mut leader = set.connect(0);
    set.settle(0);
    set.kill(2);
    fill(&mut leader, "a", 3_000);
    set.hosts().slow(2, "40mbit");
    set.start(2, &[]);
    for part in 1..=2 {
        until("it has got some", || received(&set, 2) > part * 500_000);
        set.hosts().disturb(2, &[0], Link::Reset);
        until("it is reset", || set.hosts().disturbed(2) > 0);
        set.hosts().heal(2);
    }
    set.hosts().speed_up(2);
    set.settle(0);
    check(&mut set.reader(2), "a", 3_000);
    set.end_with_the_same_logs(0);
}

/// How far the log of a node reaches.
fn received(set: &Set, number: usize) -> u64 {
    set.info(number, "slave_read_repl_offset").and_then(|text| text.parse().ok()).unwrap_or(0)
}
