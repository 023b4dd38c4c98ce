//! Patterns as KEYS, SCAN and CONFIG GET know them: `*`, `?`, `[…]` and `\`.
//!
//! Iterative, with one place to return to: a pattern of many stars costs at most pattern × text steps, and no stack.

#[cfg(test)]
mod tests;

/// Whether `text` as a whole matches `pattern`, byte by byte.
///
/// `*` matches any bytes, `?` one byte, `[abc]`, `[a-z]` and `[^a]` one of (or none of) a set, `\x` the byte x. A set
/// that is not closed ends with the pattern, as in Redis.
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    glob(pattern, text, false)
}

/// Like [`matches()`], with upper and lower case ASCII letters taken for the same.
#[must_use]
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    glob(pattern, text, true)
}

fn glob(pattern: &[u8], text: &[u8], fold: bool) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not match: the star takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        let step = match (pattern.get(p), text.get(t)) {
            (None, None) => return true,
            (Some(_), Some(&byte)) => one(pattern, p, byte, fold),
            (None, Some(_)) => None,
            // No more text: no other start of the last star's tail has more of it.
            (Some(_), None) => return false,
        };
        match (step, retry) {
            (Some(next), _) => {
                p = next;
                t += 1;
            }
            (None, Some((after_star, taken))) => {
                p = after_star;
                t = taken + 1;
                retry = Some((after_star, t));
            }
            (None, None) => return false,
        }
    }
}

/// Matches one byte against the one-byte pattern at `p`; returns where the next one starts.
fn one(pattern: &[u8], p: usize, byte: u8, fold: bool) -> Option<usize> {
    let same = |wanted: u8| if fold { wanted.eq_ignore_ascii_case(&byte) } else { wanted == byte };
    match &pattern[p..] {
        [b'?', ..] => Some(p + 1),
        [b'[', ..] => set(pattern, p + 1, byte, fold),
        [b'\\', wanted, ..] => same(*wanted).then_some(p + 2),
        [wanted, ..] => same(*wanted).then_some(p + 1),
        [] => None,
    }
}

/// Matches one byte against the set whose first byte is at `p`; returns where the pattern goes on after it.
fn set(pattern: &[u8], mut p: usize, byte: u8, fold: bool) -> Option<usize> {
    let folded = |other: u8| if fold { other.to_ascii_lowercase() } else { other };
    let byte = folded(byte);
    let negated = pattern.get(p) == Some(&b'^');
    p += usize::from(negated);
    let mut found = false;
    let next = loop {
        match &pattern[p..] {
            [] => break p,
            [b']', ..] => break p + 1,
            [b'\\', wanted, ..] => {
                found |= folded(*wanted) == byte;
                p += 2;
            }
            [low, b'-', high, ..] => {
                let (low, high) = (folded(*low.min(high)), folded(*low.max(high)));
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                p += 3;
            }
            [wanted, ..] => {
                found |= folded(*wanted) == byte;
                p += 1;
            }
        }
    };
    (found != negated).then_some(next)
}
