//! INFO: the state of the node as lines of `name:value`.
//!
//! Names are those of Redis 7.2 wherever Windrow has the thing; exporters and client libraries look for them. What
//! has no counterpart here is left out or has the value of a Redis that does not use it. What only Windrow has is in
//! the section `windrow`.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::sync::Arc;

use windrow_proto::resp::{Args, Encoder};

use super::info_sections as sections;
use super::node::{Live, Node};
use super::refresh::refresh;
use super::replication;
use crate::metrics::{Memory, Totals};
use crate::shard::{Effect, Now};

/// What a section's lines are written from.
pub(super) struct Facts<'a> {
    pub(super) node: &'a Node,
    pub(super) live: &'a Live,
    pub(super) now: Now,
    /// Sums over all commands and cores, and what the kernel says in texts of its own: only for a section that shows them.
    totals: OnceCell<Totals>,
    memory: OnceCell<(Memory, u64)>,
}

impl<'a> Facts<'a> {
    pub(super) fn new(node: &'a Node, live: &'a Live, now: Now) -> Self {
        Self { node, live, now, totals: OnceCell::new(), memory: OnceCell::new() }
    }

    /// What was counted since the last reset.
    pub(super) fn totals(&self) -> &Totals {
        self.totals.get_or_init(|| self.node.metrics.totals_since_reset())
    }

    /// What memory the process takes, and the most that it has taken so far.
    pub(super) fn memory(&self) -> (Memory, u64) {
        *self.memory.get_or_init(|| self.node.memory())
    }
}

/// The text as it grows.
#[derive(Debug, Default)]
pub(super) struct Report(String);

impl Report {
    /// Begins a section.
    pub(super) fn section(&mut self, name: &str) {
        if !self.0.is_empty() {
            self.0.push_str("\r\n");
        }
        // A `String` takes everything that is written to it.
        let _ = write!(self.0, "# {name}\r\n");
    }

    /// The text so far.
    #[cfg(test)]
    pub(super) fn text(&self) -> &str {
        &self.0
    }

    /// Adds a line.
    pub(super) fn line(&mut self, name: impl std::fmt::Display, value: impl std::fmt::Display) {
        let _ = write!(self.0, "{name}:{value}\r\n");
    }
}

/// A section: its name, when it is shown, and what writes it.
struct Section {
    name: &'static str,
    in_default: bool,
    write: fn(&Facts<'_>, &mut Report),
}

const fn section(name: &'static str, in_default: bool, write: fn(&Facts<'_>, &mut Report)) -> Section {
    Section { name, in_default, write }
}

/// All sections, in the order of Redis.
const SECTIONS: [Section; 14] = [
    section("server", true, sections::server),
    section("clients", true, sections::clients),
    section("memory", true, sections::memory),
    section("persistence", true, sections::persistence),
    section("stats", true, sections::stats),
    section("replication", true, replication::info),
    section("cpu", true, sections::cpu),
    section("modules", true, sections::modules),
    section("commandstats", false, sections::commandstats),
    section("errorstats", true, sections::errorstats),
    section("latencystats", false, sections::latencystats),
    section("cluster", true, sections::cluster),
    section("windrow", true, sections::windrow),
    section("keyspace", true, sections::keyspace),
];

/// `INFO [section …]`.
pub(super) fn info(node: &Arc<Node>, args: Args<'_>) -> Effect {
    let chosen = choose(args);
    let (seen, shown) = (Arc::clone(node), Arc::clone(node));
    Effect::every_core(
        move |core| {
            refresh(&seen, core);
            core.now()
        },
        move |session, times, reply| {
            let Some(&now) = times.first() else { return };
            let text = render(&shown, now, &chosen);
            Encoder::new(reply, session.protocol).verbatim(*b"txt", text.as_bytes());
        },
    )
}

/// For each of [`SECTIONS`] whether it was asked for. Names that are not known choose nothing, as in Redis.
fn choose(args: Args<'_>) -> [bool; SECTIONS.len()] {
    let mut chosen = SECTIONS.each_ref().map(|section| args.len() == 1 && section.in_default);
    for name in args.from(1) {
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        for (chosen, section) in chosen.iter_mut().zip(&SECTIONS) {
            *chosen |= is("all") || is("everything") || (is("default") && section.in_default) || is(section.name);
        }
    }
    chosen
}

