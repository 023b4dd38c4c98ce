//! Opening the partitions of a node.

use std::thread;

use windrow_core::types::PartitionId;
use windrow_store::{DataDir, FillMode, OpenConfig, OpenError, OpenReport, TailMemory, open_partition};

use super::ServeError;
#[cfg(feature = "shared-nothing")]
use super::replicated;
use crate::metrics::available_memory;
use crate::net::limits::TAIL_MEMORY_OF_AVAILABLE;
use crate::settings::{Durability, Settings};
use crate::shard::{Hosted, Now};

/// A partition that is open, on its way to its core.
pub(super) struct OpenedHere {
    pub(super) hosted: Hosted,
    pub(super) report: OpenReport,
    /// What its replica begins with, where there are other nodes.
    #[cfg(feature = "shared-nothing")]
    pub(super) replica: Option<replicated::Found>,
}

pub(super) fn open_here(
    data_dir: &DataDir,
    partition: PartitionId,
    settings: &Settings,
    hot_len: u64,
) -> Result<OpenedHere, OpenError> {
    let config = open_config(settings);
    #[cfg(feature = "shared-nothing")]
    if !settings.peers.is_empty() {
        let leads = settings.leader.is_some() && settings.leader == data_dir.replica().ok();
        return replicated::open(data_dir, partition, &config, hot_len, leads);
    }
    let open = open_partition(data_dir, partition, &config, Now::read().unix)?;
    let report = open.report.clone();
    Ok(OpenedHere {
        report,
        hosted: Hosted::new(open, settings.segment_fill, hot_len),
        #[cfg(feature = "shared-nothing")]
        replica: None,
    })
}

/// How partitions are opened by these settings.
pub(crate) fn open_config(settings: &Settings) -> OpenConfig {
    OpenConfig {
        segment_len: settings.segment_size,
        segments_ahead: settings.segments_ahead,
        fill: settings.segment_fill,
    }
}

/// Opens all partitions, those of different cores at the same time. Returns them by core.
pub(super) fn open_partitions<T: Send>(
    owners: &[usize],
    cores: usize,
    open: impl Fn(PartitionId) -> Result<T, ServeError> + Sync,
) -> Result<Vec<Vec<T>>, ServeError> {
    let open_those_of = |core: usize| {
        let own = (0_u16..).zip(owners).filter(|&(_, &owner)| owner == core);
        own.map(|(number, _)| open(PartitionId::new(number))).collect::<Result<Vec<_>, _>>()
    };
    thread::scope(|scope| {
        let open_those_of = &open_those_of;
        let threads: Vec<_> = (0..cores).map(|core| scope.spawn(move || open_those_of(core))).collect();
        let opened = threads.into_iter().map(|thread| match thread.join() {
            Ok(opened) => opened,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        opened.collect()
    })
}

/// So many bytes at the end of each log are taken to be in memory.
pub(super) fn hot_len(settings: &Settings, partitions: usize) -> u64 {
    available_memory() / 100 * settings.hot_memory_percent / partitions.max(1) as u64
}

/// Gives each partition what its newest segments are kept in while what they hold is overwritten soon, if that is of use.
pub(super) fn give_tails(hosted: &mut [Vec<Hosted>], settings: &Settings) {
    // What is confirmed before it is flushed has to be in the page cache, and other fill modes store it there.
    if settings.durability == Durability::Memory || settings.segment_fill != FillMode::Direct {
        return;
    }
    let partitions = hosted.iter().flatten().count().max(1);
    let len = settings.tail_memory.min(available_memory() / TAIL_MEMORY_OF_AVAILABLE / partitions as u64);
    for hosted in hosted.iter_mut().flatten() {
        hosted.tail = TailMemory::new(len, settings.segment_size, settings.segments_ahead);
    }
}
