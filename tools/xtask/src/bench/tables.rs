//! Tables of medians and ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::document::Reasons;
use super::load::LOADS;
use super::parts::{COMMIT_LENS, COMMITS};
use super::samples::{Samples, Spread};
use super::server::KINDS;
use super::stores::WORKS;
use super::why;

const OWN: &str = "windrow";
/// Less than this apart is not called faster.
const NOISE: f64 = 0.03;

/// A number with about three digits.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// A count with a mark after thousands.
fn grouped(value: f64) -> String {
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn ratio(spread: Option<Spread>) -> String {
    spread.map_or_else(String::new, |spread| format!("{:.2} ({:.2}–{:.2})", spread.median, spread.low, spread.high))
}

// Writing to a string does not fail, here and below.
pub(crate) fn problems(samples: &Samples) -> String {
    let mut problems: BTreeMap<&str, usize> = BTreeMap::new();
    for problem in samples.all_said("problem") {
        *problems.entry(problem).or_default() += 1;
    }
    if problems.is_empty() {
        return "Nothing failed.".to_owned();
    }
    problems.iter().fold("Not measured, or not always:\n".to_owned(), |text, (problem, times)| {
        if *times > 1 { format!("{text}\n- {problem} ({times} times)") } else { format!("{text}\n- {problem}") }
    })
}

/// Which others are better at something, and why.
struct Better {
    by_reason: Vec<(String, Vec<String>)>,
}

impl Better {
    const fn new() -> Self {
        Self { by_reason: Vec::new() }
    }

    fn add(&mut self, who: String, reason: String) {
        match self.by_reason.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, names)) => names.push(who),
            None => self.by_reason.push((reason, vec![who])),
        }
    }

    /// The lines, below one that says whom they are ahead of.
    fn render(&self, whom: &str) -> String {
        let line = |(reason, names): &(String, Vec<String>)| format!("- {}: {reason}\n", names.join("; "));
        match self.by_reason.iter().map(line).collect::<String>() {
            lines if lines.is_empty() => String::new(),
            lines => format!("\nAhead of {whom}:\n\n{lines}"),
        }
    }
}

/// One table for each load.
pub(crate) fn servers(samples: &Samples) -> String {
    let mut text = String::new();
    for load in &LOADS {
        let present: Vec<_> = KINDS.iter().filter(|kind| samples.median(load.id, kind.id, "rps").is_some()).collect();
        if present.is_empty() {
            continue;
        }
        let mut better = Better::new();
        let _ = writeln!(text, "### {}: medians of {} rounds\n", load.name, samples.round_count(load.id));
        text.push_str("| server | requests/s | ratio | p50, ms | ratio | p99, ms | ratio | CPU, µs | ratio |\n");
        text.push_str("|---|---|---|---|---|---|---|---|---|\n");
        for kind in present {
            let value = |metric: &str| samples.median(load.id, kind.id, metric).unwrap_or(f64::NAN);
            let is_client = value("client-limit") > 0.5;
            let rates = samples.ratio(load.id, OWN, kind.id, "rps").filter(|_| kind.id != OWN);
            let is_faster = rates.is_some_and(|rates| rates.median < 1.0 - NOISE);
            if is_faster {
                better.add(kind.name.to_owned(), why::server(samples, load, *kind));
            }
            let name = if is_faster { format!("**{}**", kind.name) } else { kind.name.to_owned() };
            let _ = write!(text, "| {name} | {}{}", grouped(value("rps")), if is_client { " †" } else { "" });
            for metric in ["rps", "p50", "p99", "cpu"] {
                if metric != "rps" {
                    let _ = write!(text, " | {}", digits(value(metric)));
                }
                let other = samples.ratio(load.id, OWN, kind.id, metric).filter(|_| kind.id != OWN);
                let _ = write!(text, " | {}", ratio(other));
            }
            text.push_str(" |\n");
        }
        text.push_str(&better.render(&why::own(samples, load)));
        text.push('\n');
    }
    if text.is_empty() { "Not measured.\n".to_owned() } else { text }
}

