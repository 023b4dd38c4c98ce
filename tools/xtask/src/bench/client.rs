//! The client: `redis-benchmark`, pinned to the second core.

use std::fmt;
use std::process::{Command, Stdio};

use super::report::Figure;
use super::server::Server;

const CLIENT_CORE: &str = "1";
const KEYS: &str = "100000";
const VALUE_BYTES: &str = "100";
/// Requests of the reader whose latency is measured.
const READS: &str = "20000";

/// One way of asking.
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) command: &'static str,
    pub(crate) connections: u32,
    pub(crate) pipeline: u32,
    pub(crate) requests: u64,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:9.0} requests/s, p50 {:.3} ms, p99 {:.3} ms, {:.2} us of server cpu a request",
            self.requests_per_second, self.p50_ms, self.p99_ms, self.cpu_us
        )
    }
}

fn benchmark(port: u16, command: &str, connections: u32, pipeline: u32, requests: &str) -> Command {
    let mut benchmark = Command::new("taskset");
    benchmark.args(["-c", CLIENT_CORE, "redis-benchmark", "--csv", "--precision", "3", "-r", KEYS, "-d", VALUE_BYTES]);
    benchmark.args(["-p", &port.to_string(), "-t", command, "-n", requests]);
    benchmark.args(["-c", &connections.to_string(), "-P", &pipeline.to_string()]);
    benchmark.stdin(Stdio::null()).stderr(Stdio::null());
    benchmark
}

/// One run against one server.
pub(crate) fn run(server: &Server, load: &Load) -> Result<Figure, String> {
    let before = server.cpu_seconds();
    let requests = load.requests.to_string();
    let output = benchmark(server.port, load.command, load.connections, load.pipeline, &requests)
        .output()
        .map_err(|error| format!("cannot run redis-benchmark: {error}"))?;
    let cpu = server.cpu_seconds() - before;
    let mut figure = parse(&String::from_utf8_lossy(&output.stdout))
        .ok_or_else(|| format!("redis-benchmark gave no figures against {}", server.kind.name()))?;
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    let count = load.requests as f64;
    figure.cpu_us = cpu * 1e6 / count;
    Ok(figure)
}

/// The last line is `"SET","123.4","0.1",…`: requests a second, then latencies in ms: mean, min, p50, p95, p99, max.
fn parse(csv: &str) -> Option<Figure> {
    let line = csv.lines().last()?;
    let fields: Vec<f64> = line.split(',').skip(1).filter_map(|field| field.trim_matches('"').parse().ok()).collect();
    match fields.as_slice() {
        [requests_per_second, _mean, _min, p50, _p95, p99, _max] => {
            Some(Figure { requests_per_second: *requests_per_second, p50_ms: *p50, p99_ms: *p99, cpu_us: 0.0 })
        }
        _ => None,
    }
}

/// The p99 of one reader alone, and beside 50 writers, in ms.
pub(crate) fn reader_beside_writers(server: &Server) -> Result<(f64, f64), String> {
    let read = || -> Result<f64, String> {
        let output = benchmark(server.port, "get", 1, 1, READS)
            .output()
            .map_err(|error| format!("cannot run redis-benchmark: {error}"))?;
        let figure = parse(&String::from_utf8_lossy(&output.stdout));
        figure.map(|figure| figure.p99_ms).ok_or_else(|| "redis-benchmark gave no figures".to_owned())
    };
    let alone = read()?;
    // More than the reader needs; ended by its handle when the reader is done.
    let mut writers = benchmark(server.port, "set", 50, 1, "20000000")
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run redis-benchmark: {error}"))?;
    let beside = read();
    let _ended_already = writers.kill();
    let _reaped = writers.wait();
    Ok((alone, beside?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_last_line() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"SET\",\"1000.5\",\"0.1\",\"0.01\",\"0.2\",\"0.3\",\"0.4\",\"9.0\"\n";
        let figure = parse(csv).unwrap();
        assert!((figure.requests_per_second - 1000.5).abs() < 1e-9);
        assert!((figure.p50_ms - 0.2).abs() < 1e-9 && (figure.p99_ms - 0.4).abs() < 1e-9);
        assert!(parse("").is_none());
        assert!(parse("\"SET\",\"1\"\n").is_none());
    }
}
