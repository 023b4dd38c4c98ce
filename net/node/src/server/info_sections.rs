//! The sections of INFO, one function each.

use super::identity::Identity;
use super::info::{Facts, Report};
use crate::metrics::{PartitionGauges, error_name};
use crate::settings::Durability;

/// Bytes as people read them: `1.50M`.
#[expect(clippy::cast_precision_loss, reason = "two digits for people")]
pub(super) fn human(bytes: u64) -> String {
    let units = [("G", 1_u64 << 30), ("M", 1 << 20), ("K", 1 << 10)];
    let unit = units.into_iter().find(|&(_, size)| bytes >= size);
    unit.map_or_else(|| format!("{bytes}B"), |(name, size)| format!("{:.2}{name}", bytes as f64 / size as f64))
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(of: u64, to: u64) -> String {
    if to == 0 { "0.00".to_owned() } else { format!("{:.2}", of as f64 / to as f64) }
}

fn system() -> String {
    let uname = rustix::system::uname();
    let parts = [uname.sysname(), uname.release(), uname.machine()];
    parts.map(|part| part.to_string_lossy().into_owned()).join(" ")
}

pub(super) fn server(facts: &Facts<'_>, report: &mut Report) {
    let identity = &facts.node.identity;
    let uptime = facts.node.metrics.uptime().as_secs();
    let micros = u128::from(facts.now.unix.get()) * 1_000;
    report.section("Server");
    report.line("redis_version", Identity::REDIS_VERSION);
    report.line("windrow_version", Identity::VERSION);
    report.line("server_name", "windrow");
    report.line("redis_git_sha1", "00000000");
    report.line("redis_git_dirty", 0);
    report.line("redis_build_id", "0");
    report.line("redis_mode", Identity::redis_mode());
    report.line("windrow_mode", Identity::MODE);
    report.line("os", system());
    report.line("arch_bits", usize::BITS);
    report.line("monotonic_clock", "POSIX clock_gettime");
    report.line("multiplexing_api", "io_uring");
    report.line("process_id", std::process::id());
    report.line("run_id", &identity.run_id);
    report.line("tcp_port", identity.port);
    report.line("server_time_usec", micros);
    report.line("uptime_in_seconds", uptime);
    report.line("uptime_in_days", uptime / 86_400);
    report.line("hz", 10);
    report.line("configured_hz", 10);
    report.line("io_threads_active", 0);
    report.line("cores", facts.node.metrics.cores().len());
    report.line("executable", &identity.executable);
    let file = facts.node.configured().file().map(|path| path.display().to_string());
    report.line("config_file", file.unwrap_or_default());
}

pub(super) fn clients(facts: &Facts<'_>, report: &mut Report) {
    let metrics = &facts.node.metrics;
    report.section("Clients");
    report.line("connected_clients", metrics.sum(|core| core.connections.get()));
    report.line("unauthenticated_clients", metrics.sum(|core| core.connections_unauthenticated.get()));
    report.line("cluster_connections", 0);
    report.line("maxclients", facts.live.settings.max_clients);
    report.line("client_recent_max_input_buffer", metrics.max(|core| core.input_buffer_bytes_max.get()));
    report.line("client_recent_max_output_buffer", metrics.max(|core| core.output_buffer_bytes_max.get()));
    report.line("blocked_clients", metrics.sum(|core| core.clients_blocked.get()));
    report.line("tracking_clients", 0);
    report.line("clients_in_timeout_table", 0);
}

pub(super) fn memory(facts: &Facts<'_>, report: &mut Report) {
    let metrics = &facts.node.metrics;
    // The mapped log is page cache, which the system takes back as it needs it: counted as memory of the process, it
    // would look like a leak to whoever watches these fields.
    let (memory, peak) = facts.memory();
    let (used, rss) = (memory.anonymous, memory.anonymous);
    report.section("Memory");
    report.line("used_memory", used);
    report.line("used_memory_human", human(used));
    report.line("used_memory_rss", rss);
    report.line("used_memory_rss_human", human(rss));
    report.line("used_memory_peak", peak);
    report.line("used_memory_peak_human", human(peak));
    report.line("used_memory_index", metrics.partition_sum(|partition| partition.index_bytes.get()));
    report.line("used_memory_tail", metrics.partition_sum(|partition| partition.tail_memory_bytes.get()));
    report.line("mem_clients_normal", metrics.sum(|core| core.buffer_bytes.get()));
    report.line("total_system_memory", memory.machine);
    report.line("total_system_memory_human", human(memory.machine));
    report.line("maxmemory", 0);
    report.line("maxmemory_human", "0B");
    report.line("maxmemory_policy", "noeviction");
    report.line("mem_fragmentation_ratio", ratio(rss, used));
    report.line("mem_fragmentation_bytes", rss.saturating_sub(used));
    report.line("mem_allocator", "libc");
    report.line("lazyfree_pending_objects", 0);
}

/// The log is what Redis calls the append-only file: always on, never rewritten.
pub(super) fn persistence(facts: &Facts<'_>, report: &mut Report) {
    let metrics = &facts.node.metrics;
    let log_bytes = metrics.partition_sum(|partition| partition.segment_bytes.get());
    let any = |gauge: fn(&PartitionGauges) -> u64| metrics.partitions().iter().any(|partition| gauge(partition) > 0);
    let no_space = any(|partition| partition.out_of_space.get());
    let refused = any(|partition| partition.segment_refused.get());
    report.section("Persistence");
    report.line("loading", 0);
    report.line("async_loading", 0);
    report.line("rdb_changes_since_last_save", 0);
    report.line("rdb_bgsave_in_progress", 0);
    report.line("rdb_last_save_time", facts.node.last_durable(facts.now.unix));
    report.line("rdb_last_bgsave_status", "ok");
    report.line("rdb_last_bgsave_time_sec", -1);
    report.line("rdb_current_bgsave_time_sec", -1);
    report.line("aof_enabled", 1);
    report.line("aof_rewrite_in_progress", 0);
    report.line("aof_rewrite_scheduled", 0);
    report.line("aof_last_rewrite_time_sec", -1);
    report.line("aof_current_rewrite_time_sec", -1);
    report.line("aof_last_bgrewrite_status", "ok");
    report.line("aof_last_write_status", if no_space || refused { "err" } else { "ok" });
    report.line(
        "segment_failure",
        match (refused, no_space) {
            (true, _) => "refused",
            (false, true) => "no-space",
            (false, false) => "none",
        },
    );
    let damaged = || metrics.partitions().iter().enumerate().filter(|(_, one)| one.damaged_segments.get() > 0);
    report.line("damaged_segments", metrics.partition_sum(|partition| partition.damaged_segments.get()));
    match damaged().next() {
        None => report.line("damaged_first", ""),
        Some((partition, one)) => {
            let segment = one.first_damaged_segment.get();
            report.line("damaged_first", format_args!("partition={partition},segment={segment:020}"));
        }
    }
    report.line("aof_current_size", log_bytes);
    report.line("aside_bytes", metrics.partition_sum(|partition| partition.aside_bytes.get()));
    report.line("aof_base_size", 0);
    report.line("aof_buffer_length", metrics.partition_sum(PartitionGauges::at_risk_bytes));
    report.line("aof_pending_bio_fsync", 0);
    report.line("aof_delayed_fsync", 0);
}

pub(super) fn stats(facts: &Facts<'_>, report: &mut Report) {
    let metrics = &facts.node.metrics;
    let totals = facts.totals();
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let kbps = |bytes: u64| format!("{:.2}", bytes as f64 / 1_024.0);
    report.section("Stats");
    report.line("total_connections_received", totals.connections_received);
    report.line("total_commands_processed", totals.commands_processed);
    report.line("instantaneous_ops_per_sec", metrics.sum(|core| core.commands_per_second.get()));
    report.line("total_net_input_bytes", totals.net_input_bytes);
    report.line("total_net_output_bytes", totals.net_output_bytes);
    report.line("instantaneous_input_kbps", kbps(metrics.sum(|core| core.input_bytes_per_second.get())));
    report.line("instantaneous_output_kbps", kbps(metrics.sum(|core| core.output_bytes_per_second.get())));
    report.line("rejected_connections", totals.connections_rejected);
    report.line("sync_full", 0);
    report.line("sync_partial_ok", 0);
    report.line("sync_partial_err", 0);
    report.line("expired_keys", totals.keys_expired);
    report.line("evicted_keys", 0);
    report.line("evicted_clients", 0);
    report.line("keyspace_hits", totals.keyspace_hits);
    report.line("keyspace_misses", totals.keyspace_misses);
    report.line("pubsub_channels", 0);
    report.line("pubsub_patterns", 0);
    report.line("latest_fork_usec", 0);
    report.line("total_forks", 0);
    report.line("migrate_cached_sockets", 0);
    report.line("acl_access_denied_auth", totals.authentication_failures);
    report.line("total_error_replies", totals.error_replies());
    report.line("client_query_buffer_limit_disconnections", totals.input_limit_disconnections);
    report.line("client_output_buffer_limit_disconnections", totals.output_limit_disconnections);
}

pub(super) fn cpu(facts: &Facts<'_>, report: &mut Report) {
    let (user, system) = crate::metrics::process_cpu_time();
    let cores = facts.node.metrics.cores();
    report.section("CPU");
    report.line("used_cpu_sys", format_args!("{:.6}", system.as_secs_f64()));
    report.line("used_cpu_user", format_args!("{:.6}", user.as_secs_f64()));
    report.line("used_cpu_sys_children", "0.000000");
    report.line("used_cpu_user_children", "0.000000");
    for (number, core) in cores.iter().enumerate() {
        let time = |micros: u64| std::time::Duration::from_micros(micros).as_secs_f64();
        let (system, user) = (time(core.counters.cpu_system_us.get()), time(core.counters.cpu_user_us.get()));
        report.line(format_args!("used_cpu_core_{number}"), format_args!("sys={system:.2},user={user:.2}"));
    }
}

pub(super) fn modules(_facts: &Facts<'_>, report: &mut Report) {
    report.section("Modules");
}

pub(super) fn commandstats(facts: &Facts<'_>, report: &mut Report) {
    report.section("Commandstats");
    for (name, command) in facts.node.metrics.command_names().iter().zip(&facts.totals().commands) {
        if command.calls + command.rejected > 0 {
            let line = format_args!(
                "calls={},usec={},usec_per_call={:.2},rejected_calls={},failed_calls={}",
                command.calls,
                command.nanos() / 1_000,
                command.usec_per_call(),
                command.rejected,
                command.failed
            );
            report.line(format_args!("cmdstat_{name}"), line);
        }
    }
}

pub(super) fn errorstats(facts: &Facts<'_>, report: &mut Report) {
    report.section("Errorstats");
    for (at, &count) in facts.totals().errors.iter().enumerate().filter(|&(_, &count)| count > 0) {
        report.line(format_args!("errorstat_{}", error_name(at)), format_args!("count={count}"));
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds for people")]
pub(super) fn latencystats(facts: &Facts<'_>, report: &mut Report) {
    report.section("Latencystats");
    for (at, name) in facts.node.metrics.command_names().iter().enumerate() {
        let Some(values) = facts.node.metrics.command_latency_since_reset(at) else { continue };
        let usec = |quantile| values.histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        let line = format_args!("p50={:.3},p99={:.3},p99.9={:.3}", usec(0.5), usec(0.99), usec(0.999));
        report.line(format_args!("latency_percentiles_usec_{name}"), line);
    }
}

pub(super) fn cluster(_facts: &Facts<'_>, report: &mut Report) {
    report.section("Cluster");
    report.line("cluster_enabled", u8::from(Identity::IS_CLUSTER));
}

/// What only Windrow has: what a crash could take, and the state of each log.
pub(super) fn windrow(facts: &Facts<'_>, report: &mut Report) {
    let metrics = &facts.node.metrics;
    let durability = facts.live.settings.durability;
    let sum = |read: fn(&PartitionGauges) -> u64| metrics.partition_sum(read);
    report.section("Windrow");
    report.line("durability", durability.name());
    let (window_ms, at_risk) = match durability {
        Durability::Commit => (0, 0),
        Durability::Memory => {
            (facts.live.settings.memory_flush_interval.as_millis(), sum(PartitionGauges::at_risk_bytes))
        }
    };
    report.line("confirmed_at_risk_ms", window_ms);
    report.line("confirmed_at_risk_bytes", at_risk);
    report.line("at_risk_bytes", sum(PartitionGauges::at_risk_bytes));
    report.line("log_bytes", sum(|partition| partition.segment_bytes.get()));
    report.line("log_live_bytes", sum(|partition| partition.live_bytes.get()));
    let (memory, _) = facts.memory();
    report.line("log_resident_bytes", memory.resident.saturating_sub(memory.anonymous));
    report.line("segments", sum(|partition| partition.segments.get()));
    report.line("segments_prepared", sum(|partition| partition.segments_prepared.get()));
    report.line("flushes", metrics.sum(|core| core.flushes.get()));
    report.line("flush_last_usec", metrics.max(|core| core.flush_last_us.get()));
    report.line("partitions", metrics.partitions().len());
    for (number, partition) in metrics.partitions().iter().enumerate() {
        let line = format_args!(
            "core={},keys={},first={},appended={},submitted={},durable={},committed={},epoch={},segments={},log_bytes={}",
            partition.core.get(),
            partition.keys.get(),
            partition.first_lsn.get(),
            partition.appended_lsn.get(),
            partition.submitted_lsn.get(),
            partition.durable_lsn.get(),
            partition.committed_lsn.get(),
            partition.epoch.get(),
            partition.segments.get(),
            partition.segment_bytes.get(),
        );
        report.line(format_args!("partition_{number}"), line);
    }
}

/// How long the keys that expire have left on average, in milliseconds.
fn avg_ttl(facts: &Facts<'_>, expires: u64) -> u64 {
    let partitions = facts.node.metrics.partitions().iter();
    let sum: u128 = partitions
        .map(|partition| u128::from(partition.expiring_keys.get()) * u128::from(partition.mean_expiry_ms.get()))
        .sum();
    let mean = sum.checked_div(u128::from(expires)).and_then(|mean| u64::try_from(mean).ok()).unwrap_or(0);
    mean.saturating_sub(facts.now.unix.get())
}

pub(super) fn keyspace(facts: &Facts<'_>, report: &mut Report) {
    let metrics = &facts.node.metrics;
    let keys = metrics.partition_sum(|partition| partition.keys.get());
    let expires = metrics.partition_sum(|partition| partition.expiring_keys.get());
    report.section("Keyspace");
    if keys > 0 {
        let ttl = avg_ttl(facts, expires);
        report.line("db0", format_args!("keys={keys},expires={expires},avg_ttl={ttl}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(human(0), "0B");
        assert_eq!(human(1_023), "1023B");
        assert_eq!(human(1_536), "1.50K");
        assert_eq!(human(3 << 30), "3.00G");
        assert_eq!((ratio(3, 2), ratio(1, 0)), ("1.50".to_owned(), "0.00".to_owned()));
    }
}
