//! What ends a run, told apart so that the message can say where to look.

use std::io;
use std::path::PathBuf;

use crate::resp::Malformed;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot reach {address}: {source}")]
    Connect { address: String, source: io::Error },
    #[error("{address} said to {command}: {message}")]
    Handshake { address: String, command: &'static str, message: String },
    #[error("{address} does not speak RESP: {source}")]
    Protocol { address: String, source: Malformed },
    #[error(
        "{address} has answered nothing for {seconds} s, with {outstanding} requests under way and {left} still to be \
         sent by this thread: the server hangs. --stall sets how long is waited"
    )]
    Stalled { address: String, seconds: u64, outstanding: usize, left: u64 },
    #[error("cannot pin a thread to core {core}: {source}")]
    Pin { core: usize, source: io::Error },
    #[error("the client's own {what} failed: {source}")]
    Client { what: &'static str, source: io::Error },
    #[error("cannot read process {pid} in /proc: {source}")]
    Process { pid: u32, source: io::Error },
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("{} is not a result of windrow-load: {source}", path.display())]
    Result { path: PathBuf, source: serde_json::Error },
    #[error("{} has format {found}, this program reads {expected}", path.display())]
    Format { path: PathBuf, found: u32, expected: u32 },
    #[error("{0}")]
    Usage(#[from] Usage),
}

/// Settings that do not go together.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Usage {
    #[error(
        "workload E scans ranges of keys in order, and keys behind RESP have no order that can be scanned. \
         Run D for its inserts, or give the reads you mean with --mix"
    )]
    Scans,
    #[error("keys of {size} bytes cannot hold the prefix and {keys} numbers: at least {needed} bytes")]
    KeyTooShort { size: usize, keys: u64, needed: usize },
    #[error(
        "--verify needs values of at least {needed} bytes, for key, version and length; the smallest is {smallest}"
    )]
    ValueTooSmall { smallest: u32, needed: u32 },
    #[error("--verify knows what get, set, insert and rmw should see, not {operation}")]
    NotVerifiable { operation: String },
    #[error("the mix has no operation with a weight")]
    EmptyMix,
    #[error("{connections} connections cannot be shared by {threads} threads: give each at least one")]
    FewConnections { connections: usize, threads: usize },
    #[error("there is no core {core}")]
    NoSuchCore { core: usize },
    #[error("a command line template must have a command and {{key}} or {{value}} only in braces: {text}")]
    Template { text: String },
    #[error("{what} must be {allowed}")]
    Range { what: &'static str, allowed: &'static str },
}
