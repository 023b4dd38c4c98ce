//! RESP: requests in ([`Parser`], [`Args`]), replies out ([`Encoder`]).
//!
//! A request's arguments are ranges of the bytes that were received: nothing is copied, and a parser that is used
//! again allocates nothing. No input makes it panic, and what it holds is bounded by [`Limits`](crate::limits::Limits).

mod args;
mod encode;
mod error;
mod inline;
mod number;
mod parse;
#[cfg(test)]
mod tests;

pub use args::{Args, ArgsBuf, Span};
pub use encode::{Encoder, Protocol, format_double};
pub use error::ParseError;
pub use number::parse_i64;
pub use parse::{Parser, Progress};
