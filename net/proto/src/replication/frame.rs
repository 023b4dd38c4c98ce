//! Frames: the header, its checksum, and the bounds.

use alloc::vec::Vec;

use thiserror::Error;
use windrow_core::replication::{Body, Message};
use windrow_core::types::{Epoch, PartitionId};

use super::body;
use super::cursor::{Reader, Writer};
use super::handshake::{self, Handshake};

/// Bytes of a frame's header.
pub const FRAME_HEADER_LEN: usize = 16;
/// The longest body of a frame of the handshake.
pub const HANDSHAKE_BODY_LEN_MAX: usize = 128;
/// The kind of [`Frame::Alive`].
const ALIVE: u8 = 15;
/// The longest body of a frame.
pub const FRAME_BODY_LEN_MAX: usize = 2_048;

/// How far the two ends of a connection have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// The peer has not proved that it knows the secret: only the handshake is read.
    Handshake,
    /// The peer is known: only messages are read.
    Open,
}

/// One frame.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// Part of the handshake.
    Handshake(Handshake),
    /// The sender is there and has nothing to say. It belongs to the connection and to no partition.
    Alive,
    /// A message between two replicas of a partition.
    Message {
        /// The partition.
        partition: PartitionId,
        /// The message.
        message: Message,
    },
}

/// Why bytes are no frame. The connection is of no further use.
#[derive(Error, Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FrameError {
    /// The body is longer than any frame of its kind.
    #[error("a body of {len} bytes is longer than the {max} bytes that a frame may have")]
    TooLong {
        /// Bytes named in the header.
        len: u32,
        /// Bytes allowed.
        max: usize,
    },
    /// The checksum does not match.
    #[error("frame checksum {found:#010x} instead of {expected:#010x}")]
    Checksum {
        /// What the bytes add up to.
        expected: u32,
        /// What is written.
        found: u32,
    },
    /// The kind is unknown, or has no place in this phase.
    #[error("a frame of kind {kind} is not expected here")]
    Kind {
        /// What is written.
        kind: u8,
    },
    /// The body does not have the layout of its kind, or fields contradict each other.
    #[error("the body of a frame of kind {kind} is malformed")]
    Body {
        /// The frame's kind.
        kind: u8,
    },
}

/// Appends a message to `out`. Behind a `Bytes` message, the bytes that it names are to be sent.
///
/// # Panics
/// If the message breaks its own bounds: no replica makes such a message, so that is a bug.
pub fn encode(partition: PartitionId, message: &Message, out: &mut Vec<u8>) {
    let kind = body::kind(&message.body);
    write(kind, partition.get(), message.epoch.get(), out, |writer| body::encode(&message.body, writer));
}

/// Appends a frame of the handshake to `out`.
pub fn encode_handshake(message: &Handshake, out: &mut Vec<u8>) {
    write(message.kind(), 0, 0, out, |writer| message.encode(writer));
}

/// Appends a sign of life to `out`.
pub fn encode_alive(out: &mut Vec<u8>) {
    write(ALIVE, 0, 0, out, |_| ());
}

fn write(kind: u8, partition: u16, epoch: u32, out: &mut Vec<u8>, fill: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    Writer(out).u32(0).u8(kind).u8(0).u16(partition).u32(epoch).u32(0);
    fill(&mut Writer(out));
    let len = out.len() - start - FRAME_HEADER_LEN;
    assert!(len <= FRAME_BODY_LEN_MAX, "a frame stays within its bounds");
    let len = u32::try_from(len).expect("checked above");
    out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    let sum = checksum(&out[start..]);
    out[start + 12..start + 16].copy_from_slice(&sum.to_le_bytes());
}

/// The checksum of a frame: of its header up to the checksum, and its body.
fn checksum(frame: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&frame[..12]);
    hasher.update(&frame[FRAME_HEADER_LEN..]);
    hasher.finalize()
}

/// Reads the frame at the start of `bytes`, and says how long it is. `None`: there are too few bytes yet, and never
/// more than [`FRAME_HEADER_LEN`] + [`FRAME_BODY_LEN_MAX`] are needed.
///
/// # Errors
/// [`FrameError`]: these bytes are no frame, and what follows cannot be told apart any more.
pub fn decode(bytes: &[u8], phase: Phase) -> Result<Option<(Frame, usize)>, FrameError> {
    let mut header = Reader(bytes);
    let (Some(len), Some(kind)) = (header.u32(), header.u8()) else { return Ok(None) };
    let max = match phase {
        Phase::Handshake => HANDSHAKE_BODY_LEN_MAX,
        Phase::Open => FRAME_BODY_LEN_MAX,
    };
    let body_len = usize::try_from(len).ok().filter(|&len| len <= max).ok_or(FrameError::TooLong { len, max })?;
    let Some(frame) = bytes.get(..FRAME_HEADER_LEN + body_len) else { return Ok(None) };
    let (Some(zero), Some(partition), Some(epoch), Some(found)) =
        (header.u8(), header.u16(), header.u32(), header.u32())
    else {
        return Ok(None);
    };
    let expected = checksum(frame);
    if expected != found {
        return Err(FrameError::Checksum { expected, found });
    }
    let body = &frame[FRAME_HEADER_LEN..];
    let malformed = FrameError::Body { kind };
    let decoded = match phase {
        Phase::Handshake if handshake::is_kind(kind) => {
            let is_plain = zero == 0 && partition == 0 && epoch == 0;
            let handshake = is_plain.then(|| Handshake::decode(kind, body)).flatten().ok_or(malformed)?;
            Frame::Handshake(handshake)
        }
        Phase::Open if kind == ALIVE => {
            let is_plain = zero == 0 && partition == 0 && epoch == 0 && body.is_empty();
            if !is_plain {
                return Err(malformed);
            }
            Frame::Alive
        }
        Phase::Open if body::is_kind(kind) => {
            let partition = PartitionId::new(partition);
            let body: Option<Body> = if zero == 0 { body::decode(kind, partition, body) } else { None };
            Frame::Message { partition, message: Message { epoch: Epoch::new(epoch), body: body.ok_or(malformed)? } }
        }
        _ => return Err(FrameError::Kind { kind }),
    };
    Ok(Some((decoded, frame.len())))
}
