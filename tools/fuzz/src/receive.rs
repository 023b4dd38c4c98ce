//! What a replica receives: ranges of a leader's log, cut anywhere, damaged, or forged under checksums that match. It ends
//! in records that are in the log or in a reason, never in a panic; what was taken in is a log that recovery believes;
//! and where nothing was forged, it is the leader's, and says of every key what the leader's says.
//!
//! The input is a program of steps of four bytes: the leader writes, bytes are delivered, the follower flushes, cuts or
//! begins anew.

use std::collections::BTreeMap;

use windrow_core::codec::{Chain, RecordHeader};
use windrow_core::log::VecMemory;
use windrow_core::partition::{Action, Partition, RecoveredPartition, ReplicaAction, ScanCursor};
use windrow_core::superblock::Superblock;
use windrow_core::types::limits::RECORD_HEADER_LEN;
use windrow_core::types::{Epoch, Lsn};

use crate::node::{CONFIG, KEY, Node, now, superblock};
use crate::recovery::write;

/// The newest epoch that the follower has promised: the leader's.
const PROMISED: Epoch = Epoch::new(2);

/// Tries one input.
pub fn receive(data: &[u8]) {
    let mut leader = Node::new(CONFIG);
    let mut follower = Follower::new();
    for step in data.chunks_exact(4).take(400) {
        match step[0] % 8 {
            0 | 1 => write(&mut leader, step),
            2 => follower.take(&leader, usize::from(step[1]) * 16 + 1, |_, _| false),
            3 => follower.take(&leader, usize::from(step[1]) * 16 + 1, |_, bytes| {
                let at = usize::from(step[2]) * 7 % bytes.len();
                bytes[at] ^= step[3];
                step[3] != 0
            }),
            4 | 5 => follower.take(&leader, 4096, |chain, bytes| forge(chain, bytes, step)),
            6 => follower.flush(),
            _ => follower.operate(&leader, step),
        }
        follower.check(&leader);
    }
    follower.recover();
}

/// Changes what stands first, a record or a header of a segment, under checksums that match.
fn forge(chain: Chain, bytes: &mut [u8], step: &[u8]) -> bool {
    let [_, at, field, by] = *step else { return false };
    let Some(head) = bytes.first_chunk::<RECORD_HEADER_LEN>() else { return false };
    let Ok((mut header, _)) = RecordHeader::decode(head, KEY) else { return false };
    let body = RECORD_HEADER_LEN..(RECORD_HEADER_LEN + header.body_len as usize).min(bytes.len());
    let by_wide = u64::from(by);
    match field % 8 {
        0 => header.durable = Lsn::new(header.durable.get() ^ by_wide),
        1 => header.epoch = Epoch::new(header.epoch.get() ^ u32::from(by)),
        2 => header.body_len ^= u32::from(by),
        3 => header.lsn = Lsn::new(header.lsn.get() ^ by_wide),
        4 => header.prev = Chain::new(header.prev.get() ^ u32::from(by)),
        _ if body.is_empty() => {}
        _ => {
            let len = body.len();
            // Behind the keys and values lies what says what is done to them: aim there in half of the cases.
            let place = if field.is_multiple_of(2) { len - 1 - usize::from(at) % len } else { usize::from(at) % len };
            bytes[body.clone()][place] ^= by;
            header.body_crc = KEY.body_sum(&bytes[body]);
        }
    }
    if field % 8 != 4 {
        header.prev = chain;
    }
    bytes[..RECORD_HEADER_LEN].copy_from_slice(&header.encode(KEY).0);
    true
}

struct Follower {
    partition: Partition<VecMemory>,
    superblock: Superblock,
    sizes: BTreeMap<Lsn, usize>,
    /// Something that no leader wrote may be in the log.
    is_forged: bool,
}

impl Follower {
    fn new() -> Self {
        let first = Superblock { promised: PROMISED, epoch: PROMISED, ..superblock() };
        let recovered = RecoveredPartition::new(first, CONFIG, Vec::new()).expect("nothing to recover");
        let superblock = recovered.replica_superblock();
        let (partition, _) = recovered.into_replica(superblock);
        let mut follower = Self { partition, superblock, sizes: BTreeMap::new(), is_forged: false };
        follower.act();
        follower
    }

    /// Does all that the partition asks for.
    fn act(&mut self) {
        loop {
            if let Some(action) = self.partition.poll_action() {
                match action {
                    Action::Prepare { base, len } => {
                        let len = usize::try_from(len).expect("a segment fits into memory");
                        self.sizes.insert(base, len);
                        self.partition.handle_prepared(base, VecMemory::zeroed(len));
                    }
                    Action::WriteSuperblock(superblock) => {
                        self.superblock = superblock;
                        self.partition.handle_superblock_written(superblock.generation);
                    }
                }
            } else if let Some(action) = self.partition.poll_replica() {
                match action {
                    ReplicaAction::PutAside { .. } => self.partition.handle_put_aside(true),
                    ReplicaAction::MoveAside { bases, .. } => {
                        self.sizes.retain(|base, _| !bases.contains(base));
                        self.partition.handle_moved_aside();
                    }
                    ReplicaAction::Remove { bases } => {
                        self.sizes.retain(|base, _| !bases.contains(base));
                        self.partition.handle_removed();
                    }
                    _ => {}
                }
            } else if let Some(request) = self.partition.poll_flush() {
                self.partition.handle_flushed(request.ticket);
            } else {
                return;
            }
        }
    }

