//! `docs/protocol.md` against the code: its command tables and its limits.

use windrow_core::types::limits::KEY_LEN_MAX;
use windrow_node::net::limits as net;
use windrow_proto::command::{Command, TABLE};
use windrow_proto::limits as proto;

const MANUAL: &str = include_str!("../../../docs/protocol.md");

fn row(command: &Command) -> String {
    format!("| `{}` | {} | {} | {} |", command.name, command.arity, command.since, command.summary)
}

#[test]
fn every_command_is_documented_and_nothing_else_is() {
    let rows: Vec<&str> =
        MANUAL.lines().filter(|line| line.starts_with("| `") && line.matches(" | ").count() == 4).collect();
    let commands: Vec<&Command> =
        TABLE.iter().flat_map(|command| std::iter::once(*command).chain(command.subcommands)).collect();
    for command in &commands {
        let expected = row(command);
        assert!(rows.iter().any(|row| row.starts_with(&expected)), "docs/protocol.md lacks `{expected} … |`");
    }
    assert_eq!(rows.len(), commands.len(), "docs/protocol.md documents commands that do not exist");
}

#[test]
fn the_limits_are_those_of_the_code() {
    let limits = [
        ("BULK_LEN_MAX", proto::BULK_LEN_MAX),
        ("ARRAY_LEN_MAX", proto::ARRAY_LEN_MAX),
        ("INLINE_LEN_MAX", proto::INLINE_LEN_MAX),
        ("UNAUTHENTICATED_BULK_LEN_MAX", proto::UNAUTHENTICATED_BULK_LEN_MAX),
        ("UNAUTHENTICATED_ARRAY_LEN_MAX", proto::UNAUTHENTICATED_ARRAY_LEN_MAX),
        ("UNAUTHENTICATED_COMMAND_LEN_MAX", proto::UNAUTHENTICATED_COMMAND_LEN_MAX),
        ("COMMAND_LEN_SPARE", proto::COMMAND_LEN_SPARE),
        ("PATTERN_LEN_MAX", proto::PATTERN_LEN_MAX),
        ("SCAN_COUNT_MAX", proto::SCAN_COUNT_MAX),
        ("LCS_CELLS_MAX", proto::LCS_CELLS_MAX),
        ("KEY_LEN_MAX", KEY_LEN_MAX),
        ("PIPELINE_MAX", net::PIPELINE_MAX),
        ("ELSEWHERE_MAX", net::ELSEWHERE_MAX),
        ("WIDE_ELSEWHERE_MAX", net::WIDE_ELSEWHERE_MAX),
        ("INPUT_BUDGET_PER_CORE", net::INPUT_BUDGET_PER_CORE),
    ];
    for (name, value) in limits {
        let expected = format!("| `{name}` | {value} |");
        assert!(MANUAL.contains(&expected), "docs/protocol.md lacks `{expected} … |`");
    }
}
