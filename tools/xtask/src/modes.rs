//! The two modes in which the node and the binary are built, as cargo is told to select them.
//!
//! Cargo gives a crate from outside the features that the *selected* packages ask for, all of them together. A selection
//! that asks for fewer compiles that crate again, and everything that stands on it: `syn` with one feature less is
//! nearly all of `Cargo.lock`. So each step of `check` and `test` takes one of the two selections here, and they come to
//! the same features, which [`same_features`] holds them to.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;

use crate::run::{cargo, output, target};

/// The default mode, with all packages.
pub(crate) const SHARED_MEMORY: [&str; 1] = ["--workspace"];

/// The other mode, of the packages that have it. Those after them are selected for the features that they ask for; of
/// them, what is compiled already is used again.
pub(crate) const SHARED_NOTHING: [&str; 15] = [
    "-p",
    "windrow-node",
    "-p",
    "windrow-cli",
    "-p",
    "windrow-bench-micro",
    "-p",
    "windrow-load",
    "-p",
    "windrow-model",
    "-p",
    "windrow-proto",
    "--no-default-features",
    "--features",
    "windrow-node/shared-nothing,windrow-cli/shared-nothing",
];

/// What is tested in the default mode. Examples are built as programs, not as tests: they have none.
pub(crate) const TESTS: [&str; 4] = ["--lib", "--bins", "--tests", "--benches"];
/// What is tested in the other mode: not the benchmarks, and not the programs of packages that have no modes.
pub(crate) const SHARED_NOTHING_TESTS: [&str; 5] = ["--lib", "--bin", "windrow", "--test", "*"];

/// Where the programs of the mode that is not the default go, so that neither build replaces the other's.
pub(crate) fn shared_nothing_target() -> PathBuf {
    target().join("shared-nothing")
}

/// Cargo for that mode. What lies between sources and programs stays where the default mode has it, to be shared.
pub(crate) fn shared_nothing(args: &[&str]) -> Command {
    let mut command = cargo(args);
    command.env("CARGO_TARGET_DIR", shared_nothing_target()).env("CARGO_BUILD_BUILD_DIR", target());
    command
}

/// Whether crates from outside have the same features in both.
pub(crate) fn same_features() -> Vec<String> {
    let (Some(memory), Some(nothing)) = (features(&SHARED_MEMORY), features(&SHARED_NOTHING)) else {
        return vec!["`cargo tree` failed".to_owned()];
    };
    different(&memory, &nothing)
}

fn different(memory: &str, nothing: &str) -> Vec<String> {
    let memory: BTreeSet<&str> = memory.lines().collect();
    let nothing: BTreeSet<&str> = nothing.lines().collect();
    let others = nothing.difference(&memory).filter(|line| !line.starts_with("windrow"));
    others
        .map(|line| {
            let name = line.split(' ').next().unwrap_or_default();
            format!(
                "the shared-nothing mode compiles {name} again, as `{line}`: select the package that asks for the \
                 other features in tools/xtask/src/modes.rs too, or let both ask for the same"
            )
        })
        .collect()
}

/// A line for each crate, with its features.
fn features(selection: &[&str]) -> Option<String> {
    let tree = ["tree", "--quiet", "--locked", "--prefix", "none", "--no-dedupe"];
    output(cargo(&[&tree[..], &["--edges", "normal,build,dev", "--format", "{p} {f}"], selection].concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_with_fewer_features_is_named() {
        let memory = "windrow-node v0.1.0 shared-memory\nsyn v2.0.0 derive,full\nsyn v3.0.0 full\nlibc v0.2.0 std";
        assert_eq!(different(memory, memory), [] as [String; 0]);
        let problems = different(memory, "windrow-node v0.1.0 shared-nothing\nsyn v2.0.0 full\nsyn v3.0.0 full");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("compiles syn again, as `syn v2.0.0 full`"), "{problems:?}");
    }
}
