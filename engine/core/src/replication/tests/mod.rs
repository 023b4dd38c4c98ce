//! Replicas driven against each other through virtual time.

mod cases;
mod disk;
mod node;
mod promotion;
mod random;
pub(crate) mod rng;
mod units;
mod world;
