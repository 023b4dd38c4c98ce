//! The transport against real sockets: two nodes, or a node and a stranger, on two rings in one thread. Time is given,
//! not waited for.

mod nodes;
mod ranges;
mod stranger;
mod strangers;
mod together;
