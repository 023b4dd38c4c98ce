//! The page of metrics that Prometheus reads.

use super::counters::{CoreCounters, Stage};
use super::errors::error_name;
use super::histogram::{Scale, SharedHistogram};
use super::node::{NodeMetrics, PartitionGauges};
use super::process::Memory;
use super::replication::{ReplicationFacts, replication};
use super::text::{Kind, Page};

/// What the page tells beside what is counted.
#[derive(Clone, Debug)]
pub struct NodeFacts {
    /// The node's version.
    pub version: &'static str,
    /// `shared-memory` or `shared-nothing`.
    pub mode: &'static str,
    /// The durability setting's name.
    pub durability: &'static str,
    /// How many connections are allowed.
    pub connections_max: u64,
    /// Memory of the process, read just now.
    pub memory: Memory,
    /// What is known about the node's part in replication.
    pub replication: ReplicationFacts,
}

/// A metric that each core has one of: its name, its help, and where it is read.
type CoreMetric = (&'static str, Kind, &'static str, fn(&CoreCounters) -> u64);
/// As [`CoreMetric`], of a partition.
type PartitionMetric = (&'static str, Kind, &'static str, fn(&PartitionGauges) -> u64);

const CORE_METRICS: [CoreMetric; 26] = [
    ("windrow_connections_accepted_total", Kind::Counter, "Connections accepted, kept or not.", |core| {
        core.connections_received.get()
    }),
    (
        "windrow_connections_rejected_total",
        Kind::Counter,
        "Connections refused: too many, or protected mode.",
        |core| core.connections_rejected.get(),
    ),
    ("windrow_connections", Kind::Gauge, "Open connections.", |core| core.connections.get()),
    ("windrow_connections_unauthenticated", Kind::Gauge, "Open connections yet to authenticate.", |core| {
        core.connections_unauthenticated.get()
    }),
    ("windrow_clients_blocked", Kind::Gauge, "Connections whose reply is held back: WAIT, a wrong password.", |core| {
        core.clients_blocked.get()
    }),
    ("windrow_client_buffer_bytes", Kind::Gauge, "Input and output buffers of connections.", |core| {
        core.buffer_bytes.get()
    }),
    ("windrow_commands_total", Kind::Counter, "Commands executed.", |core| core.commands.get()),
    ("windrow_commands_forwarded_total", Kind::Counter, "Commands that another core executed.", |core| {
        core.commands_forwarded.get()
    }),
    ("windrow_net_input_bytes_total", Kind::Counter, "Bytes received from clients.", |core| core.net_input_bytes.get()),
    ("windrow_net_output_bytes_total", Kind::Counter, "Bytes sent to clients.", |core| core.net_output_bytes.get()),
    ("windrow_keyspace_hits_total", Kind::Counter, "Lookups by reading commands that found the key.", |core| {
        core.keyspace_hits.get()
    }),
    ("windrow_keyspace_misses_total", Kind::Counter, "Lookups by reading commands that found none.", |core| {
        core.keyspace_misses.get()
    }),
    ("windrow_keys_expired_total", Kind::Counter, "Expired keys deleted by the sweep.", |core| core.keys_expired.get()),
    ("windrow_output_limit_disconnections_total", Kind::Counter, "Connections closed for unread replies.", |core| {
        core.output_limit_disconnections.get()
    }),
    ("windrow_input_limit_disconnections_total", Kind::Counter, "Connections closed for too large requests.", |core| {
        core.input_limit_disconnections.get()
    }),
    ("windrow_deadline_disconnections_total", Kind::Counter, "Connections closed for being too slow.", |core| {
        core.deadline_disconnections.get()
    }),
    ("windrow_protocol_errors_total", Kind::Counter, "Requests that were not RESP.", |core| core.protocol_errors.get()),
    ("windrow_authentication_failures_total", Kind::Counter, "Failed attempts to authenticate.", |core| {
        core.authentication_failures.get()
    }),
    ("windrow_writes_refused_no_space_total", Kind::Counter, "Writes refused for lack of disk space.", |core| {
        core.writes_refused_no_space.get()
    }),
    (
        "windrow_writes_refused_no_segment_total",
        Kind::Counter,
        "Writes refused since the disk refuses a segment.",
        |core| core.writes_refused_no_segment.get(),
    ),
    ("windrow_flushes_total", Kind::Counter, "Flushes of logs completed.", |core| core.flushes.get()),
    ("windrow_cold_reads_total", Kind::Counter, "Reads of records that were not in memory.", |core| {
        core.cold_reads.get()
    }),
    ("windrow_follows_total", Kind::Counter, "Times that a standby took in what its leader had committed.", |core| {
        core.follows.get()
    }),
    ("windrow_follow_wakes_total", Kind::Counter, "Times that a standby's wait for its leader ended.", |core| {
        core.follow_wakes.get()
    }),
    ("windrow_loop_rounds_total", Kind::Counter, "Rounds of the event loop.", |core| core.loop_rounds.get()),
    ("windrow_commands_per_second", Kind::Gauge, "Commands executed a second, averaged over the last ticks.", |core| {
        core.commands_per_second.get()
    }),
];

