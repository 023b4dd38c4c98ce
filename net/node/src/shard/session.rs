//! What a node remembers about one client between its commands.

use std::net::SocketAddr;
use std::time::Instant;

use windrow_proto::resp::Protocol;

use super::transaction::Transaction;
use crate::role::Access;
use crate::settings::Durability;

/// Which replies a client wants (`CLIENT REPLY`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ReplyMode {
    /// All of them.
    #[default]
    On,
    /// None until it is switched on again.
    Off,
    /// The reply of the next command is left out (set by `CLIENT REPLY SKIP`).
    SkipNext,
}

/// How many bytes and commands a session has seen. Written by the shard.
#[derive(Clone, Copy, Default, Debug)]
pub struct Traffic {
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent.
    pub bytes_out: u64,
    /// Commands executed.
    pub commands: u64,
    /// Bytes received that are not a whole command yet.
    pub input_len: usize,
    /// Bytes of replies that are not sent yet.
    pub output_len: usize,
    /// Replies that are not sent yet.
    pub replies_waiting: usize,
}

/// The state of one client connection.
///
/// Owned by the shard that the connection lives on; only that core sees it. The fields are plain: the shard writes
/// `traffic`, `last_active` and `transaction`, the connection commands write the rest.
#[derive(Debug)]
pub struct Session {
    /// Never used twice by one node; rises with every connection (`CLIENT ID`).
    pub id: u64,
    /// The client's address.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// When it connected.
    pub connected: Instant,
    /// When its last bytes came in.
    pub last_active: Instant,
    /// May run commands. True from the start where no password is set.
    pub authenticated: bool,
    /// The version of the protocol it speaks.
    pub protocol: Protocol,
    /// Which replies it wants.
    pub reply_mode: ReplyMode,
    /// `CLIENT SETNAME`; empty where none is set.
    pub name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-NAME`; empty where none is set.
    pub lib_name: Box<[u8]>,
    /// `CLIENT SETINFO LIB-VER`; empty where none is set.
    pub lib_version: Box<[u8]>,
    /// The database it selected. Only 0 exists.
    pub database: u32,
    /// `CLIENT NO-EVICT`.
    pub no_evict: bool,
    /// `CLIENT DURABILITY`: `None` where the node's setting holds.
    pub durability: Option<Durability>,
    /// `READONLY`, `CLIENT STALENESS`.
    pub access: Access,
    /// `CLIENT NO-TOUCH`.
    pub no_touch: bool,
    /// The name of the last command, in lower case and without allocating: a `'static` name from the command table.
    pub last_command: &'static str,
    /// What it sent and got.
    pub traffic: Traffic,
    /// `MULTI`, `WATCH`. `None` in the steady state.
    pub transaction: Option<Box<Transaction>>,
    /// How often its next command has waited for records on disk. Written by the shard.
    pub disk_rounds: usize,
    /// Set by `CLIENT KILL`: the shard closes the connection at the end of the tick.
    pub killed: bool,
}

impl Session {
    /// A session that has just connected.
    #[must_use]
    pub fn new(id: u64, peer: SocketAddr, local: SocketAddr, now: Instant) -> Self {
        Self {
            id,
            peer,
            local,
            connected: now,
            last_active: now,
            authenticated: false,
            protocol: Protocol::Resp2,
            reply_mode: ReplyMode::On,
            name: Box::default(),
            lib_name: Box::default(),
            lib_version: Box::default(),
            database: 0,
            no_evict: false,
            durability: None,
            access: Access::default(),
            no_touch: false,
            last_command: "",
            traffic: Traffic::default(),
            transaction: None,
            disk_rounds: 0,
            killed: false,
        }
    }

    /// Whether commands are being queued for `EXEC`.
    #[must_use]
    pub fn in_multi(&self) -> bool {
        self.transaction.as_ref().is_some_and(|transaction| transaction.open)
    }
}
