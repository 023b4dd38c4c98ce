//! What a program can mend.

use crate::report::Report;
use crate::run::{cargo, passes};

/// Formats, and applies clippy's own suggestions.
pub(crate) fn all(report: &mut Report) {
    report.step("clippy --fix", || {
        passes(cargo(&["clippy", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"]))
    });
    report.step("fmt", || passes(cargo(&["fmt", "--all"])));
}
