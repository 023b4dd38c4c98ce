//! From measurements to a result: rates, percentiles, and who set the pace.

use crate::measure::{Counts, Nanos};
use crate::plan::{Pace, Plan};
use crate::result::{
    ClientResult, FORMAT, IntervalResult, Latency, Limit, OperationResult, RunResult, ServerResult, Settings,
};
use crate::run::{Measured, ServerTime, measured_seconds};
use crate::units;
use crate::verify::Findings;
use crate::worker::Outcome;

/// A thread that is busy for more of the time has no more to give.
const BUSY_LIMIT: f64 = 0.95;
/// A rate is driven if no more than this share of it is missing.
const SHORTFALL: f64 = 0.01;

pub(crate) fn judge(plan: &Plan, measured: &mut Measured) -> RunResult {
    let seconds = measured_seconds(plan, &measured.outcomes);
    let completed = measured.counts.completed;
    let per_second = if seconds > 0.0 { completed as f64 / seconds } else { 0.0 };
    let mut findings = Findings::default();
    for outcome in &mut measured.outcomes {
        findings.add(std::mem::take(&mut outcome.findings));
    }
    RunResult {
        format: FORMAT,
        label: plan.label.clone(),
        command: std::env::args().collect(),
        started_unix_ms: measured.started_unix_ms,
        settings: settings(plan, measured.nodes),
        seconds,
        requests_per_second: per_second,
        counts: measured.counts,
        latency: Latency::of(&measured.latency),
        operations: operations(plan, &measured.outcomes),
        intervals: intervals(plan, measured, seconds),
        client: client(plan, measured, per_second),
        server: measured.server.map(|time| server(plan, time, completed)),
        verify: plan.verify.map(|_| findings),
        errors: measured.errors.0.iter().map(|(text, count)| (text.clone(), *count)).collect(),
    }
}

fn settings(plan: &Plan, nodes: usize) -> Settings {
    let (rate, poisson) = match plan.pace {
        Pace::Closed => (None, false),
        Pace::Open { per_second, poisson } => (Some(per_second), poisson),
    };
    Settings {
        address: plan.address.clone(),
        nodes,
        rate,
        poisson,
        threads: plan.threads,
        connections: plan.connections,
        pipeline: plan.pipeline,
        batched: plan.batched,
        mix: plan.mix.to_string(),
        keys: plan.key_count,
        distribution: plan.distribution.to_string(),
        values: plan.sizes.to_string(),
        seed: plan.seed,
    }
}

fn operations(plan: &Plan, outcomes: &[Outcome]) -> Vec<OperationResult> {
    let of = |number: usize| {
        let mut sum: Nanos = crate::measure::histogram();
        for histogram in outcomes.iter().filter_map(|outcome| outcome.by_operation.get(number)) {
            for step in histogram.iter_recorded() {
                sum.saturating_record_n(step.value_iterated_to(), step.count_at_value());
            }
        }
        Latency::of(&sum)
    };
    let names = plan.mix.operations.iter().enumerate();
    names.map(|(number, operation)| OperationResult { name: operation.name.clone(), latency: of(number) }).collect()
}

/// Intervals within the measured time; what came in later while draining is in the totals only.
fn intervals(plan: &Plan, measured: &Measured, seconds: f64) -> Vec<IntervalResult> {
    let length = plan.interval.as_secs_f64();
    let mut results = Vec::new();
    for interval in &measured.intervals {
        let start = interval.index as f64 * length;
        let end = (start + length).min(seconds);
        if end - start < length / 10.0 {
            break;
        }
        let at = |quantile| interval.latency.value_at_quantile(quantile);
        results.push(IntervalResult {
            at: end,
            seconds: end - start,
            answered: interval.counts.completed,
            errors: interval.counts.errors + interval.counts.lost,
            p50: at(0.5),
            p99: at(0.99),
            p99_9: at(0.999),
            max: interval.latency.max(),
            client_lag_p99: interval.lag.value_at_quantile(0.99),
        });
    }
    results
}

fn client(plan: &Plan, measured: &Measured, per_second: f64) -> ClientResult {
    let warm = units::nanos(plan.warmup);
    let wall = |outcome: &Outcome| outcome.ended.saturating_sub(warm).max(1) as f64;
    let busy = measured.outcomes.iter().map(|outcome| {
        let taken = outcome.time.running.saturating_sub(outcome.idle_ns) + outcome.time.waiting;
        taken as f64 / wall(outcome)
    });
    let busy = busy.fold(0.0, f64::max).min(1.0);
    let waited =
        measured.outcomes.iter().map(|outcome| outcome.time.waiting as f64 / wall(outcome)).fold(0.0, f64::max);
    let running: u64 = measured.outcomes.iter().map(|outcome| outcome.time.running).sum();
    let answered = (measured.counts.completed + measured.counts.completed_late).max(1);
    let (limit, reason) = verdict(plan, &measured.counts, &measured.lag, per_second, busy);
    ClientResult {
        limit,
        reason,
        busy,
        waited_for_core: waited,
        cpu_us_per_request: running as f64 / 1e3 / answered as f64,
        lag: Latency::of(&measured.lag),
    }
}

/// Who set the pace, and how that can be told.
pub(crate) fn verdict(plan: &Plan, counts: &Counts, lag: &Nanos, per_second: f64, busy: f64) -> (Limit, String) {
    let Pace::Open { per_second: asked, .. } = plan.pace else {
        return if busy >= BUSY_LIMIT {
            (
                Limit::Client,
                format!("a client thread was busy {:.0}% of the time: it could not ask faster", busy * 100.0),
            )
        } else {
            (Limit::Server, format!("closed loop; the busiest client thread had {:.0}% to spare", (1.0 - busy) * 100.0))
        };
    };
    let sent = lag.len().max(1);
    let late = counts.late_by_client as f64 / sent as f64;
    let held = (counts.held_back + counts.unsent) as f64 / (sent + counts.unsent) as f64;
    let short = per_second < asked * (1.0 - SHORTFALL);
    if late > SHORTFALL {
        let reason = format!(
            "the client sent {:.1}% of the requests more than {} late (p99 {}) though connections were free: \
             latencies include that",
            late * 100.0,
            units::time(units::nanos(plan.late)),
            units::time(lag.value_at_quantile(0.99)),
        );
        return (Limit::Client, reason);
    }
    if short && held < SHORTFALL && busy >= BUSY_LIMIT {
        return (
            Limit::Client,
            format!("{} of {} per second: the client was busy", units::rate(per_second), units::rate(asked)),
        );
    }
    if short {
        let reason = format!(
            "{} of {} per second were answered in time; {:.1}% waited for a free connection",
            units::rate(per_second),
            units::rate(asked),
            held * 100.0
        );
        return (Limit::Server, reason);
    }
    (Limit::Rate, "the asked rate was sent on time and answered".to_owned())
}

fn server(plan: &Plan, time: ServerTime, completed: u64) -> ServerResult {
    ServerResult {
        pids: plan.pids.clone(),
        cpu_seconds: time.cpu_seconds,
        cpu_us_per_request: time.cpu_seconds * 1e6 / completed.max(1) as f64,
        cores: time.cpu_seconds / time.seconds.max(1e-9),
        resident_bytes: time.resident_bytes,
    }
}