pub(crate) fn reader(samples: &Samples) -> String {
    let mut text = "| server | alone, ms | beside, ms | ratio |\n|---|---|---|---|\n".to_owned();
    for kind in KINDS {
        let (alone, beside) = (samples.median("reader", kind.id, "alone"), samples.median("reader", kind.id, "beside"));
        if let (Some(alone), Some(beside)) = (alone, beside) {
            let _ =
                writeln!(text, "| {} | {} | {} | {:.2} |", kind.name, digits(alone), digits(beside), beside / alone);
        }
    }
    text
}

/// How a work of the stores is shown: its name, and how many nanoseconds of criterion's are one unit of it.
fn work(name: &str) -> (&'static str, f64) {
    match name {
        "put_durable" => ("durable put, µs", 1e3),
        "batch_durable" => ("put in a durable batch of 100, µs", 1e5),
        "put_unsynced" => ("unsynced put, µs", 1e3),
        "get_hot" => ("get, hot, µs", 1e3),
        _ => ("scan, ns a key", 1e5),
    }
}

/// A table with a line for each store; `cells` are metric, title and what to divide by.
fn by_store(samples: &Samples, reasons: &Reasons<'_>, cells: &[(&str, &str, &str, f64)]) -> String {
    let mut better = Better::new();
    let titles: String = cells.iter().map(|(_, _, title, _)| format!(" {title} | ratio |")).collect();
    let mut text = format!("| store |{titles}\n|---|{}\n", "---|---|".repeat(cells.len()));
    for store in samples.all_said("engine") {
        let _ = write!(text, "| {store} |");
        for &(work, metric, title, scale) in cells {
            let value = samples.median(work, store, metric);
            let ratios = samples.ratio(work, OWN, store, metric).filter(|_| store != OWN);
            let is_ahead = ratios.is_some_and(|ratios| ratios.median > 1.0 + NOISE);
            if is_ahead {
                let what = title.split(',').next().unwrap_or(title);
                better.add(format!("{store}, {what}"), why::store(samples, reasons, work, store, metric));
            }
            let bold = if is_ahead { "**" } else { "" };
            let shown = value.map_or_else(String::new, |value| format!("{bold}{}{bold}", digits(value / scale)));
            let single = ratios.filter(|ratios| ratios.low.to_bits() == ratios.high.to_bits());
            let ratios = single.map_or_else(|| ratio(ratios), |ratios| format!("{:.2}", ratios.median));
            let _ = write!(text, " {shown} | {ratios} |");
        }
        text.push('\n');
    }
    text + &better.render("Windrow here")
}

pub(crate) fn stores(samples: &Samples, reasons: &Reasons<'_>) -> String {
    let cells: Vec<_> = WORKS.iter().map(|&id| (id, "ns", work(id).0, work(id).1)).collect();
    if samples.all_said("engine").next().is_none() {
        return "Not measured.\n".to_owned();
    }
    by_store(samples, reasons, &cells)
}

pub(crate) fn settings(samples: &Samples) -> String {
    let mut text =
        "| store | version | durable | flushes of a durable put, counted | unsynced |\n|---|---|---|---|---|\n"
            .to_owned();
    for store in samples.all_said("engine") {
        let said = |what: &str| samples.said(&format!("{store}-{what}")).unwrap_or("not measured").to_owned();
        let (version, durable, unsynced) = (said("version"), said("durable"), said("unsynced"));
        let _ = writeln!(text, "| {store} | {version} | {durable} | {} | {unsynced} |", said("flushes"));
    }
    if let Some(problem) = samples.said("rocksdb") {
        let _ = writeln!(text, "| rocksdb | | {problem} | | |");
    }
    text
}

