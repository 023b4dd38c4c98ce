//! The whole binary as clients meet it: the `redis` crate in both protocols, and `redis-cli`.

mod admin;
mod cli;
mod library;
mod limits;
#[path = "../serve/support.rs"]
#[expect(dead_code, reason = "the server's own tests use the rest")]
mod support;
