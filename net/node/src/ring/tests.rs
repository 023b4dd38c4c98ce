//! The ring against real sockets and files.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use super::*;

fn ring() -> Ring {
    let eventfd = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    Ring::new(&CpuSet::of_this_thread().unwrap(), eventfd.as_fd()).unwrap()
}

/// Works until there is a completion. A lost one would hang, which the runner's time limit reports.
fn next(ring: &mut Ring) -> Completion {
    loop {
        ring.enter().unwrap();
        if let Some(completion) = ring.poll() {
            return completion;
        }
        std::thread::yield_now();
    }
}

fn pair(ring: &mut Ring) -> (TcpStream, OwnedFd) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    ring.accept(9, listener.as_fd());
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let Completion::Accepted { listener: 9, socket, armed: true } = next(ring) else { panic!("no accept") };
    ring.cancel_accept(9);
    let Completion::Accepted { socket: Err(_), armed: false, .. } = next(ring) else { panic!("still accepting") };
    (client, socket.unwrap())
}

#[test]
fn bytes_come_in_and_go_out() {
    let mut ring = ring();
    let (mut client, socket) = pair(&mut ring);
    let conn = ConnId::new(3, 5);
    ring.receive(conn, socket.as_fd());
    client.write_all(b"ping").unwrap();
    let Completion::Received { conn: from, received: Received::Data(lease), armed: true } = next(&mut ring) else {
        panic!("nothing received")
    };
    assert_eq!((from, ring.bytes(&lease)), (conn, &b"ping"[..]));
    ring.give_back(lease);

    ring.send(conn, socket.as_fd(), [&b"po"[..], b"", b"ng"].map(|bytes| Part::Bytes(bytes.to_vec())).into());
    let Completion::Sent { result, parts, .. } = next(&mut ring) else { panic!("not sent") };
    assert_eq!((result.unwrap(), parts.len()), (4, 3));
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"pong");

    drop(client);
    let Completion::Received { received: Received::Eof, armed: false, .. } = next(&mut ring) else {
        panic!("the end was not seen")
    };
    while ring.in_flight() > 0 {
        ring.enter().unwrap();
        while ring.poll().is_some() {}
    }
}

#[test]
fn a_send_larger_than_the_socket_is_sent_in_full() {
    let mut ring = ring();
    let (mut client, socket) = pair(&mut ring);
    let parts: Vec<Vec<u8>> = (0..40_u8).map(|byte| vec![byte; 300_000]).collect();
    let expected = parts.concat();
    ring.send(ConnId::new(0, 0), socket.as_fd(), parts.into_iter().map(Part::Bytes).collect());
    let reader = std::thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        client.read_exact(&mut got).unwrap();
        got == expected
    });
    let Completion::Sent { result, .. } = next(&mut ring) else { panic!("not sent") };
    assert_eq!(result.unwrap(), 12_000_000);
    assert!(reader.join().unwrap());
}

