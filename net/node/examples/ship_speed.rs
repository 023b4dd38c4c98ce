//! Ships a log from one core to another over loopback by the connections of the replicas, received straight into a
//! segment and thrown away there, and prints what a GB costs either end; beside it, a bare `sendfile` into a reader that
//! looks at nothing. What is missing to the catch-up of a follower is checking, indexing and flushing.
//!
//! `cargo run --release -p windrow-node --no-default-features --features shared-nothing --example ship_speed [MiB]`
#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "measuring time and printing it is what it is for"
)]

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::sendfile;
use rustix::net::{RecvFlags, recv};
use windrow_core::log::SegmentMemory;
use windrow_core::replication::{Message, ReplicaId};
use windrow_core::types::{ClusterId, Epoch, Lsn, PartitionId};
use windrow_node::net::Listener;
use windrow_node::peers::{
    Host, LargeWay, Outbox, PeerAddress, Piece, Range, Room, Secret, Times, Transport, WireConfig,
};
use windrow_node::ring::{CpuSet, Mapped, Ring, Timer};
use windrow_proto::replication::Layout;
use windrow_store::{FillMode, MappedSegment, SegmentView, create_segment};

const SEGMENT: usize = 64 << 20;
const PARTITION: PartitionId = PartitionId::new(0);
const EPOCH: Epoch = Epoch::new(1);

/// CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel keeps schedstat");
    let first = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(first.expect("nanoseconds come first"))
}

/// One segment, which stands for a log of any length: each place in it for all places that many segments further.
struct Core {
    segment: MappedSegment,
    _dir: tempfile::TempDir,
    /// What is to be shipped to whom, once it is there.
    total: usize,
    leads: bool,
    received: usize,
    started: Option<(Instant, Duration)>,
}

fn place(lsn: Lsn) -> usize {
    usize::try_from(lsn.get()).expect("a log of this size fits memory") % SEGMENT
}

impl Host for Core {
    fn connected(&mut self, peer: ReplicaId, out: &mut Outbox) {
        self.started = Some((Instant::now(), cpu()));
        if self.leads {
            let upto = Lsn::new(self.total as u64);
            out.ship(peer, PARTITION, Range { epoch: EPOCH, from: Lsn::ZERO, upto, committed: Lsn::ZERO });
        }
    }

    fn disconnected(&mut self, _: ReplicaId, _: &mut Outbox) {}

    fn message(&mut self, _: ReplicaId, _: PartitionId, _: Message, _: &mut Outbox) {}

    fn room(&mut self, _: ReplicaId, _: PartitionId, at: Lsn, _: Lsn) -> Room<'_> {
        Room::Into(self.segment.write(place(at)..SEGMENT))
    }

    fn arrived(&mut self, _: ReplicaId, _: PartitionId, _: Lsn, len: usize, _: &mut Outbox) {
        self.received += len;
    }

    fn range_end(&mut self, _: ReplicaId, _: PartitionId, _: &mut Outbox) {}

    fn piece(&mut self, _: PartitionId, _: Epoch, at: Lsn, upto: Lsn) -> Option<Piece> {
        let start = place(at);
        let len = usize::try_from(upto.since(at)).ok()?.min(SEGMENT - start);
        Some(Piece { bytes: Mapped::new(self.segment.share(), start..start + len), may_be_cold: false })
    }
}

/// Runs one core until `done`. Returns its CPU seconds and the seconds it took since it was connected.
fn run(mut transport: Transport, mut core: Core, done: impl Fn(&Transport, &Core) -> bool) -> io::Result<(f64, f64)> {
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    let mut ring = Ring::new(&CpuSet::of_this_thread()?, eventfd.as_fd()).map_err(io::Error::other)?;
    transport.tick(&mut ring, &mut core, Instant::now());
    while !done(&transport, &core) {
        ring.enter()?;
        while let Some(completion) = ring.poll() {
            transport.completion(completion, &mut ring);
        }
        if !transport.run(&mut ring, &mut core, Instant::now()) {
            // Whether it is done may depend on the other end alone.
            ring.arm_timer(Timer::Tick, Duration::from_millis(10));
            if ring.may_sleep() {
                rustix::io::read(ring.eventfd(), &mut [0; 8])?;
            }
            ring.stay_awake();
        }
    }
    let (since, cpu_before) = core.started.expect("it was connected");
    let figures = ((cpu() - cpu_before).as_secs_f64(), since.elapsed().as_secs_f64());
    transport.close(&mut ring);
    Ok(figures)
}

