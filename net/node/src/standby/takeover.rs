//! The thread that waits until the leader is gone, and then has the cores take over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use windrow_store::{ControlFollower, DataDir};

use super::StandbyChoice;
use super::shared::Shared;
use crate::net::{ListenError, Listener, patiently};

/// The kernel closes the sockets of a process that has ended after it has let go of its locks, and later where a ring
/// still refers to them: for so long an address that is taken may become free by itself.
const ADDRESS_WAIT: Duration = Duration::from_secs(10);

pub(super) struct Waiting {
    pub(super) shared: Arc<Shared>,
    pub(super) data_dir: DataDir,
    pub(super) control: ControlFollower,
    pub(super) choice: StandbyChoice,
    pub(super) cores: usize,
    /// Where this process serves clients in any case.
    pub(super) own: Vec<SocketAddr>,
    pub(super) all_done: Receiver<()>,
}

impl Waiting {
    /// Ends when this process leads, or cannot.
    pub(super) fn run(self) {
        let locked = loop {
            let locked = match self.data_dir.wait_for_lock() {
                Ok(locked) => locked,
                Err(error) => return self.shared.fail(error.into()),
            };
            if self.choice.after_shutdown || self.control.is_written() {
                break locked;
            }
            drop(locked);
            tracing::info!("the leader has ended in order: waiting for the next one");
            self.shared.set_leaderless(true);
            self.control.wait_for_writer();
            self.shared.set_leaderless(false);
        };
        if !self.shared.is_stopping() {
            self.lead(locked);
        }
    }

    fn lead(self, locked: DataDir) {
        let since = Instant::now();
        let leader = self.control.writer_pid();
        tracing::info!(leader, "the leader is gone: taking over");
        // Before the lock is signed by this process.
        let addresses = if self.choice.leader_address { locked.leader_addresses() } else { Vec::new() };
        if let Err(error) = locked.announce(&self.own) {
            tracing::warn!(%error, "cannot write down where clients are served");
        }
        let locked = self.shared.lock(locked);
        if self.all_done.recv().is_err() {
            return;
        }
        let took_us = since.elapsed().as_micros();
        for (partition, report) in self.shared.reports() {
            let cut = report.cut.as_ref().map_or(0, |cut| cut.len);
            tracing::info!(
                %partition,
                end = report.end.get(),
                epoch = report.epoch.get(),
                bytes_cut = cut,
                out_of_space = report.out_of_space,
                "took the log over"
            );
        }
        tracing::info!(took_us, "this process leads: writes are accepted");
        let taken = self.take_addresses(&addresses);
        // The next standby finds here what clients use.
        if !taken.is_empty()
            && let Err(error) = locked.announce(&taken)
        {
            tracing::warn!(%error, "cannot write down where clients are served");
        }
    }

    /// Listens where the leader did. Returns where this process serves clients beside its own addresses.
    fn take_addresses(&self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut by_core: Vec<Vec<Listener>> = (0..self.cores).map(|_| Vec::new()).collect();
        let mut taken = Vec::new();
        for &address in addresses.iter().filter(|address| !self.own.contains(address)) {
            match self.take_address(address) {
                Ok(listeners) => {
                    by_core.iter_mut().zip(listeners).for_each(|(own, listener)| own.push(listener));
                    taken.push(address);
                }
                Err(error) => tracing::warn!(%error, "the leader's address cannot be had: use this process's own"),
            }
        }
        if !taken.is_empty() {
            tracing::info!(addresses = ?taken, "serving clients at the leader's addresses");
            self.shared.listen(by_core);
        }
        taken
    }

    fn take_address(&self, address: SocketAddr) -> Result<Vec<Listener>, ListenError> {
        let is_taken = |error: &ListenError| matches!(error, ListenError::Taken { .. });
        let goes_on = |_: &ListenError| !self.shared.is_stopping();
        let bind = || Listener::bind_shared(address.ip(), address.port(), self.cores);
        patiently(ADDRESS_WAIT, is_taken, goes_on, bind)
    }
}
