//! REPLICAOF and FAILOVER: who leads.
//!
//! They ask the cores ([`Control`](crate::role::Control)) and answer at once, as in Redis; how far it has come
//! (`master_failover_state`), and why it came to nothing (`replication_refusal`), is in INFO.

use std::time::Duration;

use windrow_core::replication::ReplicaId;
use windrow_proto::resp::{Args, Encoder, parse_i64};

use super::node::Node;
use crate::role::{Failover, FollowerState, Members, Request, replica_from_hex};

/// How long FAILOVER has without a time-out.
const WITHIN: Duration = Duration::from_secs(10);
/// The longest time that it takes.
const WITHIN_MAX: Duration = Duration::from_secs(600);
const LOSING: &[u8] = b"LOSING-COMMITTED-WRITES";
/// What a node says that belongs to no set.
const NO_PEERS: &str = if cfg!(feature = "shared-memory") {
    "ERR in this build no node follows another one: a standby is a process beside its leader (`windrow standby`), and \
     leads once that one has ended"
} else {
    "ERR this node has no other replicas: name them in the setting `peers`"
};
const TAKEN_BACK: &str = "the hand-over was taken back";
const NOT_A_MEMBER: &str = "ERR no replica of this set serves clients there: see the setting `peers`";

/// `REPLICAOF NO ONE | host port [LOSING-COMMITTED-WRITES]`.
pub(super) fn replicaof(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let loses = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(LOSING) => true,
        Some(_) => return encoder.error("ERR syntax error"),
    };
    let board = &node.replication;
    let is_no_one = args.at(1).eq_ignore_ascii_case(b"no") && args.at(2).eq_ignore_ascii_case(b"one");
    if is_no_one && board.members().is_none() && board.part().is_leader() {
        return encoder.ok();
    }
    let Some(members) = board.members() else { return encoder.error(NO_PEERS) };
    if is_no_one {
        let request = if loses { Request::PromoteLosingCommittedWrites } else { Request::Promote };
        return ask(node, request, encoder);
    }
    let to = match member(node, members, args.at(1), args.at(2)) {
        Ok(to) => to,
        Err(error) => return encoder.error(error),
    };
    if loses {
        ask(node, Request::PermitLoss, encoder);
    } else if to == members.own {
        encoder.error("ERR a node does not follow itself: REPLICAOF NO ONE asks for it to lead");
    } else if board.part().is_leader() {
        hand_over(node, members, Some(to), WITHIN, encoder);
    } else {
        // It follows whoever leads in the newest epoch; nothing can be done about that here.
        encoder.ok();
    }
}

/// `FAILOVER [TO host port] [TIMEOUT milliseconds] [ABORT]`.
pub(super) fn failover(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let board = &node.replication;
    let Some(members) = board.members() else { return encoder.error(NO_PEERS) };
    let (mut to, mut within, mut abort, mut at) = (None, WITHIN, false, 1);
    while let Some(word) = args.get(at) {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"to") && to.is_none() && args.len() > at + 2 {
            match member(node, members, args.at(at + 1), args.at(at + 2)) {
                Ok(replica) => to = Some(replica),
                Err(error) => return encoder.error(error),
            }
            at += 3;
        } else if is(b"timeout") && args.len() > at + 1 {
            let millis = parse_i64(args.at(at + 1)).and_then(|millis| u64::try_from(millis).ok());
            match millis.filter(|&millis| millis > 0).map(Duration::from_millis) {
                Some(time) if time <= WITHIN_MAX => within = time,
                _ => return encoder.error("ERR FAILOVER timeout must be between 1 and 600000 milliseconds"),
            }
            at += 2;
        } else if is(b"abort") && args.len() == 2 {
            abort = true;
            at += 1;
        } else {
            return encoder.error("ERR syntax error");
        }
    }
    if abort {
        return match board.failover() {
            Failover::None => encoder.error("ERR No failover in progress."),
            Failover::InProgress | Failover::WaitingForSync => {
                ask(node, Request::Abort, encoder);
                // Perhaps before any core has seen what is taken back.
                board.control.note(Some(TAKEN_BACK.to_owned()));
            }
        };
    }
    if !board.part().is_leader() {
        return encoder.error("ERR FAILOVER is not valid when server is a replica.");
    }
    hand_over(node, members, to, within, encoder);
}

