//! A network that is cut on command: it stands between two nodes and passes on what they send.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// What happens to what passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    Pass,
    /// Nothing gets through; what is sent waits, as in a network that loses packets.
    Stall,
    /// Connections are closed, and new ones too.
    Refuse,
    /// The proxy is no longer needed.
    End,
}

/// One direction of asking: the connections that one node opens to another. Ended when dropped.
pub(super) struct Proxy {
    /// Where the asking node connects to, at the address of the one that is asked.
    pub(super) port: u16,
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    mode: Mode,
    open: Vec<TcpStream>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mode, once it is not to wait.
    fn awaited(&self) -> Mode {
        let stalled = |state: &mut State| state.mode == Mode::Stall;
        self.changed.wait_while(self.state(), stalled).unwrap_or_else(PoisonError::into_inner).mode
    }

    fn set(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        if mode == Mode::Refuse || mode == Mode::End {
            for stream in state.open.drain(..) {
                let _closed_already = stream.shutdown(Shutdown::Both);
            }
        }
        drop(state);
        self.changed.notify_all();
    }
}

impl Proxy {
    /// Passes on to `target`.
    pub(super) fn new(target: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind((target.ip(), 0))?;
        let address = listener.local_addr()?;
        let state = Mutex::new(State { mode: Mode::Pass, open: Vec::new() });
        let shared = Arc::new(Shared { state, changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, target, &accepting));
        Ok(Self { port: address.port(), address, shared })
    }

    /// Lets nothing through: holds it up, or closes what is open.
    pub(super) fn cut(&self, closes: bool) {
        self.shared.set(if closes { Mode::Refuse } else { Mode::Stall });
    }

    /// Lets everything through again.
    pub(super) fn mend(&self) {
        self.shared.set(Mode::Pass);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.set(Mode::End);
        // Wakes the thread that accepts.
        let _refused = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, shared: &Arc<Shared>) {
    for from in listener.incoming().map_while(Result::ok) {
        match shared.awaited() {
            Mode::End => return,
            Mode::Refuse => continue,
            Mode::Pass | Mode::Stall => {}
        }
        let Ok(to) = TcpStream::connect(target) else { continue };
        let _slower = (from.set_nodelay(true), to.set_nodelay(true));
        let halves = (from.try_clone(), to.try_clone(), from.try_clone(), to.try_clone());
        let (Ok(from_too), Ok(to_too), Ok(one), Ok(other)) = halves else { continue };
        let mut state = shared.state();
        state.open.retain(|stream| stream.peer_addr().is_ok());
        state.open.extend([one, other]);
        drop(state);
        for (mut source, mut sink) in [(from, to), (to_too, from_too)] {
            let shared = Arc::clone(shared);
            thread::spawn(move || pass(&mut source, &mut sink, &shared));
        }
    }
}

fn pass(source: &mut TcpStream, sink: &mut TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = source.read(&mut buffer) {
        if shared.awaited() != Mode::Pass || sink.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _closed_already = (source.shutdown(Shutdown::Both), sink.shutdown(Shutdown::Both));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn it_passes_stalls_and_refuses() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let proxy = Proxy::new(listener.local_addr().unwrap()).unwrap();
        let mut near = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let mut byte = [0];
        near.write_all(b"a").unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"a");

        proxy.cut(false);
        near.write_all(b"b").unwrap();
        far.set_nonblocking(true).unwrap();
        assert!(far.read(&mut byte).is_err(), "held up");
        far.set_nonblocking(false).unwrap();
        proxy.mend();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"b", "and then passed on");

        proxy.cut(true);
        assert_eq!(far.read(&mut byte).unwrap_or(0), 0, "closed");
        let mut refused = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        assert_eq!(refused.read(&mut byte).unwrap_or(0), 0);
        proxy.mend();
        let mut again = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port)).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        again.write_all(b"c").unwrap();
        far.read_exact(&mut byte).unwrap();
        assert_eq!(&byte, b"c");
    }
}
