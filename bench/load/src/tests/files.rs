//! What is written can be read: JSON, `.hgrm`, the interval log, SVG and HTML.

use std::time::Duration;

use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::plan;
use super::stub::Stub;
use crate::measure::histogram;
use crate::output::{files, progress, text};
use crate::report;
use crate::result::{Latency, Limit, RunResult};
use crate::run::{Run, run};

fn sample(label: &str) -> Run {
    let stub = Stub::start();
    let line = "run --workload a --keys 100 --rate 2k --duration 400ms --interval 100ms --value 24..200 --verify";
    let mut plan = plan(stub.address(), line);
    label.clone_into(&mut plan.label);
    plan.pids = vec![std::process::id()];
    run(&plan).expect("a run")
}

#[test]
fn json_comes_back_as_it_was() {
    let result = sample("a run").result;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("run.json");
    files::json(&path, &result).expect("written");
    assert_eq!(RunResult::read(&path).expect("read"), result);
    let text = std::fs::read_to_string(&path).expect("read");
    std::fs::write(&path, text.replacen("\"format\":1", "\"format\":2", 1)).expect("written");
    let refused = RunResult::read(&path).expect_err("another format");
    assert!(refused.to_string().ends_with("has format 2, this program reads 1"), "{refused}");
    std::fs::write(&path, "{\"format\":1}").expect("written");
    assert!(RunResult::read(&path).is_err());
}

#[test]
fn a_histogram_survives_its_list_form() {
    let mut original = histogram();
    for value in [1, 999, 123_456, 5_000_000_000] {
        original.saturating_record_n(value, value % 7 + 1);
    }
    let latency = Latency::of(&original);
    assert_eq!(latency.histogram(), original);
    assert_eq!(Latency::of(&latency.histogram()), latency);
    assert_eq!(Latency::of(&histogram()).max, 0);
}

#[test]
fn hgrm_has_the_lines_that_plotters_look_for() {
    let mut latency = histogram();
    (1..=1000_u64).for_each(|ms| latency.saturating_record(ms * 1_000_000));
    let text = files::hgrm(&latency);
    let mut lines = text.lines();
    let head = lines.next().expect("a head");
    assert_eq!(head.split_whitespace().collect::<Vec<_>>(), ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
    assert_eq!(lines.next(), Some(""));
    let rows: Vec<Vec<f64>> = lines
        .take_while(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().map(|field| field.parse().expect("a number")).collect())
        .collect();
    assert!(
        rows.windows(2).all(|pair| pair[0][0] <= pair[1][0] && pair[0][1] <= pair[1][1] && pair[0][2] <= pair[1][2])
    );
    let median = rows.iter().find(|row| (row[1] - 0.5).abs() < 1e-9).expect("a median");
    assert!((median[0] - 500.0).abs() < 1.0 && (median[3] - 2.0).abs() < 1e-9, "{median:?}");
    assert_eq!(rows.last().expect("a row")[1..], [1.0, 1000.0]);
    assert!(text.contains("#[Max     =     1000.") && text.contains("Total count    =         1000]"), "{text}");
}

#[test]
fn the_interval_log_holds_every_interval() {
    let run = sample("logged");
    let mut bytes = Vec::new();
    files::write_log(&mut bytes, &run.result, Duration::from_millis(100), &run.intervals).expect("written");
    let mut deserializer = Deserializer::new();
    let mut total = 0;
    for entry in IntervalLogIterator::new(&bytes) {
        if let LogEntry::Interval(interval) = entry.expect("well-formed") {
            let packed = base64(interval.encoded_histogram());
            let histogram: crate::measure::Nanos =
                deserializer.deserialize(&mut packed.as_slice()).expect("a histogram");
            total += histogram.len();
        }
    }
    assert_eq!(total, run.result.latency.count);
}

fn base64(text: &str) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut held, mut out) = (0_u32, 0, Vec::new());
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = LETTERS.iter().position(|known| *known == letter).expect("base64");
        bits = (bits << 6 | u32::try_from(value).expect("six bits")) & 0xFF_FFFF;
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push(u8::try_from(bits >> held & 0xFF).expect("a byte"));
        }
    }
    out
}

#[test]
fn text_names_the_limit_and_the_progress_line_its_figures() {
    let mut run = sample("a run");
    run.result.client.limit = Limit::Client;
    let text = text::render(&run.result);
    assert!(text.contains("limit: THE CLIENT") && text.contains("every one as it should be"), "{text}");
    assert!(text.contains("server: ") && text.contains("p99.99"), "{text}");
    let interval = &mut run.intervals[0];
    interval.counts.held_back = 3;
    interval.lag.saturating_record_n(2_000_000_000, 1000);
    let line = progress::line(interval, Duration::from_millis(100), Duration::from_millis(1));
    assert!(line.starts_with("    0.1 s") && line.contains("p99") && line.contains("errors 0"), "{line}");
    assert!(line.contains("(client 2.00 s late)") && line.ends_with("(held back 3)"), "{line}");
}

#[test]
fn pages_and_plots_are_well_formed_whatever_a_run_is_called() {
    let mut results = vec![sample("<b>&\"'quoted'\" \u{1}").result, sample("second").result];
    // Nothing measured at all must draw as well.
    let mut empty = results[1].clone();
    empty.latency = Latency::of(&histogram());
    empty.intervals.clear();
    results.push(empty);
    let page = report::page("A <page> & more", &results);
    let html = page.strip_prefix("<!DOCTYPE html>\n").expect("a document type");
    well_formed(html);
    assert_eq!(html.matches("<svg ").count(), 3);
    assert!(!html.contains("<script") && !html.contains("<b>") && !html.contains(" src=") && !html.contains(" href="));
    for (name, svg) in report::plots(&results) {
        well_formed(&svg);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{name}: {svg}");
        assert_eq!(svg.matches("stroke-width=\"3\"").count(), 3, "{name}: a legend for each run");
    }
    let nothing = report::page("nothing", &[]);
    well_formed(nothing.strip_prefix("<!DOCTYPE html>\n").expect("a document type"));
}

/// Every element is closed in its order, and every `&` starts an entity.
fn well_formed(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        entities(&rest[..start]);
        let end = start + rest[start..].find('>').expect("a tag's end");
        let tag = &rest[start + 1..end];
        let name = tag.trim_start_matches('/').split([' ', '/', '\n']).next().expect("a name");
        assert!(tag.matches('"').count().is_multiple_of(2), "{tag}");
        entities(tag);
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(name);
        }
        rest = &rest[end + 1..];
    }
    assert_eq!((open.len(), rest.trim()), (0, ""));
}

fn entities(text: &str) {
    for (at, _) in text.match_indices('&') {
        let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"].iter().any(|entity| text[at..].starts_with(entity));
        assert!(known, "{}", &text[at..text.len().min(at + 20)]);
    }
    assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'));
}
