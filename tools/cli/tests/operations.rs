//! `docs/operations.md` against the code: its tables of settings and of metrics.

use windrow_node::metrics::{Memory, NodeFacts, NodeMetrics, ReplicationFacts, render};
use windrow_node::settings::{FIELDS, Settings};

const MANUAL: &str = include_str!("../../../docs/operations.md");

/// The rows of the table whose header starts with `header`.
fn table(header: &str) -> Vec<&'static str> {
    let rows = MANUAL.lines().skip_while(|line| !line.starts_with(header)).skip(2);
    rows.take_while(|line| line.starts_with('|')).collect()
}

#[test]
fn every_setting_is_documented() {
    let defaults = Settings::default();
    let expected: Vec<String> = FIELDS
        .iter()
        .map(|field| {
            let default = (field.get)(&defaults);
            let default = if default.is_empty() { "none".to_owned() } else { format!("`{default}`") };
            let live = if field.changes_live { "yes" } else { "no" };
            format!("| `{}` | {default} | {} | {live} | {} |", field.name, field.kind.allowed(), field.help)
        })
        .collect();
    assert_eq!(table("| setting |"), expected, "\nexpected:\n{}\n", expected.join("\n"));
}

#[test]
fn every_metric_is_documented() {
    let memory = Memory { resident: 0, anonymous: 0, resident_peak: 0, machine: 0 };
    let facts = NodeFacts {
        version: "",
        mode: "",
        durability: "",
        connections_max: 0,
        memory,
        replication: ReplicationFacts::default(),
    };
    let page = render(&NodeMetrics::new(&[], 1, 1), &facts);
    let lines: Vec<&str> = page.lines().collect();
    let expected: Vec<String> = lines
        .windows(2)
        .filter_map(|pair| {
            let (name, help) = pair[0].strip_prefix("# HELP ")?.split_once(' ')?;
            let kind = pair[1].strip_prefix("# TYPE ")?.rsplit(' ').next()?;
            Some(format!("| `{name}` | {kind} | {help} |"))
        })
        .collect();
    assert!(!expected.is_empty(), "{page}");
    assert_eq!(table("| metric |"), expected, "\nexpected:\n{}\n", expected.join("\n"));
}
