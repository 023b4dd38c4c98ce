//! Links between documents.

use std::path::Path;

use super::File;
use crate::run::root;

/// Relative links of Markdown files that lead nowhere.
pub(super) fn broken(files: &[File]) -> Vec<String> {
    let mut problems = Vec::new();
    for file in files.iter().filter(|file| file.path.ends_with(".md")) {
        let folder = root().join(&file.path).parent().unwrap_or(Path::new("")).to_path_buf();
        for (index, line) in file.text.lines().enumerate() {
            for target in targets(line) {
                if !folder.join(target).exists() {
                    problems.push(format!("{}:{}: `{target}` does not exist", file.path, index + 1));
                }
            }
        }
    }
    problems
}

/// The files that `line` links to: no addresses, no anchors within the same document.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    let links = line.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local = links.filter(|link| !link.contains("://") && !link.starts_with("mailto:"));
    local.filter_map(|link| link.split('#').next()).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_targets() {
        let line = "[a](docs/a.md#part), [b](https://example.org/b), [c](#part) and [d](../d)";
        assert_eq!(targets(line).collect::<Vec<_>>(), ["docs/a.md", "../d"]);
    }
}
