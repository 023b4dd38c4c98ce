//! The loop of a core with a small handler behind it, over real sockets.

mod stub;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::net::{self, AddressFamily, SocketType};

use self::stub::Stub;
use super::driver::Driver;
use super::flusher::Flusher;
use crate::net::{Limits, Listener};
use crate::ring::{CpuSet, Ring};
use crate::runtime::{self, CoreThread};

struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    core: Option<CoreThread<usize>>,
}

impl Server {
    fn start(limits: Limits, password: bool) -> Self {
        let cpus = CpuSet::of_this_thread().unwrap();
        let listener = Listener::bind(IpAddr::V4(Ipv4Addr::LOCALHOST), 0).unwrap();
        let address = listener.address();
        let stop = Arc::new(AtomicBool::new(false));
        let handler_stop = Arc::clone(&stop);
        let cpu = runtime::available()[0];
        let core = runtime::start("test-core", cpu, move || async move {
            let eventfd = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
            let ring = Ring::new(&cpus, eventfd.as_fd()).unwrap();
            let stub = Stub::new(limits, handler_stop, password);
            let woken = eventfd.try_clone().unwrap();
            let flusher = Flusher::start("test", Vec::new(), move || {
                rustix::io::write(&woken, &1_u64.to_ne_bytes()).unwrap();
            });
            Driver::new(ring, vec![listener], flusher.unwrap(), stub).run().await.unwrap().closed
        });
        Self { address, stop, core: Some(core.unwrap()) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn connect_from(&self, address: Ipv4Addr) -> TcpStream {
        let socket = net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        net::bind(&socket, &SocketAddr::new(address.into(), 0)).unwrap();
        net::connect(&socket, &self.address).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Shuts down and returns how many sessions were closed.
    fn stop(&mut self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.core.take().map_or(0, |core| core.join().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

fn read_all(stream: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

fn expect(stream: &mut TcpStream, reply: &[u8]) {
    let mut got = vec![0; reply.len()];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(String::from_utf8_lossy(&got), String::from_utf8_lossy(reply));
}

#[test]
fn commands_in_any_cut_are_answered_in_order() {
    let server = Server::start(Limits::default(), false);
    let mut stream = server.connect();
    let request = b"PING\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\nxyz\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\nGET b\r\n";
    let reply = b"+PONG\r\n+OK\r\n$3\r\nxyz\r\n$-1\r\n";
    for cut in 1..request.len() {
        stream.write_all(&request[..cut]).unwrap();
        stream.write_all(&request[cut..]).unwrap();
        expect(&mut stream, reply);
    }
    for byte in request {
        stream.write_all(&[*byte]).unwrap();
    }
    expect(&mut stream, reply);
}

#[test]
fn all_whom_a_flush_wakes_are_answered_while_somebody_reads() {
    let server = Server::start(Limits::default(), false);
    let mut reader = server.connect();
    let mut writers: Vec<_> = (0..40).map(|_| server.connect()).collect();
    for _ in 0..50 {
        for writer in &mut writers {
            writer.write_all(b"SET a b\r\n").unwrap();
        }
        // Answered at once, so that the replies to the others go out in several rounds.
        reader.write_all(b"PING\r\n").unwrap();
        expect(&mut reader, b"+PONG\r\n");
        for writer in &mut writers {
            expect(writer, b"+OK\r\n");
        }
    }
}

#[test]
fn whoever_waits_until_a_moment_is_answered_when_it_has_come() {
    let server = Server::start(Limits::default(), false);
    let mut stream = server.connect();
    // Nothing else wakes the core: it ends at its handler's moment or never.
    stream.write_all(b"END-SOON\r\n").unwrap();
    assert_eq!(read_all(&mut stream), b"+OK\r\n");
}

#[test]
fn a_core_looks_again_in_place_of_sleeping_while_one_waits_for_a_flush() {
    let server = Server::start(Limits { idle_poll: Duration::from_secs(3_600), ..Limits::default() }, false);
    let mut stream = server.connect();
    // It ends when it has done so, and after some ticks it has been idle often enough for that.
    stream.write_all(b"END-AWAKE\r\n").unwrap();
    assert_eq!(read_all(&mut stream), b"+OK\r\n");
}

#[test]
fn a_pipeline_of_any_depth_is_answered_in_full() {
    let server = Server::start(Limits::default(), false);
    let mut stream = server.connect();
    let mut writer = stream.try_clone().unwrap();
    let value = vec![b'v'; 4_000];
    let sender = std::thread::spawn({
        let value = value.clone();
        move || {
            let mut set = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000\r\n".to_vec();
            set.extend_from_slice(&value);
            set.extend_from_slice(b"\r\n");
            for _ in 0..5_000 {
                writer.write_all(&set).unwrap();
                writer.write_all(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").unwrap();
            }
        }
    });
    let mut reply = b"+OK\r\n$4000\r\n".to_vec();
    reply.extend_from_slice(&value);
    reply.extend_from_slice(b"\r\n");
    for _ in 0..5_000 {
        expect(&mut stream, &reply);
    }
    sender.join().unwrap();
}

#[test]
fn what_was_sent_before_the_end_is_answered_before_the_close() {
    let server = Server::start(Limits::default(), false);
    let mut stream = server.connect();
    stream.write_all(b"SET a 1\r\nGET a\r\nGET").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(read_all(&mut stream), b"+OK\r\n$1\r\n1\r\n");
}

#[test]
fn bytes_that_are_no_request_close_the_connection_after_the_replies() {
    let server = Server::start(Limits::default(), false);
    let mut stream = server.connect();
    stream.write_all(b"PING\r\n*1\r\n!boom\r\n").unwrap();
    let reply = String::from_utf8(read_all(&mut stream)).unwrap();
    assert!(reply.starts_with("+PONG\r\n-ERR Protocol error"), "{reply}");
}

#[test]
fn a_client_too_many_is_told_so() {
    let limits = Limits { clients_max: 1, ..Limits::default() };
    let server = Server::start(limits, false);
    let mut first = server.connect();
    first.write_all(b"PING\r\n").unwrap();
    expect(&mut first, b"+PONG\r\n");
    assert_eq!(read_all(&mut server.connect()), b"-ERR max number of clients reached\r\n");
    drop(first);
    // The place is free as soon as the server has seen the end.
    loop {
        let mut next = server.connect();
        next.write_all(b"PING\r\n").unwrap();
        let mut reply = [0];
        if next.read_exact(&mut reply).is_ok() && reply == *b"+" {
            break;
        }
    }
}

#[test]
fn a_client_that_does_not_read_is_disconnected_at_the_limit() {
    let limits = Limits { output_len_max: 1 << 20, ..Limits::default() };
    let server = Server::start(limits, false);
    let mut stream = server.connect();
    let value = vec![b'v'; 600 << 10];
    stream.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).unwrap();
    stream.write_all(&value).unwrap();
    stream.write_all(b"\r\n").unwrap();
    expect(&mut stream, b"+OK\r\n");
    // Never reads again. More replies than the sockets' buffers and the limit hold.
    let asked = (0..1_000).try_for_each(|_| stream.write_all(b"GET k\r\n"));
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    assert!(asked.is_err() || read.is_err() || rest.len() < 1_000 * value.len(), "everything was answered");
    // The server is well.
    let mut other = server.connect();
    other.write_all(b"PING\r\n").unwrap();
    expect(&mut other, b"+PONG\r\n");
}

/// Asks for one of the counters until it has reached 1.
fn await_one(server: &Server, counter: &str) {
    let mut asking = server.connect();
    loop {
        asking.write_all(format!("COUNT {counter}\r\n").as_bytes()).unwrap();
        let mut reply = [0; 4];
        asking.read_exact(&mut reply).unwrap();
        match &reply {
            b":1\r\n" => return,
            b":0\r\n" => {}
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }
}

/// Shorter than the time between two looks at a connection.
const AT_ONCE: Duration = Duration::from_millis(1);

#[test]
fn a_client_that_reads_too_slowly_is_disconnected_after_a_while() {
    let limits = Limits { output_soft_len: 1 << 20, output_soft_duration: AT_ONCE, ..Limits::default() };
    let server = Server::start(limits, false);
    let mut stream = server.connect();
    let value = vec![b'v'; 1 << 20];
    stream.write_all(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", value.len()).as_bytes()).unwrap();
    stream.write_all(&value).unwrap();
    stream.write_all(b"\r\n").unwrap();
    expect(&mut stream, b"+OK\r\n");
    // More than the sockets' buffers and the soft limit hold, and less than the other limit.
    stream.write_all(&b"GET k\r\n".repeat(40)).unwrap();
    await_one(&server, "output");
}

#[test]
fn a_client_that_does_not_authenticate_is_disconnected_after_a_while() {
    let limits = Limits { authenticate_within: AT_ONCE, ..Limits::default() };
    let server = Server::start(limits, true);
    let mut stream = server.connect();
    stream.write_all(b"PING\r\n").unwrap();
    // Being busy does not help it.
    expect(&mut stream, b"+PONG\r\n");
    assert_eq!(read_all(&mut stream), b"");
}

#[test]
fn a_command_that_does_not_get_whole_ends_the_connection_after_a_while() {
    let limits = Limits { command_within: AT_ONCE, ..Limits::default() };
    let server = Server::start(limits, false);
    let mut stream = server.connect();
    stream.write_all(b"PING\r\n*2\r\n$3\r\nGET\r\n$1").unwrap();
    expect(&mut stream, b"+PONG\r\n");
    assert_eq!(read_all(&mut stream), b"");
    await_one(&server, "deadline");
}

#[test]
fn one_address_has_a_bounded_number_of_clients() {
    let limits = Limits { clients_per_address_max: Some(2), ..Limits::default() };
    let server = Server::start(limits, false);
    let mut kept: Vec<_> = (0..2).map(|_| server.connect()).collect();
    for stream in &mut kept {
        stream.write_all(b"PING\r\n").unwrap();
        expect(stream, b"+PONG\r\n");
    }
    assert_eq!(read_all(&mut server.connect()), b"-ERR max number of clients reached\r\n");
    kept[0].write_all(b"COUNT rejected\r\n").unwrap();
    expect(&mut kept[0], b":1\r\n");
    let mut neighbour = server.connect_from(Ipv4Addr::new(127, 0, 0, 2));
    neighbour.write_all(b"PING\r\n").unwrap();
    expect(&mut neighbour, b"+PONG\r\n");
}

#[test]
fn a_client_without_a_password_gets_little_room() {
    let server = Server::start(Limits::default(), true);
    let mut stream = server.connect();
    stream.write_all(b"*1\r\n$70000\r\n").unwrap();
    let reply = String::from_utf8(read_all(&mut stream)).unwrap();
    assert!(reply.contains("unauthenticated bulk length"), "{reply}");
}

#[test]
fn a_shutdown_answers_what_was_executed_and_closes() {
    let mut server = Server::start(Limits::default(), false);
    let mut streams: Vec<_> = (0..20).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"SET a 1\r\n").unwrap();
        expect(stream, b"+OK\r\n");
    }
    assert_eq!(server.stop(), 20);
    for stream in &mut streams {
        assert_eq!(read_all(stream), b"");
    }
}

#[test]
fn many_silent_connections_hold_no_buffers() {
    let server = Server::start(Limits::default(), false);
    let mut streams: Vec<_> = (0..300).map(|_| server.connect()).collect();
    for stream in &mut streams {
        stream.write_all(b"SET a 1\r\nGET a\r\n").unwrap();
    }
    for stream in &mut streams {
        expect(stream, b"+OK\r\n$1\r\n1\r\n");
    }
    let mut asking = server.connect();
    asking.write_all(b"HELD\r\n").unwrap();
    expect(&mut asking, b":0\r\n");
}
