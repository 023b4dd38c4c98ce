//! The handshake from both ends, without a socket: `Opening`, `Challenge`, `Proof`, `Welcome`.
//!
//! Cluster and mode are compared before anything else; whoever connected proves first that it knows the secret; both
//! ends know each other's replica when it is over. A stranger learns nothing but identities from it, and costs one
//! frame's worth of memory.

use thiserror::Error;
use windrow_core::replication::ReplicaId;
use windrow_core::types::ClusterId;
use windrow_proto::replication::{
    Challenge, FrameError, Handshake, Layout, Mode, NONCE_LEN, Opening, Rejection, VERSION, Versions, Welcome, agree,
};

use super::secret::{Secret, Side};

/// Features that this build understands, and those that it requires: none are defined yet.
const FEATURES: u64 = 0;

/// Who this end is.
#[derive(Clone, Debug)]
pub(super) struct Own {
    pub(super) replica: ReplicaId,
    pub(super) cluster: ClusterId,
    pub(super) mode: Mode,
    pub(super) layout: Layout,
    pub(super) secret: Secret,
    /// Everybody else.
    pub(super) peers: Vec<ReplicaId>,
}

/// Why a handshake failed. Every message says what to do where there is something to be done.
#[derive(Error, Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum HandshakeError {
    /// This end rejected the other one.
    #[error("{0}; {remedy}", remedy = remedy(*.0))]
    Rejected(Rejection),
    /// The other end rejected this one.
    #[error("the other side refuses: {0}; {remedy}", remedy = remedy(*.0))]
    RejectedByPeer(Rejection),
    /// Another replica than expected answers.
    #[error(
        "replica {found} answers where {expected} is expected; compare the addresses in the list of peers, and whether \
         that node's data directory was made anew"
    )]
    OtherReplica {
        /// Which one is configured.
        expected: ReplicaId,
        /// Which one is there.
        found: ReplicaId,
    },
    /// The nodes speak different versions of the protocol.
    #[error(
        "this node speaks {own} of the protocol between nodes and the other one {other}; run the same version of Windrow \
         on all nodes of a set (`windrow --version` says which one a program is)"
    )]
    Version {
        /// What this node speaks.
        own: Versions,
        /// What the other one speaks.
        other: Versions,
    },
    /// The nodes lay their partitions out otherwise.
    #[error(
        "this node has {own} and the other one {other}; give all nodes of a set the same number of cores (`cores`), and \
         make their directories with the same number of partitions (`windrow init --partitions`)"
    )]
    Layout {
        /// What this node has.
        own: Layout,
        /// What the other one has.
        other: Layout,
    },
    /// A frame that does not belong here.
    #[error("what came does not belong into a handshake; is that a peer port of Windrow, and the same version?")]
    OutOfTurn,
    /// What came is no frame.
    #[error("what came is no frame of a handshake ({0}); is that a peer port of Windrow, and the same version?")]
    Malformed(#[from] FrameError),
}

/// What to do about a rejection. The messages of [`Rejection`] say what it is.
const fn remedy(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::Version(_) | Rejection::Features => "run the same version of Windrow on both nodes",
        Rejection::Mode => "run the same build (shared-nothing) on both nodes",
        Rejection::Cluster => {
            "one of the data directories belongs to another cluster: check `dir` and the list of peers on both nodes"
        }
        Rejection::Proof => "copy the file with the secret from one node to the other, and restart the other",
        Rejection::Stranger => {
            "compare the list of peers on both nodes with the replica that each of them reports: a data directory \
             that was made anew is another replica"
        }
        Rejection::Busy => "it is tried again; if that goes on, find out who else connects to the peer port",
        _ => "compare the logs of both nodes",
    }
}

impl HandshakeError {
    /// The other end has rejected this one.
    pub(super) const fn by_peer(own: &Own, rejection: Rejection) -> Self {
        match rejection {
            Rejection::Layout(other) => Self::Layout { own: own.layout, other },
            Rejection::Version(other) => Self::Version { own: Versions::OWN, other },
            other => Self::RejectedByPeer(other),
        }
    }
}

/// How far a handshake has come.
#[derive(Debug)]
enum Step {
    /// Connecting: the challenge comes next.
    Challenge { expected: ReplicaId, opening: Vec<u8> },
    /// Connecting: the welcome comes next.
    Welcome { peer: ReplicaId, opening: Vec<u8>, challenge: Vec<u8> },
    /// Accepting: the opening comes next.
    Opening { nonce: [u8; NONCE_LEN] },
    /// Accepting: the proof comes next.
    Proof { peer: ReplicaId, opening: Vec<u8>, challenge: Vec<u8> },
    /// It is over.
    Over,
}

/// One end of a handshake.
#[derive(Debug)]
pub(super) struct Handshaking(Step);

/// What a frame led to.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Progress {
    /// Send this, and wait for the next frame.
    Reply(Handshake),
    /// The peer is known. What is to be sent first, if anything.
    Known(ReplicaId, Option<Handshake>),
    /// Send this, if anything, and close.
    Failed(HandshakeError, Option<Handshake>),
}