pub(crate) fn facts(samples: &Samples, reasons: &Reasons<'_>) -> String {
    let cells = [
        ("facts", "disk", "disk, bytes a live byte", 1.0),
        ("facts", "memory", "memory, bytes a key", 1.0),
        ("facts", "open", "open after kill, ms", 1.0),
    ];
    let lost = samples.all_said("engine").filter_map(|store| {
        let lost = samples.median("facts", store, "lost").filter(|lost| *lost > 0.0)?;
        Some(format!("\n**{store} lost {lost:.0} keys that had been confirmed.**\n"))
    });
    let lost: String = lost.collect();
    by_store(samples, reasons, &cells) + &lost
}

pub(crate) fn node(samples: &Samples) -> String {
    let value = |metric: &str| samples.median("node", OWN, metric);
    let (Some(keys), Some(bytes)) = (value("keys"), value("bytes-per-key")) else {
        return "- not measured".to_owned();
    };
    let mut text = format!(
        "- {} keys of 16 bytes with values of 100 bytes: {bytes:.1} bytes of memory a key beside the page cache.",
        grouped(keys)
    );
    let opening = (value("log-gb"), value("open-seconds"), value("open-gb-per-second"));
    if let (Some(gb), Some(seconds), Some(rate)) = opening {
        let _ = write!(
            text,
            "\n- Opening after kill -9, from start to the first `PONG`: {seconds:.2} s for {gb:.2} GB of log, \
             {rate:.2} GB/s on one core; medians of several openings."
        );
    }
    text
}

pub(crate) fn catch_up(samples: &Samples) -> String {
    let mut text = "| sender | GB/s | ratio | sender's CPU, s a GB | ratio |\n|---|---|---|---|---|\n".to_owned();
    for (who, name) in [(OWN, "Windrow, to a follower"), ("sendfile", "`sendfile`"), ("copy", "read and send")] {
        let cells = ["gb-per-second", "cpu-per-gb"].map(|metric| {
            let value = samples.median("catch-up", who, metric).map_or_else(|| "not measured".to_owned(), digits);
            format!(" {value} | {} |", ratio(samples.ratio("catch-up", OWN, who, metric).filter(|_| who != OWN)))
        });
        let _ = writeln!(text, "| {name} |{}", cells.concat());
    }
    text
}

pub(crate) fn commit(samples: &Samples) -> String {
    let mut text = "| way | 128 B | 4 KiB | 64 KiB | 1 MiB |\n|---|---|---|---|---|\n".to_owned();
    for way in COMMITS {
        let name = match way {
            "fill_4k" => "mapped, filled by writes of 4 KiB",
            "fill_direct" => "**memory, written by the flush** (default)",
            "fill_16k" => "mapped, filled by writes of 16 KiB",
            "fill_64k" => "mapped, filled by writes of 64 KiB",
            "fill_1m" => "mapped, filled by writes of 1 MiB",
            "fill_allocate" => "mapped, allocated only",
            "pwrite_fdatasync" => "`pwrite`, filled by writes of 1 MiB",
            _ => "`pwrite` to `O_DIRECT` and `O_DSYNC`, filled by writes of 1 MiB",
        };
        let cell = |len: &&str| {
            let nanos = samples.median("commit", way, len);
            nanos.map_or_else(|| " |".to_owned(), |nanos| format!(" {} |", digits(nanos / 1e3)))
        };
        let _ = writeln!(text, "| {name} |{}", COMMIT_LENS.iter().map(cell).collect::<String>());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            ["0.012", "0.250", "12.3", "1234"],
            [0.0123, 0.25, 12.345, 1234.4].map(digits).each_ref().map(|s| &**s)
        );
        assert_eq!(
            ["7", "123", "1,234", "1,234,567"],
            [7.0, 123.0, 1234.0, 1_234_567.0].map(grouped).each_ref().map(|s| &**s)
        );
    }

    #[test]
    fn who_is_ahead_is_named_with_the_reason() {
        let mut better = Better::new();
        assert_eq!(better.render("us"), "");
        better.add("a".to_owned(), "because.".to_owned());
        better.add("b".to_owned(), "because.".to_owned());
        assert_eq!(better.render("us"), "\nAhead of us:\n\n- a; b: because.\n");
    }
}
