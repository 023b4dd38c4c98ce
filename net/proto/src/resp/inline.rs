//! Commands typed by hand: words in a line, with quotes and escapes.

use alloc::vec::Vec;

use super::{ParseError, Span};

/// Splits `line` into words as Redis does: white space separates; a NUL ends the line; `"…"` knows `\n \r \t \b \a \xHH` and takes any
/// other escaped byte as it is; `'…'` knows `\'` only; a closing quote must be followed by white space.
///
/// The unescaped words go to `bytes`, one after the other, and their places to `spans`.
pub(super) fn split_words(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), ParseError> {
    let mut rest = line.split(|&byte| byte == 0).next().unwrap_or_default();
    loop {
        rest = trim_start(rest);
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = word(rest, bytes)?;
        spans.push(Span { start: position(start), len: position(bytes.len() - start) });
    }
}

fn position(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("a line is shorter than Limits::inline_len")
}

/// Copies one word; returns what follows it.
fn word<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        match rest {
            [] => return Ok(rest),
            [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', tail @ ..] => return closed(double_quoted(tail, bytes)?),
            [b'\'', tail @ ..] => return closed(single_quoted(tail, bytes)?),
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
}

fn closed(rest: &[u8]) -> Result<&[u8], ParseError> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(ParseError::Quotes),
        _ => Ok(rest),
    }
}

fn double_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(ParseError::Quotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_digit(*high) << 4 | hex_digit(*low), tail)
            }
            [b'\\', escaped, tail @ ..] => (unescaped(*escaped), tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn single_quoted<'a>(mut rest: &'a [u8], bytes: &mut Vec<u8>) -> Result<&'a [u8], ParseError> {
    loop {
        let (byte, tail) = match rest {
            [] => return Err(ParseError::Quotes),
            [b'\\', b'\'', tail @ ..] => (b'\'', tail),
            [b'\'', tail @ ..] => return Ok(tail),
            [byte, tail @ ..] => (*byte, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
}

fn unescaped(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(byte: u8) -> u8 {
    match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        _ => byte.wrapping_sub(b'A').wrapping_add(10) & 0x0F,
    }
}

/// What C's `isspace` calls white space.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0B | 0x0C | b'\r')
}

/// `bytes` from its first byte on that is no white space.
fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|&byte| !is_space(byte)).unwrap_or(bytes.len());
    &bytes[start..]
}
