//! INCRBYFLOAT.
//!
//! Redis adds in the C type `long double` and writes up to 17 decimals, so that 0.1 and 0.2 make 0.3. Here numbers
//! of up to 17 decimals and below 10^20 are added exactly, which gives the same; others are added as doubles, whose
//! last digits differ from those of Redis.

use core::fmt::Write;

use alloc::string::String;

use crate::data::{
    error::{DataError, Stop},
    keyspace::Keyspace,
    run::{Flow, Run},
};

/// INCRBYFLOAT.
pub(in crate::data) fn incr_by_float<K: Keyspace>(run: &mut Run<'_, K>) -> Flow {
    let key = run.key(1)?;
    let expires_at = run.load(key);
    let old: &[u8] = if expires_at.is_some() { run.scratch } else { b"0" };
    let sum = add(old, run.args.at(2))?;
    run.scratch.clear();
    run.scratch.extend_from_slice(sum.as_bytes());
    run.put_scratch(key, expires_at.flatten())?;
    run.reply.bulk(run.scratch);
    Ok(())
}

/// The longest text that is taken for a number, as in Redis.
const TEXT_LEN_MAX: usize = 256;

fn add(old: &[u8], increment: &[u8]) -> Result<String, Stop> {
    let (left, right) = (number(old)?, number(increment)?);
    if let (Some(left), Some(right)) = (Fixed::parse(old), Fixed::parse(increment)) {
        return Ok(Fixed(left.0 + right.0).format());
    }
    let sum = left + right;
    if !sum.is_finite() {
        return Err(DataError::FloatOverflow.into());
    }
    let mut text = String::new();
    // A string takes whatever is written to it. Minus zero is zero.
    let _ = write!(text, "{}", if sum == 0.0 { 0.0 } else { sum });
    Ok(text)
}

fn number(text: &[u8]) -> Result<f64, Stop> {
    let text = core::str::from_utf8(text).ok().filter(|text| text.len() < TEXT_LEN_MAX);
    let number: Option<f64> = text.and_then(|text| text.parse().ok());
    number.filter(|number| !number.is_nan()).ok_or(DataError::NotFloat.into())
}

/// A number in units of 10^-17.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Fixed(i128);

const DECIMALS: u32 = 17;
const ONE: i128 = 10_i128.pow(DECIMALS);
/// Below half of what the type holds, so that a sum of two fits.
const FIXED_MAX: i128 = 10_i128.pow(20 + DECIMALS);

impl Fixed {
    /// Reads digits with an optional sign and decimals; `None` where they are something else or do not fit.
    fn parse(text: &[u8]) -> Option<Self> {
        let (negative, digits) = match text {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] => (false, digits),
            digits => (false, digits),
        };
        let mut value: i128 = 0;
        let mut decimals: Option<u32> = None;
        for &byte in digits {
            match byte {
                b'0'..=b'9' => {
                    value = value * 10 + i128::from(byte - b'0');
                    decimals = decimals.map(|count| count + 1);
                }
                b'.' if decimals.is_none() => decimals = Some(0),
                _ => return None,
            }
            if value >= FIXED_MAX || decimals > Some(DECIMALS) {
                return None;
            }
        }
        let scaled = value.checked_mul(10_i128.pow(DECIMALS - decimals.unwrap_or(0)))?;
        (scaled < FIXED_MAX).then_some(Self(if negative { -scaled } else { scaled }))
    }

    fn format(self) -> String {
        let size = self.0.abs();
        let mut text = String::new();
        let sign = if self.0 < 0 { "-" } else { "" };
        let _ = write!(text, "{sign}{}.{:017}", size / ONE, size % ONE);
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
        text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(old: &str, increment: &str) -> Result<String, Stop> {
        add(old.as_bytes(), increment.as_bytes())
    }

    #[test]
    fn sums_are_those_of_redis() {
        // What Redis 7 answers to each of them.
        for (old, increment, expected) in [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("10.6", "-5", "5.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3", "0", "3"),
            ("-0.5", "0.5", "0"),
            ("1.5", "1.5", "3"),
            ("0", "-1.25", "-1.25"),
            (".5", "1.", "1.5"),
            ("+1", "1", "2"),
            ("100000000000000000000", "1", "100000000000000000000"),
            ("0", "1e10", "10000000000"),
        ] {
            assert_eq!(sum(old, increment).as_deref(), Ok(expected), "{old} + {increment}");
        }
        for text in ["", "abc", "1 ", " 1", "nan", "1x", "--1", "0x10"] {
            assert_eq!(sum("1", text), Err(DataError::NotFloat.into()), "{text:?}");
        }
        assert_eq!(sum("1", "inf"), Err(DataError::FloatOverflow.into()));
        assert_eq!(sum("1e308", "1e308"), Err(DataError::FloatOverflow.into()));
    }

    proptest! {
        #[test]
        fn numbers_that_fit_read_back(units in -FIXED_MAX + 1..FIXED_MAX) {
            let text = Fixed(units).format();
            prop_assert_eq!(Fixed::parse(text.as_bytes()), Some(Fixed(units)));
        }

        #[test]
        fn exact_sums_are_near_those_of_doubles(left in -1e9..1e9, right in -1e9..1e9) {
            let text = sum(&alloc::format!("{left:.6}"), &alloc::format!("{right:.6}")).unwrap();
            let exact: f64 = text.parse().unwrap();
            let double: f64 = left + right;
            prop_assert!((exact - double).abs() < 1e-5);
        }

        #[test]
        fn no_bytes_panic(old: alloc::vec::Vec<u8>, increment in "[-+.0-9e]{0,45}") {
            let _ = add(&old, increment.as_bytes());
            let _ = add(increment.as_bytes(), increment.as_bytes());
        }
    }
}
