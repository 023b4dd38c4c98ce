//! Buffers that are used again instead of being allocated.

/// A buffer that has grown beyond this is freed, not kept.
const BUFFER_KEPT: usize = 128 << 10;
/// All buffers that are kept have at most this many bytes together.
const POOL_KEPT: usize = 16 << 20;

/// A core's spare buffers, all empty.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    spare: Vec<Vec<u8>>,
    kept: usize,
}

impl Pool {
    /// An empty buffer; allocates nothing where one is spare.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let buffer = self.spare.pop().unwrap_or_default();
        self.kept -= buffer.capacity();
        buffer
    }

    /// Keeps `buffer` for the next who needs one, or frees it.
    pub(crate) fn give_back(&mut self, mut buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > BUFFER_KEPT || self.kept + capacity > POOL_KEPT {
            return;
        }
        buffer.clear();
        self.kept += capacity;
        self.spare.push(buffer);
    }
}