const PARTITION_METRICS: [PartitionMetric; 19] = [
    ("windrow_partition_keys", Kind::Gauge, "Keys, expired ones not yet swept included.", |partition| {
        partition.keys.get()
    }),
    ("windrow_partition_log_appended_bytes", Kind::Gauge, "End of what was appended to the log.", |partition| {
        partition.appended_lsn.get()
    }),
    ("windrow_partition_log_submitted_bytes", Kind::Gauge, "End of what was handed to a flush.", |partition| {
        partition.submitted_lsn.get()
    }),
    ("windrow_partition_log_durable_bytes", Kind::Gauge, "End of what is on disk.", |partition| {
        partition.durable_lsn.get()
    }),
    ("windrow_partition_log_committed_bytes", Kind::Gauge, "End of what replies may show.", |partition| {
        partition.committed_lsn.get()
    }),
    ("windrow_partition_log_first_bytes", Kind::Gauge, "Start of the oldest record kept.", |partition| {
        partition.first_lsn.get()
    }),
    (
        "windrow_partition_log_at_risk_bytes",
        Kind::Gauge,
        "Appended but not on disk yet.",
        PartitionGauges::at_risk_bytes,
    ),
    ("windrow_partition_epoch", Kind::Gauge, "The leadership that the log is written under.", |partition| {
        partition.epoch.get()
    }),
    ("windrow_partition_keys_expiring", Kind::Gauge, "Keys that expire.", |partition| partition.expiring_keys.get()),
    ("windrow_partition_log_live_bytes", Kind::Gauge, "Records that are still current.", |partition| {
        partition.live_bytes.get()
    }),
    ("windrow_partition_segments", Kind::Gauge, "Segment files in use.", |partition| partition.segments.get()),
    ("windrow_partition_segments_prepared", Kind::Gauge, "Segment files prepared ahead.", |partition| {
        partition.segments_prepared.get()
    }),
    ("windrow_partition_segment_bytes", Kind::Gauge, "Bytes of the segment files.", |partition| {
        partition.segment_bytes.get()
    }),
    ("windrow_partition_index_bytes", Kind::Gauge, "Memory of the index.", |partition| partition.index_bytes.get()),
    ("windrow_partition_tail_memory_bytes", Kind::Gauge, "Memory that the newest segments are kept in.", |partition| {
        partition.tail_memory_bytes.get()
    }),
    ("windrow_partition_out_of_space", Kind::Gauge, "1 while there is no room for a segment.", |partition| {
        partition.out_of_space.get()
    }),
    ("windrow_partition_aside_bytes", Kind::Gauge, "Bytes cut from the log and kept aside.", |partition| {
        partition.aside_bytes.get()
    }),
    ("windrow_partition_segment_refused", Kind::Gauge, "1 while the disk refuses a segment.", |partition| {
        partition.segment_refused.get()
    }),
    ("windrow_partition_damaged_segments", Kind::Gauge, "Segments found to be damaged since the start.", |partition| {
        partition.damaged_segments.get()
    }),
];

