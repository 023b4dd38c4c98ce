//! The command line, and how it becomes a plan.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::error::Usage;
use crate::keys::{Distribution, KeyText, THETA};
use crate::mix::{self, Kind, Mix, Workload, YCSB_VALUE_BYTES};
use crate::plan::{Credentials, End, Pace, Plan, Protocol};
use crate::run::version_base;
use crate::units;
use crate::values::{self, Sizes};
use crate::verify::Rules;

const EXAMPLES: &str = "\
Examples:
  Fill a million keys, then ask for a fixed rate with YCSB's workload B for a minute:
    windrow-load load --keys 1M --value 1000
    windrow-load run --keys 1M --workload b --rate 50k --duration 60s --json b.json
  What the server can do at most, pipelined, from one pinned thread, and what a request costs the server:
    windrow-load run --mix set=1 --pipeline 16 --connections 50 --cores 1 --pid $(pidof redis-server)
  Check every value that is read while half of the requests write:
    windrow-load run --verify --mix get=50,set=50 --value 24..4k --duration 5m
  Compare runs in one page:
    windrow-load report a.json b.json -o page.html

Latency:
  With --rate, requests are due by the clock and latency counts from when a request was due, not from when it could
  be sent: a server that stalls is charged for everything that waited (no coordinated omission). If the client itself
  sends late, the result says so (\"limit: THE CLIENT\") and how late. Without --rate each connection sends when a reply
  has come in (closed loop): the figure to read is throughput; its latencies hide stalls.

Exit status: 0 done; 1 the run failed; 2 wrong usage; 3 --verify or `check` found wrong values.";

/// An open-loop load generator for anything that speaks RESP.
#[derive(Parser, Debug)]
#[command(name = "windrow-load", version, after_help = EXAMPLES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Writes every key once, in order
    Load(LoadArgs),
    /// Drives a mix of requests and measures
    Run(RunArgs),
    /// Reads every key once, in order, and checks its value; each must be there
    Check(LoadArgs),
    /// Draws results of runs (their JSON) into one page
    Report(ReportArgs),
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Server")]
pub(crate) struct TargetArgs {
    /// Where the server listens
    #[arg(short, long, default_value = "127.0.0.1:6379", value_name = "HOST:PORT")]
    address: String,
    /// Ask `CLUSTER SLOTS` and send each key to its node, following MOVED
    #[arg(long)]
    cluster: bool,
    /// Speak RESP3 (HELLO 3)
    #[arg(long)]
    resp3: bool,
    /// User name for AUTH
    #[arg(long, default_value = "default")]
    user: String,
    /// Password for AUTH
    #[arg(long, env = "WINDROW_LOAD_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Process of the server, on this machine: measures its processor time per request. May be given several times
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Client")]
pub(crate) struct ClientArgs {
    /// Connections in all. On a cluster each thread has at least one to each node
    #[arg(short, long, default_value_t = 50)]
    connections: usize,
    /// Threads, each with its part of the connections and of the rate
    #[arg(short, long, default_value_t = 1)]
    threads: usize,
    /// Cores to pin the threads to, such as 1,4-7: the first thread to the first, and around again
    #[arg(long, value_parser = cores, value_name = "LIST")]
    cores: Option<Cores>,
    /// Requests under way on one connection at most [default: 1 in a closed loop, 1024 with --rate]
    #[arg(short = 'P', long, value_name = "N")]
    pipeline: Option<usize>,
    /// Send a connection's next requests only when all before are answered, as redis-benchmark does
    #[arg(long)]
    batched: bool,
    /// Requests per second in all, sent by the clock (open loop), such as 50k. Without it: closed loop
    #[arg(short, long, value_parser = units::count)]
    rate: Option<u64>,
    /// Spacing of requests with --rate
    #[arg(long, value_enum, default_value_t = Arrivals::Constant, requires = "rate")]
    arrivals: Arrivals,
    /// Wait busily instead of sleeping: sends on time to the microsecond, and takes whole cores
    #[arg(long)]
    spin: bool,
    /// A request that the client sends later than this by its own fault counts as late
    #[arg(long, value_parser = units::duration, default_value = "1ms", value_name = "TIME")]
    late: Duration,
    /// How long to wait for answers, and for a server that is gone, at the end
    #[arg(long, value_parser = units::duration, default_value = "5s", value_name = "TIME")]
    drain: Duration,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Data")]
pub(crate) struct DataArgs {
    /// Number of keys
    #[arg(short, long, value_parser = units::count, default_value = "100k")]
    keys: u64,
    /// What keys start with; a number follows
    #[arg(long, default_value = "key:", value_name = "TEXT")]
    key_prefix: String,
    /// Length of a key in bytes
    #[arg(long, default_value_t = 16, value_name = "BYTES")]
    key_size: usize,
    /// Sizes of values: 100, 10..4k (each as likely), or 64:50,1k:30,64k:20 (with weights) [default: 100, or 1000 with
    /// --workload]
    #[arg(short, long, value_parser = Sizes::parse)]
    value: Option<Sizes>,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Name of the run in results and reports [default: the kind of load and the address]
    #[arg(short, long)]
    label: Option<String>,
    /// Length of the intervals of the progress line and the plots
    #[arg(long, value_parser = units::duration, default_value = "1s", value_name = "TIME")]
    interval: Duration,
    /// Write the result as JSON, for `report`
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the percentiles in HdrHistogram's text form, in milliseconds
    #[arg(long, value_name = "FILE")]
    pub(crate) hgrm: Option<PathBuf>,
    /// Write a histogram of each interval in HdrHistogram's log format
    #[arg(long, value_name = "FILE")]
    pub(crate) hlog: Option<PathBuf>,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// No progress lines
    #[arg(short, long)]
    quiet: bool,
}

#[derive(Args, Debug)]
pub(crate) struct LoadArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    client: ClientArgs,
    #[command(flatten)]
    data: DataArgs,
    #[command(flatten)]
    load: MixArgs,
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

#[derive(Args, Debug)]
#[command(next_help_heading = "Load")]
pub(crate) struct MixArgs {
    /// A core workload of YCSB: sets mix, distribution and value size where these are not given
    #[arg(short, long, value_enum, ignore_case = true, conflicts_with = "mix")]
    workload: Option<Workload>,
    /// Operations with weights, of get, set, insert (a new key), rmw (get, then set), del, exists, incr, ping
    /// [default: get=50,set=50]
    #[arg(short, long, value_parser = mix::parse, value_name = "NAME=WEIGHT,...")]
    mix: Option<Pairs>,
    /// Any command with {key} and {value} in it, after a weight: '3:SETEX {key} 60 {value}'. May be given several times
    #[arg(long, value_parser = mix::parse_custom, value_name = "WEIGHT:WORDS", allow_hyphen_values = true)]
    command: Vec<(u32, String)>,
    /// Which keys are asked for
    #[arg(short, long, value_enum)]
    distribution: Option<DistributionName>,
    /// Exponent of zipfian and latest, above 0 and below 1
    #[arg(long, default_value_t = THETA)]
    theta: f64,
    /// How long to measure
    #[arg(long, value_parser = units::duration, default_value = "10s", value_name = "TIME")]
    duration: Duration,
    /// End after so many requests instead
    #[arg(short = 'n', long, value_parser = units::count, conflicts_with_all = ["duration", "warmup"])]
    requests: Option<u64>,
    /// Drive the load for this long before measuring
    #[arg(long, value_parser = units::duration, default_value = "0s", value_name = "TIME")]
    warmup: Duration,
    /// Check every value that is read: that it is whole, the key's own, and not older than what was confirmed before
    /// the read was sent. Nobody else may write these keys meanwhile
    #[arg(long)]
    verify: bool,
    /// With --verify: each key has a value from the start (as after `load`), so that an absence is an error
    #[arg(long, requires = "verify")]
    present: bool,
    /// With --verify: values that were replaced less than this before the read are allowed, for replicas that lag
    #[arg(long, requires = "verify", value_parser = units::duration, default_value = "0s", value_name = "TIME")]
    stale: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct ReportArgs {
    /// Results, as `--json` wrote them
    #[arg(required = true)]
    pub(crate) results: Vec<PathBuf>,
    /// The page to write
    #[arg(short, long, default_value = "report.html")]
    pub(crate) output: PathBuf,
    /// Write the plots as SVG files into this directory too
    #[arg(long, value_name = "DIR")]
    pub(crate) svg: Option<PathBuf>,
    /// Title of the page
    #[arg(long, default_value = "Load on RESP servers")]
    pub(crate) title: String,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Arrivals {
    /// At equal distances
    Constant,
    /// At random, as from many clients that don't know of each other
    Poisson,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DistributionName {
    /// Each key as often
    Uniform,
    /// YCSB's scrambled zipfian: few keys take most requests, and lie anywhere
    Zipfian,
    /// The newest keys most often
    Latest,
    /// One after the other
    Sequential,
}

/// Operations with weights: one argument, not one for each.
type Pairs = Vec<(String, u32)>;

/// Numbers of cores.
#[derive(Clone, Debug)]
struct Cores(Vec<usize>);

fn cores(text: &str) -> Result<Cores, String> {
    let number = |text: &str| text.parse::<usize>().map_err(|_| format!("{text} is not a core's number"));
    let mut cores = Vec::new();
    for item in text.split(',') {
        match item.split_once('-') {
            None => cores.push(number(item)?),
            Some((first, last)) => cores.extend(number(first)?..=number(last)?),
        }
    }
    if cores.is_empty() { Err(format!("{text} names no core")) } else { Ok(Cores(cores)) }
}

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
        pace: client.rate.map_or(Pace::Closed, |rate| Pace::Open {
            per_second: rate as f64,
            poisson: matches!(client.arrivals, Arrivals::Poisson),
        }),
        end: what.end,
        warmup: what.warmup,
        drain: client.drain,
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
