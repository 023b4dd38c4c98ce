//! From one core to another and back, as a command goes that belongs to another core: a message through a bounded ring
//! of one producer and one consumer, while both cores are awake, and with the other one asleep on an eventfd.
//!
//! The threads are pinned to the first two cores; on one core alone the awake case is not measured.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use rtrb::{Consumer, Producer, RingBuffer};
use rustix::event::{EventfdFlags, eventfd};
use windrow_bench_micro::{criterion, pin};

const RING_LEN: usize = 256;
/// About what a command takes in a ring of the node.
type Message = [u64; 8];

fn take(ring: &mut Consumer<Message>) -> Message {
    loop {
        if let Ok(message) = ring.pop() {
            return message;
        }
        std::hint::spin_loop();
    }
}

fn put(ring: &mut Producer<Message>, message: Message) {
    ring.push(message).expect("one message at a time");
}

fn awake(c: &mut Criterion) {
    let cores = core_affinity::get_core_ids().map_or(0, |cores| cores.len());
    if cores < 2 {
        eprintln!("hop/awake: left out, it needs two cores");
        return;
    }
    let ((mut there, mut theirs), (mut back, mut ours)) = (RingBuffer::new(RING_LEN), RingBuffer::new(RING_LEN));
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            pin(1);
            while !ended.load(Ordering::Relaxed) {
                match theirs.pop() {
                    Ok(message) => put(&mut back, message),
                    Err(_) => std::hint::spin_loop(),
                }
            }
        });
        pin(0);
        c.bench_function("hop/awake", |b| {
            b.iter(|| {
                put(&mut there, [7; 8]);
                take(&mut ours)
            });
        });
        ended.store(true, Ordering::Relaxed);
    });
}

fn asleep(c: &mut Criterion) {
    let ((mut there, mut theirs), (mut back, mut ours)) = (RingBuffer::new(RING_LEN), RingBuffer::new(RING_LEN));
    let wake = || eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd");
    let (to_them, to_us) = (wake(), wake());
    let (to_them, to_us) = (to_them.as_fd(), to_us.as_fd());
    let call = |fd| rustix::io::write(fd, &1_u64.to_ne_bytes()).expect("the counter has room");
    let sleep = |fd| rustix::io::read(fd, &mut [0; 8]).expect("the eventfd is open");
    thread::scope(|scope| {
        scope.spawn(move || {
            pin(1);
            loop {
                sleep(to_them);
                let message: Message = take(&mut theirs);
                if message == [0; 8] {
                    return;
                }
                put(&mut back, message);
                call(to_us);
            }
        });
        pin(0);
        c.bench_function("hop/asleep", |b| {
            b.iter(|| {
                put(&mut there, [7; 8]);
                call(to_them);
                sleep(to_us);
                take(&mut ours)
            });
        });
        put(&mut there, [0; 8]);
        call(to_them);
    });
}

criterion_group! { name = benches; config = criterion(); targets = awake, asleep }
criterion_main!(benches);
