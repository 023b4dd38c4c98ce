//! `windrow-torture crash | linearize`: see the usage.
#![expect(clippy::print_stdout, reason = "a command-line program answers on stdout")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use windrow_torture::linear::cluster::Cluster;
use windrow_torture::linear::pair::Pair;
use windrow_torture::linear::system::{SingleNode, System};
use windrow_torture::{Error, crash, linear, pulse};

const USAGE: &str = "\
usage: windrow-torture crash [--rounds N] [--kill N] [--faults N] [--seed S] [--binary PATH] [--out FILE] [-- FLAGS]
       windrow-torture linearize [--minutes M] [--nodes 1|2|3] [--rate R] [--seed S] [--binary PATH] [--out FILE] [-- FLAGS]

  crash             power cuts, kills and failing disks under load; everything confirmed is looked for afterwards
    --rounds N      power cuts: needs root, FUSE, loop devices, mkfs.ext4 or mkfs.xfs, and xfs_io for some kinds (100)
    --kill N        kills of the process alone (50)
    --faults N      rounds of each: failing flush, full disk, bit flip, frozen disk (4)
    --planted       at most N power cuts of a server that confirms before it flushes: succeeds if the loss is found
  linearize         concurrent clients on a server that is killed and paused; what they saw must have one order
    --minutes M     how long (1)
    --nodes N       1; 2: a leader and its standby; 3: nodes that replicate and have a network that is cut (1)
    --planted       the server loses its data when it is killed: succeeds if that is found
    --rate R        replies a second, on average, below which the run does not count (200)

  --seed S          repeats the choices of another run; its timing is the machine's (by the clock)
  --binary PATH     the server (`windrow` beside this program)
  --out FILE        writes the figures as JSON
  -- FLAGS          more flags for `windrow serve`
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.split_first() {
        Some((&"crash", rest)) => match Common::parse(rest, &["--rounds", "--kill", "--faults"]) {
            Ok(common) if common.planted => planted(&common),
            Ok(common) => crash(&common),
            Err(problem) => usage(&problem),
        },
        Some((&"linearize", rest)) => match Common::parse(rest, &["--minutes", "--rate", "--nodes"]) {
            Ok(common) => linearize(&common),
            Err(problem) => usage(&problem),
        },
        _ => usage("no such command"),
    }
}

fn usage(problem: &str) -> ExitCode {
    eprint!("windrow-torture: {problem}\n\n{USAGE}");
    ExitCode::from(2)
}

/// The flags that both commands have, and the numbers that only one has.
struct Common {
    seed: u64,
    binary: PathBuf,
    out: Option<PathBuf>,
    flags: Vec<String>,
    /// Something is broken on purpose, and must be found.
    planted: bool,
    begun: Instant,
    numbers: Vec<(String, f64)>,
}

impl Common {
    fn parse(args: &[&str], numbers: &[&str]) -> Result<Self, String> {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let beside = std::env::current_exe().map_err(|error| error.to_string())?.with_file_name("windrow");
        let seed = u64::from(clock.subsec_nanos());
        let mut common = Self {
            seed,
            binary: beside,
            out: None,
            flags: Vec::new(),
            planted: false,
            begun: Instant::now(),
            numbers: Vec::new(),
        };
        let mut args = args.iter();
        while let Some(&arg) = args.next() {
            if arg == "--" {
                common.flags = args.map(|&flag| flag.to_owned()).collect();
                break;
            }
            if arg == "--planted" {
                common.planted = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("{arg} takes a value"))?;
            let wrong = |_| format!("{arg} {value}: not a number");
            match arg {
                "--seed" => common.seed = value.parse().map_err(|_| format!("--seed {value}: not a whole number"))?,
                "--binary" => common.binary = PathBuf::from(value),
                "--out" => common.out = Some(PathBuf::from(value)),
                name if numbers.contains(&name) => {
                    common.numbers.push((name.to_owned(), value.parse().map_err(wrong)?))
                }
                _ => return Err(format!("`{arg}` is not a flag of this command")),
            }
        }
        if !common.binary.exists() {
            return Err(format!("there is no {}: build it with `cargo build -p windrow-cli`", common.binary.display()));
        }
        Ok(common)
    }