/// Has this node, which leads, hand over to `to`, or to whoever lacks least.
fn hand_over(node: &Node, members: &Members, to: Option<ReplicaId>, within: Duration, encoder: &mut Encoder<'_>) {
    let board = &node.replication;
    if board.failover() != Failover::None {
        return encoder.error("ERR FAILOVER already in progress.");
    }
    if to == Some(members.own) {
        return encoder.error("ERR this node leads already");
    }
    if to.is_some_and(|to| members.learners.contains(&to)) {
        return encoder.error("ERR that replica is a learner: it cannot lead");
    }
    // One for all partitions: they are led together.
    let online = board.followers().into_iter().filter(|one| one.is_voter && one.state != FollowerState::Offline);
    let mut online: Vec<(u64, ReplicaId)> =
        online.filter_map(|one| Some((one.lag, replica_from_hex(&one.name)?))).collect();
    online.sort_unstable();
    match (to, online.first()) {
        (Some(to), _) if online.iter().all(|(_, one)| *one != to) => {
            encoder.error("ERR FAILOVER target replica is not online.");
        }
        (Some(to), _) => ask(node, Request::HandOver { to, within }, encoder),
        (None, Some(&(_, to))) => ask(node, Request::HandOver { to, within }, encoder),
        (None, None) => encoder.error("ERR FAILOVER requires connected replicas."),
    }
}

fn ask(node: &Node, request: Request, encoder: &mut Encoder<'_>) {
    tracing::info!(?request, "a client asks");
    node.replication.control.note(None);
    node.replication.ask(request);
    encoder.ok();
}

