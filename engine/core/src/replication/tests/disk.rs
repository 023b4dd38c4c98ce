//! What a replica of the tests keeps: a log of simple records, what of it is flushed, and a superblock.
//!
//! A record is `[header sum, body sum, prev, epoch, len, 0: u32 each][id u64][body]`; the header's sum is the chain
//! value, as in the real log.

use std::vec::Vec;

use crate::codec::Chain;
use crate::replication::{History, LogState, Promised, Verified};
use crate::types::{Epoch, Lsn};

pub(super) const HEADER_LEN: usize = 32;
pub(super) const ORIGIN: Chain = Chain::new(7);

/// A whole record at the start of some bytes.
#[derive(Clone, Copy)]
pub(super) struct Parsed {
    pub(super) epoch: Epoch,
    pub(super) len: usize,
    pub(super) prev: Chain,
    pub(super) chain: Chain,
}

/// What stands at the start of some bytes.
pub(super) enum Read {
    Record(Parsed),
    Incomplete,
    Bad,
}

pub(super) fn encode(epoch: Epoch, prev: Chain, id: u64, body_len: usize) -> Vec<u8> {
    let mut body = Vec::new();
    body.resize(body_len, id.to_le_bytes()[0]);
    let len = u32::try_from(HEADER_LEN + body_len).unwrap();
    let mut bytes = Vec::from([0; 4]);
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(prev.get().to_le_bytes());
    bytes.extend(epoch.get().to_le_bytes());
    bytes.extend(len.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(id.to_le_bytes());
    let sum = crc32fast::hash(&bytes[4..]).to_le_bytes();
    bytes[..4].copy_from_slice(&sum);
    bytes.extend(body);
    bytes
}

pub(super) fn read(bytes: &[u8]) -> Read {
    let Some(header) = bytes.first_chunk::<HEADER_LEN>() else { return Read::Incomplete };
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    if word(0) != crc32fast::hash(&header[4..]) {
        return Read::Bad;
    }
    let len = usize::try_from(word(16)).unwrap();
    let Some(body) = bytes.get(HEADER_LEN..len) else { return Read::Incomplete };
    if word(4) != crc32fast::hash(body) {
        return Read::Bad;
    }
    Read::Record(Parsed { epoch: Epoch::new(word(12)), len, prev: Chain::new(word(8)), chain: Chain::new(word(0)) })
}

/// What outlives a crash, and what does not yet.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) start: Lsn,
    pub(super) start_chain: Chain,
    /// From `start` on; whole records.
    bytes: Vec<u8>,
    /// Where each record ends, and what it is.
    records: Vec<(Lsn, Parsed)>,
    pub(super) durable: Lsn,
    /// What was known to be committed when the superblock was last written.
    pub(super) committed: Lsn,
    pub(super) promised: Promised,
}

impl Disk {
    pub(super) fn new() -> Self {
        Self {
            start: Lsn::ZERO,
            start_chain: ORIGIN,
            bytes: Vec::new(),
            records: Vec::new(),
            durable: Lsn::ZERO,
            committed: Lsn::ZERO,
            promised: Promised::default(),
        }
    }

    pub(super) fn end(&self) -> Lsn {
        self.start.plus(self.bytes.len() as u64)
    }

    fn offset(&self, lsn: Lsn) -> usize {
        usize::try_from(lsn.since(self.start)).unwrap()
    }

    pub(super) fn range(&self, from: Lsn, to: Lsn) -> &[u8] {
        &self.bytes[self.offset(from)..self.offset(to)]
    }

    fn last_chain(&self) -> Chain {
        self.records.last().map_or(self.start_chain, |(_, record)| record.chain)
    }

    /// The last record's end at or below `lsn`.
    pub(super) fn boundary(&self, lsn: Lsn) -> Lsn {
        let after = self.records.partition_point(|(end, _)| *end <= lsn);
        after.checked_sub(1).map_or(self.start, |index| self.records[index].0)
    }

    /// The chain value of the record that ends at `lsn`.
    pub(super) fn chain_at(&self, lsn: Lsn) -> Option<Chain> {
        if lsn == self.start {
            return Some(self.start_chain);
        }
        let index = self.records.binary_search_by_key(&lsn, |(end, _)| *end).ok()?;
        Some(self.records[index].1.chain)
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        let Read::Record(record) = read(bytes) else { panic!("only whole records are kept") };
        self.bytes.extend_from_slice(&bytes[..record.len]);
        self.records.push((self.end(), record));
    }

    pub(super) fn truncate(&mut self, to: Lsn) {
        assert_eq!(self.boundary(to), to, "cut where a record ends");
        let len = self.offset(to);
        self.bytes.truncate(len);
        self.records.retain(|(end, _)| *end <= to);
        self.durable = self.durable.min(to);
        self.committed = self.committed.min(to);
    }

    pub(super) fn reset(&mut self, start: Lsn, chain: Chain) {
        let promised = self.promised;
        *self = Self { start, start_chain: chain, durable: start, promised, ..Self::new() };
    }

    /// Frees what is below `start`, a record's end.
    pub(super) fn trim(&mut self, start: Lsn) {
        let chain = self.chain_at(start).expect("a record ends there");
        self.bytes.drain(..self.offset(start));
        self.records.retain(|(end, _)| *end > start);
        self.start = start;
        self.start_chain = chain;
    }

    /// Takes the whole records at the start of `arrived`, and leaves the rest there. `false` where one is bad.
    pub(super) fn take(&mut self, arrived: &mut Vec<u8>) -> (Vec<Verified>, bool) {
        let mut runs: Vec<Verified> = Vec::new();
        let mut chain = self.last_chain();
        loop {
            match read(arrived) {
                Read::Record(record) if record.prev == chain => {
                    self.push(arrived);
                    arrived.drain(..record.len);
                    chain = record.chain;
                    if runs.last().is_some_and(|run| run.epoch == record.epoch) {
                        runs.pop();
                    }
                    runs.push(Verified { epoch: record.epoch, end: self.end(), chain });
                }
                Read::Incomplete => return (runs, true),
                Read::Record(_) | Read::Bad => {
                    arrived.clear();
                    return (runs, false);
                }
            }
        }
    }

    /// What recovery makes of it.
    pub(super) fn recover(&self) -> LogState {
        let mut history = History::new();
        let mut end = self.start;
        for (record_end, record) in &self.records {
            history.note(record.epoch, end);
            end = *record_end;
        }
        let chain = self.last_chain();
        let (start, start_chain, durable) = (self.start, self.start_chain, self.durable);
        let committed = self.committed.min(durable);
        LogState { start, start_chain, end, chain, durable, committed, history }
    }
}
