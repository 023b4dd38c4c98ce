//! The handshake of peers as the node drives it: whatever a stranger sends, it ends without a panic and without anybody
//! being known; and what two nodes say to each other leads to a connection only where nobody has changed it on the way.
//!
//! The input is a row of pieces, each a length byte and so many bytes. The first byte says which end is played by the
//! input, or that both are real and the input changes frames between them.

use windrow_core::replication::ReplicaId;
use windrow_core::types::ClusterId;
use windrow_proto::replication::{
    FRAME_HEADER_LEN, Frame, Handshake, Layout, Mode, NONCE_LEN, Phase, decode, encode_handshake,
};

use self::node::{Handshaking, Own, Progress};
use self::secret::Secret;
use crate::replication::mend;

// The node's files, compiled a second time and unchanged: outside of the node nobody else needs them.
#[expect(unreachable_pub, reason = "public there")]
#[path = "../../../net/node/src/peers/handshake.rs"]
mod node;
#[expect(unreachable_pub, reason = "public there")]
#[cfg_attr(not(test), expect(dead_code, reason = "secrets come from files there"))]
#[path = "../../../net/node/src/peers/secret.rs"]
mod secret;

/// As in the node.
mod limits {
    pub(super) const SECRET_LEN_MIN: usize = 16;
    pub(super) const SECRET_LEN_MAX: usize = 1 << 10;
}

const LOW: ReplicaId = ReplicaId::new(1);
const HIGH: ReplicaId = ReplicaId::new(2);

/// Tries one input.
pub fn handshake(data: &[u8]) {
    let Some((&role, rest)) = data.split_first() else { return };
    match role % 3 {
        0 => strangers(&own(HIGH, LOW), Handshaking::accepting([4; NONCE_LEN]), rest),
        1 => strangers(&own(LOW, HIGH), Handshaking::connecting(&own(LOW, HIGH), HIGH, [3; NONCE_LEN]).0, rest),
        _ => between(rest),
    }
}

fn own(replica: ReplicaId, peer: ReplicaId) -> Own {
    Own {
        replica,
        cluster: ClusterId([0; 16]),
        mode: Mode::SharedNothing,
        layout: Layout { partitions: 1, cores: 1 },
        secret: Secret::new(b"0123456789abcdef"),
        peers: vec![peer],
    }
}

/// Frames of somebody who does not know the secret.
fn strangers(own: &Own, mut end: Handshaking, mut rest: &[u8]) {
    let mut is_over = false;
    while let Some((&len, tail)) = rest.split_first() {
        let (piece, tail) = tail.split_at(usize::from(len).min(tail.len()));
        rest = tail;
        for bytes in [mend(piece), piece.to_vec()] {
            let Some((frame, body)) = read(&bytes) else { continue };
            let progress = end.handle(own, &frame, &body);
            assert!(
                !is_over || matches!(progress, Progress::Failed(..)),
                "nothing follows a handshake that has failed"
            );
            match progress {
                Progress::Reply(reply) => drop(written(&reply)),
                Progress::Known(peer, _) => panic!("a stranger passes for replica {peer}"),
                Progress::Failed(error, reply) => {
                    assert!(!error.to_string().is_empty(), "a reason is given");
                    reply.iter().for_each(|reply| drop(written(reply)));
                    is_over = true;
                }
            }
        }
    }
}

/// Two nodes, and somebody between them who changes a byte of a frame now and then.
fn between(changes: &[u8]) {
    let (low, high) = (own(LOW, HIGH), own(HIGH, LOW));
    let (mut connecting, opening) = Handshaking::connecting(&low, HIGH, [3; NONCE_LEN]);
    let mut accepting = Handshaking::accepting([4; NONCE_LEN]);
    let (mut to_high, mut is_changed) = (written(&opening), false);
    for pair in changes.chunks(4).chain([&[0; 4][..]; 2]) {
        is_changed |= change(&mut to_high, pair.get(..2));
        let Some((frame, body)) = read(&to_high) else { return };
        let Some(mut to_low) = said(accepting.handle(&high, &frame, &body), is_changed) else { return };
        is_changed |= change(&mut to_low, pair.get(2..4));
        let Some((frame, body)) = read(&to_low) else { return };
        let Some(next) = said(connecting.handle(&low, &frame, &body), is_changed) else { return };
        to_high = next;
    }
    panic!("a handshake has an end");
}

/// The frame that goes out; `None` where the handshake is over.
fn said(progress: Progress, is_changed: bool) -> Option<Vec<u8>> {
    match progress {
        Progress::Reply(reply) => Some(written(&reply)),
        Progress::Known(_, reply) => {
            assert!(!is_changed, "frames that were changed pass");
            reply.map(|reply| written(&reply))
        }
        Progress::Failed(..) => {
            assert!(is_changed, "two nodes of one set find each other");
            None
        }
    }
}

/// Adds to one byte of a body, and mends the checksum. Returns whether that changed anything.
fn change(frame: &mut Vec<u8>, how: Option<&[u8]>) -> bool {
    let Some(&[at, by]) = how else { return false };
    let body = frame.len() - FRAME_HEADER_LEN;
    let mut piece = [&[frame[4], 0], &frame[FRAME_HEADER_LEN..]].concat();
    piece[2 + usize::from(at) % body] ^= by;
    *frame = mend(&piece);
    by != 0
}

fn read(bytes: &[u8]) -> Option<(Handshake, Vec<u8>)> {
    let (frame, len) = decode(bytes, Phase::Handshake).ok().flatten()?;
    let Frame::Handshake(handshake) = frame else { return None };
    Some((handshake, bytes[FRAME_HEADER_LEN..len].to_vec()))
}

fn written(handshake: &Handshake) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_handshake(handshake, &mut frame);
    assert!(read(&frame).is_some_and(|(again, _)| again == *handshake), "what a node says can be read");
    frame
}
