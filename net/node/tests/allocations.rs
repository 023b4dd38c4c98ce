//! In the steady state a core serves GET and SET without allocating: memory that is asked for and freed for every
//! command takes time, and lets latencies depend on the allocator.
//!
//! `WINDROW_ALLOCATIONS_TRACE=1` prints where each allocation that counts was asked for.

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::Node;
use rustix::thread::{Pid, gettid};
use tempfile::tempdir;

/// Threads that are counted apart.
const THREADS_MAX: usize = 256;

thread_local! {
    /// The place of this thread among the counters; none before its first allocation.
    static PLACE: Cell<Option<usize>> = const { Cell::new(None) };
    /// This thread is printing where it asked for memory, which takes memory.
    static PRINTING: Cell<bool> = const { Cell::new(false) };
}

static THREADS: AtomicU64 = AtomicU64::new(0);
/// The number that the system knows each thread by, and how often it has asked for memory.
static IDS: [AtomicU64; THREADS_MAX] = [const { AtomicU64::new(0) }; THREADS_MAX];
static COUNTS: [AtomicU64; THREADS_MAX] = [const { AtomicU64::new(0) }; THREADS_MAX];

/// What cores ask for now is printed.
static TRACING: AtomicBool = AtomicBool::new(false);

/// The system's allocator, counting by thread.
struct Counting;

/// The name of a thread, if it belongs to one of the node's cores. Those are numbered, other threads have words.
fn core_name(id: u64) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/self/task/{id}/comm")).ok()?;
    name.strip_prefix("windrow-")?.starts_with(|first: char| first.is_ascii_digit()).then_some(name)
}

/// Prints where a core asks for memory.
fn print(bytes: usize) {
    if PRINTING.replace(true) {
        return;
    }
    if let Some(name) = core_name(u64::from(Pid::as_raw(Some(gettid())).unsigned_abs())) {
        eprintln!("{} asks for {bytes} bytes:\n{}", name.trim(), Backtrace::force_capture());
    }
    PRINTING.set(false);
}

