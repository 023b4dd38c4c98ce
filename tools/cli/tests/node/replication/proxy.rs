//! A network that misbehaves as it is told: it stands between two nodes and passes on what they send.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;

/// What is to be done to what passes.
#[derive(Default)]
pub(crate) struct Faults {
    /// The connection is cut after so many bytes have passed; 0: never.
    pub(crate) cut_after: AtomicU64,
    /// One bit is flipped after so many bytes have passed; 0: never.
    pub(crate) flip_after: AtomicU64,
    /// Bytes that have passed.
    pub(crate) passed: AtomicU64,
    /// Faults that have happened.
    pub(crate) happened: AtomicUsize,
}

/// Listens on a port and passes on to `target` what comes, and back. Lives as long as the test.
pub(crate) fn proxy(target: SocketAddr) -> (u16, Arc<Faults>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    thread::spawn(move || {
        for one in listener.incoming().map_while(Result::ok) {
            let Ok(other) = TcpStream::connect(target) else { continue };
            for (mut from, mut to) in [(one.try_clone().unwrap(), other.try_clone().unwrap()), (other, one)] {
                let faults = Arc::clone(&shared);
                thread::spawn(move || pass(&mut from, &mut to, &faults));
            }
        }
    });
    (port, faults)
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, faults: &Faults) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let before = faults.passed.fetch_add(count as u64, Ordering::SeqCst);
        let is_due = |at: &AtomicU64| {
            let due = at.load(Ordering::SeqCst);
            due > 0
                && before + count as u64 > due
                && at.compare_exchange(due, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        if is_due(&faults.flip_after) {
            buffer[count / 2] ^= 0x10;
            faults.happened.fetch_add(1, Ordering::SeqCst);
        }
        if is_due(&faults.cut_after) {
            faults.happened.fetch_add(1, Ordering::SeqCst);
            break;
        }
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
