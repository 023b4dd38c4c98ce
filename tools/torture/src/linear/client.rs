//! Clients that record what they ask and what they are told.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::checker::Operation;
use super::model::{Bytes, Input, Output};
use super::system::Endpoints;
use crate::Error;
use crate::resp::{Client, Reply, encode};
use crate::witness::{Witness, is_late};

/// Keys that are in use at the same time, of texts and of numbers each.
const KEYS_AT_ONCE: u64 = 4;
/// Operations after which a key is replaced by the next one. Short histories are quick to check.
const OPERATIONS_ON_ONE: u64 = 120;

/// Operations that a client asks for at once, at most.
const BURST_MAX: usize = 4;
/// How much longer a client waits whose reply is late, to see whether it comes at all.
const MORE: Duration = Duration::from_secs(20);

/// Of the clients, so many write, too.
const WRITERS: usize = 4;

/// A key: its number, and whether it holds a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Key {
    pub(super) number: u64,
    pub(super) counts: bool,
}

impl Key {
    pub(super) fn name(self) -> String {
        format!("{}{}", if self.counts { "count:" } else { "text:" }, self.number)
    }
}

/// What all clients share.
pub(super) struct Shared {
    pub(super) begun: Instant,
    pub(super) endpoints: Endpoints,
    pub(super) stop: AtomicBool,
    /// Operations asked so far: chooses the keys in use.
    asked: AtomicU64,
    /// Operations without a reply at the moment.
    pub(super) in_flight: AtomicU64,
    pub(super) completed: AtomicU64,
    /// Operations that were refused: whoever was asked does not lead.
    pub(super) refused: AtomicU64,
    /// Connections given up in the middle of a pipeline.
    pub(super) hung_up: AtomicU64,
    pub(super) history: Mutex<Vec<(Key, Operation)>>,
    problem: Mutex<Option<Error>>,
}

impl Shared {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        Self {
            begun: Instant::now(),
            endpoints,
            stop: AtomicBool::new(false),
            asked: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            hung_up: AtomicU64::new(0),
            history: Mutex::new(Vec::new()),
            problem: Mutex::new(None),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The numbers of the oldest and the newest key in use.
    pub(super) fn keys(&self) -> (u64, u64) {
        let oldest = self.asked.load(Ordering::Relaxed) / (2 * OPERATIONS_ON_ONE);
        (oldest, oldest + KEYS_AT_ONCE - 1)
    }

    pub(super) fn fail(&self, error: Error) {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn take_problem(&self) -> Option<Error> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn has_problem(&self) -> bool {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn keep(&self, recorded: Vec<(Key, Operation)>) {
        self.history.lock().unwrap_or_else(PoisonError::into_inner).extend(recorded);
    }
}

/// One client: many connections, one after the other.
pub(super) struct Worker<'a> {
    pub(super) number: usize,
    pub(super) shared: &'a Shared,
    random: fastrand::Rng,
    /// Nothing that it asks for is refused by a replica that does not lead.
    reads_only: bool,
    /// Values are never written twice.
    written: u64,
    recorded: Vec<(Key, Operation)>,
    /// Where the last answer sent it.
    preferred: Option<SocketAddr>,
}

impl<'a> Worker<'a> {
    pub(super) fn new(number: usize, shared: &'a Shared, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        let reads_only = number >= WRITERS;
        Self { number, shared, random, reads_only, written: 0, recorded: Vec::new(), preferred: None }
    }

    /// Works until told to stop.
    pub(super) fn run(mut self) {
        while !self.shared.stop.load(Ordering::Relaxed) {
            let Some(mut client) = self.connect() else {
                thread::sleep(Duration::from_millis(1));
                continue;
            };
            while !self.shared.stop.load(Ordering::Relaxed) {
                match self.burst(&mut client) {
                    Ok(true) => {}
                    // Refused without a word of who would do it: asking at once again would only be noise.
                    Ok(false) if self.preferred.is_none() => {
                        thread::sleep(Duration::from_millis(2));
                        break;
                    }
                    // Whatever is done to a node, it is over much sooner.
                    Err(Error::Gone(error)) if is_late(&error) => {
                        let Some(address) = client.address() else { break };
                        let open: Vec<_> = self.recorded.iter().rev().take(BURST_MAX).rev().collect();
                        let who = format!("client {}, whose last operations are {open:?}", self.number);
                        self.shared.fail(Witness::at(address).silence(&who, &mut client, &error, MORE));
                        break;
                    }
                    Ok(false) | Err(Error::Gone(_)) => break,
                    Err(error) => {
                        self.shared.fail(error);
                        break;
                    }
                }
            }
        }
        self.shared.keep(self.recorded);
    }

