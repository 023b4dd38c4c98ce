//! Rules of the house that a program can check.
//!
//! Each rule is a function from the files of the workspace to the places where it is broken. Compiler and clippy
//! keep the rest (see `[workspace.lints]`).

mod dependencies;
mod links;
mod rules;

use std::fs;
use std::path::Path;

use crate::report::Report;
use crate::run::root;
use crate::source::code_of;

/// One file of the workspace, by its path from the root.
pub(crate) struct File {
    path: String,
    text: String,
    /// Rust only: the text without comments and strings.
    code: String,
}

impl File {
    fn new(path: String, text: String) -> Self {
        let code = if path.ends_with(".rs") { code_of(&text) } else { String::new() };
        Self { path, text, code }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether this file only ever runs in tests, benches or fuzzing.
    fn is_test(&self) -> bool {
        let in_folder = ["tests/", "benches/", "fuzz_targets/"]
            .iter()
            .any(|folder| self.path.contains(&format!("/{folder}")) || self.path.starts_with(folder));
        in_folder || self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs")
    }

    /// Lines of code with their numbers, up to the first module of tests.
    fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let production = self.code.lines().take_while(|line| line.trim() != "mod tests {");
        production.enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Checks every rule.
pub(crate) fn all(report: &mut Report) {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    for (path, lines) in rules::long_files(&files) {
        println!("    warning: {path} has {lines} lines (aim for fewer than {})", rules::LINES_AIM);
    }
    report.step("tidy: size of files", || rules::too_long(&files));
    report.step("tidy: unsafe", || rules::unsafe_code(&files));
    report.step("tidy: unfinished code", || rules::unfinished(&files));
    report.step("tidy: pure crates import nothing of the system", || rules::impure(&files));
    report.step("tidy: no paths of one machine", || rules::machine_paths(&files));
    report.step("tidy: links in documents", || links::broken(&files));
    report.step("tidy: dependencies", || dependencies::check(&files));
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let hidden = name.starts_with('.') && ![".ci", ".cargo", ".clippy.toml"].contains(&&*name);
        if hidden || ["target", "windrow-data", "corpus", "artifacts"].contains(&&*name) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if let (Ok(text), Ok(local)) = (fs::read_to_string(&path), path.strip_prefix(root())) {
            files.push(File::new(local.to_string_lossy().into_owned(), text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_files_are_told_from_code() {
        for (path, is_test) in [
            ("engine/core/src/log/tests.rs", true),
            ("net/node/tests/clients.rs", true),
            ("engine/core/src/log/tests/roll.rs", true),
            ("tools/xtask/src/test.rs", false),
            ("engine/core/src/lib.rs", false),
        ] {
            assert_eq!(File::new(path.to_owned(), String::new()).is_test(), is_test, "{path}");
        }
    }
}