fn render(node: &Node, now: Now, chosen: &[bool]) -> String {
    let live = node.live();
    let facts = Facts::new(node, &live, now);
    let mut report = Report::default();
    for (section, _) in SECTIONS.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
        (section.write)(&facts, &mut report);
    }
    report.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use windrow_proto::command::lookup;
    use windrow_proto::resp::Protocol;

    use super::super::testing::{Cores, Request, node, now, session};
    use super::*;
    use crate::metrics::{Outcome, index_of};

    fn ask(node: &Arc<Node>, args: &[&[u8]]) -> String {
        let mut session = session();
        session.protocol = Protocol::Resp3;
        let mut reply = Vec::new();
        let effect = info(node, Request::new(args).args());
        Cores::with_sessions(&[&[7], &[8]]).finish(effect, &mut session, &mut reply);
        let text = String::from_utf8(reply).unwrap();
        let (header, text) = text.split_once("\r\n").unwrap();
        assert_eq!(header, format!("={}", text.len() - 2));
        text.strip_prefix("txt:").unwrap().strip_suffix("\r\n").unwrap().to_owned()
    }

    fn titles(text: &str) -> Vec<&str> {
        text.lines().filter_map(|line| line.strip_prefix("# ")).collect()
    }

    #[test]
    fn sections_are_chosen_as_in_redis() {
        let node = node(2);
        let default = ask(&node, &[b"info"]);
        let names = [
            "Server",
            "Clients",
            "Memory",
            "Persistence",
            "Stats",
            "Replication",
            "CPU",
            "Modules",
            "Errorstats",
            "Cluster",
            "Windrow",
            "Keyspace",
        ];
        assert_eq!(titles(&default), names);
        assert_eq!(titles(&ask(&node, &[b"info", b"DEFAULT"])), names);
        assert_eq!(titles(&ask(&node, &[b"info", b"everything"])).len(), SECTIONS.len());
        assert_eq!(titles(&ask(&node, &[b"info", b"cpu", b"Server", b"nonsense"])), ["Server", "CPU"]);
        assert_eq!(ask(&node, &[b"info", b"nonsense"]), "");
    }

    #[test]
    fn every_line_is_a_name_and_a_value() {
        let node = node(2);
        let mut core = node.core_metrics(1);
        core.executed(index_of(lookup(b"get").unwrap()), Outcome::Done, Duration::from_micros(2), 4);
        core.error_reply(b"ERR x");
        core.publish();
        let text = ask(&node, &[b"info", b"all"]);
        assert!(text.ends_with("\r\n") && !text.contains("\r\n\r\n\r\n"), "{text}");
        let mut names = std::collections::HashSet::new();
        for line in text.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, _) = line.split_once(':').unwrap_or_else(|| panic!("{line}"));
            assert!(names.insert(name), "{name} is there twice");
        }
        for name in [
            "redis_version windrow_version redis_mode os arch_bits process_id run_id tcp_port uptime_in_seconds",
            "connected_clients maxclients blocked_clients used_memory used_memory_rss total_system_memory maxmemory",
            "aof_enabled rdb_last_save_time loading total_connections_received total_commands_processed",
            "instantaneous_ops_per_sec expired_keys evicted_keys keyspace_hits keyspace_misses rejected_connections",
            "role connected_slaves master_replid master_repl_offset used_cpu_sys used_cpu_user cluster_enabled",
            "durability at_risk_bytes partition_0 partition_1 cmdstat_get errorstat_ERR latency_percentiles_usec_get",
        ]
        .iter()
        .flat_map(|line| line.split(' '))
        {
            assert!(names.contains(name), "{name} is not in\n{text}");
        }
        assert!(text.contains("cmdstat_get:calls=4,usec=8,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r\n"));
        assert!(text.contains("errorstat_ERR:count=1\r\n") && text.contains("connected_clients:2\r\n"), "{text}");
    }

    #[test]
    fn a_database_without_keys_is_not_shown() {
        let node = node(1);
        assert_eq!(render(&node, now(), &choose(Request::new(&[b"info", b"keyspace"]).args())), "# Keyspace\r\n");
        node.metrics.partitions()[1].keys.set(3);
        node.metrics.partitions()[1].expiring_keys.set(2);
        node.metrics.partitions()[1].mean_expiry_ms.set(now().unix.get() + 1_500);
        let text = render(&node, now(), &choose(Request::new(&[b"info", b"keyspace"]).args()));
        assert_eq!(text, "# Keyspace\r\ndb0:keys=3,expires=2,avg_ttl=1500\r\n");
    }
}
