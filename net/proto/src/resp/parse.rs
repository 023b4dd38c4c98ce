//! Requests, as their bytes arrive.

use alloc::vec::Vec;

use super::{
    Args, ParseError, Span,
    inline::split_words,
    number::{Length, length_at},
};
use crate::limits::{ARGS_KEPT, Limits, SCRATCH_KEPT};

/// How far a parse came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// A command is complete; it took the first `consumed` bytes of the input. Its arguments are
    /// [`Parser::args`], and may be none at all.
    Complete {
        /// Bytes of the input that belong to the command.
        consumed: usize,
    },
    /// More bytes are needed. Parse again with an input that starts with the same bytes, once it has at least `need`
    /// of them (or any time before).
    Incomplete {
        /// The least number of bytes that the whole command can have, as far as is known. Grow a buffer as bytes
        /// arrive, not to this at once: the peer has only claimed it.
        need: usize,
    },
}

/// An incremental parser of requests: arrays of bulk strings, and inline commands.
///
/// One parser per connection. The connection keeps the bytes that were not consumed and hands them in again, followed
/// by what arrived since; the parser remembers how far it came, so a large argument is not read again from its start.
#[derive(Default, Debug)]
pub struct Parser {
    /// Where the arguments found so far lie: in the input, or in `scratch` for an inline command.
    spans: Vec<Span>,
    scratch: Vec<u8>,
    inline: bool,
    state: State,
}

#[derive(Clone, Copy, Default, Debug)]
enum State {
    /// Nothing of the next command has been understood; `searched` bytes are known to hold no line end.
    #[default]
    Start,
    Line {
        searched: usize,
    },
    /// In an array: `missing` arguments are still to come, the next one (its length line) at `pos`.
    Array {
        missing: usize,
        pos: usize,
    },
}

impl Parser {
    /// A parser that has seen nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { spans: Vec::new(), scratch: Vec::new(), inline: false, state: State::Start }
    }

    /// Looks for one command at the start of `input`.
    ///
    /// After [`Progress::Incomplete`] the next input must start with the same bytes; after [`Progress::Complete`] it
    /// starts with what follows the command.
    ///
    /// # Errors
    /// When the bytes are no request. The connection must then be closed.
    #[inline]
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Progress, ParseError> {
        match self.state {
            State::Start => {
                self.forget();
                match input.first() {
                    None => Ok(Progress::Incomplete { need: 1 }),
                    Some(b'*') => self.array_start(input, limits),
                    Some(_) => self.line(input, 0, limits),
                }
            }
            State::Array { missing, pos } => self.array(input, missing, pos, limits),
            State::Line { searched } => self.line(input, searched, limits),
        }
    }

    /// The arguments of the command that `input`, the same bytes as before, turned out to start with.
    #[must_use]
    #[inline]
    pub fn args<'a>(&'a self, input: &'a [u8]) -> Args<'a> {
        Args::new(if self.inline { &self.scratch } else { input }, &self.spans)
    }

    /// Whether part of a command has been seen: a deadline for the rest of it may run.
    #[must_use]
    pub const fn is_partial(&self) -> bool {
        !matches!(self.state, State::Start)
    }

    fn forget(&mut self) {
        self.spans.clear();
        if self.spans.capacity() > ARGS_KEPT {
            self.spans.shrink_to(ARGS_KEPT);
        }
        if self.inline {
            self.inline = false;
            self.scratch.clear();
            self.scratch.shrink_to(SCRATCH_KEPT);
        }
    }

    #[inline]
    fn array_start(&mut self, input: &[u8], limits: &Limits) -> Result<Progress, ParseError> {
        let (value, next) = match length_at(input, 1) {
            Length::Is { value, next } => (value, next),
            Length::Partial => return Ok(Progress::Incomplete { need: input.len() + 1 }),
            Length::Bad => return Err(ParseError::ArrayLength),
        };
        // An array of no arguments, or of minus any number of them, is skipped without a word.
        let missing = usize::try_from(value).unwrap_or(0);
        if missing > limits.array_len {
            let unauthenticated = limits.unauthenticated;
            return Err(if unauthenticated { ParseError::UnauthenticatedArrayLength } else { ParseError::ArrayLength });
        }
        self.array(input, missing, next, limits)
    }

    #[inline]
    fn array(
        &mut self,
        input: &[u8],
        mut missing: usize,
        mut pos: usize,
        limits: &Limits,
    ) -> Result<Progress, ParseError> {
        while missing > 0 {
            let end = match bulk_at(input, pos, limits)? {
                Bulk::Is { start, end } => {
                    self.spans.push(Span { start: bounded(start), len: bounded(end - start) });
                    end + 2
                }
                Bulk::Partial { need } => {
                    self.state = State::Array { missing, pos };
                    return Ok(Progress::Incomplete { need });
                }
            };
            missing -= 1;
            pos = end;
        }
        self.state = State::Start;
        Ok(Progress::Complete { consumed: pos })
    }

    fn line(&mut self, input: &[u8], searched: usize, limits: &Limits) -> Result<Progress, ParseError> {
        let within = &input[..input.len().min(limits.inline_len)];
        let fresh = within.get(searched..).unwrap_or_default();
        let Some(end) = fresh.iter().position(|&byte| byte == b'\n').map(|offset| searched + offset) else {
            if input.len() >= limits.inline_len {
                return Err(ParseError::InlineLength);
            }
            self.state = State::Line { searched: input.len() };
            return Ok(Progress::Incomplete { need: input.len() + 1 });
        };
        let line = &input[..end];
        self.inline = true;
        split_words(line.strip_suffix(b"\r").unwrap_or(line), &mut self.scratch, &mut self.spans)?;
        if self.spans.len() > limits.array_len {
            return Err(ParseError::InlineLength);
        }
        self.state = State::Start;
        Ok(Progress::Complete { consumed: end + 1 })
    }
}

enum Bulk {
    Is { start: usize, end: usize },
    Partial { need: usize },
}

/// Reads the argument whose length line starts at `pos`.
#[inline]
fn bulk_at(input: &[u8], pos: usize, limits: &Limits) -> Result<Bulk, ParseError> {
    match input.get(pos) {
        Some(b'$') => {}
        Some(&found) => return Err(ParseError::ExpectedBulk { found }),
        None => return Ok(Bulk::Partial { need: pos + 1 }),
    }
    let (value, start) = match length_at(input, pos + 1) {
        Length::Is { value, next } => (value, next),
        Length::Partial => return Ok(Bulk::Partial { need: input.len() + 1 }),
        Length::Bad => return Err(ParseError::BulkLength),
    };
    let len = match usize::try_from(value) {
        Ok(len) if len <= limits.bulk_len => len,
        Ok(_) if limits.unauthenticated => return Err(ParseError::UnauthenticatedBulkLength),
        _ => return Err(ParseError::BulkLength),
    };
    let end = start + len;
    if end + 2 > limits.command_len {
        return Err(ParseError::CommandLength { max: limits.command_len });
    }
    match input.get(end..end + 2) {
        Some(b"\r\n") => Ok(Bulk::Is { start, end }),
        Some(_) => Err(ParseError::BulkEnd),
        None => Ok(Bulk::Partial { need: end + 2 }),
    }
}

/// A position within a command: below `Limits::command_len`, which is below `u32::MAX`.
#[inline]
fn bounded(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
