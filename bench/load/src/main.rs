//! `windrow-load`: an open-loop load generator for anything that speaks RESP.
//!
//! One thread drives its own connections through epoll; what is measured stays with the thread and is handed over
//! interval by interval. Latency of a fixed rate counts from the time at which a request was due.

mod args;
mod cluster;
mod command;
mod error;
mod keys;
mod link;
mod measure;
mod mix;
mod output;
mod pace;
mod plan;
mod process;
mod report;
mod resp;
mod result;
mod run;
mod summary;
#[cfg(test)]
mod tests;
mod units;
mod values;
mod verify;
mod worker;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::args::{Cli, Command, OutputArgs, ReportArgs};
use crate::error::Error;
use crate::output::{files, text};
use crate::plan::Plan;
use crate::result::RunResult;

/// The run failed.
const FAILED: u8 = 1;
/// The command line is wrong, as clap says it.
const USAGE: u8 = 2;
/// Values were not what had been written.
const WRONG_VALUES: u8 = 3;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match perform(&cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("windrow-load: {error}");
            ExitCode::from(if matches!(error, Error::Usage(_)) { USAGE } else { FAILED })
        }
    }
}

fn perform(command: &Command) -> Result<ExitCode, Error> {
    match command {
        Command::Load(args) => drive(&args.load_plan()?, &args.output),
        Command::Check(args) => drive(&args.check_plan()?, &args.output),
        Command::Run(args) => drive(&args.plan()?, &args.output),
        Command::Report(args) => write_report(args),
    }
}

fn drive(plan: &Plan, output: &OutputArgs) -> Result<ExitCode, Error> {
    let run = run::run(plan)?;
    let result = &run.result;
    print(&text::render(result))?;
    if let Some(path) = &output.json {
        files::json(path, result)?;
    }
    if let Some(path) = &output.hgrm {
        files::write(path, &files::hgrm(&result.latency.histogram()))?;
    }
    if let Some(path) = &output.hlog {
        files::interval_log(path, result, plan.interval, &run.intervals)?;
    }
    if let Some(path) = &output.html {
        files::write(path, &report::page(&result.label, std::slice::from_ref(result)))?;
    }
    Ok(if result.faults() > 0 { ExitCode::from(WRONG_VALUES) } else { ExitCode::SUCCESS })
}

fn write_report(args: &ReportArgs) -> Result<ExitCode, Error> {
    let results = args.results.iter().map(|path| RunResult::read(path)).collect::<Result<Vec<_>, _>>()?;
    files::write(&args.output, &report::page(&args.title, &results))?;
    if let Some(dir) = &args.svg {
        std::fs::create_dir_all(dir).map_err(|source| Error::File { path: dir.clone(), source })?;
        for (name, svg) in report::plots(&results) {
            files::write(&dir.join(format!("{name}.svg")), &svg)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<(), Error> {
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|source| Error::Client { what: "output", source })
}
