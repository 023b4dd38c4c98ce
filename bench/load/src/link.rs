//! One connection: a socket that never blocks, what is still to be sent, and what is under way.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::command;
use crate::error::Error;
use crate::plan::{Plan, Protocol};
use crate::resp::{self, Tree};
use crate::verify::Floor;

const INPUT_BYTES: usize = 64 << 10;
/// A server that does not answer a handshake within this is not there.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flight {
    /// When it was to be sent.
    pub(crate) due: u64,
    pub(crate) key: u64,
    pub(crate) version: u64,
    pub(crate) floor: Floor,
    pub(crate) size: u32,
    pub(crate) operation: usize,
    /// Whether this is the write of a read-modify-write.
    pub(crate) second: bool,
    /// How often it has been sent to another node.
    pub(crate) redirects: u8,
}

pub(crate) struct Link {
    pub(crate) node: usize,
    pub(crate) stream: Option<TcpStream>,
    /// When to try again to connect.
    pub(crate) retry_at: u64,
    pub(crate) out: Vec<u8>,
    sent: usize,
    pub(crate) input: Vec<u8>,
    pub(crate) filled: usize,
    pub(crate) flights: VecDeque<Flight>,
    /// Whether it is in its node's queue of free connections.
    pub(crate) queued: bool,
    /// Requests of the batch that are answered and wait for the answer to its end: operation, and when they were due.
    pub(crate) held: Vec<(usize, u64)>,
    /// Whether the batch's end has been sent.
    pub(crate) closing: bool,
}

/// How a read of the socket ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Filled {
    Bytes { count: usize, more: bool },
    Nothing,
    Closed,
}

impl Link {
    pub(crate) fn new(node: usize, stream: TcpStream, pipeline: usize) -> Self {
        Self {
            node,
            stream: Some(stream),
            retry_at: 0,
            out: Vec::with_capacity(INPUT_BYTES),
            sent: 0,
            input: vec![0; INPUT_BYTES],
            filled: 0,
            flights: VecDeque::with_capacity(pipeline.min(1 << 16)),
            queued: false,
            held: Vec::new(),
            closing: false,
        }
    }

    /// Sends what the socket takes; the number of bytes.
    pub(crate) fn flush(&mut self) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(0) };
        let from = self.sent;
        while self.sent < self.out.len() {
            match stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let count = self.sent - from;
        if self.sent == self.out.len() {
            self.out.clear();
            self.sent = 0;
        } else if self.sent > self.out.len() / 2 {
            self.out.drain(..self.sent);
            self.sent = 0;
        }
        Ok(count)
    }

    /// Reads once.
    pub(crate) fn fill(&mut self) -> io::Result<Filled> {
        let Some(stream) = &mut self.stream else { return Ok(Filled::Nothing) };
        if self.filled == self.input.len() {
            self.input.resize(self.input.len() * 2, 0);
        }
        let room = self.input.len() - self.filled;
        match stream.read(&mut self.input[self.filled..]) {
            Ok(0) => Ok(Filled::Closed),
            Ok(count) => {
                self.filled += count;
                Ok(Filled::Bytes { count, more: count == room })
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Filled::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Forgets the socket and everything half sent or half read.
    pub(crate) fn break_off(&mut self) {
        self.stream = None;
        self.out.clear();
        self.sent = 0;
        self.filled = 0;
        self.queued = false;
        self.closing = false;
    }
}

/// Connects and says who we are, waiting for each answer; the socket does not block from then on.
pub(crate) fn connect(address: &str, plan: &Plan) -> Result<TcpStream, Error> {
    let mut dialogue = Dialogue::open(address)?;
    if let Some(who) = &plan.credentials
        && plan.protocol == Protocol::Resp2
    {
        dialogue.expect("AUTH", &["AUTH", &who.user, &who.password])?;
    }
    if plan.protocol == Protocol::Resp3 {
        match &plan.credentials {
            Some(who) => dialogue.expect("HELLO", &["HELLO", "3", "AUTH", &who.user, &who.password])?,
            None => dialogue.expect("HELLO", &["HELLO", "3"])?,
        };
    }
    let client = |source| Error::Client { what: "socket", source };
    dialogue.stream.set_nonblocking(true).map_err(client)?;
    Ok(dialogue.stream)
}

/// Asks one question on a connection of its own.
pub(crate) fn ask(address: &str, plan: &Plan, name: &'static str, words: &[&str]) -> Result<Tree, Error> {
    let mut dialogue = Dialogue::open(address)?;
    if let Some(who) = &plan.credentials {
        dialogue.expect("AUTH", &["AUTH", &who.user, &who.password])?;
    }
    dialogue.expect(name, words)
}

struct Dialogue {
    address: String,
    stream: TcpStream,
    input: Vec<u8>,
}

impl Dialogue {
    fn open(address: &str) -> Result<Self, Error> {
        let failed = |source| Error::Connect { address: address.to_owned(), source };
        let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
        for target in address.to_socket_addrs().map_err(failed)? {
            match TcpStream::connect_timeout(&target, CONNECT_LIMIT) {
                Ok(stream) => {
                    stream.set_nodelay(true).map_err(failed)?;
                    stream.set_read_timeout(Some(HANDSHAKE_LIMIT)).map_err(failed)?;
                    return Ok(Self { address: address.to_owned(), stream, input: Vec::new() });
                }
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }

    fn expect(&mut self, name: &'static str, words: &[&str]) -> Result<Tree, Error> {
        let failed = |source| Error::Connect { address: self.address.clone(), source };
        self.stream.write_all(&command::words(words)).map_err(failed)?;
        loop {
            let malformed = |source| Error::Protocol { address: self.address.clone(), source };
            if let Some((tree, end)) = resp::tree(&self.input).map_err(malformed)? {
                self.input.drain(..end);
                if let Tree::Error(message) = tree {
                    return Err(Error::Handshake { address: self.address.clone(), command: name, message });
                }
                return Ok(tree);
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).map_err(failed)?;
            if count == 0 {
                return Err(failed(ErrorKind::UnexpectedEof.into()));
            }
            self.input.extend_from_slice(&bytes[..count]);
        }
    }
}
