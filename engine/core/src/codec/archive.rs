//! The body of a batch record: an rkyv archive, written in place and read in place.
//!
//! The only module of this crate with `unsafe`, in one function: access without a check, for bodies that this
//! process has itself written, or has read by checksum and then by a checked access.
#![expect(unsafe_code, reason = "the one door to unchecked archives, see `batch_trusted`")]

use core::mem::MaybeUninit;
use core::ops::Range;

use rkyv::rancor::Failure;
use rkyv::ser::allocator::{Arena, SubAllocator};
use rkyv::ser::writer::Buffer;
use rkyv::with::InlineAsBox;
use rkyv::{Archive, Serialize};

use crate::types::limits::RECORD_ALIGN;
use crate::types::{Lsn, UnixMillis};

/// Bytes that each operation takes in a record beside its key and its value.
pub const OP_LEN: usize = size_of::<ArchivedOp>();
const ROOT_LEN: usize = size_of::<ArchivedBatch>();
/// Batches up to this size are serialised without touching the heap.
const SMALL_BATCH_OPS: usize = 16;

/// What an operation does to its key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpKind {
    /// The key has this value from now on.
    Put,
    /// The key is gone.
    Delete,
    /// Every key of the partition is gone. The key is empty.
    Clear,
}

impl OpKind {
    const fn to_bits(self) -> u32 {
        match self {
            Self::Put => 1,
            Self::Delete => 2,
            Self::Clear => 3,
        }
    }

    const fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            1 => Some(Self::Put),
            2 => Some(Self::Delete),
            3 => Some(Self::Clear),
            _ => None,
        }
    }
}

/// An operation to be written.
#[derive(Clone, Copy, Debug)]
pub struct WriteOp<'a> {
    /// The key; empty for [`OpKind::Clear`].
    pub key: &'a [u8],
    /// The value; empty unless this is a [`OpKind::Put`].
    pub value: &'a [u8],
    /// What it does.
    pub kind: OpKind,
    /// When the key ceases to exist.
    pub expires_at: Option<UnixMillis>,
    /// The record that held the key until now; zero where none did.
    pub supersedes: Lsn,
    /// Bytes of the superseded operation: key, value and [`OP_LEN`].
    pub superseded_len: u32,
}

#[derive(Archive, Serialize)]
#[rkyv(attr(doc(hidden)), attr(allow(missing_docs, unreachable_pub, reason = "an archived type")))]
struct OpBody<'a> {
    #[rkyv(with = InlineAsBox)]
    key: &'a [u8],
    #[rkyv(with = InlineAsBox)]
    value: &'a [u8],
    expires_at_ms: u64,
    supersedes: u64,
    superseded_len: u32,
    kind: u32,
}

#[derive(Archive, Serialize)]
#[rkyv(attr(doc(hidden)), attr(allow(missing_docs, unreachable_pub, reason = "an archived type")))]
struct BatchBody<'a> {
    #[rkyv(with = InlineAsBox)]
    ops: &'a [OpBody<'a>],
}

// The archives own what they hold, so the lifetime of what they were made from means nothing to them.
type ArchivedOp = ArchivedOpBody<'static>;
type ArchivedBatch = ArchivedBatchBody<'static>;

impl<'a> From<&WriteOp<'a>> for OpBody<'a> {
    fn from(op: &WriteOp<'a>) -> Self {
        Self {
            key: op.key,
            value: op.value,
            // Zero is no expiry; nothing that expires at the very start of 1970 is ever written.
            expires_at_ms: op.expires_at.map_or(0, |at| at.get().max(1)),
            supersedes: op.supersedes.get(),
            superseded_len: op.superseded_len,
            kind: op.kind.to_bits(),
        }
    }
}

/// Bytes of the body that holds operations with so many bytes of keys and values together.
#[must_use]
pub const fn batch_len(op_count: usize, payload_len: u64) -> u64 {
    payload_len.next_multiple_of(align_of::<ArchivedOp>() as u64) + (op_count * OP_LEN + ROOT_LEN) as u64
}

