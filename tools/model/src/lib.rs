//! Model checks of what cores and processes share.
//!
//! The files of the protocols are compiled here a second time, unchanged, with loom's atomics instead of the
//! processor's: loom then runs a scenario through every order of events, and every value that a load may return, that
//! the memory model allows, and fails where one of them panics or leaves a thread asleep for ever. `tests/` has one
//! test per scenario; threads and steps are few, so that each ends in seconds.
//!
//! What stands in for the outside: an eventfd is a counter, a futex a word, under a lock with a condition to wait for; a ring of `rtrb`
//! is a bounded queue under a lock, so its own atomics are not part of the model; sequentially consistent accesses,
//! which loom does not have, are accesses with a fence ([`shared`] says what that leaves out).

/// The page that a writer and its followers share.
pub mod control;
mod eventfd;
/// The cores of a node: waking them, and messages between them.
pub mod shared;

/// What the included files import by these names.
mod ring {
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(crate) struct ConnId(pub(crate) u32);
}
mod shard {
    pub(crate) type Message = u32;
}
