//! A result as text.

use std::fmt::{self, Write};

use crate::result::{Latency, Limit, RunResult};
use crate::units;

/// The whole result, line by line.
pub(crate) fn render(result: &RunResult) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write(&mut out, result);
    out
}

fn write(out: &mut String, result: &RunResult) -> fmt::Result {
    let settings = &result.settings;
    let loop_kind = match settings.rate {
        None => "closed loop".to_owned(),
        Some(rate) => format!("{}{}/s due", if settings.poisson { "Poisson, " } else { "" }, units::rate(rate)),
    };
    let batched = if settings.batched { " in batches" } else { "" };
    writeln!(out, "{}: {}", result.label, settings.mix)?;
    writeln!(
        out,
        "  {loop_kind}, {} connections on {} threads, pipeline {}{batched}, {} node(s) at {}",
        settings.connections, settings.threads, settings.pipeline, settings.nodes, settings.address
    )?;
    writeln!(out, "  {} keys {}, values {}", settings.keys, settings.distribution, settings.values)?;
    let counts = &result.counts;
    writeln!(out)?;
    writeln!(
        out,
        "  {}/s: {} answered in {:.2} s",
        units::rate(result.requests_per_second),
        counts.completed,
        result.seconds
    )?;
    writeln!(
        out,
        "  sent {:.1} MB/s, received {:.1} MB/s",
        counts.bytes_sent as f64 / 1e6 / result.seconds.max(1e-9),
        counts.bytes_received as f64 / 1e6 / result.seconds.max(1e-9)
    )?;
    if counts.hits + counts.misses > 0 {
        writeln!(out, "  reads: {} found, {} not there", counts.hits, counts.misses)?;
    }
    for (what, count) in [
        ("answered after the end", counts.completed_late),
        ("error replies", counts.errors),
        ("lost with their connection", counts.lost),
        ("never answered", counts.unanswered),
        ("due and never sent", counts.unsent),
        ("held back until a connection was free", counts.held_back),
        ("sent late by the client", counts.late_by_client),
        ("sent again to another node", counts.redirected),
        ("connections opened again", counts.reconnects),
    ] {
        if count > 0 {
            writeln!(out, "  {count} {what}")?;
        }
    }
    writeln!(out)?;
    latencies(out, result)?;
    client_and_server(out, result)?;
    verdicts(out, result)
}

fn latencies(out: &mut String, result: &RunResult) -> fmt::Result {
    writeln!(out, "  {:<12}{:>12}{}", "latency", "count", header())?;
    row(out, "all", &result.latency)?;
    if result.operations.len() > 1 {
        for operation in &result.operations {
            row(out, &operation.name, &operation.latency)?;
        }
    }
    if result.settings.rate.is_some() {
        row(out, "client late", &result.client.lag)?;
    }
    Ok(())
}

fn header() -> String {
    ["p50", "p90", "p99", "p99.9", "p99.99", "max"].iter().fold(String::new(), |line, name| format!("{line}{name:>10}"))
}

fn row(out: &mut String, name: &str, latency: &Latency) -> fmt::Result {
    write!(out, "  {name:<12}{:>12}", latency.count)?;
    for value in [latency.p50, latency.p90, latency.p99, latency.p99_9, latency.p99_99, latency.max] {
        write!(out, "{:>10}", units::time(value))?;
    }
    writeln!(out)
}

fn client_and_server(out: &mut String, result: &RunResult) -> fmt::Result {
    let client = &result.client;
    writeln!(out)?;
    let who = match client.limit {
        Limit::Rate => "the rate",
        Limit::Server => "the server",
        Limit::Client => "THE CLIENT",
    };
    writeln!(out, "  limit: {who}. {}", client.reason)?;
    writeln!(
        out,
        "  client: {:.2} µs of processor time a request, busiest thread {:.0}%, waited for its core {:.0}%",
        client.cpu_us_per_request,
        client.busy * 100.0,
        client.waited_for_core * 100.0
    )?;
    if let Some(server) = &result.server {
        writeln!(
            out,
            "  server: {:.2} µs of processor time a request, {:.2} cores, {:.0} MB resident",
            server.cpu_us_per_request,
            server.cores,
            server.resident_bytes as f64 / 1e6
        )?;
    }
    Ok(())
}

fn verdicts(out: &mut String, result: &RunResult) -> fmt::Result {
    if let Some(findings) = &result.verify {
        if findings.faults.is_empty() {
            writeln!(out, "  verified: {} reads, every one as it should be", findings.checked)?;
        } else {
            writeln!(out, "  VERIFIED: {} of {} reads are WRONG", result.faults(), findings.checked)?;
            for (fault, count) in &findings.faults {
                writeln!(out, "    {count} {fault:?}")?;
            }
            for example in &findings.examples {
                writeln!(out, "    {example}")?;
            }
        }
    }
    for (text, count) in &result.errors {
        writeln!(out, "  error {count} times: {text}")?;
    }
    Ok(())
}
