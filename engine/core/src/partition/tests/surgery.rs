//! Cuts, resets and takeovers of one replica, with the files that it would have.

use super::*;
use crate::replication::Verified;

struct Follower {
    partition: Partition<VecMemory>,
    disk: BTreeMap<Lsn, Vec<u8>>,
    superblock: Superblock,
    log: Vec<ReplicaAction>,
}

impl Follower {
    fn open(superblock: Superblock, disk: BTreeMap<Lsn, Vec<u8>>) -> Self {
        let segments = disk.iter().map(|(base, bytes)| (*base, VecMemory::from_bytes(bytes))).collect();
        let mut recovered = RecoveredPartition::new(superblock, CONFIG, segments).unwrap();
        let repair = recovered.repair();
        let superblock = recovered.replica_superblock();
        let (partition, _) = recovered.into_replica(superblock);
        let mut one = Self { partition, disk, superblock, log: Vec::new() };
        repair.flush.iter().for_each(|base| one.sync(*base));
        for base in repair.remove.iter().chain(&repair.aside) {
            one.disk.remove(base);
        }
        one.drive();
        one
    }

    fn sync(&mut self, base: Lsn) {
        let bytes = self.partition.segment(base).unwrap().bytes().to_vec();
        self.disk.insert(base, bytes);
    }

    /// Does everything that the partition asks for, until it asks for nothing.
    fn drive(&mut self) {
        for _ in 0..1000 {
            let mut any = false;
            if let Some(request) = self.partition.poll_flush() {
                any = true;
                let bases: Vec<Lsn> = self.partition.log().segments().map(LogSegment::base).collect();
                bases
                    .iter()
                    .filter(|base| (request.first_base..=request.last_base).contains(base))
                    .for_each(|b| self.sync(*b));
                self.partition.handle_flushed(request.ticket);
            }
            match self.partition.poll_action() {
                Some(Action::Prepare { base, len }) => {
                    any = true;
                    let len = usize::try_from(len).unwrap();
                    assert!(self.disk.insert(base, std::vec![0; len]).is_none(), "there is such a file already");
                    self.partition.handle_prepared(base, VecMemory::zeroed(len));
                }
                Some(Action::WriteSuperblock(superblock)) => {
                    any = true;
                    self.superblock = superblock;
                    self.partition.handle_superblock_written(superblock.generation);
                }
                None => {}
            }
            if let Some(action) = self.partition.poll_replica() {
                any = true;
                self.log.push(action.clone());
                match action {
                    ReplicaAction::PutAside { .. } => self.partition.handle_put_aside(true),
                    ReplicaAction::MoveAside { bases, .. } => {
                        bases.iter().for_each(|base| drop(self.disk.remove(base)));
                        self.partition.handle_moved_aside();
                    }
                    ReplicaAction::Remove { bases } => {
                        bases.iter().for_each(|base| drop(self.disk.remove(base)));
                        self.partition.handle_removed();
                    }
                    _ => {}
                }
            }
            if !any {
                return;
            }
        }
        panic!("it asks for something for ever");
    }

    fn receive(&mut self, from: &Partition<VecMemory>, upto: Lsn) -> Vec<Verified> {
        let mut verified = Vec::new();
        for _ in 0..1000 {
            let at = self.partition.received();
            if at >= upto {
                break;
            }
            self.drive();
            let part = from.bytes(at, upto).unwrap().next().unwrap();
            let into = self.partition.receive_into(at, upto).unwrap();
            let len = into.len().min(part.bytes.len());
            into[..len].copy_from_slice(&part.bytes[..len]);
            self.partition.handle_received(at.plus(len as u64), &mut verified).unwrap();
        }
        verified
    }
}

#[test]
fn a_cut_ends() {
    let mut driver = Driver::create();
    driver.put("a", "1");
    driver.flush();
    let to = driver.partition.appended();
    driver.put("b", "2");
    driver.flush();
    let mut follower = Follower::open(driver.superblock, driver.disk);
    follower.partition.begin_cut(to).unwrap();
    follower.drive();
    assert!(follower.log.iter().any(|action| matches!(action, ReplicaAction::CutDone { .. })), "{:?}", follower.log);
    assert_eq!(follower.partition.appended(), to);
}

fn follower_of(driver: &mut Driver) -> Follower {
    driver.flush();
    driver.act();
    driver.partition.want_superblock();
    driver.act();
    Follower::open(driver.superblock, driver.disk.clone())
}

/// A crash between the note of a reset and its end: the log starts at 8192 and is empty.
#[test]
fn an_empty_log_is_durable_up_to_its_start() {
    let superblock = Superblock {
        start: Lsn::new(8192),
        cut: Some(Lsn::new(8192)),
        durable: Lsn::new(1000),
        own_epoch: Superblock::OTHERS_ONLY,
        ..blank_superblock()
    };
    let follower = Follower::open(superblock, BTreeMap::new());
    assert_eq!(follower.partition.appended(), Lsn::new(8192));
    assert_eq!(follower.partition.durable(), follower.partition.appended(), "or an orderly end waits for ever");
}

