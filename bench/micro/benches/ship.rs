//! What a range of the log takes over loopback by each way of sending it, behind the header of a message: gathered from
//! the mapping with the header and copied into the socket, by `sendfile`, and by `SEND_ZC` (which loopback copies all the
//! same; a network card need not). The reader throws everything away without looking at it. The log is larger than the
//! processor's caches. `cargo run --release -p windrow-node --example send_speed` shows what it costs the sender.
//!
//! The sender is pinned to the first core, the reader to the second.

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::thread;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use windrow_bench_micro::{criterion, is_smoke, pin, sizes};
use windrow_core::log::SegmentMemory;
use windrow_core::types::Lsn;
use windrow_node::ring::{Completion, ConnId, CpuSet, Mapped, Ring};
use windrow_store::{FillMode, SegmentView, create_segment};

const RANGE_LENS: [usize; 4] = [4 << 10, 32 << 10, 256 << 10, 4 << 20];
const SEGMENT_LEN: usize = 64 << 20;
const SEGMENTS: usize = 8;
const HEADER: [u8; 40] = [7; 40];

#[derive(Clone, Copy, Debug)]
enum Way {
    Gathered,
    SendFile,
    SendZc,
}

const WAYS: [(&str, Way); 3] = [("gathered", Way::Gathered), ("sendfile", Way::SendFile), ("send_zc", Way::SendZc)];

/// A log, and a socket to send it to.
struct Sender<'a> {
    segments: &'a [SegmentView],
    socket: TcpStream,
    ring: Ring,
    /// Where the next range starts.
    at: usize,
}

impl Sender<'_> {
    /// Repeats `attempt`, which is told how much is done, until `len` bytes are.
    fn all(&self, len: usize, mut attempt: impl FnMut(usize) -> Result<usize, Errno>) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            match attempt(done) {
                Ok(some) => done += some,
                Err(Errno::AGAIN) => _ = poll(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn range(&mut self, way: Way, len: usize) -> io::Result<()> {
        let (segment, start) = (self.segments[self.at / SEGMENT_LEN].clone(), self.at % SEGMENT_LEN);
        self.at = (self.at + len) % (self.segments.len() * SEGMENT_LEN);
        if matches!(way, Way::Gathered) {
            let bytes = segment.bytes(start..start + len);
            return self.all(HEADER.len() + len, |done| {
                let rest = [&HEADER[done.min(HEADER.len())..], &bytes[done.saturating_sub(HEADER.len())..]];
                sendmsg(&self.socket, &rest.map(IoSlice::new), &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
            });
        }
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        self.all(HEADER.len(), |done| send(&self.socket, &HEADER[done..], flags))?;
        if matches!(way, Way::SendFile) {
            return self.all(len, |done| {
                let mut offset = (start + done) as u64;
                sendfile(&self.socket, &segment, Some(&mut offset), len - done)
            });
        }
        let mut done = 0;
        while done < len {
            let piece = Mapped::new(segment.clone(), start + done..start + len);
            self.ring.send_zero_copy(ConnId::new(0, 0), self.socket.as_fd(), piece)?;
            done += self.sent()?;
        }
        Ok(())
    }

    /// Waits until the kernel needs the pages of the send in flight no longer.
    fn sent(&mut self) -> io::Result<usize> {
        loop {
            self.ring.enter()?;
            if let Some(Completion::ZeroCopySent { result, .. }) = self.ring.poll() {
                return result;
            }
            if self.ring.may_sleep() {
                rustix::io::read(self.ring.eventfd(), &mut [0; 8])?;
                self.ring.stay_awake();
            }
        }
    }
}

fn reader(socket: &TcpStream) {
    pin(1);
    let mut buffer = vec![0; 1 << 20];
    // On TCP, this flag throws the bytes away.
    while recv(socket, &mut buffer[..], RecvFlags::TRUNC).is_ok_and(|(_, len)| len > 0) {}
}

fn log() -> (tempfile::TempDir, Vec<SegmentView>) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("the target directory can be written");
    let count = if is_smoke() { 1 } else { SEGMENTS };
    let segment = |number: usize| {
        let (base, len) = (Lsn::new((number * SEGMENT_LEN) as u64), SEGMENT_LEN as u64);
        let made = create_segment(dir.path(), base, len, FillMode::Write64K);
        let mut segment = made.expect("the target directory has room");
        segment.publish(SEGMENT_LEN);
        segment.share()
    };
    let segments = (0..count).map(segment).collect();
    (dir, segments)
}

fn ship(c: &mut Criterion) {
    let (_dir, segments) = log();
    pin(0);
    let mut group = c.benchmark_group("ship");
    for (name, way) in WAYS {
        for &len in sizes(&RANGE_LENS) {
            let listener = TcpListener::bind("127.0.0.1:0").expect("loopback is there");
            let socket = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("somebody listens");
            socket.set_nodelay(true).and_then(|()| socket.set_nonblocking(true)).expect("a socket");
            let (theirs, _) = listener.accept().expect("somebody connects");
            let reader = thread::spawn(move || reader(&theirs));
            let wake = eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
            let cores = CpuSet::of_this_thread().expect("the system tells");
            let ring = Ring::new(&cores, wake.as_fd()).expect("the system has io_uring");
            let mut sender = Sender { segments: &segments, socket, ring, at: 0 };
            group.throughput(Throughput::Bytes(len as u64));
            group.bench_function(BenchmarkId::new(name, len), |b| {
                b.iter(|| sender.range(way, len).expect("the reader reads on"));
            });
            drop(sender);
            reader.join().expect("the reader ends with the socket");
        }
    }
    group.finish();
}

criterion_group! { name = benches; config = criterion(); targets = ship }
criterion_main!(benches);
