//! One connection with another node, from its first step on.

use std::net::SocketAddr;
use std::time::Instant;

use thiserror::Error;
use windrow_core::replication::ReplicaId;

use super::handshake::{HandshakeError, Handshaking};
use super::host::CloseReason;
use super::input::{Broken, Input};
use super::limits::INPUT_LEN_STRANGER;
use super::outgoing::{Batch, Outgoing};
use super::pace::Pace;
use super::stream::Stream;
use crate::ring::{ConnId, Interest, Ring};

/// How far a connection has come.
#[derive(Debug)]
pub(super) enum Stage {
    /// It is being made, to the node at this place of the list.
    Connecting(usize),
    /// The ends are proving who they are. To the node at this place of the list, if this end connected.
    Handshake(Handshaking, Option<usize>),
    /// It is with this node, at this place of the list.
    Open(ReplicaId, usize),
}

/// Why a connection ends.
#[derive(Debug, Error)]
pub(super) enum Why {
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("the handshake has taken too long")]
    Slow,
    #[error("{0}")]
    Broken(#[from] Broken),
    #[error("nothing has come from there for {0} ms")]
    Silent(u128),
    #[error("a newer connection takes its place")]
    Replaced,
    #[error("{0}")]
    Asked(CloseReason),
}

impl Why {
    /// The host is there, and nobody listens on it.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Broken(Broken::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused)
    }

    /// What complaints are told apart by.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::Handshake(HandshakeError::Rejected(_)) => "rejected",
            Self::Handshake(HandshakeError::RejectedByPeer(_)) => "rejected by peer",
            Self::Handshake(HandshakeError::OtherReplica { .. }) => "other replica",
            Self::Handshake(HandshakeError::Layout { .. }) => "other layout",
            Self::Handshake(HandshakeError::Version { .. }) => "other version",
            Self::Handshake(_) => "malformed handshake",
            Self::Slow => "slow",
            Self::Broken(Broken::Ended) => "ended",
            Self::Broken(Broken::Io(_)) => "io",
            Self::Broken(Broken::Frame(_)) => "malformed",
            Self::Broken(Broken::Misplaced(_)) => "misplaced",
            Self::Broken(Broken::Rejected(_)) => "rejected by peer",
            Self::Broken(Broken::Refused(_)) | Self::Asked(_) => "asked",
            Self::Silent(_) => "silent",
            Self::Replaced => "replaced",
        }
    }
}

/// One connection with another node.
///
/// It can be closed at any moment: the kernel holds nothing of it but waits for readiness, which need no memory, and
/// pinned pieces of the log, which belong to the ring.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnId,
    pub(super) stream: Stream,
    pub(super) remote: SocketAddr,
    pub(super) stage: Stage,
    pub(super) input: Input,
    pub(super) outgoing: Outgoing,
    /// What is being sent.
    pub(super) batch: Batch,
    /// How much of the log that is at most.
    pub(super) pace: Pace,
    /// The driver has no place for what comes next.
    pub(super) paused: bool,
    /// Reads from disk that what is to be sent next waits for.
    pub(super) cold_reads: usize,
    /// The ring is sending a piece of the batch.
    pub(super) with_ring: bool,
    waits_to_read: bool,
    waits_to_write: bool,
    pub(super) opened: Instant,
    /// When something has come the last time.
    pub(super) heard: Instant,
    /// When something was sent the last time.
    pub(super) spoke: Instant,
}

impl Connection {
    pub(super) fn new(id: ConnId, stream: Stream, remote: SocketAddr, stage: Stage, now: Instant) -> Self {
        Self {
            id,
            stream,
            remote,
            stage,
            input: Input::new(INPUT_LEN_STRANGER),
            outgoing: Outgoing::default(),
            batch: Batch::default(),
            pace: Pace::default(),
            paused: false,
            cold_reads: 0,
            with_ring: false,
            waits_to_read: false,
            waits_to_write: false,
            opened: now,
            heard: now,
            spoke: now,
        }
    }

    /// The place in the list of the node that it is with, or is to be with.
    pub(super) const fn link(&self) -> Option<usize> {
        match &self.stage {
            Stage::Connecting(link) | Stage::Open(_, link) => Some(*link),
            Stage::Handshake(_, link) => *link,
        }
    }

    /// Whether the other end has not proved who it is.
    pub(super) const fn is_stranger(&self) -> bool {
        matches!(self.stage, Stage::Handshake(_, None))
    }

    pub(super) const fn is_waiting(&self, interest: Interest) -> bool {
        match interest {
            Interest::Read => self.waits_to_read,
            Interest::Write => self.waits_to_write,
        }
    }

    const fn waits(&mut self, interest: Interest) -> &mut bool {
        match interest {
            Interest::Read => &mut self.waits_to_read,
            Interest::Write => &mut self.waits_to_write,
        }
    }

    /// Has the ring wait until the socket is ready, unless it does already.
    pub(super) fn wait(&mut self, ring: &mut Ring, interest: Interest) {
        if !std::mem::replace(self.waits(interest), true) {
            ring.wait_ready(self.id, std::os::fd::AsFd::as_fd(&self.stream), interest);
        }
    }

    /// The ring has waited.
    pub(super) fn is_ready(&mut self, interest: Interest) {
        *self.waits(interest) = false;
        if interest == Interest::Read {
            self.input.may_read();
        }
    }

    /// Ends it.
    pub(super) fn close(mut self, ring: &mut Ring) {
        self.stream.shut();
        for interest in [Interest::Read, Interest::Write] {
            if *self.waits(interest) {
                ring.cancel_ready(self.id, interest);
            }
        }
    }
}
