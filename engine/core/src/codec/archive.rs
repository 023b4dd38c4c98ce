//! The body of a batch record: an rkyv archive, written in place and read in place.
//!
//! The only module of this crate with `unsafe`, in one function: writing a small batch without touching the heap.
#![expect(unsafe_code, reason = "a scratch on the stack, see `write_batch`")]

use core::cmp::Ordering;
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
///
/// Reads by hand what rkyv writes, field by field as docs/formats.md has it, because a page of the log that was verified
/// may come back from the disk with other bytes. Nothing here relies on what the bytes say: an operation that points out
/// of its body has an empty key or value, and a number of operations that does not fit is none.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    body: &'a [u8],
    /// Where the operations start; they end where the root does.
    ops_at: usize,
    count: usize,
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
        let known = root.ops.iter().all(|op| {
            OpKind::from_bits(op.kind.to_native()).is_some()
                && UnixMillis::new(op.expires_at_ms.to_native()).is_some()
                && op.supersedes.to_native().is_multiple_of(RECORD_ALIGN as u64)
        });
        let batch = Self::trusted(body);
        // The operations lie in front of the root, where they are looked for from now on.
        let is_found = root.ops.as_ptr().addr() == body.as_ptr().addr() + batch.ops_at && root.ops.len() == batch.count;
        (known && is_found).then_some(batch)
    }

    /// Reads a body that this process wrote, or accepted through [`checked`](Self::checked) after its checksum matched.
    ///
    /// Why not by a checked access: every read of a key comes through here, and that costs several times as much
    /// (bench `record/access`).
    #[inline]
    pub(crate) fn trusted(body: &'a [u8]) -> Self {
        let fits = || {
            let (rest, root) = body.split_last_chunk::<ROOT_LEN>()?;
            let count = number(root, 4) as usize;
            let ops_at = rest.len().checked_sub(count.checked_mul(OP_LEN)?)?;
            Some(Self { body, ops_at, count })
        };
        fits().unwrap_or(Self { body: &[], ops_at: 0, count: 0 })
    }

    /// How many operations there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The operation of a batch that has just one.
    #[must_use]
    #[inline]
    pub fn only(self) -> Option<OpView<'a>> {
        if self.count == 1 { self.get(0) } else { None }
    }

    /// The operation number `index`, in the order of their keys.
    #[must_use]
    #[inline]
    pub fn get(self, index: usize) -> Option<OpView<'a>> {
        let (at, op) = self.entry(index)?;
        let expires_at = match long(op, 16) {
            0 => None,
            at => Some(UnixMillis::new(at).unwrap_or(UnixMillis::MAX)),
        };
        Some(OpView {
            key: self.bytes(at, number(op, 0), number(op, 4)),
            value: self.bytes(at + 8, number(op, 8), number(op, 12)),
            // A kind that is not known was not written so; a deleted key is the safe reading.
            kind: OpKind::from_bits(number(op, 36)).unwrap_or(OpKind::Delete),
            expires_at,
            supersedes: Lsn::new(long(op, 24)),
            superseded_len: number(op, 32),
        })
    }

    /// The key of operation number `index`.
    #[inline]
    fn key(self, index: usize) -> Option<&'a [u8]> {
        let (at, op) = self.entry(index)?;
        Some(self.bytes(at, number(op, 0), number(op, 4)))
    }

    /// Where operation number `index` is described, and the description.
    #[inline]
    fn entry(self, index: usize) -> Option<(usize, &'a [u8; OP_LEN])> {
        if index >= self.count {
            return None;
        }
        let at = self.ops_at + index * OP_LEN;
        Some((at, self.body.get(at..)?.first_chunk()?))
    }

    /// The bytes that a relative pointer at `at` and a length stand for; none where they lie outside the body.
    #[inline]
    fn bytes(self, at: usize, relative: u32, len: u32) -> &'a [u8] {
        let range = || {
            let start = at.checked_add_signed(relative.cast_signed() as isize)?;
            self.body.get(start..start.checked_add(len as usize)?)
        };
        range().unwrap_or(&[])
    }

    /// The operations, in the order of their keys.
    pub fn iter(self) -> impl ExactSizeIterator<Item = OpView<'a>> + use<'a> {
        (0..self.count).map(move |index| self.get(index).expect("below the count"))
    }

    /// The operation on `key`.
    #[must_use]
    pub fn find(self, key: &[u8]) -> Option<OpView<'a>> {
        self.find_in(0..self.count, key)
    }

    /// The operation on `key`, which most likely is one of those with these numbers: they are looked at first.
    #[inline]
    #[must_use]
    pub fn find_in(self, likely: Range<usize>, key: &[u8]) -> Option<OpView<'a>> {
        if self.count == 1 {
            return self.get(0).filter(|only| only.key == key);
        }
        let likely = likely.start.min(self.count)..likely.end.min(self.count);
        let is_all = likely.len() == self.count;
        match self.search(likely, key) {
            None if !is_all => self.search(0..self.count, key),
            found => found,
        }
    }

    /// The operation on `key` among those with these numbers.
    fn search(self, among: Range<usize>, key: &[u8]) -> Option<OpView<'a>> {
        let Range { mut start, mut end } = among;
        while start < end {
            let middle = start.midpoint(end);
            match self.key(middle)?.cmp(key) {
                Ordering::Less => start = middle + 1,
                Ordering::Greater => end = middle,
                Ordering::Equal => return self.get(middle),
            }
        }
        None
    }
}

/// The number at this offset of an entry or a root.
#[inline]
fn number<const LEN: usize>(bytes: &[u8; LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The long number at this offset of an entry.
#[inline]
fn long(bytes: &[u8; OP_LEN], at: usize) -> u64 {
    u64::from(number(bytes, at)) | u64::from(number(bytes, at + 4)) << 32
}