fn count(bytes: usize) {
    if PRINTING.get() {
        return;
    }
    if TRACING.load(Ordering::Relaxed) {
        print(bytes);
    }
    PLACE.with(|place| {
        let at = place.get().unwrap_or_else(|| {
            let at = usize::try_from(THREADS.fetch_add(1, Ordering::Relaxed)).unwrap_or(usize::MAX);
            if let Some(id) = IDS.get(at) {
                id.store(u64::from(Pid::as_raw(Some(gettid())).unsigned_abs()), Ordering::Relaxed);
            }
            place.set(Some(at));
            at
        });
        if let Some(count) = COUNTS.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
}

// SAFETY: every call is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of the trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract of the trait, and the memory is the system allocator's: all of it comes from there.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, len: usize) -> *mut u8 {
        count(len);
        // SAFETY: the caller keeps the contract of the trait, and the memory is the system allocator's: all of it comes from there.
        unsafe { System.realloc(pointer, layout, len) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of the trait, and the memory is the system allocator's: all of it comes from there.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often the threads of the node's cores have asked for memory, and how many they are: the helpers of a core's
/// executor have its name.
fn asked_by_cores() -> (u64, usize) {
    let threads = usize::try_from(THREADS.load(Ordering::Relaxed)).unwrap();
    assert!(threads <= THREADS_MAX, "too many threads to be counted");
    let counts = (0..threads).filter_map(|at| {
        let id = IDS[at].load(Ordering::Relaxed);
        core_name(id)?;
        Some(COUNTS[at].load(Ordering::Relaxed))
    });
    counts.fold((0, 0), |(sum, cores), count| (sum + count, cores + 1))
}

/// Allocations that a core may make at each tick, whatever it executes.
const PER_TICK_MAX: u64 = 10;

struct Traffic {
    streams: Vec<TcpStream>,
    request: Vec<u8>,
    reply: Vec<u8>,
    got: Vec<u8>,
    commands: u64,
}

impl Traffic {
    /// Clients that send `pairs` of a SET and a GET at a time. The keys of one client are always the same.
    fn new(node: &Node, clients: usize, pairs: usize, value: &str) -> Self {
        let (mut request, mut reply) = (String::new(), String::new());
        for number in 0..pairs {
            let key = format!("key{number}");
            let [keys, values] = [&key[..], value].map(|word| format!("${}\r\n{word}\r\n", word.len()));
            request += &format!("*3\r\n$3\r\nSET\r\n{keys}{values}*2\r\n$3\r\nGET\r\n{keys}");
            reply += &format!("+OK\r\n{values}");
        }
        let streams = (0..clients).map(|_| {
            let stream = TcpStream::connect(node.addresses[0]).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        });
        let got = vec![0; reply.len()];
        Self { streams: streams.collect(), request: request.into(), reply: reply.into(), got, commands: 0 }
    }

    fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            for stream in &mut self.streams {
                stream.write_all(&self.request).unwrap();
            }
            for stream in &mut self.streams {
                stream.read_exact(&mut self.got).unwrap();
                assert!(self.got == self.reply);
            }
        }
        let each = self.request.iter().filter(|&&byte| byte == b'*').count();
        self.commands += (rounds * self.streams.len() * each) as u64;
    }
}

/// Rounds in which buffers may still be growing.
///
/// A core keeps the buffers that replies are written to. How many it needs at once depends on how sends, flushes and
/// clients interleave, so on a busy machine a round can take one more buffer than any round before it; it then grows,
/// in about six steps, to the size that the replies need, once. What is asked for by commands comes in every round.
const ROUNDS_MAX: usize = 12;

/// Counts in rounds of the same commands, until in one of them nothing is asked for.
fn assert_steady(durability: &str, clients: usize, pairs: usize, value: &str) {
    let dir = tempdir().unwrap();
    // One segment is enough: making another takes memory, and that is not for every command.
    let settings = [("cores", "1"), ("partitions", "1"), ("segment-size", "256MiB"), ("durability", durability)];
    let node = Node::start(dir.path(), &[&settings[..], &[("segment-fill", "allocate")]].concat());
    let mut traffic = Traffic::new(&node, clients, pairs, value);
    let repeats = 1_000 / (clients * pairs).min(20);
    let case = format!("{clients} clients, {pairs} pairs at a time, {durability}");
    traffic.run(repeats);
    for round in 1..=ROUNDS_MAX {
        let (asked, commands, ticks) = count_round(&mut traffic, repeats);
        eprintln!("{asked} allocations for {commands} commands in {ticks} ticks ({case}, round {round})");
        if asked <= ticks * PER_TICK_MAX + commands / 1_000 {
            return;
        }
    }
    panic!("allocations in each of {ROUNDS_MAX} rounds ({case}); WINDROW_ALLOCATIONS_TRACE=1 shows where");
}

/// What a round asks for, how many commands it has, and how many ticks it may have taken: ten times a second a core
/// looks after its metrics and its clients, which is nothing that a command does.
fn count_round(traffic: &mut Traffic, repeats: usize) -> (u64, u64, u64) {
    let (commands, began) = (traffic.commands, Instant::now());
    let (before, cores) = asked_by_cores();
    assert!(cores > 0, "the core's thread was not found");
    TRACING.store(std::env::var_os("WINDROW_ALLOCATIONS_TRACE").is_some(), Ordering::Relaxed);
    traffic.run(repeats);
    TRACING.store(false, Ordering::Relaxed);
    let asked = asked_by_cores().0 - before;
    let ticks = u64::try_from(began.elapsed().as_millis() / 100).unwrap() + 1;
    (asked, traffic.commands - commands, ticks)
}

/// One test, one after the other: threads that have ended are told from others by their numbers.
#[test]
fn get_and_set_allocate_nothing() {
    for durability in ["commit", "memory"] {
        for (clients, pairs) in [(1, 1), (1, 16), (20, 1), (20, 16)] {
            assert_steady(durability, clients, pairs, &"v".repeat(64));
        }
    }
    assert_steady("commit", 4, 8, &"v".repeat(3_000));
}
