//! The gates that look at the code without running it.

use std::path::Path;
use std::process::Command;

use crate::report::Report;
use crate::run::{cargo, output, passes};
use crate::{licences, tidy};

/// A target without an operating system: what builds for it uses no files, sockets, clocks or threads.
const BARE_TARGET: &str = "x86_64-unknown-none";
/// The crates that are logic alone.
const PURE: [&str; 4] = ["-p", "windrow-core", "-p", "windrow-proto"];
/// The crates that are built in two modes, in the mode that is not the default.
pub(crate) const SHARED_NOTHING: [&str; 7] =
    ["-p", "windrow-node", "-p", "windrow-cli", "--no-default-features", "--features", "shared-nothing"];

/// All of them, the quick ones first.
pub(crate) fn all(report: &mut Report) {
    report.step("formatting", || passes(cargo(&["fmt", "--all", "--check"])));
    tidy::all(report);
    licences::all(report);
    pure_crates(report);
    report.step("clippy, shared-memory", || {
        passes(cargo(&["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
    });
    report.step("clippy, shared-nothing", || {
        let args = [&["clippy", "--locked", "--all-targets"], &SHARED_NOTHING[..], &["--", "-D", "warnings"]];
        passes(cargo(&args.concat()))
    });
    report.step("documentation", || {
        let mut command = cargo(&["doc", "--locked", "--workspace", "--no-deps"]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        passes(command)
    });
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
