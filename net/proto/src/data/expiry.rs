//! When a key expires, as the commands say it.

use windrow_core::types::UnixMillis;

use super::error::{DataError, Stop};
use crate::resp::{Args, parse_i64};

/// How a number says a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Form {
    /// Seconds, not milliseconds.
    pub(super) seconds: bool,
    /// Since 1970, not from now.
    pub(super) absolute: bool,
}

impl Form {
    /// The form that an option of SET or GETEX asks for.
    pub(super) fn of_option(option: &[u8]) -> Option<Self> {
        let named = |name: &[u8]| option.eq_ignore_ascii_case(name);
        let (seconds, absolute) = match () {
            () if named(b"ex") => (true, false),
            () if named(b"px") => (false, false),
            () if named(b"exat") => (true, true),
            () if named(b"pxat") => (false, true),
            () => return None,
        };
        Some(Self { seconds, absolute })
    }

    /// The milliseconds since 1970 that `number` says, which may be negative; `None` where they cannot be written
    /// down.
    pub(super) fn millis(self, number: i64, now: UnixMillis) -> Option<i64> {
        let millis = if self.seconds { number.checked_mul(1000)? } else { number };
        let base = if self.absolute { 0 } else { i64::try_from(now.get()).ok()? };
        let sum = base.checked_add(millis)?;
        (sum <= i64::try_from(UnixMillis::MAX.get()).ok()?).then_some(sum)
    }
}

/// Reads the expiry that an option of SET or GETEX gives: it must be positive, and one that has passed is `None`.
pub(super) fn positive(
    form: Form,
    text: &[u8],
    now: UnixMillis,
    command: &'static str,
) -> Result<Option<UnixMillis>, Stop> {
    let number = parse_i64(text).ok_or(DataError::NotInteger)?;
    if number <= 0 {
        return Err(DataError::Expiry { command }.into());
    }
    let millis = form.millis(number, now).ok_or(DataError::Expiry { command })?;
    Ok(future(millis, now))
}

/// The moment `millis`, unless it has come.
pub(super) fn future(millis: i64, now: UnixMillis) -> Option<UnixMillis> {
    let at = UnixMillis::new(u64::try_from(millis).ok()?)?;
    (at > now).then_some(at)
}

/// The options of the EXPIRE family.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Conditions {
    if_none: bool,
    if_any: bool,
    if_later: bool,
    if_sooner: bool,
}

/// Why options of the EXPIRE family are none.
pub(super) enum ConditionError<'a> {
    Error(DataError),
    Unknown(&'a [u8]),
}

impl Conditions {
    /// Reads the options from argument number `first` on.
    pub(super) fn parse(args: Args<'_>, first: usize) -> Result<Self, ConditionError<'_>> {
        let mut found = Self::default();
        for option in args.from(first) {
            let named = |name: &[u8]| option.eq_ignore_ascii_case(name);
            match () {
                () if named(b"nx") => found.if_none = true,
                () if named(b"xx") => found.if_any = true,
                () if named(b"gt") => found.if_later = true,
                () if named(b"lt") => found.if_sooner = true,
                () => return Err(ConditionError::Unknown(option)),
            }
        }
        if found.if_none && (found.if_any || found.if_later || found.if_sooner) {
            return Err(ConditionError::Error(DataError::ExpireOnlyIf));
        }
        if found.if_later && found.if_sooner {
            return Err(ConditionError::Error(DataError::ExpireComparison));
        }
        Ok(found)
    }

    /// Whether an expiry at `millis` may take the place of `current`. No expiry is later than any.
    pub(super) fn allow(self, current: Option<UnixMillis>, millis: i64) -> bool {
        let current = current.map(|at| i64::try_from(at.get()).unwrap_or(i64::MAX));
        !(self.if_none && current.is_some()
            || self.if_any && current.is_none()
            || self.if_later && current.is_none_or(|at| millis <= at)
            || self.if_sooner && current.is_some_and(|at| millis >= at))
    }
}
