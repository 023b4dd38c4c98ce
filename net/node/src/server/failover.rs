//! REPLICAOF and FAILOVER: who leads.
//!
//! They ask the cores ([`Control`](crate::role::Control)) and answer at once; what comes of it is in INFO and ROLE.

use std::time::Duration;

use windrow_core::replication::ReplicaId;
use windrow_proto::resp::{Args, Encoder, parse_i64};

use super::node::Node;
use crate::role::{Members, Part, Request};

/// How long FAILOVER has without a time-out.
const WITHIN: Duration = Duration::from_secs(10);
/// The longest time that it takes.
const WITHIN_MAX: Duration = Duration::from_secs(600);
const LOSING: &[u8] = b"LOSING-COMMITTED-WRITES";
const NO_PEERS: &str = "ERR this node has no other replicas: name them in the setting `peers`";
const NOT_A_MEMBER: &str = "ERR no replica of this set serves clients there: see the setting `peers`";

/// `REPLICAOF NO ONE | host port [LOSING-COMMITTED-WRITES]`.
pub(super) fn replicaof(node: &Node, args: Args<'_>, encoder: &mut Encoder<'_>) {
    let loses = match args.get(3) {
        None => false,
        Some(word) if args.len() == 4 && word.eq_ignore_ascii_case(LOSING) => true,
        Some(_) => return encoder.error("ERR syntax error"),
    };
    let board = &node.replication;
    if args.at(1).eq_ignore_ascii_case(b"no") && args.at(2).eq_ignore_ascii_case(b"one") {
        if board.part() == Part::Alone {
            return encoder.ok();
        }
        let request = if loses { Request::PromoteLosingCommittedWrites } else { Request::Promote };
        return ask(node, request, encoder);
    }
    let Some(members) = board.members() else { return encoder.error(NO_PEERS) };
    let to = match member(node, members, args.at(1), args.at(2)) {
        Ok(to) => to,
        Err(error) => return encoder.error(error),
    };
    if loses {
        ask(node, Request::PermitLoss, encoder);
    } else if to == members.own {
        encoder.error("ERR a node does not follow itself: REPLICAOF NO ONE asks for it to lead");
    } else if board.part().is_leader() {
        ask(node, Request::HandOver { to: Some(to), within: WITHIN }, encoder);
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
        return match board.part() {
            Part::HandingOver => ask(node, Request::Abort, encoder),
            _ => encoder.error("ERR No failover in progress."),
        };
    }
    if !board.part().is_leader() {
        return encoder.error("ERR FAILOVER is not valid when server is a replica.");
    }
    if board.part() == Part::HandingOver {
        return encoder.error("ERR FAILOVER already in progress.");
    }
    if to == Some(members.own) {
        return encoder.error("ERR this node leads already");
    }
    if to.is_some_and(|to| members.learners.contains(&to)) {
        return encoder.error("ERR that replica is a learner: it cannot lead");
    }
    ask(node, Request::HandOver { to, within }, encoder);
}

fn ask(node: &Node, request: Request, encoder: &mut Encoder<'_>) {
    tracing::info!(?request, "a client asks");
    node.replication.control.note(None);
    node.replication.control.ask(request);
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

    #[test]
    fn a_leader_hands_over() {
        let node = set(Part::Leader);
        let to = Some(ReplicaId::new(0xcd));
        assert_eq!(ask(&node, "replicaof b 7000"), accepted(Request::HandOver { to, within: WITHIN }));
        assert_eq!(ask(&node, "failover"), accepted(Request::HandOver { to: None, within: WITHIN }));
        let within = Duration::from_millis(500);
        assert_eq!(ask(&node, "failover TO b 7000 TIMEOUT 500"), accepted(Request::HandOver { to, within }));
        for (line, error) in [
            ("failover to c 7000", "learner"),
            ("failover to a 7000", "leads already"),
            ("failover to b", "syntax"),
            ("failover timeout 0", "timeout must be"),
            ("failover abort", "No failover in progress"),
            ("failover abort now", "syntax"),
            ("replicaof a 7000", "does not follow itself"),
        ] {
            let (reply, request) = ask(&node, line);
            assert!(reply.contains(error) && request.is_none(), "{line}: {reply}");
        }
        let node = set(Part::HandingOver);
        assert_eq!(ask(&node, "failover abort"), accepted(Request::Abort));
        assert!(ask(&node, "failover").0.contains("already in progress"));
    }

    #[test]
    fn a_node_without_peers_says_so() {
        let node = node(1);
        assert_eq!(ask(&node, "failover").0, format!("-{NO_PEERS}\r\n"));
        assert_eq!(ask(&node, "replicaof b 7000").0, format!("-{NO_PEERS}\r\n"));
        assert_eq!(ask(&node, "replicaof no one"), ("+OK\r\n".to_owned(), None));
    }
}
