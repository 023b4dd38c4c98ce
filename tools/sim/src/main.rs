//! Runs seeds: `windrow-sim --seed N | --seeds A..B | --minutes M [--mutation NAME]`.
#![expect(clippy::print_stdout, reason = "a command-line program answers on stdout")]

use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use windrow_sim::{Kind, Mutation, Stats, run, run_loudly};

const USAGE: &str = "\
usage: windrow-sim [--cluster] [--seed N [--verbose] | --seeds A..B | --minutes M [--from N]] [--mutation NAME]
       windrow-sim --mutations [--seeds A..B]

  --cluster         replicas of one partition, instead of a node whose partitions have one copy

  --seed N          one run; with --verbose every event is printed
  --seeds A..B      the runs of these seeds, B left out; stops at the first that fails
  --minutes M       as many seeds as that takes, from --from on (0)
  --mutation NAME   with a known bug put back: exits with 1 as soon as it has been found, as any failure does
  --mutations       for each known bug of the driver, how many seeds it takes to find it
";
/// Seeds that a known bug may take.
const MUTATION_SEEDS: Range<u64> = 0..400;

#[derive(Default)]
struct Options {
    seed: Option<u64>,
    seeds: Option<Range<u64>>,
    minutes: Option<f64>,
    from: u64,
    mutation: Option<Mutation>,
    mutations: bool,
    verbose: bool,
    cluster: bool,
}

fn parse(args: &[String]) -> Option<Options> {
    let mut options = Options::default();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => options.seed = Some(args.next()?.parse().ok()?),
            "--seeds" => {
                let (start, end) = args.next()?.split_once("..")?;
                options.seeds = Some(start.parse().ok()?..end.parse().ok()?);
            }
            "--minutes" => options.minutes = Some(args.next()?.parse().ok()?),
            "--from" => options.from = args.next()?.parse().ok()?,
            "--mutation" => options.mutation = Some(Mutation::named(args.next()?)?),
            "--mutations" => options.mutations = true,
            "--cluster" => options.cluster = true,
            "--verbose" => options.verbose = true,
            _ => return None,
        }
    }
    let ways = [options.seed.is_some(), options.seeds.is_some(), options.minutes.is_some()];
    let given = ways.into_iter().filter(|given| *given).count();
    (given == 1 || options.mutations && given == 0).then_some(options)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = parse(&args) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("commit {}", commit());
    if options.mutations {
        return mutations(options.seeds.unwrap_or(MUTATION_SEEDS));
    }
    let seeds = options.seeds.or(options.seed.map(|seed| seed..seed + 1)).unwrap_or(options.from..u64::MAX);
    let limit = options.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let is_cluster = options.cluster || options.mutation.is_some_and(Mutation::is_of_cluster);
    let kind = if is_cluster { Kind::Cluster } else { Kind::Node };
    campaign(kind, seeds, limit, options.mutation, options.verbose)
}

fn campaign(
    kind: Kind,
    seeds: Range<u64>,
    limit: Option<Duration>,
    mutation: Option<Mutation>,
    verbose: bool,
) -> ExitCode {
    let begun = Instant::now();
    let mut shown = begun;
    let mut total = Stats::default();
    for seed in seeds {
        let result = if verbose { run_loudly(kind, seed, mutation) } else { run(kind, seed, mutation) };
        match result {
            Ok(passed) => {
                if verbose || total.seeds == 0 {
                    println!("seed {seed} passed, trace {:016x}", passed.trace);
                }
                total.add(&passed.stats);
            }
            Err(failure) => {
                println!("seed {seed} FAILED at {} µs: {}", failure.time_us, failure.problem);
                let flag = if kind == Kind::Cluster { "--cluster " } else { "" };
                println!("repeat it with: windrow-sim {flag}--seed {seed}   (commit {})", commit());
                return ExitCode::FAILURE;
            }
        }
        if shown.elapsed() >= Duration::from_secs(10) {
            shown = Instant::now();
            println!("{:.0} s: {total}", begun.elapsed().as_secs_f64());
            let _ignored = std::io::stdout().flush();
        }
        if limit.is_some_and(|limit| begun.elapsed() >= limit) {
            break;
        }
    }
    println!("{total}");
    let commands: Vec<String> = total.commands.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("commands: {}", commands.join(" "));
    println!("{:.1} seeds a second", total.seeds as f64 / begun.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

/// For each known bug the seeds that it takes.
fn mutations(seeds: Range<u64>) -> ExitCode {
    std::panic::set_hook(Box::new(|_| {}));
    let mut all_found = true;
    for (name, mutation) in Mutation::ALL {
        let kind = if mutation.is_of_cluster() { Kind::Cluster } else { Kind::Node };
        let found = seeds.clone().find_map(|seed| run(kind, seed, Some(mutation)).err().map(|failure| (seed, failure)));
        match found {
            Some((seed, failure)) => {
                let count = seed - seeds.start + 1;
                println!("{name:<26} {count:>4} seeds: {}", failure.problem.chars().take(120).collect::<String>());
            }
            None => {
                all_found = false;
                println!("{name:<26} NOT FOUND in {} seeds", seeds.end - seeds.start);
            }
        }
    }
    if all_found { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The commit that this was built from, or where that is not known, that it is not.
fn commit() -> String {
    let output = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().filter(|output| output.status.success());
    text.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
