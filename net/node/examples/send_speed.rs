//! Sends a log of more than the processor's caches over loopback in pieces of several sizes, each behind a frame header, in the ways that a leader could
//! choose from, and prints what a GB costs. The reader throws everything away without looking at it.
//!
//! `cargo run --release -p windrow-node --example send_speed [MiB per figure]`

#![expect(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "measuring time and printing it is what it is for"
)]

use std::io::{self, IoSlice};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::sendfile;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, recv, send, sendmsg};
use windrow_core::log::SegmentMemory;
use windrow_core::types::Lsn;
use windrow_node::ring::{Completion, ConnId, CpuSet, Mapped, Ring};
use windrow_store::{FillMode, SegmentView, create_segment};

const SEGMENT: usize = 64 << 20;
const SEGMENTS: usize = 16;
const HEADER: [u8; 40] = [7; 40];
const SIZES: [usize; 7] = [4 << 10, 16 << 10, 32 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Gathered,
    SendFile,
    ZeroCopy,
}

/// CPU time of this thread.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel keeps schedstat");
    let first = stat.split_whitespace().next().and_then(|field| field.parse().ok());
    Duration::from_nanos(first.expect("nanoseconds come first"))
}

fn wait(socket: &TcpStream) -> io::Result<()> {
    poll(&mut [PollFd::new(socket, PollFlags::OUT)], None)?;
    Ok(())
}

struct Sender {
    socket: TcpStream,
    segments: Vec<SegmentView>,
    ring: Ring,
    copied: u64,
}

impl Sender {
    /// Repeats `attempt`, which is told how much is done, until `len` bytes are done.
    fn all(&self, len: usize, mut attempt: impl FnMut(usize) -> Result<usize, Errno>) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            match attempt(done) {
                Ok(some) => done += some,
                Err(Errno::AGAIN) => wait(&self.socket)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn header(&self) -> io::Result<()> {
        self.all(HEADER.len(), |done| send(&self.socket, &HEADER[done..], SendFlags::MORE | SendFlags::NOSIGNAL))
    }

    fn piece(&mut self, way: Way, at: usize, len: usize) -> io::Result<()> {
        let (segment, at) = (self.segments[at / SEGMENT].clone(), at % SEGMENT);
        match way {
            Way::Gathered => {
                let bytes = segment.bytes(at..at + len);
                self.all(HEADER.len() + len, |done| {
                    let head = &HEADER[done.min(HEADER.len())..];
                    let slices = [IoSlice::new(head), IoSlice::new(&bytes[done.saturating_sub(HEADER.len())..])];
                    sendmsg(&self.socket, &slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)
                })
            }
            Way::SendFile => {
                self.header()?;
                self.all(len, |done| {
                    let mut offset = (at + done) as u64;
                    sendfile(&self.socket, &segment, Some(&mut offset), len - done)
                })
            }
            Way::ZeroCopy => {
                self.header()?;
                let mut done = 0;
                while done < len {
                    let piece = Mapped::new(segment.clone(), at + done..at + len);
                    self.ring.send_zero_copy(ConnId::new(0, 0), self.socket.as_fd(), piece).expect("a descriptor");
                    done += self.completion()?;
                }
                Ok(())
            }
        }
    }

    /// Waits for the notification of the send in flight.
    fn completion(&mut self) -> io::Result<usize> {
        loop {
            self.ring.enter()?;
            if let Some(Completion::ZeroCopySent { result, copied, .. }) = self.ring.poll() {
                let len = result?;
                self.copied += if copied { len as u64 } else { 0 };
                return Ok(len);
            }
            if self.ring.may_sleep() {
                rustix::io::read(self.ring.eventfd(), &mut [0; 8])?;
                self.ring.stay_awake();
            }
        }
    }
}

fn measure(way: Way, size: usize, total: usize, segments: &[SegmentView]) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let socket = TcpStream::connect(listener.local_addr()?)?;
    socket.set_nodelay(true)?;
    socket.set_nonblocking(true)?;
    let (reader, _) = listener.accept()?;
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 20];
        // On TCP, this flag throws the bytes away.
        while recv(&reader, &mut buffer[..], RecvFlags::TRUNC).is_ok_and(|(_, len)| len > 0) {}
    });
    let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC)?;
    let ring = Ring::new(&CpuSet::of_this_thread()?, eventfd.as_fd()).map_err(io::Error::other)?;
    let mut sender = Sender { socket, segments: segments.to_vec(), ring, copied: 0 };
    let (start, cpu_before) = (Instant::now(), cpu());
    for number in 0..total / size {
        sender.piece(way, number * size % (SEGMENTS * SEGMENT), size)?;
    }
    let (took, used) = (start.elapsed(), cpu() - cpu_before);
    let gigabytes = total as f64 / 1e9;
    println!(
        "{:>9} {:>10} {:>12.2} {:>14.3} {:>9}%",
        size,
        format!("{way:?}"),
        gigabytes / took.as_secs_f64(),
        used.as_secs_f64() / gigabytes,
        if way == Way::ZeroCopy { (sender.copied * 100 / total as u64).to_string() } else { "-".to_owned() },
    );
    drop(sender);
    reader.join().map_err(|_| io::Error::other("the reader panicked"))
}

fn main() -> io::Result<()> {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1_024_usize);
    let dir = tempfile::tempdir()?;
    let mut segments = Vec::with_capacity(SEGMENTS);
    for number in 0..SEGMENTS {
        let base = Lsn::new((number * SEGMENT) as u64);
        let made = create_segment(dir.path(), base, SEGMENT as u64, FillMode::Write64K);
        let mut segment = made.map_err(io::Error::other)?;
        segment.publish(SEGMENT);
        segments.push(segment.share());
    }
    println!("{:>9} {:>10} {:>12} {:>14} {:>10}", "piece", "way", "GB/s", "sender s/GB", "copied");
    for size in SIZES {
        for way in [Way::Gathered, Way::SendFile, Way::ZeroCopy] {
            measure(way, size, (megabytes << 20).max(size), &segments)?;
        }
    }
    Ok(())
}