    fn number(&self, name: &str, default: f64) -> f64 {
        self.numbers.iter().find(|(given, _)| given == name).map_or(default, |(_, value)| *value)
    }

    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "saturates, and nobody has more rounds"
    )]
    fn count(&self, name: &str, default: u32) -> u32 {
        self.number(name, f64::from(default)) as u32
    }

    /// Prints the end of a run, and writes it to a file where one is named.
    fn finish(&self, command: &str, mut result: serde_json::Value, failures: &[String]) -> ExitCode {
        result["command"] = command.into();
        result["seed"] = self.seed.into();
        result["commit"] = commit().into();
        result["flags"] = self.flags.clone().into();
        result["failures"] = failures.into();
        result["machine"] = pulse::describe(self.begun.elapsed()).into();
        println!("{result:#}");
        if let Some(path) = &self.out
            && let Err(error) = std::fs::write(path, format!("{result:#}\n"))
        {
            eprintln!("windrow-torture: cannot write {}: {error}", path.display());
            return ExitCode::FAILURE;
        }
        failures.iter().for_each(|failure| eprintln!("FAILED: {failure}"));
        if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Does the search find a loss that is there?
fn planted(common: &Common) -> ExitCode {
    let mut options = options(common);
    (options.planted, options.kills, options.faults) = (true, 0, 0);
    let outcome = crash::run(&options, &mut |_| {});
    outcome.skipped.iter().for_each(|skipped| println!("skipped: {skipped}"));
    match (outcome.failures.first(), outcome.tally.get("power cuts")) {
        (Some(failure), cuts) => {
            println!("found after {cuts} power cuts: {}", failure.lines().next().unwrap_or_default());
            ExitCode::SUCCESS
        }
        (None, 0) => ExitCode::SUCCESS,
        (None, cuts) => {
            eprintln!("windrow-torture: {cuts} power cuts, and the planted loss was not found");
            ExitCode::FAILURE
        }
    }
}

fn options(common: &Common) -> crash::Options {
    crash::Options {
        cuts: common.count("--rounds", 100),
        kills: common.count("--kill", 50),
        faults: common.count("--faults", 4),
        seed: common.seed,
        planted: false,
        binary: common.binary.clone(),
        flags: common.flags.clone(),
    }
}

fn crash(common: &Common) -> ExitCode {
    let options = options(common);
    println!("seed {}, commit {}, server {}", options.seed, commit(), options.binary.display());
    let outcome = crash::run(&options, &mut |line| println!("{line}"));
    outcome.skipped.iter().for_each(|skipped| println!("skipped: {skipped}"));
    let result = serde_json::json!({
        "counts": outcome.tally.to_json(),
        "skipped": outcome.skipped,
        "seconds": outcome.elapsed,
    });
    common.finish("crash", result, &outcome.failures)
}

fn linearize(common: &Common) -> ExitCode {
    let options = linear::Options {
        duration: Duration::from_secs_f64(common.number("--minutes", 1.0).max(0.0) * 60.0),
        seed: common.seed,
        rate_min: common.number("--rate", 200.0),
        dump: common.out.as_ref().map(|path| path.with_extension("history")),
    };
    println!("seed {}, commit {}, server {}", options.seed, commit(), common.binary.display());
    let started = match common.count("--nodes", 1) {
        1 => SingleNode::start(&common.binary, &common.flags, common.planted)
            .map(|node| Box::new(node) as Box<dyn System>),
        2 => Pair::start(&common.binary, &common.flags).map(|pair| Box::new(pair) as Box<dyn System>),
        3 => Cluster::start(&common.binary, &common.flags).map(|set| Box::new(set) as Box<dyn System>),
        other => return usage(&format!("--nodes {other}: 1 to 3")),
    };
    let outcome = started.and_then(|mut system| linear::run(system.as_mut(), &options, &mut |line| println!("{line}")));
    match outcome {
        Err(Error::Violation(text)) if common.planted => {
            println!("found: {}", text.lines().next().unwrap_or_default());
            ExitCode::SUCCESS
        }
        _ if common.planted => {
            eprintln!("windrow-torture: the planted loss was not found");
            ExitCode::FAILURE
        }
        Ok(outcome) => common.finish("linearize", outcome.to_json(), &[]),
        Err(error) => common.finish("linearize", serde_json::json!({}), &[error.to_string()]),
    }
}

/// The commit that this runs on, or that it is not known.
fn commit() -> String {
    let output = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let text = output.ok().filter(|output| output.status.success());
    text.map_or_else(|| "unknown".into(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
