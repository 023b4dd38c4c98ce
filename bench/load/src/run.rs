//! One run: threads started together, intervals gathered and shown, the result put together.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::cluster::Topology;
use crate::error::Error;
use crate::keys::Inserts;
use crate::measure::{Counts, ErrorKinds, Interval, Nanos, histogram};
use crate::mix::Kind;
use crate::output::progress;
use crate::plan::{End, Plan};
use crate::process;
use crate::result::RunResult;
use crate::summary;
use crate::units;
use crate::verify::Table;
use crate::worker::{Outcome, Shared, Worker};

/// Everything that was measured, before it is judged.
pub(crate) struct Measured {
    pub(crate) started_unix_ms: u64,
    pub(crate) nodes: usize,
    pub(crate) latency: Nanos,
    pub(crate) lag: Nanos,
    pub(crate) counts: Counts,
    pub(crate) intervals: Vec<Interval>,
    pub(crate) errors: ErrorKinds,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) server: Option<ServerTime>,
}

/// What the server's processes have taken between two looks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct ServerTime {
    pub(crate) cpu_seconds: f64,
    pub(crate) seconds: f64,
    pub(crate) resident_bytes: u64,
}

/// A run's result, and its intervals for those who want every histogram.
pub(crate) struct Run {
    pub(crate) result: RunResult,
    pub(crate) intervals: Vec<Interval>,
}

/// Time for the threads to get to their places before the first request is due.
const GATHERING: Duration = Duration::from_millis(20);

/// Drives the load that the plan describes. Blocks until it is through.
pub(crate) fn run(plan: &Plan) -> Result<Run, Error> {
    let topology = if plan.cluster { Topology::discover(plan)? } else { Topology::single(&plan.address) };
    let shared = Shared {
        inserts: Inserts::new(plan.key_count, plan.mix.has(Kind::Insert)),
        table: plan.verify.map(Table::new),
    };
    let (sender, receiver) = mpsc::channel();
    let workers = (0..plan.threads)
        .map(|number| Worker::connect(plan, &shared, number, topology.clone(), sender.clone()))
        .collect::<Result<Vec<_>, _>>()?;
    drop(sender);
    let started_unix_ms = unix_ms();
    let origin = Instant::now() + GATHERING;
    let (gathered, outcomes) = thread::scope(|scope| {
        let threads: Vec<_> = workers.into_iter().map(|worker| scope.spawn(move || worker.run(origin))).collect();
        let gathered = gather(plan, origin, &receiver);
        let outcomes: Result<Vec<_>, Error> = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect();
        (gathered, outcomes)
    });
    let (gathered, mut outcomes) = (gathered?, outcomes?);
    let mut measured = Measured {
        started_unix_ms,
        nodes: topology.nodes.len(),
        latency: histogram(),
        lag: histogram(),
        counts: Counts::default(),
        intervals: gathered.intervals,
        errors: ErrorKinds::default(),
        server: gathered.server,
        outcomes: Vec::new(),
    };
    for interval in &measured.intervals {
        add(&mut measured.latency, &interval.latency);
        add(&mut measured.lag, &interval.lag);
        measured.counts.add(&interval.counts);
    }
    for outcome in &mut outcomes {
        measured.errors.add(std::mem::take(&mut outcome.errors));
    }
    measured.outcomes = outcomes;
    let result = summary::judge(plan, &mut measured);
    Ok(Run { result, intervals: measured.intervals })
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// Both have the same bounds, so that nothing can be left out.
fn add(sum: &mut Nanos, part: &Nanos) {
    for step in part.iter_recorded() {
        sum.saturating_record_n(step.value_iterated_to(), step.count_at_value());
    }
}

struct Gathered {
    intervals: Vec<Interval>,
    server: Option<ServerTime>,
}

/// Merges the threads' intervals as they come, and looks at the server's processes at the right moments.
fn gather(plan: &Plan, origin: Instant, receiver: &Receiver<Interval>) -> Result<Gathered, Error> {
    let begin = origin + plan.warmup;
    if !plan.quiet && !plan.warmup.is_zero() {
        progress::warming(plan.warmup);
    }
    thread::sleep(begin.saturating_duration_since(Instant::now()));
    let before = Look::take(plan)?;
    let mut after = None;
    let end = match plan.end {
        End::After(time) => Some(begin + time),
        End::Requests(_) => None,
    };
    let mut merged: BTreeMap<u64, (usize, Interval)> = BTreeMap::new();
    let mut shown = 0;
    loop {
        let left = end.filter(|_| after.is_none()).map(|end| end.saturating_duration_since(Instant::now()));
        match receiver.recv_timeout(left.unwrap_or(Duration::from_secs(3600))) {
            Ok(interval) => merge(&mut merged, interval),
            Err(RecvTimeoutError::Timeout) if end.is_some() && after.is_none() => after = Some(Look::take(plan)?),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some((threads, interval)) = merged.get(&shown).filter(|(threads, _)| *threads == plan.threads) {
            debug_assert_eq!(*threads, plan.threads);
            if !plan.quiet {
                progress::show(interval, plan.interval, plan.late);
            }
            shown += 1;
        }
    }
    let after = match after {
        Some(look) => look,
        None => Look::take(plan)?,
    };
    let server = (!plan.pids.is_empty()).then(|| after.since(&before));
    Ok(Gathered { intervals: merged.into_values().map(|(_, interval)| interval).collect(), server })
}

fn merge(merged: &mut BTreeMap<u64, (usize, Interval)>, interval: Interval) {
    match merged.get_mut(&interval.index) {
        None => {
            merged.insert(interval.index, (1, interval));
        }
        Some((threads, sum)) => {
            *threads += 1;
            add(&mut sum.latency, &interval.latency);
            add(&mut sum.lag, &interval.lag);
            sum.counts.add(&interval.counts);
        }
    }
}

struct Look {
    at: Instant,
    cpu_seconds: f64,
    resident_bytes: u64,
}

impl Look {
    fn take(plan: &Plan) -> Result<Self, Error> {
        let mut look = Self { at: Instant::now(), cpu_seconds: 0.0, resident_bytes: 0 };
        for &pid in &plan.pids {
            look.cpu_seconds += process::cpu_seconds(pid)?;
            look.resident_bytes += process::resident_bytes(pid)?;
        }
        Ok(look)
    }

    fn since(&self, earlier: &Self) -> ServerTime {
        ServerTime {
            cpu_seconds: self.cpu_seconds - earlier.cpu_seconds,
            seconds: self.at.duration_since(earlier.at).as_secs_f64(),
            resident_bytes: self.resident_bytes,
        }
    }
}

/// Versions of a run that starts now are above this: more than a thousand million writes a second would be needed
/// for one run to reach the next one's.
pub(crate) fn version_base() -> u64 {
    unix_ms() << 20
}

/// The measured time of a run: from the end of the warm-up to its end, or to the last answer.
pub(crate) fn measured_seconds(plan: &Plan, outcomes: &[Outcome]) -> f64 {
    match plan.end {
        End::After(time) => time.as_secs_f64(),
        End::Requests(_) => {
            let last = outcomes.iter().map(|outcome| outcome.last_answer).max().unwrap_or(0);
            last.saturating_sub(units::nanos(plan.warmup)) as f64 / units::SECOND as f64
        }
    }
}