    /// Reads every key of a range once, waiting for whoever serves it.
    pub(super) fn read_all(mut self, keys: std::ops::RangeInclusive<u64>) {
        let both = |number| [false, true].map(|counts| Key { number, counts });
        let mut left: Vec<Key> = keys.flat_map(both).collect();
        let begun = Instant::now();
        while !left.is_empty() && begun.elapsed() < crate::node::PATIENCE {
            let Some(mut client) = self.connect() else { continue };
            while let Some(key) = left.last() {
                let Ok(replied) = self.ask(&mut client, &[(*key, Input::Get)], None) else { break };
                if replied < 1 {
                    break;
                }
                left.pop();
            }
        }
        if !left.is_empty() {
            self.shared.fail(Error::Violation(format!("{} keys cannot be read: nobody serves them", left.len())));
        }
        self.shared.keep(self.recorded);
    }

    fn connect(&mut self) -> Option<Client> {
        let address = self.preferred.take().or_else(|| self.random.choice(self.shared.endpoints.get()))?;
        Client::connect(address).ok()
    }

    /// Asks for some operations at once. `false` where the connection is given up on purpose.
    fn burst(&mut self, client: &mut Client) -> Result<bool, Error> {
        let depth = if self.random.u32(..10) < 7 { 1 } else { self.random.usize(2..=BURST_MAX) };
        let asks: Vec<(Key, Input)> = (0..depth).map(|_| self.draw()).collect();
        let hang_up = (self.random.u32(..150) == 0).then(|| self.random.usize(..depth));
        let replied = self.ask(client, &asks, hang_up)?;
        Ok(replied == asks.len())
    }

    fn draw(&mut self) -> (Key, Input) {
        self.shared.asked.fetch_add(1, Ordering::Relaxed);
        let (oldest, newest) = self.shared.keys();
        let key = Key { number: self.random.u64(oldest..=newest), counts: self.random.u32(..3) == 0 };
        self.written += 1;
        let number = u64::try_from(self.number).unwrap_or(0) * 10_000_000 + self.written;
        let value: Bytes = if key.counts { number.to_string() } else { format!("v{number};") }.into_bytes().into();
        let kind = if self.reads_only { 0 } else { self.random.u32(..20) };
        let input = match (key.counts, kind) {
            (_, 0..5) => Input::Get,
            (_, 5) => Input::GetEx,
            (_, 6 | 7) => Input::Del,
            (_, 8) => Input::GetDel,
            (_, 9) => Input::GetSet(value),
            (_, 10) => Input::SetXx(value),
            (_, 11 | 12) => Input::SetNx(value),
            (true, 13..20) => Input::Incr,
            (false, 13..16) => Input::Append(value),
            _ => Input::Set(value),
        };
        (key, input)
    }

    /// Sends operations and takes their replies; with `hang_up`, only so many. Returns how many came.
    fn ask(&mut self, client: &mut Client, asks: &[(Key, Input)], hang_up: Option<usize>) -> Result<usize, Error> {
        let mut request = Vec::new();
        asks.iter().for_each(|(key, input)| write_command(&mut request, &key.name(), input));
        if hang_up.is_some() && self.random.bool() {
            // The last command comes in part.
            request.truncate(request.len() - 3);
        }
        let in_flight = u64::try_from(asks.len()).unwrap_or(0);
        self.shared.in_flight.fetch_add(in_flight, Ordering::Relaxed);
        let called = self.shared.now();
        let first = self.recorded.len();
        let blank = |(key, input): &(Key, Input)| {
            (*key, Operation { client: self.number, input: input.clone(), called, returned: None })
        };
        self.recorded.extend(asks.iter().map(blank));
        let mut refused = Vec::new();
        let done = client
            .send(&request)
            .map_err(Error::Gone)
            .and_then(|()| self.take_replies(client, first, asks, hang_up.unwrap_or(asks.len()), &mut refused));
        self.shared.in_flight.fetch_sub(in_flight, Ordering::Relaxed);
        if hang_up.is_some() {
            self.shared.hung_up.fetch_add(1, Ordering::Relaxed);
        }
        // What was refused has not happened: it says nothing about the key.
        refused.iter().rev().for_each(|&at| drop(self.recorded.remove(at)));
        done.map(|replied| replied - refused.len())
    }