/// Renders everything as text format 0.0.4. Takes the locks of published histograms one by one, so that it may be
/// called by any thread but a core's own.
#[must_use]
pub fn render(node: &NodeMetrics, facts: &NodeFacts) -> String {
    let mut page = Page::default();
    process(&mut page, node, facts);
    let cores: Vec<String> = (0..node.cores().len()).map(|core| core.to_string()).collect();
    for (name, kind, help, read) in CORE_METRICS {
        page.family(name, kind, help);
        for (label, core) in cores.iter().zip(node.cores()) {
            page.count(&[("core", label)], read(&core.counters));
        }
    }
    cpu(&mut page, node, &cores);
    partitions(&mut page, node);
    replication(&mut page, &facts.replication);
    errors(&mut page, node, &cores);
    commands(&mut page, node);
    histograms(&mut page, node, &cores);
    page.finish()
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floating-point")]
fn process(page: &mut Page, node: &NodeMetrics, facts: &NodeFacts) {
    page.family("windrow_info", Kind::Gauge, "Always 1; what is running, in labels.");
    let labels = [("version", facts.version), ("mode", facts.mode), ("durability", facts.durability)];
    page.count(&labels, 1);
    let uptime = node.uptime().as_secs_f64();
    page.single("windrow_uptime_seconds", Kind::Gauge, "Time since the node started.", uptime);
    page.single("windrow_cores", Kind::Gauge, "Cores that serve.", node.cores().len() as f64);
    let connections_max = facts.connections_max as f64;
    page.single("windrow_connections_max", Kind::Gauge, "Connections allowed.", connections_max);
    let memory = [
        ("windrow_memory_resident_bytes", "Resident memory, mapped log included.", facts.memory.resident),
        ("windrow_memory_anonymous_bytes", "Resident memory that is no file's.", facts.memory.anonymous),
        ("windrow_memory_resident_peak_bytes", "The most that was ever resident.", facts.memory.resident_peak),
        ("windrow_machine_memory_bytes", "Memory of the machine.", facts.memory.machine),
    ];
    for (name, help, value) in memory {
        page.single(name, Kind::Gauge, help, value as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floating-point")]
fn cpu(page: &mut Page, node: &NodeMetrics, cores: &[String]) {
    page.family("windrow_cpu_seconds_total", Kind::Counter, "CPU time of a core's thread.");
    for (label, core) in cores.iter().zip(node.cores()) {
        let counters = &core.counters;
        page.sample(&[("core", label), ("mode", "user")], counters.cpu_user_us.get() as f64 / 1e6);
        page.sample(&[("core", label), ("mode", "system")], counters.cpu_system_us.get() as f64 / 1e6);
    }
}

fn partitions(page: &mut Page, node: &NodeMetrics) {
    let labels: Vec<(String, String)> = node
        .partitions()
        .iter()
        .enumerate()
        .map(|(number, partition)| (number.to_string(), partition.core.get().to_string()))
        .collect();
    for (name, kind, help, read) in PARTITION_METRICS {
        page.family(name, kind, help);
        for ((number, core), partition) in labels.iter().zip(node.partitions()) {
            page.count(&[("partition", number), ("core", core)], read(partition));
        }
    }
    let name = "windrow_partition_prepare_failures_total";
    page.family(name, Kind::Counter, "Segments that could not be prepared.");
    for ((number, core), partition) in labels.iter().zip(node.partitions()) {
        page.count(&[("partition", number), ("core", core)], partition.prepare_failures.get());
    }
}

fn errors(page: &mut Page, node: &NodeMetrics, cores: &[String]) {
    page.family("windrow_error_replies_total", Kind::Counter, "Error replies by their prefix.");
    for (label, core) in cores.iter().zip(node.cores()) {
        for (at, count) in core.errors.iter().enumerate().filter(|(_, count)| count.get() > 0) {
            page.count(&[("core", label), ("prefix", error_name(at))], count.get());
        }
    }
}

fn commands(page: &mut Page, node: &NodeMetrics) {
    let totals = node.totals();
    let used: Vec<_> = node
        .command_names()
        .iter()
        .zip(&totals.commands)
        .filter(|(_, command)| command.calls + command.rejected > 0)
        .collect();
    page.family("windrow_command_calls_total", Kind::Counter, "Executions by command and by how they ended.");
    for (name, command) in &used {
        let done = command.calls.saturating_sub(command.failed);
        for (outcome, count) in [("done", done), ("failed", command.failed), ("rejected", command.rejected)] {
            page.count(&[("command", name), ("outcome", outcome)], count);
        }
    }
    let help = "Execution time by command, without waiting for a flush or another core.";
    page.family("windrow_command_duration_seconds", Kind::Histogram, help);
    for (at, name) in node.command_names().iter().enumerate() {
        if let Some(values) = node.command_latency(at) {
            page.latency(&[("command", name)], &values);
        }
    }
}

fn histograms(page: &mut Page, node: &NodeMetrics, cores: &[String]) {
    let copy = |shared: &SharedHistogram, scale| {
        let mut values = super::Distribution::empty(scale);
        shared.merge_into(&mut values);
        values
    };
    page.family(
        "windrow_stage_duration_seconds",
        Kind::Histogram,
        "Time that requests spend in each stage; replied is all of it.",
    );
    for (label, core) in cores.iter().zip(node.cores()) {
        for (stage, shared) in Stage::ALL.iter().zip(&core.stages) {
            page.latency(&[("core", label), ("stage", stage.name())], &copy(shared, Scale::Latency));
        }
    }
    page.family("windrow_flush_duration_seconds", Kind::Histogram, "Time that flushes take.");
    for (label, core) in cores.iter().zip(node.cores()) {
        page.latency(&[("core", label)], &copy(&core.flush_latency, Scale::Latency));
    }
    page.family("windrow_flush_size_bytes", Kind::Histogram, "Bytes that a flush covers.");
    for (label, core) in cores.iter().zip(node.cores()) {
        page.powers(&[("core", label)], &copy(&core.flush_bytes, Scale::Bytes), 256, 10);
    }
    page.family("windrow_flush_records", Kind::Histogram, "Records that a flush covers.");
    for (label, core) in cores.iter().zip(node.cores()) {
        page.powers(&[("core", label)], &copy(&core.flush_records, Scale::Count), 1, 10);
    }
    page.family(
        "windrow_follow_lag_seconds",
        Kind::Histogram,
        "Time from a leader's commit until its standby shows it.",
    );
    for (label, core) in cores.iter().zip(node.cores()) {
        page.latency(&[("core", label)], &copy(&core.follow_lag, Scale::Latency));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::core::CoreMetrics;
    use super::super::counters::Outcome;
    use super::super::replication::{Direction, FollowerFact, PartFact};
    use super::*;

    fn facts() -> NodeFacts {
        let memory = Memory { resident: 1, anonymous: 2, resident_peak: 3, machine: 4 };
        let follower = FollowerFact { name: "ab".to_owned(), is_online: true, lag_bytes: 7, lag_seconds: 0.5 };
        let part = PartFact { leads: true, staleness: Some(0.1), followers: vec![follower] };
        let bytes = vec![(0, Direction::Sent, "sendfile", 9), (0, Direction::Received, "direct", 8)];
        NodeFacts {
            version: "0.1.0",
            mode: "shared-memory",
            durability: "commit",
            connections_max: 10,
            memory,
            replication: ReplicationFacts { partitions: vec![part], bytes },
        }
    }

    #[test]
    fn every_sample_belongs_to_a_family_that_is_announced_once() {
        let node = NodeMetrics::new(&["get", "set"], 2, 2);
        for shared in node.cores() {
            let mut core = CoreMetrics::new(Arc::clone(shared));
            core.executed(0, Outcome::Done, Duration::from_nanos(700), 1);
            core.stage(Stage::Flushed, Duration::from_micros(130), 4);
            core.flush_time(Duration::from_micros(120));
            core.flush_size(4_096, 16);
            core.error_reply(b"WRONGTYPE x");
            core.publish();
        }
        let text = render(&node, &facts());
        let mut families = HashSet::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(families.insert(name), "{name} is announced twice");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
            } else if !line.starts_with('#') {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let name = series.split('{').next().unwrap();
                let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
                let known = families.contains(name) || base.is_some_and(|base| families.contains(base));
                assert!(known && name.starts_with("windrow_"), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        for line in [
            "windrow_command_calls_total{command=\"get\",outcome=\"done\"} 2",
            "windrow_command_duration_seconds_count{command=\"get\"} 2",
            "windrow_stage_duration_seconds_count{core=\"1\",stage=\"flushed\"} 4",
            "windrow_flush_size_bytes_bucket{core=\"0\",le=\"4096\"} 1",
            "windrow_flush_records_sum{core=\"0\"} 16",
            "windrow_follower_lag_bytes{partition=\"0\",follower=\"ab\"} 7",
            "windrow_peer_sent_bytes_total{core=\"0\",way=\"sendfile\"} 9",
            "windrow_error_replies_total{core=\"0\",prefix=\"WRONGTYPE\"} 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
