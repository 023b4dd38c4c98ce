//! What a run has found, as it is written to JSON and read back for reports.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::measure::{Counts, Nanos, histogram};
use crate::verify::Findings;

/// Raised with every change after which an older program would misread the file.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct RunResult {
    pub(crate) format: u32,
    pub(crate) label: String,
    /// The command line.
    pub(crate) command: Vec<String>,
    pub(crate) started_unix_ms: u64,
    pub(crate) settings: Settings,
    /// The measured time, without warm-up and drain.
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) counts: Counts,
    pub(crate) latency: Latency,
    pub(crate) operations: Vec<OperationResult>,
    pub(crate) intervals: Vec<IntervalResult>,
    pub(crate) client: ClientResult,
    pub(crate) server: Option<ServerResult>,
    pub(crate) verify: Option<Findings>,
    /// Error replies and broken connections by their text.
    pub(crate) errors: Vec<(String, u64)>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) address: String,
    pub(crate) nodes: usize,
    /// Requests per second that were due; none for a closed loop.
    pub(crate) rate: Option<f64>,
    pub(crate) poisson: bool,
    pub(crate) threads: usize,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    pub(crate) batched: bool,
    pub(crate) mix: String,
    pub(crate) keys: u64,
    pub(crate) distribution: String,
    pub(crate) values: String,
    pub(crate) seed: u64,
}

/// Nanoseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    pub(crate) min: u64,
    pub(crate) p50: u64,
    pub(crate) p90: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) p99_99: u64,
    pub(crate) max: u64,
    /// Every value that occurred, within a thousandth, and how often.
    pub(crate) histogram: Vec<(u64, u64)>,
}

impl Latency {
    pub(crate) fn of(histogram: &Nanos) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            count: histogram.len(),
            mean: histogram.mean(),
            min: if histogram.is_empty() { 0 } else { histogram.min() },
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p99_9: at(0.999),
            p99_99: at(0.9999),
            max: histogram.max(),
            histogram: histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }

    /// The histogram again.
    pub(crate) fn histogram(&self) -> Nanos {
        let mut histogram = histogram();
        for &(value, count) in &self.histogram {
            histogram.saturating_record_n(value, count);
        }
        histogram
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct OperationResult {
    pub(crate) name: String,
    pub(crate) latency: Latency,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct IntervalResult {
    /// When it ended, in seconds since the end of the warm-up.
    pub(crate) at: f64,
    /// How long it was; the last one may be shorter.
    pub(crate) seconds: f64,
    pub(crate) answered: u64,
    pub(crate) errors: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p99_9: u64,
    pub(crate) max: u64,
    pub(crate) client_lag_p99: u64,
}

/// Who set the pace.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Limit {
    /// The asked rate was driven and answered.
    Rate,
    /// The server was the slower one.
    Server,
    /// The client was: figures say what it can do, not what the server can.
    Client,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ClientResult {
    pub(crate) limit: Limit,
    pub(crate) reason: String,
    /// Share of the time that the busiest thread ran or waited for its core.
    pub(crate) busy: f64,
    /// Share of the time that a thread waited for its core at most.
    pub(crate) waited_for_core: f64,
    /// Processor time for one answered request.
    pub(crate) cpu_us_per_request: f64,
    /// How late requests were sent though a connection was free.
    pub(crate) lag: Latency,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct ServerResult {
    pub(crate) pids: Vec<u32>,
    pub(crate) cpu_seconds: f64,
    pub(crate) cpu_us_per_request: f64,
    /// Processor time per time.
    pub(crate) cores: f64,
    pub(crate) resident_bytes: u64,
}

impl RunResult {
    /// Reads one back.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        let text = fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
        let unreadable = |source| Error::Result { path: path.to_owned(), source };
        let format: Format = serde_json::from_str(&text).map_err(unreadable)?;
        if format.format != FORMAT {
            return Err(Error::Format { path: path.to_owned(), found: format.format, expected: FORMAT });
        }
        serde_json::from_str(&text).map_err(unreadable)
    }

    pub(crate) fn faults(&self) -> u64 {
        self.verify.as_ref().map_or(0, |findings| findings.faults.values().sum())
    }
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}
