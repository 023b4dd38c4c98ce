//! The gates that look at the code without running it.

use std::path::Path;
use std::process::Command;

use crate::modes::{SHARED_MEMORY, SHARED_NOTHING, SHARED_NOTHING_TESTS, same_features};
use crate::report::Report;
use crate::run::{cargo, output, passes};
use crate::{licences, tidy};

/// A target without an operating system: what builds for it uses no files, sockets, clocks or threads.
const BARE_TARGET: &str = "x86_64-unknown-none";
/// The crates that are logic alone.
const PURE: [&str; 4] = ["-p", "windrow-core", "-p", "windrow-proto"];

/// All of them, the quick ones first.
pub(crate) fn all(report: &mut Report) {
    quick(report);
    for (name, command) in thorough() {
        report.step(name, || passes(command));
    }
}

/// Those that compile little or nothing.
pub(crate) fn quick(report: &mut Report) {
    report.step("formatting", || passes(cargo(&["fmt", "--all", "--check"])));
    tidy::all(report);
    licences::all(report);
    report.step("features, the same in both modes", same_features);
    pure_crates(report);
}

/// Those for which the compiler reads everything, by name.
pub(crate) fn thorough() -> Vec<(&'static str, Command)> {
    let clippy = |selection: &[&str]| cargo(&[&["clippy", "--locked"], selection, &["--", "-D", "warnings"]].concat());
    let mut documentation = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    vec![
        ("clippy, shared-memory", clippy(&[&SHARED_MEMORY[..], &["--all-targets"]].concat())),
        ("clippy, shared-nothing", clippy(&[&SHARED_NOTHING[..], &SHARED_NOTHING_TESTS, &["--examples"]].concat())),
        ("documentation", documentation),
    ]
}

fn pure_crates(report: &mut Report) {
    let has_target = has_bare_target();
    if !has_target {
        report.note(format!(
            "the Rust target {BARE_TARGET} is not installed (rustup target add {BARE_TARGET}), so the crates without \
             an operating system were built for this machine instead, where `#![no_std]` alone guards them"
        ));
    }
    report.step("pure crates", || {
        let target: &[&str] = if has_target { &["--target", BARE_TARGET] } else { &[] };
        passes(cargo(&[&["check", "--locked"], &PURE[..], target].concat()))
    });
}

fn has_bare_target() -> bool {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--print", "target-libdir", "--target", BARE_TARGET]).current_dir(crate::run::root());
    output(rustc).is_some_and(|dir| Path::new(dir.trim()).is_dir())
}
