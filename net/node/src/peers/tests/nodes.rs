//! Nodes to test with.

use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use windrow_core::log::SegmentMemory;
use windrow_core::replication::{Body, Message, Position, ReplicaId};
use windrow_core::types::{ClusterId, Epoch, Lsn, PartitionId};
use windrow_proto::replication::Layout;
use windrow_store::{FillMode, MappedSegment, create_segment};

use super::super::{Host, LargeWay, Outbox, PeerAddress, Piece, Range, Room, Secret, Times, Transport, WireConfig};
use crate::net::Listener;
use crate::ring::{CpuSet, Mapped, Ring};

pub(super) const SECRET: &[u8] = b"a secret of some length";
pub(super) const CLUSTER: ClusterId = ClusterId([7; 16]);
pub(super) const PARTITION: PartitionId = PartitionId::new(3);
/// Whatever takes longer hangs.
pub(super) const GUARD: Duration = Duration::from_secs(30);
/// Bytes of a segment in these tests.
pub(super) const SEGMENT: usize = 1 << 20;

/// What a host was told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Told {
    Connected(ReplicaId),
    Disconnected(ReplicaId),
    Message(Message),
    RangeEnd,
}

/// A log without records, and what its driver was told.
pub(super) struct TestHost {
    dir: tempfile::TempDir,
    segments: Vec<MappedSegment>,
    /// Where the log ends.
    pub(super) end: usize,
    pub(super) told: Vec<Told>,
    /// Room is given up to here only.
    pub(super) room_upto: usize,
    /// What is sent may be on disk only.
    pub(super) cold: bool,
    /// The lengths of what arrived.
    pub(super) arrived: Vec<usize>,
}

fn lsn(at: usize) -> Lsn {
    Lsn::new(at as u64)
}

fn at(lsn: Lsn) -> usize {
    usize::try_from(lsn.get()).unwrap()
}

impl TestHost {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            segments: Vec::new(),
            end: 0,
            told: Vec::new(),
            room_upto: usize::MAX,
            cold: false,
            arrived: Vec::new(),
        }
    }

    fn segment(&mut self, number: usize) -> &mut MappedSegment {
        while self.segments.len() <= number {
            let base = lsn(self.segments.len() * SEGMENT);
            self.segments.push(create_segment(self.dir.path(), base, SEGMENT as u64, FillMode::Write64K).unwrap());
        }
        &mut self.segments[number]
    }

    /// Appends bytes that tell where they are.
    pub(super) fn append(&mut self, len: usize) {
        let end = self.end + len;
        for position in self.end..end {
            let segment = self.segment(position / SEGMENT);
            let place = position % SEGMENT;
            let hash = (position as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            segment.write(place..place + 1)[0] = hash.to_be_bytes()[0];
            if place + 1 == SEGMENT || position + 1 == end {
                segment.publish(place + 1);
            }
        }
        self.end = end;
    }

    /// All bytes of the log.
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.segments.iter().flat_map(|segment| segment.published(0..segment.published_end())).copied().collect()
    }

    /// Drops the first segment's pages from memory. `false`: this file system keeps them.
    pub(super) fn chill(&self) -> bool {
        let segment = &self.segments[0];
        segment.share().sync_data().unwrap();
        rustix::fs::fadvise(segment.as_fd(), 0, None, rustix::fs::Advice::DontNeed).unwrap();
        !segment.is_resident(0..SEGMENT)
    }

    pub(super) fn count(&self, what: &Told) -> usize {
        self.told.iter().filter(|told| *told == what).count()
    }
}

impl Host for TestHost {
    fn connected(&mut self, peer: ReplicaId, _: &mut Outbox) {
        self.told.push(Told::Connected(peer));
    }

    fn disconnected(&mut self, peer: ReplicaId, _: &mut Outbox) {
        self.told.push(Told::Disconnected(peer));
    }

    fn message(&mut self, _: ReplicaId, partition: PartitionId, message: Message, _: &mut Outbox) {
        assert_eq!(partition, PARTITION);
        self.told.push(Told::Message(message));
    }

    fn room(&mut self, _: ReplicaId, _: PartitionId, from: Lsn, upto: Lsn) -> Room<'_> {
        let (from, upto) = (at(from), at(upto));
        assert!(from < upto);
        if from < self.end {
            return Room::Discard((self.end - from) as u64);
        }
        assert_eq!(from, self.end, "in order");
        if from >= self.room_upto {
            return Room::Wait;
        }
        let (number, place) = (from / SEGMENT, from % SEGMENT);
        let len = (SEGMENT - place).min(self.room_upto - from);
        Room::Into(self.segment(number).write(place..place + len))
    }

    fn arrived(&mut self, _: ReplicaId, _: PartitionId, from: Lsn, len: usize, _: &mut Outbox) {
        assert_eq!(at(from), self.end);
        self.end += len;
        self.arrived.push(len);
        let (number, place) = ((self.end - 1) / SEGMENT, (self.end - 1) % SEGMENT);
        self.segment(number).publish(place + 1);
    }

    fn range_end(&mut self, _: ReplicaId, _: PartitionId, _: &mut Outbox) {
        self.told.push(Told::RangeEnd);
    }

    fn piece(&mut self, _: PartitionId, _: Epoch, from: Lsn, upto: Lsn) -> Option<Piece> {
        let (from, upto) = (at(from), at(upto).min(self.end));
        let (number, place) = (from / SEGMENT, from % SEGMENT);
        let len = (SEGMENT - place).min(upto.checked_sub(from)?);
        let bytes = Mapped::new(self.segments.get(number)?.share(), place..place + len);
        (len > 0).then_some(Piece { bytes, may_be_cold: self.cold })
    }
}

