//! Results as files: JSON, `.hgrm` for HdrHistogram's plotters, the interval log for its log tools.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::IntervalLogWriterBuilder;

use crate::error::Error;
use crate::measure::{Interval, Nanos};
use crate::result::RunResult;

/// Writes `text` to `path`.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    std::fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Writes the result as JSON.
pub(crate) fn json(path: &Path, result: &RunResult) -> Result<(), Error> {
    let mut text = serde_json::to_string(result).map_err(|source| Error::Result { path: path.to_owned(), source })?;
    text.push('\n');
    write(path, &text)
}

/// Nanoseconds in a millisecond, the unit of `.hgrm` files and interval logs.
const MILLI: f64 = 1e6;

/// The percentile distribution as HdrHistogram's own tools print it, in milliseconds.
pub(crate) fn hgrm(histogram: &Nanos) -> String {
    let mut out = format!("{:>12} {:>14} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    let mut total = 0;
    for step in histogram.iter_quantiles(5) {
        let quantile = step.quantile_iterated_to();
        let value = histogram.value_at_quantile(step.quantile()).min(step.value_iterated_to()) as f64 / MILLI;
        total += step.count_since_last_iteration();
        // Writing to a string does not fail.
        let _infallible = if quantile < 1.0 {
            writeln!(out, "{value:12.3} {quantile:14.12} {total:10} {:14.2}", 1.0 / (1.0 - quantile))
        } else {
            writeln!(out, "{value:12.3} {quantile:14.12} {total:10}")
        };
    }
    let _infallible = write!(
        out,
        "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]\n#[Max     = {:12.3}, Total count    = {:12}]\n\
         #[Buckets = {:12}, SubBuckets     = {:12}]\n",
        histogram.mean() / MILLI,
        histogram.stdev() / MILLI,
        histogram.max() as f64 / MILLI,
        histogram.len(),
        32,
        2048
    );
    out
}

/// Every interval's histogram in HdrHistogram's log format, version 2 compressed.
pub(crate) fn interval_log(
    path: &Path,
    result: &RunResult,
    length: Duration,
    intervals: &[Interval],
) -> Result<(), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let mut file = BufWriter::new(File::create(path).map_err(failed)?);
    write_log(&mut file, result, length, intervals).and_then(|()| file.flush()).map_err(failed)
}

pub(crate) fn write_log(
    out: &mut impl Write,
    result: &RunResult,
    length: Duration,
    intervals: &[Interval],
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let start = UNIX_EPOCH + Duration::from_millis(result.started_unix_ms);
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment(&format!("windrow-load: {}", result.label))
        .with_start_time(start)
        .with_base_time(start)
        .with_max_value_divisor(MILLI)
        .begin_log_with(out, &mut serializer)?;
    for interval in intervals {
        let from = length.mul_f64(interval.index as f64);
        log.write_histogram(&interval.latency, from, length, None)
            .map_err(|error| io::Error::other(format!("{error:?}")))?;
    }
    Ok(())
}
