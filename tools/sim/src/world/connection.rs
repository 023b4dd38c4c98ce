//! What the process knows of one connection.

use std::collections::VecDeque;

use windrow_core::types::Lsn;
use windrow_proto::data::{Gather, Part, Version};
use windrow_proto::resp::{ArgsBuf, Parser};

use crate::client::Request;

/// Something in a replica's log: which replica, and how far.
pub(super) type Position = (usize, Lsn);

/// A reply that waits to be sent.
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    /// What the engine says it must wait for.
    pub(super) waits: Vec<Position>,
    /// What it depends on, by the model.
    pub(super) depends_on: Vec<Position>,
}

/// A command that is being executed, part by part.
pub(super) struct Parts {
    pub(super) args: Request,
    pub(super) gather: Gather,
    pub(super) parts: VecDeque<Part>,
    pub(super) waits: Vec<Position>,
    pub(super) depends_on: Vec<Position>,
}

/// A watched key, as the engine and as the model saw it.
pub(super) struct Watched {
    pub(super) key: Vec<u8>,
    pub(super) version: Version,
    pub(super) known: Option<Lsn>,
}

/// One connection.
pub(super) struct Connection {
    pub(super) client: usize,
    pub(super) parser: Parser,
    pub(super) input: Vec<u8>,
    pub(super) output: VecDeque<Reply>,
    pub(super) parts: Option<Parts>,
    /// A command that found the log not ready.
    pub(super) again: Option<Request>,
    /// Commands queued since MULTI.
    pub(super) queued: Option<Vec<Request>>,
    /// A command could not be queued.
    pub(super) broken: bool,
    pub(super) watched: Vec<Watched>,
    /// A run of this connection is scheduled.
    pub(super) awake: bool,
    /// Waits for a segment.
    pub(super) stalled: bool,
}

impl Connection {
    pub(super) const fn new(client: usize) -> Self {
        Self {
            client,
            parser: Parser::new(),
            input: Vec::new(),
            output: VecDeque::new(),
            parts: None,
            again: None,
            queued: None,
            broken: false,
            watched: Vec::new(),
            awake: false,
            stalled: false,
        }
    }
}

pub(crate) fn buffered(request: &Request) -> ArgsBuf {
    let mut args = ArgsBuf::new();
    request.iter().for_each(|arg| args.push(arg));
    args
}