/// The body of the frame that `handshake` makes: what proofs are made over.
fn body_of(handshake: &Handshake) -> Vec<u8> {
    let mut frame = Vec::new();
    windrow_proto::replication::encode_handshake(handshake, &mut frame);
    frame.split_off(windrow_proto::replication::FRAME_HEADER_LEN)
}

impl Handshaking {
    /// The end that connects to `expected`, and what it sends first.
    pub(super) fn connecting(own: &Own, expected: ReplicaId, nonce: [u8; NONCE_LEN]) -> (Self, Handshake) {
        let opening = Handshake::Opening(Opening {
            version_min: VERSION,
            version_max: VERSION,
            mode: own.mode,
            features: FEATURES,
            features_required: FEATURES,
            cluster: own.cluster,
            replica: own.replica,
            nonce,
        });
        (Self(Step::Challenge { expected, opening: body_of(&opening) }), opening)
    }

    /// The end that was connected to.
    pub(super) fn accepting(nonce: [u8; NONCE_LEN]) -> Self {
        Self(Step::Opening { nonce })
    }

    /// A frame has come, with this body.
    pub(super) fn handle(&mut self, own: &Own, frame: &Handshake, body: &[u8]) -> Progress {
        match (std::mem::replace(&mut self.0, Step::Over), frame) {
            (Step::Over, _) => Progress::Failed(HandshakeError::OutOfTurn, None),
            (_, Handshake::Rejected(rejection)) => Progress::Failed(HandshakeError::by_peer(own, *rejection), None),
            (Step::Opening { nonce }, Handshake::Opening(opening)) => self.opened(own, opening, body, nonce),
            (Step::Challenge { expected, opening }, Handshake::Challenge(challenge)) => {
                self.challenged(own, challenge, body, expected, opening)
            }
            (Step::Proof { peer, opening, challenge }, Handshake::Proof { proof }) => {
                if !own.secret.is_proof(proof, Side::Connecting, &opening, &challenge) {
                    return reject(Rejection::Proof);
                }
                let proof = own.secret.prove(Side::Accepting, &opening, &challenge);
                let welcome = Welcome { layout: own.layout, proof };
                Progress::Known(peer, Some(Handshake::Welcome(welcome)))
            }
            (Step::Welcome { peer, opening, challenge }, Handshake::Welcome(welcome)) => {
                if !own.secret.is_proof(&welcome.proof, Side::Accepting, &opening, &challenge) {
                    return reject(Rejection::Proof);
                }
                if welcome.layout != own.layout {
                    let error = HandshakeError::Layout { own: own.layout, other: welcome.layout };
                    return Progress::Failed(error, Some(Handshake::Rejected(Rejection::Layout(own.layout))));
                }
                Progress::Known(peer, None)
            }
            _ => Progress::Failed(HandshakeError::OutOfTurn, None),
        }
    }

    fn opened(&mut self, own: &Own, opening: &Opening, body: &[u8], nonce: [u8; NONCE_LEN]) -> Progress {
        let (version, features) = match agree(opening, own.cluster, own.mode, FEATURES, FEATURES) {
            Ok(agreed) => agreed,
            Err(rejection @ Rejection::Version(own)) => {
                let other = Versions { min: opening.version_min, max: opening.version_max };
                return Progress::Failed(HandshakeError::Version { own, other }, Some(Handshake::Rejected(rejection)));
            }
            Err(rejection) => return reject(rejection),
        };
        // The lower one connects, so that there is one connection between two.
        if !own.peers.contains(&opening.replica) || opening.replica >= own.replica {
            return reject(Rejection::Stranger);
        }
        let challenge = Handshake::Challenge(Challenge {
            version,
            mode: own.mode,
            features,
            cluster: own.cluster,
            replica: own.replica,
            nonce,
        });
        self.0 = Step::Proof { peer: opening.replica, opening: body.to_vec(), challenge: body_of(&challenge) };
        Progress::Reply(challenge)
    }

    fn challenged(
        &mut self,
        own: &Own,
        challenge: &Challenge,
        body: &[u8],
        expected: ReplicaId,
        opening: Vec<u8>,
    ) -> Progress {
        if challenge.cluster != own.cluster {
            return reject(Rejection::Cluster);
        }
        if challenge.mode != own.mode {
            return reject(Rejection::Mode);
        }
        if challenge.version != VERSION {
            let (own, other) = (Versions::OWN, Versions { min: challenge.version, max: challenge.version });
            let answer = Handshake::Rejected(Rejection::Version(own));
            return Progress::Failed(HandshakeError::Version { own, other }, Some(answer));
        }
        if challenge.features & !FEATURES != 0 {
            return reject(Rejection::Features);
        }
        if challenge.replica != expected {
            let error = HandshakeError::OtherReplica { expected, found: challenge.replica };
            return Progress::Failed(error, Some(Handshake::Rejected(Rejection::Stranger)));
        }
        let proof = own.secret.prove(Side::Connecting, &opening, body);
        self.0 = Step::Welcome { peer: expected, opening, challenge: body.to_vec() };
        Progress::Reply(Handshake::Proof { proof })
    }
}

fn reject(rejection: Rejection) -> Progress {
    Progress::Failed(HandshakeError::Rejected(rejection), Some(Handshake::Rejected(rejection)))
}

#[cfg(test)]
#[path = "tests/handshake.rs"]
mod tests;
