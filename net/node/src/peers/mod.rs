//! The connections between the nodes of a cluster: what replicas say to one another, and the bytes of the log.
//!
//! In shared-nothing mode every core is an endpoint of its own, for peers as for clients: it listens on the peer port
//! plus its number, and keeps one connection with the same core of every other node, which carries all partitions of
//! the core. A [`Transport`] owns these connections and the core's listener; whoever drives the replicas is told what
//! comes ([`Host`]) and says what is to go ([`Outbox`]).
//!
//! Between two logs there is no copy in user space. A leader's bytes are gathered into a send from where they lie, or,
//! where there are many, the kernel takes the pages themselves. A follower's are received straight into its segment:
//! the call that receives borrows the memory and ends at once, so that the kernel never writes into the log later.
//!
//! Fault model: anybody may connect and send anything. Before both ends have proved that they know the secret, a
//! connection costs one small buffer and ends by itself after a while, and there is a bound on how many there are.
//! After that, whatever is malformed ends the connection. A peer that takes nothing costs a bounded queue and one
//! pinned range; one that says nothing is disconnected, and connected with again after a while. Messages may be lost
//! with a connection or by a full queue: the replicas ask again.
//!
//! What TLS will need is in `stream`: it is the only place that touches a socket.

mod complaints;
mod config;
mod connection;
mod counters;
mod handshake;
mod host;
mod input;
pub mod limits;
mod links;
mod outgoing;
mod pace;
mod place;
mod progress;
mod secret;
mod strangers;
mod stream;
mod transport;
mod upkeep;

pub use config::{LargeWay, PeerAddress, Times, WireConfig};
pub use counters::WireCounters;
pub use handshake::HandshakeError;
pub use host::{CloseReason, Command, Host, Outbox, Piece, Range, Room};
pub use links::{LinkState, LinkStatus};
pub use place::{Place, Resolver};
pub use secret::{Secret, SecretError, Side};
pub use transport::Transport;

#[cfg(test)]
mod tests;
