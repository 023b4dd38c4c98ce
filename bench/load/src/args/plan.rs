//! From the command line to a plan, with the settings checked that do not go together.

use std::time::Duration;

use super::{Arrivals, ClientArgs, DataArgs, DistributionName, LoadArgs, OutputArgs, RunArgs, TargetArgs};
use crate::error::Usage;
use crate::keys::{Distribution, KeyText};
use crate::mix::{Kind, Mix, YCSB_VALUE_BYTES};
use crate::plan::{BatchEnd, Credentials, End, Pace, Plan, Protocol};
use crate::run::version_base;
use crate::units;
use crate::values::{self, Sizes};
use crate::verify::Rules;

impl LoadArgs {
    /// The plan that writes every key once.
    pub(crate) fn load_plan(&self) -> Result<Plan, Usage> {
        self.plan("load", "set", None)
    }

    /// The plan that reads every key once and checks it.
    pub(crate) fn check_plan(&self) -> Result<Plan, Usage> {
        self.plan("check", "get", Some(Rules { stale_ns: 0, present: true, base: version_base() }))
    }

    fn plan(&self, name: &str, operation: &str, verify: Option<Rules>) -> Result<Plan, Usage> {
        let what = What {
            name: name.to_owned(),
            mix: vec![(operation.to_owned(), 1)],
            custom: &[],
            distribution: Distribution::Sequential,
            sizes: self.data.value.clone().unwrap_or(Sizes::Fixed(100)),
            end: End::Requests(self.data.keys),
            warmup: Duration::ZERO,
            verify,
        };
        plan(&self.target, &self.client, &self.data, &self.output, what)
    }
}

impl RunArgs {
    /// The plan that the command line describes.
    pub(crate) fn plan(&self) -> Result<Plan, Usage> {
        let load = &self.load;
        if !(load.theta > 0.0 && load.theta < 1.0) {
            return Err(Usage::Range { what: "--theta", allowed: "above 0 and below 1" });
        }
        let theta = load.theta;
        let distribution = match (load.distribution, load.workload) {
            (Some(DistributionName::Uniform), _) | (None, None) => Distribution::Uniform,
            (Some(DistributionName::Zipfian), _) => Distribution::Zipfian { theta },
            (Some(DistributionName::Latest), _) => Distribution::Latest { theta },
            (Some(DistributionName::Sequential), _) => Distribution::Sequential,
            (None, Some(workload)) => workload.distribution(theta),
        };
        let mix = match (&load.mix, load.workload) {
            (Some(mix), _) => mix.clone(),
            (None, Some(workload)) => workload.mix()?,
            (None, None) if load.command.is_empty() => vec![("get".to_owned(), 50), ("set".to_owned(), 50)],
            (None, None) => Vec::new(),
        };
        let size = if load.workload.is_some() { YCSB_VALUE_BYTES } else { 100 };
        let what = What {
            name: load.workload.map_or_else(|| "run".to_owned(), |workload| format!("YCSB {workload:?}")),
            mix,
            custom: &load.command,
            distribution,
            sizes: self.data.value.clone().unwrap_or(Sizes::Fixed(size)),
            end: load.requests.map_or(End::After(load.duration), End::Requests),
            warmup: load.warmup,
            verify: load.verify.then(|| Rules {
                stale_ns: units::nanos(load.stale),
                present: load.present,
                base: version_base(),
            }),
        };
        plan(&self.target, &self.client, &self.data, &self.output, what)
    }
}

/// What one kind of run adds to the settings that all have.
struct What<'a> {
    name: String,
    mix: Vec<(String, u32)>,
    custom: &'a [(u32, String)],
    distribution: Distribution,
    sizes: Sizes,
    end: End,
    warmup: Duration,
    verify: Option<Rules>,
}

