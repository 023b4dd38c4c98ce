//! What is asked for: operations with weights, the core workloads of YCSB among them.

use std::fmt;

use crate::command::Template;
use crate::error::Usage;
use crate::keys::{Distribution, KeyText};

/// What an operation means to the one who checks it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Read,
    Write,
    /// Writes a key that was not there.
    Insert,
    /// Reads, then writes the same key; one operation from the read's sending to the write's answer.
    ReadModifyWrite,
    /// Nothing is known of its reply but that it is not an error.
    Other,
}

#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) template: Template,
    /// What follows the read of a [`Kind::ReadModifyWrite`].
    pub(crate) second: Option<Template>,
}

#[derive(Clone, Debug)]
pub(crate) struct Mix {
    pub(crate) operations: Vec<Operation>,
    /// Sum of the weights up to and including each operation.
    cumulated: Vec<u32>,
}

/// `get=95,set=5` as pairs.
pub(crate) fn parse(text: &str) -> Result<Vec<(String, u32)>, String> {
    let mut pairs = Vec::new();
    for item in text.split(',').filter(|item| !item.is_empty()) {
        let (name, weight) = item.split_once('=').unwrap_or((item, "1"));
        if command_line(name).is_none() {
            return Err(format!("{name} is not one of get, set, insert, rmw, del, exists, incr, ping"));
        }
        pairs.push((name.to_owned(), weight.parse().map_err(|_| format!("{weight} is not a whole weight"))?));
    }
    if pairs.is_empty() { Err("an empty mix".to_owned()) } else { Ok(pairs) }
}

/// `3:SETEX {key} 60 {value}` as a weight and a command line.
pub(crate) fn parse_custom(text: &str) -> Result<(u32, String), String> {
    match text.split_once(':').map(|(weight, line)| (weight.parse(), line)) {
        Some((Ok(weight), line)) => Ok((weight, line.to_owned())),
        _ => Ok((1, text.to_owned())),
    }
}

fn command_line(name: &str) -> Option<(Kind, &'static str, Option<&'static str>)> {
    Some(match name {
        "get" => (Kind::Read, "GET {key}", None),
        "set" => (Kind::Write, "SET {key} {value}", None),
        "insert" => (Kind::Insert, "SET {key} {value}", None),
        "rmw" => (Kind::ReadModifyWrite, "GET {key}", Some("SET {key} {value}")),
        "del" => (Kind::Other, "DEL {key}", None),
        "exists" => (Kind::Other, "EXISTS {key}", None),
        "incr" => (Kind::Other, "INCR counter:{key}", None),
        "ping" => (Kind::Other, "PING", None),
        _ => return None,
    })
}

impl Mix {
    pub(crate) fn new(named: &[(String, u32)], custom: &[(u32, String)], keys: &KeyText) -> Result<Self, Usage> {
        let mut mix = Self { operations: Vec::new(), cumulated: Vec::new() };
        for (name, weight) in named {
            let Some((kind, line, second)) = command_line(name) else { continue };
            let second = second.map(|line| Template::parse(line, keys)).transpose()?;
            let template = Template::parse(line, keys)?;
            mix.push(Operation { name: name.clone(), kind, template, second }, *weight)?;
        }
        for (weight, line) in custom {
            let template = Template::parse(line, keys)?;
            mix.push(Operation { name: line.clone(), kind: Kind::Other, template, second: None }, *weight)?;
        }
        if mix.cumulated.is_empty() { Err(Usage::EmptyMix) } else { Ok(mix) }
    }

    fn push(&mut self, operation: Operation, weight: u32) -> Result<(), Usage> {
        if weight > 0 {
            let sum = self.cumulated.last().copied().unwrap_or(0);
            let sum =
                sum.checked_add(weight).ok_or(Usage::Range { what: "the sum of weights", allowed: "below 2^32" })?;
            self.operations.push(operation);
            self.cumulated.push(sum);
        }
        Ok(())
    }

    /// The place of an operation in `operations`.
    pub(crate) fn draw(&self, rng: &mut fastrand::Rng) -> usize {
        if self.cumulated.len() == 1 {
            return 0;
        }
        let draw = rng.u32(0..self.cumulated.last().copied().unwrap_or(1));
        self.cumulated.iter().position(|sum| draw < *sum).unwrap_or(0)
    }

    pub(crate) fn has(&self, kind: Kind) -> bool {
        self.operations.iter().any(|operation| operation.kind == kind)
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.cumulated.last().copied().unwrap_or(1);
        let mut before = 0;
        for (number, (operation, sum)) in self.operations.iter().zip(&self.cumulated).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let share = f64::from(sum - before) * 100.0 / f64::from(whole);
            let digits = usize::from(share.fract() > 0.0);
            write!(f, "{comma}{share:.digits$}% {}", operation.name)?;
            before = *sum;
        }
        Ok(())
    }
}

/// YCSB's core workloads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum Workload {
    /// Update heavy: half reads, half updates, zipfian
    A,
    /// Read mostly: 95% reads, 5% updates, zipfian
    B,
    /// Read only, zipfian
    C,
    /// Read latest: 95% reads of new keys, 5% inserts
    D,
    /// Short ranges: refused, since keys behind RESP cannot be scanned in order
    E,
    /// Read-modify-write: half reads, half read-modify-writes, zipfian
    F,
}

/// YCSB's records are ten fields of 100 bytes; here one value carries them.
pub(crate) const YCSB_VALUE_BYTES: u32 = 1000;

impl Workload {
    pub(crate) fn mix(self) -> Result<Vec<(String, u32)>, Usage> {
        let pairs: &[(&str, u32)] = match self {
            Self::A => &[("get", 50), ("set", 50)],
            Self::B => &[("get", 95), ("set", 5)],
            Self::C => &[("get", 100)],
            Self::D => &[("get", 95), ("insert", 5)],
            Self::E => return Err(Usage::Scans),
            Self::F => &[("get", 50), ("rmw", 50)],
        };
        Ok(pairs.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect())
    }

    pub(crate) const fn distribution(self, theta: f64) -> Distribution {
        match self {
            Self::D => Distribution::Latest { theta },
            _ => Distribution::Zipfian { theta },
        }
    }
}