    fn take_replies(
        &mut self,
        client: &mut Client,
        first: usize,
        asks: &[(Key, Input)],
        count: usize,
        refused: &mut Vec<usize>,
    ) -> Result<usize, Error> {
        for (at, (_, input)) in asks.iter().enumerate().take(count) {
            let reply = client.receive().map_err(Error::Gone)?;
            let now = self.shared.now();
            match meaning(input, &reply) {
                Meaning::Reply(output) => {
                    self.recorded[first + at].1.returned = Some((now, output));
                    self.shared.completed.fetch_add(1, Ordering::Relaxed);
                }
                Meaning::NotDone { elsewhere } => {
                    self.preferred = elsewhere;
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                    refused.push(first + at);
                }
                // It stays open: it may have happened.
                Meaning::Unknown => {}
                Meaning::Nonsense => return Error::violation(format!("{input:?} was answered with {reply:?}")),
            }
        }
        Ok(count)
    }
}

enum Meaning {
    Reply(Output),
    /// An error that says that nothing was done, and perhaps who would do it.
    NotDone {
        elsewhere: Option<SocketAddr>,
    },
    Unknown,
    Nonsense,
}

/// Errors that say that a command was not executed.
const NOT_DONE: [&str; 7] =
    ["MOVED ", "READONLY ", "CLUSTERDOWN ", "LOADING ", "MASTERDOWN ", "TRYAGAIN ", "NOREPLICAS "];
/// An error that says that nobody knows.
const UNKNOWN: &str = "UNCONFIRMED ";

fn meaning(input: &Input, reply: &Reply) -> Meaning {
    let output = match (input, reply) {
        (Input::Set(_) | Input::SetNx(_) | Input::SetXx(_), Reply::Simple(text)) if text == "OK" => Output::Done,
        (Input::SetNx(_) | Input::SetXx(_), Reply::Bulk(None)) => Output::Value(None),
        (Input::Get | Input::GetEx | Input::GetSet(_) | Input::GetDel, Reply::Bulk(value)) => {
            Output::Value(value.clone().map(Into::into))
        }
        (Input::Incr | Input::Append(_) | Input::Del, Reply::Integer(number)) => Output::Number(*number),
        (Input::Incr, Reply::Error(text)) if text.contains("not an integer") || text.contains("overflow") => {
            Output::NotInteger
        }
        (_, Reply::Error(text)) if NOT_DONE.iter().any(|prefix| text.starts_with(prefix)) => {
            let elsewhere = text.strip_prefix("MOVED ").and_then(|rest| rest.split(' ').nth(1)?.parse().ok());
            return Meaning::NotDone { elsewhere };
        }
        (_, Reply::Error(text)) if text.starts_with(UNKNOWN) => return Meaning::Unknown,
        _ => return Meaning::Nonsense,
    };
    Meaning::Reply(output)
}

fn write_command(out: &mut Vec<u8>, key: &str, input: &Input) {
    let key = key.as_bytes();
    match input {
        Input::Get => encode(out, &[b"GET", key]),
        Input::GetEx => encode(out, &[b"GETEX", key, b"PERSIST"]),
        Input::Set(value) => encode(out, &[b"SET", key, value]),
        Input::SetNx(value) => encode(out, &[b"SET", key, value, b"NX"]),
        Input::SetXx(value) => encode(out, &[b"SET", key, value, b"XX"]),
        Input::GetSet(value) => encode(out, &[b"GETSET", key, value]),
        Input::GetDel => encode(out, &[b"GETDEL", key]),
        Input::Incr => encode(out, &[b"INCR", key]),
        Input::Append(value) => encode(out, &[b"APPEND", key, value]),
        Input::Del => encode(out, &[b"DEL", key]),
    }
}
