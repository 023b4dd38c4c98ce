//! What kinds of values settings have, how they are written and what is allowed.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use windrow_core::replication::ReplicaId;
use windrow_core::replication::limits::REPLICAS_MAX;

use crate::role::{Member, replica_from_hex};
use crate::runtime::CoreChoice;

/// What a setting's value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A path.
    Path,
    /// Any text that is not empty, never shown.
    Secret,
    /// One address.
    Address,
    /// One or more addresses.
    Addresses,
    /// `all`, or a [`CoreChoice`].
    Cores,
    /// `yes` or `no`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A whole number, and what it means where that is not plain.
    Integer(RangeInclusive<i64>, &'static str),
    /// Bytes, with a unit or without; a multiple of the second number.
    Size(RangeInclusive<u64>, u64),
    /// A time with its unit.
    Time(RangeInclusive<Duration>),
    /// The nodes of a replicated set.
    Members,
    /// Replicas by their numbers, so many at most.
    Replicas(usize),
}

/// A value that was read and is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Value {
    /// Of [`Kind::Path`], [`Kind::Secret`] or [`Kind::Choice`].
    Text(String),
    /// Of [`Kind::Address`] or [`Kind::Addresses`].
    Addresses(Vec<IpAddr>),
    /// Of [`Kind::Cores`].
    Cores(Option<CoreChoice>),
    /// Of [`Kind::Switch`].
    Switch(bool),
    /// Of [`Kind::Integer`].
    Integer(i64),
    /// Of [`Kind::Size`].
    Size(u64),
    /// Of [`Kind::Time`].
    Time(Duration),
    /// Of [`Kind::Members`].
    Members(Vec<Member>),
    /// Of [`Kind::Replicas`].
    Replicas(Vec<ReplicaId>),
}

impl Kind {
    /// Reads `text`, or `None` where it is not allowed.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Value> {
        let whole = text;
        let text = text.trim();
        match self {
            // Spaces may belong to a password or a path.
            Self::Path | Self::Secret => (!whole.is_empty()).then(|| Value::Text(whole.to_owned())),
            Self::Address => Some(Value::Addresses(vec![text.parse().ok()?])),
            Self::Addresses => addresses(text).map(Value::Addresses),
            Self::Cores if text == "all" => Some(Value::Cores(None)),
            Self::Cores => text.parse().ok().map(|cores| Value::Cores(Some(cores))),
            Self::Switch => switch(text).map(Value::Switch),
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Integer(range, _) => text.parse().ok().filter(|number| range.contains(number)).map(Value::Integer),
            Self::Size(range, multiple) => {
                size(text).filter(|len| range.contains(len) && len % multiple == 0).map(Value::Size)
            }
            Self::Time(range) => time(text).filter(|time| range.contains(time)).map(Value::Time),
            Self::Members => members(text).map(Value::Members),
            Self::Replicas(max) => replicas(text).filter(|all| all.len() <= *max).map(Value::Replicas),
        }
    }

    /// What is allowed, for people.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Self::Path => "a path".to_owned(),
            Self::Secret => "text that is not empty, or exactly what `windrow hash-password` prints".to_owned(),
            Self::Address => "an IPv4 or IPv6 address".to_owned(),
            Self::Addresses => "IPv4 or IPv6 addresses, separated by commas, none of them twice".to_owned(),
            Self::Cores => "`all`, a count from 1, or a list such as `0,2-3` (one core: `3-3`)".to_owned(),
            Self::Switch => "yes or no".to_owned(),
            Self::Choice(words) => words.join(", "),
            Self::Integer(range, "") => format!("{} to {}", range.start(), range.end()),
            Self::Integer(range, note) => format!("{} to {} ({note})", range.start(), range.end()),
            Self::Size(range, 1) => format!("{} to {}", show_size(*range.start()), show_size(*range.end())),
            Self::Size(range, multiple) => format!(
                "{} to {}, a multiple of {}",
                show_size(*range.start()),
                show_size(*range.end()),
                show_size(*multiple)
            ),
            Self::Time(range) => {
                format!("{} to {}, with the unit ms, s, m or h", show_time(*range.start()), show_time(*range.end()))
            }
            Self::Members => {
                "2 to 16 times ID@HOST:PEER-PORT/CLIENT-PORT, separated by commas, none of them twice".to_owned()
            }
            Self::Replicas(1) => "the 16 hexadecimal digits that `windrow init` prints".to_owned(),
            Self::Replicas(_) => {
                "what `windrow init` prints (16 hexadecimal digits), separated by commas, none of them twice".to_owned()
            }
        }
    }

    /// What stands for a value of this kind in the help text.
    #[must_use]
    pub const fn placeholder(&self) -> &'static str {
        match self {
            Self::Path => "PATH",
            Self::Secret => "TEXT",
            Self::Address => "ADDRESS",
            Self::Addresses => "ADDRESSES",
            Self::Cores => "CORES",
            Self::Switch => "yes|no",
            Self::Choice(_) => "WORD",
            Self::Integer(..) => "NUMBER",
            Self::Size(..) => "SIZE",
            Self::Time(_) => "TIME",
            Self::Members => "MEMBERS",
            Self::Replicas(_) => "REPLICA",
        }
    }
}

