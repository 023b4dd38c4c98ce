//! The node's waker with an eventfd of the model.

use super::signal::Signal;
use crate::eventfd::Eventfd;

/// What the node's signal does, so that a wrong one can take its place.
pub(crate) trait Sleeper: Send + Sync {
    fn new() -> Self;
    fn notify(&self) -> bool;
    fn take(&self) -> bool;
    fn fall_asleep(&self) -> bool;
    fn woken(&self);
}

impl Sleeper for Signal {
    fn new() -> Self {
        Self::new()
    }

    fn notify(&self) -> bool {
        self.notify()
    }

    fn take(&self) -> bool {
        self.take()
    }

    fn fall_asleep(&self) -> bool {
        self.fall_asleep()
    }

    fn woken(&self) {
        self.woken();
    }
}

pub(crate) struct Waker<S = Signal> {
    eventfd: Eventfd,
    signal: S,
}

impl<S: Sleeper> Waker<S> {
    pub(crate) fn new() -> Self {
        Self { eventfd: Eventfd::new(), signal: S::new() }
    }

    pub(crate) fn signal(&self) -> &S {
        &self.signal
    }

    pub(crate) fn eventfd(&self) -> &Eventfd {
        &self.eventfd
    }

    pub(crate) fn wake(&self) {
        if self.signal.notify() {
            self.eventfd.write();
        }
    }
}

pub(crate) struct Common {
    wakers: Vec<Waker>,
}

impl Common {
    pub(crate) fn new(cores: usize) -> Self {
        Self { wakers: (0..cores).map(|_| Waker::new()).collect() }
    }

    pub(crate) fn cores(&self) -> usize {
        self.wakers.len()
    }

    pub(crate) fn waker(&self, core: usize) -> &Waker {
        &self.wakers[core]
    }
}
