//! What the page tells about replication.

use super::text::{Kind, Page};

/// What the page tells about replication.
#[derive(Clone, Default, Debug)]
pub struct ReplicationFacts {
    /// Each partition.
    pub partitions: Vec<PartFact>,
    /// Bytes of logs that went to other nodes and came from there: the core, the direction, the way, how many.
    pub bytes: Vec<(usize, Direction, &'static str, u64)>,
}

/// What the page tells about one partition.
#[derive(Clone, Default, Debug)]
pub struct PartFact {
    /// Whether this node leads it.
    pub leads: bool,
    /// How old its data is at most, in seconds, where it follows and that is known.
    pub staleness: Option<f64>,
    /// Its followers, while this node leads.
    pub followers: Vec<FollowerFact>,
}

/// What the page tells about one follower of a partition.
#[derive(Clone, Default, Debug)]
pub struct FollowerFact {
    /// Its name.
    pub name: String,
    /// Whether it gets what is appended.
    pub is_online: bool,
    /// Bytes of the log that it has yet to flush.
    pub lag_bytes: u64,
    /// For how many seconds it has not had everything.
    pub lag_seconds: f64,
}

/// Which way bytes went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// To other nodes.
    Sent,
    /// From other nodes.
    Received,
}

/// Writes it.
pub(super) fn replication(page: &mut Page, facts: &ReplicationFacts) {
    let parts: Vec<(String, &PartFact)> =
        facts.partitions.iter().enumerate().map(|(number, part)| (number.to_string(), part)).collect();
    page.family("windrow_partition_leads", Kind::Gauge, "1 while this node leads the partition.");
    for (number, part) in &parts {
        page.count(&[("partition", number)], part.leads.into());
    }
    page.family("windrow_partition_staleness_seconds", Kind::Gauge, "How old a follower's data is at most.");
    for (number, part) in &parts {
        if let Some(staleness) = part.staleness {
            page.sample(&[("partition", number)], staleness);
        }
    }
    let followers = || parts.iter().flat_map(|(number, part)| part.followers.iter().map(move |one| (number, one)));
    page.family("windrow_follower_online", Kind::Gauge, "1 while a follower gets what is appended.");
    for (number, one) in followers() {
        page.count(&[("partition", number), ("follower", &one.name)], one.is_online.into());
    }
    page.family("windrow_follower_lag_bytes", Kind::Gauge, "Bytes of the log that a follower has yet to flush.");
    for (number, one) in followers() {
        page.count(&[("partition", number), ("follower", &one.name)], one.lag_bytes);
    }
    page.family("windrow_follower_lag_seconds", Kind::Gauge, "How long a follower has not had everything.");
    for (number, one) in followers() {
        page.sample(&[("partition", number), ("follower", &one.name)], one.lag_seconds);
    }
    let directions = [
        ("windrow_peer_sent_bytes_total", "Bytes of logs sent to other nodes, by the way they took.", Direction::Sent),
        (
            "windrow_peer_received_bytes_total",
            "Bytes of logs received from other nodes, by the way they took.",
            Direction::Received,
        ),
    ];
    for (name, help, direction) in directions {
        page.family(name, Kind::Counter, help);
        for (core, _, way, count) in facts.bytes.iter().filter(|(_, which, ..)| *which == direction) {
            page.count(&[("core", &core.to_string()), ("way", way)], *count);
        }
    }
}