/// A node with one core.
pub(super) struct Node {
    pub(super) ring: Ring,
    pub(super) transport: Transport,
    pub(super) host: TestHost,
    pub(super) now: Instant,
}

pub(super) fn config(replica: u64, peers: &[(u64, std::net::SocketAddr)]) -> WireConfig {
    WireConfig {
        replica: ReplicaId::new(replica),
        cluster: CLUSTER,
        layout: Layout { partitions: 4, cores: 1 },
        partitions: vec![PARTITION],
        peers: peers
            .iter()
            .map(|&(replica, address)| PeerAddress { replica: ReplicaId::new(replica), place: address.into() })
            .collect(),
        secret: Secret::new(SECRET),
        large: LargeWay::default(),
        times: Times::default(),
        draw: 5,
    }
}

impl Node {
    pub(super) fn new(config: WireConfig) -> Self {
        let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let ring = Ring::new(&CpuSet::of_this_thread().unwrap(), eventfd.as_fd()).unwrap();
        let listener = Listener::bind(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let transport = Transport::new(config, Some(listener));
        Self { ring, transport, host: TestHost::new(), now: Instant::now() }
    }

    /// Replica 1, which nobody listens for, accepting from it: what strangers connect to.
    pub(super) fn alone() -> Self {
        let mut node = Self::new(config(2, &[(1, "127.0.0.1:9".parse().unwrap())]));
        node.tick_after(Duration::ZERO);
        node
    }

    /// One round of the core.
    pub(super) fn turn(&mut self) {
        self.now = self.now.max(Instant::now());
        self.ring.enter().unwrap();
        while let Some(completion) = self.ring.poll() {
            assert!(self.transport.completion(completion, &mut self.ring).is_none());
        }
        self.transport.run(&mut self.ring, &mut self.host, self.now);
    }

    /// A tick so much later.
    pub(super) fn tick_after(&mut self, later: Duration) {
        self.now = self.now.max(Instant::now()) + later;
        self.transport.tick(&mut self.ring, &mut self.host, self.now);
    }

    pub(super) fn send(&mut self, to: u64, message: Message) {
        self.transport.outbox().send(ReplicaId::new(to), PARTITION, message);
    }

    pub(super) fn ship(&mut self, to: u64, from: usize, upto: usize) {
        let range = Range { epoch: Epoch::new(1), from: lsn(from), upto: lsn(upto), committed: Lsn::ZERO };
        self.transport.outbox().ship(ReplicaId::new(to), PARTITION, range);
    }
}

pub(super) fn promise(number: u32) -> Message {
    Message { epoch: Epoch::new(number), body: Body::Promise { position: Position::default() } }
}

/// Nodes 1 and 2, of which 1 connects.
pub(super) struct Pair {
    pub(super) one: Node,
    pub(super) two: Node,
}

impl Pair {
    pub(super) fn new(change_one: impl FnOnce(&mut WireConfig), change_two: impl FnOnce(&mut WireConfig)) -> Self {
        let mut of_two = config(2, &[(1, "127.0.0.1:9".parse().unwrap())]);
        change_two(&mut of_two);
        let mut two = Node::new(of_two);
        let mut of_one = config(1, &[(2, two.transport.address().unwrap())]);
        change_one(&mut of_one);
        let mut one = Node::new(of_one);
        two.tick_after(Duration::ZERO);
        one.tick_after(Duration::ZERO);
        Self { one, two }
    }

    /// Two nodes that are connected.
    pub(super) fn connected() -> Self {
        Self::with_large(LargeWay::default())
    }

    pub(super) fn with_large(large: LargeWay) -> Self {
        let mut pair = Self::new(|one| one.large = large, |two| two.large = large);
        pair.until(|pair| pair.is_connected());
        pair
    }

    pub(super) fn is_connected(&self) -> bool {
        let (one, two) = (ReplicaId::new(1), ReplicaId::new(2));
        let up = |told: &[Told], peer| {
            let last = told.iter().rev().find(|told| matches!(told, Told::Connected(_) | Told::Disconnected(_)));
            last == Some(&Told::Connected(peer))
        };
        up(&self.one.host.told, two) && up(&self.two.host.told, one)
    }

    pub(super) fn turn(&mut self) {
        self.one.turn();
        self.two.turn();
    }

    /// Goes on until it is so.
    pub(super) fn until(&mut self, mut so: impl FnMut(&mut Self) -> bool) {
        let since = Instant::now();
        while !so(self) {
            self.turn();
            assert!(since.elapsed() < GUARD, "it never came to that");
        }
    }

    /// Ticks of both, so far apart, until it is so.
    pub(super) fn ticks_until(&mut self, apart: Duration, mut so: impl FnMut(&mut Self) -> bool) {
        let since = Instant::now();
        while !so(self) {
            self.one.tick_after(apart);
            self.two.tick_after(apart);
            for _ in 0..20 {
                self.turn();
            }
            assert!(since.elapsed() < GUARD, "it never came to that");
        }
    }
}
