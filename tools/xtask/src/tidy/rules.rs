//! Rules about single files.

use super::File;
use crate::source::has_word;

/// Files with more lines than this are named.
pub(super) const LINES_AIM: usize = 400;
/// Files with more lines than this are refused, tests aside.
const LINES_MAX: usize = 600;

/// Where `unsafe` may stand: the mapped memory, the rings, the archive; in tests of the node, a counting allocator and
/// what empties the page cache.
const UNSAFE_PLACES: [&str; 6] = [
    "engine/store/",
    "engine/core/src/codec/archive.rs",
    "net/node/src/ring",
    "net/node/src/shared",
    "net/node/tests",
    "bench/compare/src/stores/lmdb.rs",
];
/// How far above an `unsafe` block its justification may start.
const SAFETY_REACH: usize = 10;

/// The crates that are logic alone.
const PURE: [&str; 2] = ["engine/core/src/", "net/proto/src/"];

pub(super) fn long_files(files: &[File]) -> Vec<(&str, usize)> {
    let sized = files.iter().filter(|file| file.is_rust()).map(|file| (file.path.as_str(), file.text.lines().count()));
    sized.filter(|&(_, lines)| lines > LINES_AIM).collect()
}

pub(super) fn too_long(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && !file.is_test()) {
        let lines = file.text.lines().count();
        if lines > LINES_MAX {
            problems.push(format!("{}: {lines} lines, at most {LINES_MAX} are allowed: split it", file.path));
        }
    }
    problems
}

pub(super) fn unsafe_code(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (index, _) in file.code.lines().enumerate().filter(|(_, code)| has_word(code, "unsafe")) {
            let place = format!("{}:{}", file.path, index + 1);
            if !UNSAFE_PLACES.iter().any(|allowed| file.path.starts_with(allowed)) {
                problems.push(format!("{place}: `unsafe` may stand only in {}", UNSAFE_PLACES.join(", ")));
            }
            let above = &lines[index.saturating_sub(SAFETY_REACH)..=index];
            if !above.iter().any(|line| line.contains("SAFETY:") || line.contains("# Safety")) {
                problems.push(format!("{place}: `unsafe` without a `// SAFETY:` comment (`# Safety` on a function)"));
            }
        }
    }
    problems
}

pub(super) fn unfinished(files: &[File]) -> Vec<String> {
    let forbidden = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (index, code) in file.code.lines().enumerate() {
            for word in forbidden.iter().filter(|word| code.contains(**word)) {
                problems.push(format!("{}:{}: `{word}` is not allowed", file.path, index + 1));
            }
        }
    }
    problems
}

pub(super) fn impure(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for crate_root in PURE {
        let root = files.iter().find(|file| file.path == format!("{crate_root}lib.rs"));
        for attribute in ["#![no_std]", "#![deny(unsafe_code)]"] {
            if !root.is_some_and(|file| file.code.contains(attribute)) {
                problems.push(format!("{crate_root}lib.rs: `{attribute}` is missing"));
            }
        }
    }
    for file in files.iter().filter(|file| PURE.iter().any(|root| file.path.starts_with(root))) {
        if !file.is_rust() || file.is_test() {
            continue;
        }
        let mut before = "";
        for (number, code) in file.code_lines() {
            let linked = code.contains("extern crate std") && before.trim() != "#[cfg(test)]";
            if linked || (has_word(code, "std") && code.contains("std::")) {
                problems.push(format!("{}:{number}: this crate has no operating system: `core` or `alloc`", file.path));
            }
            before = code;
        }
    }
    problems
}

pub(super) fn machine_paths(files: &[File]) -> Vec<String> {
    // In pieces, so that this file does not break the rule itself.
    let forbidden = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"]].map(|pieces| pieces.concat());
    let mut problems = Vec::new();
    for file in files {
        for (index, line) in file.text.lines().enumerate() {
            if forbidden.iter().any(|path| starts_path(line, path)) {
                problems.push(format!("{}:{}: a path that exists on one machine only", file.path, index + 1));
            }
        }
    }
    problems
}

fn starts_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~$}".contains(c)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> Vec<File> {
        vec![File::new(path.to_owned(), text.to_owned())]
    }

    #[test]
    fn a_long_file_is_refused_unless_it_tests() {
        let text = "x\n".repeat(LINES_MAX + 1);
        assert_eq!(too_long(&file("a/src/b.rs", &text)).len(), 1);
        assert_eq!(too_long(&file("a/tests/b.rs", &text)).len(), 0);
        assert_eq!(long_files(&file("a/tests/b.rs", &text)), [("a/tests/b.rs", LINES_MAX + 1)]);
    }

    #[test]
    fn unsafe_needs_a_place_and_a_reason() {
        let bare = "fn f() {\n    unsafe { g() }\n}\n";
        let reasoned = "fn f() {\n    // SAFETY: g is safe.\n    unsafe { g() }\n}\n";
        assert_eq!(unsafe_code(&file("engine/store/src/a.rs", reasoned)), Vec::<String>::new());
        assert_eq!(unsafe_code(&file("engine/store/src/a.rs", bare)).len(), 1);
        assert_eq!(unsafe_code(&file("engine/core/src/a.rs", reasoned)).len(), 1);
        assert_eq!(unsafe_code(&file("engine/core/src/a.rs", "// unsafe\n")).len(), 0);
    }

    #[test]
    fn unfinished_code_is_found_only_in_code() {
        assert_eq!(unfinished(&file("a.rs", "fn f() { todo!() }\n#[ignore]\n")).len(), 2);
        assert_eq!(unfinished(&file("a.rs", "// todo!\nlet s = \"dbg!\";\n")).len(), 0);
    }

    #[test]
    fn pure_crates_use_nothing_of_std_outside_tests() {
        let head = "#![no_std]\n#![deny(unsafe_code)]\n";
        let mut files = file("net/proto/src/lib.rs", head);
        files.extend(file("engine/core/src/lib.rs", &format!("{head}#[cfg(test)]\nextern crate std;\n")));
        files.extend(file("engine/core/src/a.rs", "use core::fmt;\n#[cfg(test)]\nmod tests {\n use std::vec;\n}\n"));
        assert_eq!(impure(&files), Vec::<String>::new());
        files.extend(file("engine/core/src/b.rs", "use std::fs;\n"));
        assert_eq!(impure(&files).len(), 1);
        assert_eq!(impure(&files[1..]).len(), 3);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        let home = ["/ho", "me/someone/x"].concat();
        assert_eq!(machine_paths(&file("docs/a.md", &format!("see `{home}`\n"))).len(), 1);
        assert_eq!(machine_paths(&file("docs/a.md", &format!("https://example.org{home}\n"))).len(), 0);
    }
}