    fn flush(&mut self) {
        self.act();
    }

    /// Delivers up to `len` bytes of what the leader's log goes on with, after `change`, which says whether it did.
    fn take(&mut self, leader: &Node, len: usize, change: impl FnOnce(Chain, &mut [u8]) -> bool) {
        self.act();
        let (mut from, end) = (self.partition.received(), leader.partition.appended());
        if from >= end {
            return;
        }
        let upto = end.min(from.plus(len as u64));
        let parts = leader.partition.bytes(from, upto).expect("the leader has it");
        let mut bytes = parts.fold(Vec::new(), |mut bytes, part| {
            bytes.extend_from_slice(part.bytes);
            bytes
        });
        self.is_forged |= change(self.partition.log().chain(), &mut bytes);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Ok(room) = self.partition.receive_into(from, upto) else { return self.act() };
            let len = room.len().min(rest.len());
            room[..len].copy_from_slice(&rest[..len]);
            rest = &rest[len..];
            from = from.plus(len as u64);
            let (before, mut verified) = (self.partition.appended(), Vec::new());
            let outcome = self.partition.handle_received(from, &mut verified);
            let taken = verified.last().map_or(before, |run| run.end);
            assert_eq!(self.partition.appended(), taken, "what was taken in is told");
            assert!(verified.iter().all(|run| run.epoch <= PROMISED), "no epoch that was not promised");
            self.act();
            if let Err(error) = outcome {
                assert!(self.is_forged, "bytes that nobody has changed are refused: {error}");
                assert_eq!(self.partition.received(), self.partition.appended(), "what is refused is forgotten");
                return;
            }
        }
    }

    /// Cuts at one of the records, or begins anew.
    fn operate(&mut self, leader: &Node, step: &[u8]) {
        self.act();
        if step[1] == 255 {
            // The chain value that the log of this cluster and partition starts from.
            let chain = self.superblock.start_chain;
            self.partition.begin_reset(Lsn::ZERO, chain).expect("a follower begins anew");
        } else {
            let ends: Vec<Lsn> = match self.partition.records(Lsn::ZERO) {
                Ok(records) => records.map_while(Result::ok).map(|record| record.end()).collect(),
                Err(_) => return,
            };
            let Some(&to) = ends.get(usize::from(step[1]) % ends.len().max(1)) else { return };
            self.partition.begin_cut(to).expect("a record ends there");
        }
        self.act();
        assert!(!self.partition.is_being_cut(), "a cut has an end");
        // What is left may be the leader's again.
        self.is_forged &= !self.has_leaders_bytes(leader);
    }

    fn has_leaders_bytes(&self, leader: &Node) -> bool {
        let end = self.partition.appended();
        let bytes = |partition: &Partition<VecMemory>| {
            let parts = partition.bytes(Lsn::ZERO, end).ok()?;
            Some(parts.flat_map(|part| part.bytes.to_vec()).collect::<Vec<u8>>())
        };
        end == Lsn::ZERO || end <= leader.partition.appended() && bytes(&self.partition) == bytes(&leader.partition)
    }

    fn check(&self, leader: &Node) {
        let partition = &self.partition;
        assert!(partition.durable() <= partition.appended() && partition.appended() <= partition.received());
        let found = keys(partition);
        if !self.is_forged {
            assert!(self.has_leaders_bytes(leader), "the follower has what the leader has");
            let caught_up = partition.appended() == leader.partition.appended();
            assert!(!caught_up || found == keys(&leader.partition), "both hold the same");
        }
    }

    /// What was taken in is a log: a start finds all of it, and, where nothing was forged, the same keys.
    fn recover(mut self) {
        self.act();
        let segments = self.sizes.iter().map(|(base, len)| {
            let zeros = vec![0; *len];
            let bytes = self.partition.segment(*base).map_or(zeros, |memory| memory.bytes().to_vec());
            (*base, VecMemory::from_bytes(&bytes))
        });
        let recovered = RecoveredPartition::new(self.superblock, CONFIG, segments.collect())
            .unwrap_or_else(|error| panic!("what was received is refused: {error}"));
        assert!(recovered.end() >= self.partition.appended(), "all that was received is there");
        let mut recovered = recovered;
        recovered.repair();
        let superblock = recovered.replica_superblock();
        let (again, _) = recovered.into_replica(superblock);
        if !self.is_forged && again.appended() == self.partition.appended() {
            assert_eq!(keys(&again), keys(&self.partition), "a start finds the same keys");
        }
    }
}

fn keys(partition: &Partition<VecMemory>) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut keys = BTreeMap::new();
    let mut cursor = Some(ScanCursor::START);
    while let Some(from) = cursor {
        cursor = partition
            .scan(from, 100, now(), &mut |entry| drop(keys.insert(entry.key.to_vec(), entry.value.to_vec())))
            .next;
    }
    keys
}
