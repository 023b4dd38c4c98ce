//! What one core asks of another, or of itself, and the answers.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use windrow_core::types::PartitionId;
use windrow_proto::command::Command;
use windrow_proto::data::Version;
use windrow_proto::resp::{ArgsBuf, Protocol};

use super::counts::Counted;
use super::transaction::{Queued, may_write};
use super::{CoreView, ReplicaWait};
use crate::net::Ticket;
use crate::ring::{ConnId, Mapped};
use crate::role::Access;
use crate::settings::Durability;

/// Who waits for an answer, on the core that asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    /// The core.
    pub(crate) core: usize,
    /// What the answer is for.
    pub(crate) purpose: Purpose,
}

/// What an answer is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// It is the reply to one command of a connection.
    Reply { conn: ConnId, ticket: Ticket, silent: bool },
    /// It is part number `part` of the gathering at this place.
    Part { gathering: u32, part: usize },
    /// The transaction of a connection is executed when it is known, if it is still the one that has asked this.
    Transaction { conn: ConnId, question: u64 },
    /// There is none.
    Nothing,
}

/// Something to be done on a partition.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) asker: Asker,
    /// The connection of the asking core that it is done for: what one connection asks for is done in order.
    pub(crate) conn: ConnId,
    pub(crate) partition: PartitionId,
    pub(crate) protocol: Protocol,
    /// When its answer may go out.
    pub(crate) durability: Durability,
    /// What its client wants of a follower.
    pub(crate) access: Access,
    pub(crate) what: What,
}

/// What is to be done on a partition.
#[derive(Debug)]
pub(crate) enum What {
    /// A data command. `reply` is an empty buffer for its reply.
    Command { command: &'static Command, args: ArgsBuf, reply: Vec<u8> },
    /// `EXEC`.
    Transaction(Box<Package>),
    /// `WATCH`: the versions of these keys.
    Watch(Vec<Box<[u8]>>),
    /// Answers once everything appended so far is flushed.
    Flush,
    /// Answers once so many replicas have flushed everything appended so far, or at the deadline.
    Count { wait: ReplicaWait, deadline: Instant },
    /// Answers at once how many replicas have flushed everything appended so far.
    CountNow,
    /// Nobody waits any longer for what the connection has asked to be counted. Is not answered.
    StopCounting,
}

/// A transaction that is ready to be executed.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) queued: Vec<Queued>,
    /// The replies of those queued commands that are not about data; they have been executed.
    pub(crate) replies: Vec<Option<Vec<u8>>>,
    pub(crate) watched: Vec<(Box<[u8]>, Version)>,
}

impl Package {
    /// Whether it may change data.
    pub(crate) fn writes(&self) -> bool {
        may_write(&self.queued)
    }
}

/// What came of an errand or a task.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) asker: Asker,
    pub(crate) result: Outcome,
    /// The arguments' memory goes back to where it came from.
    pub(crate) spent: ArgsBuf,
}

/// What came of an errand or a task.
pub(crate) enum Outcome {
    /// A reply as it goes to the client.
    Reply(Vec<u8>),
    /// The same up to a value, which is sent from the log: it and CR LF follow.
    Large { reply: Vec<u8>, value: Mapped },
    /// The versions of the keys of a `WATCH`.
    Versions(Vec<(Box<[u8]>, Version)>),
    /// The result of a task.
    Piece(Box<dyn Any + Send>),
    /// In how many logs it is flushed.
    Counted(Counted),
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reply(bytes) => f.debug_tuple("Reply").field(&bytes.len()).finish(),
            Self::Large { value, .. } => f.debug_tuple("Large").field(value).finish(),
            Self::Versions(versions) => f.debug_tuple("Versions").field(versions).finish(),
            Self::Piece(_) => f.write_str("Piece"),
            Self::Counted(counted) => f.debug_tuple("Counted").field(counted).finish(),
        }
    }
}

/// A task for every core: see [`Effect::every_core`](super::Effect::every_core).
pub(crate) type CoreTask = Arc<dyn Fn(&mut dyn CoreView) -> Box<dyn Any + Send> + Send + Sync>;

/// What travels between cores.
#[cfg(feature = "shared-memory")]
pub(crate) enum Message {
    /// To be done on a partition of the receiver.
    Errand(Errand),
    /// To be done on the receiver.
    Task { asker: Asker, task: CoreTask },
    /// What came of it.
    Answer(Answer),
}
