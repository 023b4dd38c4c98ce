//! Several writes as one.

use windrow_core::types::UnixMillis;

/// Several writes that happen all or not at all, also after a crash, and that nobody sees half of.
///
/// All keys must belong to one partition; see [`WriteError::CrossPartition`](crate::WriteError::CrossPartition). Of
/// two writes to the same key the later one counts.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    writes: Vec<Write>,
}

#[derive(Clone, Debug)]
pub(crate) struct Write {
    pub(crate) key: Vec<u8>,
    pub(crate) change: OwnedChange,
}

#[derive(Clone, Debug)]
pub(crate) enum OwnedChange {
    Put { value: Vec<u8>, expires_at: Option<UnixMillis> },
    Delete,
}

impl Batch {
    /// A batch without writes.
    #[must_use]
    pub const fn new() -> Self {
        Self { writes: Vec::new() }
    }

    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> &mut Self {
        self.push(key.into(), OwnedChange::Put { value: value.into(), expires_at: None })
    }

    /// Sets a key that ceases to exist at `expires_at`.
    pub fn put_expiring(
        &mut self,
        key: impl Into<Vec<u8>>,
        value: impl Into<Vec<u8>>,
        expires_at: UnixMillis,
    ) -> &mut Self {
        self.push(key.into(), OwnedChange::Put { value: value.into(), expires_at: Some(expires_at) })
    }

    /// Deletes a key, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) -> &mut Self {
        self.push(key.into(), OwnedChange::Delete)
    }

    fn push(&mut self, key: Vec<u8>, change: OwnedChange) -> &mut Self {
        self.writes.push(Write { key, change });
        self
    }

    /// How many writes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The writes in the order of their keys, the last one of each.
    pub(crate) fn last_of_each_key(&self) -> Vec<&Write> {
        let mut writes: Vec<&Write> = self.writes.iter().collect();
        // Stable: of equal keys the last one stays last.
        writes.sort_by(|a, b| a.key.cmp(&b.key));
        let mut last: Vec<&Write> = Vec::with_capacity(writes.len());
        for write in writes {
            match last.last_mut() {
                Some(earlier) if earlier.key == write.key => *earlier = write,
                _ => last.push(write),
            }
        }
        last
    }
}
