//! One writer: what it asks for, and whether the replies are right.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use super::chunk::{self, Chunk, HEADER};
use super::history::{Change, Found, History, Op, Promise, State, Stored};
use crate::Error;
use crate::node::PATIENCE;
use crate::resp::{Client, Reply, encode};
use crate::witness::{Witness, is_late};

/// Keys of one writer. Those of the first range take every command, those of the second expire soon, those of the
/// third are written in pairs.
pub(super) const KEYS: u16 = 48;
const EXPIRING: std::ops::Range<u16> = 32..40;
const PAIRED: std::ops::Range<u16> = 40..48;
/// Far enough away that no run reaches it.
const FAR_MS: u64 = 3_600_000;
/// How much longer somebody waits whose reply is late, to see whether it comes at all.
pub(super) const MORE: std::time::Duration = PATIENCE.saturating_add(PATIENCE);

pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The name of key `key` of writer `writer`. All keys of one writer are in one slot.
pub(super) fn key_name(writer: u16, key: u16) -> Vec<u8> {
    format!("{{w{writer}}}:{key}").into_bytes()
}

/// The number that a value bears of the key it belongs to.
pub(super) fn key_number(writer: u16, key: u16) -> u16 {
    writer * 256 + key
}

/// What all writers of one load share.
pub(super) struct Shared<'a> {
    pub(super) witness: &'a Witness,
    /// Set when the load is to end by itself.
    pub(super) stop: &'a AtomicBool,
    pub(super) confirmed: &'a AtomicU64,
    /// Writes refused for lack of space; where that is no fault, none are allowed.
    pub(super) refused: Option<&'a AtomicU64>,
}

/// One connection's worth of writes, over all rounds on one data directory.
pub(super) struct Writer {
    pub(super) number: u16,
    pub(super) history: History,
    random: fastrand::Rng,
}

impl Writer {
    pub(super) fn new(number: u16, seed: u64) -> Self {
        Self { number, history: History::default(), random: fastrand::Rng::with_seed(seed) }
    }