fn plan(
    target: &TargetArgs,
    client: &ClientArgs,
    data: &DataArgs,
    output: &OutputArgs,
    what: What<'_>,
) -> Result<Plan, Usage> {
    let keys = key_text(data)?;
    let open = client.rate.is_some();
    let plan = Plan {
        label: output.label.clone().unwrap_or_else(|| format!("{} on {}", what.name, target.address)),
        address: target.address.clone(),
        credentials: target.password.clone().map(|password| Credentials { user: target.user.clone(), password }),
        protocol: if target.resp3 { Protocol::Resp3 } else { Protocol::Resp2 },
        cluster: target.cluster,
        threads: client.threads,
        connections: client.connections,
        cores: client.cores.as_ref().map_or_else(Vec::new, |cores| cores.0.clone()),
        pipeline: client.pipeline.unwrap_or(if open { 1024 } else { 1 }),
        batched: client.batched,
        batch_end: client.batch_end.as_ref().map(|line| BatchEnd::parse(line, &keys)).transpose()?,
        pace: client.rate.map_or(Pace::Closed, |rate| Pace::Open {
            per_second: rate as f64,
            poisson: matches!(client.arrivals, Arrivals::Poisson),
        }),
        end: what.end,
        warmup: what.warmup,
        drain: client.drain,
        stall: client.stall,
        interval: output.interval,
        spin: client.spin,
        late: client.late,
        seed: client.seed,
        key_count: data.keys,
        mix: Mix::new(&what.mix, what.custom, &keys)?,
        keys,
        distribution: what.distribution,
        sizes: what.sizes,
        verify: what.verify,
        base: what.verify.map_or_else(version_base, |rules| rules.base),
        pids: target.pid.clone(),
        quiet: output.quiet,
    };
    check(&plan)?;
    Ok(plan)
}

fn key_text(data: &DataArgs) -> Result<KeyText, Usage> {
    let digits = data.keys.saturating_sub(1).max(1).ilog10() + 1;
    let needed = data.key_prefix.len() + usize::try_from(digits).unwrap_or(20);
    if data.key_size < needed {
        return Err(Usage::KeyTooShort { size: data.key_size, keys: data.keys, needed });
    }
    Ok(KeyText { prefix: data.key_prefix.clone(), digits: data.key_size - data.key_prefix.len() })
}

/// Settings that are each possible and do not go together.
fn check(plan: &Plan) -> Result<(), Usage> {
    let range = |good: bool, what, allowed| if good { Ok(()) } else { Err(Usage::Range { what, allowed }) };
    range(plan.key_count > 0, "--keys", "at least 1")?;
    range(plan.threads > 0 && plan.threads <= 1024, "--threads", "1 to 1024")?;
    range(plan.pipeline > 0 && plan.pipeline <= 1 << 20, "--pipeline", "1 to 1048576")?;
    range(plan.interval >= Duration::from_millis(10), "--interval", "at least 10ms")?;
    range(plan.end != End::After(Duration::ZERO), "--duration", "more than nothing")?;
    range(!matches!(plan.pace, Pace::Open { per_second, .. } if per_second < 1.0), "--rate", "at least 1")?;
    range(plan.pace == Pace::Closed || !plan.batched, "--batched", "used without --rate")?;
    range(!plan.stall.is_zero(), "--stall", "more than nothing")?;
    let rewrites = plan.mix.has(Kind::ReadModifyWrite);
    range(plan.batch_end.is_none() || !rewrites, "--batch-end", "used without rmw, whose writes follow their reads")?;
    if plan.connections < plan.threads {
        return Err(Usage::FewConnections { connections: plan.connections, threads: plan.threads });
    }
    // Which of them this process may use, the kernel says when the threads are pinned.
    if let Some(&core) = plan.cores.iter().find(|&&core| core >= rustix::thread::CpuSet::MAX_CPU) {
        return Err(Usage::NoSuchCore { core });
    }
    if plan.verify.is_none() {
        return Ok(());
    }
    if let Some(other) = plan.mix.operations.iter().find(|operation| operation.kind == Kind::Other) {
        return Err(Usage::NotVerifiable { operation: other.name.clone() });
    }
    let smallest = plan.sizes.smallest();
    if smallest < values::HEADER {
        return Err(Usage::ValueTooSmall { smallest, needed: values::HEADER });
    }
    Ok(())
}
