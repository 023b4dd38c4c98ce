//! The replication wire: frames between replicas, with fixed little-endian layouts.
//!
//! A frame is a [`FRAME_HEADER_LEN`]-byte header with a checksum over itself and the body, then the body. Behind a
//! `Bytes` frame come the bytes of the log that it names; they are not copied here and carry their own checksums.
//! Owns the layouts, their bounds, and the order of the handshake; the proofs in it are computed by whoever has the
//! secret. Fault model: any bytes may come; what is not well-formed is an error, and nothing is allocated before its
//! length has been checked. `docs/replication.md` has the layouts byte by byte.

mod body;
mod cursor;
mod frame;
mod handshake;

pub use frame::{
    FRAME_BODY_LEN_MAX, FRAME_HEADER_LEN, Frame, FrameError, HANDSHAKE_BODY_LEN_MAX, Phase, decode, encode,
    encode_alive, encode_handshake,
};
pub use handshake::{
    Challenge, Handshake, Layout, Mode, NONCE_LEN, Opening, PROOF_LEN, Rejection, VERSION, Versions, Welcome, agree,
};

#[cfg(test)]
mod tests;
