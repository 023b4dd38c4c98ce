//! The whole binary as clients meet it: the `redis` crate in both protocols, and `redis-cli`.

mod admin;
mod cli;
mod library;
mod limits;
