//! The command line.

mod plan;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::keys::THETA;
use crate::mix::{self, Workload};
use crate::units;
use crate::values::Sizes;

/// No line is longer than the narrowest terminal: what is wrapped anew cannot be copied.
const EXAMPLES: &str = "\
`windrow-load run --help` lists what a run can be told.

Examples:
  Fill a million keys, then ask at a fixed rate with YCSB's workload B:
    windrow-load load --keys 1M --value 1000
    windrow-load run --keys 1M --workload b --rate 50k --duration 60s \\
      --json b.json
  What the server can do at most, pipelined, from one pinned thread, and what
  a request costs the server:
    windrow-load run --mix set=1 --pipeline 16 --connections 50 --cores 1 \\
      --pid $(pidof redis-server)
  A few keys that take most of the requests, values of several sizes:
    windrow-load run --distribution zipfian --value 64:50,1k:30,64k:20
  Check every value that is read while half of the requests write:
    windrow-load run --verify --mix get=50,set=50 --value 24..4k --duration 5m
  A cluster: each key goes to its node:
    windrow-load run --cluster --address 10.0.0.1:6379 --threads 2
  Compare runs in one page:
    windrow-load report a.json b.json -o page.html

Latency:
  With --rate, requests are due by the clock, and latency counts from when a
  request was due, not from when it could be sent: a server that stalls is
  charged for everything that waited (no coordinated omission). If the client
  itself sends late, the result says so (\"limit: THE CLIENT\") and how late.
  Without --rate, each connection sends when a reply has come in (closed
  loop): the figure to read is throughput; its latencies hide stalls.

Exit status: 0 done; 1 the run failed; 2 wrong usage; 3 --verify or `check`
found wrong values.";

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
    /// A command sent after each batch, such as 'WAIT 1 0': the batch's requests count as answered when it is. An
    /// error, or a number smaller than the command's first, counts against all of them
    #[arg(long, value_name = "WORDS", requires = "batched", conflicts_with = "cluster")]
    batch_end: Option<String>,
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
    /// Give up a run by number (--requests, load, check) when nothing at all has been answered for this long
    #[arg(long, value_parser = units::duration, default_value = "30s", value_name = "TIME")]
    stall: Duration,
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