/// Serialises a batch into `body`, whose length must be [`batch_len`] exactly.
///
/// # Panics
/// If the length is not that of the batch: that is a bug of the caller.
pub(crate) fn write_batch(ops: &[WriteOp<'_>], body: &mut [u8]) {
    let room = body.len();
    let written = if ops.len() <= SMALL_BATCH_OPS {
        // On the stack: a scratch of 16 resolvers and as many bodies, no heap on the path of common commands.
        let mut bodies = [const { MaybeUninit::<OpBody<'_>>::uninit() }; SMALL_BATCH_OPS];
        let mut scratch = [const { MaybeUninit::<u8>::uninit() }; SMALL_BATCH_OPS * 64];
        for (slot, op) in bodies.iter_mut().zip(ops) {
            slot.write(OpBody::from(op));
        }
        // SAFETY: the first `ops.len()` elements were written just above, and `MaybeUninit<T>` has T's layout.
        let bodies = unsafe { core::slice::from_raw_parts(bodies.as_ptr().cast::<OpBody<'_>>(), ops.len()) };
        let root = BatchBody { ops: bodies };
        rkyv::api::low::to_bytes_in_with_alloc::<_, _, Failure>(
            &root,
            Buffer::from(body),
            SubAllocator::new(&mut scratch),
        )
        .map(|buffer| buffer.len())
    } else {
        let bodies: alloc::vec::Vec<OpBody<'_>> = ops.iter().map(OpBody::from).collect();
        let mut arena = Arena::new();
        rkyv::api::low::to_bytes_in_with_alloc::<_, _, Failure>(
            &BatchBody { ops: &bodies },
            Buffer::from(body),
            arena.acquire(),
        )
        .map(|buffer| buffer.len())
    };
    assert!(matches!(written, Ok(len) if len == room), "a batch must fill exactly the body that was sized for it");
}

/// A batch of operations, read in place.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    ops: &'a [ArchivedOp],
}

/// One operation of a batch, read in place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpView<'a> {
    /// The key; empty for [`OpKind::Clear`].
    pub key: &'a [u8],
    /// The value; empty unless this is a [`OpKind::Put`].
    pub value: &'a [u8],
    /// What it does.
    pub kind: OpKind,
    /// When the key ceases to exist.
    pub expires_at: Option<UnixMillis>,
    /// The record that held the key until then; zero where none did.
    pub supersedes: Lsn,
    /// Bytes of the superseded operation.
    pub superseded_len: u32,
}

impl OpView<'_> {
    /// Bytes that this operation takes in its record: key, value and [`OP_LEN`].
    #[must_use]
    pub fn footprint(&self) -> u32 {
        u32::try_from(self.key.len() + self.value.len() + OP_LEN).unwrap_or(u32::MAX)
    }
}

impl<'a> Batch<'a> {
    /// Reads a body by a checked access. `None` where the bytes are no batch.
    ///
    /// Costs a walk over the operations, but none over their bytes.
    #[must_use]
    pub fn checked(body: &'a [u8]) -> Option<Self> {
        let root = rkyv::access::<ArchivedBatch, Failure>(body).ok()?;
        let batch = Self { ops: &root.ops };
        let known = batch.ops.iter().all(|op| {
            OpKind::from_bits(op.kind.to_native()).is_some()
                && UnixMillis::new(op.expires_at_ms.to_native()).is_some()
                && op.supersedes.to_native().is_multiple_of(RECORD_ALIGN as u64)
        });
        known.then_some(batch)
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The operation of a batch that has just one.
    #[must_use]
    pub fn only(self) -> Option<OpView<'a>> {
        if let [only] = self.ops { Some(view(only)) } else { None }
    }

    /// The operation number `index`, in the order of their keys.
    #[must_use]
    pub fn get(self, index: usize) -> Option<OpView<'a>> {
        self.ops.get(index).map(view)
    }

    /// The operations, in the order of their keys.
    pub fn iter(self) -> impl ExactSizeIterator<Item = OpView<'a>> + use<'a> {
        self.ops.iter().map(view)
    }

    /// The operation on `key`.
    #[must_use]
    pub fn find(self, key: &[u8]) -> Option<OpView<'a>> {
        self.find_in(0..self.ops.len(), key)
    }

    /// The operation on `key`, which most likely is one of those with these numbers: they are looked at first.
    #[inline]
    #[must_use]
    pub fn find_in(self, likely: Range<usize>, key: &[u8]) -> Option<OpView<'a>> {
        if let [only] = self.ops {
            return (*only.key == *key).then(|| view(only));
        }
        let search = |ops: &'a [ArchivedOp]| {
            let index = ops.binary_search_by(|op| (*op.key).cmp(key)).ok()?;
            Some(view(&ops[index]))
        };
        match self.ops.get(likely) {
            Some(ops) if ops.len() < self.ops.len() => search(ops).or_else(|| search(self.ops)),
            _ => search(self.ops),
        }
    }
}

fn view(op: &ArchivedOp) -> OpView<'_> {
    OpView {
        key: &op.key,
        value: &op.value,
        // A kind that is not known cannot come through either door; were it so, a deleted key is the safe reading.
        kind: OpKind::from_bits(op.kind.to_native()).unwrap_or(OpKind::Delete),
        expires_at: match op.expires_at_ms.to_native() {
            0 => None,
            at => Some(UnixMillis::new(at).unwrap_or(UnixMillis::MAX)),
        },
        supersedes: Lsn::new(op.supersedes.to_native()),
        superseded_len: op.superseded_len.to_native(),
    }
}

/// Reads a body that this process wrote, or accepted through [`Batch::checked`] after its checksum matched.
///
/// Why unchecked: every read of a key comes through here, and the checked access costs several times as much
/// (bench `record_access`).
pub(crate) fn batch_trusted(body: &[u8]) -> Batch<'_> {
    // SAFETY: callers pass only bodies below the published end of a segment that the partition wrote itself or
    // that recovery accepted record by record; published bytes never change (invariant of `SegmentMemory`).
    let root = unsafe { rkyv::access_unchecked::<ArchivedBatch>(body) };
    Batch { ops: &root.ops }
}
