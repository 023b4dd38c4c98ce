//! Everything that a run needs to know, checked: what the command line becomes.

use std::time::Duration;

use crate::command::Template;
use crate::error::Usage;
use crate::keys::{Distribution, KeyText};
use crate::mix::Mix;
use crate::values::Sizes;
use crate::verify::Rules;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    Resp2,
    Resp3,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Credentials {
    pub(crate) user: String,
    pub(crate) password: String,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Pace {
    /// The next request goes out when a reply has come in.
    Closed,
    /// Requests are due by the clock, whatever the server does.
    Open { per_second: f64, poisson: bool },
}

/// A command after each batch, on whose answer the batch's requests wait.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BatchEnd {
    pub(crate) template: Template,
    /// A number in reply that is smaller says that it was not reached: `WAIT 1 …` answered with 0.
    pub(crate) at_least: i64,
}

impl BatchEnd {
    pub(crate) fn parse(line: &str, keys: &KeyText) -> Result<Self, Usage> {
        let at_least = line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(i64::MIN);
        Ok(Self { template: Template::parse(line, keys)?, at_least })
    }
}

/// When a run ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    After(Duration),
    Requests(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) label: String,
    pub(crate) address: String,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) protocol: Protocol,
    pub(crate) cluster: bool,
    pub(crate) threads: usize,
    pub(crate) connections: usize,
    pub(crate) cores: Vec<usize>,
    /// Requests under way on a connection at most.
    pub(crate) pipeline: usize,
    /// Sends only when nothing is under way on the connection.
    pub(crate) batched: bool,
    /// What is sent after each batch, and how it must be answered.
    pub(crate) batch_end: Option<BatchEnd>,
    pub(crate) pace: Pace,
    pub(crate) end: End,
    pub(crate) warmup: Duration,
    pub(crate) drain: Duration,
    /// A run by number ends with an error when nothing has been answered for this long.
    pub(crate) stall: Duration,
    pub(crate) interval: Duration,
    pub(crate) spin: bool,
    /// A request sent later than this by the client's own fault counts as late.
    pub(crate) late: Duration,
    pub(crate) seed: u64,
    pub(crate) key_count: u64,
    pub(crate) keys: KeyText,
    pub(crate) distribution: Distribution,
    pub(crate) sizes: Sizes,
    pub(crate) mix: Mix,
    pub(crate) verify: Option<Rules>,
    /// Versions that this run writes are above this, those of earlier runs at or below.
    pub(crate) base: u64,
    pub(crate) pids: Vec<u32>,
    pub(crate) quiet: bool,
}
