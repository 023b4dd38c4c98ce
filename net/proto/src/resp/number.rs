//! Decimal numbers as RESP and Redis's commands write them.

use crate::limits::LENGTH_DIGITS_MAX;

/// The number that `text` is, or `None` where it is none or leaves `i64`.
///
/// As strict as Redis: an optional minus and digits, no plus, no leading zeros, no spaces, no minus zero.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    if text.len() > LENGTH_DIGITS_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut number: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

/// What stands where a length should.
pub(super) enum Length {
    /// A length, and the position after its CR LF.
    Is { value: i64, next: usize },
    /// Not all of it has arrived.
    Partial,
    /// No length.
    Bad,
}

/// Reads the length that starts at `pos` and ends with CR LF.
#[inline]
pub(super) fn length_at(input: &[u8], pos: usize) -> Length {
    // One digit, which is what nearly every array length and most argument lengths are.
    if let Some(&[digit @ b'0'..=b'9', b'\r', b'\n']) = input.get(pos..pos + 3) {
        return Length::Is { value: i64::from(digit - b'0'), next: pos + 3 };
    }
    long_length_at(input, pos)
}

#[inline]
fn long_length_at(input: &[u8], pos: usize) -> Length {
    let rest = input.get(pos..).unwrap_or_default();
    let mut value: i64 = 0;
    // Lengths up to nine digits cannot overflow and need no second look.
    for (index, &byte) in rest.iter().enumerate().take(10) {
        match byte {
            b'0'..=b'9' if index < 9 => value = value * 10 + i64::from(byte - b'0'),
            b'\r' if index > 0 && (rest[0] != b'0' || index == 1) => {
                return match rest.get(index + 1) {
                    Some(b'\n') => Length::Is { value, next: pos + index + 2 },
                    Some(_) => Length::Bad,
                    None => Length::Partial,
                };
            }
            _ => return any_length_at(rest, pos),
        }
    }
    Length::Partial
}

#[cold]
fn any_length_at(rest: &[u8], pos: usize) -> Length {
    match rest.iter().take(LENGTH_DIGITS_MAX + 1).position(|&byte| byte == b'\r') {
        None if rest.len() > LENGTH_DIGITS_MAX => Length::Bad,
        None => Length::Partial,
        Some(end) => match (parse_i64(&rest[..end]), rest.get(end + 1)) {
            (None, _) => Length::Bad,
            (Some(_), None) => Length::Partial,
            (Some(value), Some(b'\n')) => Length::Is { value, next: pos + end + 2 },
            (Some(_), Some(_)) => Length::Bad,
        },
    }
}