    /// Writes until the connection ends or the load is told to stop.
    pub(super) fn run(&mut self, shared: &Shared<'_>) -> Result<(), Error> {
        let Ok(mut client) = Client::connect(shared.witness.address()) else { return Ok(()) };
        while !shared.stop.load(Ordering::Relaxed) {
            match self.burst(&mut client, shared) {
                Ok(()) => {}
                Err(Error::Gone(error)) if is_late(&error) => {
                    let who = format!("writer {}", self.number);
                    return Err(shared.witness.silence(&who, &mut client, &error, MORE));
                }
                Err(Error::Gone(_)) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn burst(&mut self, client: &mut Client, shared: &Shared<'_>) -> Result<(), Error> {
        let depth = [1, 4, 16, 32][self.random.usize(..4)];
        let mut request = Vec::new();
        for _ in 0..depth {
            let op = self.draw();
            let version = self.history.next_version();
            write_request(&mut request, self.number, &op, version);
            self.history.sent(op);
        }
        client.send(&request).map_err(Error::Gone)?;
        while self.history.open() > 0 {
            self.take_reply(client, shared)?;
        }
        Ok(())
    }

    fn take_reply(&mut self, client: &mut Client, shared: &Shared<'_>) -> Result<(), Error> {
        let Some((op, version, before)) = self.history.oldest_open() else { return Ok(()) };
        let replies = receive_replies(client, op)?;
        let refusal = replies.iter().find(|reply| matches!(reply, Reply::Error(_)));
        match (refusal, shared.refused) {
            (Some(Reply::Error(text)), Some(refused))
                if text.contains("no space left")
                    || text.contains("refuses a new log segment")
                    || text.starts_with("EXECABORT") =>
            {
                refused.fetch_add(1, Ordering::Relaxed);
                self.history.refused();
                return Ok(());
            }
            _ => {}
        }
        for (change, reply) in op.changes.iter().zip(&replies) {
            if op.as_mset {
                break;
            }
            if !is_right(change, self.number, before, reply) {
                let had = before.get(&change.key());
                let text = format!("writer {}: version {version}, {change:?} on {had:?}: {reply:?}", self.number);
                return Error::violation(text);
            }
        }
        self.history.confirmed();
        shared.confirmed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn draw(&mut self) -> Op {
        let random = &mut self.random;
        let one = |change| Op { changes: vec![change], as_mset: false };
        match random.u32(..20) {
            0..3 => {
                let expires_at = random.bool().then(|| now_ms() + random.u64(1..400));
                let key = random.u16(EXPIRING);
                one(if random.u32(..4) == 0 {
                    Change::Delete { key }
                } else {
                    Change::Set { key, len: length(random), expires_at }
                })
            }
            3..7 => {
                let first = PAIRED.start + 2 * random.u16(..(PAIRED.end - PAIRED.start) / 2);
                let delete = random.u32(..5) == 0;
                let change = |key, random: &mut fastrand::Rng| match delete {
                    true => Change::Delete { key },
                    false => Change::Set { key, len: length(random), expires_at: None },
                };
                let changes = vec![change(first, random), change(first + 1, random)];
                Op { changes, as_mset: !delete && random.bool() }
            }
            kind => {
                let key = random.u16(..EXPIRING.start);
                one(match kind {
                    7..13 => Change::Set { key, len: length(random), expires_at: None },
                    13 | 14 => Change::Append { key, len: HEADER + random.usize(..200) },
                    15 | 16 => Change::Delete { key },
                    17 => Change::Take { key },
                    18 => Change::Expire { key, at: now_ms() + FAR_MS + random.u64(..FAR_MS) },
                    _ => Change::Persist { key },
                })
            }
        }
    }

    /// Asks for every key, and compares.
    pub(super) fn check(&mut self, client: &mut Client, promise: Promise) -> Result<u64, Error> {
        let mut found = BTreeMap::new();
        for key in 0..KEYS {
            found.insert(key, self.ask(client, key)?);
        }
        let number = self.number;
        self.history.check(&found, promise).map_err(|text| Error::Violation(format!("writer {number}: {text}")))
    }

    /// The first chunk of each value that was found at the last check, as bytes.
    pub(super) fn current_values(&self) -> Vec<Vec<u8>> {
        let current = self.history.current().into_iter();
        current.map(|(key, chunk)| value(self.number, key, chunk.version, chunk.len)).collect()
    }

    fn ask(&self, client: &mut Client, key: u16) -> Result<Found, Error> {
        let name = key_name(self.number, key);
        loop {
            let begun = now_ms();
            let mut request = Vec::new();
            encode(&mut request, &[b"GET", &name]);
            encode(&mut request, &[b"PEXPIRETIME", &name]);
            client.send(&request).map_err(Error::Gone)?;
            let value = client.receive().map_err(Error::Gone)?;
            let expiry = client.receive().map_err(Error::Gone)?;
            let asked = begun..now_ms();
            let stored = match (&value, &expiry) {
                (Reply::Bulk(None), _) => None,
                // It expired between the two.
                (Reply::Bulk(Some(_)), Reply::Integer(-2)) => continue,
                (Reply::Bulk(Some(bytes)), Reply::Integer(expiry)) => {
                    match chunk::parse(bytes, key_number(self.number, key)) {
                        Some(chunks) => Some(Stored { chunks, expires_at: u64::try_from(*expiry).ok() }),
                        None => {
                            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
                            return Error::violation(format!(
                                "writer {}, key {key}: wrong bytes: {shown}",
                                self.number
                            ));
                        }
                    }
                }
                other => return Error::violation(format!("writer {}, key {key}: {other:?}", self.number)),
            };
            return Ok(Found { stored, asked });
        }
    }
}

/// Mostly small, now and then large.
fn length(random: &mut fastrand::Rng) -> usize {
    HEADER
        + match random.u32(..100) {
            0..60 => random.usize(..100),
            60..90 => random.usize(..1_500),
            90..98 => random.usize(..6_000),
            _ => random.usize(..40_000),
        }
}

fn write_request(out: &mut Vec<u8>, writer: u16, op: &Op, version: u64) {
    if op.as_mset {
        let mut parts: Vec<Vec<u8>> = vec![b"MSET".to_vec()];
        for change in &op.changes {
            if let Change::Set { key, len, .. } = *change {
                parts.push(key_name(writer, key));
                parts.push(value(writer, key, version, len));
            }
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        return encode(out, &parts);
    }
    let transaction = op.changes.len() > 1;
    if transaction {
        encode(out, &[b"MULTI"]);
    }
    op.changes.iter().for_each(|change| write_change(out, writer, change, version));
    if transaction {
        encode(out, &[b"EXEC"]);
    }
}

fn value(writer: u16, key: u16, version: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    Chunk { version, len }.write(key_number(writer, key), &mut bytes);
    bytes
}

fn write_change(out: &mut Vec<u8>, writer: u16, change: &Change, version: u64) {
    let name = key_name(writer, change.key());
    match *change {
        Change::Set { key, len, expires_at: None } => encode(out, &[b"SET", &name, &value(writer, key, version, len)]),
        Change::Set { key, len, expires_at: Some(at) } => {
            encode(out, &[b"SET", &name, &value(writer, key, version, len), b"PXAT", at.to_string().as_bytes()]);
        }
        Change::Append { key, len } => encode(out, &[b"APPEND", &name, &value(writer, key, version, len)]),
        Change::Delete { .. } => encode(out, &[b"DEL", &name]),
        Change::Take { .. } => encode(out, &[b"GETDEL", &name]),
        Change::Expire { at, .. } => encode(out, &[b"PEXPIREAT", &name, at.to_string().as_bytes()]),
        Change::Persist { .. } => encode(out, &[b"PERSIST", &name]),
    }
}

/// The replies to the changes of `op`; of a transaction, those within EXEC's.
fn receive_replies(client: &mut Client, op: &Op) -> Result<Vec<Reply>, Error> {
    if op.as_mset || op.changes.len() == 1 {
        return Ok(vec![client.receive().map_err(Error::Gone)?]);
    }
    let mut refusal = None;
    for _ in 0..=op.changes.len() {
        let queued = client.receive().map_err(Error::Gone)?;
        if matches!(queued, Reply::Error(_)) {
            refusal = Some(queued);
        }
    }
    match client.receive().map_err(Error::Gone)? {
        Reply::Array(Some(replies)) if replies.len() == op.changes.len() => Ok(replies),
        other @ Reply::Error(_) => Ok(vec![refusal.unwrap_or(other)]),
        other => Error::violation(format!("EXEC: {other:?}")),
    }
}

fn is_right(change: &Change, writer: u16, before: &State, reply: &Reply) -> bool {
    let had = before.get(&change.key());
    match (change, reply) {
        (Change::Set { .. }, Reply::Simple(text)) => text == "OK",
        (Change::Append { len, .. }, Reply::Integer(total)) => {
            let had: usize = had.map_or(0, |stored| stored.chunks.iter().map(|chunk| chunk.len).sum());
            usize::try_from(*total) == Ok(had + len)
        }
        // Whether one that expires is still there is for the clock to say.
        (Change::Delete { key }, Reply::Integer(0 | 1)) if EXPIRING.contains(key) => true,
        (Change::Delete { .. }, Reply::Integer(count)) => *count == i64::from(had.is_some()),
        (Change::Take { .. }, Reply::Bulk(None)) => had.is_none(),
        (Change::Take { key }, Reply::Bulk(Some(bytes))) => {
            let chunks = chunk::parse(bytes, key_number(writer, *key));
            chunks.is_some() && chunks.as_deref() == had.map(|stored| stored.chunks.as_slice())
        }
        (Change::Expire { .. }, Reply::Integer(count)) => *count == i64::from(had.is_some()),
        (Change::Persist { .. }, Reply::Integer(count)) => {
            *count == i64::from(had.is_some_and(|stored| stored.expires_at.is_some()))
        }
        _ => false,
    }
}

/// A connection that only reads, of all writers' keys.
pub(super) struct Reader {
    random: fastrand::Rng,
    /// By writer: the newest version that was shown.
    pub(super) shown: Vec<Option<u64>>,
    /// By number of the key: the newest version that this connection was shown.
    seen: BTreeMap<u16, u64>,
    pub(super) reads: u64,
}

impl Reader {
    pub(super) fn new(writers: usize, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed);
        Self { random, shown: vec![None; writers], seen: BTreeMap::new(), reads: 0 }
    }

    /// Reads until the connection ends or the load is told to stop.
    pub(super) fn run(&mut self, shared: &Shared<'_>) -> Result<(), Error> {
        let Ok(mut client) = Client::connect(shared.witness.address()) else { return Ok(()) };
        while !shared.stop.load(Ordering::Relaxed) {
            match self.read(&mut client, shared.witness) {
                Ok(ControlFlow::Continue(())) => self.reads += 1,
                Ok(ControlFlow::Break(())) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn read(&mut self, client: &mut Client, witness: &Witness) -> Result<ControlFlow<()>, Error> {
        let writer = self.random.u16(..u16::try_from(self.shown.len()).unwrap_or(u16::MAX));
        let key = self.random.u16(..KEYS);
        let paired = PAIRED.contains(&key);
        let keys = if paired { vec![key & !1, key | 1] } else { vec![key] };
        let names: Vec<Vec<u8>> = keys.iter().map(|&key| key_name(writer, key)).collect();
        let mut parts: Vec<&[u8]> = vec![b"MGET"];
        parts.extend(names.iter().map(Vec::as_slice));
        let values = match client.call(&parts) {
            Ok(Reply::Array(Some(values))) if values.len() == keys.len() => values,
            Ok(other) => return Error::violation(format!("MGET: {other:?}")),
            Err(error) if is_late(&error) => return Err(witness.silence("the reader", client, &error, MORE)),
            Err(_) => return Ok(ControlFlow::Break(())),
        };
        let mut newest = Vec::new();
        for (&key, value) in keys.iter().zip(&values) {
            newest.push(self.take(writer, key, value)?);
        }
        if paired && newest[0] != newest[1] {
            return Error::violation(format!("a reader was shown half a write: keys {keys:?}, versions {newest:?}"));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn take(&mut self, writer: u16, key: u16, value: &Reply) -> Result<Option<u64>, Error> {
        let Reply::Bulk(Some(bytes)) = value else { return Ok(None) };
        let number = key_number(writer, key);
        let Some(chunks) = chunk::parse(bytes, number) else {
            return Error::violation(format!("a reader was shown wrong bytes at key {key} of writer {writer}"));
        };
        let Some(version) = chunks.iter().map(|chunk| chunk.version).max() else { return Ok(None) };
        let seen = self.seen.entry(number).or_insert(version);
        if *seen > version {
            return Error::violation(format!("a reader went back from version {seen} to {version} at key {key}"));
        }
        *seen = version;
        let shown = &mut self.shown[usize::from(writer)];
        *shown = (*shown).max(Some(version));
        Ok(Some(version))
    }
}
