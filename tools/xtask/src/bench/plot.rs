//! Bars as SVG: panels side by side, each with its own scale, nothing from outside.

use std::fmt::Write as _;

use super::load::LOADS;
use super::samples::{Samples, Spread};
use super::server::KINDS;
use super::stores::WORKS;

struct Bar {
    name: String,
    spread: Spread,
    is_own: bool,
}

/// Bars of one kind, with a scale of their own.
struct Panel {
    title: String,
    bars: Vec<Bar>,
}

/// Told apart by eyes that don't see all colours too (Okabe and Ito): Windrow, and others.
const OWN: &str = "#0072b2";
const OTHER: &str = "#b9c3cc";
const COLUMNS: usize = 2;
/// Loads in the order of their panels: what writes on the left, what reads on the right.
const SIDE_BY_SIDE: [usize; LOADS.len()] = [0, 3, 1, 4, 2, 5];
const PANEL_WIDTH: f64 = 470.0;
const NAME_WIDTH: f64 = 196.0;
/// For the figure behind the longest bar.
const FIGURE_WIDTH: f64 = 62.0;
const BAR_HEIGHT: f64 = 20.0;
const PANEL_HEAD: f64 = 30.0;
const PANEL_FOOT: f64 = 16.0;
const HEAD: f64 = 58.0;

/// Every plot for which there is something, by name.
pub(crate) fn all(samples: &Samples) -> Vec<(&'static str, String)> {
    let servers = |metric, scale| {
        SIDE_BY_SIDE.iter().map(|&at| server_panel(samples, LOADS[at].id, LOADS[at].name, metric, scale)).collect()
    };
    let stores = WORKS.iter().map(|work| {
        let (title, scale) = match *work {
            "put_durable" => ("Durable puts a second", 1e9),
            "batch_durable" => ("Puts a second in durable batches of 100", 1e11),
            "put_unsynced" => ("Unsynced puts a second", 1e9),
            "get_hot" => ("Gets a second, hot", 1e9),
            _ => ("Keys a second in a scan", 1e14),
        };
        store_panel(samples, title, work, "ns", |nanos| scale / nanos)
    });
    let facts = [
        ("Bytes on disk for a live byte (less is better)", "disk"),
        ("Memory beside the page cache, bytes a key (less is better)", "memory"),
        ("Opening after kill -9, ms (less is better)", "open"),
    ];
    let facts = facts.map(|(title, metric)| store_panel(samples, title, "facts", metric, |value| value));
    let plots: [(&str, &str, &str, Vec<Panel>); 5] = [
        (
            "throughput",
            "Requests per second",
            "One core for the server, values of 100 bytes; longer is better",
            servers("rps", 1.0),
        ),
        (
            "latency",
            "Latency, p99 in milliseconds",
            "Closed loop, as in the tables; shorter is better",
            servers("p99", 1.0),
        ),
        (
            "cpu",
            "Processor time of the server, µs a request",
            "All threads, flushes included; shorter is better",
            servers("cpu", 1.0),
        ),
        (
            "stores",
            "Embedded stores, operations per second",
            "One thread, keys of 16 and values of 100 bytes; longer is better",
            stores.collect(),
        ),
        ("facts", "Embedded stores: space, memory, opening", "Shorter is better", facts.into()),
    ];
    let filled = plots.into_iter().map(|(name, title, note, panels)| {
        let panels: Vec<_> = panels.into_iter().filter(|panel| !panel.bars.is_empty()).collect();
        (name, title, note, panels)
    });
    filled
        .filter(|plot| !plot.3.is_empty())
        .map(|(name, title, note, panels)| (name, svg(title, note, &panels)))
        .collect()
}

fn server_panel(samples: &Samples, work: &str, title: &str, metric: &str, scale: f64) -> Panel {
    let bars = KINDS.iter().filter_map(|kind| {
        let spread = samples.spread(work, kind.id, metric)?;
        let spread = Spread { median: spread.median * scale, low: spread.low * scale, high: spread.high * scale };
        Some(Bar { name: kind.name.replace('`', ""), spread, is_own: kind.id.starts_with("windrow") })
    });
    Panel { title: title.to_owned(), bars: bars.collect() }
}