#[test]
fn no_operation_is_lost_when_the_queue_is_full() {
    let mut ring = ring();
    let file = tempfile::tempfile().unwrap();
    let count = setup::ENTRIES * 3;
    for listener in 0..count {
        ring.accept(listener, file.as_fd());
    }
    let mut seen = vec![false; count as usize];
    for _ in 0..count {
        let Completion::Accepted { listener, socket, armed } = next(&mut ring) else { panic!("not an accept") };
        assert_eq!(socket.unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
        assert!(!armed && !std::mem::replace(&mut seen[listener as usize], true), "{listener} came twice");
    }
}

/// A replica's log may be cut while a client is sent a value from it.
#[test]
fn what_was_cut_from_the_log_is_not_sent() {
    use windrow_core::log::SegmentMemory;
    let dir = tempfile::tempdir().unwrap();
    let lsn = windrow_core::types::Lsn::ZERO;
    let mut segment =
        windrow_store::create_segment(dir.path(), lsn, 1 << 20, windrow_store::FillMode::Write64K).unwrap();
    segment.publish(4096);
    let mut ring = ring();
    let (_client, socket) = pair(&mut ring);
    let value = || vec![Part::Bytes(b"$96\r\n".to_vec()), Part::Mapped(Mapped::new(segment.share(), 4000..4096))];
    ring.send(ConnId::new(0, 1), socket.as_fd(), value());
    let Completion::Sent { result: Ok(101), .. } = next(&mut ring) else { panic!("not sent") };
    let stale = value();
    segment.retract(4032);
    ring.send(ConnId::new(0, 1), socket.as_fd(), stale);
    let Completion::Sent { result: Err(_), parts, .. } = next(&mut ring) else { panic!("sent") };
    assert_eq!(parts.len(), 2, "the memory comes back");
}

#[test]
fn receiving_stops_and_goes_on() {
    let mut ring = ring();
    let (mut client, socket) = pair(&mut ring);
    let conn = ConnId::new(0, 1);
    ring.receive(conn, socket.as_fd());
    ring.enter().unwrap();
    ring.cancel_receive(conn);
    let Completion::Received { received: Received::Cancelled, armed: false, .. } = next(&mut ring) else {
        panic!("not cancelled")
    };
    client.write_all(b"later").unwrap();
    ring.receive(conn, socket.as_fd());
    let Completion::Received { received: Received::Data(lease), .. } = next(&mut ring) else { panic!("lost") };
    assert_eq!(ring.bytes(&lease), b"later");
    ring.give_back(lease);
}

#[test]
fn running_out_of_buffers_ends_a_receive_and_loses_nothing() {
    let mut ring = ring();
    let (mut client, socket) = pair(&mut ring);
    let conn = ConnId::new(0, 1);
    let total = (usize::from(BUFFER_COUNT) + 64) * BUFFER_LEN;
    let writer = std::thread::spawn(move || {
        let bytes: Vec<u8> = (0..total).map(|at| u8::try_from(at % 251).unwrap()).collect();
        client.write_all(&bytes).unwrap();
        client
    });
    ring.receive(conn, socket.as_fd());
    let (mut held, mut len, mut exhausted) = (Vec::new(), 0, false);
    while len < total {
        let Completion::Received { received, armed, .. } = next(&mut ring) else { panic!("not a receive") };
        match received {
            Received::Data(lease) => {
                let start = len;
                let whole =
                    ring.bytes(&lease).iter().enumerate().all(|(at, &byte)| usize::from(byte) == (start + at) % 251);
                assert!(whole, "bytes after {start} are not those that were sent");
                len += ring.bytes(&lease).len();
                held.push(lease);
            }
            Received::NoBuffers => {
                assert_eq!(held.len(), usize::from(BUFFER_COUNT));
                exhausted = true;
                held.drain(..).for_each(|lease| ring.give_back(lease));
            }
            other => panic!("{other:?}"),
        }
        if !armed {
            ring.receive(conn, socket.as_fd());
        }
        if exhausted {
            held.drain(..).for_each(|lease| ring.give_back(lease));
        }
    }
    assert!(exhausted);
    writer.join().unwrap();
}

#[test]
fn closing_with_operations_in_flight_ends_them() {
    let mut ring = ring();
    let (client, socket) = pair(&mut ring);
    let conn = ConnId::new(0, 1);
    ring.receive(conn, socket.as_fd());
    ring.send(conn, socket.as_fd(), vec![Part::Bytes(vec![7; 64 << 20])]);
    ring.arm_timer(Timer::Tick, Duration::from_secs(3_600));
    ring.arm_timer(Timer::Alarm, Duration::from_secs(3_600));
    ring.enter().unwrap();
    assert!(ring.drain(), "something could not be cancelled");
    drop(client);
}

#[test]
fn the_timer_runs_out_and_wakes() {
    let mut ring = ring();
    ring.arm_timer(Timer::Tick, Duration::from_secs(3_600));
    for _ in 0..2 {
        ring.arm_timer(Timer::Alarm, Duration::from_millis(20));
        // Does nothing: one is under way.
        ring.arm_timer(Timer::Alarm, Duration::from_secs(3_600));
        ring.enter().unwrap();
        assert!(ring.may_sleep());
        let mut count = [0; 8];
        rustix::io::read(ring.eventfd(), &mut count).unwrap();
        ring.stay_awake();
        assert!(matches!(next(&mut ring), Completion::Timer(Timer::Alarm)));
    }
}

/// Has another thread write to the eventfd, and waits for that. A wake that is lost would leave this waiting for ever.
fn be_woken(ring: &mut Ring, wake: &OwnedFd) {
    let woken = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            woken.store(true, Ordering::SeqCst);
            rustix::io::write(wake, &1_u64.to_ne_bytes()).unwrap();
        });
        while !woken.load(Ordering::SeqCst) {
            ring.wait().unwrap();
            assert!(ring.poll().is_none(), "it is no completion of anybody's");
        }
    });
}

#[test]
fn whoever_writes_to_the_eventfd_ends_a_wait() {
    let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let mut ring = Ring::new(&CpuSet::of_this_thread().unwrap(), wake.as_fd()).unwrap();
    let waits_inside = ring.waits_inside;
    // As on an older kernel, too, and in turn.
    for waits_inside in [false, waits_inside, false, waits_inside] {
        ring.waits_inside = waits_inside;
        (0..100).for_each(|_| be_woken(&mut ring, &wake));
    }
}

#[test]
fn a_wake_is_seen_after_more_of_them_than_the_ring_has_room_for() {
    let wake = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
    let mut ring = Ring::new(&CpuSet::of_this_thread().unwrap(), wake.as_fd()).unwrap();
    be_woken(&mut ring, &wake);
    for _ in 0..20_000 {
        ring.enter().unwrap();
        rustix::io::write(&wake, &1_u64.to_ne_bytes()).unwrap();
    }
    assert!(ring.poll().is_none());
    (0..3).for_each(|_| be_woken(&mut ring, &wake));
}

#[test]
fn the_kernel_that_runs_this_has_what_is_required() {
    assert!(probe().unwrap().iter().all(|capability| capability.present || !capability.required));
}