/// The replica that serves clients there.
fn member(node: &Node, members: &Members, host: &[u8], port: &[u8]) -> Result<ReplicaId, &'static str> {
    let host = std::str::from_utf8(host).map_err(|_| NOT_A_MEMBER)?;
    let port = parse_i64(port).and_then(|port| u16::try_from(port).ok()).ok_or("ERR Invalid master port")?;
    let cores = node.metrics.cores().len();
    members.at_client_address(host, port, cores).map(|member| member.replica).ok_or(NOT_A_MEMBER)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use windrow_core::types::PartitionId;

    use super::super::testing::{Request as Line, node};
    use super::*;
    use crate::role::{Address, Follower, Part};

    fn set(part: Part) -> Arc<Node> {
        let node = node(1);
        let all = ["00000000000000ab@a:7400/7000", "00000000000000cd@b:7400/7000", "00000000000000ef@c:7400/7000"];
        node.replication.set_members(Members {
            own: ReplicaId::new(0xab),
            all: all.iter().map(|text| text.parse().unwrap()).collect(),
            learners: vec![ReplicaId::new(0xef)],
        });
        node.replication.partition(PartitionId::new(0)).part = part;
        node
    }

    fn ask(node: &Node, line: &str) -> (String, Option<Request>) {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut seen = 0;
        while node.replication.control.newer_than(&mut seen).is_some() {}
        let run = if args[0] == b"failover" { failover } else { replicaof };
        let reply = Line::new(&args).run(|args, encoder| run(node, args, encoder));
        (reply, node.replication.control.newer_than(&mut seen))
    }

    fn accepted(request: Request) -> (String, Option<Request>) {
        ("+OK\r\n".to_owned(), Some(request))
    }

    #[test]
    fn a_follower_asks_to_lead_and_loses_only_what_it_is_told_to() {
        let node = set(Part::Follower);
        assert_eq!(ask(&node, "replicaof NO one"), accepted(Request::Promote));
        let forced = accepted(Request::PromoteLosingCommittedWrites);
        assert_eq!(ask(&node, "replicaof no one losing-committed-writes"), forced);
        assert_eq!(ask(&node, "replicaof b 7000 LOSING-COMMITTED-WRITES"), accepted(Request::PermitLoss));
        assert_eq!(ask(&node, "replicaof b 7000"), ("+OK\r\n".to_owned(), None));
        assert_eq!(ask(&node, "replicaof no one force"), ("-ERR syntax error\r\n".to_owned(), None));
        assert_eq!(ask(&node, "replicaof d 7000"), (format!("-{NOT_A_MEMBER}\r\n"), None));
        assert!(ask(&node, "failover").0.starts_with("-ERR FAILOVER is not valid"));
    }

    /// Followers by name, with how far they lag, as a leader lists them.
    fn list(node: &Node, followers: &[(&str, u64, FollowerState)]) {
        let follower = |&(name, lag, state): &(&str, u64, FollowerState)| Follower {
            name: name.to_owned(),
            address: Address { host: "h".to_owned(), port: 1 },
            is_voter: name != "00000000000000ef",
            state,
            flushed: 0,
            lag,
            behind_since: None,
            heard: None,
        };
        node.replication.partition(PartitionId::new(0)).followers = followers.iter().map(follower).collect();
    }

    #[test]
    fn a_leader_hands_over() {
        let (b, c) = ("00000000000000cd", "00000000000000ef");
        let to = ReplicaId::new(0xcd);
        let within = Duration::from_millis(500);
        for (line, request) in [
            ("replicaof b 7000", Request::HandOver { to, within: WITHIN }),
            ("failover", Request::HandOver { to, within: WITHIN }),
            ("failover TO b 7000 TIMEOUT 500", Request::HandOver { to, within }),
        ] {
            let node = set(Part::Leader);
            list(&node, &[(c, 0, FollowerState::Online), (b, 9, FollowerState::Online)]);
            assert_eq!(ask(&node, line), accepted(request));
            assert_eq!(node.replication.failover(), Failover::WaitingForSync, "before any core has seen it");
            assert!(ask(&node, "failover").0.contains("already in progress"));
            assert_eq!(ask(&node, "failover abort"), accepted(Request::Abort));
        }
        let node = set(Part::Leader);
        list(&node, &[(c, 0, FollowerState::Online), (b, 9, FollowerState::Offline)]);
        for (line, error) in [
            ("failover", "requires connected replicas"),
            ("failover to b 7000", "target replica is not online"),
            ("failover to c 7000", "learner"),
            ("failover to a 7000", "leads already"),
            ("failover to b", "syntax"),
            ("failover to b 7000 force", "syntax"),
            ("failover timeout 0", "timeout must be"),
            ("failover abort", "No failover in progress"),
            ("failover abort now", "syntax"),
            ("replicaof a 7000", "does not follow itself"),
        ] {
            let (reply, request) = ask(&node, line);
            assert!(reply.contains(error) && request.is_none(), "{line}: {reply}");
        }
    }

    #[test]
    fn a_node_without_peers_says_so() {
        let node = node(1);
        assert_eq!(ask(&node, "failover").0, format!("-{NO_PEERS}\r\n"));
        assert_eq!(ask(&node, "replicaof b 7000").0, format!("-{NO_PEERS}\r\n"));
        assert_eq!(ask(&node, "replicaof no one"), ("+OK\r\n".to_owned(), None));
        // With a standby, and as one: nobody would take the request.
        node.replication.partition(PartitionId::new(0)).part = Part::Leader;
        assert_eq!(ask(&node, "replicaof no one"), ("+OK\r\n".to_owned(), None));
        node.replication.partition(PartitionId::new(0)).part = Part::Follower;
        assert_eq!(ask(&node, "replicaof no one"), (format!("-{NO_PEERS}\r\n"), None));
    }
}