fn store_panel(samples: &Samples, title: &str, work: &str, metric: &str, show: impl Fn(f64) -> f64) -> Panel {
    let bars = samples.all_said("engine").filter_map(|store| {
        let spread = samples.spread(work, store, metric)?;
        let (a, b) = (show(spread.low), show(spread.high));
        let spread = Spread { median: show(spread.median), low: a.min(b), high: a.max(b) };
        Some(Bar { name: store.to_owned(), spread, is_own: store == "windrow" })
    });
    Panel { title: title.to_owned(), bars: bars.collect() }
}

fn svg(title: &str, note: &str, panels: &[Panel]) -> String {
    let rows: Vec<&[Panel]> = panels.chunks(COLUMNS).collect();
    let height_of = |row: &&[Panel]| row.iter().map(Panel::height).fold(0.0, f64::max);
    let width = PANEL_WIDTH * f64::from(u8::from(panels.len() > 1) + 1);
    let height = HEAD + rows.iter().map(height_of).sum::<f64>();
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" font-family=\"system-ui, 'DejaVu Sans', sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>{title}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"14\" y=\"25\" font-size=\"17\" font-weight=\"600\" fill=\"#222222\">{title}</text>\n\
         <text x=\"14\" y=\"44\" fill=\"#555555\">{}. Medians; lines show lowest and highest round.</text>\n",
        escape(note)
    );
    let mut top = HEAD;
    for row in rows {
        for (panel, left) in row.iter().zip([0.0, PANEL_WIDTH]) {
            panel.draw(&mut out, left, top);
        }
        top += height_of(&row);
    }
    out.push_str("</svg>\n");
    out
}

impl Panel {
    fn height(&self) -> f64 {
        self.bars.iter().map(|_| BAR_HEIGHT).sum::<f64>() + PANEL_HEAD + PANEL_FOOT
    }

    // Writing to a string does not fail.
    fn draw(&self, out: &mut String, left: f64, top: f64) {
        let longest = self.bars.iter().map(|bar| bar.spread.high).fold(f64::MIN_POSITIVE, f64::max);
        let start = left + NAME_WIDTH;
        let scale = (PANEL_WIDTH - NAME_WIDTH - FIGURE_WIDTH) / longest;
        let title = escape(&self.title);
        let _infallible = writeln!(
            out,
            "<text x=\"{:.0}\" y=\"{:.0}\" font-size=\"13\" font-weight=\"600\" fill=\"#222222\">{title}</text>",
            left + 14.0,
            top + 19.0
        );
        let mut y = top + PANEL_HEAD;
        for bar in &self.bars {
            let (colour, weight) = if bar.is_own { (OWN, "600") } else { (OTHER, "400") };
            let (width, low, high) = (bar.spread.median * scale, bar.spread.low * scale, bar.spread.high * scale);
            let middle = y + BAR_HEIGHT / 2.0;
            let _infallible = write!(
                out,
                "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" font-weight=\"{weight}\" fill=\"#333333\">{}</text>\n\
                 <rect x=\"{start:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"14\" fill=\"{colour}\"/>\n\
                 <path d=\"M{:.1} {middle:.1}H{:.1}\" stroke=\"#222222\" stroke-width=\"1.5\"/>\n\
                 <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#222222\">{}</text>\n",
                start - 6.0,
                middle + 4.0,
                escape(&bar.name),
                middle - 7.0,
                start + low,
                start + high,
                start + high.max(width) + 5.0,
                middle + 4.0,
                short(bar.spread.median)
            );
            y += BAR_HEIGHT;
        }
    }
}

/// `627k`, `1.45M`, `0.207`.
fn short(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{:.2}M", value / 1e6),
        value if value >= 1e4 => format!("{:.0}k", value / 1e3),
        value if value >= 1e3 => format!("{:.1}k", value / 1e3),
        value => super::tables::digits(value),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_shows_who_was_measured_and_is_left_out_otherwise() {
        let mut samples = Samples::default();
        assert!(all(&samples).is_empty());
        for (who, value) in [("windrow", 600_000.0), ("redis-none", 700_000.0)] {
            samples.add("set-c50-p16", who, "rps", 0, value);
        }
        let plots = all(&samples);
        assert_eq!(plots.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["throughput"]);
        let svg = &plots[0].1;
        assert!(svg.contains("Redis, nothing persisted") && svg.contains("600k") && !svg.contains("Valkey"));
        assert_eq!(svg.matches("<rect").count(), 3);
    }

    #[test]
    fn figures_are_short() {
        assert_eq!(
            ["0.207", "627k", "1.45M", "9.3k"],
            [0.2071, 627_400.0, 1_449_000.0, 9_321.0].map(short).each_ref().map(|s| &**s)
        );
    }
}