/// A follower is preparing a segment as short as its leader's when it is made the leader.
#[test]
fn a_new_leader_whose_next_segment_is_a_short_one_takes_long_records() {
    const LONG: PartitionConfig = PartitionConfig { segment_len: 4 * SEGMENT_LEN_MIN, segments_ahead: 1 };
    let mut driver = Driver::create();
    for round in 0..40 {
        driver.put(&std::format!("key-{round}"), &"x".repeat(200));
        driver.flush();
    }
    driver.act();
    let mut recovered = RecoveredPartition::<VecMemory>::new(blank_superblock(), LONG, Vec::new()).unwrap();
    let _ = recovered.repair();
    let superblock = recovered.replica_superblock();
    let (partition, _) = recovered.into_replica(superblock);
    let mut follower = Follower { partition, disk: BTreeMap::new(), superblock, log: Vec::new() };
    let epoch = driver.partition.superblock().epoch;
    follower.partition.write_promised(1, crate::replication::Promised { promised: epoch, epoch, floor: None });
    follower.drive();
    // Everything up to the end of the second segment but its last record.
    let upto = Lsn::new(2 * SEGMENT_LEN_MIN + 1000);
    follower.receive(&driver.partition, upto);
    // The segment behind the one in use is asked for, and is on its way.
    let asked = loop {
        match follower.partition.poll_action() {
            Some(Action::Prepare { base, len }) => break (base, len),
            Some(Action::WriteSuperblock(superblock)) => {
                follower.partition.handle_superblock_written(superblock.generation);
            }
            None => panic!("a segment is asked for"),
        }
    };
    assert_eq!(asked.1, SEGMENT_LEN_MIN);
    let next = epoch.next().unwrap();
    let promised = crate::replication::Promised { promised: next, epoch: next, floor: None };
    follower.partition.write_promised(2, promised);
    while let Some(Action::WriteSuperblock(superblock)) = follower.partition.poll_action() {
        follower.partition.handle_superblock_written(superblock.generation);
    }
    follower.partition.lead(next, driver.now()).unwrap();
    let len = usize::try_from(asked.1).unwrap();
    follower.disk.insert(asked.0, std::vec![0; len]);
    follower.partition.handle_prepared(asked.0, VecMemory::zeroed(len));
    let value = std::vec![1; 2 * len];
    for _ in 0..10 {
        let hash = follower.partition.hash(b"long");
        let change = Change::Put { value: &value, expires_at: None };
        let _full = follower.partition.append(driver.now(), &mut [Op { hash, key: b"long", change }]);
        follower.drive();
    }
    let hash = follower.partition.hash(b"long");
    assert!(follower.partition.get(hash, b"long", driver.now()).entry.is_some());
}

/// Puts, deletes and clears, then a cut at every record's end: the index is that of a log that ended there.
#[test]
fn a_cut_leaves_what_was_there() {
    let mut seed = 1_u64;
    let mut draw = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for round in 0..60 {
        let mut driver = Driver::create();
        let mut ends = Vec::new();
        for _ in 0..30 {
            let key = std::format!("k{}", draw() % 5);
            match draw() % 8 {
                0..=3 => driver.put(&key, &std::format!("{:0>90}", draw())),
                4..=5 => driver.apply(&[(key.as_str(), Change::Delete)]),
                6 => driver.put_until(&key, "t", UnixMillis::new(1_000_000 + draw() % 10)),
                _ if draw() % 4 == 0 => {
                    driver.act();
                    driver.partition.clear(driver.now()).unwrap();
                }
                _ => driver.apply(&[("k0", Change::Delete), ("k1", Change::Put { value: b"b", expires_at: None })]),
            }
            if draw() % 3 == 0 {
                driver.flush();
            }
            driver.act();
            ends.push(driver.partition.appended());
        }
        let to = ends[usize::try_from(draw() % 30).unwrap()];
        let mut follower = follower_of(&mut driver);
        if draw() % 2 == 0 {
            let upto = follower.partition.appended();
            follower.partition.handle_committed(Lsn::new(draw() % (upto.get() + 1)));
        }
        follower.partition.begin_cut(to).unwrap();
        follower.drive();
        assert!(
            follower.log.iter().any(|action| matches!(action, ReplicaAction::CutDone { .. })),
            "{:?}",
            follower.log
        );
        let image = follower.disk.clone();
        let cut = follower.partition;
        let reopened = Follower::open(follower.superblock, image).partition;
        assert_eq!(reopened.appended(), to);
        let now = driver.now();
        for at in 0..5 {
            let key = std::format!("k{at}");
            let hash = cut.hash(key.as_bytes());
            let value = |one: &Partition<VecMemory>| {
                one.get(hash, key.as_bytes(), now).entry.map(|entry| (entry.value.to_vec(), entry.lsn))
            };
            assert_eq!(value(&cut), value(&reopened), "round {round} key {key}");
        }
        assert_eq!(cut.len(), reopened.len(), "round {round}");
        assert_eq!(cut.stats().live_bytes, reopened.stats().live_bytes, "round {round}");
        assert_eq!(cut.expiries, reopened.expiries, "round {round}");
    }
}