fn core(total: usize, leads: bool) -> io::Result<Core> {
    let dir = tempfile::tempdir()?;
    let segment = create_segment(dir.path(), Lsn::ZERO, SEGMENT as u64, FillMode::Write64K);
    let mut segment = segment.map_err(io::Error::other)?;
    if leads {
        segment.publish(SEGMENT);
    }
    Ok(Core { segment, _dir: dir, total, leads, received: 0, started: None })
}

fn config(own: u64, other: u64, address: SocketAddr, large: LargeWay) -> WireConfig {
    WireConfig {
        replica: ReplicaId::new(own),
        cluster: ClusterId([1; 16]),
        layout: Layout { partitions: 1, cores: 1 },
        partitions: vec![PARTITION],
        peers: vec![PeerAddress { replica: ReplicaId::new(other), place: address.into() }],
        secret: Secret::new(b"0123456789abcdef"),
        large,
        times: Times { silent_after: Duration::from_secs(600), ..Times::default() },
        draw: 1,
    }
}

fn by_connection(large: LargeWay, total: usize) -> io::Result<()> {
    let listener = Listener::bind(Ipv4Addr::LOCALHOST.into(), 0).map_err(io::Error::other)?;
    let address = listener.address();
    let follower = thread::spawn(move || {
        let nowhere = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 9);
        let transport = Transport::new(config(2, 1, nowhere, large), Some(listener));
        run(transport, core(total, false)?, |_, core| core.received >= core.total)
    });
    let transport = Transport::new(config(1, 2, address, large), None);
    let sent = |transport: &Transport| {
        let counters = transport.counters();
        let ways = [
            &counters.sent_gathered_bytes,
            &counters.sent_file_bytes,
            &counters.sent_zero_copy_bytes,
            &counters.sent_zero_copy_copied_bytes,
        ];
        ways.into_iter().map(windrow_node::metrics::Counter::get).sum::<u64>()
    };
    let is_done = |transport: &Transport, core: &Core| sent(transport) >= core.total as u64 && follower.is_finished();
    let (leader_cpu, _) = run(transport, core(total, true)?, is_done)?;
    let (follower_cpu, took) = follower.join().map_err(|_| io::Error::other("the follower panicked"))??;
    print(&format!("{large:?}"), total, took, leader_cpu, Some(follower_cpu));
    Ok(())
}

fn bare(total: usize, segment: &SegmentView) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    let (reader, _) = listener.accept()?;
    let reader = thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        // On TCP, this flag throws the bytes away.
        while recv(&reader, &mut buffer[..], RecvFlags::TRUNC).is_ok_and(|(_, len)| len > 0) {}
    });
    let (since, before) = (Instant::now(), cpu());
    let mut done = 0;
    while done < total {
        let mut offset = (done % SEGMENT) as u64;
        done += sendfile(&socket, segment, Some(&mut offset), (4 << 20).min(SEGMENT - done % SEGMENT))?;
    }
    let used = cpu() - before;
    drop(socket);
    reader.join().map_err(|_| io::Error::other("the reader panicked"))?;
    print("bare sendfile", total, since.elapsed().as_secs_f64(), used.as_secs_f64(), None);
    Ok(())
}

fn print(what: &str, total: usize, took: f64, leader_cpu: f64, follower_cpu: Option<f64>) {
    let gigabytes = total as f64 / 1e9;
    let follower = follower_cpu.map_or("-".to_owned(), |cpu| format!("{:.3}", cpu / gigabytes));
    println!("{what:>14} {:>8.2} {:>14.3} {follower:>16}", gigabytes / took, leader_cpu / gigabytes);
}

fn main() -> io::Result<()> {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(4_096_usize);
    let total = megabytes << 20;
    let source = core(total, true)?;
    println!("{:>14} {:>8} {:>14} {:>16}", "way", "GB/s", "sender s/GB", "receiver s/GB");
    for _ in 0..2 {
        bare(total, &source.segment.share())?;
        for large in [LargeWay::SendFile, LargeWay::ZeroCopy, LargeWay::Gathered] {
            by_connection(large, total)?;
        }
    }
    Ok(())
}
