//! Who may depend on whom, and why each crate from outside is there.

use std::collections::BTreeMap;

use super::File;

/// What each crate of the workspace may use of the others. `windrow-sim` sees the pure crates only: whatever cannot
/// be simulated cannot be in them. Benches are not listed and may use anything.
const DIRECTION: &[(&str, &[&str])] = &[
    ("windrow-core", &[]),
    ("windrow-store", &["windrow-core"]),
    ("windrow", &["windrow-core", "windrow-store"]),
    ("windrow-proto", &["windrow-core"]),
    ("windrow-node", &["windrow-core", "windrow-proto", "windrow-store"]),
    ("windrow-cli", &["windrow-core", "windrow-proto", "windrow-store", "windrow-node"]),
    ("windrow-fuzz", &["windrow-core", "windrow-proto", "windrow-node"]),
    ("windrow-model", &[]),
    ("windrow-sim", &["windrow-core", "windrow-proto"]),
    // What it tests is the binary, from outside.
    ("windrow-torture", &[]),
    ("xtask", &[]),
];
const DOCUMENT: &str = "docs/dependencies.md";

struct Manifest<'a> {
    path: &'a str,
    name: &'a str,
    /// Names of `[dependencies]` and `[build-dependencies]`.
    used: Vec<&'a str>,
    /// Names of `[dev-dependencies]`.
    used_in_tests: Vec<&'a str>,
}

pub(super) fn check(files: &[File]) -> Vec<String> {
    let is_member = |file: &&File| file.path.ends_with("/Cargo.toml");
    let manifests: Vec<Manifest<'_>> =
        files.iter().filter(is_member).map(|file| read(&file.path, &file.text)).collect();
    let mut problems = direction(&manifests);
    match files.iter().find(|file| file.path == DOCUMENT) {
        Some(document) => problems.extend(reasons(&manifests, &document.text)),
        None => problems.push(format!("{DOCUMENT} does not exist")),
    }
    problems
}

fn direction(manifests: &[Manifest<'_>]) -> Vec<String> {
    let mut problems = Vec::new();
    for manifest in manifests {
        let Some((_, allowed)) = DIRECTION.iter().find(|(name, _)| *name == manifest.name) else { continue };
        for &used in manifest.used.iter().filter(|name| is_ours(name) && !allowed.contains(name)) {
            problems.push(format!("{}: {} must not depend on {used}", manifest.path, manifest.name));
        }
    }
    problems
}

/// Every crate from outside has a row in the document with its reason, and every row a crate.
fn reasons(manifests: &[Manifest<'_>], document: &str) -> Vec<String> {
    let rows = rows(document);
    let mut problems = Vec::new();
    for manifest in manifests {
        for name in manifest.used.iter().chain(&manifest.used_in_tests).filter(|name| !is_ours(name)) {
            match rows.get(name) {
                None => problems.push(format!("{}: `{name}` has no row in {DOCUMENT}", manifest.path)),
                Some(reason) if reason.len() < 10 => problems.push(format!("{DOCUMENT}: `{name}` has no reason")),
                Some(_) => {}
            }
        }
    }
    for name in rows.keys() {
        let mut used = manifests.iter().flat_map(|manifest| manifest.used.iter().chain(&manifest.used_in_tests));
        if !used.any(|other| other == name) {
            problems.push(format!("{DOCUMENT}: `{name}` is no longer used"));
        }
    }
    problems.sort();
    problems.dedup();
    problems
}

/// Crate and reason (the last cell) of every table row that starts with a crate name in backticks.
fn rows(document: &str) -> BTreeMap<&str, &str> {
    document.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(&str, &str)> {
    let (name, cells) = line.trim().strip_prefix("| `")?.strip_suffix('|')?.split_once('`')?;
    Some((name, cells.rsplit('|').next()?.trim()))
}

fn is_ours(name: &str) -> bool {
    name == "windrow" || name.starts_with("windrow-")
}

fn read<'a>(path: &'a str, text: &'a str) -> Manifest<'a> {
    let mut manifest = Manifest { path, name: "", used: Vec::new(), used_in_tests: Vec::new() };
    let mut section = "";
    for line in text.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            section = header.trim_matches(['[', ']']);
            if let Some((kind, name)) = section.rsplit_once('.') {
                manifest.add(kind, name);
            }
            continue;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) else { continue };
        let key = key.trim().split('.').next().unwrap_or_default();
        if section == "package" && key == "name" {
            manifest.name = value.trim().trim_matches('"');
        } else {
            manifest.add(section, key);
        }
    }
    manifest
}

impl<'a> Manifest<'a> {
    /// Adds `name` where `section` is one of dependencies, also one of a single target.
    fn add(&mut self, section: &str, name: &'a str) {
        match section.rsplit('.').next() {
            Some("dependencies" | "build-dependencies") => self.used.push(name),
            Some("dev-dependencies") => self.used_in_tests.push(name),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"windrow-proto\"\nversion = \"1\"\n[dependencies]\nlibc.workspace = true\n\
                            windrow-core = { path = \"x\" }\n[dependencies.big]\nversion = \"1\"\n\
                            [target.'cfg(unix)'.dependencies]\nnix = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n";

    #[test]
    fn manifests_are_read() {
        let manifest = read("net/proto/Cargo.toml", MANIFEST);
        assert_eq!(manifest.name, "windrow-proto");
        assert_eq!(manifest.used, ["libc", "windrow-core", "big", "nix"]);
        assert_eq!(manifest.used_in_tests, ["proptest"]);
    }

    #[test]
    fn dependencies_point_down_only() {
        let text = MANIFEST.replace("windrow-core", "windrow-node");
        assert_eq!(direction(&[read("net/proto/Cargo.toml", MANIFEST)]), Vec::<String>::new());
        assert_eq!(direction(&[read("net/proto/Cargo.toml", &text)]).len(), 1);
    }

    #[test]
    fn every_crate_needs_a_reason_and_every_reason_a_crate() {
        let manifest = [read("net/proto/Cargo.toml", MANIFEST)];
        let row = |name: &str| format!("| `{name}` | proto | because it is needed |\n");
        let document: String = ["libc", "big", "nix", "proptest"].map(row).concat();
        assert_eq!(reasons(&manifest, &document), Vec::<String>::new());
        assert_eq!(reasons(&manifest, &document.replace("because it is needed", "")).len(), 4);
        assert_eq!(reasons(&manifest, &document.replace("`big`", "`small`")).len(), 2);
    }
}
