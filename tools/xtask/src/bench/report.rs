//! Tables of medians and ratios.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::memory::Memory;
use super::server::Kind;
use super::{Runs, median};

/// What one run of the client gave.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// Processor time of the server, microseconds a request.
    pub(crate) cpu_us: f64,
}

/// All runs.
pub(crate) struct Table {
    rounds: usize,
    order: Vec<&'static str>,
    runs: BTreeMap<(&'static str, Kind), Runs>,
    readers: BTreeMap<Kind, Vec<(f64, f64)>>,
}

impl Table {
    pub(crate) const fn new(rounds: usize) -> Self {
        Self { rounds, order: Vec::new(), runs: BTreeMap::new(), readers: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, load: &'static str, kind: Kind, figure: Figure) {
        if !self.order.contains(&load) {
            self.order.push(load);
        }
        self.runs.entry((load, kind)).or_default().push(figure);
    }

    pub(crate) fn reader(&mut self, kind: Kind, alone: f64, beside: f64) {
        self.readers.entry(kind).or_default().push((alone, beside));
    }

    fn values(&self, load: &'static str, kind: Kind, value: fn(&Figure) -> f64) -> Vec<f64> {
        self.runs.get(&(load, kind)).map(|runs| runs.iter().map(value).collect()).unwrap_or_default()
    }

    /// Median, and the ratio to another server round by round: median, lowest and highest.
    fn compare(&self, load: &'static str, kind: Kind, value: fn(&Figure) -> f64) -> String {
        let own = self.values(load, Kind::Windrow, value);
        let mut ratios: Vec<f64> =
            own.iter().zip(self.values(load, kind, value)).map(|(own, other)| own / other).collect();
        let middle = median(&mut ratios);
        let (low, high) = (ratios.first().unwrap_or(&f64::NAN), ratios.last().unwrap_or(&f64::NAN));
        format!("{middle:.2} ({low:.2}–{high:.2})")
    }
}

type Column = (&'static str, fn(&Figure) -> f64);

/// The report as Markdown.
pub(crate) fn render(table: &Table, memory: Option<&Memory>) -> String {
    let mut text = String::new();
    let columns: [Column; 4] = [
        ("requests/s", |figure| figure.requests_per_second),
        ("p50, ms", |figure| figure.p50_ms),
        ("p99, ms", |figure| figure.p99_ms),
        ("server CPU, µs a request", |figure| figure.cpu_us),
    ];
    for (name, value) in columns {
        let _ = writeln!(text, "\n### {name}: medians of {} rounds, and Windrow's ratio to the others\n", table.rounds);
        let _ = writeln!(
            text,
            "| load | {} | {} | {} | to Redis, nothing persisted | to Redis, `always` |",
            Kind::ALL[0].name(),
            Kind::ALL[1].name(),
            Kind::ALL[2].name()
        );
        let _ = writeln!(text, "|---|---|---|---|---|---|");
        for load in &table.order {
            let _ = write!(text, "| {load} |");
            for kind in Kind::ALL {
                let _ = write!(text, " {} |", shown(median(&mut table.values(load, kind, value))));
            }
            let memory = table.compare(load, Kind::RedisMemory, value);
            let _ = writeln!(text, " {memory} | {} |", table.compare(load, Kind::RedisAlways, value));
        }
    }
    let _ = writeln!(
        text,
        "\n### One reader's p99, alone and beside 50 writers, ms\n\n| server | alone | beside | ratio |\n|---|---|---|---|"
    );
    for (kind, pairs) in &table.readers {
        let alone = median(&mut pairs.iter().map(|pair| pair.0).collect::<Vec<_>>());
        let beside = median(&mut pairs.iter().map(|pair| pair.1).collect::<Vec<_>>());
        let ratio = median(&mut pairs.iter().map(|pair| pair.1 / pair.0).collect::<Vec<_>>());
        let _ = writeln!(text, "| {} | {alone:.3} | {beside:.3} | {ratio:.2} |", kind.name());
    }
    if let Some(memory) = memory {
        let _ = writeln!(text, "\n### Memory and opening\n");
        let _ = writeln!(
            text,
            "- {} keys of 16 bytes with values of 100 bytes: {:.1} bytes of memory a key beside the page cache.",
            memory.keys, memory.bytes_per_key
        );
        let _ = writeln!(
            text,
            "- Opening after kill -9, from start to the first `PONG`: {:.2} s for {:.2} GB of log, {:.2} GB/s on one core.",
            memory.open_seconds,
            memory.log_gb,
            memory.log_gb / memory.open_seconds
        );
    }
    text
}

fn shown(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.3}") }
}
