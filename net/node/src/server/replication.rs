//! ROLE, WAIT, WAITAOF, READONLY, READWRITE, CLIENT STALENESS, and what INFO says about replication.

use std::time::{Duration, Instant};

use windrow_proto::resp::{Args, Encoder, parse_i64};

use super::identity::Identity;
use super::info::{Facts, Report};
use super::node::Node;
use crate::role::{Access, Board, Forced, Status};
use crate::shard::{Effect, ReplicaWait, Session};

/// What WAIT waits without a time-out: as good as for ever.
const FOREVER: Duration = Duration::from_secs(100 * 366 * 86_400);
/// The greatest bound that CLIENT STALENESS takes.
const STALENESS_MAX: Duration = Duration::from_secs(86_400);
const NOT_ON_REPLICA: &str = "cannot be used with replica instances. Please also note that writes to replicas are \
                              just local and are not propagated.";

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// `ROLE`.
pub(super) fn role(node: &Node, encoder: &mut Encoder<'_>) {
    if node.replication.part().is_leader() {
        let followers = node.replication.followers();
        encoder.array(3);
        encoder.bulk(b"master");
        encoder.integer(integer(node.offset()));
        encoder.array(followers.len());
        for follower in followers {
            encoder.array(3);
            encoder.bulk(follower.address.host.as_bytes());
            encoder.bulk_fmt(format_args!("{}", follower.address.port));
            encoder.bulk_fmt(format_args!("{}", follower.flushed));
        }
        return;
    }
    let status = worst_link(&node.replication);
    encoder.array(5);
    encoder.bulk(b"slave");
    let (host, port) = status.leader.as_ref().map_or(("", 0), |leader| (&leader.host, leader.port));
    encoder.bulk(host.as_bytes());
    encoder.integer(port.into());
    encoder.bulk(match (&status.leader, status.link.is_up, status.link.is_streaming) {
        (None, ..) => b"connect",
        (Some(_), false, _) => b"connecting",
        (Some(_), true, false) => b"sync",
        (Some(_), true, true) => b"connected",
    });
    encoder.integer(integer(node.offset()));
}

/// What is told about the partition whose way to its leader works least.
fn worst_link(board: &Board) -> Status {
    let works = |status: &Status| (status.leader.is_some(), status.link.is_up, status.link.is_streaming);
    board.partitions().map(|status| status.clone()).min_by_key(works).unwrap_or_default()
}

