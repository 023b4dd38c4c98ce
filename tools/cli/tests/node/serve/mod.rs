//! The whole binary as a server: starting, stopping, crashing.

mod crash_loop;
mod startup;
