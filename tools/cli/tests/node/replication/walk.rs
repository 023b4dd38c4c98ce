//! The commands of the manual, as they stand there.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::{free_port, skipped};

const MANUAL: &str = include_str!("../../../../../docs/replication.md");

/// The commands of the chapter with this title.
fn commands(title: &str) -> String {
    let chapter = MANUAL.split("\n## ").find(|chapter| chapter.starts_with(title)).unwrap();
    let blocks = chapter.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.collect()
}

#[test]
fn the_manuals_three_nodes_do_what_it_says() {
    if Command::new("redis-cli").arg("--version").stdout(Stdio::null()).status().is_err() {
        skipped("there is no redis-cli here");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let mut script =
        format!("set -e\nexport PATH={}:$PATH\n", Path::new(env!("CARGO_BIN_EXE_windrow")).parent().unwrap().display());
    script.push_str("trap 'kill -9 $N1 $N2 $N3 2> /dev/null || true; wait' EXIT\n");
    script.push_str(&commands("Three nodes on one machine"));
    // The ports of the manual may be taken here.
    for port in ["7401", "7402", "7403", "7001", "7002", "7003"] {
        script = script.replace(port, &free_port().to_string());
    }
    let output =
        Command::new("timeout").args(["120", "bash", "-c", &script]).current_dir(root.path()).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    for expected in ["OK\n2\n", "MOVED ", "hello\n", "slave0:", "leads in epoch ", "hello again\n"] {
        assert!(said.contains(expected), "{expected:?} is not in\n{said}");
    }
    assert_eq!(said.matches("the same: ").count(), 2, "{said}");
}