/// INFO's section `Replication`.
pub(super) fn info(facts: &Facts<'_>, report: &mut Report) {
    let (node, board, now) = (facts.node, &facts.node.replication, facts.now.instant);
    let part = board.part();
    report.section("Replication");
    report.line("role", if part.is_leader() { "master" } else { "slave" });
    if part.is_leader() {
        let followers = board.followers();
        report.line("connected_slaves", followers.len());
        for (number, follower) in followers.iter().enumerate() {
            let heard = since(follower.heard, now);
            let seconds = heard.map_or(-1, |age| integer(age.as_secs()));
            let heard_ms = heard.map_or(-1, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
            let lag_ms = since(follower.behind_since, now).map_or(0, |age| age.as_millis());
            report.line(
                format_args!("slave{number}"),
                format_args!(
                    "ip={},port={},state={},offset={},lag={seconds},lag_bytes={},lag_ms={lag_ms},heard_ms={heard_ms},voter={},id={}",
                    follower.address.host,
                    follower.address.port,
                    follower.state.name(),
                    follower.flushed,
                    follower.lag,
                    u8::from(follower.is_voter),
                    follower.name
                ),
            );
        }
    } else {
        follower_lines(&worst_link(board), node.offset(), now, report);
    }
    report.line("master_failover_state", board.failover().name());
    report.line("master_replid", node.identity.replication_id());
    report.line("master_replid2", "0".repeat(40));
    report.line("master_repl_offset", node.offset());
    report.line("second_repl_offset", -1);
    report.line("repl_backlog_active", 0);
    report.line("repl_backlog_size", 0);
    report.line("repl_backlog_first_byte_offset", 0);
    report.line("repl_backlog_histlen", 0);
    report.line("replication_part", part.name());
    report.line("replication_refusal", board.control.refusal().unwrap_or_default());
    report.line("replication_epoch", board.partitions().map(|status| status.epoch).max().unwrap_or(0));
    for (number, status) in board.partitions().enumerate() {
        if let Some(forced) = status.forced.filter(|forced| forced.epoch == status.epoch) {
            let Forced { epoch, kept, committed, leader_committed } = forced;
            let fields =
                format_args!("epoch={epoch},kept={kept},committed={committed},leader_committed={leader_committed}");
            report.line(format_args!("replication_forced{number}"), fields);
        }
    }
}

fn follower_lines(status: &Status, offset: u64, now: Instant, report: &mut Report) {
    let (host, port) = status.leader.as_ref().map_or(("", 0), |leader| (&leader.host, leader.port));
    let heard = since(status.link.heard, now);
    report.line("master_host", host);
    report.line("master_port", port);
    report.line("master_link_status", if status.leader.is_some() && status.link.is_up { "up" } else { "down" });
    report.line("master_last_io_seconds_ago", heard.map_or(-1, |age| integer(age.as_secs())));
    report.line("master_sync_in_progress", u8::from(status.link.is_up && !status.link.is_streaming));
    report.line("slave_read_repl_offset", status.appended);
    report.line("slave_repl_offset", offset);
    if !status.link.is_up {
        report.line("master_link_down_since_seconds", heard.map_or(-1, |age| integer(age.as_secs())));
    }
    let staleness = since(status.fresh_at, now).map_or(-1, |age| i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    report.line("slave_staleness_ms", staleness);
    report.line("slave_priority", 100);
    report.line("slave_read_only", 1);
    report.line("replica_announced", 1);
    report.line("connected_slaves", 0);
}

fn since(moment: Option<Instant>, now: Instant) -> Option<Duration> {
    moment.map(|moment| now.saturating_duration_since(moment))
}

/// `READONLY` and `READWRITE`. In shared-memory mode there is no cluster, and they are refused as Redis does.
pub(super) fn read_mode(read_only: bool, access: &mut Access, encoder: &mut Encoder<'_>) {
    if !Identity::IS_CLUSTER {
        return encoder.error("ERR This instance has cluster support disabled");
    }
    access.read_only = read_only;
    encoder.ok();
}

/// `CLIENT STALENESS [milliseconds | off]`: how old the data may be that a follower reads from for this connection;
/// without an argument, says which bound holds.
pub(super) fn staleness(session: &mut Session, args: Args<'_>, encoder: &mut Encoder<'_>) {
    match (args.len(), args.get(2)) {
        (2, _) => match session.access.staleness {
            Some(bound) => encoder.integer(i64::try_from(bound.as_millis()).unwrap_or(i64::MAX)),
            None => encoder.null(),
        },
        (3, Some(choice)) if choice.eq_ignore_ascii_case(b"off") => {
            session.access.staleness = None;
            encoder.ok();
        }
        (3, Some(choice)) => {
            let bound = parse_i64(choice).and_then(|millis| u64::try_from(millis).ok()).map(Duration::from_millis);
            match bound.filter(|bound| *bound <= STALENESS_MAX) {
                Some(bound) => {
                    session.access.staleness = Some(bound);
                    encoder.ok();
                }
                None => encoder.error("ERR CLIENT STALENESS takes milliseconds, 0 to 86400000, or off"),
            }
        }
        _ => encoder.error("ERR syntax error"),
    }
}

/// A time-out in milliseconds; 0 is none.
fn timeout(text: &[u8]) -> Result<Duration, &'static str> {
    match parse_i64(text) {
        None => Err("ERR timeout is not an integer or out of range"),
        Some(0) => Ok(FOREVER),
        Some(millis) => match u64::try_from(millis) {
            Ok(millis) => Ok(Duration::from_millis(millis).min(FOREVER)),
            Err(_) => Err("ERR timeout is negative"),
        },
    }
}

fn number(text: &[u8]) -> Result<i64, &'static str> {
    parse_i64(text).ok_or("ERR value is not an integer or out of range")
}

fn effect(board: &Board, name: &str, parsed: Result<ReplicaWait, &'static str>, encoder: &mut Encoder<'_>) -> Effect {
    match parsed {
        _ if !board.part().is_leader() => encoder.error_fmt(format_args!("ERR {name} {NOT_ON_REPLICA}")),
        Err(error) => encoder.error(error),
        Ok(wait) => return Effect::WhenReplicated(wait),
    }
    Effect::Reply
}

/// `WAIT replicas timeout`: how many replicas have flushed everything that was appended here before.
pub(super) fn wait(board: &Board, args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let parsed = number(args.at(1)).and_then(|replicas| {
        let replicas = usize::try_from(replicas).unwrap_or(0);
        Ok(ReplicaWait { local: None, replicas, timeout: timeout(args.at(2))? })
    });
    effect(board, "WAIT", parsed, encoder)
}

/// `WAITAOF local replicas timeout`: how many logs here (0 or 1) and elsewhere hold on disk what was appended before.
pub(super) fn waitaof(board: &Board, args: Args<'_>, encoder: &mut Encoder<'_>) -> Effect {
    let parsed = number(args.at(1)).and_then(|local| {
        if !(0..=1).contains(&local) {
            return Err("ERR value is out of range, value must between 0 and 1");
        }
        let replicas =
            usize::try_from(number(args.at(2))?).map_err(|_| "ERR value is out of range, must be positive")?;
        Ok(ReplicaWait { local: Some(local == 1), replicas, timeout: timeout(args.at(3))? })
    });
    effect(board, "WAITAOF", parsed, encoder)
}

#[cfg(test)]
mod tests;
