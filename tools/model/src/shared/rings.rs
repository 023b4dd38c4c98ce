//! A ring as `rtrb` offers it, so small that it is full at once.

use std::collections::VecDeque;
use std::sync::Arc;

use loom::sync::Mutex;

pub(crate) const RING_LEN: usize = 1;
pub(crate) const OUTBOX_LEN: usize = 2;

pub(crate) struct RingBuffer;

impl RingBuffer {
    /// The two ends of a ring.
    #[expect(clippy::new_ret_no_self, reason = "as rtrb has it")]
    pub(crate) fn new<T>(len: usize) -> (Producer<T>, Consumer<T>) {
        let queue = Arc::new(Mutex::new(VecDeque::new()));
        (Producer { queue: Arc::clone(&queue), len }, Consumer { queue })
    }
}

pub(crate) struct Producer<T> {
    queue: Arc<Mutex<VecDeque<T>>>,
    len: usize,
}

pub(crate) struct Consumer<T> {
    queue: Arc<Mutex<VecDeque<T>>>,
}

pub(crate) enum PushError<T> {
    Full(T),
}

impl<T> Producer<T> {
    pub(crate) fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        let mut queue = self.queue.lock().unwrap();
        if queue.len() == self.len {
            return Err(PushError::Full(value));
        }
        queue.push_back(value);
        Ok(())
    }
}

impl<T> Consumer<T> {
    pub(crate) fn pop(&mut self) -> Result<T, Empty> {
        self.queue.lock().unwrap().pop_front().ok_or(Empty)
    }
}

pub(crate) struct Empty;
