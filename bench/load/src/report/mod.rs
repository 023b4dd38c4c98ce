//! Results drawn: one page that needs nothing but itself, or its plots as SVG.

mod html;
mod plot;
mod scale;

use crate::result::RunResult;
use crate::units;

pub(crate) use html::page;
use plot::{Plot, Series};
use scale::Scale;

/// The plots of these runs, with a name for each.
pub(crate) fn plots(results: &[RunResult]) -> Vec<(&'static str, String)> {
    vec![("latency", latency(results).svg()), ("throughput", throughput(results).svg()), ("p99", p99(results).svg())]
}

/// Latency by percentile: the axis gives each further nine the same room.
fn latency(results: &[RunResult]) -> Plot {
    let series = results.iter().map(|result| {
        let histogram = result.latency.histogram();
        let points = histogram.iter_quantiles(8).filter_map(|step| {
            let nines = 1.0 / (1.0 - step.quantile_iterated_to());
            // Beyond the last request but one there is nothing to be seen but the maximum.
            (nines.is_finite() && nines <= 2.0 * histogram.len() as f64)
                .then(|| (nines, histogram.value_at_quantile(step.quantile_iterated_to()) as f64 / 1e6))
        });
        Series::new(&result.label, points.collect())
    });
    let series: Vec<Series> = series.collect();
    Plot {
        title: "Latency by percentile".to_owned(),
        x_title: "percentile".to_owned(),
        y_title: "latency, ms (log)".to_owned(),
        x: Scale::percentiles(&Series::xs(&series)),
        y: Scale::log(&Series::ys(&series)),
        series,
    }
}

fn throughput(results: &[RunResult]) -> Plot {
    let of = |result: &RunResult| {
        result.intervals.iter().map(|step| (step.at, step.answered as f64 / step.seconds)).collect::<Vec<_>>()
    };
    let series: Vec<Series> = results.iter().map(|result| Series::new(&result.label, of(result))).collect();
    let mut x = Series::xs(&series);
    x.push(0.0);
    Plot {
        title: "Throughput over time".to_owned(),
        x_title: "seconds".to_owned(),
        y_title: "requests answered per second".to_owned(),
        x: Scale::linear(&x, false),
        y: Scale::linear(&Series::ys(&series), true),
        series,
    }
}

fn p99(results: &[RunResult]) -> Plot {
    let of = |result: &RunResult| {
        let answered = result.intervals.iter().filter(|step| step.p99 > 0);
        answered.map(|step| (step.at, step.p99 as f64 / 1e6)).collect::<Vec<_>>()
    };
    let series: Vec<Series> = results.iter().map(|result| Series::new(&result.label, of(result))).collect();
    let mut x = Series::xs(&series);
    x.push(0.0);
    Plot {
        title: "99th percentile over time".to_owned(),
        x_title: "seconds".to_owned(),
        y_title: "p99 of each interval, ms (log)".to_owned(),
        x: Scale::linear(&x, false),
        y: Scale::log(&Series::ys(&series)),
        series,
    }
}

/// A number on an axis, as short as it can be.
fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        v if v >= 1e6 => format!("{}M", trimmed(v / 1e6)),
        v if v >= 1e4 => format!("{}k", trimmed(v / 1e3)),
        v => trimmed(v),
    }
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A rate for a table.
fn rate(per_second: f64) -> String {
    units::rate(per_second)
}
