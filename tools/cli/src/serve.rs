//! `windrow serve`.

use std::io::{IsTerminal, stderr};

use tracing::Level;
use windrow_node::settings::{Configured, Durability, LogFormat, LogLevel, Settings};
use windrow_node::{Serving, serve};

use crate::commands::MODE;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output;
use crate::start::failure_of;
use crate::text::bytes;

/// Serves clients until it is told to stop.
pub(crate) fn run(configured: Configured) -> Result<Exit, Failure> {
    let settings = configured.settings().clone();
    start_logging(&settings);
    let ready = |serving: &Serving| {
        tell(serving);
        // A node whose greeting nobody reads serves all the same.
        let _unimportant = output::print(&greeting(&settings, serving));
    };
    let reason = serve(configured, ready).map_err(|error| failure_of(&error))?;
    tracing::info!(?reason, "stopped in order: everything confirmed is on disk");
    Ok(Exit::Ok)
}

/// The process writes about itself to stderr.
pub(crate) fn start_logging(settings: &Settings) {
    let level = match settings.log_level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let builder = tracing_subscriber::fmt().with_writer(stderr).with_max_level(level);
    match settings.log_format {
        LogFormat::Text => builder.with_ansi(stderr().is_terminal()).init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Logs what opening the partitions found that somebody may want to know.
pub(crate) fn tell(serving: &Serving) {
    for (partition, report) in &serving.partitions {
        let partition = partition.get();
        tracing::info!(
            partition,
            segments = report.segments,
            log_bytes = report.segment_bytes,
            end = report.end.get(),
            epoch = report.epoch.get(),
            "opened"
        );
        if let Some(cut) = &report.cut {
            tracing::warn!(
                partition,
                end = cut.end.get(),
                bytes = cut.len,
                whole_records = cut.whole_records,
                cause = %cut.cause,
                "the log had a torn tail, which was cut: nothing in it was ever confirmed"
            );
        }
        if !report.cache_dropped.is_empty() {
            let segments: Vec<u64> = report.cache_dropped.iter().map(|base| base.get()).collect();
            tracing::warn!(partition, ?segments, "the page cache held what a failed flush had not written: dropped");
        }
        if !report.unknown.is_empty() {
            tracing::warn!(partition, files = ?report.unknown, "files that are none of ours were left alone");
        }
        if report.out_of_space {
            tracing::error!(partition, "no space for a log segment: reads work, writes will when there is room");
        }
    }
}

/// A few lines for whoever started it: what runs, where the data is, what to type next.
pub(crate) fn greeting(settings: &Settings, serving: &Serving) -> String {
    let addresses: Vec<String> = serving.addresses.iter().map(ToString::to_string).collect();
    let cpus: Vec<String> = serving.cpus.iter().map(ToString::to_string).collect();
    let log_bytes = serving.partitions.iter().map(|(_, report)| report.segment_bytes).sum();
    let durability = match settings.durability {
        Durability::Commit => "commit: a write is confirmed once it is on disk".to_owned(),
        Durability::Memory => format!(
            "memory: a write is confirmed at once; a power cut may take back the last {} ms",
            settings.memory_flush_interval.as_millis()
        ),
    };
    let dir = std::path::absolute(&serving.dir).unwrap_or_else(|_| serving.dir.clone());
    let admin = match serving.admin {
        Some(address) => format!("http://{address}/metrics"),
        None => "off".to_owned(),
    };
    let first = serving.addresses.first();
    let host = first.filter(|address| !address.ip().is_loopback() && !address.ip().is_unspecified());
    let host = host.map_or_else(String::new, |address| format!(" -h {}", address.ip()));
    let (role, command) = match serving.leader {
        Some(leader) => (
            format!("role        standby of process {leader}: serves reads, takes over when it ends\n"),
            "GET greeting",
        ),
        None => (String::new(), "SET greeting hello"),
    };
    let cluster = if MODE == "shared-nothing" { " -c" } else { "" };
    format!(
        "Windrow {} ({MODE}), a durable key-value store for Redis clients\n\
         data        {} ({} partitions, {} of log)\n\
         cores       {} ({})\n\
         durability  {durability}\n\
         admin       {admin}\n\
         {role}clients     {}\n\
         try         redis-cli{cluster}{host} -p {} {command}\n",
        env!("CARGO_PKG_VERSION"),
        dir.display(),
        serving.partitions.len(),
        bytes(log_bytes),
        cpus.len(),
        cpus.join(","),
        addresses.join(" "),
        first.map_or(settings.port, |address| address.port()),
    )
}
