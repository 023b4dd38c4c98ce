//! A small server that keeps strings in memory, can stall, redirect, and lie.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Mutex, RwLock};
use std::thread;
use std::time::Duration;

use crate::resp::{self, Tree};

type Store = Mutex<HashMap<Vec<u8>, Vec<u8>>>;
/// From key and stored value to what is answered.
pub(super) type Lie = fn(&[u8], Option<Vec<u8>>) -> Option<Vec<u8>>;

#[derive(Clone)]
pub(super) struct Stub {
    address: String,
    state: Arc<State>,
}

struct State {
    store: Store,
    /// Held for writing, it stalls every request.
    gate: RwLock<()>,
    lie: Mutex<Lie>,
    /// Commands that were seen, by name.
    seen: Mutex<HashMap<String, u64>>,
    /// Where this one sends its clients, as an error's text.
    redirect: Mutex<Option<String>>,
    slots: Mutex<Option<String>>,
    /// What `WAIT` is answered with.
    replicas: Mutex<i64>,
    streams: Mutex<Vec<TcpStream>>,
}

impl Stub {
    /// Listens on a port of its own until the process ends.
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::new(State {
            store: Mutex::default(),
            gate: RwLock::new(()),
            lie: Mutex::new(|_, value| value),
            seen: Mutex::default(),
            redirect: Mutex::default(),
            slots: Mutex::default(),
            replicas: Mutex::new(1),
            streams: Mutex::default(),
        });
        let stub = Self { address, state };
        let server = stub.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = Arc::clone(&server.state);
                state.streams.lock().expect("streams").push(stream.try_clone().expect("a second handle"));
                thread::spawn(move || state.serve(stream));
            }
        });
        stub
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn lie(&self, lie: Lie) {
        *self.state.lie.lock().expect("lie") = lie;
    }

    pub(super) fn seen(&self, name: &str) -> u64 {
        self.state.seen.lock().expect("seen").get(name).copied().unwrap_or(0)
    }

    pub(super) fn keys(&self) -> usize {
        self.state.store.lock().expect("store").len()
    }

    pub(super) fn put(&self, key: &str, value: &[u8]) {
        self.state.store.lock().expect("store").insert(key.as_bytes().to_vec(), value.to_vec());
    }

    /// Answers every command on keys with this error.
    pub(super) fn redirect(&self, error: String) {
        *self.state.redirect.lock().expect("redirect") = Some(error);
    }

    /// Answers `CLUSTER SLOTS` with this.
    pub(super) fn slots(&self, reply: String) {
        *self.state.slots.lock().expect("slots") = Some(reply);
    }

    /// Answers `WAIT` with this.
    pub(super) fn replicas(&self, count: i64) {
        *self.state.replicas.lock().expect("replicas") = count;
    }

    /// Answers nothing for this long, from now on.
    pub(super) fn stall(&self, time: Duration) {
        let _closed = self.state.gate.write().expect("gate");
        thread::sleep(time);
    }

    /// Answers nothing until told so; says when that has begun.
    pub(super) fn stall_until(&self, begun: &Sender<()>, end: &Receiver<()>) {
        let _closed = self.state.gate.write().expect("gate");
        begun.send(()).expect("one who waits");
        end.recv().expect("one who ends it");
    }

    /// Breaks every connection there is.
    pub(super) fn cut(&self) {
        for stream in self.state.streams.lock().expect("streams").drain(..) {
            let _gone_already = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn serve(&self, mut stream: TcpStream) {
        let (mut input, mut out) = (Vec::new(), Vec::new());
        let mut bytes = [0; 65536];
        loop {
            let Ok(count @ 1..) = stream.read(&mut bytes) else { return };
            input.extend_from_slice(&bytes[..count]);
            let _open = self.gate.read().expect("gate");
            while let Some((command, end)) = resp::tree(&input).expect("RESP") {
                self.answer(&words(command), &mut out);
                input.drain(..end);
            }
            if stream.write_all(&out).is_err() {
                return;
            }
            out.clear();
        }
    }

    fn answer(&self, words: &[Vec<u8>], out: &mut Vec<u8>) {
        let name = String::from_utf8_lossy(&words[0]).into_owned();
        let on_keys = matches!(name.as_str(), "GET" | "SET" | "DEL" | "INCR" | "SETEX");
        if on_keys && let Some(error) = &*self.redirect.lock().expect("redirect") {
            return out.extend_from_slice(format!("-{error}\r\n").as_bytes());
        }
        *self.seen.lock().expect("seen").entry(name.clone()).or_default() += 1;
        let mut store = self.store.lock().expect("store");
        match (name.as_str(), words) {
            ("GET", [_, key]) => {
                let lie = *self.lie.lock().expect("lie");
                match lie(key, store.get(key).cloned()) {
                    Some(value) => {
                        out.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
                        out.extend_from_slice(&value);
                        out.extend_from_slice(b"\r\n");
                    }
                    None => out.extend_from_slice(b"$-1\r\n"),
                }
            }
            ("SET", [_, key, value]) => {
                store.insert(key.clone(), value.clone());
                out.extend_from_slice(b"+OK\r\n");
            }
            ("WAIT", [_, _count, _time]) => {
                out.extend_from_slice(format!(":{}\r\n", self.replicas.lock().expect("replicas")).as_bytes());
            }
            ("SETEX", [_, _key, seconds, _value]) if seconds == b"60" => out.extend_from_slice(b"+OK\r\n"),
            ("HELLO", [_, version]) if version == b"3" => {
                out.extend_from_slice(b"%1\r\n$5\r\nproto\r\n:3\r\n>1\r\n+hi\r\n")
            }
            ("AUTH", [_, user, password]) if user == b"me" && password == b"secret" => {
                out.extend_from_slice(b"+OK\r\n")
            }
            ("CLUSTER", _) => {
                out.extend_from_slice(self.slots.lock().expect("slots").as_deref().unwrap_or("*0\r\n").as_bytes());
            }
            _ => out.extend_from_slice(b"-ERR unknown command\r\n"),
        }
    }
}

fn words(command: Tree) -> Vec<Vec<u8>> {
    let Tree::List(items) = command else { panic!("a command is an array") };
    let text = |item| match item {
        Tree::Text(text) => text,
        other => panic!("{other:?} in a command"),
    };
    items.into_iter().map(text).collect()
}