impl Value {
    /// The text of a path, secret or choice.
    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number of an integer or size, where `T` can hold it.
    pub(super) fn number<T: TryFrom<i64> + TryFrom<u64>>(&self) -> Option<T> {
        match *self {
            Self::Integer(number) => T::try_from(number).ok(),
            Self::Size(len) => T::try_from(len).ok(),
            _ => None,
        }
    }

    /// The number, with 0 (or less) meaning none.
    pub(super) fn number_or_none<T: TryFrom<i64> + TryFrom<u64>>(&self) -> Option<Option<T>> {
        if let Self::Integer(..=0) = self { Some(None) } else { self.number().map(Some) }
    }

    pub(super) fn addresses(&self) -> Option<&[IpAddr]> {
        if let Self::Addresses(addresses) = self { Some(addresses) } else { None }
    }

    pub(super) fn cores(&self) -> Option<Option<CoreChoice>> {
        if let Self::Cores(cores) = self { Some(cores.clone()) } else { None }
    }

    pub(super) fn switch(&self) -> Option<bool> {
        if let Self::Switch(on) = *self { Some(on) } else { None }
    }

    pub(super) fn members(&self) -> Option<&[Member]> {
        if let Self::Members(members) = self { Some(members) } else { None }
    }

    pub(super) fn replicas(&self) -> Option<&[ReplicaId]> {
        if let Self::Replicas(replicas) = self { Some(replicas) } else { None }
    }

    pub(super) fn time(&self) -> Option<Duration> {
        if let Self::Time(time) = *self { Some(time) } else { None }
    }
}

fn addresses(text: &str) -> Option<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let address: IpAddr = part.parse().ok()?;
        if addresses.contains(&address) {
            return None;
        }
        addresses.push(address);
    }
    (!addresses.is_empty()).then_some(addresses)
}

fn members(text: &str) -> Option<Vec<Member>> {
    let mut members: Vec<Member> = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let member: Member = part.parse().ok()?;
        if members.iter().any(|other| other.replica == member.replica) {
            return None;
        }
        members.push(member);
    }
    (2..=REPLICAS_MAX).contains(&members.len()).then_some(members)
}

fn replicas(text: &str) -> Option<Vec<ReplicaId>> {
    let mut replicas = Vec::new();
    for part in text.split([',', ' ']).filter(|part| !part.is_empty()) {
        let replica = replica_from_hex(part)?;
        if replicas.contains(&replica) {
            return None;
        }
        replicas.push(replica);
    }
    (!replicas.is_empty()).then_some(replicas)
}

fn switch(text: &str) -> Option<bool> {
    match text {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

const SIZE_UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

fn size(text: &str) -> Option<u64> {
    let (digits, factor) =
        SIZE_UNITS.iter().find_map(|&(unit, factor)| Some((text.strip_suffix(unit)?, factor))).unwrap_or((text, 1));
    digits.trim_end().parse::<u64>().ok()?.checked_mul(factor)
}

/// Bytes in the largest unit that divides them.
pub(super) fn show_size(len: u64) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, factor)| len > 0 && len.is_multiple_of(*factor));
    unit.map_or_else(|| len.to_string(), |(name, factor)| format!("{}{name}", len / factor))
}

const TIME_UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

fn time(text: &str) -> Option<Duration> {
    let (digits, factor) = TIME_UNITS.iter().find_map(|&(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    Some(Duration::from_millis(digits.trim_end().parse::<u64>().ok()?.checked_mul(factor)?))
}

/// A time in the largest unit that divides it.
pub(super) fn show_time(time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let unit = TIME_UNITS.iter().rev().find(|(_, factor)| millis > 0 && millis.is_multiple_of(*factor));
    unit.map_or_else(|| format!("{millis}ms"), |(name, factor)| format!("{}{name}", millis / factor))
}
