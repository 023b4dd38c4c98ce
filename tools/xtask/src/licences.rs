//! The licences of all dependencies, against the list in `deny.toml`.

use std::collections::BTreeSet;
use std::fs;

use crate::report::Report;
use crate::run::{cargo, output, passes, root};

/// Asks cargo-deny where it is installed; otherwise checks the licences here and says what that leaves out.
pub(crate) fn all(report: &mut Report) {
    if output(cargo(&["deny", "--version"])).is_some() {
        report.step("cargo deny", || passes(cargo(&["deny", "--offline", "check", "licenses", "bans", "sources"])));
        return;
    }
    report.note(
        "cargo-deny is not installed: licences are checked by xtask; security advisories, bans and sources are not \
         (cargo install --locked cargo-deny; cargo deny check)"
            .to_owned(),
    );
    report.step("licences", || match fs::read_to_string(root().join("deny.toml")) {
        Ok(deny) => check(&Allowed::parse(&deny)),
        Err(error) => vec![format!("deny.toml: {error}")],
    });
}

#[derive(Debug)]
struct Allowed {
    licences: BTreeSet<String>,
    exceptions: BTreeSet<String>,
}

impl Allowed {
    /// Reads the two lists of `deny.toml`: `allow = [...]`, and the crates named under `exceptions`.
    fn parse(deny: &str) -> Self {
        let licences = deny.split_once("\nallow = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or(""));
        let exceptions = deny.lines().filter(|line| line.starts_with("exceptions")).flat_map(|line| {
            line.split("crate = ").skip(1).filter_map(|rest| rest.split('"').nth(1)).map(str::to_owned)
        });
        let quoted = licences.split('"').skip(1).step_by(2).map(str::to_owned);
        Self { licences: quoted.collect(), exceptions: exceptions.collect() }
    }

    fn problem_of(&self, name: &str, expression: &str) -> Option<String> {
        if self.exceptions.contains(name) || satisfied(expression, &self.licences) {
            return None;
        }
        Some(format!("{name}: its licence `{expression}` is not among those that deny.toml allows"))
    }
}

fn check(allowed: &Allowed) -> Vec<String> {
    let format = ["--prefix", "none", "--format", "{p}|{l}"];
    let Some(tree) = output(cargo(&[&["tree", "--locked", "--workspace", "--all-features"], &format[..]].concat()))
    else {
        return vec!["cargo tree failed: run it to see why (is Cargo.lock up to date?)".to_owned()];
    };
    let problems = tree.lines().filter_map(|line| {
        let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
        allowed.problem_of(package.split(' ').next()?, licence)
    });
    let unique: BTreeSet<String> = problems.collect();
    unique.into_iter().collect()
}

/// Whether the SPDX `expression` can be met with `allowed` licences alone. The old form `A/B` means `A OR B`.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(rest, allowed);
    while let ["OR", after @ ..] = *rest {
        *rest = after;
        met |= all_of(rest, allowed);
    }
    met
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = one(rest, allowed);
    while let ["AND", after @ ..] = *rest {
        *rest = after;
        met &= one(rest, allowed);
    }
    met
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match *rest {
        ["(", after @ ..] => {
            *rest = after;
            let met = any_of(rest, allowed);
            *rest = rest.strip_prefix(&[")"]).unwrap_or_default();
            met
        }
        // An exception only adds permissions.
        [licence, "WITH", _, after @ ..] | [licence, after @ ..] => {
            *rest = after;
            allowed.contains(*licence)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\n    \"MIT\",\n    \"Unicode-3.0\",\n]\n\
                        exceptions = [{ crate = \"bitmaps\", allow = [\"MPL-2.0\"] }]\n";

    #[test]
    fn expressions_are_met_by_what_is_allowed() {
        let allowed = Allowed::parse(DENY);
        for (expression, met) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("Unlicense/MIT", true),
            ("(MIT OR GPL-3.0) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-3.0) AND MIT", false),
            ("MIT WITH LLVM-exception", true),
            ("", false),
            ("MIT )", false),
        ] {
            assert_eq!(satisfied(expression, &allowed.licences), met, "{expression}");
        }
    }

    #[test]
    fn a_crate_may_be_an_exception() {
        let allowed = Allowed::parse(DENY);
        assert_eq!(allowed.problem_of("bitmaps", "MPL-2.0+"), None);
        assert!(allowed.problem_of("other", "MPL-2.0+").is_some());
        assert!(allowed.problem_of("nothing", "").is_some());
    }
}
