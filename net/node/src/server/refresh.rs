//! Bringing a core's gauges up to date, from the core itself.

use super::node::Node;
use crate::shard::CoreView;

/// Writes what `core` has into its gauges. Runs on that core, so that every gauge keeps its one writer.
pub(super) fn refresh(node: &Node, core: &mut dyn CoreView) {
    let number = core.core();
    let Some(shared) = node.metrics.cores().get(number) else { return };
    let counters = &shared.counters;
    counters.connections.set(u64::try_from(core.session_count()).unwrap_or(u64::MAX));
    let unix = core.now().unix;
    let mut all_durable = true;
    core.visit_partitions(&mut |partition| {
        let Some(gauges) = node.metrics.partitions().get(usize::from(partition.id.get())) else { return };
        let stats = &partition.stats;
        gauges.core.set(u64::try_from(number).unwrap_or(u64::MAX));
        gauges.keys.set(stats.keys);
        gauges.expiring_keys.set(stats.expiring_keys);
        gauges.mean_expiry_ms.set(stats.mean_expiry.map_or(0, windrow_core::types::UnixMillis::get));
        gauges.appended_lsn.set(stats.appended.get());
        gauges.submitted_lsn.set(stats.submitted.get());
        gauges.durable_lsn.set(stats.durable.get());
        gauges.committed_lsn.set(partition.committed.get());
        gauges.first_lsn.set(stats.start.get());
        gauges.epoch.set(stats.epoch.get().into());
        gauges.segments.set(stats.segments);
        gauges.segments_prepared.set(stats.segments_prepared);
        gauges.segment_bytes.set(stats.log_bytes);
        gauges.live_bytes.set(stats.live_bytes);
        gauges.index_bytes.set(stats.index_bytes);
        all_durable &= stats.durable == stats.appended;
    });
    if all_durable {
        counters.all_durable_unix_s.set(unix.get() / 1_000);
    }
}

/// As [`refresh`], and what takes a visit to every session.
pub(super) fn refresh_sessions(node: &Node, core: &mut dyn CoreView) {
    let Some(shared) = node.metrics.cores().get(core.core()) else { return };
    let (mut input_max, mut output_max, mut buffers, mut unauthenticated) = (0_usize, 0_usize, 0_usize, 0_u64);
    core.visit_sessions(&mut |session| {
        let traffic = &session.traffic;
        input_max = input_max.max(traffic.input_len);
        output_max = output_max.max(traffic.output_len);
        buffers = buffers.saturating_add(traffic.input_len).saturating_add(traffic.output_len);
        unauthenticated += u64::from(!session.authenticated);
    });
    let counters = &shared.counters;
    counters.input_buffer_bytes_max.raise(u64::try_from(input_max).unwrap_or(u64::MAX));
    counters.output_buffer_bytes_max.raise(u64::try_from(output_max).unwrap_or(u64::MAX));
    counters.buffer_bytes.set(u64::try_from(buffers).unwrap_or(u64::MAX));
    counters.connections_unauthenticated.set(unauthenticated);
}
