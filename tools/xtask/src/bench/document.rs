//! The document: a template with prose, in which `{{…}}` stands for what was measured.
//!
//! Plots go to a folder named like the document. In the template, what comes after the line `REASONS` says why another
//! is faster, one reason a line: `work who metric: why`, with `*` for any. It is shown where that is so.

use std::fs;
use std::path::Path;

use super::samples::{Samples, Spread};
use super::{plot, tables};

const TEMPLATE: &str = include_str!("../../../../bench/benchmarks.md.in");
const REASONS: &str = "\nREASONS\n";

/// Writes the document and its plots.
pub(crate) fn write(samples: &Samples, path: &Path) -> Result<(), String> {
    let folder = path.with_extension("");
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let put = |path: &Path, text: &str| {
        println!("bench: writes {}", path.display());
        fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
    };
    for (plot, svg) in plot::all(samples) {
        put(&folder.join(format!("{plot}.svg")), &svg)?;
    }
    put(path, &fill(TEMPLATE, samples, &name)?)
}

/// The reasons that a template ends with.
pub(crate) struct Reasons<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Reasons<'a> {
    pub(crate) fn of(text: &'a str) -> Self {
        Self(text.lines().filter_map(|line| line.split_once(": ")).collect())
    }

    /// Why `who` is better at `work`, as far as anybody knows.
    pub(crate) fn find(&self, work: &str, who: &str, metric: &str) -> &'a str {
        let fits = |pattern: &str, word: &str| pattern == "*" || pattern == word;
        let reason = self.0.iter().find(|(pattern, _)| match pattern.split(' ').collect::<Vec<_>>()[..] {
            [a, b, c] => fits(a, work) && fits(b, who) && fits(c, metric),
            _ => false,
        });
        reason.map_or("not known yet.", |(_, reason)| reason)
    }
}

/// The template with everything in its place. Plots are looked for in `folder`.
fn fill(template: &str, samples: &Samples, folder: &str) -> Result<String, String> {
    let (body, reasons) = template.split_once(REASONS).unwrap_or((template, ""));
    let reasons = Reasons::of(reasons);
    let mut text = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once("{{") {
        let (place, after) = after.split_once("}}").ok_or("the template has {{ without }}")?;
        text.push_str(before);
        let words: Vec<&str> = place.split(' ').collect();
        text.push_str(
            &block(&words, samples, &reasons, folder).ok_or_else(|| format!("the template has {{{{{place}}}}}"))?,
        );
        rest = after;
    }
    text.push_str(rest);
    Ok(text.trim_end().to_owned() + "\n")
}

/// What stands for one place of the template; `None` where there is no such place.
fn block(words: &[&str], samples: &Samples, reasons: &Reasons<'_>, folder: &str) -> Option<String> {
    Some(match *words {
        ["said", name] => samples.said(name).unwrap_or("not known").to_owned(),
        ["problems"] => tables::problems(samples),
        ["plot", name, ..] if plot::all(samples).iter().any(|(plot, _)| *plot == name) => {
            format!("![{}]({folder}/{name}.svg)", words[2..].join(" "))
        }
        ["plot", ..] => String::new(),
        ["servers"] => tables::servers(samples),
        ["reader"] => tables::reader(samples),
        ["stores"] => tables::stores(samples, reasons),
        ["settings"] => tables::settings(samples),
        ["facts"] => tables::facts(samples, reasons),
        ["node"] => tables::node(samples),
        ["commit"] => tables::commit(samples),
        ["catch-up"] => tables::catch_up(samples),
        ["ratio", work, metric, who, other] => {
            samples.ratio(work, who, other, metric).map_or_else(|| NOT_MEASURED.to_owned(), shown)
        }
        ["bar", "ratio", work, metric, who, other, relation, limit] => {
            bar(samples.ratio(work, who, other, metric), relation, limit)?
        }
        ["bar", "pair", work, who, metric, base, relation, limit] => {
            let (above, below) = (samples.median(work, who, metric), samples.median(work, who, base));
            let value = above.zip(below).map(|(above, below)| above / below);
            bar(value.map(|median| Spread { median, low: median, high: median }), relation, limit)?
        }
        ["bar", "value", work, who, metric, relation, limit] => {
            bar(samples.spread(work, who, metric), relation, limit)?
        }
        _ => return None,
    })
}

const NOT_MEASURED: &str = "not measured";

fn shown(spread: Spread) -> String {
    let figure = |value: f64| if value < 10.0 { format!("{value:.2}") } else { tables::digits(value) };
    if spread.low.to_bits() == spread.high.to_bits() {
        figure(spread.median)
    } else {
        format!("{} ({}–{})", figure(spread.median), figure(spread.low), figure(spread.high))
    }
}

/// A figure and what it says of the goal; `None` where the template asks for neither `<=` nor `>=` a number.
fn bar(spread: Option<Spread>, relation: &str, limit: &str) -> Option<String> {
    let limit: f64 = limit.parse().ok()?;
    let reaches = |value: f64| match relation {
        ">=" => Some(value >= limit),
        "<=" => Some(value <= limit),
        _ => None,
    };
    reaches(limit)?;
    let Some(spread) = spread else { return Some(NOT_MEASURED.to_owned()) };
    let verdict = match (reaches(spread.median)?, reaches(spread.low)? && reaches(spread.high)?) {
        (true, true) => "met",
        (true, false) => "met in the median, not in every round",
        (false, _) => "**missed**",
    };
    Some(format!("{verdict}: {}", shown(spread)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_can_be_filled_with_nothing_measured() {
        let text = fill(TEMPLATE, &Samples::default(), "benchmarks").unwrap();
        assert!(text.contains(NOT_MEASURED) && !text.contains("{{"));
    }

    #[test]
    fn goals_are_met_or_missed() {
        let mut samples = Samples::default();
        for (round, own) in [9.0, 11.0, 12.0].into_iter().enumerate() {
            samples.add("w", "a", "rps", round, own);
            samples.add("w", "b", "rps", round, 10.0);
        }
        let fill = |text: &str| fill(text, &samples, "x");
        assert_eq!(fill("{{bar ratio w rps a b >= 1.3}}").unwrap(), "**missed**: 1.10 (0.90–1.20)\n");
        assert_eq!(
            fill("{{bar ratio w rps a b >= 1}}").unwrap(),
            "met in the median, not in every round: 1.10 (0.90–1.20)\n"
        );
        assert_eq!(fill("{{bar ratio w rps a b <= 2}}").unwrap(), "met: 1.10 (0.90–1.20)\n");
        assert_eq!(fill("{{bar ratio w rps a c <= 2}}").unwrap(), "not measured\n");
        for wrong in ["{{nonsense}}", "{{bar ratio w rps a b == 1}}", "{{bar ratio w rps a b >= x}}", "{{open"] {
            assert!(fill(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_first_reason_that_fits_is_given() {
        let reasons = Reasons::of("set redis rps: one.\nset * *: two: three.\nwrong: no.\n");
        assert_eq!(reasons.find("set", "redis", "rps"), "one.");
        assert_eq!(reasons.find("set", "valkey", "rps"), "two: three.");
        assert_eq!(reasons.find("get", "redis", "rps"), "not known yet.");
    }
}
