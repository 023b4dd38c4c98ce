//! Replies, as bytes.

use alloc::vec::Vec;
use core::fmt::{self, Write};

/// Which version of RESP a connection has asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// Version 2, until HELLO says otherwise.
    #[default]
    Resp2,
    /// Version 3.
    Resp3,
}

/// Writes replies to the end of a buffer.
///
/// What RESP2 lacks is written as what Redis sends instead: a map as a flat array, a set and a push as an array, a
/// boolean as an integer, a double, a big number and a verbatim text as a bulk string.
///
/// Containers are written as their header followed by as many replies (twice as many for a map); writing them is the
/// caller's part.
#[derive(Debug)]
pub struct Encoder<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Encoder<'a> {
    /// An encoder for a connection that speaks `protocol`.
    pub const fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The version of RESP that is written.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The buffer that is written to: for replies that are there as bytes already.
    pub const fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A short text. A line end in it becomes a space, because it would end the reply.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text);
    }

    /// A short text that is formatted on the way. A line end in it becomes a space.
    pub fn simple_fmt(&mut self, text: fmt::Arguments<'_>) {
        self.out.push(b'+');
        write_line(self.out, text);
    }

    /// An error, its code first: `ERR syntax error`. A line end in it becomes a space.
    pub fn error(&mut self, text: &str) {
        self.line(b'-', text);
    }

    /// An error that is formatted on the way. A line end in it becomes a space.
    pub fn error_fmt(&mut self, text: fmt::Arguments<'_>) {
        self.out.push(b'-');
        write_line(self.out, text);
    }

    /// An error that `write` puts together from bytes. A line end in it becomes a space.
    pub fn error_with(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.push(b'-');
        let start = self.out.len();
        write(self.out);
        end_line(self.out, start);
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.header(b':', value);
    }

    /// A count, as an integer.
    #[inline]
    pub fn count(&mut self, value: usize) {
        self.integer(i64::try_from(value).unwrap_or(i64::MAX));
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.bulk_header(bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The start of a bulk string of `len` bytes; the bytes and CR LF must follow.
    #[inline]
    pub fn bulk_header(&mut self, len: usize) {
        self.header(b'$', len);
    }

    /// A bulk string that is formatted on the way.
    pub fn bulk_fmt(&mut self, text: fmt::Arguments<'_>) {
        let mut counter = Counter(0);
        // Neither a counter nor a vector ever refuses bytes.
        let _ = counter.write_fmt(text);
        self.bulk_header(counter.0);
        let _ = VecWriter(self.out).write_fmt(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Nothing, where a value could have been.
    #[inline]
    pub fn null(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"$-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// Nothing, where an array could have been.
    pub fn null_array(&mut self) {
        self.out.extend_from_slice(match self.protocol {
            Protocol::Resp2 => b"*-1\r\n",
            Protocol::Resp3 => b"_\r\n",
        });
    }

    /// A truth value.
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => self.out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
        }
    }

    /// A double.
    pub fn double(&mut self, value: f64) {
        match self.protocol {
            Protocol::Resp2 => self.bulk_fmt(format_args!("{}", format_double(value))),
            Protocol::Resp3 => {
                self.out.push(b',');
                write_line(self.out, format_args!("{}", format_double(value)));
            }
        }
    }

    /// A whole number of any size, written in decimal.
    pub fn big_number(&mut self, digits: &str) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(digits.as_bytes()),
            Protocol::Resp3 => self.line(b'(', digits),
        }
    }

    /// A text with the name of its format, `txt` or `mkd`.
    pub fn verbatim(&mut self, format: [u8; 3], text: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(text),
            Protocol::Resp3 => {
                self.header(b'=', text.len() + 4);
                self.out.extend_from_slice(&format);
                self.out.push(b':');
                self.out.extend_from_slice(text);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// The start of an array of `len` replies.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.header(b'*', len);
    }

    /// The start of a map of `len` pairs.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.header(b'*', len * 2),
            Protocol::Resp3 => self.header(b'%', len),
        }
    }

    /// The start of a set of `len` replies.
    pub fn set(&mut self, len: usize) {
        self.header(if self.protocol == Protocol::Resp3 { b'~' } else { b'*' }, len);
    }

    /// The start of a message of `len` replies that nobody asked for.
    pub fn push(&mut self, len: usize) {
        self.header(if self.protocol == Protocol::Resp3 { b'>' } else { b'*' }, len);
    }

    #[inline]
    fn header(&mut self, kind: u8, value: impl itoa::Integer) {
        let mut digits = itoa::Buffer::new();
        self.out.push(kind);
        self.out.extend_from_slice(digits.format(value).as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, kind: u8, text: &str) {
        self.out.push(kind);
        let start = self.out.len();
        self.out.extend_from_slice(text.as_bytes());
        end_line(self.out, start);
    }
}

/// A double as Redis writes it: the shortest digits that read back as the same value, `inf`, `-inf` or `nan`, with an
/// exponent where the plain form would be long.
#[must_use]
pub fn format_double(value: f64) -> impl fmt::Display {
    fmt::from_fn(move |f| {
        let size = value.abs();
        if value.is_nan() {
            f.write_str("nan")
        } else if value.is_infinite() {
            f.write_str(if value > 0.0 { "inf" } else { "-inf" })
        } else if size == 0.0 || (1e-5..1e17).contains(&size) {
            write!(f, "{value}")
        } else if size >= 1.0 {
            // Rust leaves out the plus that C writes.
            write!(ExponentSign(f), "{value:e}")
        } else {
            write!(f, "{value:e}")
        }
    })
}

struct ExponentSign<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for ExponentSign<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        match text.split_once('e') {
            Some((digits, exponent)) => write!(self.0, "{digits}e+{exponent}"),
            None => self.0.write_str(text),
        }
    }
}

fn write_line(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    let start = out.len();
    let _ = VecWriter(out).write_fmt(text);
    end_line(out, start);
}

fn end_line(out: &mut Vec<u8>, start: usize) {
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

struct VecWriter<'a>(&'a mut Vec<u8>);

impl Write for VecWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

struct Counter(usize);

impl Write for Counter {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}
